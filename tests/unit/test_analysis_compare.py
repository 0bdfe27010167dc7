"""The numbers of a comparison: paired by seed, adjusted over the table, said in words."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest

import textmad as tm
from textmad.analysis.arm_settings import ArmRuns
from textmad.analysis.arms import Arms
from textmad.analysis.compare import compare, compare_values
from textmad.analysis.control import PerArmControl
from textmad.errors import RunError
from textmad.report import plots
from textmad.report.comparison import figures as comparison_figures
from textmad.report.comparison.differences import (
    difference_table,
    generation_table,
    verdict_sentences,
)
from textmad.report.comparison.findings import alarm_table
from textmad.report.comparison.page import to_page_markdown
from textmad.report.numbers import show_value
from textmad.statistics import inference

PURE = tm.Recipe(mix={"model_tokens": 20_000})
HUMAN = PURE.replace(mix={"model_tokens": 0, "human_tokens": 20_000})
COLUMNS = ["arm", "seed", "generation", "evaluator", "metric", "split", "bin", "value", "n", "note"]
PERPLEXITY = ("perplexity", "held_out")


def arms(*others, seeds=(0, 1, 2), last=1):
    """The control and others, of the same seeds."""
    recipes = {"control": HUMAN} | {
        name: PURE.replace(train={"epochs": 1.0 + place}) for place, name in enumerate(others)
    }
    made = [
        ArmRuns(name, {seed: SimpleNamespace(recipe=recipe) for seed in seeds})
        for name, recipe in recipes.items()
    ]
    return Arms(tuple(made), last, ())


def rows(arm, *by_seed, metric=PERPLEXITY, evaluator="mine", note="", bin=""):
    """Numbers of one metric and arm: for each seed one a generation."""
    return [
        (arm, seed, generation, evaluator, *metric, bin, value, 10, note)
        for seed, numbers in enumerate(by_seed)
        for generation, value in enumerate(numbers)
    ]


def frame(*parts):
    return pd.DataFrame([row for part in parts for row in part], columns=COLUMNS)


CONTROL = rows("control", [50, 100], [50, 110], [50, 120])
WORSE = rows("voted", [50, 111], [50, 122], [50, 133])  # by 11, 12, 13


def one_row(found, arm="voted"):
    (row,) = [row for row in found.rows if row.arm == arm]
    return row


# --- numbers --------------------------------------------------------------------------------


def test_a_difference_is_that_of_the_same_seed_at_the_last_generation():
    row = one_row(compare_values(frame(CONTROL, WORSE), arms("voted")))
    assert row.value == inference.mean_interval([111, 122, 133])
    assert row.against.difference == inference.mean_interval([11, 12, 13])
    assert row.against.slope == inference.mean_interval([11, 12, 13])  # all of it in one generation
    assert row.against.sign_flips.p == 0.25


def test_the_order_of_rows_and_seeds_makes_no_difference():
    table = frame(CONTROL, WORSE)
    again = compare_values(table.iloc[::-1], arms("voted", seeds=(2, 0, 1)))
    assert again.rows == compare_values(table, arms("voted")).rows


def test_the_control_is_set_against_nothing():
    row = one_row(compare_values(frame(CONTROL, WORSE), arms("voted")), "control")
    assert row.against is None
    assert row.value.estimate == 110


def test_arms_with_controls_of_their_own_are_each_set_against_theirs():
    both = replace(
        arms("voted", "other"),
        own=PerArmControl("its matched random control", {"voted": "control", "other": "voted"}),
    )
    found = compare_values(frame(CONTROL, WORSE, rows("other", [50, 1], [50, 1], [50, 1])), both)
    assert one_row(found).against.difference.estimate == pytest.approx(12)  # 11, 12, 13
    other = one_row(found, "other")
    assert other.against.difference.estimate == pytest.approx(1 - 122)  # less 111, 122, 133
    assert other.tolerance == pytest.approx(0.02 * 122)
    assert one_row(found, "control").against is None
    assert list(found.table["control"]) == ["control", "control", "voted"]


def test_p_is_adjusted_for_all_questions_of_the_table():
    other = rows("other", [50, 101], [50, 112], [50, 123])  # by 1, 2, 3
    found = compare_values(frame(CONTROL, WORSE, other), arms("voted", "other"))
    plain = [inference.paired_difference(d, [0, 0, 0]).p for d in ([11, 12, 13], [1, 2, 3])]
    assert [row.against.p for row in found.rows[1:]] == pytest.approx(inference.adjust(plain))
    assert found.questions == 2


def test_a_seed_without_a_pair_is_in_the_value_and_in_no_difference():
    extra = rows("voted", *[[50, 111]] * 4)
    found = one_row(compare_values(frame(CONTROL, extra), arms("voted", seeds=(0, 1, 2, 3))))
    assert (found.value.n, found.against.difference.n) == (4, 3)


def test_a_number_that_is_none_is_left_out_and_said():
    broken = rows("voted", [50, math.nan], [50, 122], [50, math.inf], note="too few words")
    found = compare_values(frame(CONTROL, broken), arms("voted"))
    assert (one_row(found).value.n, one_row(found).against.difference.n) == (1, 1)
    assert found.notes == ("Perplexity, held-out: no number of voted, seed 0, 2: too few words.",)


def test_an_arm_without_any_number_has_neither_value_nor_difference():
    broken = rows("voted", *[[50, math.nan]] * 3, note="nothing kept")
    row = one_row(compare_values(frame(CONTROL, broken), arms("voted")))
    assert (row.value, row.against) == (None, None)


def test_an_infinite_number_is_in_no_difference_and_outside_from_its_generation_on():
    endless = rows("voted", [50, 111, 111], [50, 122, 122], [50, 120, math.inf])
    control = rows("control", *[[50, mean, mean] for mean in (100, 110, 120)])
    row = one_row(compare_values(frame(control, endless), arms("voted", last=2)))
    assert row.against.difference == inference.mean_interval([11, 12])
    assert row.outside_from.times == (1, 1, 2)
    assert row.infinite == (1, 0, 3)
    assert row.tolerance == pytest.approx(0.02 * 110)  # of the control under all three seeds


def test_an_arm_with_infinite_numbers_is_not_shown_to_do_no_harm():
    # Six seeds at 0 +- 0.1 of 2.2: no harm is shown; a seventh that is infinite takes that back.
    near = [[50, mean + w] for mean in (100, 110, 120) for w in (-0.1, 0.1)]
    control = rows("control", *[[50, round(value)] for _, value in near], [50, 110])
    for last, harmless in ((110.0, True), (math.inf, False)):
        table = frame(control, rows("voted", *near, [50, last]))
        found = compare_values(table, arms("voted", seeds=tuple(range(7))))
        assert one_row(found).harmless == harmless
        assert ("is ruled out" in verdict_sentences(found)[0]) == harmless


def test_the_tolerance_is_a_share_of_the_controls_mean():
    found = compare_values(frame(CONTROL, WORSE), arms("voted"), tolerance=0.1)
    assert one_row(found).tolerance == pytest.approx(11)
    default = compare_values(frame(CONTROL, WORSE), arms("voted"))
    assert one_row(default).tolerance == pytest.approx(0.02 * 110)


@pytest.mark.parametrize(
    ("metric", "shift", "harmless"),
    [
        (("perplexity", "held_out"), -20, True),  # lower is better
        (("perplexity", "held_out"), 20, False),
        (("accuracy", "held_out"), 20, True),  # higher is better
        (("accuracy", "held_out"), -20, False),
        (("distinct_2", "drawn"), 20, False),  # nearest to human is
        (("distinct_2", "drawn"), -20, False),
        (("distinct_2", "drawn"), 0, True),
    ],
)
def test_to_be_better_than_the_control_is_no_harm(metric, shift, harmless):
    control = rows("control", [50, 100], [50, 110], [50, 120], metric=metric)
    wobble = (-0.1, 0.0, 0.1)
    moved = [[50, mean + shift + w] for mean, w in zip((100, 110, 120), wobble, strict=True)]
    found = compare_values(
        frame(control, rows("voted", *moved, metric=metric)), arms("voted"), ["*"]
    )
    row = one_row(found)
    assert row.harmless == harmless
    assert (row.outside_from.times == (None,) * 3) == harmless


def test_human_text_beside_is_the_mean_and_held_out_text_has_none():
    drawn = ("distinct_2", "drawn")
    table = frame(
        CONTROL,
        WORSE,
        *(rows(arm, *[[0.5, 0.5]] * 3, metric=drawn) for arm in ("control", "voted")),
        *(rows(arm, *[[0.6, 0.8]] * 3, metric=("distinct_2", "human")) for arm in ("voted",)),
    )
    found = compare_values(table, arms("voted"))
    human = {(r.key.metric, r.arm): r.human.value if r.human else None for r in found.rows}
    assert human == {
        ("perplexity", "control"): None,
        ("perplexity", "voted"): None,
        ("distinct_2", "control"): None,
        ("distinct_2", "voted"): pytest.approx(0.7),
    }


def test_the_table_holds_every_figure_under_its_name():
    table = compare_values(frame(CONTROL, WORSE), arms("voted")).table
    line = table[table["arm"] == "voted"].iloc[0]
    assert (line["evaluator"], line["metric"], line["split"]) == ("mine", *PERPLEXITY)
    assert (line["value"], line["difference"], line["pairs"]) == (122, 12, 3)
    assert line["difference_low"] == pytest.approx(12 - 4.3027 / math.sqrt(3), abs=1e-4)
    assert (line["outside_from"], line["outside_from_median"]) == ("1, 1, 1", 1)
    assert math.isnan(table[table["arm"] == "control"].iloc[0]["difference"])


# --- what is chosen -------------------------------------------------------------------------


def several():
    both = ("control", "voted")
    parts = [CONTROL, WORSE]
    for metric in (("loss", "held_out"), ("distinct_2", "drawn"), ("distinct_2", "kept")):
        parts += [rows(arm, *[[1, 2]] * 3, metric=metric) for arm in both]
    parts += [rows(a, *[[1, 2]] * 3, metric=("loss", "held_out"), bin="10-25%") for a in both]
    parts += [rows(a, *[[1, 2]] * 3, metric=("questions", "drawn")) for a in both]
    return frame(*parts)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ([], ["perplexity/held_out/", "distinct_2/drawn/", "questions/drawn/"]),
        (["distinct_2"], ["distinct_2/drawn/", "distinct_2/kept/"]),
        (["distinct_2/kept"], ["distinct_2/kept/"]),
        (["loss/held_out"], ["loss/held_out/"]),
        (["loss/held_out/10-25%"], ["loss/held_out/10-25%"]),
        (["loss/*"], ["loss/held_out/", "loss/held_out/10-25%"]),
        (["mine/loss/held_out/"], ["loss/held_out/"]),
        (["questions", "perplexity", "questions"], ["questions/drawn/", "perplexity/held_out/"]),
    ],
)
def test_metrics_are_asked_for_by_the_columns_that_name_them(asked, found):
    rows_ = compare_values(several(), arms("voted"), asked).rows
    keys = dict.fromkeys(row.key for row in rows_)
    assert [f"{key.metric}/{key.split}/{key.bin}" for key in keys] == found


def test_a_metric_that_was_not_measured_is_an_error_with_those_that_were():
    with pytest.raises(RunError, match=r"metric: mtld: was measured in no run; .*: perplexity/he"):
        compare_values(several(), arms("voted"), ["loss", "mtld"])


@pytest.mark.parametrize("tolerance", [0, -0.1, math.inf, math.nan])
def test_a_tolerance_is_a_share_above_nothing(tolerance, tmp_path):
    with pytest.raises(RunError, match=r"tolerance: .*: expected a share above 0"):
        compare([tmp_path], tolerance=tolerance)


# --- words ----------------------------------------------------------------------------------


def test_the_verdict_carries_value_difference_and_interval():
    # half widths 4.3027 / sqrt(3) = 2.48 and, of 111 122 133, 27: so one decimal, and none
    first, last = verdict_sentences(compare_values(frame(CONTROL, WORSE), arms("voted")))
    assert first == (
        "voted, generation 1: significantly above control: "
        "Perplexity, held-out 122, +12.0 (95 % interval +9.5 to +14.5)."
    )
    assert (
        "p < 0.05, paired by seed (3 seeds), adjusted for 1 question. A difference of 3.3" in last
    )
    assert "With 3 seeds a sign-flip test cannot give less than 0.25" in last


def test_the_verdict_says_in_how_many_seeds_a_metric_is_infinite():
    one = frame(CONTROL, rows("voted", [50, 111], [50, 122], [50, math.inf]))
    first, _ = verdict_sentences(compare_values(one, arms("voted")))
    assert first.endswith("In no difference: Perplexity, held-out, infinite in 1 of 3 seeds.")
    none = frame(CONTROL, rows("voted", *[[50, math.inf]] * 3))
    found = compare_values(none, arms("voted"))
    assert verdict_sentences(found) == [
        "voted, generation 1: no pair of finite numbers. In no difference: Perplexity, held-out, "
        "infinite in 3 of 3 seeds.",
        "No seed has a finite number of both an arm and its control: nothing is tested.",
    ]
    (line,) = generation_table(found).lines
    assert line[3:] == ("–", "+2.200", "–", "1, 1, 1", "1")
    both = frame(rows("control", *[[50, math.inf]] * 3), rows("voted", *[[50, math.inf]] * 3))
    first, _ = verdict_sentences(compare_values(both, arms("voted")))
    assert first.endswith("infinite in 3 of 3 seeds (control: 3 of 3).")


def test_the_forest_shades_each_arms_own_tolerance_and_nothing_on_the_better_side(monkeypatch):
    drawn_text = ("distinct_2", "drawn")
    names = {"control": 100, "voted": 200, "other": 300}
    table = frame(
        *(rows(arm, *[[50, value]] * 3) for arm, value in names.items()),
        *(rows(arm, *[[0.5, 0.5]] * 3, metric=drawn_text) for arm in names),
    )
    own = PerArmControl("its matched random control", {"voted": "control", "other": "voted"})
    canvases = []
    monkeypatch.setattr(plots, "to_svg", lambda canvas, name: canvases.append(canvas) or "")
    comparison_figures.forest(compare_values(table, replace(arms("voted", "other"), own=own)))
    both_sides, lower = (
        axis.collections[0].get_paths()[0].vertices
        for axis in sorted(canvases[0].axes, key=lambda axis: axis.get_title(loc="left"))
    )
    # 2 % of 100 for the first arm, of 200 for the second
    assert {(2.0, -0.5), (2.0, 0.5), (4.0, 0.5), (4.0, 1.5)} <= set(map(tuple, lower))
    assert lower[:, 0].min() == 0
    assert (both_sides[:, 0].min(), both_sides[:, 0].max()) == pytest.approx((-0.01, 0.01))


def test_the_forest_shades_all_that_is_no_further_from_human_text(monkeypatch):
    metric = ("distinct_2", "drawn")
    table = frame(
        rows("control", *[[0.5, 0.6]] * 3, metric=metric),  # 0.1 above human text
        rows("voted", *[[0.5, 0.4]] * 3, metric=metric),  # 0.1 below it: no harm
        rows("control", *[[0.5, 0.5]] * 3, metric=("distinct_2", "human")),
        rows("voted", *[[0.5, 0.5]] * 3, metric=("distinct_2", "human")),
    )
    canvases = []
    monkeypatch.setattr(plots, "to_svg", lambda canvas, name: canvases.append(canvas) or "")
    found = compare_values(table, arms("voted"), ["distinct_2/drawn"])
    comparison_figures.forest(found)
    edges = canvases[0].axes[0].collections[0].get_paths()[0].vertices[:, 0]
    assert (edges.min(), edges.max()) == pytest.approx((-0.2 - 0.012, 0.012))  # 2 % of 0.6
    assert one_row(found).outside_from.times == (None, None, None)  # the figure agrees with this


def test_what_sign_flips_can_show_is_said_once():
    found = compare_values(frame(CONTROL, WORSE), arms("voted"))
    page = to_page_markdown(found)
    assert page.count("With 3 seeds a sign-flip test cannot give less than 0.25") == 1


def test_a_width_that_is_rounding_alone_is_none():
    assert (
        show_value(inference.Interval(232.5385, 232.5385 - 1e-13, 232.5385 + 1e-13, 3)) == "232.5"
    )
    assert show_value(inference.Interval(0.5, 0.4999, 0.5001, 3)) == "0.5000 ± 0.0001"


def test_no_harm_is_a_claim_of_its_own_with_its_interval_and_bound():
    same = rows("voted", [50, 100.1], [50, 109.9], [50, 120.0])
    (first, _) = verdict_sentences(compare_values(frame(CONTROL, same), arms("voted")))
    # differences .1 -.1 0: s = .1, and 2.920 * .1 / sqrt(3) = .17 to either side; 2 % of 110
    assert first.startswith("voted, generation 1: no significant difference. Harm beyond the")
    assert "Perplexity, held-out worse by −0.17 to +0.17 (90 %), tolerance 2.200" in first


def test_what_is_not_shown_is_said_as_neither():
    noisy = rows("voted", [50, 60], [50, 150], [50, 130])
    (first, _) = verdict_sentences(compare_values(frame(CONTROL, noisy), arms("voted")))
    assert (
        "no significant difference. Undecided (neither a difference nor the absence of harm):"
        in first
    )


def test_one_seed_has_values_and_shows_nothing():
    table = frame(rows("control", [50, 100]), rows("voted", [50, 130]))
    found = compare_values(table, arms("voted", seeds=(0,)))
    assert verdict_sentences(found) == [
        "voted, generation 1, one seed: Perplexity, held-out 130.0 (+30.00). One seed "
        "supports nothing.",
        "These figures carry no interval: run more seeds before believing a difference.",
    ]
    shown = difference_table(found)
    assert shown.lines[1] == ("Perplexity, held-out", "voted", "↓", "130.0", "+30.00", "–", "–", "")
    assert "One seed: no intervals, no p." in shown.notes[0]


def test_arms_of_fewer_seeds_than_others_say_of_how_many():
    table = frame(
        *(rows(arm, [50, 100], [50, 110], [50, 120]) for arm in ("control", "whole")),
        rows("half", [50, 110], [50, 121]),
        rows("one", [50, 130]),
    )
    whole, half, one, last = verdict_sentences(compare_values(table, arms("whole", "half", "one")))
    assert whole.startswith("whole, generation 1, 3 seeds: no significant difference.")
    assert half.startswith("half, generation 1, 2 seeds: ")
    assert one == (
        "one, generation 1, one seed: Perplexity, held-out 130.0 (+30.00). One seed supports "
        "nothing."
    )
    assert "paired by seed (2 to 3 seeds), adjusted for 2 questions. A difference of" in last


def test_a_metric_with_a_number_of_one_seed_is_not_judged_with_those_of_more():
    loss = ("rare_loss", "held_out")
    table = frame(
        CONTROL,
        WORSE,
        rows("control", *[[4, 5]] * 3, metric=loss),
        rows("voted", [4, 7], [4, math.nan], [4, math.nan], metric=loss),
    )
    first, last = verdict_sentences(compare_values(table, arms("voted")))
    assert first.startswith("voted, generation 1, 3 seeds: significantly above control: Perplexity")
    assert first.endswith(
        "Of one seed, which supports nothing: Loss on rare tokens, held-out 7.000 (+2.000)."
    )
    assert "paired by seed (3 seeds)" in last


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        (5, "With 5 seeds a sign-flip test cannot give less than 0.0625: it can support nothing"),
        (6, "Sign flips of 6 seeds can support a difference by themselves."),
    ],
)
def test_what_so_many_seeds_can_show_is_said(seeds, said):
    table = frame(
        rows("control", *[[50, 100 + seed] for seed in range(seeds)]),
        rows("voted", *[[50, 120 + 2 * seed] for seed in range(seeds)]),
    )
    found = compare_values(table, arms("voted", seeds=tuple(range(seeds))))
    assert said in verdict_sentences(found)[-1]


def test_six_seeds_and_two_questions_are_too_few_for_sign_flips():
    table = frame(
        *(rows(arm, *[[50, 100 + seed] for seed in range(6)]) for arm in ("control", "a", "b"))
    )
    found = compare_values(table, arms("a", "b", seeds=tuple(range(6))))
    assert "cannot give less than 0.0312, adjusted 0.062: it" in verdict_sentences(found)[-1]


def test_the_table_of_generations_says_when_each_seed_left():
    control = rows("control", [100, 100, 100], [100, 100, 100])
    voted = rows("voted", [100, 110, 120], [100, 101, 100])
    found = compare_values(frame(control, voted), arms("voted", seeds=(0, 1), last=2))
    (line,) = generation_table(found).lines
    assert line[:3] == ("Perplexity, held-out", "voted", "↓")
    assert line[4] == "+2.000"  # 2 % of 100
    assert line[6:] == ("1, >2", "1")  # half of the seeds have left at 1


def test_generation_0_in_which_all_learned_from_human_text_is_never_outside():
    control = rows("control", [100, 100], [100, 100])
    voted = rows("voted", [110, 120], [110, 121])
    (line,) = generation_table(
        compare_values(frame(control, voted), arms("voted", seeds=(0, 1)))
    ).lines
    assert line[6:] == ("1, 1", "1")
    begun = frame(rows("control", [100], [100]), rows("voted", [110], [111]))
    found = compare_values(begun, arms("voted", seeds=(0, 1), last=0))
    (line,) = generation_table(found).lines
    assert (line[4], line[6:]) == ("+2.000", ("–", "–"))
    assert math.isnan(found.table["outside_from_median"].iloc[1])


def test_what_lies_outside_on_either_side_is_not_called_harm():
    drawn = ("distinct_2", "drawn")
    table = frame(
        *(
            rows(arm, *[[0.5, end + 0.01 * seed] for seed in range(3)], metric=drawn)
            for arm, end in (("control", 0.5), ("voted", 0.6))
        )
    )
    found = compare_values(table, arms("voted"))
    written = generation_table(found)
    assert written.header[6] == "outside from"
    assert written.lines[0][6] == "1, 1, 1"  # 0.1 above, 2 % of 0.51 allowed
    assert not any("harm from" in note for note in written.notes)
    assert "worse" not in alarm_table(found).notes[0]


# --- harm, references, conditions ---------------------------------------------------------------


DISTINCT = ("distinct_2", "drawn")


def beside_human(control, voted, human=0.7):
    """Distinct-2 of two arms at generations 0 and 1, and human text's; three seeds a little "
    "apart."""
    return frame(
        *(
            rows(arm, *[[0.7, end + 0.001 * seed] for seed in (-1, 0, 1)], metric=DISTINCT)
            for arm, end in (("control", control), ("voted", voted))
        ),
        *(
            rows(arm, *[[human, human]] * 3, metric=("distinct_2", "human"))
            for arm in ("control", "voted")
        ),
    )


