"""The filter `discriminator`: learns from a crowd's votes on a few documents, then judges all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from textmad.curation.against_human import (
    BEATS_HUMAN,
    human_to_beat,
    human_to_learn,
    shares_below,
)
from textmad.curation.controls import check_kept_share
from textmad.curation.document_rng import document_uniforms
from textmad.curation.people import FROZEN
from textmad.curation.protocol import Classify, Context, Verdicts
from textmad.curation.score_mixture import ScorerSetting
from textmad.curation.text_features import fit_text_classifier
from textmad.curation.upvotes import Upvotes
from textmad.curation.voters import Bools
from textmad.errors import CurationError, WaitingForVotesError
from textmad.text.documents import as_table, take

if TYPE_CHECKING:
    from datasets import Dataset

Accepted = npt.NDArray[np.int8]  # by the crowd: 1 accepted, -1 rejected, 0 not asked

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

    As the discriminator of a GAN it may also learn human text against model text: a share
    `against_human` of its training examples are human documents (accepted) and as many of this
    generation's candidates that the crowd has not voted on (rejected).

    The table gets `crowd_accepts` and `check_accepts` (1 accepted, -1 rejected, 0 not asked),
    `accept_probability` (the score), `discriminator_accepts` (the probability is above the
    accepted share of the training examples) and `lessons`, the number of training examples; with
    `human_check` also `beats_human_discriminator`, the share of these human documents that it
    accepts less surely than the candidate.

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
        against_human: share of the training examples that are human text against model text.
        human_check: human documents that it judges beside the candidates, for the report alone.
    """

    keep: float = 0.25
    votes: Upvotes = field(default_factory=Upvotes)
    budget: int = 200
    check: int = 100
    learn_from: Literal["all", "latest"] = "all"
    backend: Literal["features", "lora"] = "features"
    epochs: float = 4.0
    learning_rate: float = 1e-3
    against_human: float = 0.0
    human_check: int = 0

    def __post_init__(self) -> None:
        check_kept_share(self.keep)
        if self.budget < 2:
            raise ValueError(f"budget: {self.budget}: expected at least 2")
        if self.check < 0:
            raise ValueError(f"check: {self.check}: expected at least 0")
        if not 0 <= self.against_human < 1:
            raise ValueError(
                f"against_human: {self.against_human:g}: expected a share from 0 to below 1"
            )
        if self.human_check < 0:
            raise ValueError(f"human_check: {self.human_check}: expected at least 0")
        if self.votes.crowd.drift:  # the crowd votes twice a generation, on budget and check
            raise ValueError(
                f"votes.crowd.drift: {self.votes.crowd.drift:g}: expected 0, since this crowd "
                "votes on a few documents alone; delete it"
            )
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
        """Of the documents; less only if the crowd has rejected more than the rest."""
        return self.keep

    @property
    def scorer(self) -> ScorerSetting:
        """The scorer that the crowd votes by."""
        return self.votes.scorer

    def __call__(self, candidates: Dataset, context: Context) -> Verdicts:
        """Judge all candidates."""
        if SAID in candidates.column_names:
            raise CurationError(
                f"the candidates have a column {SAID} already, so what the crowd said could not "
                "be found again next time; use one discriminator only"
            )
        # Sorted by id, so that the candidates' order changes nothing.
        order = np.argsort(np.array(candidates["id"][:], dtype=str), kind="stable")
        return self._judge_sorted(take(candidates, order), context).take(np.argsort(order))

    def _judge_sorted(self, candidates: Dataset, context: Context) -> Verdicts:
        """Return the verdicts on candidates that are sorted by id."""
        accepted, checked, frozen = self._ask_crowd(candidates, context)
        examples = self._training_examples(candidates, accepted, context)
        if self.against_human:
            is_free = (accepted == 0) & (checked == 0)
            examples = self._with_human_text(examples, candidates, is_free, context)
        judge = self._train(examples, context, all_seen=bool((accepted != 0).all()))
        probability = judge(candidates["text"][:])
        rejected = accepted < 0
        best_first = np.lexsort((-probability, rejected))  # rejected last, then by id
        num_kept = min(round(self.keep * len(accepted)), int((~rejected).sum()))
        keep = np.zeros(len(accepted), dtype=bool)
        keep[best_first[:num_kept]] = True
        reason = f"not among the {self.keep:.4g} that the discriminator accepts most surely"
        return Verdicts(
            keep,
            probability,
            ["the crowd rejects it" if is_out else reason for is_out in rejected.tolist()],
            {
                SAID: accepted,
                CHECKED: checked,
                PROBABILITY: probability,
                ACCEPTS: probability > examples.accepted_share,
                LESSONS: np.full(len(accepted), len(examples.texts)),
                **self._human_check(judge, probability, context),
                **frozen,
            },
        )

    def _ask_crowd(
        self, candidates: Dataset, context: Context
    ) -> tuple[Accepted, Accepted, dict[str, npt.NDArray[Any]]]:
        """Return the crowd's votes on the documents of the budget, and on those of the check.

        And columns with each single vote, if people vote.
        """
        (draws,) = document_uniforms(candidates["id"][:], context.rng, 1)
        random_order = np.argsort(draws, kind="stable")
        crowd_seed = int(context.rng.integers(2**63))
        votes, waiting = [], None
        frozen = {name: np.full(len(candidates), None, dtype=object) for name in FROZEN}
        for rows in np.split(random_order, [self.budget, self.budget + self.check])[:2]:
            # The same seed both times: the same voters, with the same noise for each document.
            crowd_rng = np.random.Generator(np.random.PCG64(crowd_seed))
            try:
                verdicts = self.votes(take(candidates, rows), replace(context, rng=crowd_rng))
            except WaitingForVotesError as error:  # people are asked about both at the same time
                waiting = error
                continue
            accepted = np.zeros(len(candidates), dtype=np.int8)
            accepted[rows] = np.where(verdicts.keep, 1, -1)
            votes.append(accepted)
            for name in FROZEN:
                if name in verdicts.columns:
                    frozen[name][rows] = verdicts.columns[name]
        if waiting is not None:
            raise waiting
        return votes[0], votes[1], frozen if self.votes.voters == "people" else {}

    def _training_examples(
        self, candidates: Dataset, accepted: Accepted, context: Context
    ) -> _Examples:
        """Return what the crowd has voted on: earlier generations first, if they are learned."""
        first = 0 if self.learn_from == "all" else context.generation
        earlier = map(context.earlier, range(first, context.generation))
        parts = [*map(_earlier_votes, earlier), _with_votes(candidates["text"][:], accepted)]
        texts = [text for part in parts for text, _ in part]
        return _Examples(texts, np.array([vote > 0 for part in parts for _, vote in part], bool))

    def _with_human_text(
        self,
        examples: _Examples,
        candidates: Dataset,
        is_free: Bools,
        context: Context,
    ) -> _Examples:
        """Return the examples and, behind them, human text against candidates nobody voted on."""
        num = max(1, round(self.against_human / (1 - self.against_human) * len(examples.texts) / 2))
        free = np.flatnonzero(is_free)
        if len(free) < num:
            raise CurationError(
                f"against_human: {self.against_human:g}: asks for {num} candidates that the crowd "
                f"has not voted on, and there are {len(free)}: lower it, budget or check, or raise "
                "sample.oversample"
            )
        rng = context.rng.spawn(1)[0]
        chosen = rng.permutation(free)[:num]
        human = human_to_learn(context, num, self.human_check, rng, "against_human")
        return _Examples(
            [*examples.texts, *human, *take(candidates, chosen)["text"][:]],
            np.concatenate([examples.accepted, np.ones(num, bool), np.zeros(num, bool)]),
        )

    def _human_check(
        self, judge: Classify, probability: npt.NDArray[np.float64], context: Context
    ) -> dict[str, npt.NDArray[Any]]:
        """Return a column with how often each candidate is above human text; none unless asked."""
        if not self.human_check:
            return {}
        human = human_to_beat(context, self.human_check, "human_check")
        shares = shares_below(probability, judge(human.texts))
        return {f"{BEATS_HUMAN}discriminator": shares}

    def _train(self, examples: _Examples, context: Context, *, all_seen: bool) -> Classify:
        share = examples.accepted_share
        if 0 < share < 1:
            if self.backend == "features":
                return fit_text_classifier(examples.texts, examples.accepted.tolist())
            return context.fit_classifier(
                examples.texts,
                examples.accepted.tolist(),
                epochs=self.epochs,
                learning_rate=self.learning_rate,
                seed=int(context.rng.integers(2**63)),
            )
        if all_seen:  # the classifier has no document to judge
            return lambda texts: np.full(len(texts), share)
        raise CurationError(
            f"of the {len(examples.texts)} documents that the crowd has voted on it accepted "
            f"{'all' if share else 'none'}, so there is nothing to tell apart; raise budget, or "
            "change what the crowd accepts: votes.keep, or the threshold of votes.choice"
        )


class _Examples(NamedTuple):
    """Training examples of the classifier: texts, and whether the crowd accepted them."""

    texts: list[str]
    accepted: Bools

    @property
    def accepted_share(self) -> float:
        return float(self.accepted.mean()) if len(self.accepted) else 0.0


def _with_votes(texts: Sequence[str], accepted: Accepted) -> list[tuple[str, int]]:
    """Return the texts that the crowd has voted on, each with its vote."""
    return [(text, int(vote)) for text, vote in zip(texts, accepted, strict=True) if vote]


def _earlier_votes(candidates: Dataset) -> list[tuple[str, int]]:
    """Return the texts of an earlier generation that the crowd voted on, each with its vote."""
    if SAID not in candidates.column_names:
        return []
    table = as_table(candidates.select_columns(["id", "text", SAID])).sort_by("id")
    accepted = table[SAID].fill_null(0).to_numpy().astype(np.int8)  # null: rejected earlier
    return _with_votes(table["text"].to_pylist(), accepted)
