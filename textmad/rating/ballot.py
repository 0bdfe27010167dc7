"""The settings of a ballot: what people are asked about texts, how often, and by which design."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Design = Literal["up_down", "pairs", "best_of", "stars"]
Ints = npt.NDArray[np.int64]

_LABELS = {"up_down": ("No", "Yes"), "stars": ("1", "2", "3", "4", "5")}
_MOST_CHARACTERS = 300  # of a question or a label
_MOST_IN_GROUP = 8  # more texts cannot be compared on one page


class Gold(NamedTuple):
    """A text whose answer is known."""

    text: str
    answer: int


@dataclass(frozen=True)
class Ballot:
    """What people are asked, and how much.

    Attributes:
        design: `up_down`: one text, no or yes. `stars`: one text, 1 to 5. `pairs`: the better of
            two texts. `best_of`: the best of `group` texts.
        question: above the texts.
        labels: of the buttons of `up_down` (no, yes) and `stars` (1 to 5); none: the usual ones.
        group: texts that `best_of` shows together, 3 to 8.
        rounds: how often each text is in a pair or group; the partners are random.
        raters_per_text: people who vote on each text, pair or group.
        texts_per_rater: most votes of one person; null: no limit.
        needed: share of the votes wanted (items x raters_per_text) with which the run goes on,
            above 0 and at most 1.
        deadline_hours: after the ballot was laid out, the run goes on with the votes that there
            are, at least one; null: no deadline.
        gold: JSONL file of {"text", "answer"}, mixed in: texts whose answer is known. The answer is
            0 or 1 for `up_down`, 1 to 5 for `stars`. "": none.
        repeats: votes of each person that are asked again, to measure how consistent they are.
        min_gold_accuracy: raters with a smaller share of right gold answers are left out, from 0
            (nobody) to 1.
        leave_out_random: raters who click at random are left out, as
            `textmad.rating.reliability.reliabilities` names them.
    """

    design: Design = "up_down"
    question: str = "Would you like to read more texts like this one?"
    labels: tuple[str, ...] = ()
    group: int = 4
    rounds: int = 3
    raters_per_text: int = 3
    texts_per_rater: int | None = 100
    needed: float = 1.0
    deadline_hours: float | None = None
    gold: str = ""
    repeats: int = 0
    min_gold_accuracy: float = 0.0
    leave_out_random: bool = False

    def __post_init__(self) -> None:
        for name, texts in (("question", (self.question,)), ("labels", self.labels)):
            for text in texts:
                if not text.strip() or len(text) > _MOST_CHARACTERS:
                    raise ValueError(
                        f"{name}: {text[:40]!r}: expected 1 to {_MOST_CHARACTERS} characters"
                    )
        usual = _LABELS.get(self.design, ())
        if self.labels and len(self.labels) != len(usual):
            raise ValueError(
                f"labels: {len(self.labels)} given, expected {len(usual)} for design {self.design}"
            )
        if not 3 <= self.group <= _MOST_IN_GROUP:
            raise ValueError(f"group: {self.group}: expected 3 to {_MOST_IN_GROUP} texts")
        for name in ("rounds", "raters_per_text"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)}: expected at least 1")
        if self.texts_per_rater is not None and self.texts_per_rater < 1:
            raise ValueError(f"texts_per_rater: {self.texts_per_rater}: expected at least 1")
        if self.repeats < 0:
            raise ValueError(f"repeats: {self.repeats}: expected at least 0")
        if not 0 < self.needed <= 1:
            raise ValueError(f"needed: {self.needed:g}: expected a share above 0 and at most 1")
        if self.deadline_hours is not None and not 0 < self.deadline_hours < np.inf:
            raise ValueError(
                f"deadline_hours: {self.deadline_hours:g}: expected a number above 0, or null"
            )
        if not 0 <= self.min_gold_accuracy <= 1:
            raise ValueError(
                f"min_gold_accuracy: {self.min_gold_accuracy:g}: expected a share from 0 to 1"
            )
        self._reject_without_effect()

    def _reject_without_effect(self) -> None:
        compares = self.design in ("pairs", "best_of")
        for name, default, has_effect, remedy in (
            ("group", 4, self.design == "best_of", "set design: best_of"),
            ("rounds", 3, compares, "set design: pairs or best_of"),
            ("gold", "", not compares, "set design: up_down or stars"),
            ("min_gold_accuracy", 0.0, bool(self.gold), "give gold"),
            ("leave_out_random", False, self.raters_per_text > 1, "raise raters_per_text"),
        ):
            if getattr(self, name) != default and not has_effect:
                raise ValueError(
                    f"{name}: {getattr(self, name)}: has no effect with this design; {remedy}, or "
                    "delete it"
                )

    @property
    def texts_per_item(self) -> int:
        """Texts that one vote is about."""
        return {"pairs": 2, "best_of": self.group}.get(self.design, 1)

    @property
    def votes_per_text(self) -> int:
        """Votes that a text gets if everybody votes."""
        return self.raters_per_text * (self.rounds if self.texts_per_item > 1 else 1)

    @property
    def button_labels(self) -> tuple[str, ...]:
        """The labels of the buttons of `up_down` and `stars`; none for the other designs."""
        return self.labels or _LABELS.get(self.design, ())

    @property
    def values(self) -> range:
        """The values that a vote may have.

        up_down: 0 no, 1 yes. stars: 1 to 5. pairs and best_of: which text of the item.
        """
        return range(1, 6) if self.design == "stars" else range(max(2, self.texts_per_item))

    def items(self, num_texts: int, rng: np.random.Generator) -> Ints:
        """Return the texts of each item, `(items, texts_per_item)`, in the order they are shown.

        Every text is in at least one item of each round. If the texts do not fill the last pair or
        group of a round, it is completed with the first texts of the round.

        Raises:
            ValueError: fewer texts than an item needs.
        """
        width = self.texts_per_item
        if num_texts < width:
            raise ValueError(f"{num_texts} texts, expected at least {width} for {self.design}")
        rounds = []
        for _ in range(self.rounds if width > 1 else 1):
            order = rng.permutation(num_texts)
            rounds.append(np.concatenate([order, order[: -num_texts % width]]).reshape(-1, width))
        return np.concatenate(rounds).astype(np.int64)

    def read_gold(self) -> list[Gold]:
        """Read the file of gold texts.

        Raises:
            ValueError: it cannot be read, or a line is not a text with an answer in range.
        """
        if not self.gold:
            return []
        try:
            lines = Path(self.gold).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise ValueError(f"gold: {self.gold}: cannot be read: {why}") from None
        gold = []
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                text, answer = row["text"], row["answer"]
                if not isinstance(text, str) or type(answer) is not int:
                    raise TypeError
            except (ValueError, KeyError, TypeError):
                raise ValueError(
                    f'gold: {self.gold}, line {number}: expected {{"text": TEXT, "answer": NUMBER}}'
                ) from None
            if answer not in self.values:
                raise ValueError(
                    f"gold: {self.gold}, line {number}: answer {answer}: expected "
                    f"{self.values[0]} to {self.values[-1]} for design {self.design}"
                )
            gold.append(Gold(text, answer))
        if not gold:
            raise ValueError(
                f"gold: {self.gold}: is empty: expected one text with its answer a line"
            )
        return gold

    def is_right(self, value: int, answer: int) -> bool:
        """Whether a vote agrees with the answer of a gold text; stars may differ by one."""
        return abs(value - answer) <= (self.design == "stars")
