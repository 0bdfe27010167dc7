import re
from itertools import pairwise

import pandas as pd
import pytest

from textmad.evaluators.perplexity import QUANTILES
from textmad.report import spread_plots

COLUMNS = ["generation", "evaluator", "metric", "split", "bin", "value", "n", "note"]


def table(generations=3, *, human=True, first=10.0, spread=400.0):
    """Quantiles of drawn text that move right by half a generation; human text stands still."""
    at = {bin: first * spread**share for bin, share in QUANTILES.items()}
    rows = [
        (g, "text_perplexity", "text_perplexity", split, bin, value * factor, 50, "")
        for g in range(generations)
        for split, factor in [("drawn", 1.5**g), ("human", 1.0)][: 1 + human]
        for bin, value in at.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def without(metrics, generation, *bins):
    """The same where those quantiles of a generation's drawn text are no number."""
    gone = (metrics["generation"] == generation) & (metrics["split"] == "drawn")
    gone &= metrics["bin"].isin(bins)
    return metrics.assign(value=metrics["value"].mask(gone))


def svg(**runs):
    (figure,) = spread_plots.text_perplexity(runs)
    return figure.svg


def words(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def curves(svg):
    """The points of each line of a distribution, as (right, down), and whether it is dashed."""
    found = []
    for path, style in re.findall(r'<path d="([^"]*)" clip-path[^>]*style="([^"]*)"', svg):
        points = [tuple(map(float, p)) for p in re.findall(r"[ML] ([\d.]+) ([\d.]+)", path)]
        if len(points) > 2:  # not a line of the grid
            found.append((points, "dasharray" in style))
    return found


@pytest.fixture(scope="module")
def three():
    """The figure of one run of three generations."""
    return svg(run=table(3))


@pytest.fixture(scope="module")
def side_by_side():
    """The figure of a long run, one that did not measure, and one without human text."""
    return svg(long=table(11), none=table(2).iloc[:0], bare=table(2, human=False))


def test_a_line_goes_through_every_quantile_of_each_generation_and_of_human_text(three):
    drawn = curves(three)
    assert [len(points) for points, _ in drawn] == [len(QUANTILES)] * 4
    assert [dashed for _, dashed in drawn] == [False, False, False, True]


def test_the_axis_of_perplexity_is_logarithmic(three):
    (first, _), (second, _), (third, _), (human, _) = curves(three)
    assert human == first  # generation 0 is as human text
    steps = [
        after[0] - before[0]
        for generation in pairwise([first, second, third])
        for before, after in zip(*generation, strict=True)
    ]
    # The same factor, 1.5, is the same distance everywhere.
    assert steps == pytest.approx([steps[0]] * len(steps), abs=1e-3)
    assert steps[0] > 0
    assert {"10", "100", "1,000", "10,000"} <= set(words(three))


def test_both_tails_are_stretched_alike(three):
    down = [y for _, y in curves(three)[0][0]]
    gaps = [before - after for before, after in pairwise(down)]
    assert gaps == pytest.approx(gaps[::-1], abs=1e-3)
    assert gaps[0] > gaps[2] > 0  # 1 to 5 % has more room than 25 to 50 %


def test_the_figure_is_the_same_twice(three):
    assert svg(run=table(3)) == three


def test_of_a_long_run_four_generations_are_named_in_order(side_by_side):
    named = [word for word in words(side_by_side) if re.match("gen |human", word)]
    assert named == ["gen 0", "gen 3", "gen 7", "gen 10", "human", "gen 0", "gen 1"]


def test_human_text_is_dashed_only_where_it_was_measured(side_by_side):
    long = [False, False, False, False, True]
    assert [dashed for _, dashed in curves(side_by_side)] == [*long, False, False]


def test_of_several_runs_the_one_that_did_not_measure_says_so(side_by_side):
    said = [w for w in words(side_by_side) if w in ("long", "none", "not measured", "bare")]
    assert said == ["long", "not measured", "none", "bare"]  # a title stands after its panel


def test_what_is_no_number_is_left_out_alone():
    measured = without(without(table(3), 1, *QUANTILES), 2, "1%", "99%")
    found = svg(run=measured)
    assert [len(points) for points, _ in curves(found)] == [7, 5, 7]
    assert [word for word in words(found) if word.startswith("gen ")] == ["gen 0", "gen 2"]


def test_where_no_run_measured_it_there_is_no_figure():
    assert spread_plots.text_perplexity({"run": table(2).iloc[:0]}) == []
    assert spread_plots.text_perplexity({"run": without(table(1), 0, *QUANTILES)}) == []


@pytest.mark.parametrize(
    ("first", "spread", "ticks"),
    [
        (1.5, 1e5, {"10", "100", "1,000", "10,000", "100,000"}),  # five decades
        (70.0, 1.1, {"70", "75"}),  # 70 to 77: no 1, 2 or 5 times a power of ten
    ],
)
def test_ticks_are_plain_numbers_that_fit_the_length_of_the_axis(first, spread, ticks):
    found = words(svg(run=table(1, first=first, spread=spread)))
    numbers = found[: found.index("perplexity under the base model")]
    assert ticks <= set(numbers)
    assert len(numbers) <= 8
