"""Early warnings of arms, their leads over perplexity, and losses by frequency bin."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from textmad.analysis.pairs import Key, Paired, over_seeds
from textmad.statistics import inference
from textmad.statistics.early_warning import Alarm, Harm, early_warning
from textmad.text.rarity import BINS

if TYPE_CHECKING:
    import pandas as pd

# The rarest tokens first. The bin of end tokens, which are no text, is left out.
BIN_KEYS = tuple(Key("rare_tokens", "loss", "held_out", name) for name in BINS)


@dataclass(frozen=True)
class EarlyWarning:
    """The early warning of one arm; its signals go by their labels."""

    arm: str
    alarm: Alarm
    keys: Mapping[str, Key]
    left_out: tuple[str, ...]  # signals without a number of some seed in the first generation
    leads: Mapping[str, inference.Interval]  # over perplexity, in generations; see `_leads`

    @property
    def perplexity(self) -> str | None:
        """Return the signal that is held-out perplexity; None where it is no signal."""
        return _perplexity(self.keys)

    @property
    def ahead(self) -> list[str]:
        """Return the signals whose lead over perplexity is supported, the largest first."""
        supported = [name for name, interval in self.leads.items() if interval.low > 0]
        return sorted(supported, key=lambda name: -self.leads[name].estimate)


def early_warnings(paired: Sequence[Paired], last: int) -> list[EarlyWarning]:
    """Return the early warning of every arm with two seeds; none before generation 1.

    Facts of the pedigree or of the crowd (direction "none") are no signals.

    The null hypothesis is that no signal is worse than its tolerance in any generation.
    """
    signals = [each for each in paired if each.key.direction != "none"]
    return _warnings(signals, last, beyond_tolerance=True)


def _warnings(paired: Sequence[Paired], last: int, beyond_tolerance: bool) -> list[EarlyWarning]:
    arms = paired[0].differences if paired and last > 0 else {}
    warned = (_warning(arm, paired, range(1, last + 1), beyond_tolerance) for arm in arms)
    return [each for each in warned if each is not None]


def _warning(
    arm: str, paired: Sequence[Paired], generations: range, beyond_tolerance: bool
) -> EarlyWarning | None:
    """The warning of one arm, over the seeds with a number in any signal."""
    harms = {each.key: each.harm(arm) for each in paired}
    tables = {
        key: harm.values[list(generations)].where(np.isfinite(harm.values[list(generations)]))
        for key, harm in harms.items()
    }
    seeds = sorted({seed for table in tables.values() for seed in table.dropna(how="all").index})
    values = {key: table.reindex(seeds).to_numpy() for key, table in tables.items()}
    begun = {key.label: key for key, each in values.items() if np.isfinite(each[:, 0]).all()}
    if len(seeds) < 2 or not begun:
        return None
    allowed = {
        name: harms[key].tolerance[list(generations)].reindex(seeds).fillna(0.0).to_numpy()
        for name, key in begun.items()
    }
    sides: dict[str, Harm] = {
        name: "either" if harms[key].two_sided else "above" for name, key in begun.items()
    }
    signals = {name: values[key] for name, key in begun.items()}
    return EarlyWarning(
        arm=arm,
        alarm=early_warning(
            generations, signals, sides, tolerances=allowed if beyond_tolerance else None
        ),
        keys=begun,
        left_out=tuple(key.label for key in values if key not in begun.values()),
        leads=_leads(begun, signals, sides, allowed, generations) if beyond_tolerance else {},
    )


def _leads(
    keys: Mapping[str, Key],
    signals: Mapping[str, np.ndarray],
    sides: Mapping[str, Harm],
    allowed: Mapping[str, np.ndarray],
    generations: range,
) -> dict[str, inference.Interval]:
    """The lead of each other signal over perplexity, seed by seed; none without perplexity.

    A signal's time in a seed is the generation from which on it stays beyond its tolerance. The
    intervals hold together at 95 % (Bonferroni), since the signal that fires first is a selection.
    """
    perplexity = _perplexity(keys)
    if perplexity is None or len(signals) < 2:
        return {}
    times = {}
    for name, harm in signals.items():
        with np.errstate(divide="ignore", invalid="ignore"):  # a tolerance of 0
            in_tolerances = np.where(harm == 0, 0.0, harm / allowed[name])
        inside = (-1.0 if sides[name] == "either" else -math.inf), 1.0
        times[name] = inference.time_to_collapse(list(generations), in_tolerances, inside).times
    confidence = 1 - 0.05 / (len(signals) - 1)
    return {
        name: inference.lead(own, times[perplexity], generations[-1], confidence)
        for name, own in times.items()
        if name != perplexity
    }


def _perplexity(keys: Mapping[str, Key]) -> str | None:
    names = (name for name, key in keys.items() if key[1:3] == ("perplexity", "held_out"))
    return next(names, None)


# --- losses by frequency bin ----------------------------------------------------------------


@dataclass(frozen=True)
class BinLosses:
    """How far the loss of an arm lies above its control's in each bin, nats/token.

    An arm without a control, such as a control itself, has the change since its own generation 0.
    `warning` says in which bins a rise is supported and since when, with one false-alarm rate for
    all of them and a tolerance of 0; None where there is no control, or too few seeds.
    """

    arm: str
    control: str | None
    changes: Mapping[Key, Mapping[int, inference.Interval]]  # by generation
    warning: EarlyWarning | None

    def rises_from(self, key: Key) -> int | None:
        """Return the generation at which a rise in the bin is first supported."""
        return None if self.warning is None else self.warning.alarm.fired.get(key.label)


def bin_losses(paired: Sequence[Paired], last: int) -> list[BinLosses]:
    """Return every arm that has a number in some bin, controls first; `paired` has one bin each."""
    warned = {each.arm: each for each in _warnings(paired, last, beyond_tolerance=False)}
    losses = []
    for arm in paired[0].values if paired else {}:
        control = paired[0].controls.get(arm)
        changes = {
            each.key: over_seeds(
                each.differences[arm] if control else _since_first(each.values[arm])
            )
            for each in paired
        }
        if any(changes.values()):
            losses.append(BinLosses(arm, control, changes, warned.get(arm)))
    return losses


def _since_first(numbers: pd.DataFrame) -> pd.DataFrame:
    whole = numbers.replace([np.inf, -np.inf], np.nan)
    return whole.sub(whole[whole.columns[0]], axis=0)