@pytest.mark.parametrize(
    ("control", "voted", "harmful"),
    [
        (0.80, 0.70, False),  # from above to human text
        (0.60, 0.70, False),  # from below to human text
        (0.70, 0.80, True),
        (0.70, 0.60, True),
        (0.80, 0.60, False),  # to the other side, as far away
    ],
)
def test_a_move_towards_human_text_is_no_harm(control, voted, harmful):
    result = compare_values(beside_human(control, voted), arms("voted"))
    row = one_row(result)
    assert row.harmless != harmful
    assert row.outside_from.times == ((1,) * 3 if harmful else (None,) * 3)
    (warning,) = result.warnings
    assert (warning.alarm.first == 1) == harmful
    if not harmful:
        assert "ruled out: Distinct-2, drawn further from human text by" in str(
            verdict_sentences(result)
        )


def test_a_seed_without_a_pair_does_not_hide_the_human_reference():
    table = beside_human(0.80, 0.70)
    single = (table["arm"] == "control") & (table["seed"] == 2)
    row = one_row(compare_values(table[~single], arms("voted")))
    assert row.against.difference.n == 2
    assert row.outside_from.times == (None, None)


@pytest.mark.parametrize(
    ("metric", "end"),
    [
        (("reward_mean", "drawn"), 2.0),  # curated collapse is growth of the reward
        (("rare_gap", "held_out"), 0.5),  # it falls when common tokens get worse
        (("rare_gap", "held_out"), 2.0),
    ],
)
def test_growth_of_a_reward_and_a_smaller_gap_of_rare_tokens_are_not_called_better(metric, end):
    table = frame(
        *(
            rows(arm, *[[1.0, end + 0.001 * seed] for seed in (-1, 0, 1)], metric=metric)
            for arm, end in (("control", 1.0), ("voted", end))
        )
    )
    result = compare_values(table, arms("voted"), [metric[0]])
    assert not one_row(result).harmless
    assert result.warnings[0].alarm.first == 1
    assert "ruled out" not in " ".join(verdict_sentences(result))


