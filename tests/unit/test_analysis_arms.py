"""Which runs are replicates of one arm, what arms are called, and what cannot be compared."""

import pytest
import yaml

import textmad as tm
from textmad.analysis.arm_settings import differing_paths, flat_settings, short_names
from textmad.analysis.arms import HUMAN_ONLY, gather_arms
from textmad.errors import RunError

PURE = tm.Recipe(generations=2, mix={"model_tokens": 20_000})
HUMAN = PURE.replace(mix={"model_tokens": 0, "human_tokens": 20_000})
VOTED = PURE.replace(curate=[{"upvotes": {"keep": 0.4}}], sample={"oversample": 4.0})
VALUES = {("perplexity", "held_out"): [70.0, 75.0, 80.0]}


@pytest.fixture
def write(tmp_path, measured_runs):
    """Write the run of a recipe and a seed; its folder."""

    def one(name, recipe=PURE, seed=0, generations=3, **rest):
        values = {key: each[:generations] for key, each in VALUES.items()} if generations else {}
        return measured_runs.write(tmp_path / name, recipe.replace(seed=seed), values, **rest)

    return one


def names(arms):
    return {arm.name: list(arm.runs) for arm in arms.arms}


# --- names ----------------------------------------------------------------------------------


def test_runs_that_differ_in_the_seed_alone_are_one_arm(write):
    folders = [write(f"{n}-{s}", r, s) for s in (1, 0) for n, r in (("p", PURE), ("h", HUMAN))]
    assert names(gather_arms(folders)) == {HUMAN_ONLY: [0, 1], "human_tokens=0": [0, 1]}


def test_arms_are_named_by_the_fewest_settings_that_tell_them_apart(write):
    found = gather_arms([write("p"), write("h", HUMAN), write("v", VOTED)])
    # oversample differs too, but the filters say it already
    assert list(names(found)) == [HUMAN_ONLY, "curate=none", "curate=upvotes"]
    assert found.differing()["curate=upvotes"] == {
        "curate": "upvotes",
        "mix.human_tokens": "0",
        "mix.model_tokens": "20000",
        "sample.oversample": "4",
    }


def test_two_settings_are_named_where_one_is_not_enough(write):
    grid = [(epochs, rank) for epochs in (1.0, 2.0) for rank in (4, 8)]
    folders = [
        write(f"{e}-{r}", PURE.replace(train={"epochs": e}, model={"lora": {"rank": r}}))
        for e, r in grid
    ]
    found = gather_arms(folders, control="rank=4, epochs=1")
    assert set(names(found)) == {f"rank={r}, epochs={e:g}" for e, r in grid}


def test_settings_of_a_filter_name_the_arm_where_they_are_what_differs(write):
    other = VOTED.replace(curate=[{"upvotes": {"keep": 0.2}}])
    found = gather_arms([write("a", VOTED), write("b", other)], control="keep=0.2")
    assert list(names(found)) == ["keep=0.2", "keep=0.4"]


def test_a_group_that_is_null_in_one_arm_tells_them_apart():
    full, lora = PURE.replace(model={"lora": None}), PURE
    settings = [flat_settings(full), flat_settings(lora)]
    assert {"model.lora", "model.lora.rank"} <= set(differing_paths(settings))
    assert short_names(settings, differing_paths(settings))[0] == "lora=null"


def test_equal_names_of_settings_are_written_out():
    settings = [{"mix.human": str(a), "corpus.human": str(b)} for a in (0, 1) for b in (0, 1)]
    found = short_names(settings, differing_paths(settings))
    assert found[0] == "mix.human=0, corpus.human=0"


def test_numbers_that_differ_in_the_last_digit_are_two_arms():
    one, other = (PURE.replace(train={"learning_rate": rate}) for rate in (1e-3, 1.0000001e-3))
    assert flat_settings(one) != flat_settings(other)


