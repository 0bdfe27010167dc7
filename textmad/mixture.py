"""How human and kept model documents become a generation's training set, counted in tokens.

The literature's loops are settings of one rule (`human_tokens` h, `model_tokens` m):

    fully synthetic         h = 0, model: latest             Shumailov et al. 2024
    augmentation            human: fixed, model: latest      Alemohammad et al. 2023
    fresh data              human: fresh, model: latest      Alemohammad et al. 2023
    accumulate              human: fixed, model: all         Gerstgrasser et al. 2024
    accumulate-subsample    human: fixed, model: pool        Kazdan et al. 2024

Generation 0 learns from h + m tokens of human text in each of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from textmad.documents import concatenate, take, token_counts
from textmad.errors import CorpusError, CurationError
from textmad.recipe import MixSettings, SampleSettings
from textmad.seeds import stream

if TYPE_CHECKING:
    from datasets import Dataset


class Mixture(NamedTuple):
    """A generation's training set, human documents first, and what it really holds."""

    documents: Dataset
    human_tokens: int
    model_tokens: int
    human_documents: int
    model_documents: int

    def counts(self) -> dict[str, int]:
        """The realised counts alone."""
        return {name: getattr(self, name) for name in self._fields if name != "documents"}


def mix(
    settings: MixSettings,
    generation: int,
    human: Dataset,
    kept: Sequence[Dataset],
    seed: int,
) -> Mixture:
    """Draw the training set of `generation`.

    Whole documents are taken, without repeats, until a budget is reached, so a budget is
    exceeded by less than its last document. The pool has one seeded order a run, and so has each
    generation's kept text: `fixed` and `all` meet the same documents every time.

    >>> from textmad.documents import documents
    >>> pool = documents({"text": list("abcdef"), "tokens": [10] * 6})
    >>> mix(MixSettings(human_tokens=20, model_tokens=15), 0, pool, [], seed=0).counts()
    {'human_tokens': 40, 'model_tokens': 0, 'human_documents': 4, 'model_documents': 0}

    Args:
        settings: the budgets, and where each is filled from.
        generation: the one that will learn, from 0.
        human: the whole human training pool, the same in every call of a run.
        kept: the kept documents of generations 0 to `generation` - 1, in order.
        seed: the run's.

    Raises:
        CorpusError: too little human text.
        CurationError: too little kept model text.
    """
    assert len(kept) == generation, f"{len(kept)} earlier generations at generation {generation}"
    human_part = _human_part(settings, generation, human, seed)
    model_parts = _model_parts(settings, generation, kept, seed)
    return Mixture(
        documents=concatenate([human_part, *model_parts]),
        human_tokens=int(token_counts(human_part).sum()),
        model_tokens=sum(int(token_counts(part).sum()) for part in model_parts),
        human_documents=len(human_part),
        model_documents=sum(len(part) for part in model_parts),
    )


def human_tokens_needed(settings: MixSettings, generations: int) -> int:
    """Tokens of human text that a run up to generation `generations` takes from the pool.

    Whole documents are taken, so a run may need up to one document more for each budget filled.

    >>> human_tokens_needed(MixSettings(human_tokens=30, model_tokens=10, human="fresh"), 5)
    190
    """
    later = generations * settings.human_tokens if settings.human == "fresh" else 0
    return training_tokens(settings, 0) + later


def check_human_tokens(settings: MixSettings, generations: int, human: Dataset) -> None:
    """Refuse a pool that cannot last a whole run, before any of it is spent.

    Raises:
        CorpusError: how many tokens are there, and how many are needed.
    """
    needed, there = human_tokens_needed(settings, generations), int(token_counts(human).sum())
    if needed > there:
        raise CorpusError(
            f"corpus: {there:,} tokens of human training text are there, and the recipe needs "
            f"{needed:,} up to generation {generations}: lower mix.human_tokens, mix.model_tokens "
            "or generations, or give a larger corpus"
        )


def training_tokens(settings: MixSettings, generation: int) -> int:
    """Token budget of a generation's training set; with `model: all` it grows.

    >>> training_tokens(MixSettings(human_tokens=30, model_tokens=10, model="all"), 3)
    60
    """
    earlier = generation if settings.model == "all" else 1
    return settings.human_tokens + settings.model_tokens * max(earlier, 1)