def test_with_arm_and_control_exchanged_every_sentence_turns_round():
    loss = ("rare_loss", "held_out")
    parts = {
        "control": [[50, 100], [50, 110], [50, 120]],
        "voted": [[50, 111], [50, 122], [50, 133]],
    }
    losses = {"control": [[4, 6], [4, 6.2], [4, 6.1]], "voted": [[4, 5], [4, 5.3], [4, 5.2]]}
    table = frame(
        *(rows(arm, *values) for arm, values in parts.items()),
        *(rows(arm, *values, metric=loss) for arm, values in losses.items()),
    )
    exchanged = table.assign(arm=table["arm"].map({"control": "voted", "voted": "control"}))
    one, other = (compare_values(each, arms("voted")) for each in (table, exchanged))
    for row, turned in zip(*(r.rows for r in (one, other)), strict=True):
        if row.against is None:
            continue
        difference, opposite = row.against.difference, turned.against.difference
        assert opposite.estimate == pytest.approx(-difference.estimate)
        assert (opposite.low, opposite.high) == pytest.approx((-difference.high, -difference.low))
        assert turned.against.p == pytest.approx(row.against.p)
        assert turned.against.sign_flips == row.against.sign_flips
        assert turned.against.slope.estimate == pytest.approx(-row.against.slope.estimate)
    above, below = "Perplexity, held-out", "Loss on rare tokens, held-out"
    for result, higher, lower in ((one, above, below), (other, below, above)):
        sentence = verdict_sentences(result)[0]
        assert f"significantly above control: {higher}" in sentence
        assert f"below control: {lower}" in sentence
        assert f"{lower} worse by" in sentence  # harm is ruled out where the metric is better
        (warning,) = result.warnings
        assert warning.alarm.signals == [higher]


