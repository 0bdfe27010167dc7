"""The JSON Schema of a recipe or a study, by which editors complete and check YAML files."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, cast

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError

from textmad.recipe.components import BUILT_IN, Kind, find_component

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_KIND = "x-textmad-kind"


def kind_schema(kind: Kind) -> dict[str, Any]:
    """Return what stands in a generated schema for a filter or an evaluator until it is named."""
    return {_KIND: kind}


def json_schema(settings: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of a recipe's or a study's settings."""
    schema = settings.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    for kind in BUILT_IN:
        definitions[kind] = _component_schema(kind, definitions)
    return {"$schema": DIALECT, **cast(dict[str, Any], _named(schema))}


def schema_text(settings: type[BaseModel]) -> str:
    """Return the JSON Schema as the text of a file."""
    return json.dumps(json_schema(settings), indent=1) + "\n"


def _component_schema(kind: Kind, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of one filter or evaluator: a name, or a name with its settings."""
    built_in = BUILT_IN[kind]
    return {
        "anyOf": [
            {"enum": sorted(built_in)},
            {"type": "string", "pattern": "^(twin )?[\\w.]+(:[\\w.]+)?$"},
            {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "properties": {
                    name: _settings_schema(find_component(name, kind), definitions)
                    for name in sorted(built_in)
                },
                "additionalProperties": {"type": ["object", "null"]},  # module:name
            },
        ]
    }


def _settings_schema(maker: type, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a built-in's settings, which are the fields of its dataclass."""
    try:
        whole = TypeAdapter(maker).json_schema()
    except (PydanticUserError, PydanticInvalidForJsonSchema):
        whole = {}  # such as a function, which is written as module:name
    definitions.update(whole.get("$defs", {}))  # of groups within the settings
    known = whole.get("properties", {})
    properties = {f.name: known.get(f.name, {}) for f in dataclasses.fields(maker) if f.init}
    return {"type": ["object", "null"], "additionalProperties": False, "properties": properties}


def _named(part: Any) -> Any:
    """Return the schema with references where `kind_schema` stood."""
    if isinstance(part, dict):
        if _KIND in part:
            return {"$ref": f"#/$defs/{part[_KIND]}"}
        return {key: _named(value) for key, value in part.items()}
    return [_named(item) for item in part] if isinstance(part, list) else part
