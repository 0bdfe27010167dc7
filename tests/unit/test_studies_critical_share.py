"""The search for a threshold: what the study file may say, and where arms are placed."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import textmad as tm
from textmad import store
from textmad.planning import StudyPlan
from textmad.studies import Study, critical_share, parse_study, runner
from textmad.studies.folder import RUNS

TOTAL = 1_000
BASE = {
    "generations": 1,
    "mix": {"human_tokens": 500, "model_tokens": 500, "human": "fresh"},
    "sample": {"min_tokens": 100},
}
REPLACED = {"share": "replaced"}
VOTED = {"curate": [{"upvotes": {"keep": 0.25}}], "sample.oversample": 4.0}


def settings(**data: Any) -> dict[str, Any]:
    return {"recipe": BASE, "seeds": [0, 1], "threshold": REPLACED, **data}


def read(**data: Any) -> Study:
    return parse_study(settings(**data), "study.yaml", Path())


def budgets(study: Study) -> dict[str, tuple[int, int]]:
    return {a.name: (a.recipe.mix.human_tokens, a.recipe.mix.model_tokens) for a in study.arms}


# --- the arms that it begins with -----------------------------------------------------------


def test_a_share_that_is_replaced_keeps_the_sum_and_the_control_learns_from_all_of_it():
    assert budgets(read()) == {
        "share=0.1": (900, 100),
        "share=0.9": (100, 900),
        "human only": (1_000, 0),
    }


def test_a_share_that_is_added_keeps_the_human_text_and_the_control_learns_from_that():
    study = read(threshold={"share": "added", "between": [0.2, 0.75]})
    # 125 of 625 are a fifth, 1,500 of 2,000 three quarters.
    assert budgets(study) == {
        "share=0.2": (500, 125),
        "share=0.75": (500, 1_500),
        "human only": (500, 0),
    }


def test_a_share_of_one_has_no_human_text_and_the_same_control():
    study = read(threshold={**REPLACED, "between": [0.1, 1.0]})
    assert budgets(study)["share=1"] == (0, 1_000)
    (control,) = [arm for arm in study.arms if arm.control == "human"]
    assert control.of == ("share=0.1", "share=1")
    assert control.recipe.mix.human == "fresh"


def test_where_the_recipe_has_no_human_text_the_arms_read_it_as_the_control_does():
    mix = {"human_tokens": 0, "model_tokens": 1_000}
    study = read(recipe={**BASE, "mix": mix}, controls={"human": "fresh"})
    assert {arm.recipe.mix.human for arm in study.arms} == {"fresh"}


def test_every_arm_and_the_twin_of_its_filter_has_a_search_of_its_own():
    study = read(arms={"plain": {}, "voted": VOTED})
    names = [arm.name for arm in study.arms]
    assert names == [
        *(f"{kind} share={x}" for kind in ("plain", "voted", "voted twin") for x in (0.1, 0.9)),
        "human only",
    ]
    twin = next(arm for arm in study.arms if arm.name == "voted twin share=0.1")
    assert (twin.control, twin.of) == ("twin", ("voted share=0.1",))
    plain = read(arms={"plain": {}, "voted": VOTED}, controls={"twins": False})
    assert len(plain.arms) == 5


def test_the_record_says_what_is_sought_with_its_tolerance():
    record = read().dump()["threshold"]
    assert record == {
        "share": "replaced", "metric": "perplexity/held_out", "tolerance": 0.02,
        "between": [0.1, 0.9], "arms": 6,
    }  # fmt: skip
    rare = read(threshold={**REPLACED, "metric": "rare_rate/drawn"}).dump()["threshold"]
    assert rare["tolerance"] == 0.05  # as `compare` has it
    assert "threshold" not in read(threshold=None).dump()


def test_a_plan_says_how_many_arms_may_come():
    study = read(arms={"plain": {}, "voted": VOTED}, controls={"twins": False})
    (line,) = StudyPlan(study, {}, 0.0)._searched()
    assert line.startswith(
        "more   up to 4 arms in each of 2 kinds, at shares chosen from the results"
    )


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"threshold": {}}, "threshold.share: is missing"),
        (
            {"threshold": {"share": "both"}},
            "threshold.share: both: expected 'replaced' or 'added'",
        ),
        (
            {"threshold": {**REPLACED, "tolernce": 0.1}},
            "threshold.tolernce: unknown setting; did you mean tolerance?",
        ),
        (
            {"threshold": {**REPLACED, "tolerance": 0}},
            "threshold.tolerance: 0: expected more than 0",
        ),
        ({"threshold": {**REPLACED, "arms": 2}}, "threshold.arms: 2: expected at least 3"),
        (
            {"threshold": {**REPLACED, "between": [0.0, 0.5]}},
            "threshold.between.0: 0.0: expected more than 0",
        ),
        (
            {"threshold": {**REPLACED, "between": [0.5, 0.5]}},
            "threshold.between: [0.5, 0.5]: expected the smaller share first",
        ),
        (
            {"threshold": {**REPLACED, "between": [0.3333333333, 0.5]}},
            "threshold.between: 0.3333333333: expected at most 6 digits, as arms are named by it: "
            "0.333333",
        ),
        (
            # 0.0004 of 1,000 tokens, and beside the 500 human ones.
            {"threshold": {**REPLACED, "between": [0.0004, 0.5]}},
            "threshold.between: 0.0004: is not one token of model text; raise it, or the budgets "
            "in mix",
        ),
        (
            {"threshold": {"share": "added", "between": [0.0004, 0.5]}, "arms": {"a": {}}},
            "threshold.between: 0.0004: is not one token of model text in a; raise it, or the "
            "budgets in mix",
        ),
        (
            {"threshold": {"share": "added", "between": [0.5, 1]}},
            "threshold.between: 1.0: expected less than 1 where share is added: human text remains",
        ),
        (
            {"threshold": {**REPLACED, "metric": "perplexity"}},
            "threshold.metric: perplexity: expected METRIC/SPLIT or METRIC/SPLIT/BIN, such as "
            "perplexity/held_out",
        ),
        (
            {"threshold": {**REPLACED, "metric": "perplexty/held_out"}},
            "threshold.metric: perplexty: is measured by no built-in evaluator; did you mean "
            "perplexity?",
        ),
        (
            {"threshold": {**REPLACED, "metric": "perplexity/held_outt"}},
            "threshold.metric: perplexity/held_outt: perplexity is measured on held_out",
        ),
        (
            {"arms": {"a": {}}, "threshold": {**REPLACED, "metric": "rare_rate/held_out"}},
            "threshold.metric: rare_rate/held_out: rare_rate is measured on base, drawn, "
            "human, kept in a",
        ),
        (
            {"threshold": {**REPLACED, "metric": "vendi_score/drawn"}},
            "threshold.metric: vendi_score: is measured by embedding, which is not in evaluate; "
            "add it",
        ),
        ({"seeds": [3, 3]}, "seeds: 3: is given 2 times; give it once"),
        ({"seeds": [3]}, "threshold: one seed gives no interval; give at least 2 in seeds"),
        (
            {"controls": False},
            "threshold: is set against human text alone; do not leave out that control",
        ),
        (
            {"axes": {"mix.model_tokens": [500]}},
            "axes.mix.model_tokens: mix.model_tokens: is the business of threshold; delete it here",
        ),
        (
            {
                "arms": {"a": {"mix.human_tokens": 0, "mix.human": "fixed"}, "b": {}},
                "threshold": {"share": "added"},
            },
            "threshold.share: added: mix.human_tokens is 0 in a: there is nothing to add to; "
            "raise it, or take share: replaced",
        ),
        (
            {"controls": {"human": "fixed"}},
            "controls.human: fixed: mix.human is fresh, so that more than model text would set arm "
            "and control apart; leave one of them out",
        ),
        (
            {"arms": {"a": {"mix.model": "all"}}},
            "threshold: mix.model: all in a: model text accumulates, so that no share stays; "
            "take latest or pool",
        ),
        (
            {"arms": {"a": {"crawl": {"contamination": 0.1}}}},
            "threshold: crawl in a: human text that may be a model's has no known share; delete "
            "crawl, or run axes over crawl.contamination",
        ),
        (
            {"recipe": {**BASE, "sample": {"min_tokens": 200}}},
            "sample.min_tokens: text is compared on 100 tokens in share=0.1 and on 200 in "
            "share=0.9; set it to 100 in the recipe",
        ),
    ],
)
def test_a_bad_search_is_an_error_with_what_was_expected(data, expected):
    with pytest.raises(tm.RecipeError) as caught:
        read(**data)
    assert str(caught.value) == f"study.yaml: 1 problem\n  {expected}"


def test_what_an_evaluator_of_ones_own_measures_is_known_when_it_has_run():
    own = {**BASE, "evaluate": ["perplexity", "textmad.evaluators:SelfBleu"]}
    read(recipe=own, threshold={**REPLACED, "metric": "self_bleu_2/drawn"})


def test_faults_of_the_search_are_told_with_all_others():
    with pytest.raises(tm.RecipeError) as caught:
        read(seeds=[1, 1], threshold={**REPLACED, "arms": 1}, axes={"train.epochs": [0]})
    assert len(str(caught.value).splitlines()) == 1 + 3


# --- where arms are placed ------------------------------------------------------------------


@pytest.fixture
def pretended(measured_runs, monkeypatch):
    """Runs that take no time: perplexity 100, and 10 for each share of model text, by a line.

    Gives the names of the runs computed, in their order, and which of them fail.
    """
    computed: list[str] = []
    fails: dict[str, Exception] = {}

    def compute(runs, path, cpu_threads, progress, tell):
        for run in runs:
            if run.name in fails:
                yield run, fails[run.name]
                continue
            folder = path / RUNS / run.name
            if not folder.exists():
                share = run.recipe.mix.model_share
                end = 100 + 10 * share + run.seed + 0.01 * run.seed * (-1) ** round(100 * share)
                measured_runs.write(folder, run.recipe, {("perplexity", "held_out"): [90, end]})
                facts = {"code": store.code_version(), "versions": store.versions()}
                (folder / "provenance.json").write_text(json.dumps(facts))
                computed.append(run.name)
            yield run, None

    monkeypatch.setattr(runner, "in_this_process", compute)
    monkeypatch.setattr(runner, "threads_each", lambda jobs: 1)
    return computed, fails


def placed(runs: dict[str, Any]) -> list[float]:
    return sorted(float(name.partition("share=")[2]) for name in runs if "share=" in name)


def test_arms_close_in_on_the_share_where_the_tolerance_is_left(pretended, tmp_path):
    computed, _ = pretended
    told: list[str] = []
    runs = tm.study(
        settings(threshold={**REPLACED, "tolerance": 0.05, "arms": 5}),
        tmp_path,
        tell=told.append,
    )
    # 10 x = 5 % of 100 at x = 0.5, give or take the seed's own level.
    shares = placed(runs)
    assert shares[0] == 0.1
    assert shares[-1] == 0.9
    assert sum(abs(share - 0.5) < 0.12 for share in shares) >= 2
    assert len(shares) <= 5
    assert told[0].startswith("share=0.5")
    assert "comes next: the tolerance is left at 0.5" in told[0]
    # Two arms, the control, then one arm after another, each with both seeds.
    rounds = [name.split("/")[0] for name in computed]
    assert len(set(rounds[:6])) == 3
    assert all(len(set(rounds[place : place + 2])) == 1 for place in range(6, len(rounds), 2))
    record = yaml.safe_load((tmp_path / "study.yaml").read_text())
    assert set(record["arms"]) == set(runs)
    assert record["arms"]["human only"]["of"] == [f"share={share:g}" for share in shares]
    found = tm.compare([tmp_path])
    (row,) = [each for each in found.critical_shares if each.key.metric == "perplexity"]
    assert row.result.estimate == pytest.approx(0.5, abs=0.02)


def test_a_search_goes_on_where_it_stopped_and_places_the_same_arms(pretended, tmp_path):
    computed, fails = pretended
    sought = settings(threshold={**REPLACED, "arms": 3})
    tm.study(sought, tmp_path / "whole")
    whole, third = list(computed), computed[6]
    computed.clear()
    fails[third] = tm.CurationError("no such word")
    with pytest.raises(tm.CurationError, match="1 of 8 runs failed"):
        tm.study(sought, tmp_path / "halves")
    assert computed == [name for name in whole[:8] if name != third]
    fails.clear()
    tm.study(sought, tmp_path / "halves")
    assert sorted(computed) == sorted(whole)
    records = [(tmp_path / each / "study.yaml").read_bytes() for each in ("whole", "halves")]
    assert records[0] == records[1]


def test_seeds_and_arms_may_be_added_to_a_search_and_what_was_placed_stays(pretended, tmp_path):
    computed, _ = pretended
    first = tm.study(settings(threshold={**REPLACED, "arms": 3}), tmp_path)
    assert len(placed(first)) == 3
    computed.clear()
    more = tm.study(settings(seeds=[0, 1, 2], threshold={**REPLACED, "arms": 4}), tmp_path)
    assert set(placed(first)) < set(placed(more))
    assert {name.rpartition("-")[2] for name in computed[:4]} == {"2"}
    assert len(computed) == 4 + 3  # the new seed, then the fourth share with all seeds


def ended(path: Path, recipe: Any = BASE, **threshold: Any) -> tuple[list[float], str]:
    """The shares that were run, and the search's last word."""
    told: list[str] = []
    sought = settings(recipe=recipe, threshold={**REPLACED, **threshold})
    return placed(tm.study(sought, path, tell=told.append)), told[-1]


