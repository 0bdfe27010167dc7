"""When an arm is first shown to go wrong, by which signal, how long before perplexity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from textmad.analysis.pairs import Key, Paired
from textmad.statistics.early_warning import Alarm, Harm, early_warning

_HARM: dict[str, Harm] = {"lower": "above", "higher": "below"}  # by the better direction


@dataclass(frozen=True)
class Warned:
    """The early warning of one arm; its signals go by their labels."""

    arm: str
    alarm: Alarm
    keys: Mapping[str, Key]
    left_out: tuple[str, ...]  # signals without a number of some seed in the first generation

    @property
    def perplexity(self) -> str | None:
        """The signal that the others are hoped to precede; None where it is no signal."""
        names = (name for name, key in self.keys.items() if key[1:3] == ("perplexity", "held_out"))
        return next(names, None)

    def lead(self, signal: str) -> int | None:
        """Generations that a signal fires before perplexity.

        None where one of them does not fire, and of perplexity itself.
        """
        if signal == self.perplexity:
            return None
        own = self.alarm.fired[signal]
        other = self.alarm.fired[self.perplexity] if self.perplexity else None
        return None if own is None or other is None else other - own


def warnings(paired: Sequence[Paired], last: int) -> list[Warned]:
    """The early warning of every arm with two seeds and a generation that learned from its text."""
    arms = paired[0].differences if paired else {}
    found = [_warned(arm, paired, range(1, last + 1)) for arm in arms] if last > 0 else []
    return [each for each in found if each is not None]


def _warned(arm: str, paired: Sequence[Paired], generations: range) -> Warned | None:
    """Of the seeds that have a pair: those with a number in any signal."""
    every = {each.key: each.differences[arm][list(generations)] for each in paired}
    tables = {key: table.where(np.isfinite(table)) for key, table in every.items()}
    seeds = sorted({seed for table in tables.values() for seed in table.dropna(how="all").index})
    values = {key: table.reindex(seeds).to_numpy() for key, table in tables.items()}
    begun = {key.label: key for key, each in values.items() if np.isfinite(each[:, 0]).all()}
    if len(seeds) < 2 or not begun:
        return None
    return Warned(
        arm=arm,
        alarm=early_warning(
            generations,
            {name: values[key] for name, key in begun.items()},
            {name: _HARM[k.direction] for name, k in begun.items() if k.direction in _HARM},
        ),
        keys=begun,
        left_out=tuple(key.label for key in values if key not in begun.values()),
    )
