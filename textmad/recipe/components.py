"""Filters and evaluators in a recipe: look up a name, construct it, and write it down again.

Each is a plain function or a (frozen) dataclass with `__call__`, whose fields are its settings; a
field that is a dataclass itself is a group of settings. A built-in name is short for the same
module:name that anyone's has, and `twin` before a filter's name means its matched random control.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import typing
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_serializer
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticCustomError, PydanticSerializationError

from textmad.errors import RecipeError, raised
from textmad.recipe.validation_errors import joined, printable, shown, suggestion, value_fault

Kind = Literal["filter", "evaluator"]

BUILT_IN: dict[Kind, dict[str, str]] = {
    "filter": {
        "random": "textmad.curation.controls:Random",
        "length": "textmad.curation.quality:Length",
        "repetition": "textmad.curation.quality:Repetition",
        "duplicates": "textmad.curation.duplicates:Duplicates",
        "upvotes": "textmad.curation.upvotes:Upvotes",
        "people": "textmad.curation.people:People",
        "author": "textmad.curation.author:Author",
        "detector": "textmad.curation.detector:Detector",
        "discriminator": "textmad.curation.discriminator:Discriminator",
        "jury": "textmad.curation.jury:Jury",
        "watermark": "textmad.curation.watermark:Watermark",
        "rescue": "textmad.curation.rescue:Rescue",
    },
    "evaluator": {
        "perplexity": "textmad.evaluators.perplexity:Perplexity",
        "diversity": "textmad.evaluators.diversity:Diversity",
        "rare_tokens": "textmad.evaluators.rare_tokens:RareTokens",
        "votes": "textmad.evaluators.votes:Votes",
        "guards": "textmad.evaluators.crawl_filters:CrawlFilterAccuracy",
        "detection": "textmad.evaluators.detection:Detection",
        "discriminator": "textmad.evaluators.discriminator:Discriminator",
        "adversary": "textmad.evaluators.adversary:Adversary",
        "text_perplexity": "textmad.evaluators.perplexity:TextPerplexity",
        "ngram_gap": "textmad.evaluators.ngram_gap:NgramGap",
        "selection": "textmad.evaluators.selection:Selection",
        "self_bleu": "textmad.evaluators.self_bleu:SelfBleu",
        "length": "textmad.evaluators.length:Length",
        "memorisation": "textmad.evaluators.memorisation:Memorisation",
        "embedding": "textmad.evaluators.embedding:Embedding",
        "adapter": "textmad.evaluators.adapter:Adapter",
        "facts": "textmad.evaluators.facts:Facts",
        "judge": "textmad.evaluators.judge:Judge",
    },
}
TWIN = "twin "  # before a filter's name
_TWIN = "textmad.curation.controls:MatchedRandom"


class Component(BaseModel):
    """A filter or an evaluator: its name (built-in or module:name) and its settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    options: dict[str, Any] = {}

    def build(self, kind: Kind) -> Any:
        """Construct the filter or evaluator and return it.

        Raises:
            RecipeError: no such name, unknown or bad settings.
        """
        if kind == "filter" and self.name.startswith(TWIN):
            return import_name(_TWIN)(self._original().build(kind))
        maker = find_component(self.name, kind)
        if isinstance(maker, type):
            made = _construct(maker, self.name, self.options)
        elif self.options:
            raise RecipeError(f"{self.name}: is a plain function and takes no settings")
        else:
            made = maker
        if not callable(made):
            raise RecipeError(
                f"{self.name}: a {type(made).__name__} cannot be called: expected a function, or "
                "a class with __call__"
            )
        return made

    def _original(self) -> Component:
        """Return the filter that this random control belongs to."""
        return Component(name=self.name.removeprefix(TWIN), options=self.options)

    def resolved(self, kind: Kind) -> Component:
        """Return the same component with every default written out."""
        return Component(name=self.name, options=component_options(self.build(kind)))

    @model_serializer
    def dump(self) -> Any:
        """Return it as it stands in YAML."""
        return {self.name: self.options} if self.options else self.name


def read_component(value: Any) -> Any:
    """Read an entry of a list: `name`, `{name: {settings}}`, or the callable itself."""
    if isinstance(value, Component):
        return value
    if isinstance(value, str):
        return Component(name=value)
    if isinstance(value, Mapping) and len(value) == 1 and isinstance(next(iter(value)), str):
        ((name, options),) = value.items()
        options = {} if options is None else options
        if not isinstance(options, Mapping):
            raise ValueError(f"{name}: {shown(options)}: expected settings as `key: value`")
        return Component(name=name, options={str(key): options[key] for key in options})
    if callable(value):
        return Component(name=component_name(value), options=component_options(value))
    raise PydanticCustomError("component_type", "a name, or one name with its settings")


def find_component(name: str, kind: Kind) -> Any:
    """Return the class or function that a built-in name or module:name stands for.

    Raises:
        RecipeError: no such built-in, module or attribute.
    """
    built_in = BUILT_IN[kind]
    if ":" not in name and name not in built_in:
        raise RecipeError(
            f"{printable(name)}: unknown {kind}; built in are {', '.join(sorted(built_in))}; "
            f"your own is module:name{suggestion(name, built_in)}"
        )
    return import_name(built_in.get(name, name))


