"""People's votes of a run: beside the simulated scorers, and as a crowd with fitted settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from textmad.analysis.arm_settings import component
from textmad.curation.protocol import Context
from textmad.curation.score_mixture import standardised
from textmad.curation.scorers import score_candidates
from textmad.curation.text_features import fit_text_classifier
from textmad.errors import CurationError, RunError
from textmad.loop.run import Run
from textmad.rating.ballot import Ballot
from textmad.seeds import stream
from textmad.statistics.crowd_fit import CrowdFit, Errors, fit_choices, fit_crowd
from textmad.statistics.vote_prediction import Prediction, predict_votes
from textmad.text.documents import take

if TYPE_CHECKING:
    from datasets import Dataset

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FROZEN = "people_votes"  # column of the candidates' table
AUTHOR, DISCRIMINATOR = "author", "discriminator"
SCORERS = ("fluency", "variety", "learned_votes", DISCRIMINATOR)
_FOLDS = 5


@dataclass(frozen=True)
class PeoplesVotes:
    """All votes of people that a run has learned from, and the candidates that they voted on.

    Raises:
        RunError: no generation of the run has such votes.
    """

    run: Run

    def __post_init__(self) -> None:
        if not self.generations:
            raise RunError(
                f"{self.run.path}: no generation has learned from people's votes: expected a run "
                "whose recipe has `people`, with enough votes for its first generation"
            )

    @cached_property
    def generations(self) -> list[int]:
        """The complete generations whose candidates people voted on."""
        run = self.run
        return [g for g in run.generations if FROZEN in run.candidates(g).column_names]

    @cached_property
    def candidates(self) -> list[Dataset]:
        """The candidates of each generation that people were asked about."""
        found = []
        for generation in self.generations:
            table = self.run.candidates(generation)
            asked = [marks is not None for marks in table[FROZEN][:]]
            found.append(take(table, np.flatnonzero(asked)))
        return found

    @cached_property
    def ballots(self) -> list[Ballot]:
        """What people were asked: one entry for each filter of the recipe that asks them."""
        return [ballot for _, ballot in self._askers]

    @cached_property
    def _askers(self) -> list[tuple[str, Ballot]]:
        return _askers(self.run.recipe.dump()["curate"])

    @property
    def is_author(self) -> bool:
        """Whether people chose among the drafts of a post."""
        return all(name == AUTHOR for name, _ in self._askers)

    @cached_property
    def votes(self) -> Votes:
        """The votes, over the candidates of all generations in a row."""
        document, raters, marks = [], [], []
        texts = [row for table in self.candidates for row in table[FROZEN][:]]
        for row, text in enumerate(texts):
            for rater, _, mark in json.loads(text):
                document.append(row)
                raters.append(rater)
                marks.append(mark)
        names, rater = np.unique(raters, return_inverse=True)
        values = np.array(marks, dtype=np.float64)
        if any(ballot.design == "stars" for ballot in self.ballots):
            values = np.sign(values - np.mean(range(1, 6))) / 2 + 0.5
        return Votes(
            np.array(document, dtype=np.int64), rater.astype(np.int64), values, list(names)
        )

    @cached_property
    def choices(self) -> Choices:
        """The votes of designs that compare texts, over the same candidates."""
        members: dict[tuple[int, str, int], list[tuple[int, int]]] = {}  # (mark, row)
        rows = ((g, text) for g, table in enumerate(self.candidates) for text in table[FROZEN][:])
        for row, (generation, text) in enumerate(rows):
            for rater, item, mark in json.loads(text):
                members.setdefault((generation, rater, item), []).append((-mark, row))
        ordered = [[row for _, row in sorted(vote)] for vote in members.values()]  # chosen first
        most = max(map(len, ordered), default=1)
        padded = np.array([rows + [-1] * (most - len(rows)) for rows in ordered], dtype=np.int64)
        padded = padded.reshape(-1, most)
        return Choices(padded[:, 0], padded[:, 1:])

    @cached_property
    def group(self) -> Ints:
        """For each candidate the number of its generation among those with votes."""
        return np.repeat(np.arange(len(self.candidates)), [len(each) for each in self.candidates])

    @cached_property
    def texts(self) -> list[str]:
        """The texts of all candidates that people were asked about."""
        return [text for table in self.candidates for text in table["text"][:]]

    def scores(self, scorer: str) -> Floats:
        """Return a scorer's value for each candidate.

        Raises:
            CurationError: the scorer cannot be used, such as `learned_votes` on human text without
                votes.
        """
        if scorer == DISCRIMINATOR:
            return self._discriminator()
        values = [
            score_candidates(scorer, table, self._context(generation))
            for generation, table in zip(self.generations, self.candidates, strict=True)
        ]
        return np.concatenate(values)

    def _context(self, generation: int) -> Context:
        return Context(
            generation=generation,
            rng=stream(self.run.recipe.seed, "score again", generation),
            human=self.run.human,
            earlier=self.run.candidates,
            token_nll=_no_model,
            base_token_nll=lambda texts, *prompts: self.run.base.token_nll(texts, *prompts),
        )

    def _discriminator(self) -> Floats:
        """Return what a classifier of words that learned from the other texts' votes expects.

        The classifier of the filter `discriminator`, on five folds of the texts; equal texts are in
        one fold.

        Raises:
            CurationError: people liked all texts of a fold's rest, or none.
        """
        votes, texts = self.votes, np.array(self.texts, dtype=object)
        total = np.bincount(votes.document, minlength=len(texts))
        ups = np.bincount(votes.document, votes.mark, minlength=len(texts))
        liked, has_votes = ups * 2 > total, total > 0
        _, which = np.unique(texts.astype(str), return_inverse=True)
        rng = stream(0, "folds of people's votes")
        fold = rng.permutation(which.max() + 1)[which] % _FOLDS
        scores = np.zeros(len(texts))
        for number in range(_FOLDS):
            learn = has_votes & (fold != number)
            if liked[learn].all() or not liked[learn].any():
                raise CurationError(
                    f"{DISCRIMINATOR}: people liked all texts that it would learn from, or none"
                )
            judge = fit_text_classifier(texts[learn].tolist(), liked[learn].tolist())
            scores[fold == number] = judge(texts[fold == number].tolist())
        return scores


class Votes(NamedTuple):
    """Votes on texts, one entry a vote."""

    document: Ints  # row among the candidates of all generations
    rater: Ints  # number of the rater
    mark: Floats  # 1 up, 0 down, 0.5 neither (three stars)
    raters: list[str]  # pseudonyms by number


class Choices(NamedTuple):
    """Votes that compare texts, one entry a vote."""

    chosen: Ints  # row among the candidates of all generations
    others: Ints  # (votes, most): rows of the texts beside it; -1 where there are fewer


class ScorerRow(NamedTuple):
    """How one simulated scorer agrees with people; without votes to tell it by the reason."""

    scorer: str
    prediction: Prediction | None
    reason: str = ""


def compare_scorers(people: PeoplesVotes, scorers: Sequence[str] = SCORERS) -> list[ScorerRow]:
    """Return how well each scorer predicts people's votes, its value standardised by generation."""
    rows = []
    for scorer in scorers:
        try:
            values = _standardised(people.scores(scorer), people.group)
        except CurationError as error:
            rows.append(ScorerRow(scorer, None, str(error)))
            continue
        rng = stream(0, "people against scorers", scorer)
        votes = people.votes
        found = predict_votes(values, votes.document, votes.rater, votes.mark, rng)
        reason = "" if found else "all votes or all values are the same"
        rows.append(ScorerRow(scorer, found, reason))
    return rows


