"""The distribution of votes, whose text got them, and what they correlate with."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from textmad.evaluators.protocol import Measurement, Snapshot
from textmad.text.documents import as_table

if TYPE_CHECKING:
    from datasets import Dataset

Floats = npt.NDArray[np.float64]

QUANTILES = {"lowest": 0.0, "25%": 0.25, "median": 0.5, "75%": 0.75, "highest": 1.0}


@dataclass(frozen=True)
class Votes:
    """Measure the votes of the last crowd on a generation's candidates, and their rewards.

    Where human text is crawled, also whose text was voted up by a crowd among the crawl filters.
    Without a filter that votes or scores there is nothing to measure, and every value is NaN.
    """

    def __call__(self, snapshot: Snapshot) -> list[Measurement]:
        """Measure the candidates' columns."""
        table = _Table(snapshot.candidates, "origin")
        shares = [*_shares(table, "drawn")]
        if len(snapshot.crawled):
            shares += _shares(_Table(snapshot.crawled, "true_origin"), "crawled")
        return [
            *_distribution(table),
            *shares,
            _agreement(table),
            *_rewards(table),
            *_tastes(table),
        ]


class _Table:
    """The candidates' columns as numbers, NaN where a document has none."""

    def __init__(self, candidates: Dataset, origin: str) -> None:
        table = as_table(candidates)
        self.columns = {name: table[name] for name in table.column_names}
        self.origin = np.array(self.columns[origin].to_pylist())
        kept = np.array(self.columns["kept"].to_pylist() if "kept" in self.columns else [], bool)
        self.splits = {"drawn": np.ones(len(kept), dtype=bool), "kept": kept}

    def numbers(self, name: str) -> Floats:
        """Return the column `name`; where several filters have written it, the last one's."""
        again = re.compile(rf"{re.escape(name)}(_\d+)?")
        columns = [column for title, column in self.columns.items() if again.fullmatch(title)]
        if not columns:
            return np.full(len(self.origin), np.nan)
        return np.array(columns[-1].cast("double").to_numpy(), dtype=np.float64)

    def by_scorer(self, prefix: str) -> Iterator[tuple[str, Floats]]:
        """Yield each scorer's name and values, once for a scorer that was asked twice."""
        for title, column in self.columns.items():
            again = re.fullmatch(r"(.*)_\d+", title)
            if title.startswith(prefix) and not (again and again[1] in self.columns):
                yield title.removeprefix(prefix), column.cast("double").to_numpy()


def gini(values: Floats) -> float:
    """Compute the Gini coefficient of amounts: 0 if all are equal, near 1 if one has all.

    The mean absolute difference of two of them by twice their mean (Gini 1912).

    >>> gini(np.array([0.0, 0.0, 0.0, 8.0]))
    0.75
    """
    ordered = np.sort(values)
    num = len(ordered)
    weights = 2 * np.arange(1, num + 1) - num - 1
    return float(weights @ ordered / (num * ordered.sum()))


def _distribution(table: _Table) -> Iterator[Measurement]:
    votes, ups = table.numbers("votes"), table.numbers("ups")
    for split, rows in table.splits.items():
        cast, liked = _known(votes[rows]), _known(ups[rows])
        for name, share in QUANTILES.items():
            yield _measured("votes", cast, partial(_quantile, share=share), split, name)
        what = liked if liked.any() else liked[:0]  # of no votes at all nobody has a share
        yield _measured("votes_gini", what, gini, split)


def _quantile(values: Floats, share: float) -> float:
    return float(np.quantile(values, share))


def _shares(table: _Table, split: str) -> Iterator[Measurement]:
    ups = table.numbers("ups")
    total = float(np.nansum(ups))
    for origin in ("human", "model"):
        theirs = _known(ups[table.origin == origin]) if total else np.zeros(0)
        yield _measured("votes_share", theirs, lambda v: float(v.sum()) / total, split, origin)


def _agreement(table: _Table) -> Measurement:
    """Spearman's rank correlation of votes and latent quality."""
    votes, quality = table.numbers("votes"), table.numbers("quality")
    both = ~np.isnan(votes) & ~np.isnan(quality)
    pairs = np.stack([votes[both], quality[both]], axis=1)
    differ = len(pairs) > 1 and (np.ptp(pairs, axis=0) > 0).all()
    return _measured("votes_agreement", pairs if differ else pairs[:0], _spearman, "drawn")


def _spearman(pairs: Floats) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)


def _rewards(table: _Table) -> Iterator[Measurement]:
    """Mean and variance of each scorer's own value, by its name."""
    for name, reward in dict(table.by_scorer("reward_")).items() or [("", np.zeros(0))]:
        for split, rows in table.splits.items():
            values = _known(reward[rows] if name else reward)
            yield _measured("reward_mean", values, lambda v: float(v.mean()), split, name)
            yield _measured("reward_variance", values, lambda v: float(v.var()), split, name)


def _tastes(table: _Table) -> Iterator[Measurement]:
    """Mean weight of each scorer over the voters, by its name; nothing where tastes stay."""
    for name, weights in table.by_scorer("taste_"):
        yield _measured("taste", _known(weights)[:1], lambda v: float(v[0]), "drawn", name)


def _known(values: Floats) -> Floats:
    return values[~np.isnan(values)]


def _measured(
    metric: str, values: Floats, measure: Callable[[Floats], float], split: str, bin_: str = ""
) -> Measurement:
    if not len(values):
        note = "no such values: no filter voted, or all votes are equal"
        return Measurement(metric, np.nan, split=split, bin=bin_, note=note)
    return Measurement(metric, measure(values), split=split, bin=bin_, n=len(values))
