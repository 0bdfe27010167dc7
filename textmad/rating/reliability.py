"""How reliable each rater is, judged by the other raters, and what the votes say together.

A rater who clicks at random knows nothing of the texts: their votes are independent of what the
others say. MACE (Hovy et al., NAACL 2013) and Dawid and Skene's model (Applied Statistics 28, 1979)
are fitted by the package crowd-kit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from textmad.errors import RunError
from textmad.rating.agreement import counted_votes, rater_qualities
from textmad.rating.ballot import Ballot
from textmad.rating.records import Vote

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RANDOM_ODDS = 20.0  # so many times likelier must random clicks be before a rater is named
_HALF_CHI2 = 1.92  # of one degree of freedom, at 95 %: the drop of a log-likelihood
_GRID = np.linspace(0.0, 0.995, 200)  # shares of votes; at 1 one odd vote would be impossible
_ITERATIONS = 300  # of Dawid and Skene's EM, at most
_TOLERANCE = 1e-7


class Reliability(NamedTuple):
    """How far a rater's votes follow those of the others, and not chance."""

    rater: str
    share: float  # of the votes that are as the others', in [0, 1]; the rest are random
    low: float  # 95 % interval of the share
    high: float
    is_random: bool  # random clicks explain the votes RANDOM_ODDS times better


def reliabilities(votes: Sequence[Vote]) -> list[Reliability]:
    """Return the reliability of each rater who shares items with others, by pseudonym.

    A vote on an item follows, with probability `share`, the item's label, which only the votes of
    the *others* tell; otherwise it is random, with the frequencies of the rater's own votes. The
    label's probabilities come from MACE. `share` is the maximum of this likelihood, the interval
    is that of the likelihood ratio; both take the others' reliability as known.

    A rater is named as random if their votes are `RANDOM_ODDS` times likelier without the others'
    labels (share 0) than with the median share of all raters. One who consistently says the
    opposite of the others is not random. Gold texts and repeats are left out.

    Raises:
        RunError: crowd-kit is missing.
    """
    coded = _code(_shared(votes))
    if coded is None:
        return []
    others = _labels_by_others(coded)
    own = np.zeros((len(coded.raters), coded.num_values))
    np.add.at(own, (coded.rater, coded.value), 1)
    own /= own.sum(axis=1, keepdims=True)
    chance = own[coded.rater, coded.value]  # (votes,): probability of a random vote
    agree = others[np.arange(len(others)), coded.value]
    oppose = (1 - agree) / (coded.num_values - 1)
    follows, opposes = (
        _log_likelihoods(coded, chance, informed) for informed in (agree, oppose)
    )  # (raters, shares)
    best = follows.argmax(axis=1)
    typical = int(np.searchsorted(_GRID, np.median(_GRID[best])))
    found = []
    for index, rater in enumerate(coded.raters):
        curve = follows[index]
        inside = np.flatnonzero(curve >= curve.max() - _HALF_CHI2)
        is_random = curve[0] - curve[typical] >= np.log(RANDOM_ODDS)
        is_opposed = opposes[index].max() - curve[0] > _HALF_CHI2
        found.append(
            Reliability(
                rater,
                float(_GRID[best[index]]),
                float(_GRID[inside[0]]),
                float(_GRID[inside[-1]]),
                bool(is_random and not is_opposed),
            )
        )
    return found


class Screening(NamedTuple):
    """The raters whose votes do not count, and how reliable the raters are."""

    left_out: dict[str, str]  # by pseudonym: "gold" or "random"
    reliabilities: dict[str, Reliability]  # by pseudonym; none of who misses too many gold texts


def screen(ballot: Ballot, votes: Sequence[Vote]) -> Screening:
    """Return who is left out and how reliable the others are, from one estimate.

    Raters are left out because they miss too many gold texts, or, with `ballot.leave_out_random`,
    because they click at random.

    Raises:
        RunError: crowd-kit is missing.
    """
    out = _missing_gold(ballot, votes)
    estimates = reliabilities([vote for vote in votes if vote.rater not in out])
    if ballot.leave_out_random:
        out |= {each.rater: "random" for each in estimates if each.is_random}
    return Screening(out, {each.rater: each for each in estimates})


def left_out(ballot: Ballot, votes: Sequence[Vote]) -> dict[str, str]:
    """Return the raters whose votes do not count, as `screen` does; estimate only what is needed.

    Raises:
        RunError: crowd-kit is missing, with `leave_out_random`.
    """
    if ballot.leave_out_random:
        return screen(ballot, votes).left_out
    return _missing_gold(ballot, votes)


def _missing_gold(ballot: Ballot, votes: Sequence[Vote]) -> dict[str, str]:
    return {
        quality.rater: "gold"
        for quality in rater_qualities(ballot, votes)
        if quality.gold_accuracy is not None and quality.gold_accuracy < ballot.min_gold_accuracy
    }


class Labels(NamedTuple):
    """What the raters of a ballot say together about each item."""

    items: list[int]  # numbers in the ballot
    values: list[int]  # that a vote may have
    posterior: Floats  # (items, values): probability of each value
    prior: Floats  # (values,): share of the items
    confusion: dict[str, Floats]  # of each rater (value voted, true value), columns sum to 1


