"""Recipes of other people: what is too large, endless or malformed is an error within a second.

`make test-faults` mutates 20,000 recipes, or as many as TEXTMAD_FUZZ says; `make test` a sample.
"""

import itertools
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

import textmad as tm
from textmad.models.opening import open_model
from textmad.recipe import Recipe, load_recipe
from textmad.recipe.validation_errors import printable, shown
from textmad.recipe.yaml_text import parse_override, parse_yaml
from textmad.studies import is_study, load_study

RECIPES = Path(__file__).parents[2] / "recipes"


def rejection(text: str) -> str:
    with pytest.raises(tm.RecipeError) as caught:
        parse_yaml(text, "recipe.yaml")
    return str(caught.value)


# --- bounds before reading ------------------------------------------------------------------


def test_aliases_that_stand_for_millions_of_values_are_errors_at_once():
    # 9 lines, each ten times the one before: a billion values.
    names = "abcdefghi"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]"
        for before, name in itertools.pairwise(names)
    ]
    begun = time.process_time()
    message = rejection("\n".join(lines))
    assert "stands for more than 100,000 values, aliases counted" in message
    assert time.process_time() - begun < 1


def test_merge_keys_that_double_are_errors_as_aliases_are():
    lines = ["m0: &m0 {a: 1}"]
    lines += [f"m{i}: &m{i} {{<<: [*m{i - 1}, *m{i - 1}]}}" for i in range(1, 25)]
    assert "stands for more than 100,000 values" in rejection("\n".join(lines))


def test_an_alias_within_its_own_value_is_an_error():
    assert "an alias stands for a value that it is itself a part of" in rejection("a: &a [*a]")


def test_aliases_of_a_few_values_are_as_if_written_out():
    text = "a: &a {rank: 4}\nb: *a\nc: {<<: *a, alpha: 8}"
    assert parse_yaml(text, "x") == {
        "a": {"rank": 4},
        "b": {"rank": 4},
        "c": {"rank": 4, "alpha": 8},
    }


@pytest.mark.parametrize("depth", [51, 400, 200_000])
def test_values_that_are_nested_too_deep_are_errors(depth):
    assert "not valid YAML: " in rejection("[" * depth + "]" * depth)


def test_a_file_that_is_no_regular_one_is_an_error_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(tm.RecipeError, match="cannot be read: it is no regular file"):
            load_recipe(path)
    with pytest.raises(tm.RecipeError, match="cannot be read: Is a directory"):
        load_recipe(tmp_path)


def test_a_study_whose_recipe_never_ends_is_an_error(tmp_path):
    (tmp_path / "study.yaml").write_text("recipe: /dev/zero\nseeds: [0]\n")
    with pytest.raises(tm.RecipeError, match="/dev/zero: cannot be read: it is no regular file"):
        load_study(tmp_path / "study.yaml")


def test_a_file_that_is_longer_than_any_recipe_is_an_error_unread(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("# long\n" * 1_500_000)
    begun = time.process_time()
    with pytest.raises(tm.RecipeError, match="has more than 2,000,000 bytes"):
        load_recipe(path)
    assert time.process_time() - begun < 1


def test_of_many_problems_a_hundred_are_told(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("".join(f"k{i}: 1\n" for i in range(5_000)))
    with pytest.raises(tm.RecipeError) as caught:
        load_recipe(path)
    assert len(str(caught.value).splitlines()) == 1 + 100 + 1
    assert str(caught.value).endswith("and 4,900 more")


# --- values ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"seed: {'9' * 5_000}",
        f"seed: 0x{'f' * 5_000}",
        f"seed: {2**63}",
        "seed: !!int ''",
        "seed: !!float ''",
        "seed: !!int x",
        "seed: !!set {a}",
        "seed: !!python/object/apply:os.system [exit]",
        "seed: !!null {a: 1}",
        "seed: !!bool maybe",
        'corpus: {source: "\\ud800"}',
        "\x00",
    ],
)
def test_a_value_that_no_setting_can_hold_is_no_valid_yaml(text):
    assert rejection(text).startswith("recipe.yaml: not valid YAML: ")


