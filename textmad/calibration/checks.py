"""Compare measured values with their exact expectations: verdicts, and a table of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Verdict = Literal["agrees", "DIFFERS", "TOO UNSURE"]

MOST_ERRORS = 4.0
"""Largest distance from theory that still agrees, in standard errors."""

LARGEST_ERROR = 0.02
"""Largest standard error, as a share of the value by theory. A larger one could hide a fault."""

TITLES = ("claim", "loop", "what", "theory", "measured", "s.e.", "z", "verdict")


class Measured(NamedTuple):
    """An estimate over replicates with its standard error."""

    value: float
    standard_error: float


@dataclass(frozen=True)
class Check:
    """One line of the table.

    Attributes:
        claim: its number, A1 to A7.
        loop: name of the loop that was run.
        what: name of the measured quantity.
        theory: its exact expectation.
        measured: its estimate over independent replicates, with the standard error of their spread.
        vanishes: whether the expectation goes to 0; then the standard error is not held against it.
    """

    claim: str
    loop: str
    what: str
    theory: float
    measured: Measured
    vanishes: bool = False

    @property
    def z(self) -> float:
        """Return how many standard errors the measured value lies above theory."""
        difference, error = self.measured.value - self.theory, self.measured.standard_error
        if error == 0:
            return math.copysign(math.inf, difference) if difference else 0.0
        return difference / error

    @property
    def verdict(self) -> Verdict:
        """Return whether the measured value agrees with theory."""
        if not abs(self.z) <= MOST_ERRORS:  # a NaN does not agree either
            return "DIFFERS"
        largest_error = LARGEST_ERROR * abs(self.theory)
        if not self.vanishes and self.measured.standard_error > largest_error:
            return "TOO UNSURE"
        return "agrees"


def mean_of(replicates: npt.NDArray[np.generic]) -> Measured:
    """Return mean and standard error over independent replicates.

    >>> mean_of(np.array([1.0, 3.0]))
    Measured(value=2.0, standard_error=1.0)
    """
    error = replicates.std(ddof=1) / math.sqrt(len(replicates))
    return Measured(float(replicates.mean()), float(error))


def median_of(replicates: npt.NDArray[np.float64]) -> Measured:
    """Return the median and its standard error (Maritz and Jarrett, Biometrika 65, 1978)."""
    from scipy.stats.mstats import mjci

    return Measured(float(np.median(replicates)), float(mjci(replicates, prob=[0.5])[0]))


def table(checks: Sequence[Check]) -> str:
    """Return the checks as a Markdown table."""
    rows = [TITLES, *map(cells, checks)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(TITLES))]
    lines = [
        "| "
        + " | ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def summary(checks: Sequence[Check]) -> str:
    """Return the verdict on all checks in words."""
    wrong = [f"{check.claim} {check.loop}" for check in checks if check.verdict != "agrees"]
    if wrong:
        return f"{len(wrong)} of {len(checks)} do not agree with theory: {'; '.join(wrong)}"
    largest = max(abs(check.z) for check in checks)
    return f"all {len(checks)} agree with theory; the largest is {largest:.1f} standard errors off"


def cells(check: Check) -> tuple[str, ...]:
    """Return the line of a check, one text for each of `TITLES`."""
    numbers = [f"{value:.4g}" for value in (check.theory, *check.measured)]
    return (check.claim, check.loop, check.what, *numbers, f"{check.z:+.1f}", check.verdict)
