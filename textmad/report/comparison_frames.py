"""What a comparison shows beside its differences, as tables of numbers: CSV and Parquet.

Every number comes from the objects that the page is written from. An infinite share or generation
is one that lies beyond all that were run.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from textmad.report.comparison import Comparison

if TYPE_CHECKING:
    import pandas as pd


def share_frame(comparison: Comparison) -> pd.DataFrame:
    """A line a metric and family of arms: the critical share and its interval."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                **each.key._asdict(),
                "direction": each.key.direction,
                "arms": each.family,
                "meaning": each.meaning,
                "control": each.control,
                "generation": comparison.generation,
                "seeds": each.found.n,
                "tolerance": each.tolerance,
                "critical_share": each.found.estimate,
                "critical_share_low": each.found.low,
                "critical_share_high": each.found.high,
                "no_harm_up_to": each.found.harmless,
                "helping": ", ".join(f"{share:g}" for share, _ in each.helping),
                "shares": ", ".join(f"{share:g}" for share in each.shares),
            }
            for each in comparison.thresholds
        ]
    )


def alarm_frame(comparison: Comparison) -> pd.DataFrame:
    """A line an arm and signal: the generation of its alarm, and its lead over perplexity."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                **each.keys[name]._asdict(),
                "direction": each.keys[name].direction,
                "arm": each.arm,
                "control": comparison.controls[each.arm],
                "seeds": each.alarm.n,
                "rate": each.alarm.rate,
                "alarm": _number(fired, math.inf),
                "before_perplexity": _number(each.lead(name), math.nan),
            }
            for each in comparison.warnings
            for name, fired in each.alarm.fired.items()
        ]
    )


def bin_frame(comparison: Comparison) -> pd.DataFrame:
    """A line an arm, bin and generation: how far the loss stands above the control's.

    Without a control, above that of its own generation 0.
    """
    import pandas as pd

    lines = []
    for each in comparison.bins:
        for key, moved in each.moved.items():
            asked = each.warned is not None and key.label in each.warned.keys
            for generation, interval in moved.items():
                lines.append(
                    {
                        **key._asdict(),
                        "arm": each.arm,
                        "control": each.control or "",
                        "generation": generation,
                        "seeds": interval.n,
                        "difference": interval.estimate,
                        "difference_low": interval.low,
                        "difference_high": interval.high,
                        "shown_from": _number(each.shown_from(key), math.inf)
                        if asked
                        else math.nan,
                    }
                )
    return pd.DataFrame(lines)


def _number(generation: int | None, otherwise: float) -> float:
    return otherwise if generation is None else float(generation)