@pytest.mark.parametrize("same", [{"generations": 5}, {"evaluate": ["perplexity"]}])
def test_a_longer_run_or_one_measured_on_less_is_no_other_arm(same):
    assert flat_settings(PURE.replace(**same)) == flat_settings(PURE)


def test_the_same_filter_twice_has_settings_of_two_places():
    twice = PURE.replace(curate=[{"random": {"keep": 0.5}}, {"random": {"keep": 0.4}}])
    settings = flat_settings(twice)
    assert (settings["curate.0.random.keep"], settings["curate.1.random.keep"]) == ("0.5", "0.4")


# --- the control ----------------------------------------------------------------------------


def test_the_only_arm_without_model_text_is_the_control_and_stands_first(write):
    found = gather_arms([write("p"), write("h", HUMAN)])
    assert found.control == HUMAN_ONLY
    assert found.arms[0].name == found.control


def test_a_control_that_learns_its_text_by_heart_has_to_be_named(write):
    continued = {"start_from": "previous"}
    by_heart, pure = HUMAN.replace(model=continued), PURE.replace(model=continued)
    folders = [write("p", pure), write("h", by_heart)]
    with pytest.raises(tm.RunError, match="learns the same human text again") as caught:
        gather_arms(folders)
    assert "mix.human: fresh; or name this one (--control 'human only')" in str(caught.value)
    assert gather_arms(folders, "human only").control == "human only"
    fresh = by_heart.replace(mix={"human": "fresh"})
    assert gather_arms([write("p2", pure), write("f", fresh)]).control == "human only"


def test_an_arm_whose_human_text_is_crawled_is_no_control(write):
    crawled = HUMAN.replace(crawl={"contamination": 0.5})
    guarded = crawled.replace(crawl={"guard": [{"random": {"keep": 0.9}}], "oversample": 1.5})
    found = gather_arms([write("c", crawled), write("g", guarded), write("h", HUMAN)])
    assert list(names(found)) == [HUMAN_ONLY, "guard=none", "guard=random"]
    assert found.differing()["guard=random"]["crawl.guard.random.keep"] == "0.9"


def test_the_control_can_be_named_by_one_of_its_folders(write):
    folders = [write("p"), write("h", HUMAN)]
    assert gather_arms(folders, control=str(folders[0])).control == "human_tokens=0"


def test_a_control_that_is_no_arm_is_an_error_with_the_names_there_are(write):
    folders = [write("p"), write("h", HUMAN)]
    with pytest.raises(RunError, match=r"control: nope: is no arm .*: human_tokens=0; human only"):
        gather_arms(folders, control="nope")


def test_without_or_with_several_arms_of_human_text_the_control_has_to_be_named(write):
    pure, voted, human = write("p"), write("v", VOTED), write("h", HUMAN)
    more = write("more", HUMAN.replace(mix={"human_tokens": 30_000}))
    with pytest.raises(RunError, match=r"control: no arm learns from human text alone: .* name"):
        gather_arms([pure, voted])
    with pytest.raises(RunError, match="control: 2 arms learn from human text alone"):
        gather_arms([pure, human, more])


# --- a study --------------------------------------------------------------------------------


@pytest.fixture
def study(write, tmp_path):
    """A study of three arms and two seeds; of the third arm no run has begun."""

    def make(last_of_voted=VOTED):
        for seed in (0, 1):
            write(f"s/runs/human-only/seed-{seed}", HUMAN, seed)
            write(f"s/runs/voted/seed-{seed}", last_of_voted if seed else VOTED, seed)
        arms = {"voted": "voted", "human only": "human-only", "late": "late"}
        record = {
            "seeds": [0, 1],
            "arms": {n: {"folder": f, "control": None, "of": []} for n, f in arms.items()},
        }
        (tmp_path / "s/study.yaml").write_text(yaml.safe_dump(record, sort_keys=False))
        return tmp_path / "s"

    return make


