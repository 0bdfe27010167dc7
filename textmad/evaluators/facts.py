"""What a generation's model still knows: multiple choice by log-likelihood."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from textmad.evaluators.protocol import Measurement, Snapshot
from textmad.store import file_digest
from textmad.text.invented_facts import FACTS, THINGS

if TYPE_CHECKING:
    from textmad.models.protocol import LanguageModel


class Question(NamedTuple):
    """A question with its possible answers."""

    question: str
    choices: Sequence[str]
    answer: int  # index of the right choice


@dataclass(frozen=True)
class Facts:
    """Measure the share of questions that the generation's model answers rightly, and the margin.

    The answer is the choice of highest log-likelihood behind the question, summed over its tokens
    (as `acc` of the lm-evaluation-harness). `facts_margin` is the mean of the log-likelihood of the
    right choice less that of the best wrong one: it moves before any answer changes. The base
    model's values stand beside them (split base).

    Attributes:
        questions: a file of JSON lines with question, choices (at least two texts) and answer (the
            index of the right one, from 0). None: the invented facts that `corpus.invented_facts`
            mixes into the training pool.
    """

    questions: str | None = None

    def __post_init__(self) -> None:
        if self.questions is not None:
            read_questions(self.questions)

    def sources(self) -> dict[str, str]:
        """Digest of the questions' file."""
        if self.questions is None:
            return {}
        return {f"questions {self.questions}": file_digest(Path(self.questions))}

    def __call__(self, snapshot: Snapshot) -> list[Measurement]:
        """Ask the generation's model, and the base model."""
        questions = invented() if self.questions is None else read_questions(self.questions)
        of_base = snapshot.once_a_run(
            ("facts", self), lambda: _answered(snapshot.base, questions, "base")
        )
        return [*_answered(snapshot.model, questions, "all"), *of_base]


def invented() -> list[Question]:
    """Return the questions about the built-in invented facts."""
    return [Question(fact.question, THINGS, THINGS.index(fact.thing)) for fact in FACTS]


def read_questions(path: str) -> list[Question]:
    """Read a file of JSON lines.

    Raises:
        ValueError: it cannot be read, holds no question, or one that is none; names the line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ValueError(f"questions: {path}: cannot be read: {why}") from None
    questions = [_question(f"{path}:{i}", line) for i, line in enumerate(lines, 1) if line.strip()]
    if not questions:
        raise ValueError(f"questions: {path}: holds no question: expected one a line")
    return questions


def _question(where: str, line: str) -> Question:
    try:
        row = json.loads(line)
        question = Question(row["question"], tuple(row["choices"]), row["answer"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"questions: {where}: {type(error).__name__}: {error}: expected an object with "
            "question, choices and answer"
        ) from None
    texts = [question.question, *question.choices]
    if len(texts) < 3 or not all(isinstance(text, str) and text for text in texts):
        raise ValueError(f"questions: {where}: expected a question and at least two choices")
    if type(question.answer) is not int or not 0 <= question.answer < len(question.choices):
        raise ValueError(
            f"questions: {where}: answer: {question.answer!r}: expected the index of a choice, 0 "
            f"to {len(question.choices) - 1}"
        )
    return question


def _answered(model: LanguageModel, questions: Sequence[Question], split: str) -> list[Measurement]:
    """Measure a model's answers."""
    pairs = [(q.question, choice) for q in questions for choice in q.choices]
    # A choice begins with the space between it and its question, and has no end of a document.
    choices, prompts = [f" {choice}" for _, choice in pairs], [question for question, _ in pairs]
    nll = model.token_nll(choices, prompts)
    nats = np.array([row[:-1].sum() for row in nll])
    margins, begin = [], 0
    for q in questions:
        own = nats[begin : begin + len(q.choices)]
        begin += len(q.choices)
        margins.append(float(np.delete(own, q.answer).min() - own[q.answer]))
    is_right = np.array(margins) > 0
    margin = float(np.mean(margins))
    note = "a choice is impossible under the model" if math.isnan(margin) else ""
    num = len(questions)
    return [
        Measurement("facts_accuracy", float(is_right.mean()), split, n=num),
        Measurement("facts_margin", margin, split, n=num, note=note),
    ]
