"""The recipe: every setting of textmad, its default and its bounds, in one file. No torch.

A recipe is YAML outside and the frozen `Recipe` inside. `load_recipe` reports *all* faults at
once, each with its path, before anything expensive is imported.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from textmad.errors import RecipeError


def _yaml_number(value: Any) -> Any:
    """YAML 1.1 reads `1e-4` as a string; take it for the number it is."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", value):
        number = float(value)
        return int(number) if re.fullmatch(r"[-+]?\d+", value) else number
    return value


def _whole(value: Any) -> Any:
    """Accept 2e4 where a whole number is due."""
    value = _yaml_number(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


Number = Annotated[float, BeforeValidator(_yaml_number), Field(allow_inf_nan=False)]
Whole = Annotated[int, BeforeValidator(_whole)]
Share = Annotated[Number, Field(ge=0, le=1)]
Positive = Annotated[Number, Field(gt=0)]
Count = Annotated[Whole, Field(ge=0)]
AtLeastOne = Annotated[Whole, Field(ge=1)]


class Settings(BaseModel):
    """A frozen group of settings that refuses unknown keys and silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Columns(Settings):
    """Which columns (JSON keys) of the source hold what; only `text` has to exist."""

    text: str = "text"
    votes: str | None = None
    community: str | None = None
    time: str | None = None
    conversation: str | None = None


class CorpusSettings(Settings):
    """Where the human text comes from, how it is cleaned, and what is held out."""

    source: str = "chitchat"  # built-in name, file, folder with save_to_disk, or dataset name
    format: Literal["auto", "jsonl", "csv", "parquet", "text", "dataset", "reddit"] = "auto"
    split: str = "train"  # of a `datasets` source
    columns: Columns = Columns()
    min_words: AtLeastOne = 8
    max_words: AtLeastOne = 120
    max_documents: AtLeastOne | None = None  # the first so many clean ones
    max_bad_lines: Share = 0.01  # a file with a larger share of bad lines is refused
    held_out: Annotated[Number, Field(gt=0, lt=1)] = 0.1  # share of documents
    near_duplicate: Annotated[Number, Field(gt=0, le=1)] = 0.8  # Jaccard; across the split

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.max_words < self.min_words:
            raise ValueError(f"max_words: {self.max_words} is below min_words: {self.min_words}")
        return self


class LoraSettings(Settings):
    """A low-rank adapter (Hu et al., 2106.09685) on the named modules."""

    rank: AtLeastOne = 16
    alpha: Positive = 32.0
    dropout: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    targets: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] = (
        "c_attn",
        "c_fc",
        "c_proj",
    )


class ModelSettings(Settings):
    """The causal language model and what of it is trained."""

    base: str = "tiny-gpt2"  # built-in name, folder, Hub id, or module:name of your own model
    revision: str | None = None  # of a Hub id
    dtype: Literal["float32", "bfloat16"] = "float32"
    start_from: Literal["base", "previous"] = "base"
    lora: LoraSettings | None = LoraSettings()  # null: full fine-tuning


class TrainSettings(Settings):
    """One generation's training: AdamW, linear warm-up, then decay."""

    epochs: Positive = 1.0
    batch_tokens: AtLeastOne = 2048  # target tokens of an optimizer step, all processes together
    micro_batch_tokens: AtLeastOne = 8192  # padded tokens of one forward pass: bounds the memory
    learning_rate: Positive = 1.0e-3
    warmup: Share = 0.1  # share of the steps
    decay: Literal["linear", "cosine", "none"] = "linear"
    weight_decay: Annotated[Number, Field(ge=0)] = 0.0
    max_grad_norm: Positive = 1.0


class MixSettings(Settings):
    """How human and kept model documents become a generation's training set, in tokens."""

    human_tokens: Count = 0
    model_tokens: Count = 25_000
    human: Literal["fixed", "fresh"] = "fixed"
    model: Literal["latest", "pool", "all"] = "latest"

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.human_tokens + self.model_tokens == 0:
            raise ValueError("human_tokens and model_tokens are both 0: nothing to train on")
        for side in ("human", "model"):
            if side in self.model_fields_set and getattr(self, f"{side}_tokens") == 0:
                raise ValueError(
                    f"{side}: {getattr(self, side)} has no effect while {side}_tokens is 0; "
                    f"delete it or set {side}_tokens"
                )
        return self


class SampleSettings(Settings):
    """How candidates are drawn. Nothing is left to a library's default."""

    oversample: Annotated[Number, Field(ge=1)] = 1.0  # tokens drawn for each model token needed
    min_tokens: AtLeastOne = 20_000  # drawn at least: what the evaluators compare
    max_new_tokens: AtLeastOne = 128
    temperature: Positive = 1.0
    top_k: Count = 0  # 0: off
    top_p: Annotated[Number, Field(gt=0, le=1)] = 1.0  # 1: off
    min_p: Annotated[Number, Field(ge=0, lt=1)] = 0.0  # 0: off
    repetition_penalty: Positive = 1.0  # 1: off
    prompt: Literal["none", "human"] = "none"
    prompt_tokens: AtLeastOne = 8  # of a human document's beginning
    slots: AtLeastOne = 128  # documents drawn side by side: speed and memory, not the text

    @model_validator(mode="after")
    def _prompt(self) -> Self:
        if "prompt_tokens" in self.model_fields_set and self.prompt == "none":
            raise ValueError(
                f"prompt_tokens: {self.prompt_tokens} has no effect while prompt is none; "
                "delete it or set prompt: human"
            )
        return self


class Component(Settings):
    """A filter or an evaluator: its name (built-in or module:name) and its settings."""

    name: str
    options: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        """`name`, `{name: {options}}`, or an instance of the component itself."""
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, Mapping) and len(value) == 1 and "name" not in value:
            ((name, options),) = value.items()
            return {"name": name, "options": options if options is not None else {}}
        if isinstance(value, Mapping | Component):
            return value
        if callable(value):
            return {"name": component_name(value), "options": component_options(value)}
        raise ValueError("expected a name, or one name with its settings")

    def build(self, kind: Literal["filter", "evaluator"]) -> Any:
        """The callable itself.

        Raises:
            RecipeError: no such name, unknown or bad settings.
        """
        maker = find_component(self.name, kind)
        if not isinstance(maker, type):
            if self.options:
                raise RecipeError(f"{self.name} is a plain function and takes no settings")
            return maker
        return _construct(maker, self.name, self.options)

    def dump(self) -> Any:
        """As it stands in YAML."""
        return {self.name: self.options} if self.options else self.name


