"""A generator and its discriminator: how strong each is, and whom the generator pleases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from textmad.evaluators.protocol import Measurement, Snapshot
from textmad.text.documents import as_table

Floats = npt.NDArray[np.float64]

BEATS_HUMAN = "beats_human_"  # begins the columns of `discriminator` and `jury`


@dataclass(frozen=True)
class Adversary:
    """Measure how model text stands beside human text, in the eyes of each judge.

    `beats_human` is the probability that a judge puts a sampled document above a human one: 0.5
    where it sees no difference, above where it prefers model text. The judges are the
    discriminator (`human_check`) and each `jury`; only the first one's votes are learned from.
    `accepted_share` is the share of candidates that the discriminator accepts, and the share of
    its `check` that its crowd accepts.

    `over_optimisation_gap` is what the text pleases the judge that it is made for more than a
    judge of other taste: the `beats_human` of `judge` less that of `held_out`. It grows where the
    generator learns to please the judge and nobody else (Gao et al., "Scaling laws for reward
    model overoptimization", 2210.10760).

    Attributes:
        judge: whom the generator follows: `discriminator`, or the name of a jury.
        held_out: the name of the jury of other taste.
    """

    judge: str = "discriminator"
    held_out: str = "held_out"

    def __post_init__(self) -> None:
        if self.judge == self.held_out:
            raise ValueError(f"held_out: {self.held_out}: is the judge itself: expected another")

    def __call__(self, snapshot: Snapshot) -> list[Measurement]:
        """Measure the candidates' columns."""
        table = as_table(snapshot.candidates)
        names = [name for name in table.column_names if name.startswith(BEATS_HUMAN)]
        judges = [name.removeprefix(BEATS_HUMAN) for name in names]
        judges += [name for name in (self.judge, self.held_out) if name not in judges]
        beats = {judge: _known(table, BEATS_HUMAN + judge) for judge in judges}
        checked = _known(table, "check_accepts")
        return [
            *(_mean("beats_human", judge, values) for judge, values in beats.items()),
            _mean("accepted_share", "discriminator", _known(table, "discriminator_accepts")),
            _mean("accepted_share", "crowd", (checked[checked != 0] > 0).astype(np.float64)),
            self._gap(beats),
        ]

    def _gap(self, beats: dict[str, Floats]) -> Measurement:
        judge, held_out = beats[self.judge], beats[self.held_out]
        num = min(len(judge), len(held_out))
        if not num:
            lacking = self.held_out if len(judge) else self.judge
            return Measurement(
                "over_optimisation_gap",
                np.nan,
                split="drawn",
                note=f"no column {BEATS_HUMAN}{lacking}",
            )
        gap = float(judge.mean() - held_out.mean())
        return Measurement("over_optimisation_gap", gap, split="drawn", n=num)


def _known(table: pa.Table, name: str) -> Floats:
    """Return the numbers of a column; none where it is not there."""
    if name not in table.column_names:
        return np.zeros(0)
    values: Floats = table[name].cast(pa.float64()).to_numpy()
    return values[~np.isnan(values)]


def _mean(metric: str, judge: str, values: Floats) -> Measurement:
    if not len(values):
        note = f"{judge} judged nothing in this generation"
        return Measurement(metric, np.nan, split="drawn", bin=judge, note=note)
    return Measurement(metric, float(values.mean()), split="drawn", bin=judge, n=len(values))
