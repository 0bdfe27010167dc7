import re

import pandas as pd
import pytest

from textmad.report import plots

COLUMNS = ["generation", "evaluator", "metric", "split", "bin", "value", "n", "note"]


def metrics(*rows):
    full = [(g, "any", metric, split, "", value, 10, "") for g, metric, split, value in rows]
    return pd.DataFrame(full, columns=COLUMNS)


def words(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def line(label, end, *, x=(0, 1)):
    return plots.Line(label, x, [1.0, end], plots.BLUE)


def draw(*panels):
    return plots.draw("name", panels, x_title="generation", y_title="share")


def test_a_figure_is_drawn_the_same_twice():
    panel = plots.Panel("run", [line("drawn", 2.0)])
    assert draw(panel) == draw(panel)


def test_axes_have_titles_and_lines_their_labels():
    found = words(draw(plots.Panel("run", [line("drawn", 2.0), line("kept", 3.0)])))
    assert {"generation", "share", "drawn", "kept"} <= set(found)


def test_a_single_panel_does_not_repeat_the_runs_name():
    one, two = plots.Panel("first", [line("a", 2.0)]), plots.Panel("second", [line("a", 2.0)])
    assert "first" not in words(draw(one))
    assert {"first", "second"} <= set(words(draw(one, two)))


@pytest.mark.parametrize("count", [3, 4])
def test_every_run_has_its_panel_in_rows_of_three(count):
    panels = [plots.Panel(f"run {index}", [line("a", 2.0)]) for index in range(count)]
    found = words(draw(*panels))
    assert [word for word in found if word.startswith("run ")] == [p.title for p in panels]
    assert found.count("generation") == count
    assert found.count("share") == -(-count // 3)  # a y title in front of each row


def test_labels_of_lines_that_end_together_are_moved_apart():
    svg = draw(plots.Panel("run", [line("drawn", 2.0), line("kept", 2.0)]))
    at = {
        label: float(re.search(rf'<text[^>]* y="([\d.]+)"[^>]*>{label}<', svg)[1])
        for label in ("drawn", "kept")
    }
    assert abs(at["drawn"] - at["kept"]) >= 9  # the height of a label, in points


def test_a_panel_without_lines_says_why():
    assert "not measured" in words(draw(plots.Panel("run", [])))


def test_ink_is_left_to_the_page_and_no_date_is_kept():
    svg = draw(plots.Panel("run", [line("a", 2.0)]))
    assert "currentColor" in svg
    assert "#010203" not in svg
    assert "<metadata" not in svg
    assert svg.startswith("<svg")


def test_a_dollar_in_a_name_is_not_mathematics():
    assert "$\\frac{$" in words(draw(*[plots.Panel("$\\frac{$", [line("a", 2.0)])] * 2))


def test_rare_and_common_tokens_are_drawn_as_change_and_labelled_with_their_start():
    table = metrics(
        (0, "rare_loss", "held_out", 9.0),
        (1, "rare_loss", "held_out", 9.5),
        (0, "common_loss", "held_out", 3.0),
        (1, "common_loss", "held_out", 3.1),
    )
    found = words(plots.rare_against_common({"run": table}).svg)
    assert {"rare (from 9.000)", "common (from 3.000)"} <= set(found)
    assert "0.5" in found  # the tick that 9.5 - 9.0 reaches


def test_drawn_and_kept_text_that_are_one_are_one_line():
    rows = [(g, "distinct_2", split, 0.7 + g) for g in (0, 1) for split in ("drawn", "kept")]
    figure = plots.against_human({"run": metrics(*rows)}, "distinct_2", "", "", "share")
    assert "drawn = kept" in words(figure.svg)


def test_the_human_reference_is_a_dashed_line():
    rows = [(g, "distinct_2", split, 0.7) for g in (0, 1) for split in ("drawn", "human")]
    figure = plots.against_human({"run": metrics(*rows)}, "distinct_2", "", "", "share")
    assert "human" in words(figure.svg)
    assert "stroke-dasharray" in figure.svg
    alone = plots.against_human({"run": metrics(*rows[::2])}, "distinct_2", "", "", "share")
    assert "human" not in words(alone.svg)
    assert "stroke-dasharray" not in alone.svg