@pytest.mark.parametrize("value", ["2024-02-30", "2024-01-01", "!!timestamp foo"])
def test_a_date_is_text_as_no_setting_is_one(value):
    assert parse_yaml(f"split: {value}", "x") == {"split": value.rpartition(" ")[2]}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"generations": 1e9}, "generations: 1000000000.0: expected at most 10,000"),
        (
            {"model": {"base": "categorical", "categories": 10**12}},
            "model.categories: 1000000000000: expected at most 10,000,000",
        ),
        (
            {"sample": {"oversample": 1e300}},
            "sample.oversample: 1.0e+300: expected at most 1,000,000",
        ),
        ({"mix": {"model_tokens": 10**15}}, "model_tokens: 1000000000000000: expected at most"),
        ({"train": {"epochs": 1e300}}, "train.epochs: 1.0e+300: expected at most 1,000,000"),
        ({"seed": 10**5_000}, "seed: a whole number of more than 60 digits: expected "),
        ({"corpus": {"source": "\ud800"}}, "expected text without halves of surrogate pairs"),
    ],
)
def test_what_cannot_end_or_fit_is_an_error_with_its_bound(changes, line):
    with pytest.raises(tm.RecipeError) as caught:
        Recipe(**changes)
    assert line in str(caught.value)


def test_a_path_that_begins_at_home_is_expanded_once_for_all_who_read_it(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    recipe = Recipe(corpus={"source": "~/text.jsonl"}, model={"base": "~/model"})
    assert recipe.corpus.source == f"{tmp_path}/text.jsonl"
    assert recipe.model.base == f"{tmp_path}/model"
    assert Recipe(corpus={"source": "a~/b"}).corpus.source == "a~/b"


def test_a_value_in_a_message_is_short_whatever_it_is():
    deep: list[object] = []
    for _ in range(40):
        deep = [deep] * 40
    values = [deep, "x" * 10**6, {str(i): i for i in range(10**5)}, 10**5_000, [10**5_000]]
    begun = time.process_time()
    assert all(len(shown(value)) <= 60 for value in values)
    assert time.process_time() - begun < 1


def test_a_name_in_a_message_steers_no_terminal():
    assert printable("a\x1b[2J\n\x9b") == "a\\x1b[2J\\n\\x9b"
    with pytest.raises(tm.RecipeError) as caught:
        Recipe.model_validate({"\x1b[2Jseed": 1})
    assert "\x1b" not in str(caught.value)


def test_a_module_that_exits_when_imported_does_not_end_the_program_with_0(tmp_path):
    (tmp_path / "quits.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "recipe.yaml").write_text("curate: [quits:f]\n")
    command = [sys.executable, "-m", "textmad", "run", "recipe.yaml", "--out", "run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"SystemExit: 0 ({tmp_path}/quits.py, line 2, in <module>)" in done.stderr


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("os:system", "model.base: os:system: raised TypeError: "),
        ("builtins:repr", "model.base: builtins:repr: returned str, which is no language model: "),
        ("builtins:exit", "model.base: builtins:exit: raised SystemExit: "),
    ],
)
def test_a_base_that_makes_no_language_model_is_a_model_error(base, message):
    recipe = Recipe(model={"base": base})
    with pytest.raises(tm.ModelError) as caught:
        open_model(recipe.model, recipe.sample)
    assert str(caught.value).startswith(message)


# --- mutated recipes ------------------------------------------------------------------------

_TOKENS = [
    *("null", "true", "-1", "0", "1", "1e300", "1e-300", "-.inf", ".nan", "''", "[]", "{}", "~"),
    *("'0'", "9" * 30, "0x7f", "0o7", "1:30", "2024-01-01", "!!int ''", "!!timestamp foo", "!!str"),
    *("&a", "*a", "<<: *a", "? ", "- ", ": ", "# ", "|", ">", "%YAML 1.2", "---", "...", "\t", "@"),
    *(
        '"\\ud800"',
        '"\\e[2J"',
        '"\\0"',
        "\u2028",
        "\ufeff",
        "é",
        "日本",
        "x" * 300,
        "[[[[[",
        "{{{{",
    ),
    *("os:system", "builtins:exit", "os:nothing", "no:such", "a:", ":b", ":", "twin upvotes"),
    *("twin ", "twin twin random", "categorical", "gaussian", "fresh", "pool", "previous", "human"),
]


def _keys() -> list[str]:
    names = set(yaml.safe_load(Recipe().to_yaml()))
    for group in yaml.safe_load(Recipe().to_yaml()).values():
        names |= set(group) if isinstance(group, dict) else set()
    return sorted(names)


def mutated(text: str, rng: random.Random, keys: list[str]) -> str:
    """The text after one to four changes: of characters, words, values or lines."""
    for _ in range(rng.randint(1, 4)):
        kind = rng.randrange(7)
        lines = text.split("\n")
        place = rng.randrange(len(lines))
        at = rng.randrange(len(text) + 1)
        if kind == 0:
            text = text[:at] + rng.choice(_TOKENS) + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + rng.randint(1, 8) :]
        elif kind == 2:
            lines[place] = lines[place].partition(":")[0] + ": " + rng.choice(_TOKENS)
            text = "\n".join(lines)
        elif kind == 3:
            lines.insert(place, lines[rng.randrange(len(lines))])
            text = "\n".join(lines)
        elif kind == 4:
            words = lines[place].split(" ")
            words[rng.randrange(len(words))] = rng.choice([*_TOKENS, *keys])
            lines[place] = " ".join(words)
            text = "\n".join(lines)
        elif kind == 5:
            lines.insert(place, f"{rng.choice(keys)}: {rng.choice(_TOKENS)}")
            text = "\n".join(lines)
        else:
            text = text[:at] + chr(rng.choice([0, 9, 10, 27, 34, 39, 133, 0x10FFFF])) + text[at:]
    return text


