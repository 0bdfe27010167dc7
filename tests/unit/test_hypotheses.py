"""Hypotheses: fixed and dated before the first run, tested first, and never changed in silence."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import special

import textmad as tm
from textmad import store
from textmad.analysis.comparison_result import hypothesis_frame
from textmad.analysis.pilots import power_by_pilot
from textmad.planning import Seconds, study_plan
from textmad.report.comparison.hypotheses import hypothesis_sentences
from textmad.report.comparison.page import print_comparison, write_comparison
from textmad.report.seeds_needed import power_table
from textmad.statistics import inference
from textmad.statistics.power import power, seeds_needed, upper_sd
from textmad.studies import parse_study
from textmad.studies.folder import begun
from textmad.studies.registration import read_versions, registered

BASE = {
    "generations": 2,
    "mix": {"model_tokens": 600},
    "sample": {"min_tokens": 500},
    "evaluate": ["perplexity"],
}
VOTED = {"curate": [{"upvotes": {"keep": 0.25}}], "sample.oversample": 4.0}
WORSE = {"metric": "perplexity/held_out", "arm": "voted", "against": "plain", "direction": "higher"}
SAME = WORSE | {"arm": "plain", "against": "human", "direction": "equivalent"}
PERPLEXITY = ("perplexity", "held_out")


def read(hypotheses, seeds=(0, 1, 2), **data):
    whole = {
        "recipe": BASE,
        "seeds": list(seeds),
        "arms": {"plain": {}, "voted": VOTED},
        "hypotheses": hypotheses,
        **data,
    }
    return parse_study(whole, "study.yaml", Path())


def fault(changes, **data):
    """The faults of a study with one hypothesis that is `WORSE` with changes."""
    with pytest.raises(tm.RecipeError) as caught:
        read({"one": WORSE | changes}, **data)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


# --- the study file -------------------------------------------------------------------------

ARMS = "plain, voted, human only, voted twin"
BAD = {
    "a metric without its split": (
        {"metric": "perplexity"},
        "metric: perplexity: expected METRIC/SPLIT or METRIC/SPLIT/BIN, such as "
        "perplexity/held_out",
    ),
    "a metric that nobody measures": (
        {"metric": "rare_loss/held_out"},
        "metric: rare_loss: is measured by rare_tokens, which is not in evaluate in voted; add it",
    ),
    "a split that is not measured": (
        {"metric": "perplexity/drawn"},
        "metric: perplexity/drawn: perplexity is measured on held_out in voted",
    ),
    "an arm that is none": (
        {"arm": "votd"},
        f"arm: votd: expected one of {ARMS}; did you mean voted?",
    ),
    "an arm against itself": (
        {"against": "voted"},
        "against: voted: is the arm itself: expected another",
    ),
    "an arm without a matched control": (
        {"arm": "plain", "against": "twin"},
        "against: twin: plain has no such control: expected the name of an arm",
    ),
    "held-out loss against a text": (
        {"against": "human text"},
        "against: human text: perplexity/held_out is not measured on such a text: expected a "
        "metric on drawn or kept, or an arm",
    ),
    "a direction that is none": (
        {"direction": "worse"},
        "direction: worse: expected 'higher', 'lower' or 'equivalent'",
    ),
    "a tolerance below 0": ({"tolerance": -0.1}, "tolerance: -0.1: expected at least 0"),
    "equality": (
        {"direction": "equivalent", "tolerance": 0},
        "tolerance: 0.0: no number of seeds can support equality: expected more than 0",
    ),
    "a level of a half": ({"level": 0.5}, "level: 0.5: expected less than 0.5"),
    "a level of 0": ({"level": 0}, "level: 0: expected more than 0"),
    "generation 0": ({"generation": 0}, "generation: 0: expected at least 1"),
    "a generation beyond the last": ({"generation": 3}, "generation: 3: expected at most 2"),
    "another setting": ({"tolerence": 0.1}, "tolerence: unknown setting; did you mean tolerance?"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_value_is_named_with_what_was_expected(name):
    changes, message = BAD[name]
    found = fault(changes)
    assert f"hypotheses.one.{message}" in found
    # Two arms of one recipe have the same fault once each.
    assert all(line.startswith("hypotheses.one.") for line in found)


def test_an_unknown_comparison_names_all_that_there_are():
    (found,) = fault({"against": "chance"})
    assert found.startswith(
        f"hypotheses.one.against: chance: expected one of {ARMS}, human, twin, imitation, labels, "
        "human text, "
    )


def test_the_same_claim_twice_and_a_name_that_is_none_are_errors():
    with pytest.raises(tm.RecipeError, match="two: claims the same as one; delete one"):
        read({"one": WORSE, "two": WORSE | {"generation": 2, "tolerance": 0}})
    with pytest.raises(tm.RecipeError, match="expected a name of 1 to 100 printable characters"):
        read({"": WORSE})


def test_what_is_left_open_is_resolved():
    one, two, three = read(
        {"one": WORSE, "two": SAME, "three": WORSE | {"against": "twin", "tolerance": 0.1}}
    ).hypotheses
    assert (one.tolerance, one.level, one.generation, one.seeds) == (0.0, 0.05, 2, (0, 1, 2))
    assert (two.tolerance, two.against) == (0.02, "human only")
    assert (three.tolerance, three.against) == (0.1, "voted twin")
    twin = read({"one": WORSE | {"arm": "voted twin", "against": "human"}}).hypotheses[0]
    assert twin.against == "human only"  # of the arm that it belongs to


# --- the record -----------------------------------------------------------------------------


def begin(study, path):
    said = []
    with begun(study, path, 1, said.append):
        pass
    return said


@pytest.fixture
def results(measured_runs, tmp_path):
    """Make all runs of a study: `values` by arm, then by seed, of the last of its generations."""

    def make(study, values, metric=PERPLEXITY, extra=()):
        for run in study.runs():
            if run.arm in values and run.seed < len(values[run.arm]):
                folder = tmp_path / "runs" / run.name
                if not folder.exists():
                    numbers = [50.0, 60.0, values[run.arm][run.seed]]
                    table = {metric: numbers} | {key: [value] * 3 for key, value in extra}
                    measured_runs.write(folder, run.recipe, table)
                    made_by = {"code": store.code_version(), "versions": store.versions()}
                    (folder / "provenance.json").write_text(json.dumps(made_by))
        return tmp_path

    return make


VALUES = {
    "plain": [100.0, 102.0, 104.0],
    "voted": [110.0, 113.0, 116.0],  # by 10, 11, 12
    "human only": [100.1, 101.9, 104.1],  # by -0.1, 0.1, -0.1
    "voted twin": [104.0, 105.0, 106.0],
}


def test_hypotheses_are_on_record_before_the_first_run_and_are_not_written_again(tmp_path):
    study = read({"one": WORSE, "two": SAME})
    (said,) = begin(study, tmp_path)
    (version,) = read_versions(tmp_path)
    assert said == f"hypotheses: version 1 with 2 registered; SHA-256 {version.sha256}"
    assert version.before_results
    assert tuple(version.hypotheses.values()) == study.hypotheses
    before = {path: path.read_bytes() for path in (tmp_path / "hypotheses").iterdir()}
    assert begin(study, tmp_path) == []
    assert {path: path.read_bytes() for path in (tmp_path / "hypotheses").iterdir()} == before


def test_a_study_without_hypotheses_has_no_record(tmp_path):
    assert begin(read({}), tmp_path) == []
    assert not (tmp_path / "hypotheses").exists()


def test_a_change_is_a_new_version_that_says_whether_results_existed(tmp_path, results):
    begin(read({"one": WORSE}), tmp_path)
    begin(read({"one": WORSE | {"tolerance": 0.01}}), tmp_path)
    results(read({}), VALUES)
    begin(read({"one": WORSE | {"tolerance": 0.02}}), tmp_path)
    first, second, third = read_versions(tmp_path)
    assert [v.runs_with_results for v in (first, second, third)] == [0, 0, 12]
    assert first.hypotheses["one"].tolerance == 0  # the old one is kept
    now, before = registered([first, second, third])
    assert (now.is_confirmatory, before.is_confirmatory) == (False, True)
    assert (before.hypothesis.tolerance, before.end) == (0.01, "changed")
    assert [what for _, what in now.changes] == ["tolerance 0.0 to 0.01", "tolerance 0.01 to 0.02"]


def test_a_changed_or_missing_version_is_an_error(tmp_path):
    for tolerance in (0, 0.01, 0.02):
        begin(read({"one": WORSE | {"tolerance": tolerance}}), tmp_path)
    first, second, _ = sorted((tmp_path / "hypotheses").iterdir())
    whole = first.read_text()
    first.write_text(whole.replace('"tolerance": 0.0', '"tolerance": 0.5'))
    with pytest.raises(tm.RunError, match=r"version-001.json: is not what textmad wrote"):
        read_versions(tmp_path)
    first.write_text(whole)
    second.rename(tmp_path / "elsewhere")
    with pytest.raises(tm.RunError, match=r"version-003.json: does not follow the version before"):
        read_versions(tmp_path)


def test_seeds_that_are_added_after_results_change_a_hypothesis(tmp_path, results):
    begin(read({"one": WORSE}, seeds=[0, 1]), tmp_path)
    results(read({}, seeds=[0, 1]), VALUES)
    longer = read({"one": WORSE}, seeds=[0, 1, 2])
    begin(longer, tmp_path)
    results(longer, VALUES)
    now, before = tm.compare([tmp_path]).hypotheses
    assert before.difference == inference.mean_interval([10, 11])  # as it was registered
    assert now.difference == inference.mean_interval([10, 11, 12])
    assert (before.registered.is_confirmatory, now.registered.is_confirmatory) == (True, False)


# --- compare --------------------------------------------------------------------------------


def compared(hypotheses, values, tmp_path, results, **rest):
    study = read(hypotheses)
    begin(study, tmp_path)
    return tm.compare([results(study, values, **rest)])


def test_hypotheses_are_adjusted_among_themselves_alone(tmp_path, results):
    found = compared({"one": WORSE, "two": SAME}, VALUES, tmp_path, results)
    one, two = found.hypotheses
    raw = [
        inference.equivalence([10, 11, 12], (0, math.inf)).p,
        inference.equivalence([-0.1, 0.1, -0.1], (-0.02 * 102.03, 0.02 * 102.03)).p,
    ]
    assert [one.p, two.p] == pytest.approx(inference.adjust(raw), rel=1e-3)
    assert (one.supported, two.supported) == (True, True)
    assert one.questions == 2 < found.questions + 2


def test_one_that_is_not_tested_yet_still_counts(tmp_path, results):
    few = VALUES | {"human only": [100.0, 102.0]}  # no seed 2
    one, two = compared({"one": WORSE, "two": SAME}, few, tmp_path, results).hypotheses
    assert one.p == pytest.approx(2 * inference.equivalence([10, 11, 12], (0, math.inf)).p)
    assert math.isnan(two.p)
    assert two.pairs.why_not == "human only has no value at generation 2 of seed 2"


def test_one_seed_supports_nothing(tmp_path, results):
    study = read({"one": WORSE}, seeds=[0])  # as of a shipped study that is tried out
    begin(study, tmp_path)
    (one,) = tm.compare([results(study, VALUES)]).hypotheses
    assert (one.supported, one.pairs.why_not) == (False, "one seed supports nothing")


def test_an_infinite_value_is_said_and_not_tested(tmp_path, results):
    values = VALUES | {"voted": [math.inf, 113.0, 116.0]}
    (one,) = compared({"one": WORSE}, values, tmp_path, results).hypotheses
    assert one.pairs.why_not == "voted has no finite value of seed 0"


@pytest.mark.parametrize(
    ("direction", "tolerance", "bounds", "supported"),
    [
        ("higher", 0.05, (5.1, math.inf), True),  # 5 % of 102
        ("higher", 0.2, (20.4, math.inf), False),
        ("lower", 0.0, (-math.inf, 0.0), False),
        ("equivalent", 0.2, (-20.4, 20.4), True),
        ("equivalent", 0.05, (-5.1, 5.1), False),
    ],
)
def test_the_tolerance_is_a_share_of_the_others_value(
    direction, tolerance, bounds, supported, tmp_path, results
):
    claim = WORSE | {"direction": direction, "tolerance": tolerance}
    (one,) = compared({"one": claim}, VALUES, tmp_path, results).hypotheses
    assert one.pairs.bounds == pytest.approx(bounds)
    assert one.supported == supported


def test_with_arm_and_other_exchanged_the_claim_turns_round(tmp_path, results):
    turned = WORSE | {"arm": "plain", "against": "voted", "direction": "lower"}
    one, two = compared({"one": WORSE, "two": turned}, VALUES, tmp_path, results).hypotheses
    assert one.p == two.p
    assert one.difference.estimate == -two.difference.estimate


def test_a_direction_against_human_text_has_to_leave_its_interval(tmp_path, results, monkeypatch):
    metric = ("base_perplexity", "drawn")
    claim = WORSE | {"metric": "base_perplexity/drawn", "against": "human text"}
    found = compared(
        {"one": claim},
        VALUES,
        tmp_path,
        results,
        metric=metric,
        extra=[(("base_perplexity", "human"), 100.0)],
    )
    (one,) = found.hypotheses
    assert one.pairs.why_not == "the human text has no interval"
    wide = _with_interval(monkeypatch, 100.0, 9.0)
    (one,) = tm.compare([tmp_path]).hypotheses
    assert wide == 9.0
    assert one.pairs.bounds == (9.0, math.inf)
    assert one.difference == inference.mean_interval([10, 13, 16])
    assert not one.supported


def _with_interval(monkeypatch, value, reach):
    from textmad.analysis import hypotheses
    from textmad.analysis.series import Reference

    monkeypatch.setattr(
        hypotheses, "reference", lambda rows: Reference(value, value - reach, value + reach)
    )
    return reach


def test_what_results_could_have_shaped_is_exploratory_and_says_when(tmp_path, results):
    study = read({"one": WORSE})
    begin(study, tmp_path)
    results(study, VALUES)
    begin(read({"one": WORSE, "two": SAME}), tmp_path)  # after a look
    found = tm.compare([tmp_path])
    first, second, *rest = hypothesis_sentences(found)
    date = read_versions(tmp_path)[1].date
    assert "before any result." in first
    assert second.endswith(
        f"Registered {date}, when 12 runs had results. It is exploratory, because results existed "
        "before it."
    )
    assert [each.questions for each in found.hypotheses] == [1, 2]
    assert rest[-1].startswith("Exploratory: everything below")


def test_a_hypothesis_that_is_withdrawn_after_results_is_still_tested(tmp_path, results):
    study = read({"one": WORSE, "two": SAME})
    begin(study, tmp_path)
    results(study, VALUES)
    begin(read({"two": SAME}), tmp_path)
    two, one = tm.compare([tmp_path]).hypotheses
    assert one.registered.end == "withdrawn"
    assert two.questions == 2  # as many as were registered
    sentence = hypothesis_sentences(tm.compare([tmp_path]))[1]
    assert "It was withdrawn" in sentence
    assert "and is tested as it was registered." in sentence


def test_an_arm_with_another_recipe_than_was_registered_is_not_tested(tmp_path, results):
    begin(read({"one": WORSE}), tmp_path)
    other = read({}, arms={"plain": {"train.epochs": 2.0}, "voted": VOTED})
    (tmp_path / "hypotheses").rename(tmp_path / "kept")
    begin(other, tmp_path)
    (tmp_path / "kept").rename(tmp_path / "hypotheses")
    results(other, VALUES)
    (one,) = tm.compare([tmp_path]).hypotheses
    assert one.pairs.why_not == "plain has another recipe than was registered"


def test_pages_put_hypotheses_first_and_call_all_else_exploratory(tmp_path, results, capsys):
    found = compared({"one": WORSE, "two": SAME}, VALUES, tmp_path, results)
    print_comparison(found)
    words = capsys.readouterr().out
    assert words.index("Hypothesis one: ") < words.index("Exploratory: everything below")
    assert words.index("Exploratory: everything below") < words.index("significantly")
    write_comparison(found, tmp_path / "out")
    for name in ("comparison.md", "comparison.html"):
        page = (tmp_path / "out" / name).read_text()
        assert page.index("Hypothesis one: ") < page.index("Exploratory: everything below")
    assert set(found.table["analysis"]) == {"exploratory"}
    assert list(hypothesis_frame(found)["analysis"]) == ["confirmatory", "confirmatory"]
    data = store.read_json(tmp_path / "out" / "comparison-hypotheses.json")
    assert data["all_else"] == "exploratory"
    assert [each["hypothesis"] for each in data["hypotheses"]] == ["one", "two"]
    assert [each["supported"] for each in data["hypotheses"]] == [True, True]
    assert data["hypotheses"][0]["bound_high"] is None  # JSON has no infinity
    without = replace(found, hypotheses=())
    print_comparison(without)
    assert "ypothes" not in capsys.readouterr().out
    write_comparison(without, tmp_path / "out")  # nothing old remains
    assert not list((tmp_path / "out").glob("comparison-hypotheses.*"))


# --- power ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("difference", "bounds", "level"),
    [(1.2, (0.0, math.inf), 0.05 / 3), (-0.9, (-math.inf, -0.2), 0.05), (0.1, (-1.0, 1.0), 0.025)],
)
def test_power_and_seeds_needed_are_those_of_simulated_studies(difference, bounds, level):
    """20,000 studies: a Monte Carlo error of 0.3 %, so that 1.5 % is five of them."""
    num = seeds_needed(difference, 1.0, bounds, level)
    rng = np.random.default_rng(0)
    for seeds, promised in ((num, power(num, difference, 1.0, bounds, level)), (num - 1, None)):
        x = rng.normal(difference, 1.0, (20_000, seeds))
        t = special.stdtrit(seeds - 1, 1 - level)
        reach = t * x.std(axis=1, ddof=1) / np.sqrt(seeds)
        found = np.mean((x.mean(1) - reach > bounds[0]) & (x.mean(1) + reach < bounds[1]))
        if promised is None:
            assert found < 0.8 + 0.015  # one seed fewer is not enough
        else:
            assert promised >= 0.8
            assert found == pytest.approx(promised, abs=0.015)


def test_no_number_of_seeds_supports_what_is_not_so():
    assert math.isinf(seeds_needed(0.5, 1.0, (1.0, math.inf)))
    assert math.isinf(seeds_needed(1.0, 1.0, (-1.0, 1.0)))
    assert seeds_needed(0.5, 0.0, (0.0, math.inf)) == 2


def test_the_upper_bound_holds_the_true_deviation_in_80_of_100_pilots():
    x = np.random.default_rng(0).normal(size=(10_000, 3)).std(axis=1, ddof=1)
    assert np.mean([upper_sd(sd, 2) > 1 for sd in x]) == pytest.approx(0.8, abs=0.02)


def test_a_pilot_says_how_many_seeds_each_hypothesis_needs_in_the_worst_case(tmp_path, results):
    study = read({"one": WORSE, "two": SAME, "three": WORSE | {"tolerance": 0.2}})
    begin(study, tmp_path)
    (one, two, three), notes = power_by_pilot(study, results(study, VALUES))
    assert one.sd == pytest.approx(1.0)
    assert one.level == pytest.approx(0.05 / 3)
    assert one.seeds == seeds_needed(11.0, 1.0, (0.0, math.inf), 0.05 / 3)
    assert one.seeds_for_upper_sd == seeds_needed(11.0, 2.117, (0.0, math.inf), 0.05 / 3)
    assert one.planned == power(3, 11.0, 1.0, (0.0, math.inf), 0.05 / 3)
    assert two.seeds >= 2
    assert math.isinf(three.seeds)  # the pilot's difference is within the tolerance
    (known,) = notes  # the pilot is the study itself
    assert known.startswith("seeds of the pilot and of the study: 0, 1, 2. Their results are known")


def test_a_pilot_with_other_seeds_and_settings_says_how_it_differs(tmp_path, results):
    pilot = read({"one": WORSE}, recipe=BASE | {"train": {"epochs": 2.0}})
    begin(pilot, tmp_path)
    _, notes = power_by_pilot(read({"one": WORSE}, seeds=(7, 8)), results(pilot, VALUES))
    assert notes == [
        "train.epochs: 2 in the pilot, 1 here (voted, plain). The pilot is of another study by so "
        "much."
    ]


@pytest.mark.parametrize(
    ("of_pilot", "of_study", "begins"),
    [
        (1, 1, []),
        (3, 3, []),
        (3, 1, ["each seed of the pilot has human text of its own (corpus.parts: 3), and"]),
        (3, 4, ["a seed of the pilot reads 1/3 of the human text and a seed of the study 1/4"]),
    ],
)
def test_a_pilot_whose_seeds_have_their_own_human_text_says_that_its_spread_is_of_another_kind(
    tmp_path, results, of_pilot, of_study, begins
):
    pilot = read({"one": WORSE}, recipe=BASE | {"corpus": {"parts": of_pilot}})
    study = read({"one": WORSE}, (3, 4), recipe=BASE | {"corpus": {"parts": of_study}})
    begin(pilot, tmp_path)
    _, notes = power_by_pilot(study, results(pilot, VALUES))
    assert len(notes) == len(begins)
    assert all(note.startswith(begin) for note, begin in zip(notes, begins, strict=True))


def test_a_pilot_whose_seeds_share_their_text_is_refused_where_the_studys_do_not(tmp_path, results):
    pilot = read({"one": WORSE})
    study = read({"one": WORSE}, (3, 4), recipe=BASE | {"corpus": {"parts": 4}})
    begin(pilot, tmp_path)
    with pytest.raises(tm.RunError) as caught:
        power_by_pilot(study, results(pilot, VALUES))
    assert str(caught.value) == (
        f"pilot {tmp_path}: corpus.parts: 1: its seeds share their human text, and each seed of "
        "the study has text of its own (corpus.parts: 4). The pilot's sd leaves out what other "
        "text adds, so the seeds would be too few: expected a pilot with the study's corpus.parts"
    )


def test_more_seeds_than_parts_of_the_corpus_are_named(tmp_path, results):
    parts = {"recipe": BASE | {"corpus": {"parts": 3}}}
    study = read({"one": WORSE}, (3, 4, 5), **parts)
    pilot = read({"one": WORSE}, **parts)
    begin(pilot, tmp_path)
    close = VALUES | {"voted": [101.0, 105.0, 104.5]}  # by 1, 3, 0.5
    ((power,), (note,)) = power_by_pilot(study, results(pilot, close))
    assert power.seeds > 3
    assert note.startswith("corpus.parts: 3 is enough for 3 seeds.")


def test_a_pilot_that_lacks_something_says_what(tmp_path, results):
    study = read({"one": WORSE})
    begin(study, tmp_path)
    values = {name: numbers for name, numbers in VALUES.items() if name != "plain"}
    with pytest.raises(tm.RunError, match="the pilot has no complete generation of plain"):
        power_by_pilot(study, results(study, values))
    results(study, VALUES)
    longer = replace(study, hypotheses=(replace(study.hypotheses[0], generation=5),))
    with pytest.raises(tm.RunError, match="voted has no value at generation 5 of seed 0, 1, 2: "):
        power_by_pilot(longer, tmp_path)


def test_the_table_of_a_pilot_has_the_plans_own_costs(tmp_path, results):
    study = read({"one": WORSE, "two": WORSE | {"tolerance": 0.2}})
    begin(study, tmp_path)
    powers, notes = power_by_pilot(study, results(study, VALUES))
    plan = SimpleNamespace(
        disk_bytes=10**6,
        models=1,
        trained_tokens=[100, 200],
        preferred_tokens=0,
        base_tokens=0,
        drawn_tokens=50,
        generations=1,
        scored_tokens=30,
        seconds=Seconds(now=900.0, idle=60.0),
        ranges=((900.0, 900.0), (60.0, 60.0)),
    )
    made = study_plan.StudyPlan(study, {"plain": plan}, Seconds(0.0, 0.0))
    seeds = powers[0].seeds
    table = power_table(powers, made, notes)
    one, two, both = table.lines
    assert table.notes[-1] == notes[0]
    assert one[4] == f"{seeds}"
    assert one[6] == f"{430 * seeds:,}"  # 300 trained, 100 sampled, 30 scored
    assert one[7:] == (f"about {seeds} minutes", f"{seeds} MB")
    assert two[4:] == both[4:] == ("–",) * 5


def test_json_of_the_record_is_plain(tmp_path):
    begin(read({"one": WORSE}), tmp_path)
    record = json.loads((tmp_path / "hypotheses" / "version-001.json").read_text())
    assert record["hypotheses"]["one"]["metric"] == "perplexity/held_out"
    assert record["previous"] is None
