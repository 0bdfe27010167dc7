"""The recipe: every setting with a bad value, what is refused as a whole, and how it is written."""

import dataclasses
import sys
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

import textmad as tm
from textmad.recipe import (
    CorpusSettings,
    CrawlSettings,
    MixSettings,
    Recipe,
    SampleSettings,
    load_recipe,
    parse_recipe,
    stored_recipe,
)
from textmad.recipe.components import BUILT_IN, find_component
from textmad.recipe.yaml_text import parse_override

SETTINGS = "settings as `key: value`"
NO_CONSTRUCTOR = "could not determine a constructor for the tag 'tag:yaml.org,2002:"

# One bad value for every setting of textmad, as it stands in YAML, and what is expected instead.
BAD = {
    "seed": ("-1", "-1: expected at least 0"),
    "generations": ("2.5", "2.5: expected a whole number"),
    "corpus": ("3", f"3: expected {SETTINGS}"),
    "corpus.source": ("5", "5: expected text"),
    "corpus.format": (
        "xml",
        "xml: expected 'auto', 'jsonl', 'csv', 'parquet', 'text', 'dataset' or 'reddit'",
    ),
    "corpus.config": ("3", "3: expected text"),
    "corpus.split": ("null", "null: expected text"),
    "corpus.columns": ("[text]", f"[text]: expected {SETTINGS}"),
    "corpus.columns.text": ("null", "null: expected text"),
    "corpus.columns.votes": ("1", "1: expected text"),
    "corpus.columns.community": ("true", "true: expected text"),
    "corpus.columns.time": ("2.5", "2.5: expected text"),
    "corpus.columns.conversation": ("[id]", "[id]: expected text"),
    "corpus.min_words": ("0", "0: expected at least 1"),
    "corpus.max_words": ("many", "many: expected a whole number"),
    "corpus.max_tokens": ("0", "0: expected at least 1"),
    "corpus.max_documents": ("0", "0: expected at least 1"),
    "corpus.max_bad_lines": ("1.5", "1.5: expected at most 1"),
    "corpus.held_out": ("1", "1: expected less than 1"),
    "corpus.near_duplicate": ("0", "0: expected more than 0"),
    "corpus.parts": ("0", "0: expected at least 1"),
    "corpus.invented_facts": ("1", "1: expected less than 1"),
    "model": ("tiny-gpt2", f"tiny-gpt2: expected {SETTINGS}"),
    "model.base": ("null", "null: expected text"),
    "model.revision": ("5", "5: expected text"),
    "model.dtype": ("float16", "float16: expected 'float32', 'bfloat16' or 'auto'"),
    "model.start_from": ("latest", "latest: expected 'base' or 'previous'"),
    "model.lora": ("16", f"16: expected {SETTINGS}"),
    "model.lora.rank": ("0", "0: expected at least 1"),
    "model.lora.alpha": ("0", "0: expected more than 0"),
    "model.lora.dropout": ("1", "1: expected less than 1"),
    "model.lora.targets": ("c_attn", "c_attn: expected a list"),
    "model.categories": ("0", "0: expected at least 1"),
    "model.smoothing": ("-0.5", "-0.5: expected at least 0"),
    "train": ("[]", f"[]: expected {SETTINGS}"),
    "train.epochs": ("0", "0: expected more than 0"),
    "train.batch_tokens": ("0", "0: expected at least 1"),
    "train.micro_batch_tokens": ("1.5", "1.5: expected a whole number"),
    "train.learning_rate": (".inf", ".inf: expected a finite number"),
    "train.warmup": ("-0.1", "-0.1: expected at least 0"),
    "train.decay": ("sqrt", "sqrt: expected 'linear', 'cosine' or 'none'"),
    "train.weight_decay": ("-1", "-1: expected at least 0"),
    "train.max_grad_norm": ("0", "0: expected more than 0"),
    "train.gradient_checkpointing": ("1", "1: expected true or false"),
    "train.preference": ("kto", f"kto: expected {SETTINGS}"),
    "train.preference.loss": ("ppo", "ppo: expected 'kto', 'apo_zero_unpaired' or 'dpo'"),
    "train.preference.labels": ("crowd", "crowd: expected 'kept', 'discriminator' or 'random'"),
    "train.preference.beta": ("0", "0: expected more than 0"),
    "train.preference.epochs": ("0", "0: expected more than 0"),
    "train.preference.learning_rate": (".nan", ".nan: expected a finite number"),
    "train.preference.batch_documents": ("0", "0: expected at least 1"),
    "train.preference.documents": ("0", "0: expected at least 1"),
    "train.preference.accepted_weight": ("-1", "-1: expected at least 0"),
    "train.preference.rejected_weight": ("-1", "-1: expected at least 0"),
    "train.preference.instead_of_imitation": ("0", "0: expected true or false"),
    "mix": ("latest", f"latest: expected {SETTINGS}"),
    "mix.human_tokens": ("-1", "-1: expected at least 0"),
    "mix.model_tokens": ("all", "all: expected a whole number"),
    "mix.human": ("new", "new: expected 'fixed' or 'fresh'"),
    "mix.model": ("last", "last: expected 'latest', 'pool' or 'all'"),
    "mix.subsample_tokens": ("0", "0: expected at least 1"),
    "population": ("2", f"2: expected {SETTINGS}"),
    "population.members": ("1001", "1001: expected at most 1,000"),
    "population.text": ("mine", "mine: expected 'own', 'others' or 'pool'"),
    "population.migration": ("-0.1", "-0.1: expected at least 0"),
    "population.graph": ("star", "star: expected 'all', 'ring', 'islands' or 'unrelated'"),
    "population.island_size": ("0", "0: expected at least 1"),
    "population.weights": ("0.5", f"0.5: expected {SETTINGS}"),
    "population.weights.own": (".nan", ".nan: expected a finite number"),
    "population.weights.partners": ("half", "half: expected a number"),
    "population.weights.cross": ("modules", "modules: expected 'sum' or 'layers'"),
    "population.weights.learn": ("1", "1: expected true or false"),
    "population.each": ("{}", "{}: expected a list"),
    "population.each.0.model": ("4", f"4: expected {SETTINGS}"),
    "population.each.0.train": ("4", f"4: expected {SETTINGS}"),
    "population.each.0.sample": ("4", f"4: expected {SETTINGS}"),
    "population.communities": ("a", "a: expected a list"),
    "population.select": ("1", f"1: expected {SETTINGS}"),
    "population.select.keep": ("0", "0: expected at least 1"),
    "population.select.by": ("ups", "ups: expected 'loss' or 'votes'"),
    "population.select.tokens": ("0", "0: expected at least 1"),
    "population.select.undo": ("1", "1: expected true or false"),
    "population.select.level": ("1", "1: expected less than 1"),
    "crawl": ("0.3", f"0.3: expected {SETTINGS}"),
    "crawl.contamination": ("1", "1: expected less than 1"),
    "crawl.oversample": ("0.5", "0.5: expected at least 1"),
    "crawl.guard": ("random", "random: expected a list"),
    "sample": ("1.0", f"1.0: expected {SETTINGS}"),
    "sample.oversample": ("0.5", "0.5: expected at least 1"),
    "sample.min_tokens": ("0", "0: expected at least 1"),
    "sample.max_new_tokens": ("0", "0: expected at least 1"),
    "sample.temperature": ("0", "0: expected more than 0"),
    "sample.top_k": ("-1", "-1: expected at least 0"),
    "sample.top_p": ("0", "0: expected more than 0"),
    "sample.min_p": ("1", "1: expected less than 1"),
    "sample.repetition_penalty": ("0", "0: expected more than 0"),
    "sample.prompt": ("model", "model: expected 'none' or 'human'"),
    "sample.prompt_tokens": ("0", "0: expected at least 1"),
    "sample.slots": ("0", "0: expected at least 1"),
    "sample.watermark": ("3", f"3: expected {SETTINGS}"),
    "sample.watermark.kind": ("red_list", "red_list: expected 'green_list' or 'synthid'"),
    "sample.watermark.key": ("0", "0: expected at least 1"),
    "sample.watermark.bias": ("0", "0: expected more than 0"),
    "sample.watermark.green_share": ("1", "1: expected less than 1"),
    "sample.watermark.depth": ("1001", "1001: expected at most 1,000"),
    "sample.watermark.context": ("0", "0: expected at least 1"),
    "sample.watermark.share": ("1.5", "1.5: expected at most 1"),
    "curate": ("random", "random: expected a list"),
    "curate.0": ("[random]", "[random]: expected a name, or one name with its settings"),
    "curate.0.random": ("0.5", f"0.5: expected {SETTINGS}"),
    "curate.0.random.keep": ("1.5", "1.5: expected a share above 0 and at most 1"),
    "curate.0.length": ("[8]", f"[8]: expected {SETTINGS}"),
    "curate.0.length.min_words": ("-1", "-1: expected at least 0"),
    "curate.0.length.max_words": (
        "7",
        "7: expected at least 1 and no less than min_words: 8",
    ),
    "curate.0.repetition": ("5", f"5: expected {SETTINGS}"),
    "curate.0.repetition.ngram": ("0", "0: expected at least 1 word"),
    "curate.0.repetition.max_share": ("1.5", "1.5: expected a share from 0 to 1"),
    "curate.0.duplicates": ("0.8", f"0.8: expected {SETTINGS}"),
    "curate.0.duplicates.threshold": (
        "0",
        "0: expected a similarity above 0 and at most 1, or null for exact copies alone",
    ),
    "curate.0.upvotes": ("fluency", f"fluency: expected {SETTINGS}"),
    "curate.0.upvotes.scorer": ("3", f"3: expected text or {SETTINGS} or a function"),
    "curate.0.upvotes.voters": ("0", "0: expected at least 1, or people"),
    "curate.0.upvotes.noise": ("-1", "-1: expected a finite number of at least 0"),
    "curate.0.upvotes.keep": ("0", "0: expected a share above 0 and at most 1"),
    "curate.0.upvotes.units": ("sd", "sd: expected 'standard' or 'raw'"),
    "curate.0.upvotes.decided_by": ("all", "all: expected 'votes' or 'voter'"),
    "curate.0.upvotes.crowd": ("0.5", f"0.5: expected {SETTINGS}"),
    "curate.0.upvotes.crowd.taste_spread": ("2", "2: expected a share from 0 to 1"),
    "curate.0.upvotes.crowd.noise_spread": ("-1", "-1: expected a finite number of at least 0"),
    "curate.0.upvotes.crowd.strictness": (".inf", "inf: expected a finite number"),
    "curate.0.upvotes.crowd.strictness_spread": (
        "-1",
        "-1: expected a finite number of at least 0",
    ),
    "curate.0.upvotes.crowd.abstain": ("1", "1: expected a share from 0 to below 1"),
    "curate.0.upvotes.crowd.at_random": ("-0.1", "-0.1: expected a share from 0 to 1"),
    "curate.0.upvotes.crowd.care_spread": ("1.5", "1.5: expected a share from 0 to 1"),
    "curate.0.upvotes.crowd.herding": ("much", "much: expected a number"),
    "curate.0.upvotes.crowd.drift": ("1.1", "1.1: expected a share from 0 to 1"),
    "curate.0.upvotes.bots": ("0.5", f"0.5: expected {SETTINGS}"),
    "curate.0.upvotes.bots.share": ("1.5", "1.5: expected a share from 0 to 1"),
    "curate.0.upvotes.bots.vote": ("no", "false: expected 'up' or 'down'"),
    "curate.0.upvotes.bots.origin": ("all", "all: expected 'model', 'human' or 'any'"),
    "curate.0.upvotes.bots.author": ("5", "5: expected text"),
    "curate.0.upvotes.bots.pattern": (
        "(",
        "(: expected a regular expression (missing ), unterminated subpattern at position 0)",
    ),
    "curate.0.upvotes.exposure": ("rank", f"rank: expected {SETTINGS}"),
    "curate.0.upvotes.exposure.by": ("age", "age: expected 'uniform' or 'rank'"),
    "curate.0.upvotes.exposure.attention": ("0", "0: expected a share above 0 and at most 1"),
    "curate.0.upvotes.exposure.exponent": ("-1", "-1: expected a finite number of at least 0"),
    "curate.0.upvotes.exposure.rounds": ("1", "1: expected at least 2"),
    "curate.0.upvotes.exposure.hours": ("0", "0: expected a finite number above 0"),
    "curate.0.upvotes.rank": (
        "best",
        "best: expected 'net', 'share', 'wilson', 'hot', 'likes' or 'quality'",
    ),
    "curate.0.upvotes.choice": ("top", f"top: expected {SETTINGS}"),
    "curate.0.upvotes.choice.by": (
        "best",
        "best: expected 'top', 'threshold', 'softmax' or 'bradley_terry'",
    ),
    "curate.0.upvotes.choice.temperature": ("0", "0: expected a finite number above 0"),
    "curate.0.upvotes.choice.threshold": (".inf", "inf: expected a finite number"),
    "curate.0.author": ("4", f"4: expected {SETTINGS}"),
    "curate.0.author.drafts": ("1", "1: expected at least 2"),
    "curate.0.author.scorer": ("3", f"3: expected text or {SETTINGS} or a function"),
    "curate.0.author.noise": ("-1", "-1: expected a finite number of at least 0"),
    "curate.0.author.chosen_by": ("robot", "robot: expected 'scorer' or 'people'"),
    "curate.0.author.units": ("sd", "sd: expected 'standard' or 'raw'"),
    "curate.0.discriminator": ("lora", f"lora: expected {SETTINGS}"),
    "curate.0.discriminator.keep": ("0", "0: expected a share above 0 and at most 1"),
    "curate.0.discriminator.budget": ("1", "1: expected at least 2"),
    "curate.0.discriminator.check": ("-1", "-1: expected at least 0"),
    "curate.0.discriminator.learn_from": ("none", "none: expected 'all' or 'latest'"),
    "curate.0.discriminator.backend": ("gpt", "gpt: expected 'features' or 'lora'"),
    "curate.0.discriminator.epochs": ("0", "0: expected a finite number above 0"),
    "curate.0.discriminator.learning_rate": (".inf", "inf: expected a finite number above 0"),
    "curate.0.discriminator.against_human": ("1", "1: expected a share from 0 to below 1"),
    "curate.0.discriminator.human_check": ("-1", "-1: expected at least 0"),
    "curate.0.jury": ("crowd", f"crowd: expected {SETTINGS}"),
    "curate.0.jury.name": ("a b", "a b: expected lower-case letters, digits and _"),
    "curate.0.jury.documents": ("1", "1: expected at least 2"),
    "curate.0.detector": ("3", f"3: expected {SETTINGS}"),
    "curate.0.detector.method": (
        "magic",
        "magic: expected 'curvature', 'cross_perplexity' or 'trained'",
    ),
    "curate.0.detector.use": ("keep", "keep: expected 'drop' or 'resample'"),
    "curate.0.detector.keep": ("0", "0: expected a share above 0 and at most 1"),
    "curate.0.detector.exponent": ("0", "0: expected a finite number above 0"),
    "curate.0.rescue": ("3", f"3: expected {SETTINGS}"),
    "curate.0.rescue.by": ("luck", "luck: expected 'coverage' or 'weight'"),
    "curate.0.rescue.keep": ("0", "0: expected a share above 0 and at most 1"),
    "curate.0.watermark": ("3", f"3: expected {SETTINGS}"),
    "curate.0.watermark.key": ("0", f"0: expected a whole number from 1 to {2**63 - 1}"),
    "curate.0.watermark.kind": ("red_list", "red_list: expected 'green_list' or 'synthid'"),
    "curate.0.watermark.green_share": ("1", "1: expected a share above 0 and below 1"),
    "curate.0.watermark.depth": ("0", "0: expected from 1 to 1000 layers"),
    "curate.0.watermark.context": ("0", "0: expected at least 1 token"),
    "curate.0.watermark.false_alarms": ("0", "0: expected a share above 0 and below 1"),
    "checkpoint_minutes": ("0", "0: expected more than 0"),
    "track": ("mlflow", "mlflow: expected 'tensorboard', 'wandb' or 'trackio'"),
    "evaluate": ("perplexity", "perplexity: expected a list"),
    "evaluate.0": ("7", "7: expected a name, or one name with its settings"),
    "evaluate.0.detection": ("3", f"3: expected {SETTINGS}"),
    "evaluate.0.detection.methods": ("7", "7: expected a list"),
    "evaluate.0.perplexity": ("30000", f"30000: expected {SETTINGS}"),
    "evaluate.0.perplexity.held_out_tokens": ("0", "0: expected at least 1"),
    "evaluate.0.diversity": ("50", f"50: expected {SETTINGS}"),
    "evaluate.0.diversity.mattr_window": ("1", "1: expected at least 2"),
    "evaluate.0.diversity.overlap_words": ("0", "0: expected at least 1"),
    "evaluate.0.rare_tokens": ("30000", f"30000: expected {SETTINGS}"),
    "evaluate.0.rare_tokens.held_out_tokens": (
        "many",
        "many: expected a number of tokens, or a precision above 0% and below 100%, such as 2%",
    ),
    "evaluate.0.votes": ("net", f"net: expected {SETTINGS}"),
    "evaluate.0.guards": ("random", f"random: expected {SETTINGS}"),
    "evaluate.0.discriminator": ("100", f"100: expected {SETTINGS}"),
    "evaluate.0.adversary": ("0.5", f"0.5: expected {SETTINGS}"),
    "evaluate.0.adversary.judge": ("3", "3: expected text"),
    "evaluate.0.adversary.held_out": (
        "discriminator",
        "discriminator: is the judge itself: expected another",
    ),
    "evaluate.0.text_perplexity": ("0.5", f"0.5: expected {SETTINGS}"),
    "evaluate.0.ngram_gap": ("3", f"3: expected {SETTINGS}"),
    "evaluate.0.length": ("10", f"10: expected {SETTINGS}"),
    "evaluate.0.selection": ("0.5", f"0.5: expected {SETTINGS}"),
    "evaluate.0.self_bleu": ("4", f"4: expected {SETTINGS}"),
    "evaluate.0.self_bleu.documents": ("1", "1: expected at least 2"),
    "evaluate.0.memorisation": ("13", f"13: expected {SETTINGS}"),
    "evaluate.0.memorisation.ngram_words": ("[8, 8]", "8: is given twice; delete one"),
    "evaluate.0.embedding": ("gpt2", f"gpt2: expected {SETTINGS}"),
    "evaluate.0.embedding.documents": ("1", "1: expected at least 2"),
    "evaluate.0.embedding.neighbours": ("0", "0: expected at least 1"),
    "evaluate.0.embedding.encoder": ("3", "3: expected text"),
    "evaluate.0.adapter": ("0.05", f"0.05: expected {SETTINGS}"),
    "evaluate.0.adapter.least_move": ("-1", "-1: expected at least 0"),
    "evaluate.0.facts": ("gpt2", f"gpt2: expected {SETTINGS}"),
    "evaluate.0.facts.questions": ("3", "3: expected text"),
    "evaluate.0.judge": ("gpt2", f"gpt2: expected {SETTINGS}"),
    "evaluate.0.judge.model": ("3", "3: expected text"),
    "evaluate.0.adapter.held_out_tokens": ("0", "0: expected at least 1"),
}
BAD |= {
    "curate.0.people": ("3", f"3: expected {SETTINGS}"),
    "curate.0.people.keep": ("0", "0: expected a share above 0 and at most 1"),
    "curate.0.people.rank": (
        "votes",
        "votes: expected 'net', 'share', 'wilson', 'likes', 'strength' or 'stars'",
    ),
    **{
        path.replace("upvotes", "people"): bad
        for path, bad in BAD.items()
        if path.startswith("curate.0.upvotes.choice")
    },
}
BAD |= {
    f"curate.0.{name}.ballot{setting}": bad
    for name in ("people", "upvotes", "author")
    for setting, bad in {
        "": ("3", f"3: expected {SETTINGS}"),
        ".design": ("vote", "vote: expected 'up_down', 'pairs', 'best_of' or 'stars'"),
        ".question": ("7", "7: expected text"),
        ".labels": ("[a]", "1 given, expected 2 for design up_down"),
        ".group": ("9", "9: expected 3 to 8 texts"),
        ".rounds": ("0", "0: expected at least 1"),
        ".raters_per_text": ("0", "0: expected at least 1"),
        ".texts_per_rater": ("0", "0: expected at least 1"),
        ".needed": ("2", "2: expected a share above 0 and at most 1"),
        ".deadline_hours": ("0", "0: expected a number above 0, or null"),
        ".gold": ("7", "7: expected text"),
        ".repeats": ("-1", "-1: expected at least 0"),
        ".min_gold_accuracy": ("2", "2: expected a share from 0 to 1"),
        ".leave_out_random": ("often", "often: expected true or false"),
    }.items()
}
BAD |= {  # its crowd is that of upvotes
    path.replace("upvotes", f"{name}.votes"): bad
    for name in ("discriminator", "jury")
    for path, bad in BAD.items()
    if path.startswith("curate.0.upvotes")
}


