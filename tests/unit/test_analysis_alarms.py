"""Losses by frequency bin: against the control, in words, as a heat map, as a table."""

import math
import re
from types import SimpleNamespace

import pandas as pd
import pytest

import textmad as tm
from textmad.analysis.arm_settings import ArmRuns
from textmad.analysis.arms import Arms
from textmad.analysis.compare import compare_values
from textmad.analysis.comparison_result import bin_frame
from textmad.report.comparison.figures import heat_maps
from textmad.report.comparison.findings import bin_sentences, bin_table
from textmad.report.comparison.page import to_html, to_page_markdown
from textmad.statistics import inference
from textmad.text.rarity import BINS

SEEDS = (0, 1, 2)
COLUMNS = ["arm", "seed", "generation", "evaluator", "metric", "split", "bin", "value", "n", "note"]
HUMAN = tm.Recipe(mix={"human_tokens": 20_000, "model_tokens": 0})
PURE = tm.Recipe(mix={"model_tokens": 20_000})
FLAT = dict.fromkeys(BINS, (3.0, 3.0, 3.0))


def arms(*names, seeds=SEEDS, last=2):
    recipes = {"control": HUMAN} | dict.fromkeys(names, PURE)
    made = [
        ArmRuns(name, {seed: SimpleNamespace(recipe=recipe) for seed in seeds})
        for name, recipe in recipes.items()
    ]
    return Arms(tuple(made), last, ())


def losses(arm, by_bin, wobble=0.01, seeds=SEEDS, evaluator="rare_tokens"):
    """Each bin's loss by generation; seeds lie `wobble` apart, the more the later."""
    return [
        (arm, seed, g, evaluator, "loss", "held_out", name, value + wobble * (seed - 1) * g, 9, "")
        for name, values in by_bin.items()
        for seed in seeds
        for g, value in enumerate(values)
    ]


def found(*rows, among=("voted",), **rest):
    table = pd.DataFrame([row for part in rows for row in part], columns=COLUMNS)
    return compare_values(table, arms(*among, **rest), ["loss/*"])


VOTED = FLAT | {"rarest": (3.0, 3.4, 3.8), "75-100%": (3.0, 2.9, 2.8)}
CONTROL = FLAT | {"rarest": (3.0, 2.8, 2.6)}


@pytest.fixture(scope="module")
def comparison():
    return found(losses("control", CONTROL, wobble=0), losses("voted", VOTED))


def moved(comparison, arm, bin_):
    (each,) = [each for each in comparison.bins if each.arm == arm]
    (row,) = [row for key, row in each.changes.items() if key.bin == bin_]
    return row


def test_an_arm_is_set_against_its_control_and_a_control_against_its_own_beginning(comparison):
    voted, control = (moved(comparison, arm, "rarest") for arm in ("voted", "control"))
    assert [each.estimate for each in voted.values()] == pytest.approx([0.0, 0.6, 1.2])
    # Less the control of the same seed: 1.2 and 0.02 to either side.
    assert voted[2] == pytest.approx(inference.mean_interval([1.18, 1.2, 1.22]))
    assert [each.estimate for each in control.values()] == pytest.approx([0.0, -0.2, -0.4])


def test_end_tokens_and_what_other_evaluators_call_loss_are_in_no_bin():
    more = [
        row
        for arm in ("control", "voted")
        for row in [
            *losses(arm, {"end": (1.0, 1.0, 1.0)}),
            *losses(arm, {"rarest": (9.0, 9.0, 9.0)}, evaluator="mine"),
        ]
    ]
    both = found(losses("control", CONTROL), losses("voted", VOTED), more)
    assert [key.bin for key in both.bins[0].changes] == list(BINS)
    assert moved(both, "voted", "rarest")[1].estimate == pytest.approx(0.6)


def test_the_words_name_the_bin_that_is_shown_to_rise_and_those_that_are_not(comparison):
    said, promise = bin_sentences(comparison)
    assert said == (
        "voted: a rise of the loss is supported first in rarest (generation 1); not by generation "
        "2 in 10-25%, 25-50%, 50-75%, 75-100%."
    )
    assert promise.startswith("This counts any rise, however small: where no bin rises, it")


def test_bins_that_rise_one_after_the_other_are_named_in_that_order():
    # 50-75% first, though it stands below; rarest only after a generation in which it fell
    late = FLAT | {"rarest": (3.0, 2.9, 3.8), "50-75%": (3.0, 3.9, 4.8)}
    (said, _) = bin_sentences(found(losses("control", FLAT, wobble=0), losses("voted", late)))
    assert "supported first in 50-75% (generation 1); then in rarest (generation 2); not by" in said


def test_bins_that_rise_together_are_not_put_in_an_order():
    sharp = FLAT | dict.fromkeys(("rarest", "10-25%", "25-50%"), (3.0, 3.4, 3.8))
    (said, _) = bin_sentences(found(losses("control", FLAT, wobble=0), losses("voted", sharp)))
    assert "supported first in rarest, 10-25%, 25-50% (generation 1); not by" in said
    assert said.endswith(
        "3 bins are supported in the same generation, the earliest that is watched, so which of "
        "them rises first is not known."
    )


