"""Critical shares and early warnings in a comparison: which arms, which numbers, which words."""

import math
import re
from dataclasses import replace
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

import textmad as tm
from textmad.analysis.arm_settings import ArmRuns
from textmad.analysis.arms import Arms, gather_arms
from textmad.analysis.compare import compare_values
from textmad.analysis.comparison_result import alarm_frame, share_frame
from textmad.analysis.control import PerArmControl
from textmad.analysis.critical_shares import families
from textmad.report.comparison.findings import (
    alarm_sentences,
    alarm_table,
    share_sentences,
    share_table,
)
from textmad.report.comparison.page import to_html, to_page_markdown

TOTAL = 20_000
SEEDS = (0, 1, 2)
COLUMNS = ["arm", "seed", "generation", "evaluator", "metric", "split", "bin", "value", "n", "note"]
HUMAN = tm.Recipe(mix={"human_tokens": TOTAL, "model_tokens": 0})
FRESH = HUMAN.replace(mix={"human": "fresh"})


def recipe(human, model, **changes):
    kept = {"model_tokens": model, "human_tokens": human}
    return HUMAN.replace(mix=kept, **changes)


def replaced(share, **changes):
    model = round(TOTAL * share)
    return recipe(TOTAL - model, model, **changes)


def arms(recipes, last=1, control=HUMAN):
    made = [
        ArmRuns(name, {seed: SimpleNamespace(recipe=each) for seed in SEEDS})
        for name, each in {"control": control, **recipes}.items()
    ]
    return Arms(tuple(made), last, ())


def table(values, metric=("perplexity", "held_out")):
    """Rows of {arm: (seeds, generations)}."""
    return pd.DataFrame(
        [
            (arm, seed, generation, "mine", *metric, "", value, 10, "")
            for arm, numbers in values.items()
            for seed, row in zip(SEEDS, numbers, strict=True)
            for generation, value in enumerate(row)
        ],
        columns=COLUMNS,
    )


def ending(*by_seed):
    """Generation 0 at 100 in every seed, then these."""
    return [[100.0, value] for value in by_seed]


# --- which arms are a family ----------------------------------------------------------------


def test_arms_that_share_the_sum_of_tokens_replace_and_those_that_share_the_human_ones_add():
    found = families(arms({"a": replaced(0.8), "b": replaced(0.2), "c": replaced(1.0)}))
    assert [(each.name, each.meaning, each.shares) for each in found] == [
        ("", "replaced", {"b": 0.2, "a": 0.8, "c": 1.0})
    ]
    (added,) = families(arms({"a": recipe(TOTAL, 5_000), "b": recipe(TOTAL, 20_000)}))
    assert (added.meaning, added.shares) == ("added", {"a": 0.2, "b": 0.5})


def test_arms_that_differ_in_more_are_families_of_their_own_under_what_their_names_share():
    hot = {"sample": {"temperature": 2.0}}
    found = families(
        arms(
            {
                "hot share=0.2": replaced(0.2, **hot),
                "hot share=0.8": replaced(0.8, **hot),
                "plain share=0.3": replaced(0.3),
                "plain share=0.7": replaced(0.7),
                "alone": replaced(0.5, train={"epochs": 3.0}),
            }
        )
    )
    assert [(each.name, list(each.shares.values())) for each in found] == [
        ("hot", [0.2, 0.8]),
        ("plain", [0.3, 0.7]),
    ]


@pytest.mark.parametrize(
    "recipes",
    [
        {"a": replaced(0.5)},  # one share
        {"a": recipe(10_000, 5_000), "b": recipe(5_000, 20_000)},  # no budget stays
        {"a": recipe(5_000, 5_000), "b": recipe(5_000, 20_000)},  # not that of the control
        {
            name: replaced(share).replace(mix={"model": "all"})
            for name, share in (("a", 0.2), ("b", 0.6))
        },
    ],
)
def test_arms_without_a_share_that_stays_are_none(recipes):
    assert families(arms(recipes)) == []