def label_posteriors(votes: Sequence[Vote]) -> Labels | None:
    """Return the probability of each value of each item, by Dawid and Skene's model.

    Maximum likelihood by EM; every rater has a confusion matrix of their own. None if all votes
    are equal or there are none. Repeats are left out.

    Raises:
        RunError: crowd-kit is missing.
    """
    coded = _code(counted_votes(votes))
    if coded is None:
        return None
    model = _crowd_kit().DawidSkene(n_iter=_ITERATIONS, tol=_TOLERANCE).fit(_table(coded))
    order = np.argsort(coded.values)
    posterior = model.probas_.sort_index().sort_index(axis=1).to_numpy(dtype=np.float64)
    prior = model.priors_.sort_index().to_numpy(dtype=np.float64)
    confusion = {}
    for index, rater in enumerate(coded.raters):
        rows = model.errors_.loc[index]
        full = np.zeros((coded.num_values, coded.num_values))
        full[rows.index.to_numpy()] = rows.sort_index(axis=1).to_numpy()
        confusion[rater] = full[np.ix_(order, order)]
    values = [coded.values[i] for i in order]
    return Labels(coded.items, values, posterior[:, order], prior[order], confusion)


# --- votes as arrays ------------------------------------------------------------------------


class _Coded(NamedTuple):
    """Votes as numbers of raters, items and values, one entry a vote."""

    raters: list[str]
    items: list[int]
    values: list[int]
    rater: Ints
    item: Ints
    value: Ints

    @property
    def num_values(self) -> int:
        return len(self.values)


def _shared(votes: Sequence[Vote]) -> list[Vote]:
    """Return the votes that count, on items that at least two raters voted on."""
    counted = counted_votes(votes)
    items, counts = np.unique([vote.item for vote in counted], return_counts=True)
    shared = set(items[counts >= 2].tolist())
    return [vote for vote in counted if vote.item in shared]


def _code(votes: Sequence[Vote]) -> _Coded | None:
    """Return votes as arrays; None if there is nothing to tell apart.

    Values are numbered in the order in which they appear: crowd-kit's MACE mixes up labels that
    appear in another order than their sorted one.
    """
    votes = sorted(votes, key=lambda vote: (vote.rater, vote.item))
    values = list(dict.fromkeys(vote.value for vote in votes))
    if len(values) < 2:
        return None
    raters = sorted({vote.rater for vote in votes})
    items = sorted({vote.item for vote in votes})

    def numbers(known: Sequence[Any], wanted: Sequence[Any]) -> Ints:
        index = {name: number for number, name in enumerate(known)}
        return np.array([index[each] for each in wanted], dtype=np.int64)

    return _Coded(
        raters,
        items,
        values,
        numbers(raters, [vote.rater for vote in votes]),
        numbers(items, [vote.item for vote in votes]),
        numbers(values, [vote.value for vote in votes]),
    )


def _table(coded: _Coded) -> Any:
    import pandas as pd

    return pd.DataFrame({"task": coded.item, "worker": coded.rater, "label": coded.value})


def _labels_by_others(coded: _Coded) -> Floats:
    """Return, for each vote, the probability of each value given the other votes on its item.

    Shape `(votes, values)`. From MACE's rater parameters: a vote is the label with probability
    `knows`, otherwise drawn from the rater's own distribution of random votes.
    """
    # Its restarts all begin with the same random numbers, so one is enough.
    model = _crowd_kit().MACE(n_restarts=1).fit(_table(coded))
    # Variational estimates do not sum to 1.
    knows = (model.spamming_[:, 1] / model.spamming_.sum(axis=1))[coded.rater]
    spam = (model.thetas_ / model.thetas_.sum(axis=1, keepdims=True))[coded.rater, coded.value]
    each = np.tile(np.log((1 - knows) * spam)[:, None], (1, coded.num_values))
    rows = np.arange(len(each))
    each[rows, coded.value] = np.log((1 - knows) * spam + knows)
    total = np.zeros((len(coded.items), coded.num_values))
    np.add.at(total, coded.item, each)
    rest = total[coded.item] - each
    rest = np.exp(rest - rest.max(axis=1, keepdims=True))
    found: Floats = rest / rest.sum(axis=1, keepdims=True)
    return found


def _log_likelihoods(coded: _Coded, chance: Floats, informed: Floats) -> Floats:
    """Return the log-likelihood of each rater's votes at each share, `(raters, shares)`."""
    found = np.zeros((len(coded.raters), len(_GRID)))
    for column, share in enumerate(_GRID):
        logs = np.log((1 - share) * chance + share * informed)
        found[:, column] = np.bincount(coded.rater, logs, minlength=len(coded.raters))
    return found


def _crowd_kit() -> Any:
    try:
        from crowdkit import aggregation
    except ImportError as error:
        raise RunError(
            f"raters' reliability needs {error.name}: pip install 'textmad[rate]'"
        ) from error
    return aggregation
