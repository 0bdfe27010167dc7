"""Every recipe that is shipped loads, says what it is for, and runs."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file

import textmad as tm
from tests.simulated_raters import run_with_votes
from textmad.recipe import Recipe, load_recipe
from textmad.store import SharedStages
from textmad.studies import is_study

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "recipes"
LAUNCH = sorted((FOLDER / "accelerate").glob("*.yaml"))
STUDIES = sorted(path for path in {*FOLDER.rglob("*.yaml")} - {*LAUNCH} if is_study(path))
RECIPES = sorted({*FOLDER.rglob("*.yaml")} - {*LAUNCH, *STUDIES})
PAGES = sorted({*RECIPES, *STUDIES, *FOLDER.rglob("*.md"), ROOT / "README.md"})
CROWD = (
    "votes-vs-random",
    "noisy-crowd",
    "bots",
    "author-and-crowd",
    "discriminator",
    "detector-guard",
    "watermark-guard",
    "rescue-the-rare",
)
LOOPS = ("fully-synthetic", "augmentation", "fresh-data", "accumulate", "accumulate-subsample")


def name_of(path: Path) -> str:
    return path.relative_to(FOLDER).as_posix()


each_recipe = pytest.mark.parametrize("path", RECIPES, ids=name_of)
each_launch = pytest.mark.parametrize("path", LAUNCH, ids=name_of)


def tiny(recipe: Recipe) -> dict[str, Any]:
    """Overrides under which one generation takes seconds, with the recipe's own loop."""
    shrunk: dict[str, Any] = {}
    if recipe.mix.human_tokens:
        shrunk["mix.human_tokens"] = 150
    if recipe.mix.model_tokens:  # so few documents vary in length: draw more of them
        shrunk |= {"mix.model_tokens": 150, "sample.oversample": 2 * recipe.sample.oversample}
    if recipe.mix.subsample_tokens:
        shrunk["mix.subsample_tokens"] = 300
    return {
        "generations": 1,
        "corpus.max_documents": 300,
        "sample.min_tokens": 150,
        "sample.max_new_tokens": 24,
        "sample.slots": 16,
        **shrunk,
    }


def header(path: Path) -> dict[str, str]:
    """The comment before the settings, by its four words; a line may run on in the next."""
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    parts = re.split(r"(?:^|\n)(Question|Run|Cost|Expect):", "\n".join(lines))
    assert parts[0] == "", f"before the first of the four words: {parts[0]!r}"
    return {word: text.strip() for word, text in zip(parts[1::2], parts[2::2], strict=True)}


def compared_tokens(recipe: Recipe) -> int:
    return min(recipe.sample.min_tokens, recipe.mix.model_tokens or recipe.sample.min_tokens)


def without(recipe: Recipe, *paths: str) -> dict[str, Any]:
    data = recipe.dump()
    for path in paths:
        *groups, key = path.split(".")
        place = data
        for group in groups:
            place = place[group]
        del place[key]
    return data


def test_there_are_recipes_for_the_quickstart_and_for_every_classic_loop():
    names = {name_of(path) for path in RECIPES}
    assert {"quickstart/recipe.yaml", "quickstart/voted.yaml", "quickstart/human.yaml"} <= names
    assert {f"{loop}/recipe.yaml" for loop in LOOPS} <= names


@pytest.mark.parametrize("path", [*RECIPES, *STUDIES], ids=name_of)
def test_a_recipe_opens_with_question_run_cost_and_expect(path: Path):
    assert list(header(path)) == ["Question", "Run", "Cost", "Expect"]
    assert all(header(path).values())


@each_recipe
def test_the_command_in_a_recipe_runs_that_recipe(path: Path):
    command = rf"textmad run recipes/{re.escape(name_of(path))} --out runs/[a-z-]+"
    if load_recipe(path).corpus.source != "chitchat":  # a file of the user's
        command += r"\n--set corpus\.source=\S+"
    assert re.fullmatch(command, header(path)["Run"])


@pytest.mark.parametrize("path", STUDIES, ids=name_of)
def test_the_command_in_a_study_runs_that_study(path: Path):
    command = rf"textmad study recipes/{re.escape(name_of(path))} --out runs/[a-z-]+( --jobs 2)?"
    assert re.fullmatch(command, header(path)["Run"])


@pytest.mark.parametrize("folder", CROWD)
def test_a_study_of_the_crowd_has_three_seeds_and_human_text_alone_beside_it(folder: str):
    study = tm.load_study(FOLDER / folder / "study.yaml")
    assert study.seeds == (0, 1, 2)
    human = [arm.recipe for arm in study.arms if arm.recipe.is_human_only]
    assert len(human) == 1
    others = [arm.recipe for arm in study.arms if not arm.recipe.is_human_only]
    for recipe in others:
        mix = recipe.mix
        assert mix.human_tokens + mix.model_tokens == human[0].mix.human_tokens
        assert compared_tokens(recipe) == compared_tokens(human[0])


def test_the_quickstart_study_is_the_three_recipes_under_three_seeds():
    study = tm.load_study(FOLDER / "quickstart" / "study.yaml")
    files = {"unselected": "recipe", "voted": "voted", "human only": "human"}
    expected = {
        arm: load_recipe(FOLDER / "quickstart" / f"{file}.yaml").dump()
        for arm, file in files.items()
    }
    assert {arm.name: arm.recipe.dump() for arm in study.arms} == expected
    assert study.seeds == (0, 1, 2)