def test_a_control_that_learns_from_a_model_has_no_share_0():
    others = {"a": replaced(0.2), "b": replaced(0.8)}
    assert families(arms(others, control=replaced(0.5))) == []


def fixed_and_fresh(*kinds):
    """Of each kind the shares 0.2 and 0.8, after them model text alone."""
    mixed = {
        f"{kind} {share}": replaced(share).replace(mix={"human": kind})
        for kind in kinds
        for share in (0.2, 0.8)
    }
    return {**mixed, "pure": replaced(1.0)}


def test_fixed_and_fresh_human_text_are_families_of_their_own_with_a_control_of_their_kind():
    both = arms({**fixed_and_fresh("fixed", "fresh"), "fresh only": FRESH})
    own = {name: "fresh only" if "fresh" in name else "control" for name in both.controls}
    del own["fresh only"]
    found = families(replace(both, own=PerArmControl("its own", own)))
    assert [(each.name, each.control, each.shares) for each in found] == [
        ("", "control", {"fixed 0.2": 0.2, "fixed 0.8": 0.8, "pure": 1.0}),
        ("fresh", "fresh only", {"fresh 0.2": 0.2, "fresh 0.8": 0.8}),
    ]


def test_arms_whose_control_has_human_text_of_the_other_kind_are_left_out_with_a_note():
    both = arms(fixed_and_fresh("fixed", "fresh"), control=FRESH)
    (fresh,) = families(both)
    assert list(fresh.shares) == ["fresh 0.2", "fresh 0.8", "pure"]
    values = {name: ending(105, 106, 108) for name in both.controls}
    found = compare_values(table({"control": ending(100, 100, 100), **values}), both)
    assert [row.shares for row in found.critical_shares] == [(0.2, 0.8, 1.0)]
    assert found.notes == (
        "No critical share of fixed 0.2, fixed 0.8, pure: human text is fixed there and fresh in "
        "control, so more than model text sets them apart.",
    )


# --- critical shares -----------------------------------------------------------------------------

# 100 times the share: seeds at 90, 100 and 110 % of that. 2 % of 100 is left at a share of 0.02.
STEEP = {
    "control": ending(100.0, 100.0, 100.0),
    **{f"share={x:g}": ending(*(100 + 100 * x * f for f in (0.9, 1, 1.1))) for x in (0.2, 0.8)},
}
TWO = {f"share={x:g}": replaced(x) for x in (0.2, 0.8)}


def test_the_critical_share_is_where_the_difference_leaves_the_tolerance():
    (found,) = compare_values(table(STEEP), arms(TWO)).critical_shares
    assert (found.meaning, found.shares, found.tolerance) == ("replaced", (0.2, 0.8), 2.0)
    assert found.result.estimate == pytest.approx(0.02, abs=1e-3)
    (wide,) = compare_values(table(STEEP), arms(TWO), tolerance=0.4).critical_shares
    assert wide.result.estimate == pytest.approx(0.4, abs=1e-3)
    # 20 +- 5 at 0.2 lies inside 40, 80 +- 20 at 0.8 outside: t at 2.5 % is 4.3027
    assert (wide.result.low, wide.result.high) == (0.2, 0.8)


def test_the_words_say_share_interval_and_that_no_help_is_shown():
    found = compare_values(table(STEEP), arms(TWO), tolerance=0.4)
    assert share_sentences(found) == [
        "Model text replacing human text, Perplexity, held-out: stays within the tolerance of "
        "40.00 up to a model share of 0.40 (95 % interval 0.20 to 0.80, 3 seeds). Harm is ruled "
        "out up to 0.20. No share is significantly better than none: 0.20, +20.0 (95 % interval "
        "+15.0 to +25.0)."
    ]
    (line,) = share_table(found).lines
    assert line == (
        "Perplexity, held-out", "replaced", "↓", "40.00", "0.40", "[0.20, 0.80]", "0.20", "–",
        "0.20, 0.80",
    )  # fmt: skip


