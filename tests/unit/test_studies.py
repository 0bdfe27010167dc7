"""A study file: the arms, axes and controls that it gives, and every fault at once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import textmad as tm
from textmad.recipe.components import BUILT_IN
from textmad.studies import Study, load_study, parse_study
from textmad.studies.engines.local import environment, search_path
from textmad.studies.settings import patch, points

ROOT = Path(__file__).parents[2]
BASE = {"mix": {"model_tokens": 600}, "sample": {"min_tokens": 500}}
VOTED = {"curate": [{"upvotes": {"keep": 0.25}}], "sample.oversample": 4.0}


def read(**data: Any) -> Study:
    return parse_study({"recipe": BASE, "seeds": [0], **data}, "study.yaml", Path())


def names(study: Study) -> list[str]:
    return [arm.name for arm in study.arms]


def arm(study: Study, name: str) -> tm.Recipe:
    return next(arm.recipe for arm in study.arms if arm.name == name)


def faults(**data: Any) -> list[str]:
    with pytest.raises(tm.RecipeError) as caught:
        read(**data)
    first, *lines = str(caught.value).splitlines()
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    assert first == f"study.yaml: {count}"
    return [line.removeprefix("  ") for line in lines]


# --- arms and axes --------------------------------------------------------------------------


def test_runs_go_seed_by_seed_through_all_arms_and_each_has_its_seed():
    runs = read(seeds=[7, 3], arms={"a": {}, "b": {"train.epochs": 2}}, controls=False).runs()
    assert [run.name for run in runs] == ["a/seed-7", "b/seed-7", "a/seed-3", "b/seed-3"]
    assert [run.recipe.seed for run in runs] == [7, 7, 3, 3]
    assert [run.recipe.train.epochs for run in runs] == [1, 2, 1, 2]


def test_a_study_without_arms_and_axes_is_the_recipe_under_seeds():
    study = read(controls=False)
    assert names(study) == ["base"]
    assert arm(study, "base") == tm.Recipe().replace(**BASE)


def test_an_arms_patch_goes_by_dotted_path_or_nested_and_leaves_the_rest():
    nested = read(arms={"x": {"sample": {"top_k": 5}, "curate": ["length"]}}, controls=False)
    dotted = read(arms={"x": {"sample.top_k": 5, "curate": ["length"]}}, controls=False)
    assert nested == dotted
    assert arm(nested, "x") == tm.Recipe().replace(
        mix=BASE["mix"], sample={"min_tokens": 500, "top_k": 5}, curate=["length"]
    )


def test_a_mapping_changes_a_group_in_part_and_anything_else_replaces():
    data: dict[str, Any] = {"model": {"lora": {"rank": 4, "alpha": 8}}, "curate": ["random"]}
    patch(data, {"model": {"lora": {"rank": 2}}, "curate": []})
    assert data == {"model": {"lora": {"rank": 2, "alpha": 8}}, "curate": []}
    patch(data, {"model.lora": None})
    assert data["model"] == {"lora": None}


def test_axes_make_a_grid_and_paths_with_a_comma_between_them_move_together():
    axes = {"a": [1, 2], "b.c, b.d": [[3, 4], [5, 6]]}
    assert points(axes) == [
        {"a": 1, "b.c": 3, "b.d": 4},
        {"a": 1, "b.c": 5, "b.d": 6},
        {"a": 2, "b.c": 3, "b.d": 4},
        {"a": 2, "b.c": 5, "b.d": 6},
    ]


def test_an_arm_on_axes_is_named_by_its_values_and_a_lone_one_by_them_alone():
    axes = {"sample.temperature": [0.8, 1], "mix.human_tokens, train.epochs": [[0, 1], [100, 2]]}
    arms = {"plain": {}, "greedier": {"sample.top_k": 9}}
    study = read(axes=axes, arms=arms, controls=False)
    assert names(study)[:2] == [
        "plain temperature=0.8 human_tokens=0 epochs=1",
        "plain temperature=0.8 human_tokens=100 epochs=2",
    ]
    assert len(study.arms) == 2 * 2 * 2
    assert study.arms[0].folder == "plain-temperature=0.8-human_tokens=0-epochs=1"
    assert names(read(axes={"train.epochs": [1, 2]}, controls=False)) == ["epochs=1", "epochs=2"]


def test_settings_of_the_same_last_name_are_told_apart_by_their_whole_path():
    axes = {"mix.human": ["fixed"], "curate": [[]], "corpus.columns.text": ["text"]}
    study = read(axes={**axes, "corpus.config": ["a"], "corpus.columns.votes": [None]})
    assert names(study)[0] == "human=fixed curate=[] text=text config=a votes=null"
    twice = read(axes={"train.decay": ["none"], "sample.prompt": ["none"]}, controls=False)
    assert names(twice) == ["decay=none prompt=none"]


# --- controls -------------------------------------------------------------------------------


def test_the_human_control_learns_as_many_tokens_of_human_text_and_is_compared_on_as_many():
    study = read(arms={"mixed": {"mix.human_tokens": 200, "mix.human": "fresh", **VOTED}})
    human = arm(study, "human only")
    assert (human.mix.human_tokens, human.mix.model_tokens) == (200 + 600, 0)
    assert human.mix.human == "fresh"  # as the recipe says
    assert human.curate == ()
    # min(min_tokens, model_tokens) is compared in the arm; without model tokens it is min_tokens.
    assert human.sample.min_tokens == min(500, 600)
    small = read(arms={"small": {"mix.model_tokens": 300}})
    assert arm(small, "human only").sample.min_tokens == min(500, 300)


@pytest.mark.parametrize("human", ["fixed", "fresh"])
def test_the_human_control_may_be_told_which_text(human):
    study = read(controls={"human": human})
    assert arm(study, "human only").mix.human == human
    assert names(study) == ["base", "human only"]


@pytest.mark.parametrize("start", ["base", "previous"])
def test_the_human_control_of_an_arm_without_human_text_reads_fresh_text(start):
    # Read again and again by models that continue one another, fixed text is learned by heart:
    # the control ends worse than the arm, and the study reports the opposite of the truth.
    study = read(arms={"replaced": {"model.start_from": start}})
    assert arm(study, "human only").mix.human == "fresh"


CONTINUED = {"mix.human_tokens": 200, "model.start_from": "previous"}


def test_a_control_that_would_learn_fixed_text_by_heart_is_an_error_unless_it_is_named():
    (fault,) = faults(arms={"kept": CONTINUED})
    assert fault.startswith("controls.human: recipe: in kept mix.human is fixed")
    assert "set controls.human to fresh; or to fixed" in fault
    assert arm(read(arms={"kept": CONTINUED}, controls={"human": "fixed"}), "human only")
    reset = read(arms={"kept": {**CONTINUED, "model.start_from": "base"}})
    assert arm(reset, "human only").mix.human == "fixed"  # the base model forgets it every time


def test_a_search_for_the_critical_share_has_no_control_that_learns_by_heart_either():
    search = {"share": "replaced"}
    seeds = [0, 1]
    (fault,) = faults(arms={"kept": CONTINUED}, threshold=search, seeds=seeds)
    assert "controls.human: recipe: in kept mix.human is fixed" in fault
    replaced = {"model.start_from": "previous", "sample.min_tokens": 60}
    alone = read(arms={"replaced": replaced}, threshold=search, seeds=seeds)
    assert {each.recipe.mix.human for each in alone.arms} == {"fresh"}


def test_the_human_control_may_learn_as_much_as_the_arms_human_text_to_which_model_text_is_added():
    arms = {
        "a": {"mix.human_tokens": 200},
        "b": {"mix": {"human_tokens": 200, "model_tokens": 900}},
        "c": {"mix.human_tokens": 300},
    }
    study = read(arms=arms, controls={"tokens": "human"})
    of = {arm.of: arm.recipe.mix for arm in study.arms if arm.control == "human"}
    assert [(key, mix.human_tokens, mix.model_tokens) for key, mix in of.items()] == [
        (("a", "b"), 200, 0),
        (("c",), 300, 0),
    ]
    alone = read(arms={"a": {"mix.human_tokens": 0}}, controls={"tokens": "human"})
    assert names(alone) == ["a"]  # nothing that it could be added to


def test_arms_of_one_budget_share_the_human_control_and_others_have_their_own():
    shared = read(axes={"sample.temperature": [0.8, 0.9]}, arms={"a": {}})
    # What is drawn is drawn at the arm's temperature, so that the texts can be compared.
    assert names(shared)[2:] == ["human only", "human only of a temperature=0.9"]
    study = read(arms={"a": {}, "b": VOTED})
    control = next(arm for arm in study.arms if arm.control == "human")
    assert (control.name, control.of) == ("human only", ("a", "b"))


def test_an_arm_that_is_a_control_already_is_known_as_one_and_not_made_twice():
    human = {"mix": {"human_tokens": 600, "model_tokens": 0, "human": "fresh"}}
    twin = {**VOTED, "curate": [{"twin upvotes": {"keep": 0.25}}]}
    study = read(arms={"plain": {}, "voted": VOTED, "people": human, "chance": twin})
    assert names(study) == ["plain", "voted", "people", "chance"]
    found = {arm.name: (arm.control, arm.of) for arm in study.arms}
    assert found["people"] == ("human", ("plain", "voted", "chance"))
    assert found["chance"] == ("twin", ("voted",))
    assert found["plain"] == found["voted"] == (None, ())


def test_each_filter_that_is_not_random_itself_has_a_twin_arm():
    filters = [{"length": {"min_words": 3}}, "random", {"upvotes": {"keep": 0.5}}]
    study = read(
        arms={"two": {"curate": filters}, "one": VOTED, "none": {}}, controls={"human": "none"}
    )
    assert names(study)[3:] == ["two twin length", "two twin upvotes", "one twin"]
    first = arm(study, "two twin length").dump()["curate"]
    whole = arm(study, "two").dump()["curate"]
    assert first == [{"twin length": whole[0]["length"]}, *whole[1:]]


def test_a_crawl_filter_has_a_twin_and_the_human_control_of_a_crawl_reads_no_model_text():
    crawl = {"contamination": 0.3, "oversample": 2.0, "guard": [{"length": {"min_words": 3}}]}
    mix = {"human_tokens": 600, "model_tokens": 0, "human": "fresh"}
    study = read(arms={"crawled": {"mix": mix, "crawl": crawl}})
    assert names(study) == ["crawled", "human only", "crawled twin"]
    human, twin = arm(study, "human only"), arm(study, "crawled twin")
    assert (human.crawl, human.mix.human_tokens) == (None, 600)
    assert [guard.name for guard in twin.crawl.guard] == ["twin length"]
    assert (twin.crawl.contamination, twin.crawl.oversample) == (0.3, 2.0)


PREFERRED = {**VOTED, "train.preference": {"loss": "kto"}}


def test_an_arm_that_learns_by_preference_has_imitation_random_labels_and_a_temperature_sweep():
    study = read(arms={"liked": PREFERRED, "voted": VOTED}, controls={"temperatures": [0.5, 1]})
    found = {each.name: (each.control, each.of) for each in study.arms}
    assert found == {
        "liked": (None, ()),
        # What is imitated of an arm without preference is that arm: it is its control as well.
        "voted": ("imitation", ("liked",)),
        "human only": ("human", ("liked", "voted")),
        "liked random labels": ("labels", ("liked",)),
        "voted twin": ("twin", ("voted",)),
        "temperature 0.5": ("temperature", ("liked",)),
        "temperature 1": ("temperature", ("liked",)),
    }
    random = arm(study, "liked random labels")
    assert random.train.preference is not None
    assert random.train.preference.labels == "random"
    assert random.curate == arm(study, "liked").curate
    for name, temperature in (("temperature 0.5", 0.5), ("temperature 1", 1.0)):
        untuned = arm(study, name)
        assert untuned == arm(study, "voted").replace(
            generations=0, sample={"temperature": temperature}
        )
    assert arm(study, "human only").train.preference is None


def test_arms_that_are_alike_before_preference_learning_share_the_sweep_and_others_have_their_own():
    arms = {
        "kto": PREFERRED,
        "apo": {**PREFERRED, "train.preference": {"loss": "apo_zero_unpaired"}},
        "other": {**PREFERRED, "curate": [{"upvotes": {"keep": 0.3}}]},
    }
    study = read(arms=arms, controls={"human": "none", "temperatures": [0.8]})
    swept = {each.name: each.of for each in study.arms if each.control == "temperature"}
    assert swept == {
        "temperature 0.8": ("kto", "apo"),
        "temperature 0.8 of other": ("other",),
    }


def test_preference_controls_can_be_left_out_and_labels_at_random_have_none_of_their_own():
    without = {"human": "none", "preference": False, "temperatures": []}
    assert names(read(arms={"liked": PREFERRED}, controls=without)) == ["liked"]
    random = {**VOTED, "train.preference": {"labels": "random"}}
    study = read(arms={"chance": random}, controls={"human": "none", "temperatures": []})
    assert names(study) == ["chance", "chance imitation"]
    # Where no accepted text is imitated, there is nothing to compare with in that way.
    human = {"mix": {"human_tokens": 600, "model_tokens": 0}, "sample.oversample": 1.0}
    study = read(
        arms={"liked": {**PREFERRED, **human}}, controls={"human": "none", "temperatures": []}
    )
    assert names(study) == ["liked", "liked random labels"]


def test_a_jury_which_keeps_everything_has_no_twin():
    curate = ["jury", {"upvotes": {"keep": 0.25}}]
    study = read(arms={"one": {**VOTED, "curate": curate}}, controls={"human": "none"})
    assert names(study) == ["one", "one twin"]


def test_a_hypothesis_may_be_set_against_imitation_or_random_labels():
    claim = {"metric": "perplexity/held_out", "arm": "liked", "direction": "lower"}
    study = read(
        arms={"liked": PREFERRED},
        seeds=[0, 1],
        hypotheses={kind: {**claim, "against": kind} for kind in ("imitation", "labels")},
    )
    against = [each.against for each in study.hypotheses]
    assert against == ["liked imitation", "liked random labels"]


def test_without_controls_there_are_none():
    assert names(read(arms={"one": VOTED}, controls=False)) == ["one"]


# --- faults ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"sedes": [1]}, "sedes: unknown setting; did you mean seeds?"),
        ({"seeds": []}, "seeds: []: expected at least 1 entry"),
        ({"seeds": [-1]}, "seeds.0: -1: expected at least 0"),
        ({"seeds": [1, 2, 1]}, "seeds: 1: is given 2 times; give it once"),
        ({"seeds": 3}, "seeds: 3: expected a list"),
        (
            {"seeds": [0, 1, 4], "recipe": {"corpus": {"parts": 4}}},
            "corpus.parts: 4: a run reads the part of its seed modulo 4, and of 3 seeds only 2 "
            "would have a part of their own: raise it, or choose other seeds",
        ),
        ({"recipe": 3}, "recipe: 3: expected the path of a recipe, or its settings"),
        ({"recipe": "none.yaml"}, "recipe: none.yaml: cannot be read: No such file or directory"),
        ({"recipe": {"sede": 1}}, "recipe.sede: unknown setting; did you mean seed?"),
        ({"arms": ["a"]}, "arms: [a]: expected settings as `key: value`"),
        ({"arms": {"a": 3}}, "arms.a: 3: expected settings as `key: value`"),
        (
            {"arms": {"a": {"sample.temprature": 2}}},
            "arms.a.sample.temprature: unknown setting; did you mean temperature?",
        ),
        (
            {"recipe": {**BASE, "curate": []}, "arms": {"a": {"curate.0.random.keep": 0.5}}},
            "arms.a.curate.0.random.keep: 0: no such place in the list: expected none, the list is "
            "empty",
        ),
        ({"arms": {"a": {"seed": 3}}}, "arms.a: seed: is the business of seeds; delete it here"),
        (
            {"arms": {"a": {}, "b": {"seed": 3}, "c": {"mix.model_tokens": 600}}},
            "arms.b: seed: is the business of seeds; delete it here\n"
            "arms: a and c are one and the same recipe; change one, or delete it",
        ),
        (
            {"arms": {"a": {}, "c": {"mix.model_tokens": 600}}},
            "arms: a and c are one and the same recipe; change one, or delete it",
        ),
        (
            {"arms": {"a": {}, "b": {"generations": 2, "evaluate": []}}},
            "arms: a and b differ in nothing but generations or evaluate or track or "
            "checkpoint_minutes, which makes no other arm; change one, or delete it",
        ),
        (
            {
                "arms": {"a": {"sample": {"temperature": 0.5}}, "b": {"sample.top_k": 5}},
                "axes": {"train.epochs, sample.temperature": [[1, 0.9], [2, 1.0]]},
            },
            "arms.a.sample.temperature: an axis moves sample.temperature in every arm; delete one "
            "of them",
        ),
        (
            {"arms": {"a": {"model.lora.rank": 2}}, "axes": {"model.lora": [{"rank": 4}]}},
            "arms.a.model.lora.rank: an axis moves model.lora in every arm; delete one of them",
        ),
        (
            {"controls": {"human": "none", "tokens": "human"}},
            "controls.tokens: human: is of the human-only arm, and human is none; drop one",
        ),
        (
            {"arms": {"a b": {}, "A-b": {"train.epochs": 2}}},
            "arms: a b and A-b would be in one folder; rename one",
        ),
        (
            {"arms": {"...": {}}},
            "arms: '...': expected a name of 1 to 100 letters, digits, and _ . = + -",
        ),
        (
            {"arms": {"human only": {}}},
            "arms: human only and human only would be in one folder; rename one",
        ),
        (
            {"arms": {"a": {}, "b": {"mix.model_tokens": 400}}},
            "sample.min_tokens: text is compared on 400 tokens in b and on 500 in a; set it to 400 "
            "in the recipe",
        ),
        ({"axes": {"train.epochs": []}}, "axes.train.epochs: []: expected at least 1 entry"),
        ({"axes": {"train.epochs": 2}}, "axes.train.epochs: 2: expected a list"),
        (
            {"axes": {"mix.humn_tokens": [0, 1]}},
            "axes.mix.humn_tokens: unknown setting; did you mean human_tokens?",
        ),
        ({"axes": {"train.epochs": [1, -2]}}, "axes.train.epochs: -2: expected more than 0"),
        (
            {"axes": {"train.epochs": [1, 1.0]}},
            "axes.train.epochs: 1.0: is given 2 times; give it once",
        ),
        (
            {"axes": {"sample.top_k": [9, 3, 9, 3, 9], "sample.temperature": [0.8, 0.9]}},
            "axes.sample.top_k: 9: is given 3 times; give it once\n"
            "axes.sample.top_k: 3: is given 2 times; give it once",
        ),
        (
            {"axes": {"nope.x": [1, 2], "train.epochs": [1, 2]}, "arms": {"a": {}}},
            "axes.nope: unknown setting",
        ),
        (
            {"axes": {"mix.human_tokens, mix.model_tokens": [[1, 600], [2]]}},
            "axes.mix.human_tokens, mix.model_tokens: [2]: expected a list of 2 values, one a path",
        ),
        (
            {"axes": {"train.epochs": [1], "sample.top_k, train.epochs": [[1, 2]]}},
            "axes.sample.top_k, train.epochs: train.epochs: is on two axes; delete one",
        ),
        ({"axes": {"seed": [0, 1]}}, "axes.seed: seed: is the business of seeds; delete it here"),
        (
            {"axes": {"mix.model_tokens": [0, 600]}, "arms": {"x": {"sample.oversample": 2.0}}},
            "axes: x model_tokens=0: mix: human_tokens and model_tokens are both 0: nothing to "
            "train on",
        ),
        ({"controls": 3}, "controls: 3: expected settings as `key: value`"),
        (
            {"controls": {"human": "new"}},
            "controls.human: new: expected 'recipe', 'fixed', 'fresh' or 'none'",
        ),
        ({"controls": {"preference": 1}}, "controls.preference: 1: expected true or false"),
        (
            {"controls": {"temperatures": [0]}},
            "controls.temperatures.0: 0: expected more than 0",
        ),
        (
            {"controls": {"temperatures": [1.0, 0.5, 1.0]}},
            "controls.temperatures: 1: is given twice; delete one",
        ),
        ({"controls": {"twin": True}}, "controls.twin: unknown setting; did you mean twins?"),
    ],
)
def test_a_bad_study_is_an_error_with_what_was_expected(data, expected):
    assert faults(**data) == expected.splitlines()


def test_an_axis_below_what_an_arm_sets_moves_it_in_that_arm():
    axes = {"curate.0.upvotes.keep": [0.25, 0.5]}
    study = read(arms={"voted": VOTED}, axes=axes, controls=False)
    assert [arm.recipe.curate[0].options["keep"] for arm in study.arms] == [0.25, 0.5]


def test_all_faults_are_told_at_once():
    assert faults(
        recipe={"train": {"epochs": 0}},
        seeds=[1, 1],
        controls="yes",
        arms={"a": {"sample.top_k": -1}, "b": {"curate": ["nosuch"]}},
        axes={"sample.temperature": [0, 1]},
    ) == [
        "controls: 'yes': expected settings as `key: value`",
        "seeds: 1: is given 2 times; give it once",
        "recipe.train.epochs: 0: expected more than 0",
        "axes.sample.temperature: 0: expected more than 0",
        "arms.a.sample.top_k: -1: expected at least 0",
        "arms.b.curate.0.nosuch: unknown filter; built in are "
        f"{', '.join(sorted(BUILT_IN['filter']))}; your own is module:name",
    ]


def test_faults_of_one_setting_hide_none_of_the_others():
    same = "arms: a and b are one and the same recipe; change one, or delete it"
    assert faults(seeds=[0, 0], arms={"a": {}, "b": {}}) == [
        "seeds: 0: is given 2 times; give it once",
        same,
    ]
    assert faults(
        arms={"a": {}, "b": {}, "c": 3, "d": {"seed": 1}, "e": {"nope": 1}},
        axes={"mix.human_tokens": [], "train.lerning_rate": [1e-3, 2e-3], "train.epochs": [2]},
    ) == [
        "arms.c: 3: expected settings as `key: value`",
        "axes.mix.human_tokens: []: expected at least 1 entry",
        "arms.d: seed: is the business of seeds; delete it here",
        "axes.train.lerning_rate: unknown setting; did you mean learning_rate?",
        "arms.e.nope: unknown setting",
    ]
    assert faults(seeds=[0, 0], arms={"a": {}, "b": {"mix.model_tokens": 400}})[1].startswith(
        "sample.min_tokens: text is compared on 400 tokens in b and on 500 in a"
    )


def test_a_study_file_finds_its_recipe_beside_it_and_is_an_error_before_torch_is_loaded(tmp_path):
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(BASE))
    path = tmp_path / "study.yaml"
    path.write_text("recipe: base.yaml\nseeds: [0]\narms:\n  plain:\n")
    assert names(load_study(path)) == ["plain", "human only"]
    path.write_text("recipe: base.yaml\nseeds: [0, 0]\n")
    code = (
        "import sys; from textmad.cli import main\n"
        f"sys.argv = ['textmad', 'study', {str(path)!r}, '--out', {str(tmp_path / 'out')!r}]\n"
        "try:\n    main()\n"
        "except SystemExit as left:\n    print(left.code, 'torch' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.stdout, done.stderr) == (
        "2 False\n",
        f"textmad: {path}: 1 problem\n  seeds: 0: is given 2 times; give it once\n",
    )
    assert not (tmp_path / "out").exists()


# --- the pool -------------------------------------------------------------------------------


def test_a_place_in_the_pool_has_its_threads_and_its_gpu_in_turn():
    found = [environment(place, 3, ["2", "5"]) for place in range(3)]
    assert [variables["CUDA_VISIBLE_DEVICES"] for variables in found] == ["2", "5", "2"]
    assert {variables["OMP_NUM_THREADS"] for variables in found} == {"3"}
    assert "CUDA_VISIBLE_DEVICES" not in environment(0, 1, []).keys() - os.environ.keys()


def test_the_search_path_of_another_process_is_ours_without_what_python_finds_itself(
    monkeypatch, tmp_path
):
    libraries = [os.path.dirname(module.__file__) for module in (os, pytest, json)]
    monkeypatch.setattr(sys, "path", [str(tmp_path), "", f"{tmp_path}/no.zip", *libraries, "."])
    assert search_path() == os.pathsep.join([str(tmp_path), "."])
