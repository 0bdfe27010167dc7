"""How human and kept model documents become a generation's training set, counted in tokens.

The literature's loops are settings of one rule (`human_tokens` h, `model_tokens` m):

    fully synthetic         h = 0, model: latest                               Shumailov 2024
    augmentation            human: fixed, model: latest                        Alemohammad 2023
    fresh data              human: fresh, model: latest                        Alemohammad 2023
    accumulate              human: fixed, model: all                           Gerstgrasser 2024
    accumulate-subsample    human: fixed, model: all, subsample_tokens: h + m  Kazdan 2024

Generation 0 learns from h + m tokens of human text, or from `subsample_tokens` of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from textmad.errors import CorpusError, CurationError
from textmad.recipe import CrawlSettings, MixSettings, SampleSettings
from textmad.seeds import stream
from textmad.text.documents import MODEL, concatenate, take, token_counts

if TYPE_CHECKING:
    from datasets import Dataset


SOURCES = "sources"  # of a member's mixture: tokens by the generation and member that wrote them


class Source(NamedTuple):
    """Kept text that a member of a population learns from: its own, or another member's."""

    tokens: int  # the budget, of each generation that is mixed
    kept: Sequence[Dataset]  # of each generation before
    member: int  # who wrote it
    names: tuple[str | int, ...] = ()  # of the order's random stream; the member's own has none


class Mixture(NamedTuple):
    """A generation's training set, human documents first, and what it really holds."""

    documents: Dataset
    human_tokens: int
    model_tokens: int
    human_documents: int
    model_documents: int
    unlabelled_model_tokens: int | None = None  # within human_tokens; None: nothing was crawled
    sources: list[dict[str, int]] | None = None  # generation, member, tokens; of a population

    def counts(self) -> dict[str, Any]:
        """The realised counts alone."""
        counts = self._asdict()
        del counts["documents"]
        return {name: count for name, count in counts.items() if count is not None}


def mix(
    settings: MixSettings,
    generation: int,
    human: Dataset,
    kept: Sequence[Dataset],
    seed: int,
    crawled: Dataset | None = None,
    sources: Sequence[Source] | None = None,
) -> Mixture:
    """Make the training set of `generation` from human and kept text.

    Whole documents are taken, without repeats, until a budget is reached, so a budget is
    exceeded by less than its last document. The pool has one seeded order a run, and so has each
    generation's kept text: `fixed` and `all` meet the same documents every time. `subsample_tokens`
    then chooses among all of them at random, anew in each generation.

    >>> from textmad.text.documents import documents
    >>> pool = documents({"text": list("abcdef"), "tokens": [10] * 6})
    >>> mix(MixSettings(human_tokens=20, model_tokens=15), 0, pool, [], seed=0).counts()
    {'human_tokens': 40, 'model_tokens': 0, 'human_documents': 4, 'model_documents': 0}

    Args:
        settings: the budgets, and where each is filled from.
        generation: the one that will learn, from 0.
        human: the whole human training pool, the same in every call of a run.
        kept: the kept documents of generations 0 to `generation` - 1, in order.
        seed: the run's.
        crawled: the human part with its truth, where it is crawled (`textmad.loop.crawl`).
        sources: in a population, whose kept text is learned instead of `kept`.

    Raises:
        CorpusError: too little human text.
        CurationError: too little kept model text.
    """
    assert len(kept) == generation, f"{len(kept)} earlier generations at generation {generation}"
    human_part = (
        take_human_documents(settings, generation, human, seed) if crawled is None else crawled
    )
    given = [Source(settings.model_tokens, kept, 0)] if sources is None else sources
    model_parts = [
        part for source in given for part in _model_parts(settings, generation, source, seed)
    ]
    if settings.subsample_tokens is not None and generation > 0:
        human_part, *model_parts = _subsample(
            [human_part, *model_parts],
            settings.subsample_tokens,
            stream(seed, "mix", "subsample", generation),
        )
    unlabelled_tokens = None
    if crawled is not None:
        is_model = np.array(human_part["true_origin"][:], dtype=object) == MODEL
        unlabelled_tokens = int(token_counts(human_part)[is_model].sum())
    return Mixture(
        documents=concatenate([human_part, *model_parts]),
        human_tokens=int(token_counts(human_part).sum()),
        model_tokens=sum(int(token_counts(part).sum()) for part in model_parts),
        human_documents=len(human_part),
        model_documents=sum(len(part) for part in model_parts),
        unlabelled_model_tokens=unlabelled_tokens,
        sources=None if sources is None else _tokens_by_source(human_part, model_parts, given),
    )