def test_a_share_that_is_better_than_none_is_said_to_help():
    helped = {**STEEP, "share=0.2": ending(95.0, 94.9, 95.1)}
    found = compare_values(table(helped), arms(TWO), tolerance=0.4)
    (sentence,) = share_sentences(found)
    assert "Shares better than none: 0.20, −5.00 (95 % interval −5.25 to −4.75)." in sentence
    assert share_table(found).lines[0][7] == "0.20"


def test_a_family_that_stays_inside_and_text_that_is_added_are_said_so():
    calm = {**STEEP, "share=0.8": ending(100.1, 99.9, 100.0), "share=0.2": ending(100, 100.1, 99.9)}
    (sentence,) = share_sentences(compare_values(table(calm), arms(TWO)))
    assert "stays within the tolerance of 2.000 up to the largest share run, 0.80" in sentence
    assert "(95 % interval 0.80 or more, 3 seeds). Harm is ruled out up to 0.80." in sentence
    more = {"share=0.2": recipe(TOTAL, 5_000), "share=0.8": recipe(TOTAL, 80_000)}
    (sentence,) = share_sentences(compare_values(table(STEEP), arms(more), tolerance=0.5))
    assert "model share of 0.50, 1 model tokens for each human token (95 %" in sentence


def test_seeds_and_shares_without_numbers_are_left_out():
    holes = {**STEEP, "share=0.2": ending(math.nan, 120.0, 121.0)}
    (found,) = compare_values(table(holes), arms(TWO)).critical_shares
    assert found.result.n == 2
    gone = {**STEEP, "share=0.2": ending(*[math.nan] * 3)}
    assert compare_values(table(gone), arms(TWO)).critical_shares == ()


def test_the_page_draws_the_curve_the_tolerance_and_the_points():
    found = compare_values(table(STEEP), arms(TWO), tolerance=0.4)
    page = to_html(found)
    (svg,) = (
        each
        for each in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
        if "share of model text" in each
    )
    ElementTree.fromstring(svg)
    text = to_page_markdown(found)
    assert "## Critical share\n\nModel text replacing human text, Perplexity" in text
    # A tolerance of 40: a harm of 20 raises no alarm, one of 80 does.
    assert "## Early warning\n\nshare=0.2: no early warning by generation 1 (3 seeds)." in text
    assert "share=0.8: early warning at generation 1 by Perplexity, held-out." in text


def test_the_file_holds_the_numbers_of_the_page():
    helped = {**STEEP, "share=0.2": ending(95.0, 94.9, 95.1)}
    own = PerArmControl(
        "human", dict.fromkeys(TWO, "control")
    )  # the kind; the file has the arm's own
    found = compare_values(table(helped), replace(arms(TWO), own=own), tolerance=0.4)
    (line,) = share_frame(found).itertuples()
    (row,) = found.critical_shares
    assert (line.metric, line.meaning, line.control) == ("perplexity", "replaced", "control")
    assert (line.seeds, line.generation, line.tolerance) == (3, 1, 40.0)
    assert line.critical_share == row.result.estimate
    assert (line.critical_share_low, line.critical_share_high) == row.result[1:3]
    assert line.no_harm_up_to == row.result.harmless
    assert (line.helping, line.shares) == ("0.2", "0.2, 0.8")
    shown = share_table(found).lines[0]
    assert shown[4] == f"{line.critical_share:.2f}"
    assert shown[5] == f"[{line.critical_share_low:.2f}, {line.critical_share_high:.2f}]"


def test_a_share_beyond_all_that_were_run_is_infinite_in_the_file():
    calm = {**STEEP, "share=0.8": ending(100.1, 99.9, 100.0), "share=0.2": ending(100, 100.1, 99.9)}
    (line,) = share_frame(compare_values(table(calm), arms(TWO))).itertuples()
    assert line.critical_share == math.inf


# --- early warning --------------------------------------------------------------------------


def path(*values, wobble=0.1):
    """Three seeds that run through these values, a little apart."""
    return [[value + wobble * seed for value in values] for seed in (-1, 0, 1)]