# What has no default has to stand beside a bad value.
REQUIRED = {
    "curate.0.watermark": {"key": 1},
    "evaluate.0.judge": {"model": "some/judge"},
    "population": {"members": 2},
    "population.each.0": {"model": {}},
    "population.select": {"keep": 1},
}


def every_setting() -> set[str]:
    """The path of each setting, from the classes that define them."""

    def below(group: type[BaseModel], path: str) -> set[str]:
        found = set()
        for name, field in group.model_fields.items():
            found.add(path + name)
            options = getattr(field.annotation, "__args__", (field.annotation,))
            inside = "0." if typing.get_origin(field.annotation) is tuple else ""
            for option in options:
                if isinstance(option, type) and issubclass(option, BaseModel):
                    found |= below(option, f"{path}{name}.{inside}")
        return found

    found = below(Recipe, "")
    for key, kind in (("curate", "filter"), ("evaluate", "evaluator")):
        found.add(f"{key}.0")
        for name in BUILT_IN[kind]:
            found |= {f"{key}.0.{name}"} | fields_below(
                find_component(name, kind), f"{key}.0.{name}"
            )
    return found


def fields_below(maker: type, path: str) -> set[str]:
    """The path of each field of a dataclass, groups and what is in them included."""
    found = set()
    for name, hint in typing.get_type_hints(maker).items():
        found.add(f"{path}.{name}")
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            found |= fields_below(hint, f"{path}.{name}")
    return found