def _tokens_by_source(
    human: Dataset, parts: Sequence[Dataset], sources: Sequence[Source]
) -> list[dict[str, int]]:
    """Count the tokens of human text, and of each generation and member that wrote the rest."""
    counts = {(-1, -1): int(token_counts(human).sum())}
    parts_each = len(parts) // len(sources) if sources else 0
    for number, part in enumerate(parts):
        written, tokens = np.array(part["generation"][:], np.int64), token_counts(part)
        for generation in np.unique(written).tolist():
            key = generation, sources[number // parts_each].member
            counts[key] = counts.get(key, 0) + int(tokens[written == generation].sum())
    return [
        {"generation": generation, "member": member, "tokens": tokens}
        for (generation, member), tokens in counts.items()
        if tokens
    ]


class CrawlBudget(NamedTuple):
    """Tokens that one generation's crawl is filled with."""

    human: int
    model: int  # posted without a label by the generation before

    @property
    def total(self) -> int:
        """Tokens crawled."""
        return self.human + self.model


def crawl_budget(settings: MixSettings, crawl: CrawlSettings) -> CrawlBudget:
    """What a crawl is filled with, so that it suffices for the mixture.

    >>> crawl_budget(MixSettings(human_tokens=100), CrawlSettings(contamination=0.3, oversample=2))
    CrawlBudget(human=140, model=60)
    """
    total = _oversampled(crawl.oversample, settings.human_tokens)
    model = round(crawl.contamination * total)
    return CrawlBudget(total - model, model)


def human_tokens_needed(
    settings: MixSettings, generations: int, crawl: CrawlSettings | None = None
) -> int:
    """Tokens of human text that a run up to generation `generations` takes from the pool.

    Whole documents are taken, so a run may need up to one document more for each budget filled.

    >>> human_tokens_needed(MixSettings(human_tokens=30, model_tokens=10, human="fresh"), 5)
    190
    """
    in_a_row = sum(_budgets_of_pool(settings, generations, crawl))
    return max(in_a_row, training_tokens(settings, 0))


def check_human_tokens(
    settings: MixSettings,
    generations: int,
    human: Dataset,
    crawl: CrawlSettings | None = None,
    of: str = "the recipe",
) -> None:
    """Check that the pool is enough for a whole run, before any of it is used.

    Raises:
        CorpusError: there are too few; the message says how many are needed.
    """
    needed = human_tokens_needed(settings, generations, crawl)
    available = int(token_counts(human).sum())
    if needed > available:
        oversample = "" if crawl is None else "crawl.oversample, "
        raise CorpusError(
            f"corpus: {available:,} tokens are in the human training pool, and {of} needs "
            f"{needed:,} up to generation {generations}: lower {oversample}mix.human_tokens, "
            "mix.model_tokens or generations, or give a larger corpus"
        )


def training_tokens(settings: MixSettings, generation: int) -> int:
    """Token budget of a generation's training set; with `model: all` it grows.

    >>> accumulate = MixSettings(human_tokens=30, model_tokens=10, model="all")
    >>> training_tokens(accumulate, 3)
    60
    >>> training_tokens(accumulate.model_copy(update={"subsample_tokens": 40}), 3)
    40
    """
    if settings.subsample_tokens is not None:
        return settings.subsample_tokens
    earlier = generation if settings.model == "all" else 1
    return settings.human_tokens + settings.model_tokens * max(earlier, 1)


def model_tokens_needed(mix: MixSettings, crawl: CrawlSettings | None = None) -> int:
    """Kept tokens that a generation has to leave for the next: with a label, and without.

    >>> crawl = CrawlSettings(contamination=0.3, oversample=2)
    >>> model_tokens_needed(MixSettings(human_tokens=100, model_tokens=50), crawl)
    110
    """
    return mix.model_tokens + (0 if crawl is None else crawl_budget(mix, crawl).model)


def model_tokens_drawn(
    mix: MixSettings, sample: SampleSettings, crawl: CrawlSettings | None = None
) -> int:
    """Tokens that each generation samples: enough for the next one, and for the evaluators.

    >>> model_tokens_drawn(MixSettings(model_tokens=30_000), SampleSettings(oversample=5.0))
    150000
    """
    needed = model_tokens_needed(mix, crawl)
    return max(sample.min_tokens, _oversampled(sample.oversample, needed))


def base_tokens_drawn(mix: MixSettings, sample: SampleSettings) -> int:
    """Tokens that the base model writes: twice what is compared, so that it can be resampled.

    Two thirds of `compared_tokens` are compared.
    """
    return math.ceil(compared_tokens(mix, sample) * 4 / 3)


def compared_tokens(mix: MixSettings, sample: SampleSettings) -> int:
    """Tokens of human text that sampled and kept text is compared with; the same in a whole run.

    >>> compared_tokens(MixSettings(model_tokens=30_000), SampleSettings(min_tokens=20_000))
    20000
    """
    return min(sample.min_tokens, mix.model_tokens or sample.min_tokens)


def order_of_pool(human: Dataset, seed: int) -> np.ndarray:
    """The order in which a run takes human documents from the pool, as rows `(documents,)`."""
    return stream(seed, "mix", "human").permutation(len(human))


def take_human_documents(
    settings: MixSettings,
    generation: int,
    human: Dataset,
    seed: int,
    crawl: CrawlSettings | None = None,
) -> Dataset:
    """Return the human documents that a generation learns from, or that its crawl finds.

    Raises:
        CorpusError: too few of them.
    """
    return take(human, human_rows(settings, generation, human, seed, crawl))


def human_rows(
    settings: MixSettings,
    generation: int,
    human: Dataset,
    seed: int,
    crawl: CrawlSettings | None = None,
) -> np.ndarray:
    """Return the rows of the documents that `take_human_documents` takes.

    Raises:
        CorpusError: too few of them.
    """
    order = order_of_pool(human, seed)
    tokens = token_counts(human)[order]
    start = stop = 0
    for budget in _budgets_of_pool(settings, generation, crawl):
        start, reached = stop, documents_reaching(tokens[stop:], budget)
        if reached is None:
            pool = _Pool(int(tokens[start:].sum()), int(tokens.sum()), is_begun=start > 0)
            raise CorpusError(_human_shortage(settings, generation, budget, pool, crawl))
        stop = start + reached
    rows: np.ndarray = order[start:stop]
    return rows


def _budgets_of_pool(
    settings: MixSettings, generation: int, crawl: CrawlSettings | None
) -> list[int]:
    """Token budgets of successive parts of the pool; the last is the budget of `generation`.

    With `fresh`, each generation begins where the one before it stopped. With `fixed`, each
    begins at the start of the pool, so it reads documents of generation 0 again. A crawl begins
    after those documents: they are known to be human, and crawled text is not.
    """
    first = training_tokens(settings, 0)
    if generation == 0:
        return [first]
    later = settings.human_tokens if crawl is None else crawl_budget(settings, crawl).human
    if settings.human == "fresh":
        return [first] + [later] * generation
    return [later] if crawl is None else [first, later]


def _model_parts(
    settings: MixSettings, generation: int, source: Source, seed: int
) -> list[Dataset]:
    """The kept documents to learn from, one part for each generation that has a budget."""
    if generation == 0 or settings.model_tokens == 0:
        return []
    kept = source.kept
    latest = generation - 1
    if settings.model == "all":
        sources = [(j, f"generation {j}", kept[j]) for j in range(generation)]
    elif settings.model == "pool":
        sources = [(latest, f"generations 0 to {latest}", concatenate(kept))]
    else:
        sources = [(latest, f"generation {latest}", kept[latest])]
    parts = []
    for key, name, texts in sources:
        order = stream(seed, "mix", "model", key, *source.names).permutation(len(texts))
        tokens = token_counts(texts)[order]
        reached = documents_reaching(tokens, source.tokens)
        if reached is None:
            of_member = f" of member {source.member}" if source.names else ""
            available = int(tokens.sum())
            raise CurationError(
                _model_shortage(source.tokens, generation, name + of_member, available)
            )
        parts.append(take(texts, order[:reached]))
    return parts


def _subsample(
    parts: Sequence[Dataset], num_tokens: int, rng: np.random.Generator
) -> list[Dataset]:
    """Choose documents at random from all parts together, until `num_tokens` is reached.

    Returns them by part, in the order that they had there.
    """
    tokens = np.concatenate([token_counts(part) for part in parts])
    order = rng.permutation(len(tokens))
    reached = documents_reaching(tokens[order], num_tokens)
    assert reached is not None, "the settings allow no more than generation 1 has"
    chosen = np.sort(order[:reached])
    starts = np.cumsum([0, *map(len, parts)])
    by_part = np.split(chosen, np.searchsorted(chosen, starts[1:-1]))
    return [
        take(part, rows - start)
        for part, rows, start in zip(parts, by_part, starts[:-1], strict=True)
    ]


def documents_reaching(tokens: np.ndarray, budget: int) -> int | None:
    """Number of documents in the shortest prefix of at least `budget` tokens; None: too few."""
    if budget == 0:
        return 0
    total = np.cumsum(tokens)
    reached = int(np.searchsorted(total, budget)) + 1
    if reached > len(tokens):
        return None
    assert 0 <= total[reached - 1] - budget < tokens[reached - 1], "more than one document over"
    return reached


def _oversampled(times: float, tokens: int) -> int:
    """Rounded up; 1.1 * 30,000, which is a little above in floats, is 33,000."""
    return math.ceil(round(times * tokens, 6))


class _Pool(NamedTuple):
    """Tokens of human text."""

    left: int
    total: int
    is_begun: bool


def _human_shortage(
    settings: MixSettings, generation: int, needed: int, pool: _Pool, crawl: CrawlSettings | None
) -> str:
    if not pool.is_begun:
        first = training_tokens(settings, 0)
        if needed <= first:
            generation, needed = 0, first
        budgets = "mix.human_tokens + mix.model_tokens"
        if settings.subsample_tokens is not None:
            budgets = "mix.subsample_tokens" if generation == 0 else "mix.human_tokens"
        alone = " learns from human text only and" if generation == 0 else ""
        return (
            f"{budgets}: generation {generation}{alone} needs {needed:,} tokens, the pool holds "
            f"{pool.total:,}: lower it, or give a larger corpus"
        )
    what = "fresh" if crawl is None else "uncrawled"
    setting = "mix.human_tokens" if crawl is None else "crawl.oversample, mix.human_tokens"
    fixed = ", set human: fixed" if settings.human == "fresh" else ""
    return (
        f"mix.human_tokens: generation {generation} needs {needed:,} tokens of "
        f"{what} human text, {pool.left:,} are left of the pool's {pool.total:,}: lower {setting} "
        f"or generations{fixed}, or give a larger corpus"
    )


def _model_shortage(needed: int, generation: int, name: str, available: int) -> str:
    times = math.ceil(11 * needed / max(available, 1)) / 10  # a tenth for chance
    enough = f"until {times:,g} times as many tokens are sampled" if available else "by far"
    return (
        f"mix.model_tokens: generation {generation} needs {needed:,} tokens of "
        f"kept text of {name}, {available:,} are there: raise sample.oversample {enough}, and "
        "the run goes on from here; or keep more in curate, or lower mix.model_tokens"
    )
