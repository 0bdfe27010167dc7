"""What every model checks of the parents that it is asked to cross."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from textmad.errors import ModelError

if TYPE_CHECKING:
    from textmad.models.protocol import LanguageModel

Model = TypeVar("Model", bound="LanguageModel")

_DIGITS = 12  # of a digest, for a message


def checked_parents(
    base: Model, parents: Sequence[LanguageModel], weights: Sequence[float], *, by_layer: bool
) -> list[Model]:
    """Return the parents as models of the kind of `base`, which is asked to cross them.

    Args:
        base: the base model that all parents have to be fitted on.
        parents: the models to be crossed.
        weights: one a parent; chances if the crossing is by layer.
        by_layer: whether each layer comes from one parent.

    Raises:
        ModelError: there is no parent, a weight is missing or is no number that can be used, or a
            parent is of another kind or of another base model.
    """
    if not parents:
        raise ModelError("crossed: no parents; expected at least one")
    if len(parents) != len(weights):
        raise ModelError(
            f"crossed: {len(parents)} parents and {len(weights)} weights; expected a weight for "
            "each parent"
        )
    for number, weight in enumerate(weights, 1):
        if not math.isfinite(weight):
            raise ModelError(f"crossed: weight {number} is {weight}; expected a finite number")
        if by_layer and weight < 0:
            raise ModelError(
                f"crossed: weight {number} is {weight:g}: by layer, weights are the chances of the "
                "parents; expected none below 0"
            )
    if by_layer and not any(weights):
        raise ModelError(
            "crossed: all weights are 0: by layer, weights are the chances of the parents; "
            "expected one above 0"
        )
    same_kind: list[Model] = []
    for number, parent in enumerate(parents, 1):
        if not isinstance(parent, type(base)):
            raise ModelError(
                f"crossed: parent {number}, {parent.name}, is a {type(parent).__name__}; expected "
                f"a {type(base).__name__}, as the base model is"
            )
        if parent.digest != base.digest:
            raise ModelError(
                f"crossed: parent {number} is fitted on {parent.name} (digest "
                f"{parent.digest[:_DIGITS]}), expected the base model {base.name} (digest "
                f"{base.digest[:_DIGITS]}); only models of one base model can be crossed"
            )
        same_kind.append(parent)
    return same_kind