def nested(path: str, value: Any) -> Any:
    """Plain data with `value` at `path`; a 0 is the first place of a list."""
    group, _, setting = path.rpartition(".")
    if group in REQUIRED:
        return nested(group, REQUIRED[group] | {setting: value})
    if not group:
        return {setting: value}
    return nested(group, [value] if setting == "0" else {setting: value})


def refusal(data: dict[str, Any]) -> list[str]:
    """The lines of the message that refuses `data`."""
    with pytest.raises(tm.RecipeError) as caught:
        parse_recipe(data, where="recipe.yaml")
    return str(caught.value).split("\n  ")


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A user's module with two filters, a plain function and a scorer."""
    (tmp_path / "my_filters.py").write_text(
        "from dataclasses import dataclass, field\n"
        "import textmad as tm\n"
        "@dataclass(frozen=True)\n"
        "class Varied:\n"
        "    threshold: float\n"
        "    words: tuple[str, ...] = ('tea', 'milk')\n"
        "    strict: bool = True\n"
        "    def __call__(self, candidates, context): ...\n"
        "class Plain:\n"
        "    def __call__(self, candidates, context): ...\n"
        "def keep_all(candidates, context): ...\n"
        "def length(texts): return [len(text) for text in texts]\n"
        "class Taste:\n"
        "    def __call__(self, texts): ...\n"
        "number = 3\n"
        "@dataclass(frozen=True)\n"
        "class Angry:\n"
        "    def __post_init__(self): raise KeyError('gone')\n"
        "    def __call__(self, candidates, context): ...\n"
        "@dataclass(frozen=True)\n"
        "class Unclear:\n"
        "    size: 'Nowhere' = 1\n"
        "    def __call__(self, candidates, context): ...\n"
    )
    (tmp_path / "my_broken.py").write_text("1 / 0\n")
    (tmp_path / "my_exit.py").write_text("import sys\nsys.exit(0)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("my_filters", "my_broken", "my_exit"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield "my_filters"
    sys.modules.pop("my_filters", None)


# --- one setting ----------------------------------------------------------------------------


def test_a_bad_setting_given_in_python_is_a_recipe_error_with_every_fault():
    with pytest.raises(tm.RecipeError) as caught:
        Recipe(seed=-1, train={"epochs": 0})
    assert str(caught.value).splitlines() == [
        "Recipe(): 2 problems",
        "  seed: -1: expected at least 0",
        "  train.epochs: 0: expected more than 0",
    ]


def test_every_setting_has_a_bad_value_in_the_table():
    assert set(BAD) == every_setting()


@pytest.mark.parametrize("path", BAD)
def test_a_bad_value_is_an_error_with_its_path_and_what_is_expected(path):
    value, message = BAD[path]
    data = nested(path, yaml.safe_load(value))
    assert refusal(data) == ["recipe.yaml: 1 problem", f"{path}: {message}"]


SWITCHES = {
    path
    for path in BAD
    if path.endswith(
        (
            ".gradient_checkpointing",
            ".instead_of_imitation",
            ".learn",
            ".leave_out_random",
            ".undo",
        )
    )
}


@pytest.mark.parametrize("path", sorted(BAD.keys() - SWITCHES))
def test_true_is_taken_for_no_number_text_or_group(path):
    (line,) = refusal(nested(path, True))[1:]
    assert line.startswith(f"{path}: true: expected ")


@pytest.mark.parametrize("group", ["corpus", "model", "train", "mix", "sample"])
def test_null_is_no_group(group):
    assert refusal({group: None})[1:] == [f"{group}: null: expected {SETTINGS}"]


def test_a_list_of_other_things_than_text_is_an_error_at_its_place():
    data = {"model": {"lora": {"targets": ["c_attn", 1]}}}
    assert refusal(data)[1:] == ["model.lora.targets.1: 1: expected text"]
    data = {"model": {"lora": {"targets": []}}}
    assert refusal(data)[1:] == ["model.lora.targets: []: expected at least 1 entry"]


def test_the_targets_of_an_adapter_are_auto_or_a_list():
    default, named, listed = (
        parse_recipe({"model": {"lora": lora}}, "recipe").model.lora
        for lora in ({}, {"targets": "auto"}, {"targets": ["c_attn"]})
    )
    assert default == named
    assert default.adapts_all
    assert not listed.adapts_all


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"sed": 1}, "sed: unknown setting; did you mean seed?"),
        ({"zzz": 1}, "zzz: unknown setting"),
        (
            {"train": {"learning_rat": 1}},
            "train.learning_rat: unknown setting; did you mean learning_rate?",
        ),
        (
            {"corpus": {"columns": {"vote": "ups"}}},
            "corpus.columns.vote: unknown setting; did you mean votes?",
        ),
        ({"model": {"lora": {"rnk": 4}}}, "model.lora.rnk: unknown setting; did you mean rank?"),
        (
            {"curate": [{"upvotes": {"voter": 5}}]},
            "curate.0.upvotes.voter: unknown setting; did you mean voters?",
        ),
        ({"curate": [{"random": {5: 1}}]}, "curate.0.random.5: unknown setting"),
        (
            {"curate": ["lenght"]},
            "curate.0.lenght: unknown filter; built in are "
            f"{', '.join(sorted(BUILT_IN['filter']))}; your own is module:name; "
            "did you mean length?",
        ),
        (
            {"evaluate": ["perplexty"]},
            "evaluate.0.perplexty: unknown evaluator; built in are "
            f"{', '.join(sorted(BUILT_IN['evaluator']))}; your own is module:name; "
            "did you mean perplexity?",
        ),
        (
            {"curate": [{"upvotes": {"scorer": "fluent"}}]},
            "curate.0.upvotes.scorer: fluent: unknown scorer; built in are "
            "fluency, learned_votes, surprise, toxicity, variety, residual(SCORER), words(LIST), "
            "length(WORDS) and learned_votes(FOLDER); your own is module:name; did you mean "
            "fluency?",
        ),
    ],
)
def test_an_unknown_name_is_an_error_with_the_one_that_may_be_meant(data, message):
    assert refusal(data)[1:] == [message]