def test_the_demo_is_the_first_generations_of_the_quickstarts_first_seed():
    demo = tm.load_study(FOLDER / "quickstart" / "demo.yaml")
    whole = {arm.name: arm.recipe for arm in tm.load_study(FOLDER / "quickstart/study.yaml").arms}
    assert [arm.name for arm in demo.arms] == ["unselected", "voted", "human only"]
    less = {"held_out_tokens": 8000}  # held-out text: only how precisely the demo measures
    fast = [{"perplexity": less}, "diversity", {"rare_tokens": less}]
    for arm in demo.arms:
        assert arm.recipe.generations < whole[arm.name].generations
        fitting = whole[arm.name].replace(generations=arm.recipe.generations, evaluate=fast)
        assert arm.recipe.dump() == fitting.dump()
    assert demo.seeds == (0,)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_number_is_left_to_be_measured(path: Path):
    assert "MEASURE" not in path.read_text(encoding="utf-8")


@each_recipe
def test_a_resolved_recipe_reads_back_as_itself(path: Path, tmp_path: Path):
    recipe = load_recipe(path)
    written = tmp_path / "recipe.yaml"
    written.write_text(recipe.to_yaml(), encoding="utf-8")
    assert load_recipe(written).dump() == recipe.dump()


@pytest.fixture(scope="module")
def stand_ins(
    tmp_path_factory: pytest.TempPathFactory, tiny_llama_folder: Path, human_corpus: Path
) -> dict[str, str]:
    """What stands for the files that a user brings: a Llama, and posts under a recipe's keys."""
    posts = tmp_path_factory.mktemp("posts") / "posts.jsonl"
    lines = [json.loads(line) for line in human_corpus.read_text(encoding="utf-8").splitlines()]
    records = [
        {"text": line["text"], "score": number % 90, "sub": "AskReddit", "utc": 1.3e9 + number}
        for number, line in enumerate(lines)
    ]
    posts.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return {"model.base": str(tiny_llama_folder), "corpus.source": str(posts)}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study's folder: recipes with the same corpus and base model read and sample them once."""
    return tmp_path_factory.mktemp("study")


@each_recipe
def test_a_recipe_runs_one_tiny_generation(path: Path, study: Path, stand_ins: dict[str, str]):
    recipe = load_recipe(path)
    brought = stand_ins if recipe.corpus.source != "chitchat" else {}
    recipe = load_recipe(path, {**tiny(recipe), **brought})
    name = f"{path.parent.name}-{path.stem}/seed-0"
    run = run_with_votes(recipe, study / "runs" / name, SharedStages(study, name))
    assert run.generations == [0, 1]
    budget = recipe.mix.human_tokens + recipe.mix.model_tokens
    mixed = run.mixture(1)
    longest = max(run.training(1)["tokens"])
    assert 0 <= mixed["human_tokens"] + mixed["model_tokens"] - budget < 2 * longest
    assert {c.name for c in recipe.evaluate} == set(run.metrics["evaluator"])


def test_the_quickstart_arms_differ_in_the_mixture_and_the_votes_alone():
    plain, voted, human = (
        load_recipe(FOLDER / "quickstart" / f"{arm}.yaml") for arm in ("recipe", "voted", "human")
    )
    assert plain.dump() != voted.dump()
    differing = ("curate", "sample.oversample")
    assert without(plain, *differing) == without(voted, *differing)
    assert without(plain, "mix", "sample.oversample") == without(human, "mix", "sample.oversample")
    assert human.mix.human_tokens == plain.mix.model_tokens
    assert (human.mix.model_tokens, human.mix.human) == (0, "fresh")


def test_the_classic_loops_differ_in_the_mixture_alone():
    recipes = [load_recipe(FOLDER / loop / "recipe.yaml") for loop in LOOPS]
    assert all(without(recipe, "mix") == without(recipes[0], "mix") for recipe in recipes)
    assert len({recipe.mix for recipe in recipes}) == len(LOOPS)
    assert {r.mix.human_tokens + r.mix.model_tokens for r in recipes} == {24_000}


@pytest.mark.parametrize("folders", [("quickstart",), LOOPS], ids=["quickstart", "loops"])
def test_what_is_set_side_by_side_is_compared_on_equally_many_tokens(folders: tuple[str, ...]):
    paths = [path for path in RECIPES if path.parent.name in folders]
    assert len(paths) > 1
    assert len({compared_tokens(load_recipe(path)) for path in paths}) == 1


@each_launch
def test_accelerate_reads_a_launch_file_and_knows_all_its_keys(path: Path):
    config = load_config_from_file(str(path))
    assert isinstance(config, ClusterConfig)
    assert config.num_processes % config.num_machines == 0
    several = config.num_processes > 1
    sharded = path.stem == "fsdp"
    expected = "FSDP" if sharded else "MULTI_GPU" if several else "NO"
    assert config.distributed_type.value == expected
    if sharded:  # accelerate's default would leave the weights of all processes but one empty
        assert config.fsdp_config["fsdp_cpu_ram_efficient_loading"] is False


@each_launch
def test_the_command_in_a_launch_file_asks_for_as_many_processes(path: Path):
    text = path.read_text(encoding="utf-8")
    (asked,) = re.findall(r"^#.* --processes (\d+)$", text, re.MULTILINE)
    (file, recipe) = re.findall(r"recipes/\S+\.yaml", text)
    assert int(asked) == load_config_from_file(str(path)).num_processes
    assert file == f"recipes/{name_of(path)}"
    assert (ROOT / recipe).is_file()
