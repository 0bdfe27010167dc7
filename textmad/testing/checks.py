"""Contract checks for filters and evaluators, textmad's own and anyone's.

    import textmad as tm

    def test_my_filter_keeps_the_contract():
        tm.testing.check_filter(VariedWords(threshold=0.6))

The checks run on synthetic documents and a toy model, in about a second and without torch. What
they cannot see: held-out text read by other ways than a file named so, and, for a filter that
does draw from its stream, verdicts in the wrong order.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from unittest import mock

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from textmad.curation.controls import Random
from textmad.curation.protocol import Context, Filter, Verdicts, apply_filters, run_filter
from textmad.errors import CurationError, EvaluationError
from textmad.recipe.components import component_name
from textmad.seeds import stream
from textmad.testing.synthetic import (
    ToyModel,
    fit_toy_classifier,
    human_documents,
    model_documents,
    synthetic_texts,
    written,
)
from textmad.text.documents import HUMAN, MODEL, as_dataset, as_table

if TYPE_CHECKING:
    from datasets import Dataset

    from textmad.evaluators.protocol import Evaluator, Measurement, Snapshot
    from textmad.models.protocol import LanguageModel

_GENERATION = 2
_ODD_TEXTS = (
    "",
    " \n\t ",
    "🙂🙂🙂",
    "x" * 20_000,
    "again " * 5_000,
    "a\u0301 \u202eright to left\u202c",
    "<script>alert(1)</script>",
    "NaN",
)


def check_filter(judge: Filter, candidates: Dataset | None = None) -> None:
    """Run the filter's contract; silent when it holds.

    A filter returns one checked verdict for each candidate, in their order, whatever the texts
    and however few; leaves its inputs as they are; gives the same verdicts under the same random
    stream; takes randomness from no other source; judges a document and not its place; and reads
    no held-out text.

    Args:
        judge: the filter.
        candidates: documents to try it on, for a filter that needs more than text; no copies.

    Raises:
        CurationError: with the clause that is broken.

    >>> from textmad.curation import Length
    >>> check_filter(Length())
    """
    name = component_name(judge)
    given = candidates if candidates is not None else written(_GENERATION, 120)
    usual = _watched(name, judge, given)
    _watched(name, judge, given, generation=0)  # where nothing is earlier
    for few in (_rows(given, np.arange(1)), _rows(given, np.arange(0)), _odd()):
        _watched(name, judge, few)
    if not _equal(usual, _watched(name, judge, given)):
        raise CurationError(
            f"filter {name}: two calls under the same random stream gave different verdicts; "
            "draw every random number from context.rng"
        )
    other = _watched(name, judge, given, seed=1)
    if np.array_equal(usual.keep, other.keep) and np.array_equal(usual.score, other.score):
        _check_that_verdicts_follow_documents(name, judge, given, usual)


def check_evaluator(evaluator: Evaluator) -> None:
    """Run the evaluator's contract; silent when it holds.

    An evaluator returns numbers (NaN with a note) on any snapshot, also where a split is missing;
    leaves its inputs as they are; gives the same numbers under the same random stream; takes
    randomness from no other source.

    Raises:
        EvaluationError: with the clause that is broken.

    >>> check_evaluator(lambda snapshot: {"held_out_documents": len(snapshot.held_out)})
    """
    name = component_name(evaluator)
    first, second = (_watched_measures(name, evaluator, _snapshot()) for _ in range(2))
    if repr(first) != repr(second):  # repr: NaN equals NaN
        raise EvaluationError(
            f"evaluator {name}: two calls under the same random stream gave different numbers; "
            "draw every random number from snapshot.rng"
        )
    whole = _snapshot()
    drawn_alone = {"drawn": whole.texts["drawn"]}
    _watched_measures(name, evaluator, replace(whole, texts=drawn_alone))
    _watched_measures(name, evaluator, replace(whole, texts={}))


# --- watching a call ------------------------------------------------------------------------


def _watched(
    name: str, judge: Filter, candidates: Dataset, seed: int = 0, generation: int = _GENERATION
) -> Verdicts:
    """The verdicts, once nothing improper happened on the way to them."""
    context = _context(seed, generation)
    faults: list[str] = []
    verdicts, failure = None, None
    with (
        _watching_corpora(faults, candidates=candidates, human=context.human),
        _watching_randomness(faults, "context.rng"),
        _watching_files(faults),
    ):
        try:
            verdicts = run_filter(name, judge, candidates, context)
        except CurationError as error:
            failure = error
    faults += [f"reads held-out text: asks the context for {asked}" for asked in context.asked]
    if faults:
        raise CurationError(f"filter {name}: {'; '.join(dict.fromkeys(faults))}") from failure
    if verdicts is None:
        raise cast("CurationError", failure)
    return verdicts


def _watched_measures(name: str, evaluator: Evaluator, snapshot: Snapshot) -> list[Measurement]:
    from textmad.evaluators.protocol import measure

    faults: list[str] = []
    corpora = {what: getattr(snapshot, what) for what in ("held_out", "human", "training")}
    texts = {split: list(texts) for split, texts in snapshot.texts.items()}
    with (
        _watching_corpora(faults, **corpora),
        _watching_randomness(faults, "snapshot.rng"),
    ):
        measurements = measure(name, evaluator, snapshot)
    if texts != {split: list(texts) for split, texts in snapshot.texts.items()}:
        faults.append("changes the texts it is given")
    if faults:
        raise EvaluationError(f"evaluator {name}: {'; '.join(faults)}")
    return measurements


@contextmanager
def _watching_corpora(faults: list[str], **corpora: Dataset) -> Iterator[None]:
    before = {what: (as_table(corpus), corpus.format) for what, corpus in corpora.items()}
    yield
    for what, corpus in corpora.items():
        table, form = before[what]
        if corpus.format != form or not as_table(corpus).equals(table):
            faults.append(f"changes the {what} it is given; work on a copy")


@contextmanager
def _watching_randomness(faults: list[str], own: str) -> Iterator[None]:
    import rich.style  # noqa: F401  its import draws a number, and scikit-learn imports it

    before = _global_randomness()
    yield
    after = _global_randomness()
    for source in before:
        if before[source] != after[source]:
            faults.append(f"draws random numbers from {source}; draw them from {own}")


def _global_randomness() -> dict[str, bytes]:
    _, keys, *rest = np.random.get_state(legacy=True)
    states = {
        "random": repr(random.getstate()).encode(),
        "numpy.random": np.asarray(keys).tobytes() + repr(rest).encode(),
    }
    if "torch" in sys.modules:
        states["torch"] = sys.modules["torch"].get_rng_state().numpy().tobytes()
    return states


_listeners: list[list[str]] = []


@cache  # an audit hook stays for good, so there is only ever one
def _listen_to_open() -> None:
    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and _listeners:
            _listeners[-1].append(str(arguments[0]))

    sys.addaudithook(hook)


@contextmanager
def _watching_files(faults: list[str]) -> Iterator[None]:
    """Note the files opened, by Python or as Parquet, that hold held-out text."""
    _listen_to_open()
    read_table = pq.read_table

    def noted(source: Any, *arguments: Any, **options: Any) -> Any:
        opened.append(str(source))
        return read_table(source, *arguments, **options)

    opened: list[str] = []
    _listeners.append(opened)
    try:
        with mock.patch.object(pq, "read_table", noted):
            yield
    finally:
        _listeners.pop()
    names = {Path(path).name for path in opened if not path.endswith((".py", ".pyc"))}
    faults += [f"reads held-out text: opens {name}" for name in sorted(names) if "held_out" in name]


# --- comparing calls ------------------------------------------------------------------------


def _check_that_verdicts_follow_documents(
    name: str, judge: Filter, candidates: Dataset, usual: Verdicts
) -> None:
    """Shuffle the candidates of a filter that draws nothing: its verdicts must go with them."""
    order = stream(0, "shuffled").permutation(len(candidates))
    shuffled = _watched(name, judge, _rows(candidates, order))
    follow = np.array_equal(shuffled.keep, usual.keep[order])
    if not follow or not np.allclose(shuffled.score, usual.score[order], rtol=1e-6):
        raise CurationError(
            f"filter {name}: its verdicts do not follow the documents when these come in another "
            "order, so it returns them in another order, judges by place, or draws from a fixed "
            "seed; return the verdict on candidate i at place i, and draw from context.rng"
        )


def _equal(one: Verdicts, other: Verdicts) -> bool:
    return (
        np.array_equal(one.keep, other.keep)
        and np.array_equal(one.score, other.score)
        and one.reason == other.reason
        and one.columns.keys() == other.columns.keys()
        and all(np.array_equal(one.columns[key], other.columns[key]) for key in one.columns)
    )


# --- what is tried on ----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _WatchedContext(Context):
    """A context that notes who asks it for held-out text."""

    asked: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        if "held" in name:
            self.asked.append(name)
        raise AttributeError(f"the context has no {name}")


def _context(seed: int, generation: int) -> _WatchedContext:
    return _WatchedContext(
        generation=generation,
        rng=stream(seed, "check_filter"),
        human=human_documents(120, "human"),
        earlier=_earlier_than(generation),
        token_nll=ToyModel(3).token_nll,
        base_token_nll=ToyModel(7).token_nll,
        base_token_moments=ToyModel(7).token_moments,
        cross_entropy=lambda texts: ToyModel(3).cross_entropy(texts, ToyModel(7)),
        fit_classifier=fit_toy_classifier,
        encode=ToyModel(7).encode,
        vocabulary_size=ToyModel(7).vocabulary_size,
    )


def _earlier_than(generation: int) -> Callable[[int], Dataset]:
    def earlier(wanted: int) -> Dataset:
        if not 0 <= wanted < generation:
            raise CurationError(f"generation {wanted} is not earlier than {generation}")
        halves = [("random", cast("Filter", Random(keep=0.5)))]
        return apply_filters(written(wanted, 40), halves, lambda *_: _context(0, wanted))

    return earlier


def _odd() -> Dataset:
    return model_documents(_GENERATION, _ODD_TEXTS)


def _rows(corpus: Dataset, indices: npt.NDArray[np.int64]) -> Dataset:
    return as_dataset(as_table(corpus).take(indices))


def _snapshot() -> Snapshot:
    from textmad.evaluators.protocol import Snapshot

    return Snapshot(
        generation=_GENERATION,
        model=cast("LanguageModel", ToyModel(3)),
        base=cast("LanguageModel", ToyModel(7)),
        held_out=human_documents(40, "held_out"),
        human=human_documents(120, "human"),
        training=written(_GENERATION - 1, 60),
        texts={
            "drawn": synthetic_texts(60, "model", "drawn"),
            "kept": synthetic_texts(60, "model", "kept"),
            # References have more documents than are compared, to be resampled.
            "human": synthetic_texts(100, "human", "held out too"),
            "base": synthetic_texts(100, "model", "base"),
        },
        num_documents=60,
        num_words=400,
        rng=stream(0, "check_evaluator"),
        candidates=_earlier_than(_GENERATION + 1)(_GENERATION),
        crawled=_crawled(),
        curve=[{"step": i, "tokens": 90 * (i + 1), "loss": 4.0 - 0.1 * i} for i in range(20)],
    )


def _crawled() -> Dataset:
    """Human and model documents in turns, of which a crawl filter that tosses coins kept half."""
    shown = human_documents(40, "crawled")
    halves = [("random", cast("Filter", Random(keep=0.5)))]
    judged = apply_filters(shown, halves, lambda *_: _context(0, _GENERATION), every_score=True)
    origin = pa.array([HUMAN, MODEL] * 20)
    return as_dataset(as_table(judged).append_column("true_origin", origin))