def test_all_faults_are_reported_at_once_each_with_its_path():
    data = {
        "seed": -1,
        "sample": {"temperature": 0, "top_p": 2},
        "curate": ["random", {"upvotes": {"voters": True, "noise": "loud"}}, {"random": [1]}],
        "evaluat": [],
    }
    assert refusal(data) == [
        "recipe.yaml: 7 problems",
        "seed: -1: expected at least 0",
        "sample.temperature: 0: expected more than 0",
        "sample.top_p: 2: expected at most 1",
        "curate.1.upvotes.voters: true: expected a whole number or 'people'",
        "curate.1.upvotes.noise: loud: expected a number",
        f"curate.2.random: [1]: expected {SETTINGS}",
        "evaluat: unknown setting; did you mean evaluate?",
    ]


# --- settings that do not go together -------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            {"mix": {"human_tokens": 0, "human": "fresh"}},
            "mix.human: fresh: has no effect while human_tokens is 0; raise human_tokens, or "
            "delete it",
        ),
        (
            {"mix": {"human_tokens": 9, "model_tokens": 0, "model": "all"}},
            "mix.model: all: has no effect while model_tokens is 0; raise model_tokens, or "
            "delete it",
        ),
        (
            {"mix": {"human_tokens": 9, "subsample_tokens": 9}},
            "mix.subsample_tokens: 9: has no effect while model is latest; set model: all, or "
            "delete it",
        ),
        (
            {"mix": {"human_tokens": 9, "model_tokens": 9, "model": "all", "subsample_tokens": 19}},
            "mix.subsample_tokens: 19: generation 1 has only human_tokens + model_tokens, 18, to "
            "sample from: lower it, or raise either",
        ),
        (
            {"sample": {"prompt_tokens": 4}},
            "sample.prompt_tokens: 4: has no effect while prompt is none; set prompt: human, or "
            "delete it",
        ),
        (
            {"mix": {"human_tokens": 9, "model_tokens": 0}, "sample": {"oversample": 5}},
            "sample.oversample: 5: has no effect while mix.model_tokens is 0; raise "
            "mix.model_tokens, or delete it",
        ),
        (
            {"mix": {"human_tokens": 9}, "crawl": {"oversample": 2}},
            "crawl.contamination: 0: has no effect without a crawl filter; raise it, set guard, or "
            "delete crawl",
        ),
        (
            {"crawl": {"contamination": 0.3}},
            "crawl: has no effect while mix.human_tokens is 0; raise mix.human_tokens, or "
            "delete it",
        ),
        (
            {
                "mix": {"human_tokens": 9, "model_tokens": 0},
                "crawl": {"guard": ["random"]},
                "sample": {"oversample": 5},
            },
            "sample.oversample: 5: has no effect while mix.model_tokens is 0; raise "
            "mix.model_tokens, or delete it",
        ),
        (
            {"crawl": {"contamination": 0.3, "gaurd": []}},
            "crawl.gaurd: unknown setting; did you mean guard?",
        ),
        (
            {"crawl": {"guard": ["length", {"random": {"keep": 2}}]}},
            "crawl.guard.1.random.keep: 2: expected a share above 0 and at most 1",
        ),
        (
            {"mix": {"human_tokens": 0, "model_tokens": 0}},
            "mix: human_tokens and model_tokens are both 0: nothing to train on",
        ),
        (
            {"corpus": {"min_words": 9, "max_words": 5}},
            "corpus.max_words: 5: expected at least min_words, 9",
        ),
        (
            {"model": {"smoothing": 0.5}},
            "model.smoothing: 0.5: has no effect while base is tiny-gpt2; set base: categorical, "
            "or delete it",
        ),
        (
            {"sample": {"watermark": {"kind": "synthid", "bias": 3}}},
            "sample.watermark.bias: 3.0: has no effect while kind is synthid; set kind: "
            "green_list, or delete it",
        ),
        (
            {"sample": {"watermark": {"depth": 9}}},
            "sample.watermark.depth: 9: has no effect while kind is green_list; set kind: "
            "synthid, or delete it",
        ),
        (
            {"curate": [{"watermark": {"key": 3, "context": 2}}]},
            "curate.0.watermark.context: 2: has no effect while kind is green_list; set kind: "
            "synthid, or delete it",
        ),
        ({"curate": ["watermark"]}, "curate.0.watermark.key: is missing"),
        (
            {"evaluate": ["diversity", "perplexity", {"diversity": {"mattr_window": 20}}]},
            "evaluate.2: diversity: is given twice; delete one",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_errors(data, message):
    assert refusal(data)[1:] == [message]


@pytest.mark.parametrize("base", ["categorical", "gaussian"])
def test_settings_of_networks_are_errors_for_a_base_that_is_none(base):
    toy = {"base": base, "start_from": "previous", "lora": {"rank": 4}}
    data = {"model": toy, "train": {"epochs": 2}, "sample": {"top_k": 5, "temperature": 0.5}}
    end = f": has no effect while model.base is {base}; choose another base model, or delete it"
    assert refusal(data)[1:] == [
        f"model.start_from: previous{end}",
        f"model.lora: {{alpha: 32.0, dropout: 0.0, rank: 4, targets: [auto]}}{end}",
        f"train.epochs: 2.0{end}",
        f"sample.top_k: 5{end}",
    ]
    # Taken back, or without effect on anything, they may stand there.
    allowed = {"model": {"base": base, "lora": None}, "train": {"epochs": 1.0}}
    assert Recipe(**allowed).model.lora is None


def test_a_setting_without_effect_may_be_set_to_its_default():
    # So a single override can take back what the recipe says.
    voted = Recipe(sample={"oversample": 5}, mix={"model": "all"})
    human_only = voted.replace(
        mix={"human_tokens": 9, "model_tokens": 0, "model": "latest"}, sample={"oversample": 1}
    )
    assert human_only.mix == MixSettings(human_tokens=9, model_tokens=0)


def test_guards_are_written_out_and_read_again_like_any_filter():
    crawled = Recipe(
        mix={"human_tokens": 9, "model_tokens": 0},
        crawl=CrawlSettings(contamination=0.3, guard=["random", tm.filters.Length(2, 9)]),
        sample={"oversample": 2.0},
    )
    guard = [{"random": {"keep": 0.25}}, {"length": {"min_words": 2, "max_words": 9}}]
    dumped = {"contamination": 0.3, "oversample": 1.0, "guard": guard}
    assert crawled.dump()["crawl"] == dumped
    assert crawled.crawl_filters() == [tm.filters.Random(), tm.filters.Length(2, 9)]
    assert parse_recipe(yaml.safe_load(crawled.to_yaml()), "again") == crawled
    changed = crawled.replace(crawl={"guard": ["random"]})
    assert changed.crawl == CrawlSettings(contamination=0.3, guard=["random"])
    only_guarded = {"crawl": CrawlSettings(guard=["random"]), "sample": {"oversample": 1.0}}
    assert crawled.replace(**only_guarded).crawl.contamination == 0
    assert Recipe().crawl_filters() == []
    assert "crawl: null\n" in Recipe().to_yaml()


# --- YAML -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("2E-4", 2e-4), ("1.5e-3", 1.5e-3), (".5e0", 0.5), ("3e0", 3.0)],
)
def test_a_number_with_an_exponent_needs_no_point_and_no_sign(tmp_path, text, value):
    path = written(tmp_path, f"train: {{learning_rate: {text}}}\n")
    assert load_recipe(path).train.learning_rate == value