def test_a_study_names_its_arms_and_what_has_not_begun_is_said(study):
    found = gather_arms([study()])
    assert names(found) == {"human only": [0, 1], "voted": [0, 1]}
    assert found.notes[0] == "Left out, without a complete generation: late (seed-0, seed-1)."


@pytest.fixture
def ranks(write, tmp_path):
    """A study of two ranks, each with human text alone and a twin; {arm: (control, of)} of all."""
    kinds = {
        "low": (None, []),
        "high": (None, []),
        "human only": ("human", ["low"]),
        "human only of high": ("human", ["high"]),
        "low twin": ("twin", ["low"]),
        "high twin": ("twin", ["high"]),
    }

    def make(begun=tuple(kinds), more=()):
        planned = kinds | dict(more)
        for place, name in enumerate(begun):
            recipe = HUMAN if name.startswith("human") else PURE
            rank = {"model": {"lora": {"rank": place + 1}}}
            write(f"s/runs/{name}/seed-0", recipe.replace(**rank))
        record = {
            "seeds": [0],
            "arms": {n: {"folder": n, "control": c, "of": o} for n, (c, o) in planned.items()},
        }
        (tmp_path / "s/study.yaml").write_text(yaml.safe_dump(record, sort_keys=False))
        return [tmp_path / "s"]

    return make


def by_control(found):
    return {name: control.name for name, control in found.controls.items()}


def test_where_a_study_has_several_human_only_arms_each_arm_has_its_own(ranks):
    found = gather_arms(ranks())
    assert by_control(found) == {
        "low": "human only",
        "high": "human only of high",
        "low twin": "human only",  # as the arm whose twin it is
        "high twin": "human only of high",
    }
    assert found.control == "its human only"
    assert list(names(found))[:2] == ["human only", "human only of high"]


def test_each_arm_can_be_set_against_its_twin(ranks):
    found = gather_arms(ranks(), control="twin")
    assert by_control(found) == {"low": "low twin", "high": "high twin"}
    assert found.control == "its matched random control"


def test_an_arm_named_like_a_kind_is_the_arm(ranks):
    found = gather_arms(ranks(begun=("low", "twin"), more={"twin": (None, [])}), control="twin")
    assert by_control(found) == {"low": "twin"}


def test_an_arm_with_several_twins_needs_the_name_of_one(ranks):
    folders = ranks(begun=("low", "low twin", "b"), more={"b": ("twin", ["low"])})
    with pytest.raises(RunError, match="low has several of the kind twin, low twin and b: "):
        gather_arms(folders, control="twin")


def test_a_kind_that_has_not_begun_or_loose_runs_do_not_have_is_an_error(ranks, write):
    with pytest.raises(RunError, match="control: twin: no arm of this study has begun with a"):
        gather_arms(ranks(begun=("low", "human only")), control="twin")
    with pytest.raises(RunError, match="control: twin: is no arm and no run of one"):
        gather_arms([write("p"), write("h", HUMAN)], control="twin")


def test_a_control_none_of_whose_runs_has_begun_is_an_error_as_that(ranks):
    folders = ranks(begun=("low", "high", "low twin"))
    with pytest.raises(RunError, match="control: high twin: no run with a complete generation"):
        gather_arms(folders, control="high twin")
    with pytest.raises(RunError, match="control: human only; human only of high: no run with"):
        gather_arms(folders)


def test_an_arm_whose_own_control_has_not_begun_is_said_to_be_set_against_nothing(ranks):
    found = gather_arms(ranks(begun=("human only", "low", "high", "low twin")), control="twin")
    assert by_control(found) == {"low": "low twin"}
    assert "Without its matched random control, so compared with nothing: high." in found.notes


def test_an_arm_of_a_study_whose_runs_are_of_two_recipes_is_an_error(study):
    with pytest.raises(RunError, match=r"voted/seed-1: stands under the arm voted.*epochs"):
        gather_arms([study(VOTED.replace(train={"epochs": 2}))])


def test_a_study_stands_alone(study, write):
    with pytest.raises(RunError, match="is a study: expected it alone, or run folders"):
        gather_arms([study(), write("p")])