def fit_to_people(people: PeoplesVotes, scorers: Sequence[str]) -> CrowdFit:
    """Return the settings of a simulated crowd that make the people's votes likeliest.

    If people compared texts, strictness is not known and None.

    Raises:
        RunError: people voted on single texts and compared others, or the votes tell nothing about
            a crowd.
        CurationError: a scorer cannot be used.
    """
    compares = {ballot.texts_per_item > 1 for ballot in people.ballots}
    if len(compares) > 1:
        designs = ", ".join(sorted({ballot.design for ballot in people.ballots}))
        raise RunError(
            f"{people.run.path}: people voted by {designs}: expected designs that compare texts "
            "(pairs, best_of) or that show one at a time (up_down, stars), not both"
        )
    values = np.stack([people.scores(scorer) for scorer in scorers], axis=1)
    rng = stream(0, "fit crowd")
    try:
        if True in compares:
            errors: Errors = "gumbel" if people.is_author else "logistic"
            return fit_choices(values, people.group, *people.choices, rng, errors=errors)
        votes = people.votes
        decided = votes.mark != 0.5
        return fit_crowd(
            values,
            people.group,
            votes.document[decided],
            votes.rater[decided],
            votes.mark[decided] > 0.5,
            rng,
        )
    except ValueError as error:
        raise RunError(f"{people.run.path}: {', '.join(scorers)}: {error}") from error


def fitted_filter(people: PeoplesVotes, scorers: Sequence[str], fit: CrowdFit) -> dict[str, Any]:
    """Return the filter with the fitted settings, as in a recipe.

    That is `author` if people chose among drafts. Otherwise `upvotes`, in which as many voters vote
    on each document as people did, and the same share is kept.
    """
    weights = {
        name: _rounded(weight.value) for name, weight in zip(scorers, fit.weights, strict=True)
    }
    noise = _rounded(fit.noise.value)
    if people.is_author:
        drafts = people.ballots[0].texts_per_item
        return {AUTHOR: {"drafts": drafts, "scorer": weights, "noise": noise}}
    kept = [np.mean(table["kept"][:]) for table in people.candidates]
    votes_per_text = len(people.votes.mark) / len(people.texts)
    options: dict[str, Any] = {
        "scorer": weights,
        "voters": max(1, round(votes_per_text)),
        "noise": noise,
        "keep": _rounded(float(np.mean(kept))),
    }
    if fit.strictness is not None and fit.strictness_spread is not None:
        options["crowd"] = {"strictness": _rounded(fit.strictness.value)}
        if spread := _rounded(fit.strictness_spread.value):
            options["crowd"]["strictness_spread"] = spread
    return {"upvotes": options}


def _rounded(value: float) -> float:
    return round(value, 3)


def _standardised(values: Floats, group: Ints) -> Floats:
    found = np.zeros_like(values)
    for number in np.unique(group):
        rows = group == number
        found[rows] = standardised(values[rows])
    return found


def ballots_of(filters: Sequence[Any]) -> list[Ballot]:
    """Return the ballots of the filters that ask people, in the order of the recipe."""
    return [ballot for _, ballot in _askers(filters)]


def _askers(filters: Sequence[Any]) -> list[tuple[str, Ballot]]:
    """Return the filters that ask people: name and ballot."""
    found = []
    for each in filters:
        name, options = component(each)
        name = name.removeprefix("twin ")
        votes = options.get("votes", options) if name.endswith(DISCRIMINATOR) else options
        if name == "people" or "people" in (votes.get("voters"), votes.get("chosen_by")):
            given = dict(votes.get("ballot") or {})
            labels = tuple(given.get("labels", ()))
            found.append((name, Ballot(**(given | {"labels": labels}))))
    return found


def _no_model(*texts: Any) -> Any:
    raise CurationError("the model that wrote the texts is not opened to compare scorers")