def test_a_whole_number_may_have_an_exponent_in_recipe_and_filter(tmp_path):
    path = written(tmp_path, "mix: {model_tokens: 2e4}\ncurate: [{upvotes: {voters: 2e1}}]\n")
    recipe = load_recipe(path)
    assert recipe.mix.model_tokens == 20_000
    assert recipe.filters() == [tm.filters.Upvotes(voters=20)]
    assert Recipe(mix={"model_tokens": 2e4}) == Recipe(mix={"model_tokens": 20_000})


def test_a_quoted_number_is_text(tmp_path):
    path = written(tmp_path, 'seed: "5"\nmodel: {revision: "1e5"}\n')
    with pytest.raises(tm.RecipeError) as caught:
        load_recipe(path)
    assert str(caught.value) == f"{path}: 1 problem\n  seed: '5': expected a whole number"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nseed: 2\n", "not valid YAML: line 2, column 1: the key seed is given twice"),
        (
            "mix:\n  human: fresh\n  human: fixed\n",
            "not valid YAML: line 3, column 3: the key human is given twice",
        ),
        (
            "seed: [1\n",
            "not valid YAML: line 2, column 1: expected ',' or ']', but got '<stream end>'",
        ),
        ("? [1]\n: 2\n", "not valid YAML: line 1, column 3: found unhashable key"),
        ("seed: !!binary x\n", f"not valid YAML: line 1, column 7: {NO_CONSTRUCTOR}binary'"),
        ("", f"null: expected {SETTINGS}"),
        ("- seed\n", f"[seed]: expected {SETTINGS}"),
        ("just text\n", f"just text: expected {SETTINGS}"),
    ],
)
def test_what_is_no_recipe_is_an_error_with_its_place(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(tm.RecipeError) as caught:
        load_recipe(path)
    assert str(caught.value) == f"{path}: {message}"


def test_a_file_that_cannot_be_read_is_an_error_with_the_reason(tmp_path):
    missing = tmp_path / "missing.yaml"
    with pytest.raises(tm.RecipeError) as caught:
        load_recipe(missing)
    assert str(caught.value) == f"{missing}: cannot be read: No such file or directory"
    with pytest.raises(tm.RecipeError, match=r": cannot be read: Is a directory$"):
        load_recipe(tmp_path)
    missing.write_bytes(b"\xff\xfe\x00seed")
    with pytest.raises(tm.RecipeError, match=r"missing\.yaml: not valid YAML: not UTF-8 text: "):
        load_recipe(missing)


# --- overrides ------------------------------------------------------------------------------


def test_an_override_is_a_path_and_a_yaml_value():
    assert parse_override("train.learning_rate=2e-4") == ("train.learning_rate", 2e-4)
    assert parse_override("model.lora=null") == ("model.lora", None)
    assert parse_override("corpus.source=a=b") == ("corpus.source", "a=b")
    assert parse_override("model.lora.targets=[q, v]") == ("model.lora.targets", ["q", "v"])


@pytest.mark.parametrize("text", ["seed", "=5", ""])
def test_an_override_without_path_or_equals_sign_is_an_error(text):
    with pytest.raises(tm.RecipeError) as caught:
        parse_override(text)
    assert str(caught.value) == (
        f"--set {text}: expected PATH=VALUE, as in train.learning_rate=2e-4"
    )


def test_an_override_that_is_not_yaml_is_an_error():
    with pytest.raises(tm.RecipeError, match=r"^--set seed=\[1: not valid YAML: line 1"):
        parse_override("seed=[1")


def test_overrides_lie_over_the_recipe_as_deep_as_their_path(tmp_path):
    path = written(
        tmp_path,
        "seed: 1\nmodel: {base: here, lora: {rank: 4}}\n"
        "curate: [duplicates, {upvotes: {voters: 5, keep: 0.5}}]\n",
    )
    recipe = load_recipe(
        path,
        {
            "seed": 2,
            "model.lora.alpha": 8.0,
            "sample.temperature": 0.5,
            "curate.0.duplicates.threshold": 0.9,
            "curate.1.upvotes.keep": 0.25,
        },
    )
    assert recipe.seed == 2
    assert (recipe.model.base, recipe.model.lora.rank, recipe.model.lora.alpha) == ("here", 4, 8)
    assert recipe.sample == SampleSettings(temperature=0.5)
    assert recipe.filters() == [
        tm.filters.Duplicates(0.9),
        tm.filters.Upvotes(voters=5, keep=0.25),
    ]


def test_an_override_passes_the_same_checks_as_the_recipe(tmp_path):
    path = written(tmp_path, "seed: 1\ncurate: [random]\n")
    with pytest.raises(tm.RecipeError) as caught:
        load_recipe(path, {"train.lr": 1.0, "seed": -5, "model.lora.rank.high": 2})
    assert str(caught.value).split("\n  ") == [
        f"{path}: 3 problems",
        "seed: -5: expected at least 0",
        "model.lora.rank: {high: 2}: expected a whole number",
        "train.lr: unknown setting; did you mean learning_rate?",
    ]
    with pytest.raises(tm.RecipeError) as caught:
        load_recipe(path, {"curate.1.random.keep": 0.5})
    assert str(caught.value) == (
        "curate.1.random.keep: 1: no such place in the list: expected 0 to 0"
    )


# --- filters and evaluators -----------------------------------------------------------------


def test_anyones_filter_is_found_by_module_and_name(own_module):
    recipe = parse_recipe(
        {
            "curate": [
                {"my_filters:Varied": {"threshold": 1, "words": ["oat"]}},
                "my_filters:Plain",
                "my_filters:keep_all",
                {"upvotes": {"scorer": "my_filters:length"}},
            ]
        },
        where="recipe.yaml",
    )
    varied, plain, function, crowd = recipe.filters()
    assert (varied.threshold, varied.words, varied.strict) == (1.0, ("oat",), True)
    assert isinstance(varied.threshold, float)
    assert type(plain).__name__ == "Plain"
    assert function.__name__ == "keep_all"
    assert crowd.scorer == "my_filters:length"


@pytest.mark.parametrize(
    ("component", "message"),
    [
        ("my_filters:Varied", "my_filters:Varied.threshold: is missing"),
        (
            {"my_filters:Varied": {"threshold": 1, "strict": 1}},
            "my_filters:Varied.strict: 1: expected true or false",
        ),
        (
            {"my_filters:Varied": {"threshold": 1, "words": ["oat", 2]}},
            "my_filters:Varied.words.1: 2: expected text",
        ),
        (
            {"my_filters:Varied": {"threshold": 1, "words": "oat"}},
            "my_filters:Varied.words: oat: expected a list",
        ),
        (
            {"my_filters:Plain": {"size": 1}},
            "my_filters:Plain: only a dataclass takes settings; make my_filters:Plain one",
        ),
        (
            {"my_filters:keep_all": {"size": 1}},
            "my_filters:keep_all: is a plain function and takes no settings",
        ),
        (
            "my_filters:number",
            "my_filters:number: a int cannot be called: expected a function, or a class with "
            "__call__",
        ),
        (
            "my_filters:Angry",
            "my_filters:Angry: raised KeyError: 'gone' "
            "({folder}/my_filters.py, line 18, in __post_init__)",
        ),
        (
            "my_filters:Unclear",
            "my_filters:Unclear: the type of a field cannot be used (name 'Nowhere' is not "
            "defined); expected types that YAML can hold, imported where the program runs and "
            "not under TYPE_CHECKING alone",
        ),
    ],
)
def test_a_filter_of_ones_own_that_does_not_fit_is_one_clear_line(
    own_module, tmp_path, component, message
):
    expected = f"curate.0.{message}".replace("{folder}", str(tmp_path))
    assert refusal({"curate": [component]})[1:] == [expected]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("my_filters:Nothing", "module 'my_filters' has no attribute 'Nothing'"),
        ("no_such_module:f", "No module named 'no_such_module'"),
        (
            "my_broken:f",
            "ZeroDivisionError: division by zero ({folder}/my_broken.py, line 1, in <module>)",
        ),
        ("my_exit:f", "SystemExit: 0 ({folder}/my_exit.py, line 2, in <module>)"),
    ],
)
def test_a_filter_that_cannot_be_imported_says_why(own_module, tmp_path, name, why):
    (line,) = refusal({"curate": [name]})[1:]
    why = why.replace("{folder}", str(tmp_path))
    assert line == (
        f"curate.0.{name}: cannot be imported ({why}); expected module:name, with the module "
        f"installed or in {Path.cwd()}"
    )