def test_harm_that_begins_below_the_first_share_is_sought_down_to_the_control(pretended, tmp_path):
    # 10 x = 0.7 % of 100 at x = 0.07; a quarter of the gap from 0 to 0.2 is 0.05.
    short = {**BASE, "sample": {"min_tokens": 50}}
    shares, last = ended(tmp_path, short, tolerance=0.007, between=[0.2, 0.9], arms=4)
    assert shares[2:] == [0.2, 0.9]
    assert all(0.05 <= share <= 0.15 for share in shares[:2])
    assert last.startswith("no further share: the tolerance is left at 0.07 so far")
    assert last.endswith("; threshold.arms: 4")


def test_a_search_says_why_it_ends(pretended, tmp_path):
    assert ended(tmp_path / "never", tolerance=0.5) == (
        [0.1, 0.9],
        "no further share: no share that was run leaves the tolerance",
    )
    shares, last = ended(tmp_path / "narrow", tolerance=0.05, between=[0.495, 0.505])
    assert shares == [0.495, 0.505]
    assert last.endswith("; the shares around that leave no room")
    # A quarter of the gap below 0.1 are 25 tokens, and 0.1 itself are the 100 of min_tokens.
    shares, last = ended(tmp_path / "short", tolerance=0.002)
    assert shares == [0.1, 0.9]
    assert last.endswith(
        " is text of 25 tokens, fewer than all others are compared on: for it, begin a study with "
        "a smaller sample.min_tokens"
    )


