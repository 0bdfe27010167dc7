"""What a filter is: `(candidates, context) -> Verdicts`, and how filters are applied in turn.

A filter judges a whole generation at once, since votes are relative. No base class: a plain
function will do, and a frozen dataclass with `__call__` has its fields as its YAML keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from textmad.errors import CurationError, RunError, WaitingForVotesError, raised
from textmad.text.documents import SCHEMA, SCORE_OF, as_dataset, as_table
from textmad.text.passages import AsSampled, Passages

if TYPE_CHECKING:
    from datasets import Dataset

    from textmad.models.causal_lm.encoder import Encoder
    from textmad.models.protocol import TokenMoments

DECISION = ("kept", "score", "filter", "reason")


@dataclass(frozen=True, eq=False)
class Verdicts:
    """A filter's decisions, one entry for each candidate, in the candidates' order.

    Attributes:
        keep: booleans.
        score: finite numbers: what the filter judged by, in its own unit and direction.
        reason: why a document was rejected, one for all or one each; kept ones need none.
        columns: further facts for the table of candidates, such as `ups`. A column `votes`
            becomes the documents' own votes.
    """

    keep: npt.NDArray[np.bool_]
    score: npt.NDArray[np.float64]
    reason: str | Sequence[str] = ""
    columns: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    def take(self, rows: npt.NDArray[np.int64]) -> Verdicts:
        """Return the verdicts on the documents at `rows`, in that order.

        >>> order = np.array([2, 0, 1])  # in which a filter looked at its candidates
        >>> keep, score = np.array([True, False, False]), np.array([3.0, 1.0, 2.0])
        >>> Verdicts(keep, score).take(np.argsort(order)).score.tolist()
        [1.0, 2.0, 3.0]
        """
        reason = self.reason
        return Verdicts(
            self.keep[rows],
            self.score[rows],
            reason if isinstance(reason, str) else [reason[row] for row in rows],
            {name: values[rows] for name, values in self.columns.items()},
        )


def _as_shown(candidates: Dataset) -> Dataset:
    return candidates


def _not_told(*_: Sequence[str]) -> Any:
    raise CurationError(
        "this context tells no token moments and no cross-entropy: it was made by hand without "
        "them; give it base_token_moments and cross_entropy"
    )


def _no_tokenizer(texts: Sequence[str]) -> Any:
    raise CurationError(
        "this context has no tokenizer: it was made by hand without one; give it encode and "
        "vocabulary_size"
    )


def _no_encoder(name: str) -> Any:
    raise CurationError(
        f"encoder: {name}: this context opens no encoder: it was made by hand without one; give it "
        "open_encoder"
    )


Classify = Callable[[Sequence[str]], npt.NDArray[np.float64]]
"""From texts to the probability that each is accepted, `(texts,)`."""


class FitClassifier(Protocol):
    """Learns to tell accepted texts from rejected ones; the same seed learns the same."""

    def __call__(
        self,
        texts: Sequence[str],
        accepted: Sequence[bool],
        *,
        epochs: float,
        learning_rate: float,
        seed: int,
    ) -> Classify:
        """A classifier, trained on these."""
        ...


def no_classifier(*_: Any, **__: Any) -> Classify:
    """Stands for a base model that learns to write and nothing else."""
    raise CurationError(
        "the base model has no fit_classifier to learn accepting and rejecting with; use "
        "backend: features"
    )


def forget(name: str, facts: Mapping[str, Any]) -> None:
    """Keep no record."""


def no_state() -> None:
    """Return None: there is no generation before."""


def forget_state(state: Mapping[str, Any]) -> None:
    """Keep no state."""


@dataclass(frozen=True, eq=False)
class Context:
    """What a filter may know beside the candidates. Held-out text is not among it.

    Attributes:
        generation: of the candidates.
        rng: the filter's own random stream, the only randomness it may use.
        human: the human training pool.
        earlier: an earlier generation's candidates with all verdicts on them.
        token_nll: nats for each token of each text under the model that drew the candidates; a
            second argument gives the texts' prompts, which are context and not scored. Likewise
            the three below.
        base_token_nll: the same under the run's base model.
        encode: token ids of each text by the base model's tokenizer, end token last.
        vocabulary_size: of the base model: ids are below it.
        as_posted: the candidates with the origin, generation and author that only those know who
            posted them: for voters with an interest (bots), never for what judges a text. It
            differs from what is shown only in a crawl, where model text passes for human.
        base_token_moments: these beside their mean and variance over the base model's distribution
            of each token; an error where the base model does not tell them
            (`SupportsTokenMoments`).
        cross_entropy: mean nats, under the model that drew the candidates, of what the base model
            would write at each token; an error in the same case.
        fit_classifier: trains a classifier of texts on the run's base model, which stays as it is.
        open_encoder: opens the encoder of a folder or Hub id, once a run.
        as_sampled: prompts and cuts human texts as the run's samples are.
        scored: for a scorer, the candidates that it scores, with their prompts; else None.
        votes_file: SQLite file in which people's votes are collected; None: people are not asked.
        run: name of the run in its study, as arm/seed-0; "" outside of a study.
        record: takes facts (JSON values) about the judgement under a name, for the run folder;
            a text under "warning" among them is shown to the user.
        previous_state: reads what this filter has kept with `keep_state` in the generation before;
            None where it is the first.
        keep_state: keeps facts (JSON values) for this filter in the next generation.
    """

    generation: int
    rng: np.random.Generator
    human: Dataset
    earlier: Callable[[int], Dataset]
    token_nll: Callable[..., list[npt.NDArray[np.float64]]]
    base_token_nll: Callable[..., list[npt.NDArray[np.float64]]]
    encode: Callable[[Sequence[str]], list[npt.NDArray[np.int32]]] = _no_tokenizer
    vocabulary_size: int = 0
    as_posted: Callable[[Dataset], Dataset] = _as_shown
    base_token_moments: Callable[..., TokenMoments] = _not_told
    cross_entropy: Callable[..., list[npt.NDArray[np.float64]]] = _not_told
    fit_classifier: FitClassifier = no_classifier
    open_encoder: Callable[[str], Encoder] = _no_encoder
    as_sampled: AsSampled = Passages.whole
    scored: Passages | None = None
    votes_file: Path | None = None
    run: str = ""
    record: Callable[[str, Mapping[str, Any]], None] = forget
    previous_state: Callable[[], Mapping[str, Any] | None] = no_state
    keep_state: Callable[[Mapping[str, Any]], None] = forget_state


Filter = Callable[["Dataset", Context], Verdicts]


def apply_filters(
    candidates: Dataset,
    filters: Sequence[tuple[str, Filter]],
    context_for: Callable[[int, str], Context],
    *,
    every_score: bool = False,
) -> Dataset:
    """Apply filters in turn, and return every candidate with the decision about it.

    A filter sees what the earlier ones kept, with the columns that they added. The result adds
    to the candidates `kept`; `score` of the filter that decided (the one that rejected, or the
    last); that `filter` and its `reason`, both "" for a kept document. It also has the filters'
    own columns, null for documents they did not see. A column that an earlier filter has
    given already gets the filter's position in the list after its name (`ups_2`); `votes` are
    those of the last filter that voted. Decisions of an earlier call are replaced.

    Args:
        candidates: left as they are.
        filters: name (for the table and for messages) and filter.
        context_for: the context of the filter at this position in the list, with this name.
        every_score: also a column `score of <filter>` for each of them.

    Raises:
        CurationError: a filter raised, broke the contract, or kept nothing.
    """
    table = as_table(candidates)
    table = table.drop_columns([name for name in DECISION if name in table.column_names])
    total = table.num_rows
    score, decided, reason = np.full(total, np.nan), np.full(total, "", object), [""] * total
    left = np.arange(total)
    for position, (name, judge) in enumerate(filters):
        context = context_for(position, name)
        verdicts = run_filter(name, judge, as_dataset(table.take(left)), context)
        if total and not verdicts.keep.any():
            raise CurationError(
                f"filter {name}, generation {context.generation}: kept none of {len(left)} "
                "candidates, so there is nothing to learn from; loosen its settings or take it "
                "out of the recipe"
            )
        score[left] = verdicts.score
        for i in np.flatnonzero(~verdicts.keep):
            decided[left[i]], reason[left[i]] = name, verdicts.reason[int(i)]
        columns = {SCORE_OF + name: verdicts.score} if every_score else {}
        table = _with_columns(table, left, {**verdicts.columns, **columns}, position)
        left = left[verdicts.keep]
    kept = np.isin(np.arange(total), left)
    decision = (
        pa.array(kept),
        pa.array(score, from_pandas=True),  # null where there was no filter to give one
        pa.array(decided, pa.string()),
        pa.array(reason, pa.string()),
    )
    for title, values in zip(DECISION, decision, strict=True):
        table = table.append_column(title, values)
    return as_dataset(table)


def run_filter(name: str, judge: Filter, candidates: Dataset, context: Context) -> Verdicts:
    """Run a filter, and return its checked verdicts: bool and float64 arrays, one reason each.

    Raises:
        CurationError: names the filter, the generation and, where one is to blame, the document.
        WaitingForVotesError: the filter waits for people.
        RunError: the disk does not give a file, or has no room for a temporary one.
    """
    where = f"filter {name}, generation {context.generation}"
    given = as_dataset(as_table(candidates))  # a copy: the filter may change its own
    try:
        verdicts = judge(candidates, context)
    except WaitingForVotesError:
        raise
    except (CurationError, RunError) as error:
        raise type(error)(f"{where}: {error}") from error
    except (Exception, SystemExit) as error:
        fault = f"{where}: raised {raised(error)}"
        index = first_failing(
            lambda start, stop: judge(given.select(range(start, stop)), context),
            len(given),
            type(error),
        )
        blame = "" if index is None else f"; so it does on {document(given, index)} alone"
        raise CurationError(fault + blame) from error
    return _check_verdicts(where, verdicts, given)


def document(candidates: Dataset, index: int) -> str:
    """Return a candidate's id and first words, as messages name it."""
    row = candidates[int(index)]
    words = row["text"].split()
    text = " ".join(words[:8])[:60] + ("..." if len(words) > 8 else "")
    return f'document {row["id"]} ("{text}")'