def test_the_first_of_signals_that_are_alike_is_not_said_to_lead():
    late = [[50, 50, 50, 140 + s, 140 + s] for s in (0, 1, 2)]
    early = [[4, 4, 6 + 0.01 * s, 6, 6] for s in (0, 1, 2)]
    table = frame(
        rows("control", *[[50, 50, 50 + 0.1 * s, 50, 50] for s in (0, 1, 2)]),
        rows("voted", *late),
        rows(
            "control",
            *[[4, 4, 4 + 0.01 * s, 4, 4] for s in (0, 1, 2)],
            metric=("rare_loss", "held_out"),
        ),
        rows("voted", *early, metric=("rare_loss", "held_out")),
    )
    (warning,) = compare_values(table, arms("voted", last=4)).warnings
    # One generation of lead over three seeds is within what rounding alone allows.
    assert warning.leads["Loss on rare tokens, held-out"].estimate == 1
    assert warning.ahead == []


def test_a_fact_of_the_pedigree_is_no_signal_of_harm():
    """Selfing has F = 0.9 by design: an alarm would say that the design is harm."""
    table = frame(
        rows("control", *[[0, 0, 0.001 * s] for s in (0, 1, 2)], metric=("inbreeding", "all")),
        rows(
            "voted", *[[0, 0.5, 0.9 + 0.001 * s] for s in (0, 1, 2)], metric=("inbreeding", "all")
        ),
        rows("control", *[[50, 50, 50 + 0.1 * s] for s in (0, 1, 2)]),
        rows("voted", *[[50, 50, 50 + 0.1 * s] for s in (0, 1, 2)]),
    )
    result = compare_values(table, arms("voted", last=2), ["inbreeding/all", "perplexity"])
    (warning,) = result.warnings
    assert list(warning.keys) == ["Perplexity, held-out"]
    assert warning.alarm.first is None