def watched(perplexity, rare, control=(100.0,) * 5):
    tables = [
        table({"control": path(*control), "voted": values}, (metric, "held_out"))
        for metric, values in (("perplexity", perplexity), ("rare_loss", rare))
    ]
    flat = {"voted": replaced(0.5)}
    noise = np.random.default_rng(0).normal(0, 0.01, len(tables[0]))
    tables = [each.assign(value=each["value"] + noise[::-1]) for each in tables]
    return compare_values(pd.concat(tables), arms(flat, last=4))


def test_the_signal_that_fires_first_is_named_with_its_lead_over_perplexity():
    found = watched(path(100, 100, 100, 100, 140), path(100, 100, 140, 140, 140))
    first, promise = alarm_sentences(found)
    assert first == (
        "voted: early warning at generation 2 by Loss on rare tokens, held-out. Ahead of "
        "perplexity: Loss on rare tokens, held-out by +2.0 (95 % interval +1.0 to +3.0) "
        "generations."
    )
    assert promise == (
        "An arm without harm beyond the tolerance in any signal raises this alarm in at most 5 % "
        "of studies, over all generations and signals together."
    )
    assert alarm_table(found).lines == (
        ("Perplexity, held-out", "voted", "↓", "4", "–"),
        ("Loss on rare tokens, held-out", "voted", "↓", "2", "+2.0 [+1.0, +3.0]"),
    )


def test_the_file_has_each_alarm_with_its_lead_and_perplexity_has_none():
    found = watched(path(100, 100, 100, 100, 140), path(100, 100, 140, 140, 140))
    perplexity, rare = alarm_frame(found).itertuples()
    assert (perplexity.metric, perplexity.alarm) == ("perplexity", 4)
    assert math.isnan(perplexity.lead)
    assert (rare.metric, rare.arm, rare.control) == ("rare_loss", "voted", "control")
    assert (rare.alarm, rare.lead, rare.seeds, rare.rate) == (2, 2, 3, 0.05)
    calm = alarm_frame(watched(path(*[100] * 5), path(100, 90, 80, 70, 60)))
    assert list(calm["alarm"]) == [math.inf, math.inf]


def test_perplexity_that_never_fires_or_fires_first_and_no_alarm_are_said():
    calm, worse = path(*[100] * 5), path(100, 100, 140, 140, 140)
    only_rare = alarm_sentences(watched(calm, worse))[0]
    # It never leaves, which counts as generation 5: three later than 2.
    assert only_rare.endswith("held-out by +3.0 (95 % interval +2.0 to +4.0) generations.")
    assert alarm_sentences(watched(worse, calm))[0].endswith("by Perplexity, held-out.")
    apart = path(100, 100, 100, 140, 140)
    none = alarm_sentences(watched(apart, worse))[0]  # one generation, no more than rounding
    assert none.endswith(
        "No lead over perplexity is supported: the first of several is a selection."
    )
    found = watched(calm, path(100, 90, 80, 70, 60))  # lower is better
    assert alarm_sentences(found)[0] == "voted: no early warning by generation 4 (3 seeds)."
    assert [line[3] for line in alarm_table(found).lines] == [">4", ">4"]


def test_a_signal_without_a_number_is_left_out_and_one_seed_gives_no_warning():
    rare = path(100, 100, 140, 140, 140)
    rare[1][1] = math.nan
    found = watched(path(100, 100, 100, 100, 140), rare)
    (warned,) = found.warnings
    assert list(warned.keys) == ["Perplexity, held-out"]
    assert "No signal of voted, since it lacks a number: Loss on rare tokens, held-out." in (
        alarm_table(found).notes
    )
    rare = path(100, 100, 140, 140, 140)
    rare[1][4] = math.inf
    found = watched(path(100, 100, 100, 100, 140), rare)
    assert found.warnings[0].alarm.fired == {
        "Perplexity, held-out": 4,
        "Loss on rare tokens, held-out": 2,
    }
    assert (
        "Loss on rare tokens, held-out of voted is watched before generation 4 alone, where a seed "
        "has no number."
    ) in alarm_table(found).notes
    one = table(STEEP)
    one = one[one["seed"] == 0]
    alone = Arms(tuple(ArmRuns(a.name, {0: a.runs[0]}) for a in arms(TWO).arms), 1, ())
    assert compare_values(one, alone).warnings == ()
    (row,) = compare_values(one, alone).critical_shares
    assert share_sentences(compare_values(one, alone))[0].endswith("One seed supports nothing.")
    assert math.isnan(row.result.low)


