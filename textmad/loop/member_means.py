"""What is said of a population as a whole: means of its members' metrics and losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_KEY = ["generation", "evaluator", "metric", "split", "bin"]


def mean_metrics(frames: Sequence[pd.DataFrame], generations: Sequence[int]) -> pd.DataFrame:
    """Return the mean of each metric over the members; NaN where one of them has none.

    `n` is the sum, since every member's text stands behind the mean. `low` and `high` are means
    too: they belong to the text of one member.
    """
    import pandas as pd

    rows = pd.concat([frame[frame["generation"].isin(generations)] for frame in frames])
    groups = rows.groupby(_KEY, sort=False)
    means = groups[["value", "low", "high"]].agg(_mean_of_all)
    means["n"] = groups["n"].sum()
    means["note"] = groups["note"].agg(_first_note)
    return means.reset_index().sort_values("generation", kind="stable")


def _mean_of_all(values: pd.Series[float]) -> float:
    return float(values.mean(skipna=False))


def _first_note(notes: pd.Series[str]) -> str:
    return next((note for note in notes if note), "")


def mean_losses(losses: Sequence[pd.DataFrame | None]) -> pd.DataFrame | None:
    """Return the mean over members of held-out documents' `nats`, by document.

    None where a member has scored none.
    """
    import pandas as pd

    frames = [frame for frame in losses if frame is not None]
    if len(frames) < len(losses):
        return None
    return pd.concat(frames).groupby(level=0, sort=False).mean()
