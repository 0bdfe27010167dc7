"""How numbers, intervals and references are written in tables and sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from textmad.statistics.inference import Interval

if TYPE_CHECKING:
    from textmad.analysis.series import Reference

ARROWS = {"lower": "↓", "higher": "↑", "human": "≈", "none": "·"}
MISSING = "–"


def show_number(value: float | None) -> str:
    """Return a number with the digits that matter.

    >>> [show_number(value) for value in (1234.5, 70.128, 0.2703, 0.09617, 0.0, None)]
    ['1,234', '70.13', '0.270', '0.0962', '0', '–']
    """
    if value is None:
        return MISSING
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    digits = max(0, 3 - magnitude) if magnitude >= 0 else min(4, 2 - magnitude)
    return show_rounded(value, digits)


def show_signed(change: float) -> str:
    """Return a change in the metric's own unit, with its sign.

    >>> show_signed(0.42), show_signed(-24.1)
    ('+0.420', '−24.10')
    """
    return ("+" if change > 0 else "") + show_number(change)


def show_rounded(value: float, digits: int) -> str:
    """Return a number at a given number of decimals, with a minus sign.

    >>> show_rounded(-1.25, 1), show_rounded(-0.01, 1)
    ('−1.2', '0.0')
    """
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", "−")


def show_percent(share: float) -> str:
    """Return a signed share in percent, with one decimal below 10 %.

    >>> show_percent(0.29), show_percent(-0.004)
    ('+29 %', '−0.4 %')
    """
    return f"{100 * share:+.{0 if abs(share) >= 0.0995 else 1}f} %".replace("-", "−")


def show_reference(reference: Reference | None, between: str = "[{low}, {high}]") -> str:
    """Return a reference's value with its interval where it is known.

    >>> from textmad.analysis.series import Reference
    >>> show_reference(Reference(0.731, 0.72, 0.742)), show_reference(Reference(0.731))
    ('0.731 [0.720, 0.742]', '0.731')
    """
    if reference is None:
        return MISSING
    if math.isnan(reference.half_width):
        return show_number(reference.value)
    low, high = show_number(reference.low), show_number(reference.high)
    return f"{show_number(reference.value)} {between.format(low=low, high=high)}"


def show_value(interval: Interval | None) -> str:
    """Return a mean ± half of its interval, to two digits of the latter.

    >>> show_value(Interval(97.871, 96.375, 99.367, 3))
    '97.9 ± 1.5'
    """
    if interval is None:
        return MISSING
    digits = _digits(interval)
    if digits is None:
        return show_number(interval.estimate)
    return (
        f"{show_rounded(interval.estimate, digits)} ± {show_rounded(interval.half_width, digits)}"
    )


def show_difference(interval: Interval, between: str = "[{low}, {high}]") -> str:
    """Return a signed mean and its interval, to two digits of half its width.

    >>> show_difference(Interval(28.333, 24.12, 32.56, 3))
    '+28.3 [+24.1, +32.6]'
    """
    digits = _digits(interval)
    if digits is None:
        return show_signed(interval.estimate)
    estimate, low, high = (
        ("+" if bound > 0 else "") + show_rounded(bound, digits) for bound in interval[:3]
    )
    return f"{estimate} {between.format(low=low, high=high)}"


def show_p(p: float) -> str:
    """Return a p value; below 0.001 its digits say nothing.

    >>> [show_p(p) for p in (0.0002, 0.0412, 0.25, 1.0, float("nan"))]
    ['<0.001', '0.041', '0.25', '1', '–']
    """
    if math.isnan(p):
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.2g}"


def _digits(interval: Interval) -> int | None:
    """Decimals, four at most, that show two digits of the half width; None where all are 0."""
    if not round(interval.half_width, 4) > 0:
        return None
    return min(4, max(0, 1 - math.floor(math.log10(interval.half_width))))