@pytest.mark.parametrize("text", ["seeds: [0]", "[]", "arms: {a: 1}\nseeds: [0]"])
def test_a_study_that_is_still_to_be_run_has_nothing_to_compare(tmp_path, text):
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(tm.TextmadError, match=r"study\.yaml: "):
        gather_arms([tmp_path])


# --- what cannot be compared ----------------------------------------------------------------


def test_one_arm_is_nothing_to_compare(write):
    with pytest.raises(RunError, match=r"one arm, all runs \(seed 0, 1\): expected at least two"):
        gather_arms([write("a"), write("b", seed=1)])


def test_a_seed_given_twice_is_an_error(write):
    with pytest.raises(RunError, match=r"/b: has the recipe and the seed, 0, of .*/a: expected"):
        gather_arms([write("a"), write("b"), write("h", HUMAN)])


def test_what_is_no_run_folder_is_an_error(tmp_path, write):
    with pytest.raises(RunError, match="is no run folder"):
        gather_arms([write("a"), tmp_path / "nowhere"])


def test_runs_without_a_generation_are_left_out_and_said(write):
    found = gather_arms([write("p"), write("h", HUMAN), write("v", VOTED, generations=0)])
    assert HUMAN_ONLY in names(found)
    assert len(found.arms) == 2
    assert found.notes[0].endswith("/v.")


def test_nothing_begun_is_an_error(write):
    with pytest.raises(RunError, match="no run has a complete generation"):
        gather_arms([write("p", generations=0), write("h", HUMAN, generations=0)])


def test_arms_without_a_common_seed_are_errors(write):
    with pytest.raises(RunError, match=r"\(seed 1\) has no seed in common with .* \(seed 0\)"):
        gather_arms([write("p", seed=1), write("h", HUMAN)])


def test_an_evaluator_with_other_settings_is_an_error(write):
    other = HUMAN.replace(evaluate=[{"perplexity": {"held_out_tokens": 500}}])
    message = r"/h: was measured with evaluate.perplexity.held_out_tokens: 500, .*/p with 30000"
    with pytest.raises(RunError, match=message):
        gather_arms([write("p"), write("h", other)])


# --- what has to be said --------------------------------------------------------------------


def test_runs_that_are_not_finished_are_used_to_the_last_common_generation(write):
    found = gather_arms([write("p", generations=2), write("h", HUMAN)])
    assert found.last == 1
    assert "/p has 1 of 2." in found.notes[0]
    assert found.notes[1] == "Compared at generation 1, the last that every run has."


def test_that_generation_0_has_nothing_of_a_model_is_said(write):
    found = gather_arms([write("p", generations=1), write("h", HUMAN)])
    assert found.notes[1:] == (
        "Compared at generation 0, the last that every run has.",
        "Up to generation 0 every arm has learned from human text alone.",
    )


def test_finished_runs_with_all_seeds_in_pairs_need_no_words(write):
    assert gather_arms([write("p"), write("h", HUMAN)]).notes == ()


def test_a_seed_without_a_pair_is_said(write):
    found = gather_arms([write("p"), write("h", HUMAN), write("h1", HUMAN, seed=1)])
    assert found.notes == ("In no difference of human_tokens=0, without a pair: seed 1.",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"corpus": {"max_words": 60}}, "the held-out text"),
        ({"model": {"base": "elsewhere"}}, "base models differ"),
        ({"sample": {"min_tokens": 10_000}}, "compared at 10,000 and 20,000 tokens"),
    ],
)
def test_what_makes_numbers_unlike_is_said(write, change, said):
    (note,) = gather_arms([write("p"), write("h", HUMAN.replace(**change))]).notes
    assert said in note


def test_different_versions_of_the_code_are_said(write):
    found = gather_arms([write("p"), write("h", HUMAN, code="another")])
    assert found.notes == ("The runs were made by different versions of textmad.",)