def test_a_share_that_is_to_a_token_one_that_was_run_is_not_run_again(pretended, tmp_path):
    # Of 10 tokens 0.5 and 0.52 are both 5.
    few = {"mix": {"human_tokens": 5, "model_tokens": 5}, "sample": {"min_tokens": 1}}
    shares, last = ended(tmp_path, {**BASE, **few}, tolerance=0.052, between=[0.5, 0.6])
    assert shares == [0.5, 0.6]
    assert last.endswith("is to a token the share 0.5")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_search_without_numbers_of_two_seeds_says_so(pretended, tmp_path, monkeypatch, bad):
    monkeypatch.setattr(critical_share, "_value", lambda path, planned, metric: bad)
    assert ended(tmp_path) == (
        [0.1, 0.9],
        "no further share: perplexity/held_out is a finite number in all arms of fewer than two "
        "seeds",
    )


def test_a_metric_that_was_not_measured_is_an_error_with_those_that_were(pretended, tmp_path):
    with pytest.raises(tm.RunError) as caught:
        tm.study(settings(threshold={**REPLACED, "metric": "mattr/drawn"}), tmp_path)
    assert "threshold.metric: mattr/drawn: is not measured in" in str(caught.value)
    assert str(caught.value).endswith("there are: perplexity/held_out")


@pytest.mark.parametrize("with_human", [True, False])
def test_a_search_takes_a_move_towards_human_text_for_no_harm(with_human, tmp_path, measured_runs):
    search = {**REPLACED, "metric": "distinct_2/drawn"}
    study = read(recipe={**BASE, "evaluate": ["diversity"]}, threshold=search)
    for run in study.runs():
        end = 0.6 - 0.1 * run.recipe.mix.model_share + 0.001 * run.seed * (1 + len(run.arm))
        human = {("distinct_2", "human"): [0.5, 0.5]} if with_human else {}
        values = {("distinct_2", "drawn"): [0.7, end], **human}
        measured_runs.write(tmp_path / RUNS / run.name, run.recipe, values)
    told: list[str] = []
    critical_share.grown(study, tmp_path, told.append)
    if with_human:
        assert told == ["no further share: no share that was run leaves the tolerance"]
    else:
        assert "comes next" in told[0]
