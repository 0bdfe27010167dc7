"""`tm.plots`: what a figure shows of a run, and what it says when there is nothing to show."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import textmad as tm

VALUES = {
    ("perplexity", "held_out"): [70.0, 75.0, 80.0],
    ("distinct_2", "drawn"): [0.7, 0.6, 0.5],
    ("distinct_2", "kept"): [0.7, 0.5, 0.4],
    ("distinct_2", "human"): [0.7, 0.8, 0.9],
    ("reward_mean", "drawn"): [float("nan")] * 3,
}


@pytest.fixture
def make_run(measured_runs, tmp_path):
    def make(name, values=VALUES, **changes):
        recipe = tm.Recipe(generations=2)
        return tm.Run(measured_runs.write(tmp_path / name, recipe, values, **changes))

    return make


def drawn(axis):
    """{label at the line's end: (x, y)} of an axis."""
    labels = [text.get_text() for text in axis.texts]
    ends = {text.get_text(): text.get_color() for text in axis.texts}
    by_color = {line.get_color(): line for line in axis.lines}
    assert len(labels) == len(by_color) == len(axis.lines)
    return {
        label: (list(by_color[color].get_xdata()), list(by_color[color].get_ydata()))
        for label, color in ends.items()
    }


def visible(figure):
    return [axis for axis in figure.axes if axis.get_visible()]


def test_a_metric_s_curve_holds_its_values_by_generation(make_run):
    (axis,) = visible(tm.plots.metric_curves(make_run("one"), "perplexity"))
    assert drawn(axis) == {"held-out": ([0, 1, 2], [70.0, 75.0, 80.0])}
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("generation", "Perplexity")


def test_sampled_and_kept_text_stand_beside_the_mean_of_human_text(make_run):
    (axis,) = visible(tm.plots.metric_curves(make_run("one"), "distinct_2"))
    lines = drawn(axis)
    assert lines["drawn"][1] == [0.7, 0.6, 0.5]
    assert lines["kept"][1] == [0.7, 0.5, 0.4]
    assert np.allclose(lines["human"][1], [0.8, 0.8])  # the mean of 0.7, 0.8 and 0.9
    assert axis.get_ylabel() == "Distinct-2 (share)"


def test_several_runs_have_a_panel_each_on_one_scale_under_their_own_names(make_run):
    other = {**VALUES, ("perplexity", "held_out"): [70.0, 300.0, 900.0]}
    runs = [make_run("plain"), make_run("voted", other)]
    panels = visible(tm.plots.metric_curves(runs, "perplexity"))
    assert [axis.get_title(loc="left") for axis in panels] == ["plain", "voted"]
    assert panels[0].get_ylim() == panels[1].get_ylim()
    renamed = visible(tm.plots.metric_curves(dict(zip("ab", runs, strict=True)), "perplexity"))
    assert [axis.get_title(loc="left") for axis in renamed] == ["a", "b"]


def test_a_run_that_lacks_the_metric_keeps_its_panel_and_says_so(make_run):
    runs = [make_run("plain"), make_run("bare", {("loss", "held_out"): [1.0, 1.0, 1.0]})]
    _, bare = visible(tm.plots.metric_curves(runs, "perplexity"))
    assert [text.get_text() for text in bare.texts] == ["not measured"]


def test_an_unknown_metric_is_an_error_that_names_those_that_were_measured(make_run):
    with pytest.raises(tm.RunError, match=r"no metric 'perplexty' .* distinct_2, perplexity"):
        tm.plots.metric_curves(make_run("one"), "perplexty")


def test_a_metric_in_bins_is_an_error_that_names_the_bins(make_run):
    with pytest.raises(tm.RunError, match=r"no value in bin 'deep': expected as bin one of ''"):
        tm.plots.metric_curves(make_run("one"), "perplexity", bin="deep")


def test_a_metric_without_a_number_is_an_error_that_says_why(make_run):
    with pytest.raises(tm.RunError, match="'reward_mean' has no finite value: no votes"):
        tm.plots.metric_curves(make_run("one", note="no votes"), "reward_mean")


@pytest.mark.parametrize("function", ["kept_share", "training_loss"])
def test_no_run_and_a_run_without_a_generation_are_errors(function, make_run):
    draw = getattr(tm.plots, function)
    with pytest.raises(tm.RunError, match="at least one run"):
        draw([])
    with pytest.raises(tm.RunError, match="no generation is complete"):
        draw(make_run("begun", {}))


def test_the_kept_share_is_in_percent_of_the_candidates(make_run):
    (axis,) = visible(tm.plots.kept_share(make_run("one")))
    assert drawn(axis) == {"kept": ([0, 1, 2], [100.0, 100.0, 100.0])}


def test_the_training_loss_has_a_line_for_each_generation(make_run, monkeypatch):
    monkeypatch.setattr(
        tm.Run, "curve", lambda _, g: pd.DataFrame({"tokens": [100, 200], "loss": [5.0 - g] * 2})
    )
    (axis,) = visible(tm.plots.training_loss(make_run("one")))
    assert drawn(axis) == {f"gen {g}": ([100, 200], [5.0 - g] * 2) for g in range(3)}


def test_a_figure_is_saved_and_is_none_of_pyplot_s(make_run, tmp_path):
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    figure = tm.plots.metric_curves(make_run("one"), "perplexity")
    figure.savefig(tmp_path / "curve.svg")
    assert "held-out" in (tmp_path / "curve.svg").read_text()
    assert pyplot.get_fignums() == before


def test_a_notebook_shows_a_figure_that_is_the_last_value_of_a_cell(make_run):
    program = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell as Shell\n"
        "import textmad as tm\n"
        "shell = Shell.instance()\n"
        "figure = tm.plots.metric_curves(tm.Run(sys.argv[1]), 'perplexity')\n"
        "print(sorted(shell.display_formatter.format(figure)[0]))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(make_run("one").path)],
        env={**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "image/png" in answer.stdout