def first_failing(
    call: Callable[[int, int], Any], length: int, kind: type[BaseException]
) -> int | None:
    """Return the index of one item on which `call(start, stop)` raises `kind`, by halving.

    None if the failure belongs to no single item.
    """
    start, stop = 0, length
    while stop - start > 1:
        middle = (start + stop) // 2
        for half in ((start, middle), (middle, stop)):
            try:
                call(*half)
            except kind:
                start, stop = half
                break
            except (Exception, SystemExit):
                continue  # another fault, such as too few documents to learn from
        else:
            return None
    return start if stop - start == 1 else None


def _check_verdicts(where: str, verdicts: Any, candidates: Dataset) -> Verdicts:
    if not isinstance(verdicts, Verdicts):
        raise CurationError(
            f"{where}: returned {type(verdicts).__name__}, expected textmad.Verdicts"
        )
    keep = _one_each(where, "keep", verdicts.keep, len(candidates))
    if keep.dtype != bool and keep.size:
        raise CurationError(
            f"{where}: keep is {keep.dtype}, expected True or False for each candidate"
        )
    return Verdicts(
        keep=keep.astype(bool),
        score=_finite(where, "score", verdicts.score, candidates),
        reason=_reasons(where, verdicts.reason, len(candidates)),
        columns=_check_columns(where, verdicts.columns, candidates),
    )