class Recipe(Settings):
    """The frozen, complete description of a run.

    >>> Recipe().replace(generations=2, sample={"temperature": 0.9}).generations
    2
    """

    seed: Count = 0
    generations: Count = 5
    corpus: CorpusSettings = CorpusSettings()
    model: ModelSettings = ModelSettings()
    train: TrainSettings = TrainSettings()
    mix: MixSettings = MixSettings()
    sample: SampleSettings = SampleSettings()
    curate: Annotated[tuple[Component, ...], Field(strict=False)] = ()
    evaluate: Annotated[tuple[Component, ...], Field(strict=False)] = (
        Component(name="perplexity"),
        Component(name="diversity"),
        Component(name="rare_tokens"),
    )

    def replace(self, **changes: Any) -> Recipe:
        """A copy with `changes` (groups may be partial mappings), validated again."""
        data = self.dump(explicit_only=True)
        for key, value in changes.items():
            if isinstance(value, Settings):
                data[key] = value.model_dump(exclude_unset=True)
            elif isinstance(value, Mapping) and isinstance(data.get(key), dict):
                data[key] = {**data[key], **value}
            else:
                data[key] = value
        return parse_recipe(data, where="replace()")

    def dump(self, explicit_only: bool = False) -> dict[str, Any]:
        """Plain data as it stands in YAML; `explicit_only` leaves out untouched defaults."""
        data = self.model_dump(mode="json", exclude_unset=explicit_only)
        for key in ("curate", "evaluate"):
            if key in data:
                data[key] = [component.dump() for component in getattr(self, key)]
        return data

    def to_yaml(self) -> str:
        """The resolved recipe, every default written out; `load_recipe` reads it back."""
        data = self.dump()
        if self.mix.human_tokens == 0:  # a written default would read as a setting without effect
            del data["mix"]["human"]
        if self.mix.model_tokens == 0:
            del data["mix"]["model"]
        if self.sample.prompt == "none":
            del data["sample"]["prompt_tokens"]
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)

    def filters(self) -> list[Any]:
        """The filters, in order, ready to be called."""
        return [component.build("filter") for component in self.curate]

    def evaluators(self) -> list[Any]:
        """The evaluators, ready to be called."""
        return [component.build("evaluator") for component in self.evaluate]