def test_a_seed_with_infinite_numbers_alone_is_in_no_warning_and_no_curve():
    endless = {arm: [*numbers[:2], [100.0, math.inf]] for arm, numbers in STEEP.items()}
    found = compare_values(table(endless | {"control": STEEP["control"]}), arms(TWO))
    assert [each.alarm.n for each in found.warnings] == [2, 2]
    assert [each.result.n for each in found.critical_shares] == [2]


# --- a study's own critical share ----------------------------------------------------------------


def test_what_a_study_seeks_the_critical_share_of_is_compared_with_its_tolerance(
    tmp_path, measured_runs
):
    values = {("perplexity", "held_out"): [90.0, 100.0], ("mattr", "drawn"): [0.5, 0.5]}
    for name, each in (("human", HUMAN), ("half", replaced(0.5))):
        for seed in (0, 1):
            folder = tmp_path / "runs" / name / f"seed-{seed}"
            measured_runs.write(folder, each.replace(generations=1, seed=seed), values)
    (tmp_path / "study.yaml").write_text(
        "seeds: [0, 1]\nthreshold: {metric: mattr/drawn, tolerance: 0.1}\n"
        "arms: {human only: {folder: human}, half: {folder: half}}\n"
    )
    assert gather_arms([tmp_path]).tolerances == {"mattr/drawn": 0.1}
    found = {row.key.metric: row.tolerance for row in tm.compare([tmp_path]).rows[1::2]}
    assert found == {"perplexity": pytest.approx(2.0), "mattr": pytest.approx(0.05)}


def nearer(share):
    """A metric 0.10 above human text without model text, which model text brings down to it."""
    return [[0.9, 0.60 - 0.1 * share + 0.001 * seed * (1 + share)] for seed in SEEDS]


@pytest.mark.parametrize("with_human", [True, False])
def test_a_move_towards_human_text_is_outside_only_where_human_text_was_not_measured(with_human):
    names = {f"share={share:g}": share for share in (0.2, 0.5, 1.0)}
    metric = ("distinct_2", "drawn")
    values = {"control": nearer(0.0)} | {name: nearer(share) for name, share in names.items()}
    parts = [table(values, metric)]
    if with_human:
        parts.append(table({name: [[0.5, 0.5]] * 3 for name in values}, ("distinct_2", "human")))
    both = arms({name: replaced(share) for name, share in names.items()})
    found = compare_values(pd.concat(parts), both, ["distinct_2/drawn"])
    (threshold,) = found.critical_shares
    assert threshold.from_human == with_human
    if with_human:
        assert (threshold.result.estimate, threshold.result.harmless) == (math.inf, 1.0)
        assert "further from human text" in to_html(found)
    else:  # 2 % of 0.6 are left at a share of 0.12
        assert threshold.result.estimate == pytest.approx(0.12, abs=0.02)


def test_a_move_beyond_human_text_counts_from_the_other_side():
    names = {"share=0.5": 0.5, "share=1": 1.0}
    metric = ("distinct_2", "drawn")
    values = {"control": nearer(0.0)} | {n: nearer(4 * share) for n, share in names.items()}
    human = table({name: [[0.5, 0.5]] * 3 for name in values}, ("distinct_2", "human"))
    both = arms({name: replaced(share) for name, share in names.items()})
    found = compare_values(pd.concat([table(values, metric), human]), both, ["distinct_2/drawn"])
    (threshold,) = found.critical_shares
    # At 0.5 it is 0.1 below human text instead of above, no further; at 1 it is 0.3 below.
    means = [each.interval.estimate for each in threshold.differences]
    assert means == pytest.approx([0.0, 0.2], abs=0.01)
    assert 0.5 < threshold.result.estimate < 1