def import_name(name: str) -> Any:
    """Import `module:name` and return it; the working directory is searched first.

    Raises:
        RecipeError: no such name, or its module cannot be imported.
    """
    module_name, _, attribute = name.partition(":")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        named = importlib.import_module(module_name)
        for part in attribute.split("."):
            named = getattr(named, part)
    except (Exception, SystemExit) as error:  # whatever a user's module raises
        is_plain = isinstance(error, ImportError | AttributeError)
        why = str(error) if is_plain else raised(error)
        raise RecipeError(
            f"{name}: cannot be imported ({why}); expected module:name, with the module "
            f"installed or in {Path.cwd()}"
        ) from error
    return named


def component_name(component: Any) -> str:
    """Return the name by which a recipe refers to a filter, evaluator or scorer."""
    if (original := getattr(component, "twin_of", None)) is not None:
        return TWIN + component_name(original)
    kind = component if hasattr(component, "__qualname__") else type(component)
    full_name = f"{kind.__module__}:{kind.__qualname__}"
    for built_in in BUILT_IN.values():
        for name, target in built_in.items():
            if target == full_name:
                return name
    return full_name


def component_options(component: Any) -> dict[str, Any]:
    """Return all settings of a dataclass instance as plain data.

    >>> from textmad.curation import Random
    >>> component_options(Random(keep=0.5))
    {'keep': 0.5}

    Raises:
        RecipeError: a recipe cannot hold a setting.
    """
    if (original := getattr(component, "twin_of", None)) is not None:
        return component_options(original)
    if not dataclasses.is_dataclass(component) or isinstance(component, type):
        return {}
    return _group_options(component, component_name(component))


def _group_options(group: Any, path: str) -> dict[str, Any]:
    kind: type = type(group)
    return {
        field: _plain(getattr(group, field), adapter, f"{path}.{field}")
        if _group_of(kind, field) is None
        else _group_options(getattr(group, field), f"{path}.{field}")
        for field, adapter in _settings_of(kind, path).items()
    }


def _construct(maker: type, name: str, options: Mapping[str, Any]) -> Any:
    """Construct an instance from a recipe's settings, whose types are checked."""
    if not dataclasses.is_dataclass(maker):
        if options:
            raise RecipeError(f"{name}: only a dataclass takes settings; make {name} one")
        return _made(maker, name, {})
    known = _settings_of(maker, name)
    values: dict[str, Any] = {}
    faults: list[str] = []
    for key, value in options.items():
        if key not in known:
            faults.append(f"{name}.{printable(key)}: unknown setting{suggestion(key, known)}")
            continue
        value = whole(value)
        if (group := _group_of(maker, key)) is not None:
            try:
                values[key] = _group(group, f"{name}.{key}", value)
            except RecipeError as error:
                faults += str(error).splitlines()
            continue
        try:
            # As JSON: a list may become a tuple, but true no 1 and 3 no text.
            text = json.dumps(value, default=str)
            values[key] = known[key].validate_json(text, strict=True)
        except ValidationError as error:
            faults += value_fault(f"{name}.{key}", value, error)
    faults += [
        f"{name}.{field.name}: is missing"
        for field in dataclasses.fields(maker)
        if field.name in known and field.name not in options and _is_required(field)
    ]
    if faults:
        raise RecipeError("\n".join(faults))
    return _made(maker, name, values)


@cache  # a study builds the same filters and evaluators for each of its arms
def _group_of(maker: type, key: str) -> type | None:
    """Return the dataclass of a group of settings; None for a single value."""
    hint = typing.get_type_hints(maker)[key]
    return hint if isinstance(hint, type) and dataclasses.is_dataclass(hint) else None


def _group(maker: type, path: str, value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise RecipeError(f"{path}: {shown(value)}: expected settings as `key: value`")
    return _construct(maker, path, {str(key): value[key] for key in value})


def whole(value: Any) -> Any:
    """Return a float without a fraction as a whole number: 2e4 is a float to YAML and Python."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _made(maker: type, name: str, values: Mapping[str, Any]) -> Any:
    try:
        return maker(**values)
    except ValueError as error:  # from a dataclass's __post_init__
        raise RecipeError(joined(name, str(error))) from error
    except (Exception, SystemExit) as error:
        raise RecipeError(f"{name}: raised {raised(error)}") from error


def _settings_of(maker: type, name: str) -> dict[str, TypeAdapter[Any]]:
    """Return the fields that a dataclass is constructed from, with a validator of each."""
    try:
        return _validators(maker)
    except (NameError, PydanticUserError) as error:
        why = str(error).splitlines()[0]
        raise RecipeError(
            f"{name}: the type of a field cannot be used ({why}); expected types that YAML can "
            "hold, imported where the program runs and not under TYPE_CHECKING alone"
        ) from error


@cache  # see `_group_of`
def _validators(maker: type) -> dict[str, TypeAdapter[Any]]:
    fields = [field.name for field in dataclasses.fields(maker) if field.init]
    hints = typing.get_type_hints(maker, include_extras=True)
    return {field: TypeAdapter(hints[field]) for field in fields}


def _is_required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _plain(value: Any, adapter: TypeAdapter[Any], path: str) -> Any:
    if callable(value) and hasattr(value, "__qualname__"):
        return component_name(value)
    try:
        if callable(value):  # an object's state would be lost with its name
            raise ValueError("only functions have a name")
        return adapter.dump_python(value, mode="json")
    except (PydanticSerializationError, ValueError) as error:
        raise RecipeError(
            f"{path}: {shown(value)}: cannot be written into a recipe ({error}); expected numbers, "
            "text, lists of them, or a function of a module"
        ) from None
