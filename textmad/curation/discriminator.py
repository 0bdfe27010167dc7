"""The discriminator: learns from the votes of a few what the crowd accepts, then judges all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from textmad.curation.controls import check_kept_share
from textmad.curation.document_rng import document_uniforms
from textmad.curation.protocol import Classify, Context, Verdicts
from textmad.curation.score_mixture import ScorerSetting
from textmad.curation.text_features import fit_text_classifier
from textmad.curation.voters import Bools
from textmad.curation.votes import Upvotes
from textmad.errors import CurationError
from textmad.text.documents import as_table, take

if TYPE_CHECKING:
    from datasets import Dataset

Said = npt.NDArray[np.int8]  # by the crowd: 1 accepted, -1 rejected, 0 not asked

SAID, CHECKED = "crowd_accepts", "check_accepts"
PROBABILITY, ACCEPTS, LESSONS = "accept_probability", "discriminator_accepts", "lessons"


@dataclass(frozen=True)
class Discriminator:
    """Keep what a classifier accepts that is trained, each generation anew, on a crowd's votes.

    Human time is scarce: the crowd votes on `budget` random candidates of the generation, and
    accepts those that `votes`, as the filter upvotes, would keep of them. A classifier learns
    from these, with `learn_from: all` also from what the crowd said in all earlier generations,
    and judges every candidate. What the crowd has rejected is out. Of all others the
    round(keep * documents) with the highest probability of being accepted are kept, equal ones in
    the order of their ids; fewer only where the crowd leaves fewer. So every kept document that
    the crowd has seen is one that it has accepted.

    The same crowd also votes on `check` other random candidates, for the report alone (evaluator
    `discriminator`): they teach nothing, and nothing is kept or dropped for them.

    The table gets `crowd_accepts` and `check_accepts` (1 accepted, -1 rejected, 0 not asked),
    `accept_probability` (the score), `discriminator_accepts` (the probability is above the
    accepted share of the lessons, so the classifier holds it for better than the average) and
    `lessons`, the number of documents that it learned from.

    Attributes:
        keep: share, above 0 and at most 1.
        votes: the crowd; its own `keep`, or `choice`, says what it accepts.
        budget: candidates of a generation that the crowd votes on, all if there are fewer.
        check: further candidates that it votes on for the report.
        learn_from: `all` votes so far, or the `latest` generation's.
        backend: `features`: logistic regression on hashed words and word pairs. `lora`: a low-rank
            adapter on the run's base model, of the shape of `model.lora`, and a linear head.
        epochs: passes over the lessons, of `lora`.
        learning_rate: of `lora`.
    """

    keep: float = 0.25
    votes: Upvotes = field(default_factory=Upvotes)
    budget: int = 200
    check: int = 100
    learn_from: Literal["all", "latest"] = "all"
    backend: Literal["features", "lora"] = "features"
    epochs: float = 4.0
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        check_kept_share(self.keep)
        if self.budget < 2:
            raise ValueError(f"budget: {self.budget}: expected at least 2")
        if self.check < 0:
            raise ValueError(f"check: {self.check}: expected at least 0")
        for name, default in (("epochs", 4.0), ("learning_rate", 1e-3)):
            value = getattr(self, name)
            if not 0 < value < np.inf:
                raise ValueError(f"{name}: {value:g}: expected a finite number above 0")
            if self.backend == "features" and value != default:
                raise ValueError(
                    f"{name}: {value:g}: has no effect while backend is features; set "
                    "backend: lora, or delete it"
                )

    @property
    def kept_share(self) -> float:
        """Of the documents; less only where the crowd has rejected more than the rest."""
        return self.keep

    @property
    def scorer(self) -> ScorerSetting:
        """What the crowd finds good."""
        return self.votes.scorer

    def __call__(self, candidates: Dataset, context: Context) -> Verdicts:
        """Judge all candidates."""
        if SAID in candidates.column_names:
            raise CurationError(
                f"the candidates have a column {SAID} already, so what the crowd said could not "
                "be found again next time; use one discriminator only"
            )
        given = candidates["id"][:]
        order = np.argsort(np.array(given, dtype=str), kind="stable")  # so that theirs is none
        return self._judged(take(candidates, order), context).take(np.argsort(order))

    def _judged(self, candidates: Dataset, context: Context) -> Verdicts:
        """The verdicts on candidates sorted by id."""
        said, checked = self._asked(candidates, context)
        lessons = self._lessons(candidates, said, context)
        judge = self._trained(lessons, context, all_seen=bool((said != 0).all()))
        probability = judge(candidates["text"][:])
        out = said < 0
        ranking = np.lexsort((-probability, out))  # last key first, then the id
        keep = np.zeros(len(said), dtype=bool)
        keep[ranking[: min(round(self.keep * len(said)), int((~out).sum()))]] = True
        unsure = f"not among the {self.keep:.4g} that the discriminator accepts most surely"
        return Verdicts(
            keep,
            probability,
            ["the crowd rejects it" if rejected else unsure for rejected in out.tolist()],
            {
                SAID: said,
                CHECKED: checked,
                PROBABILITY: probability,
                ACCEPTS: probability > lessons.accepted_share,
                LESSONS: np.full(len(said), len(lessons.texts)),
            },
        )

    def _asked(self, candidates: Dataset, context: Context) -> tuple[Said, Said]:
        """What the crowd says of the lessons, and of the documents for the check."""
        (luck,) = document_uniforms(candidates["id"][:], context.rng, 1)
        chosen = np.argsort(luck, kind="stable")
        crowd = int(context.rng.integers(2**63))
        said = []
        for rows in np.split(chosen, [self.budget, self.budget + self.check])[:2]:
            # The same voters both times, each with the same eye for every document.
            there = replace(context, rng=np.random.Generator(np.random.PCG64(crowd)))
            accepts = self.votes(take(candidates, rows), there).keep
            all_of_them = np.zeros(len(chosen), dtype=np.int8)
            all_of_them[rows] = np.where(accepts, 1, -1)
            said.append(all_of_them)
        return said[0], said[1]

    def _lessons(self, candidates: Dataset, said: Said, context: Context) -> _Lessons:
        first = 0 if self.learn_from == "all" else context.generation
        earlier = map(context.earlier, range(first, context.generation))
        parts = [*map(_said_before, earlier), _with_votes(candidates["text"][:], said)]
        texts = [text for part in parts for text, _ in part]
        return _Lessons(texts, np.array([word > 0 for part in parts for _, word in part], bool))

    def _trained(self, lessons: _Lessons, context: Context, *, all_seen: bool) -> Classify:
        share = lessons.accepted_share
        if 0 < share < 1:
            if self.backend == "features":
                return fit_text_classifier(lessons.texts, lessons.accepted.tolist())
            return context.fit_classifier(
                lessons.texts,
                lessons.accepted.tolist(),
                epochs=self.epochs,
                learning_rate=self.learning_rate,
                seed=int(context.rng.integers(2**63)),
            )
        if all_seen:  # nobody is left to be judged
            return lambda texts: np.full(len(texts), share)
        raise CurationError(
            f"of the {len(lessons.texts)} documents that the crowd has voted on it accepted "
            f"{'all' if share else 'none'}, so there is nothing to tell apart; raise budget, or "
            "change what the crowd accepts: votes.keep, or the threshold of votes.choice"
        )


class _Lessons(NamedTuple):
    """What is learned from: texts, and what the crowd said of them."""

    texts: list[str]
    accepted: Bools

    @property
    def accepted_share(self) -> float:
        return float(self.accepted.mean()) if len(self.accepted) else 0.0


def _with_votes(texts: Sequence[str], said: Said) -> list[tuple[str, int]]:
    return [(text, int(word)) for text, word in zip(texts, said, strict=True) if word]


def _said_before(candidates: Dataset) -> list[tuple[str, int]]:
    """What the crowd said in an earlier generation; nothing where it was not asked."""
    if SAID not in candidates.column_names:
        return []
    table = as_table(candidates.select_columns(["id", "text", SAID])).sort_by("id")
    said = table[SAID].fill_null(0).to_numpy().astype(np.int8)  # null: rejected before it
    return _with_votes(table["text"].to_pylist(), said)