def test_references_have_intervals_and_the_bases_own_samples(monkeypatch):
    table = beside_human(0.72, 0.8).assign(low=math.nan, high=math.nan)
    human = table["split"] == "human"
    table.loc[human, ["low", "high"]] = (0.68, 0.72)
    base = table[human & (table["generation"] == 0)].assign(
        split="base", value=0.74, low=math.nan, high=math.nan
    )
    result = compare_values(pd.concat([table, base]), arms("voted"))
    row = one_row(result)
    assert row.human == pytest.approx((0.7, 0.68, 0.72))
    assert row.base.value == pytest.approx(0.74)
    shown = difference_table(result)
    assert shown.header[-2:] == ("base", "human")
    assert shown.lines[1][-2:] == ("0.740", "0.700 [0.680, 0.720]")
    assert "[human text 0.700; base model's own samples 0.740]" in verdict_sentences(result)[0]
    drawn = {}
    monkeypatch.setattr(
        comparison_figures.plots,
        "draw",
        lambda name, panels, **_: drawn.update({line.label: line for line in panels[0].lines}),
    )
    [figure] = comparison_figures.curves(result)
    assert set(drawn) == {"control", "voted", "human", "base"}
    assert drawn["human"].y == pytest.approx([0.7, 0.7])
    assert drawn["human"].band == (pytest.approx([0.68, 0.68]), pytest.approx([0.72, 0.72]))
    assert drawn["base"].y == pytest.approx([0.74, 0.74])
    assert all(drawn[name].dashed for name in ("human", "base"))
    assert "Dashed: held-out human text" in figure.reading


