"""How reliable votes are: agreement, each rater's quality, and strengths of texts from choices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
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


def left_out(ballot: Ballot, votes: Sequence[Vote]) -> list[str]:
    """Return the raters whose votes do not count, because they miss too many gold texts."""
    return [
        quality.rater
        for quality in rater_qualities(ballot, votes)
        if quality.gold_accuracy is not None and quality.gold_accuracy < ballot.min_gold_accuracy
    ]


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
