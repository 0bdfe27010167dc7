import math

import numpy as np
import pandas as pd
import pytest

from textmad.report.verdict import CAUTION, verdict

COLUMNS = ["generation", "evaluator", "metric", "split", "bin", "value", "n", "note", "low", "high"]
# Half widths of the human reference's interval.
WIDTH = {"distinct_2": 0.02, "rare_rate": 0.005}
NAN = math.nan


def metrics(perplexity=(), distinct=(), rare=(), human=(0.70, 0.100), losses=(), base=(), width=1):
    rows = [(g, "perplexity", "held_out", value) for g, value in enumerate(perplexity)]
    rows += [(g, "distinct_2", "drawn", value) for g, value in enumerate(distinct)]
    rows += [(g, "rare_rate", "drawn", value) for g, value in enumerate(rare)]
    for g, (rare_loss, common_loss) in enumerate(losses):
        rows += [(g, "rare_loss", "held_out", rare_loss)]
        rows += [(g, "common_loss", "held_out", common_loss)]
    full = [
        (g, "any", metric, split, "", value, 10, "no text" if math.isnan(value) else "", NAN, NAN)
        for g, metric, split, value in rows
    ]
    for split, values in (("human", human), ("base", base)):
        for metric, value in zip(WIDTH, values, strict=False):
            reach = WIDTH[metric] * width if split == "human" else NAN
            full.append((0, "any", metric, split, "", value, 10, "", value - reach, value + reach))
    return pd.DataFrame(full, columns=COLUMNS)


# The arms of two real runs: unselected text, and the top quarter by votes.
UNSELECTED = {"perplexity": (84, 102, 108), "distinct": (0.77, 0.79, 0.81)}
UNSELECTED |= {"rare": (0.102, 0.115, 0.127)}
VOTED = {"perplexity": (84, 106, 133), "distinct": (0.74, 0.55, 0.40)}
VOTED |= {"rare": (0.102, 0.05, 0.021)}


def test_rare_tokens_and_pairs_above_human_with_a_rise_of_perplexity_are_noise():
    assert verdict(metrics(**UNSELECTED)).outcome == "noise"
    assert "drifted towards noise" in str(verdict(metrics(**UNSELECTED)))


def test_rare_tokens_and_pairs_below_human_are_narrowing():
    assert verdict(metrics(**VOTED)).outcome == "narrowing"
    assert "narrowed" in str(verdict(metrics(**VOTED)))


def test_text_narrows_also_where_perplexity_stands_still():
    assert verdict(metrics(**VOTED | {"perplexity": (84, 84, 84)})).outcome == "narrowing"


def test_a_gentle_setting_gives_nothing_to_see_with_its_figures():
    still = metrics((70.1, 70.5), (0.72, 0.71), (0.096, 0.098))
    assert verdict(still).outcome == "nothing"
    assert "went from 70.10 to 70.50 (+0.6 %)" in str(verdict(still))  # 0.4 / 70.1


@pytest.mark.parametrize(("base", "weak"), [(71, True), (75, False)])
def test_models_that_never_leave_the_base_show_nothing_because_they_cannot(base, weak):
    still = metrics((70.1, 70.5), (0.72, 0.71), (0.096, 0.098))
    of_base = [
        (g, "any", "base_perplexity", "held_out", "", base, 10, "", NAN, NAN) for g in (0, 1)
    ]
    found = verdict(pd.concat([still, pd.DataFrame(of_base, columns=COLUMNS)]))
    assert found.outcome == "nothing"
    assert ("differ from that of the base model by 2 %" in str(found)) == weak


def test_text_that_starts_away_from_human_and_stays_there_did_not_move():
    assert verdict(metrics((84, 84), (0.80, 0.80), (0.15, 0.15))).outcome == "nothing"


def test_text_that_comes_back_to_human_from_above_did_not_narrow():
    assert verdict(metrics((84, 84), (0.80, 0.70), (0.13, 0.10))).outcome == "nothing"


def test_a_rise_of_perplexity_alone_names_neither_way():
    assert verdict(metrics((84, 100), (0.70, 0.70), (0.10, 0.10))).outcome == "worse"


def test_signals_that_contradict_each_other_name_neither_way():
    assert verdict(metrics((84, 100), (0.70, 0.80), (0.10, 0.05))).outcome == "worse"
    assert verdict(metrics((84, 84), (0.70, 0.80), (0.10, 0.05))).outcome == "unknown"


def test_a_fall_of_perplexity_near_human_text_is_better():
    assert verdict(metrics((84, 80), (0.70, 0.70), (0.10, 0.10))).outcome == "better"


