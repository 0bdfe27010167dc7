"""How reliable votes are: agreement, each rater's quality, and strengths of texts from choices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from textmad.errors import RunError
from textmad.rating.ballot import Ballot
from textmad.rating.records import Vote

Floats = npt.NDArray[np.float64]

# Of choix: a weak prior, without which a text that always wins has no finite strength.
_PRIOR = 0.01
_MOST_TEXTS = 4_000  # choix solves for a dense matrix of texts x texts: 128 MB


class Estimate(NamedTuple):
    """A number with its 95 % interval over raters; None where one rater alone gives it."""

    value: float
    low: float | None
    high: float | None


class RaterQuality(NamedTuple):
    """What is known about one rater; None where there is nothing to tell it by."""

    rater: str
    num_votes: int  # that count: no gold, no repeats
    gold_accuracy: float | None  # share of right answers to gold texts
    consistency: float | None  # share of repeats that were answered as at first
    first_position_share: float | None  # of choices between texts; a guesser has 1 / texts
    median_seconds: float


def krippendorff_alpha(ballot: Ballot, votes: Sequence[Vote]) -> float | None:
    """Return Krippendorff's alpha of votes, at most 1; 0 is the agreement of chance.

    Nominal, and ordinal for stars. Source: Krippendorff, "Content Analysis" (2004), chapter 11;
    computed by the package krippendorff. None if no two raters share an item, or all votes are
    equal. Gold texts and repeats are left out.
    """
    votes = counted_votes(votes)
    raters = {name: row for row, name in enumerate(sorted({vote.rater for vote in votes}))}
    items = {item: column for column, item in enumerate(sorted({vote.item for vote in votes}))}
    table = np.full((len(raters), len(items)), np.nan)
    for vote in votes:
        table[raters[vote.rater], items[vote.item]] = vote.value
    shared = table[:, (~np.isnan(table)).sum(axis=0) >= 2]
    if not shared.size or len(np.unique(shared[~np.isnan(shared)])) < 2:
        return None
    try:
        import krippendorff
    except ImportError as error:
        raise _missing(error) from error
    level = "ordinal" if ballot.design == "stars" else "nominal"
    return float(krippendorff.alpha(reliability_data=shared, level_of_measurement=level))


def agreement(ballot: Ballot, votes: Sequence[Vote]) -> Estimate | None:
    """Return Krippendorff's alpha with its interval over raters; None where it has no value."""
    return _over_raters(votes, partial(krippendorff_alpha, ballot), lowest=-1.0)


def first_position_share(ballot: Ballot, votes: Sequence[Vote]) -> Estimate | None:
    """Return how often the text that was shown first was chosen, with its interval over raters.

    Without position bias it is 1 / `ballot.texts_per_item`, because every screen has an order of
    its own. None for designs of one text.
    """
    if ballot.texts_per_item == 1:
        return None
    return _over_raters(votes, lambda some: _share([v.screen_position == 0 for v in some]))


def _over_raters(
    votes: Sequence[Vote],
    statistic: Callable[[Sequence[Vote]], float | None],
    lowest: float = 0.0,
) -> Estimate | None:
    """Return a statistic of the votes that count, with an interval by the jackknife over raters.

    value +- t sqrt((n - 1) / n sum_r (value without rater r - their mean)^2), t of n - 1 degrees of
    freedom (Tukey 1958; Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter
    11). A bootstrap would draw a rater twice, who then agrees with themselves.
    """
    counted = counted_votes(votes)
    value = statistic(counted)
    if value is None:
        return None
    raters = sorted({vote.rater for vote in counted})
    without = [statistic([vote for vote in counted if vote.rater != rater]) for rater in raters]
    known = np.array([each for each in without if each is not None])
    if len(known) < len(raters) or len(raters) < 2:
        return Estimate(value, None, None)
    from scipy.stats import t

    num = len(raters)
    error = np.sqrt((num - 1) / num * ((known - known.mean()) ** 2).sum())
    margin = float(t.ppf(0.975, num - 1) * error)
    return Estimate(value, max(lowest, value - margin), min(1.0, value + margin))


def rater_qualities(ballot: Ballot, votes: Sequence[Vote]) -> list[RaterQuality]:
    """Return the quality of each rater, by pseudonym."""
    by_rater: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        by_rater[vote.rater].append(vote)
    return [_quality(ballot, rater, by_rater[rater]) for rater in sorted(by_rater)]


def _quality(ballot: Ballot, rater: str, votes: Sequence[Vote]) -> RaterQuality:
    counted = counted_votes(votes)
    first = {vote.item: vote.value for vote in counted}
    right = [ballot.is_right(v.value, v.gold) for v in votes if v.gold is not None]
    same = [vote.value == first[vote.item] for vote in votes if vote.showing and vote.item in first]
    at_first = [vote.screen_position == 0 for vote in counted if ballot.texts_per_item > 1]
    return RaterQuality(
        rater,
        len(counted),
        _share(right),
        _share(same),
        _share(at_first),
        median(vote.seconds for vote in votes),
    )


def counted_votes(votes: Sequence[Vote]) -> list[Vote]:
    """Return the votes that decide: no gold texts and no repeats."""
    return [vote for vote in votes if vote.gold is None and vote.showing == 0]


def strengths(num_texts: int, choices: Sequence[tuple[int, tuple[int, ...]]]) -> Floats:
    """Return the strength of each text, `(texts,)`, of mean 0, from choices between texts.

    Luce's model: text i is chosen from a group with probability exp(strength_i) / sum_j
    exp(strength_j); for pairs it is Bradley and Terry's (Biometrika 39, 1952). Maximum likelihood
    with a weak prior, by the package choix (Maystre and Grossglauser, "Fast and Accurate Inference
    of Plackett-Luce Models", NeurIPS 2015).

    Args:
        num_texts: at most 4,000.
        choices: the chosen text, and the others of its pair or group.

    Raises:
        RunError: more texts, or choix is missing.
    """
    if num_texts > _MOST_TEXTS:
        raise RunError(
            f"rank: strength: {num_texts:,} texts, expected at most {_MOST_TEXTS:,}: use rank: "
            "net, or a filter before this one that keeps fewer"
        )
    try:
        import choix
    except ImportError as error:
        raise _missing(error) from error
    values: Floats = choix.ilsr_top1(num_texts, list(choices), alpha=_PRIOR, max_iter=1000)
    centred: Floats = values - values.mean()
    return centred


def _share(truths: Sequence[bool]) -> float | None:
    return sum(truths) / len(truths) if truths else None


def _missing(error: ImportError) -> RunError:
    return RunError(f"people's votes need {error.name}: pip install 'textmad[rate]'")