def test_no_rise_and_too_few_seeds_are_said():
    calm = found(losses("control", FLAT, wobble=0), losses("voted", FLAT))
    assert bin_sentences(calm)[0] == (
        "voted: no rise is supported in any bin by generation 2 (3 seeds)."
    )
    rows = [losses(arm, by, seeds=(0,)) for arm, by in (("control", CONTROL), ("voted", VOTED))]
    (alone,) = bin_sentences(found(*rows, seeds=(0,)))
    assert alone.startswith("Which bin rises first is not tested: that takes two seeds")


def test_colours_are_shares_of_the_largest_movement_of_all_arms(comparison):
    maps = heat_maps(comparison)
    control, voted = maps.maps
    assert (control.against, voted.against) == ("less its own generation 0", "less control")
    cells = voted.rows["rarest"].cells
    assert [(each.text, each.side, each.strength) for each in cells] == [
        ("0.00", "", 0.0),
        ("+0.60", "worse", 0.5),
        ("+1.20", "worse", 1.0),
    ]
    falling = control.rows["rarest"].cells[2]
    assert (falling.text, falling.side) == ("−0.40", "better")
    assert falling.strength == pytest.approx(0.4 / 1.2, abs=1e-3)
    assert [each.text for each in maps.scale] == ["−1.20", "−0.60", "0.00", "+0.60", "+1.20"]
    assert {each.more for each in maps.scale} == {""}  # marks, measured in no seed
    # half width 4.3027 * 0.02 / sqrt(3)
    assert cells[2].more == "+1.200 (95 % interval +1.150 to +1.250), 3 seeds"


def test_small_movements_have_more_decimals():
    small = FLAT | {"rarest": (3.0, 3.001, 3.002)}
    maps = heat_maps(found(losses("control", FLAT, wobble=0), losses("voted", small, wobble=0)))
    assert maps.maps[1].rows["rarest"].cells[1].text == "+0.0010"


def test_table_and_file_hold_what_the_map_shows(comparison):
    table, maps = bin_table(comparison), heat_maps(comparison)
    shown = {(line[0], line[1]): line[3:] for line in table.lines}
    for each in maps.maps:
        for name, row in each.rows.items():
            assert shown[name, each.arm] == (*(cell.text for cell in row.cells), row.rises_from)
    assert shown["rarest", "voted"][-1] == "1"
    assert shown["10-25%", "voted"][-1] == ">2"
    assert shown["rarest", "control"][-1] == ""
    numbers = bin_frame(comparison)
    assert len(numbers) == 2 * len(BINS) * 3  # arms, bins, generations
    (line,) = numbers.query("arm == 'voted' & bin == 'rarest' & generation == 2").itertuples()
    assert (line.control, line.seeds, line.rises_from) == ("control", 3, 1)
    assert line.difference == pytest.approx(1.2)
    assert set(numbers.query("arm == 'voted' & bin == '10-25%'")["rises_from"]) == {math.inf}
    assert numbers.query("arm == 'control'")["rises_from"].isna().all()


def test_many_generations_are_thinned_out_in_the_map_and_whole_in_the_file():
    long = {name: tuple(3.0 + 0.1 * g for g in range(21)) for name in BINS}
    rows = losses("control", dict.fromkeys(BINS, (3.0,) * 21)), losses("voted", long)
    many = found(*rows, last=20)
    assert heat_maps(many).generations == (0, 3, 7, 10, 13, 17, 20)
    assert "7 of 21 generations are displayed." in bin_table(many).notes
    assert len(bin_frame(many)) == 2 * len(BINS) * 21


def test_an_arm_that_was_not_measured_so_has_no_map():
    perplexity = [
        (arm, seed, g, "perplexity", "perplexity", "held_out", "", 90.0 + seed, 9, "")
        for arm in ("control", "voted", "other")
        for seed in SEEDS
        for g in range(3)
    ]
    some = found(
        losses("control", CONTROL), losses("voted", VOTED), perplexity, among=("voted", "other")
    )
    assert [each.arm for each in some.bins] == ["control", "voted"]
    nothing = compare_values(pd.DataFrame(perplexity, columns=COLUMNS), arms("voted", "other"))
    assert nothing.bins == ()
    assert "Rare and common tokens" not in to_page_markdown(nothing)
    assert "heat" not in re.sub(r"<style>.*</style>", "", to_html(nothing), flags=re.DOTALL)


def test_the_page_has_each_number_on_its_colour_with_the_interval_behind_it(comparison):
    page = to_html(comparison)
    cell = '<td class="worse" style="--heat: 0.5" title="+0.600 (95 % interval +0.575 to +0.625), '
    assert cell in page  # half width 4.3027 * 0.01 / sqrt(3)
    assert page.count('<table class="numbers heat">') == 2
    assert "## Rare and common tokens\n\nvoted: a rise of" in to_page_markdown(comparison)


def test_arms_that_moved_alike_share_a_map():
    same = [losses(arm, VOTED) for arm in ("voted", "alike")]
    other = losses("other", VOTED | {"rarest": (3.0, 3.4, 3.9)})
    drawn = found(losses("control", CONTROL), *same, other, among=("voted", "alike", "other"))
    assert [each.arm for each in heat_maps(drawn).maps] == ["control", "voted, alike", "other"]
    # The file of numbers keeps each arm.
    assert set(bin_frame(drawn)["arm"]) == {"control", "voted", "alike", "other"}