# --- copies and the written form ------------------------------------------------------------


def test_replace_changes_a_group_in_part_and_checks_it_again():
    recipe = Recipe(model={"base": "here", "lora": {"alpha": 8.0}}, sample={"top_k": 5})
    changed = recipe.replace(generations=2, model={"lora": {"rank": 4}}, sample=SampleSettings())
    assert (changed.model.base, changed.model.lora.alpha, changed.model.lora.rank) == ("here", 8, 4)
    assert changed.sample.top_k == 0  # a whole group replaces the group
    assert recipe.generations == 5
    with pytest.raises(tm.RecipeError) as caught:
        recipe.replace(sample={"temperature": -1}, curate=[5])
    assert str(caught.value).split("\n  ") == [
        "replace(): 2 problems",
        "sample.temperature: -1: expected more than 0",
        "curate.0: 5: expected a name, or one name with its settings",
    ]


def some_recipes() -> dict[str, Recipe]:
    filters = tm.filters
    return {
        "default": Recipe(),
        "human only": Recipe(mix={"human_tokens": 10, "model_tokens": 0, "human": "fresh"}),
        "full fine-tuning": Recipe(model={"lora": None}),
        "odd names": Recipe(
            corpus=CorpusSettings(source="1e5", columns={"text": "2e4", "votes": "null"}),
            model={"base": "a: b #c", "revision": "12e4567"},
        ),
        "small numbers": Recipe(train={"learning_rate": 1e-17, "max_grad_norm": 1e300}),
        "by name": Recipe(curate=["random", {"duplicates": {"threshold": None}}], evaluate=[]),
        "instances": Recipe().replace(
            curate=[filters.Upvotes(keep=0.5), filters.Length(2, 9), filters.Random()],
            evaluate=[tm.evaluators.Diversity(overlap_words=5), tm.evaluators.Perplexity()],
        ),
        "prompted": Recipe(sample={"prompt": "human", "prompt_tokens": 4}),
    }


