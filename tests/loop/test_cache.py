"""Runs with a cache compute less, and are to the last byte the runs without one."""

import shutil
from collections.abc import Hashable
from pathlib import Path
from types import ModuleType

import pytest

import textmad as tm
from tests.run_contents import contents
from textmad import store
from textmad.loop import human_text
from textmad.loop.kept_values import KeptValues
from textmad.models.causal_lm.model import CausalLM


@pytest.fixture
def recipe(tmp_path: Path, tiny_language: ModuleType, tiny_gpt2_folder: Path) -> tm.Recipe:
    """Generation 0 of 200 tokens; what it learns does not matter here."""
    corpus = tiny_language.write_corpus(tmp_path / "human.jsonl", 60)
    return tm.Recipe(
        generations=0,
        corpus={"source": str(corpus)},
        model={"base": str(tiny_gpt2_folder), "lora": {"rank": 2}},
        mix={"model_tokens": 200},
        sample={"min_tokens": 200, "max_new_tokens": 30},
        evaluate=[
            {"perplexity": {"held_out_tokens": 200}},
            {"rare_tokens": {"held_out_tokens": 200}},
        ],
    )


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is computed of the base model and the corpus, in order."""
    found: list[str] = []

    def told(name: str, function):
        def tell(*arguments, **named):
            found.append(name)
            return function(*arguments, **named)

        return tell

    def set_item(self: KeptValues, key: Hashable, value: object) -> None:
        found.append(str(key[0]) if isinstance(key, tuple) else str(key))
        keep(self, key, value)

    keep = KeptValues.__setitem__
    monkeypatch.setattr(KeptValues, "__setitem__", set_item)
    monkeypatch.setattr(human_text, "open_corpus", told("corpus", human_text.open_corpus))
    monkeypatch.setattr(CausalLM, "sample", told("sample", CausalLM.sample))
    return found


def test_a_run_with_a_cache_computes_less_and_leaves_the_same_bytes(
    recipe: tm.Recipe, computed: list[str], tmp_path: Path
):
    cache = tmp_path / "cache"
    alone = contents(tm.run(recipe, tmp_path / "alone").path)
    assert computed == ["corpus", "sample", "sample"]  # of the base model, and of generation 0
    computed.clear()

    # perplexity: of the base model's nats, held-out text and its two references. Then each of them
    # by two measures, as it is and as it was sampled, of which human text has but the first.
    first = tm.run(recipe, tmp_path / "first", cache=cache)
    assert contents(first.path) == alone
    of_values = sorted(name for name in computed if name not in ("corpus", "sample"))
    assert of_values == ["base_nll"] * 3 + ["human_counts"] + ["reference"] * 5
    computed.clear()

    second = tm.run(recipe, tmp_path / "second", cache=cache)
    assert computed == ["sample"]  # of generation 0
    assert contents(second.path) == alone

    # A run of another seed has the same corpus, and the same losses of held-out text.
    computed.clear()
    tm.run(recipe.replace(seed=1), tmp_path / "other", cache=cache)
    assert "corpus" not in computed
    assert computed.count("sample") == 2
    assert computed.count("base_nll") == 2

    shutil.rmtree(cache)
    assert contents(second.path) == alone
    assert len(store.RunFolder(second.path).manifests(verify=True)) == 7
    assert tm.run(recipe, second.path).complete


def test_a_damaged_cache_is_computed_again(recipe: tm.Recipe, computed: list[str], tmp_path: Path):
    cache = tmp_path / "cache"
    before = contents(tm.run(recipe, tmp_path / "first", cache=cache).path)
    everything = list(computed)
    shutil.copytree(cache, tmp_path / "copy")  # the run's own files are linked to those there
    for path in tmp_path.glob("copy/*/*.*"):
        if path.name != "manifest.json":
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
    computed.clear()
    assert contents(tm.run(recipe, tmp_path / "again", cache=tmp_path / "copy").path) == before
    assert computed == everything


def test_the_runs_of_a_study_share_what_is_computed_once_a_run(
    recipe: tm.Recipe, computed: list[str], tmp_path: Path
):
    arms = {"plain": {}, "cooler": {"train.learning_rate": 1.0e-4}}
    plan = {"recipe": recipe, "seeds": [3], "arms": arms, "controls": {"human": "none"}}
    runs = tm.study(plan, tmp_path / "study")
    assert computed.count("base_nll") == 3  # not 6
    assert computed.count("reference") == 5
    alone = tm.run(runs["cooler"][0].recipe, tmp_path / "alone")
    assert contents(runs["cooler"][0].path) == contents(alone.path)