def model_tokens_drawn(mix: MixSettings, sample: SampleSettings) -> int:
    """Tokens that each generation draws: what the next mixture needs, and what is compared.

    >>> model_tokens_drawn(MixSettings(model_tokens=30_000), SampleSettings(oversample=5.0))
    150000
    """
    needed = round(sample.oversample * mix.model_tokens, 6)  # 1.1 * 30,000 is a little above
    return max(sample.min_tokens, math.ceil(needed))


def compared_tokens(mix: MixSettings, sample: SampleSettings) -> int:
    """Tokens of human text beside which drawn and kept text is put; the same all through a run.

    >>> compared_tokens(MixSettings(model_tokens=30_000), SampleSettings(min_tokens=20_000))
    20000
    """
    return min(sample.min_tokens, mix.model_tokens or sample.min_tokens)


def _human_part(settings: MixSettings, generation: int, human: Dataset, seed: int) -> Dataset:
    order = stream(seed, "mix", "human").permutation(len(human))
    tokens = token_counts(human)[order]
    # `fresh` walks along the order, each generation from where the one before it stopped.
    first = 0 if settings.human == "fresh" else generation
    start = stop = 0
    for step in range(first, generation + 1):
        budget = training_tokens(settings, 0) if step == 0 else settings.human_tokens
        start, reached = stop, _reach(tokens[stop:], budget)
        if reached is None:
            left = int(tokens[start:].sum())
            raise CorpusError(_human_shortage(settings, step, left, int(tokens.sum())))
        stop = start + reached
    return take(human, order[start:stop])


def _model_parts(
    settings: MixSettings, generation: int, kept: Sequence[Dataset], seed: int
) -> list[Dataset]:
    """The kept documents to learn from, one part for each source that has a budget."""
    if generation == 0 or settings.model_tokens == 0:
        return []
    latest = generation - 1
    if settings.model == "all":
        sources = [(j, f"generation {j}", kept[j]) for j in range(generation)]
    elif settings.model == "pool":
        sources = [(latest, f"generations 0 to {latest}", concatenate(kept))]
    else:
        sources = [(latest, f"generation {latest}", kept[latest])]
    parts = []
    for key, name, source in sources:
        order = stream(seed, "mix", "model", key).permutation(len(source))
        tokens = token_counts(source)[order]
        reached = _reach(tokens, settings.model_tokens)
        if reached is None:
            raise CurationError(_model_shortage(settings, generation, name, int(tokens.sum())))
        parts.append(take(source, order[:reached]))
    return parts


def _reach(tokens: np.ndarray, budget: int) -> int | None:
    """Number of documents in the shortest prefix of at least `budget` tokens; None: too few."""
    if budget == 0:
        return 0
    total = np.cumsum(tokens)
    reached = int(np.searchsorted(total, budget)) + 1
    if reached > len(tokens):
        return None
    assert 0 <= total[reached - 1] - budget < tokens[reached - 1], "more than one document over"
    return reached


def _human_shortage(settings: MixSettings, generation: int, left: int, total: int) -> str:
    if generation == 0 or settings.human == "fixed":  # a fixed pool is exhausted at once or never
        return (
            f"mix.human_tokens + mix.model_tokens: generation 0 learns from human text only and "
            f"needs {training_tokens(settings, 0):,} tokens, the pool holds {total:,}: lower "
            "either, or give a larger corpus"
        )
    return (
        f"mix.human_tokens: generation {generation} needs {settings.human_tokens:,} tokens of "
        f"fresh human text, {left:,} are left of the pool's {total:,}: lower mix.human_tokens or "
        "generations, set human: fixed, or give a larger corpus"
    )


def _model_shortage(settings: MixSettings, generation: int, name: str, have: int) -> str:
    return (
        f"mix.model_tokens: generation {generation} needs {settings.model_tokens:,} tokens of "
        f"kept text of {name}, {have:,} are there: raise sample.oversample, keep more in curate, "
        "or lower mix.model_tokens"
    )