@pytest.mark.parametrize("name", some_recipes())
def test_a_recipe_comes_back_from_its_written_form(tmp_path, name):
    recipe = some_recipes()[name]
    path = written(tmp_path, recipe.to_yaml())
    assert load_recipe(path) == recipe
    assert stored_recipe(path.read_bytes(), "recipe.yaml") == recipe
    assert load_recipe(path).to_yaml() == recipe.to_yaml()


def test_a_filter_instance_of_ones_own_comes_back_with_all_its_settings(tmp_path, own_module):
    from my_filters import Varied, keep_all, length

    crowd = tm.filters.Upvotes(scorer=length)
    recipe = Recipe().replace(curate=[Varied(0.5, words=("oat",)), keep_all, crowd])
    loaded = load_recipe(written(tmp_path, recipe.to_yaml()))
    assert loaded == recipe
    assert loaded.filters() == [
        Varied(0.5, words=("oat",)),
        keep_all,
        tm.filters.Upvotes(scorer="my_filters:length"),
    ]


PREFERENCE_FAULTS = {
    "nothing is rejected": (
        {"train": {"preference": {}}},
        "train.preference: nothing is rejected while curate is empty; add a filter, or delete it",
    ),
    "no discriminator": (
        {"train": {"preference": {"labels": "discriminator"}}, "curate": ["upvotes"]},
        "train.preference.labels: discriminator: expected a filter discriminator in curate; add "
        "one, or set labels: kept",
    ),
    "pairs of two prompts": (
        {
            "train": {"preference": {"loss": "dpo"}},
            "curate": ["upvotes"],
            "sample": {"prompt": "human"},
        },
        "train.preference.loss: dpo: a pair is two texts of one prompt, and with sample.prompt: "
        "human each text has its own; choose kto or apo_zero_unpaired, or set sample.prompt: none",
    ),
    "no ranks": (
        {"train": {"preference": {"loss": "dpo"}}, "curate": ["length", "random"]},
        "train.preference.loss: dpo: pairs are made from ranks, which none of length, random "
        "gives; add one of discriminator, people, upvotes to curate, or choose kto or "
        "apo_zero_unpaired",
    ),
    "no weights": (
        {"train": {"preference": {"accepted_weight": 0, "rejected_weight": 0}}},
        "train.preference: accepted_weight and rejected_weight are both 0: nothing is learned; "
        "raise one",
    ),
    "weights of pairs": (
        {"train": {"preference": {"loss": "dpo", "accepted_weight": 2}}},
        "train.preference.accepted_weight: 2.0: has no effect while loss is dpo; choose another "
        "loss, or delete it",
    ),
    "a toy": (
        {
            "model": {"base": "gaussian", "lora": None},
            "train": {"preference": {"beta": 0.1}},
            "curate": ["random"],
        },
        "train.preference: {accepted_weight: 1.0, batch_documents: 32, beta: 0.1, do...: has "
        "no effect while model.base is gaussian; choose another base model, or delete it",
    ),
}