@pytest.mark.parametrize(("pool", "warned"), [(1_000_000, False), (50_000, True)])
def test_seeds_that_learn_much_of_the_pool_are_warned_of(pool, warned, tmp_path, measured_runs):
    folders = [
        measured_runs.write(
            tmp_path / f"{name}-{seed}",
            recipe.replace(seed=seed, generations=1),
            {PERPLEXITY: [90.0, end + seed]},
            pool_tokens=pool,
        )
        for name, recipe, end in (("human", HUMAN, 100.0), ("pure", PURE, 120.0))
        for seed in (0, 1)
    ]
    notes = " ".join(compare(folders).notes)
    # 20,000 of 50,000 tokens and two seeds: sqrt(1 + 2 * 0.4 / 0.6) = 1.53
    assert ("learns up to 40 % of the human pool" in notes) == warned
    assert ("make them 1.5 times as wide" in notes) == warned


def test_losses_of_single_documents_give_an_interval_for_new_documents(tmp_path, measured_runs):
    folders = []
    for seed in (0, 1, 2):
        for name, recipe, end in (("human", HUMAN, 100.0), ("pure", PURE, 120.0)):
            # Ten tokens a document: 0.1 nats/token more, and documents that differ by much.
            more = 1.0 if name == "pure" else 0.0
            spread = [more * (1 + 0.9 * (-1) ** document) for document in range(40)]
            losses = [40.0 + 0.01 * seed + extra for extra in spread]
            folders.append(
                measured_runs.write(
                    tmp_path / f"{name}-{seed}",
                    recipe.replace(seed=seed, generations=1),
                    {PERPLEXITY: [90.0, end + seed]},
                    held_out=[[40.0] * 40, losses],
                )
            )
    result = compare(folders)
    (crossed,) = result.crossed
    assert (crossed.documents, crossed.difference.n) == (40, 3)
    assert crossed.difference.estimate == pytest.approx(0.1)
    # Of documents alone: 0.09 * sqrt(40 / 39) / sqrt(40) = 0.01441, times t of 39 or more
    assert crossed.difference.half_width == pytest.approx(2.02 * 0.01441, rel=0.01)
    assert any(
        "new held-out documents: +0.100" in sentence and "3 seeds crossed with 40" in sentence
        for sentence in verdict_sentences(result)
    )