def load_recipe(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe, with `overrides` by dotted path laid over it.

    >>> load_recipe("recipes/quickstart/recipe.yaml", {"sample.oversample": 4})  # doctest: +SKIP

    Raises:
        RecipeError: not readable, not YAML, duplicate keys, or any setting is refused; the
            message names every fault with its path.
    """
    path = Path(path)
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(data, dict):
        raise RecipeError(f"{path}: expected settings as `key: value`, found {_shown(data)}")
    for dotted, value in (overrides or {}).items():
        _lay_over(data, dotted, value)
    return parse_recipe(data, where=str(path))


def parse_recipe(data: Mapping[str, Any], where: str) -> Recipe:
    """Validate plain data; `where` opens the error message."""
    faults: list[str] = []
    recipe = None
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        faults = [_fault(item) for item in error.errors()]
    if recipe is not None:
        for key, kind in (("curate", "filter"), ("evaluate", "evaluator")):
            for index, component in enumerate(getattr(recipe, key)):
                try:
                    component.build(kind)
                except RecipeError as error:
                    faults += [f"{key}.{index}.{line}" for line in str(error).splitlines()]
    if faults or recipe is None:
        count = "1 problem" if len(faults) == 1 else f"{len(faults)} problems"
        raise RecipeError("\n  ".join([f"{where}: {count}", *faults]))
    return recipe


def parse_override(text: str) -> tuple[str, Any]:
    """Split one `--set train.learning_rate=2e-4` into its path and YAML value."""
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise RecipeError(f"--set {text}: expected PATH=VALUE, as in train.learning_rate=2e-4")
    try:
        return path, yaml.load(value, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {text}: the value is not valid YAML: {error}") from None


# --- components -----------------------------------------------------------------------------

# A built-in name is short for the same module:name that anyone's filter or evaluator has.
BUILT_IN: dict[str, dict[str, str]] = {
    "filter": {
        "random": "textmad.curation.controls:Random",
        "length": "textmad.curation.quality:Length",
        "repetition": "textmad.curation.quality:Repetition",
        "duplicates": "textmad.curation.duplicates:Duplicates",
        "upvotes": "textmad.curation.votes:Upvotes",
    },
    "evaluator": {
        "perplexity": "textmad.evaluators.perplexity:Perplexity",
        "diversity": "textmad.evaluators.diversity:Diversity",
        "rare_tokens": "textmad.evaluators.rare_tokens:RareTokens",
    },
}


def find_component(name: str, kind: Literal["filter", "evaluator"]) -> Any:
    """The class or function that `name` stands for; built-in name or module:name.

    Raises:
        RecipeError: no such built-in, module or attribute.
    """
    built_in = BUILT_IN[kind]
    if ":" not in name and name not in built_in:
        raise RecipeError(
            f"{name}: unknown {kind}{_suggestion(name, built_in)}; "
            f"built in are {', '.join(sorted(built_in))}; your own is module:name"
        )
    return import_name(built_in.get(name, name))


def import_name(name: str) -> Any:
    """What `module:name` names; the working directory is searched first, as by `python -m`."""
    import sys

    module_name, _, attribute = name.partition(":")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise RecipeError(
            f"{name}: cannot be imported ({error}); expected module:name, with the module "
            f"installed or in {Path.cwd()}"
        ) from None
    return found


def component_name(component: Any) -> str:
    """The name under which a filter, evaluator or scorer is found again."""
    kind = component if hasattr(component, "__qualname__") else type(component)
    full_name = f"{kind.__module__}:{kind.__qualname__}"
    for built_in in BUILT_IN.values():
        for name, target in built_in.items():
            if target == full_name:
                return name
    return full_name


def component_options(component: Any) -> dict[str, Any]:
    """The fields of a dataclass instance that differ from their defaults."""
    if not dataclasses.is_dataclass(component) or isinstance(component, type):
        return {}
    options = {}
    for field in dataclasses.fields(component):
        value = getattr(component, field.name)
        if callable(value):
            value = component_name(value)
        if value != field.default:
            options[field.name] = list(value) if isinstance(value, tuple) else value
    return options


def _construct(maker: type, name: str, options: Mapping[str, Any]) -> Any:
    """A dataclass instance from YAML options, its field types checked."""
    if not dataclasses.is_dataclass(maker):
        if options:
            raise RecipeError(f"{name}: only a dataclass takes settings; make {name} one")
        return maker()
    known = [field.name for field in dataclasses.fields(maker) if field.init]
    faults = [
        f"{name}.{key}: unknown setting{_suggestion(key, known)}"
        for key in options
        if key not in known
    ]
    if not faults:
        numbers = {key: _yaml_number(value) for key, value in options.items()}
        try:
            return TypeAdapter(maker).validate_python(numbers)
        except ValidationError as error:
            faults = [f"{name}.{_fault(item)}" for item in error.errors()]
    raise RecipeError("\n".join(faults))


# --- messages -------------------------------------------------------------------------------

_EXPECTED = {
    "greater_than": "expected more than {gt}",
    "greater_than_equal": "expected at least {ge}",
    "less_than": "expected less than {lt}",
    "less_than_equal": "expected at most {le}",
    "literal_error": "expected {expected}",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "finite_number": "expected a finite number",
    "bool_type": "expected true or false",
    "string_type": "expected text",
    "model_type": "expected settings as `key: value`",
    "model_attributes_type": "expected settings as `key: value`",
    "tuple_type": "expected a list",
    "dict_type": "expected settings as `key: value`",
    "too_short": "expected at least {min_length} entry",
    "missing": "is missing",
}


def _fault(item: Any) -> str:
    """One pydantic error as `path: given: expected`."""
    where = ".".join(str(part) for part in item["loc"])
    kind, context = item["type"], item.get("ctx", {})
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{where}: unknown setting{_suggestion(str(item['loc'][-1]), _siblings(item))}"
    if kind == "value_error":
        return f"{where}: {context['error']}" if where else str(context["error"])
    expected = _EXPECTED.get(kind, item["msg"]).format(**context)
    return f"{where}: {_shown(item['input'])}: {expected}"


def _siblings(item: Any) -> list[str]:
    """The settings known where the unknown one stands."""
    group: Any = Recipe
    for part in item["loc"][:-1]:
        if not (isinstance(group, type) and issubclass(group, BaseModel)):
            return []
        group = _group_of(group.model_fields[str(part)].annotation)
    return list(group.model_fields) if hasattr(group, "model_fields") else []


def _group_of(annotation: Any) -> Any:
    """The settings class inside an annotation such as `LoraSettings | None`."""
    options = getattr(annotation, "__args__", (annotation,))
    return next(
        (o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), annotation
    )


def _suggestion(word: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _shown(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True) if _is_plain(value) else repr(value)
    text = text.removesuffix("\n").removesuffix("\n...")
    return text if len(text) <= 60 else text[:57] + "..."


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool | list | dict)


# --- YAML -----------------------------------------------------------------------------------


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice instead of keeping the last."""


def _unique_mapping(loader: _UniqueKeyLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
        if key in seen:
            raise yaml.MarkedYAMLError(
                problem=f"the key {key} is given twice", problem_mark=key_node.start_mark
            )
        seen.add(key)
    return dict(yaml.SafeLoader.construct_mapping(loader, node, deep=True))


_UniqueKeyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


def _lay_over(data: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for part in parents:
        if not isinstance(data.get(part), dict):
            data[part] = {}
        data = data[part]
    data[last] = value