def read_mutants(number: int, first_seed: int, folder: Path) -> dict[str, int]:
    """Read so many mutated recipes and studies; return how many were rejected or accepted."""
    keys = _keys()
    originals = sorted(RECIPES.glob("*/*.yaml"))
    originals = [path for path in originals if path.parent.name != "accelerate"]
    counts, longest = {"accepted": 0, "rejected": 0}, 0
    for seed in range(first_seed, first_seed + number):
        rng = random.Random(seed)
        original = rng.choice(originals)
        path = folder / "mutant.yaml"
        text = mutated(original.read_text(), rng, keys).replace("../", f"{RECIPES}/")
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        try:
            if is_study(path):
                load_study(path).dump()
            else:
                load_recipe(
                    path,
                    dict([parse_override(f"{rng.choice(keys)}={text[:20]}")])
                    if rng.random() < 0.1
                    else None,
                ).to_yaml()
            counts["accepted"] += 1
        except tm.TextmadError as error:
            counts["rejected"] += 1
            longest = max(longest, len(str(error)))
        except BaseException as error:
            error.add_note(f"the recipe mutated with seed {seed}, from {original}:\n{text}")
            raise
    assert longest < 50_000
    return counts


def test_100_mutated_recipes_end_in_no_error_but_textmads_own(tmp_path):
    counts = read_mutants(100, 0, tmp_path)
    assert counts["rejected"] > 25
    assert counts["accepted"] > 3


@pytest.mark.faults
def test_20_000_mutated_recipes_end_in_no_error_but_textmads_own(tmp_path, record_property):
    number = int(os.environ.get("TEXTMAD_FUZZ", "20000"))
    counts = read_mutants(number, 1_000, tmp_path)
    record_property("counts", f"{number:,} mutated recipes: {counts}, 0 other errors")
    assert counts["rejected"] > number / 4
    assert counts["accepted"] > number / 40