def test_an_infinite_loss_of_a_document_gives_no_interval_for_new_documents(
    tmp_path, measured_runs
):
    folders = [
        measured_runs.write(
            tmp_path / f"{name}-{seed}",
            recipe.replace(seed=seed, generations=1),
            {PERPLEXITY: [90.0, 95.0]},
            held_out=[[40.0, 41.0, 42.0], [40.0, math.inf, 42.0]],
        )
        for seed in (0, 1)
        for name, recipe in (("human", HUMAN), ("pure", PURE))
    ]
    assert compare(folders).crossed == ()


def test_a_table_says_which_difference_it_can_find_for_its_own_number_of_questions():
    ten = [rows(arm, *[[50, 100 + seed] for seed in range(3)]) for arm in "abcdefghij"]
    last = verdict_sentences(compare_values(frame(CONTROL, *ten), arms(*"abcdefghij")))[-1]
    assert "A difference of 10 standard deviations between seeds is then found in 4 of 5" in last


@pytest.mark.parametrize("split", ["drawn", "kept"])
def test_a_value_that_depends_on_the_number_of_documents_has_it_beside_it(split):
    metric = ("mauve", split)
    table = frame(
        *(
            rows(arm, *[[0.9, 0.8 + 0.01 * s] for s in range(3)], metric=metric)
            for arm in ("control", "voted")
        ),
        CONTROL,
        WORSE,
    )
    table["n"] = 89
    found = compare_values(table, arms("voted"), [f"mauve/{split}", "perplexity"])
    (note,) = [note for note in found.notes if "MAUVE" in note]
    assert note.startswith(f"MAUVE, {split}: each value compares 89 documents with as many human")
    assert note in to_page_markdown(found)