@pytest.mark.parametrize("name", PREFERENCE_FAULTS)
def test_a_preference_that_nothing_could_be_learned_by_is_an_error(name):
    data, message = PREFERENCE_FAULTS[name]
    assert refusal(data) == ["recipe.yaml: 1 problem", message]


def test_a_model_that_learns_by_preference_has_not_learned_from_human_text_alone():
    asked = {"mix": {"human_tokens": 9, "model_tokens": 0}, "curate": ["upvotes"]}
    assert Recipe(**asked).is_human_only
    judged = Recipe(**asked, train={"preference": {}})
    assert not judged.is_human_only


def test_the_written_form_holds_every_setting_also_those_of_filters_and_evaluators():
    filters = [{name: REQUIRED.get(f"curate.0.{name}", {})} for name in BUILT_IN["filter"]]
    recipe = Recipe(
        curate=filters,
        evaluate=[{name: REQUIRED.get(f"evaluate.0.{name}", {})} for name in BUILT_IN["evaluator"]],
        train={"preference": {}},
        mix={"human_tokens": 9},
        crawl={"contamination": 0.3},
        sample={"watermark": {}},
    )
    population = {
        "members": 2,
        "weights": {},
        "each": [{}, {}],
        "communities": ["a", "b"],
        "select": {"keep": 1},
    }
    data = yaml.safe_load(recipe.to_yaml())
    data["population"] = yaml.safe_load(Recipe(population=population).to_yaml())["population"]
    found = set()

    def walk(value: Any, path: str) -> None:
        found.add(path)
        if isinstance(value, dict):
            for key, below in value.items():
                walk(below, f"{path}.{key}" if path else key)
        elif path == "population.each":
            for key in value[0]:
                found.add(f"{path}.0.{key}")

    for key in data:
        walk(data[key], key)
    for key in ("curate", "evaluate"):
        for component in data[key]:
            walk(component if isinstance(component, dict) else {component: {}}, f"{key}.0")
    assert found == every_setting()


def test_a_later_change_of_a_default_does_not_change_a_written_recipe(
    tmp_path, own_module, monkeypatch
):
    import my_filters

    def varied(default: float) -> type:
        fields = [("threshold", float, default)]
        return dataclasses.make_dataclass(
            "Varied", fields, namespace={"__call__": print}, frozen=True
        )

    monkeypatch.setattr(my_filters, "Varied", varied(0.5))
    path = written(tmp_path, Recipe(curate=["my_filters:Varied"]).to_yaml())
    monkeypatch.setattr(my_filters, "Varied", varied(0.9))
    assert Recipe(curate=["my_filters:Varied"]).filters()[0].threshold == 0.9
    assert load_recipe(path).filters()[0].threshold == 0.5


def test_a_stored_recipe_can_be_read_where_its_filters_are_not(tmp_path, own_module, monkeypatch):
    recipe = Recipe(curate=[{"my_filters:Varied": {"threshold": 0.5}}])
    path = written(tmp_path, recipe.to_yaml())
    (tmp_path / "my_filters.py").unlink()
    monkeypatch.delitem(sys.modules, "my_filters")
    assert stored_recipe(path.read_bytes(), "recipe.yaml") == recipe
    with pytest.raises(tm.RecipeError, match="No module named 'my_filters'"):
        load_recipe(path)


def test_a_setting_that_no_recipe_can_hold_is_an_error(own_module):
    from my_filters import Taste

    # A lambda has no name to be found by, and an object would lose its state with its name.
    with pytest.raises(tm.RecipeError, match=r"replace\(\): 1 problem\n  curate\.0\..*<lambda>"):
        Recipe().replace(curate=[tm.filters.Upvotes(scorer=lambda texts: [0.0] * len(texts))])
    with pytest.raises(tm.RecipeError, match=r"curate\.0\.upvotes\.scorer: .*only functions have"):
        Recipe().replace(curate=[tm.filters.Upvotes(scorer=Taste())])
