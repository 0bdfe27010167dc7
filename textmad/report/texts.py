"""The documents of a report: the same slots across generations or arms, votes, rejections.

Nothing is picked by hand: slots are the first ones, top and bottom are by votes, and ties go to
the earlier document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from textmad.report.numbers import show_number
from textmad.report.tables import MAX_COLUMNS, chosen_generations
from textmad.text.documents import HUMAN

if TYPE_CHECKING:
    from datasets import Dataset

    from textmad.loop.run import Run

NUM_SLOTS = 8
NUM_VOTED = 4
MAX_CHARACTERS = 600
# Of each arm, so that a page stays below about 2 MB however many arms, generations and texts
# there are; typically 100 kB.
NUM_ARM_SLOTS, MAX_GENERATIONS, MAX_ARMS = 3, 4, 20
# A document may hold anything; what does not print is shown as a picture of itself.
_VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"}
_VISIBLE |= {127: 0x2421} | dict.fromkeys(range(128, 160), 0xFFFD)


@dataclass(frozen=True)
class DisplayedDocument:
    """One document as the page displays it; every field is plain text still to be escaped."""

    text: str
    prompt: str = ""
    cut: str = ""  # what is not there: characters left out here, or a text that never ended
    status: str = "human"  # or "kept", "rejected"
    decision: str = ""  # filter, reason, score
    votes: str = ""
    same_as: str = ""  # the arm whose text of this slot and generation it is too; then no text


@dataclass(frozen=True)
class Grid:
    """The same slots (rows) across generations (columns), a human example in front of each.

    Of several runs the columns are the generations of the first, then those of the next.
    """

    generations: tuple[int, ...]
    rows: tuple[
        tuple[DisplayedDocument | None, ...], ...
    ]  # human example first, then a cell a generation
    human_heading: str


@dataclass(frozen=True)
class VoteExtremes:
    """The most and the least voted documents of one generation."""

    generation: int
    num_voted: int
    top: tuple[DisplayedDocument, ...]
    bottom: tuple[DisplayedDocument, ...]


@dataclass(frozen=True)
class Rejection:
    """How many documents of a generation one filter rejected for one reason."""

    generation: int
    filter: str
    reason: str
    count: int
    total: int


def slot_grid(
    runs: Sequence[Run],
    generations: Sequence[int],
    num_slots: int = NUM_SLOTS,
    at_most: int = MAX_COLUMNS,
) -> Grid:
    """Return the first candidates of each generation, in the order they were sampled.

    Args:
        runs: at least one; the human text is the first one's.
        generations: that all of them have.
        num_slots: how many candidates.
        at_most: so many of the generations, evenly spaced.
    """
    columns = chosen_generations(generations, at_most)
    drawn = [_first(run.candidates(g), num_slots) for run in runs for g in columns]
    num_rows = max((len(rows) for rows in drawn), default=0)
    prompts = [_common_prompt(drawn, slot) for slot in range(num_rows)]
    human = _human_examples(runs[0].human, prompts)
    rows = tuple(
        (human[index], *(display(rows[index]) if index < len(rows) else None for rows in drawn))
        for index in range(num_rows)
    )
    heading = "human, same prompt" if any(prompts) else "human, for comparison"
    return Grid(tuple(columns), rows, heading)


def vote_extremes(candidates: Dataset, generation: int) -> VoteExtremes | None:
    """Return the documents with the most and the fewest votes; None where nobody voted."""
    votes = list(candidates["votes"])
    order = sorted(
        (index for index, value in enumerate(votes) if value is not None),
        key=lambda index: (-votes[index], index),
    )
    if not order:
        return None
    top = order[:NUM_VOTED]
    bottom = [index for index in order[::-1] if index not in top][:NUM_VOTED]
    pick = [tuple(display(candidates[index]) for index in chosen) for chosen in (top, bottom)]
    return VoteExtremes(generation, len(order), *pick)


def count_rejections(candidates: Dataset, generation: int) -> list[Rejection]:
    """Return the number of rejected documents by filter and reason, the commonest first."""
    reasons = zip(candidates["kept"], candidates["filter"], candidates["reason"], strict=True)
    counts = Counter((name, reason) for kept, name, reason in reasons if not kept)
    return [
        Rejection(generation, name, reason, count, len(candidates))
        for (name, reason), count in counts.most_common()
    ]


def display(document: Mapping[str, Any]) -> DisplayedDocument:
    """Return a candidate or a human document as the page displays it.

    >>> display({"text": "hello", "prompt": "", "origin": "human", "finished": True}).text
    'hello'
    """
    text = _printable(document["text"])
    cuts = []
    if len(text) > MAX_CHARACTERS:
        cuts.append(f"{len(text) - MAX_CHARACTERS:,} more characters")
    if not document["finished"]:
        cuts.append("not ended by the model")
    return DisplayedDocument(
        text=text[:MAX_CHARACTERS],
        prompt=_printable(document["prompt"]),
        cut="; ".join(cuts),
        status=_status(document),
        decision=_decision(document),
        votes="" if document["origin"] == HUMAN else _votes(document),
    )


def _status(document: Mapping[str, Any]) -> str:
    if document["origin"] == HUMAN:
        return HUMAN
    return "kept" if document["kept"] else "rejected"


def _decision(document: Mapping[str, Any]) -> str:
    if document["origin"] == HUMAN:
        return ""
    parts = [f"by {document['filter']}: {document['reason']}"] if document["filter"] else []
    if document["score"] is not None:
        parts.append(f"score {show_number(document['score'])}")
    return _printable(", ".join(parts))


def _votes(document: Mapping[str, Any]) -> str:
    """Ups and downs where a filter counted them, else the sum."""
    ups, downs = document.get("ups"), document.get("downs")
    if ups is not None and downs is not None:
        return f"▲ {ups:,g} ▼ {downs:,g}"
    votes = document.get("votes")
    return "" if votes is None else f"{votes:,g} votes"


def _first(candidates: Dataset, num: int) -> list[dict[str, Any]]:
    return [candidates[index] for index in range(min(num, len(candidates)))]


def _common_prompt(drawn: Sequence[Sequence[Mapping[str, Any]]], slot: int) -> str:
    """The prompt that a slot has in every column; "" where they differ or there is none."""
    prompts = {rows[slot]["prompt"] for rows in drawn if slot < len(rows)}
    return str(prompts.pop()) if len(prompts) == 1 else ""


def _human_examples(human: Dataset, prompts: Sequence[str]) -> list[DisplayedDocument | None]:
    """How a human went on from the same prompt; without prompts the first human documents.

    `human` is the training pool: never held-out text.
    """
    if not any(prompts):
        first = [display(human[index]) for index in range(min(len(prompts), len(human)))]
        return [*first, *[None] * (len(prompts) - len(first))]
    texts = list(human["text"])
    examples: list[DisplayedDocument | None] = []
    for prompt in prompts:
        match = next((text for text in texts if prompt and text.startswith(prompt)), None)
        examples.append(
            DisplayedDocument(_printable(match[len(prompt) :]), prompt) if match else None
        )
    return examples


def _printable(text: str) -> str:
    return text.translate(_VISIBLE)


# --- arms side by side ----------------------------------------------------------------------


@dataclass(frozen=True)
class SlotTexts:
    """One slot: a human example, and each arm's documents, one a generation."""

    human: DisplayedDocument | None
    arms: Mapping[str, tuple[DisplayedDocument | None, ...]]