def _check_columns(where: str, columns: Any, candidates: Dataset) -> dict[str, npt.NDArray[Any]]:
    if not isinstance(columns, Mapping):
        raise CurationError(
            f"{where}: columns is {type(columns).__name__}, expected arrays by the column's name"
        )
    checked = {}
    for title, values in columns.items():
        if not isinstance(title, str) or not title or not _is_storable(title):
            raise CurationError(f"{where}: column {title!r}: expected a name of characters")
        if title == "votes":
            checked[title] = _finite(where, title, values, candidates)
            continue
        if title in (*DECISION, *SCHEMA.names):
            raise CurationError(f"{where}: column {title} is textmad's own; choose another name")
        checked[title] = _one_each(where, f"column {title}", values, len(candidates))
        try:
            pa.array(checked[title])
        except (pa.ArrowException, UnicodeError, OverflowError, TypeError) as error:
            raise CurationError(f"{where}: column {title} cannot be stored: {error}") from error
    return checked


def _finite(where: str, what: str, values: Any, candidates: Dataset) -> npt.NDArray[np.float64]:
    numbers = _one_each(where, what, values, len(candidates))
    if numbers.dtype.kind not in "fiu":
        raise CurationError(
            f"{where}: {what} is {numbers.dtype}, expected a number for each candidate"
        )
    for index in np.flatnonzero(~np.isfinite(numbers))[:1]:
        raise CurationError(
            f"{where}: the {what} of {document(candidates, index)} is {numbers[index]}, "
            "expected a finite number"
        )
    return numbers.astype(np.float64)


def _one_each(where: str, what: str, values: Any, length: int) -> npt.NDArray[Any]:
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError, TypeError) as error:  # such as lists of unequal length
        raise CurationError(
            f"{where}: {what} cannot be made an array ({error}), expected 1 value each"
        ) from error
    if array.shape != (length,):
        given = f"{len(array)} values" if array.ndim == 1 else f"an array of shape {array.shape}"
        raise CurationError(f"{where}: {what} has {given} for {length} candidates, expected 1 each")
    return array


def _reasons(where: str, reason: Any, length: int) -> list[str]:
    is_listed = isinstance(reason, Sequence | np.ndarray) and not isinstance(reason, str)
    reasons = list(reason) if is_listed else [reason] * length
    if not all(isinstance(item, str) and _is_storable(item) for item in reasons):
        given = next(i for i in reasons if not (isinstance(i, str) and _is_storable(i)))
        raise CurationError(
            f"{where}: reason: {given!r}: expected text, one for all candidates or one each"
        )
    if len(reasons) != length:
        raise CurationError(
            f"{where}: reason has {len(reasons)} values for {length} candidates, "
            "expected one text for all or a text each"
        )
    return reasons


def _is_storable(text: str) -> bool:
    """Whether a text can be written to a file: half of a surrogate pair cannot."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _with_columns(
    table: pa.Table,
    seen: npt.NDArray[np.int64],
    columns: Mapping[str, npt.NDArray[Any]],
    position: int,
) -> pa.Table:
    """The table with a filter's columns, which hold values for the rows `seen` only."""
    rows = np.full(table.num_rows, -1)
    rows[seen] = np.arange(len(seen))
    indices = pa.array(rows, mask=rows < 0)
    for title, values in columns.items():
        if title == "votes":
            votes = pa.array(values).take(indices)
            index = table.column_names.index("votes")
            table = table.set_column(
                index, SCHEMA.field("votes"), pc.coalesce(votes, table["votes"].combine_chunks())
            )
            continue
        name = title
        while name in table.column_names:
            name = f"{name}_{position + 1}"
        table = table.append_column(name, pa.array(values).take(indices))
    return table