def test_the_sentences_carry_the_numbers():
    said = str(verdict(metrics(**UNSELECTED, losses=((8.9, 3.6), (9.0, 3.7), (9.4, 3.8)))))
    assert "From generation 0 to 2, held-out perplexity" in said
    assert "went from 84.00 to 108.0 (+29 %)" in said  # 24 / 84
    assert "rare tokens changed by +0.500 nats, that of common tokens by +0.200" in said
    assert (
        "distinct-2 went from 0.770 to 0.810, above human text (human 0.700 in 0.680 to 0.720)"
        in said
    )
    assert "rare-token rate went from 0.102 to 0.127, above human text (human 0.100 in" in said
    assert "but" not in said


@pytest.mark.parametrize("arm", [UNSELECTED, VOTED, {"perplexity": (70, 70)}])
def test_every_verdict_says_that_one_seed_has_no_interval(arm):
    assert verdict(metrics(**arm)).sentences[-1] == CAUTION


def test_what_was_not_measured_is_said():
    said = str(verdict(metrics(perplexity=(84, 90))))
    assert "Not measured: distinct-2, rare-token rate, perplexity under the base model." in said
    assert "the loss on rare tokens" not in said


def test_a_metric_without_a_number_says_why():
    said = str(verdict(metrics((84, 90), distinct=(math.nan, math.nan))))
    assert "Not measured: distinct-2 (no text)," in said


def test_without_a_human_reference_no_way_is_named():
    lost = verdict(metrics((84, 108), (0.77, 0.81), (0.10, 0.13), human=()))
    assert lost.outcome == "worse"
    assert "human text not measured" in str(lost)


def test_nothing_is_compared_before_there_are_two_generations():
    assert verdict(metrics(perplexity=(84,))).outcome == "unknown"
    assert "nothing to compare yet" in str(verdict(metrics(perplexity=(84,))))
    assert verdict(metrics(human=())).outcome == "unknown"


# --- the ladder of references ----------------------------------------------------------------


def test_text_like_the_bases_own_samples_is_called_that_and_not_noise():
    # Above human text, but the base model itself writes so: recursion has not moved it.
    told = verdict(metrics((84, 90), (0.76, 0.81), (0.10, 0.127), base=(0.80, 0.125)))
    assert told.outcome == "worse"
    ladder = "0.810, as the base model's own samples (human 0.700 in 0.680 to 0.720; base 0.800)"
    assert ladder in str(told)
    assert "above" not in str(told)


def test_text_nearer_to_human_text_than_the_base_is_called_between():
    told = verdict(metrics((84, 84), (0.76, 0.76), base=(0.90,)))
    assert "0.760, between human text and the base model's own samples" in str(told)
    assert told.outcome == "nothing"


def test_text_beyond_the_bases_own_samples_is_above_human_text():
    told = verdict(metrics(**UNSELECTED, base=(0.74, 0.103)))
    assert told.outcome == "noise"
    assert "above human text (human 0.700 in 0.680 to 0.720; base 0.740)" in str(told)


def test_a_run_without_intervals_calls_nothing_above_or_below():
    # Nor does the table of a textmad that did not measure them yet, without the columns.
    table = metrics(**VOTED, width=NAN)
    for each in (table, table.drop(columns=["low", "high"])):
        told = verdict(each)
        assert told.outcome == "worse"
        assert "no interval of its human reference, so no text is called" in str(told)


@pytest.mark.parametrize("of_base", [False, True])
def test_sampled_text_that_is_the_references_text_has_no_direction(of_base):
    """Held-out human text in place of sampled text, and two samples of one model."""
    rng = np.random.default_rng(0)
    sd = {metric: width / 1.96 for metric, width in WIDTH.items()}
    directed = 0
    for _ in range(100):
        centre = (0.80, 0.125) if of_base else (0.70, 0.100)
        first, last, base = (
            [c + rng.normal(0, s) for c, s in zip(centre, sd.values(), strict=True)]
            for _ in range(3)
        )
        table = metrics(
            (84, 84),
            (first[0], last[0]),
            (first[1], last[1]),
            base=base if of_base else (),
        )
        directed += verdict(table).outcome != "nothing"
    assert directed / 100 <= 0.08


def test_a_planted_difference_is_found():
    rng = np.random.default_rng(1)
    sd = WIDTH["distinct_2"] / 1.96
    # Six standard deviations below human text and the base model, which writes like humans.
    narrowed = [
        verdict(
            metrics(
                (84, 84),
                (0.70 + rng.normal(0, sd), 0.70 - 6 * sd + rng.normal(0, sd)),
                base=(0.70 + rng.normal(0, sd),),
            )
        ).outcome
        for _ in range(100)
    ]
    assert narrowed.count("narrowing") / 100 >= 0.9
