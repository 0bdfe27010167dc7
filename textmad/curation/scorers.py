"""Scorers: what a crowd finds good. Higher is better.

A scorer of one's own is a plain function from a list of texts to a list of numbers, as TRL's
reward functions are; the built-in ones may also ask the run's base model.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import comb
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from textmad.components import component_name, import_name
from textmad.curation.protocol import Context, document, first_failing
from textmad.errors import CurationError, RecipeError

if TYPE_CHECKING:
    from datasets import Dataset

Scorer = Callable[[list[str]], Sequence[float]]


def fluency(texts: list[str], context: Context) -> list[float]:
    """Mean log-likelihood of a text's tokens under the base model, nats per token, below 0."""
    return [-float(np.mean(nll)) for nll in context.base_token_nll(texts)]


def variety(texts: list[str], context: Context) -> list[float]:
    """Expected share of distinct words among 10 words drawn from the text, in [0, 1].

    HD-D (McCarthy and Jarvis, "MTLD, vocd-D, and HD-D", Behavior Research Methods 42, 2010),
    which does not fall with length as the plain share of distinct words does; with a sample of
    10 words instead of 42, as posts are short. A text of fewer words is its own sample, and one
    without words scores 0.
    """
    return [hdd(text.casefold().split(), 10) for text in texts]


def hdd(words: Sequence[str], sample: int) -> float:
    """Expected share of distinct words among `sample` of them, drawn without replacement.

    >>> round(hdd(["tea", "tea", "or", "milk"], 2), 4)  # 1/6 of the pairs is tea, tea
    0.9167
    """
    total, sample = len(words), min(sample, len(words))
    ways = comb(total, sample)
    # A word is missed by the samples drawn from the others alone.
    missed = sum(comb(total - count, sample) / ways for count in Counter(words).values())
    return (len(set(words)) - missed) / sample if sample else 0.0


BUILT_IN: dict[str, Callable[[list[str], Context], list[float]]] = {
    "fluency": fluency,
    "variety": variety,
}


def resolved(scorer: str | Scorer) -> Callable[[list[str], Context], Sequence[float]]:
    """The function that `scorer` names, or is.

    Raises:
        ValueError: no such built-in, module or function.
    """
    if isinstance(scorer, str) and scorer in BUILT_IN:
        return BUILT_IN[scorer]
    if isinstance(scorer, str) and ":" not in scorer:
        close = difflib.get_close_matches(scorer, BUILT_IN, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(
            f"scorer: {scorer}: unknown scorer{hint}; built in are "
            f"{', '.join(sorted(BUILT_IN))}; your own is module:name"
        )
    try:
        function = import_name(scorer) if isinstance(scorer, str) else scorer
    except RecipeError as error:
        raise ValueError(f"scorer: {error}") from None
    if not callable(function):
        raise ValueError(f"scorer: {scorer}: expected a function, found {type(function).__name__}")
    return lambda texts, context: function(texts)


def scored(scorer: str | Scorer, candidates: Dataset, context: Context) -> npt.NDArray[np.float64]:
    """The scorer's value for each candidate, `(documents,)`, all of them finite.

    Raises:
        CurationError: the scorer raised, or gave something other than one finite number a text.
    """
    texts: list[str] = candidates["text"][:]
    name = scorer if isinstance(scorer, str) else component_name(scorer)
    function = resolved(scorer)
    try:
        values = function(list(texts), context)
    except Exception as error:
        index = first_failing(
            lambda start, stop: function(texts[start:stop], context), len(texts), type(error)
        )
        blame = "" if index is None else f"; so it does on {document(candidates, index)} alone"
        raise CurationError(
            f"scorer {name} raised {type(error).__name__}: {error}{blame}"
        ) from error
    return _finite(name, values, candidates)


def _finite(name: str, values: object, candidates: Dataset) -> npt.NDArray[np.float64]:
    if not isinstance(values, Iterable):
        raise CurationError(
            f"scorer {name} gave {type(values).__name__}, expected a list of "
            f"{len(candidates)} numbers"
        )
    values = list(values)
    if len(values) != len(candidates):
        raise CurationError(
            f"scorer {name} gave {len(values)} values for {len(candidates)} texts, expected 1 each"
        )
    for index, value in enumerate(values):
        if not isinstance(value, int | float | np.number) or not np.isfinite(value):
            raise CurationError(
                f"scorer {name} gave {value!r} for {document(candidates, index)}, "
                "expected a finite number"
            )
    return np.array(values, dtype=np.float64)
