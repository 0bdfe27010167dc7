"""What an evaluator is given, what it returns, and how textmad calls anyone's."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from textmad.errors import EvaluationError, RunError, raised
from textmad.text.documents import empty
from textmad.text.passages import AsSampled, Passages

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset

    from textmad.models.protocol import LanguageModel, SupportsEmbedding

T = TypeVar("T")

# The splits of a snapshot's texts: sampled text before any filter and after all of them, and beside
# it the two references, held-out human text and text of the base model.
REFERENCES = ("human", "base")
COMPARED = ("drawn", "kept", *REFERENCES)


@dataclass(frozen=True)
class Metric:
    """A metric's name, the direction in which it is better, its unit, and its label in tables.

    `direction` "human" means that the value nearest to the human reference is best: text goes
    wrong by narrowing and by drifting into noise, and most metrics move oppositely in the two.
    `direction` "none": a fact of the pedigree or of the crowd, of which no value is harm.
    `counts_documents`: the value is made up of a few documents, such as copies, so that it is
    compared like a count. `counts_common`: each n-gram that two texts have in common takes as much
    from a value of 1, so that it is compared like a count while they have few
    (`textmad.evaluators.reference_range`).
    """

    name: str
    direction: Literal["lower", "higher", "human", "none"]
    unit: str
    label: str
    counts_documents: bool = False
    counts_common: bool = False


@dataclass(frozen=True)
class Measurement:
    """One number of one generation.

    `split` says of which text (held_out, drawn, kept, human, base, or all), `bin` of which part of
    it, and `n` how many tokens, words, n-grams or documents are behind it. A value that cannot be
    computed is NaN, with a note that says why. `low` and `high` are set for a reference (split
    human or base) alone: one more text of the same kind and size has its value between them with
    probability 0.95; NaN where they are not known.

    >>> Measurement("accuracy", 0.25, split="held_out", n=8).value
    0.25
    """

    metric: str
    value: float
    split: str = "all"
    bin: str = ""
    n: int = 0
    note: str = ""
    low: float = math.nan
    high: float = math.nan

    def __post_init__(self) -> None:
        metric: object = self.metric  # whatever a user's evaluator came up with, as the value
        if not isinstance(metric, str) or not metric:
            raise ValueError(f"metric: {metric!r}: expected a name")
        value: object = self.value
        if isinstance(value, bool) or not isinstance(value, Real):
            raise ValueError(f"{self.metric}: {value!r}: expected a number")
        object.__setattr__(self, "value", float(value))
        if math.isnan(self.value) and not self.note:
            raise ValueError(f"{self.metric}: NaN: expected a number, or a note that says why not")


def no_judge(name: str) -> LanguageModel:
    """Where none can be opened."""
    raise ValueError(f"model: {name}: no judge can be opened here")


def no_encoder(name: str) -> SupportsEmbedding:
    """Where none can be opened."""
    raise ValueError(f"encoder: {name}: no encoder can be opened here: expected null")


@dataclass(frozen=True)
class Snapshot:
    """One generation as the evaluators see it.

    `texts` holds documents in a random order under each of drawn, kept, human and base, at least
    `num_documents` of them; a split with fewer is missing. What is measured by document is
    compared on exactly that many (`compared`), what is measured by word on exactly the first
    `num_words` words, in however many documents they are. Both numbers are fixed once a run.

    The references are prompted and cut as drawn text is: `human` is text that no model of the run
    has learned and that is not in `human` below, `base` is sampled from the base model. Where
    text continues prompts, or was cut, `prompts` and `finished` say so (`passages`).

    `run_cache` is where evaluators leave what stays the same for the whole run, such as the base
    model's loss on human text. Give every snapshot of a run the same
    mapping; without one, each snapshot computes everything again, with the same result.
    """

    generation: int
    model: LanguageModel
    base: LanguageModel
    held_out: Dataset
    human: Dataset  # the human training pool, without the split human
    training: Dataset  # what this generation's model learned from
    texts: Mapping[str, Sequence[str]]
    num_documents: int
    num_words: int
    rng: np.random.Generator
    candidates: Dataset = field(default_factory=empty)  # all drawn, with every filter's verdict
    crawled: Dataset = field(default_factory=empty)  # all crawled: verdicts, the truth
    prompts: Mapping[str, Sequence[str]] = field(default_factory=dict)  # missing: there are none
    finished: Mapping[str, Sequence[bool]] = field(default_factory=dict)  # missing: all are
    # The ids that were sampled, of each sampled text that encodes to others, else None; missing:
    # not known.
    sampled_ids: Mapping[str, Sequence[Sequence[int] | None]] = field(default_factory=dict)
    as_sampled: AsSampled = Passages.whole
    curve: Sequence[Mapping[str, float]] = ()  # of training, as `FitResult.curve` has it
    open_encoder: Callable[[str], SupportsEmbedding] = (
        no_encoder  # a folder's or Hub id's, opened once a run
    )
    open_judge: Callable[[str], LanguageModel] = no_judge  # likewise, a causal language model's
    run_cache: MutableMapping[Hashable, tuple[Any, Any]] = field(
        default_factory=dict, repr=False, compare=False
    )
    # What several evaluators need of this generation; not given, so a changed copy starts empty.
    _shared: dict[Hashable, Any] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def compared(self, split: str) -> Sequence[str]:
        """The equal number of documents of a split; none where it has too few."""
        return self.texts.get(split, ())[: self.num_documents]

    def passages(self, split: str) -> Passages:
        """All documents of a split with their prompts; none where it has too few."""
        whole = Passages.whole(self.texts.get(split, ()))
        return Passages(
            whole.texts,
            tuple(self.prompts.get(split, whole.prompts)) if whole else (),
            tuple(self.finished.get(split, whole.finished)) if whole else (),
        )

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """What `compute` gives, computed by the first evaluator of this snapshot that asks."""
        if key not in self._shared:
            self._shared[key] = compute()
        result: T = self._shared[key]
        return result

    def once_a_run(self, key: Hashable, compute: Callable[[], T]) -> T:
        """The same for all snapshots of a run; `compute` may depend on `key` and `base` alone."""
        base, result = self.run_cache.get(key, (None, None))
        if base is not self.base:
            result = compute()
            self.run_cache[key] = (self.base, result)
        known: T = result
        return known


Evaluator: TypeAlias = Callable[[Snapshot], Mapping[str, float] | Sequence[Measurement]]


def measure(name: str, evaluator: Evaluator, snapshot: Snapshot) -> list[Measurement]:
    """Call an evaluator and normalise what it returns.

    Raises:
        EvaluationError: it raised, or returned something other than numbers or measurements; the
            message names the evaluator and the generation.
        RunError: the disk does not give a file, or has no room for a temporary one.
    """
    where = f"evaluator {name}, generation {snapshot.generation}"
    try:
        returned = evaluator(snapshot)
    except RunError as error:
        raise type(error)(f"{where}: {error}") from error
    except (Exception, SystemExit) as error:
        raise EvaluationError(f"{where}: raised {raised(error)}") from error
    try:
        measurements = _measurements(returned, name)
    except ValueError as error:
        raise EvaluationError(f"{where}: {error}") from None
    return measurements


def _measurements(returned: Any, name: str) -> list[Measurement]:
    if isinstance(returned, Mapping):
        note = f"{name} gave NaN"
        measurements = [
            Measurement(metric, value, note=note if _is_nan(value) else "")
            for metric, value in returned.items()
        ]
    elif isinstance(returned, Sequence) and all(isinstance(m, Measurement) for m in returned):
        measurements = list(returned)
    else:
        raise ValueError(
            f"returned {type(returned).__name__}: expected {{metric: number}} or a list of "
            "textmad.Measurement"
        )
    seen = set()
    for m in measurements:
        key = (m.metric, m.split, m.bin)
        if key in seen:
            raise ValueError(
                f"{m.metric} (split {m.split!r}, bin {m.bin!r}): measured twice: expected once"
            )
        seen.add(key)
    return measurements


def _is_nan(value: Any) -> bool:
    return isinstance(value, Real) and math.isnan(value)


def at_least(name: str, given: int, least: int) -> None:
    """Check that a setting of an evaluator is not below its range."""
    if given < least:
        raise ValueError(f"{name}: {given}: expected at least {least}")
