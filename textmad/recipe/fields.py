"""The kinds of values that settings take, and the frozen group of settings."""

from __future__ import annotations

import os
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from textmad.recipe.components import whole

Number = Annotated[float, Field(allow_inf_nan=False)]
Whole = Annotated[int, Field(lt=2**63), BeforeValidator(whole)]
Share = Annotated[Number, Field(ge=0, le=1)]
Positive = Annotated[Number, Field(gt=0)]
# The bounds come before the validator: a JSON Schema has those alone.
Count = Annotated[int, Field(ge=0, lt=2**63), BeforeValidator(whole)]
AtLeastOne = Annotated[int, Field(ge=1, lt=2**63), BeforeValidator(whole)]
# More than any machine computes or holds. A slip (1e9 for 1e3) is an error here, not a run that
# never ends. A trillion tokens is a hundred times what a large model of 2020 learned from.
MOST_TOKENS = 10**12
MOST_GENERATIONS = 10_000
MOST_CATEGORIES = 10_000_000  # 80 MB for each vector of probabilities
MOST_TIMES = 1e6
Tokens = Annotated[Count, Field(le=MOST_TOKENS)]
Times = Annotated[Number, Field(ge=1, le=MOST_TIMES)]


def _at_home(path: Any) -> Any:
    """Expand `~/` at the beginning of a path, so that all who read the path read the same."""
    return os.path.expanduser(path) if isinstance(path, str) and path.startswith("~/") else path


Place = Annotated[str, BeforeValidator(_at_home)]

AUTO = "auto"
Targets = Annotated[
    tuple[str, ...],
    Field(min_length=1, strict=False),
    BeforeValidator(lambda value: [AUTO] if value == AUTO else value),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": AUTO},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ]
        }
    ),
]


class Settings(BaseModel):
    """A frozen group of settings without unknown keys and silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="after")
    def _only_characters(self) -> Self:
        for setting, value in self:
            if isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value):
                raise ValueError(
                    f"{setting}: {value!r}: expected text without halves of surrogate pairs"
                )
        return self

    def _check_default(self, setting: str, while_: str) -> None:
        """Check that a setting without effect is left at (or set to) its default."""
        value, default = getattr(self, setting), type(self).model_fields[setting].default
        if value != default:
            raise ValueError(f"{setting}: {value}: has no effect {while_}, or delete it")