@dataclass(frozen=True)
class ArmTexts:
    """The first slots of each arm, in the order they were drawn."""

    generations: tuple[int, ...]
    human_heading: str
    slots: tuple[SlotTexts, ...]
    seeds: Mapping[str, int]  # of the run that is shown, by the arm's name
    left_out: tuple[str, ...]  # arms beyond `MAX_ARMS`


def side_by_side(runs: Mapping[str, Run], last: int) -> ArmTexts:
    """The texts of these runs, one an arm, up to the generation `last`, which all of them have."""
    names = list(runs)[:MAX_ARMS]
    grid = slot_grid(
        [runs[name] for name in names], range(last + 1), NUM_ARM_SLOTS, at_most=MAX_GENERATIONS
    )
    num = len(grid.generations)
    slots = []
    for human, *cells in grid.rows:
        by_arm = {name: tuple(cells[arm * num : (arm + 1) * num]) for arm, name in enumerate(names)}
        slots.append(SlotTexts(human, _without_repeats(by_arm)))
    return ArmTexts(
        generations=grid.generations,
        human_heading=grid.human_heading,
        slots=tuple(slots),
        seeds={name: runs[name].recipe.seed for name in names},
        left_out=tuple(list(runs)[MAX_ARMS:]),
    )


def _without_repeats(
    by_arm: Mapping[str, tuple[DisplayedDocument | None, ...]],
) -> dict[str, tuple[DisplayedDocument | None, ...]]:
    """A text that an arm above has in the same generation is not repeated; the verdict on it is.

    Arms that learn from the same human text in generation 0 have the same model there.
    """
    first: dict[tuple[int, str, str], str] = {}
    once = {}
    for name, cells in by_arm.items():
        row = list(cells)
        for column, doc in enumerate(cells):
            if doc is None or not doc.text:
                continue
            above = first.setdefault((column, doc.prompt, doc.text), name)
            if above != name:
                row[column] = replace(doc, text="", prompt="", cut="", same_as=above)
        once[name] = tuple(row)
    return once
