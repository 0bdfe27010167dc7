"""Held-out loss by frequency bin, arm by arm: are rare tokens lost before common ones?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from textmad.analysis.pairs import Key, Paired, over_seeds
from textmad.analysis.warnings import Warned, warnings
from textmad.statistics import inference
from textmad.text.rarity import BINS

if TYPE_CHECKING:
    import pandas as pd

# The rarest tokens first. The bin of end tokens, which are no text, is left out.
BIN_KEYS = tuple(Key("rare_tokens", "loss", "held_out", name) for name in BINS)


@dataclass(frozen=True)
class BinLosses:
    """How far the loss of an arm stands above its control's in each bin, nats/token.

    An arm that is set against none, such as a control itself, has the change since its own
    generation 0. `warned` says in which bins a rise is shown and since when, with one
    false-alarm rate for all of them; None where it is not asked or seeds are too few.
    """

    arm: str
    control: str | None
    moved: Mapping[Key, Mapping[int, inference.Interval]]  # by generation
    warned: Warned | None

    def shown_from(self, key: Key) -> int | None:
        """The generation at which a rise in the bin is first shown."""
        return None if self.warned is None else self.warned.alarm.fired.get(key.label)


def bin_losses(paired: Sequence[Paired], last: int) -> list[BinLosses]:
    """Every arm that has a number in some bin, controls first; `paired` holds one bin each."""
    warned = {each.arm: each for each in warnings(paired, last)}
    found = []
    for arm in paired[0].values if paired else {}:
        control = paired[0].controls.get(arm)
        moved = {
            each.key: over_seeds(
                each.differences[arm] if control else _since_first(each.values[arm])
            )
            for each in paired
        }
        if any(moved.values()):
            found.append(BinLosses(arm, control, moved, warned.get(arm)))
    return found


def _since_first(numbers: pd.DataFrame) -> pd.DataFrame:
    whole = numbers.replace([np.inf, -np.inf], np.nan)
    return whole.sub(whole[whole.columns[0]], axis=0)
