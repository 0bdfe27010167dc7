"""Early warning: the first generation at which harm beyond a tolerance is supported.

One alarm for several signals and all generations, with one false-alarm rate for all of them. The
null hypothesis is that no signal's mean difference to the control is worse than its tolerance, in
any generation; with a tolerance of 0 it is that nothing is worse than the control at all. At each
generation a signal's differences less the tolerance are averaged over the generations so far, and
the t statistic of these means over seeds is the signal's evidence. Each of G generations may spend
a G-th of the rate: its boundary is the evidence that the strongest of all signals would reach so
often under the null, given that no earlier boundary was reached.

That probability depends on how signals and generations are correlated, which is not known. But if
the seeds' differences are normal with mean 0, every rotation of the seeds is as likely as what was
measured, whatever the covariance (Langsrud 2005, the rotation test). So random rotations give the
boundaries without a correction for the number of signals; and the boundaries of a generation depend
on no later one. With a single signal and generation it is the t test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values: TypeAlias = NDArray[np.float64]
Harm: TypeAlias = Literal["above", "below", "either"]

RATE = 0.05
# A boundary that 1 % of 20,000 rotations reach has a standard error of 0.07 %.
_ROTATIONS = 20_000


class Alarm(NamedTuple):
    """The generation at which each signal fired, and what that rests on.

    `fired` is each signal's generation, None where it never reached a boundary. `evidence` is each
    signal's t by generation, above 0 for harm beyond the tolerance. `boundaries` is by generation.
    `ended` is the first generation in which a seed has no number, of signals that have one.
    """

    generations: tuple[int, ...]
    fired: Mapping[str, int | None]
    evidence: Mapping[str, tuple[float, ...]]
    boundaries: tuple[float, ...]
    rate: float
    n: int  # seeds
    ended: Mapping[str, int]

    @property
    def first(self) -> int | None:
        """Return the generation of the alarm; None where there was none."""
        return min((g for g in self.fired.values() if g is not None), default=None)

    @property
    def signals(self) -> list[str]:
        """Return the signals that fired in that generation, the strongest first."""
        if self.first is None:
            return []
        position = self.generations.index(self.first)
        together = [name for name, fired in self.fired.items() if fired == self.first]
        return sorted(together, key=lambda name: -self.evidence[name][position])


def early_warning(
    generations: Sequence[int],
    differences: Mapping[str, ArrayLike],
    harm: Mapping[str, Harm] | None = None,
    rate: float = RATE,
    *,
    tolerances: Mapping[str, ArrayLike] | None = None,
    rotations: int = _ROTATIONS,
    seed: int = 0,
) -> Alarm:
    """Return when harm beyond the tolerance is first supported, and by which signal.

    >>> worse = [[0.1, 1.0, 2.1], [-0.2, 1.1, 1.9], [0.0, 0.8, 2.2], [0.1, 1.2, 2.0]]
    >>> alarm = early_warning([1, 2, 3], {"rare_loss": worse}, {"rare_loss": "above"})
    >>> alarm.first, alarm.signals
    (2, ['rare_loss'])
    >>> early_warning(
    ...     [1, 2, 3], {"rare_loss": worse}, {"rare_loss": "above"}, tolerances={"rare_loss": 0.5}
    ... ).first
    3

    A signal is watched up to the first generation in which a seed has no finite number; an alarm
    that it raised before stands. Where all seeds agree to the last digit, as coarse signals of two
    seeds may, there is no spread to judge by, and that is no evidence.

    Args:
        generations: (generations,), ascending, those in which the arms could differ.
        differences: each signal's (seeds, generations), arm less control of the same seed.
        harm: the side on which a signal's difference is harm; "either" where it is not named.
        rate: of false alarms, over all signals and generations together.
        tolerances: how large a difference on the side of harm may be without an alarm, in the
            signal's unit, at least 0; broadcast to (seeds, generations). 0 where it is not named.
        rotations: how many are drawn.
        seed: of the rotations.

    Raises:
        ValueError: fewer than two seeds, signals of different shape or without a number in the
            first generation, harm or a tolerance of no signal, a rate that is not between 0 and 1,
            or generations that do not ascend.
    """
    names, sides, allowed = list(differences), dict(harm or {}), dict(tolerances or {})
    _check_settings(generations, names, sides, allowed, rate)
    values, missing = _checked(generations, differences)
    # One hypothesis for each side that harms: the difference towards harm less the tolerance.
    signs = {"above": (1,), "below": (-1,), "either": (1, -1)}
    hypotheses = [
        (position, sign)
        for position, name in enumerate(names)
        for sign in signs[sides.get(name, "either")]
    ]
    beyond = np.stack(
        [
            sign * values[position] - np.asarray(allowed.get(names[position], 0.0), dtype=float)
            for position, sign in hypotheses
        ]
    )  # (hypotheses, seeds, generations)
    of = np.array([position for position, _ in hypotheses])
    so_far = np.arange(1, len(generations) + 1)
    means = np.where(missing[of][:, None], 0.0, beyond.cumsum(axis=2) / so_far)
    boundaries, evidence = _boundaries(means, rate, _rotations(values.shape[1], rotations, seed))
    by_signal = np.stack([evidence[of == position].max(axis=0) for position in range(len(names))])
    reached = by_signal >= boundaries  # (signals, generations)
    return Alarm(
        generations=tuple(generations),
        fired={
            name: int(generations[row.argmax()]) if row.any() else None
            for name, row in zip(names, reached, strict=True)
        },
        evidence={name: tuple(map(float, row)) for name, row in zip(names, by_signal, strict=True)},
        boundaries=tuple(map(float, boundaries)),
        rate=rate,
        n=values.shape[1],
        ended={
            name: int(generations[row.argmax()])
            for name, row in zip(names, missing, strict=True)
            if row.any()
        },
    )


def _check_settings(
    generations: Sequence[int],
    names: Sequence[str],
    sides: Mapping[str, str],
    tolerances: Mapping[str, ArrayLike],
    rate: float,
) -> None:
    if not 0 < rate < 1:
        raise ValueError(f"rate: {rate:g}: expected a share between 0 and 1, such as 0.05")
    if any(later <= sooner for sooner, later in pairwise(generations)):
        raise ValueError(f"generations: {list(generations)}: expected ascending numbers")
    for setting, given in (("harm", sides), ("tolerances", tolerances)):
        for name in given:
            if name not in names:
                raise ValueError(f"{setting}: {name}: is no signal; there are {', '.join(names)}")
    for name, side in sides.items():
        if side not in get_args(Harm):
            raise ValueError(f"harm: {name}: {side}: expected above, below or either")
    for name, tolerance in tolerances.items():
        if (np.asarray(tolerance, dtype=float) < 0).any():
            raise ValueError(f"tolerances: {name}: {tolerance!r}: expected 0 or more")


def _checked(
    generations: Sequence[int], differences: Mapping[str, ArrayLike]
) -> tuple[Values, NDArray[np.bool_]]:
    """Return differences (signals, seeds, generations), and from where they are not watched.

    The second, (signals, generations), is true from the first generation without a seed's number.
    """
    arrays = [np.array(each, dtype=float) for each in differences.values()]
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1 or any(len(s) != 2 or s[0] < 2 or s[1] != len(generations) for s in shapes):
        raise ValueError(
            f"signals of shape {sorted(shapes)} over {len(generations)} generations: expected "
            "(seeds, generations) in all of them, of at least two seeds"
        )
    values = np.stack(arrays)
    missing = np.logical_or.accumulate(~np.isfinite(values).all(axis=1), axis=1)
    for name, row in zip(differences, missing, strict=True):
        if row[0]:
            raise ValueError(
                f"{name}: a seed has no finite number in generation {generations[0]}: leave that "
                "signal or seed out"
            )
    return np.where(missing[:, None], 0.0, values), missing


def _rotations(num_seeds: int, rotations: int, seed: int) -> Values:
    """(rotations, seeds): where random rotations take the direction that all seeds have in common.

    The t statistic of a rotation of the seeds depends on that direction alone.
    """
    drawn = np.random.default_rng(seed).normal(size=(rotations, num_seeds))
    directions: Values = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return directions


def _boundaries(means: Values, rate: float, rotations: Values) -> tuple[Values, Values]:
    """Boundaries (generations,) and evidence (hypotheses, generations).

    `means` is (hypotheses, seeds, generations), `rotations` (rotations, seeds).
    """
    num_hypotheses, num_seeds, num_generations = means.shape
    common = np.full((1, num_seeds), 1 / math.sqrt(num_seeds))
    boundaries = np.full(num_generations, math.inf)
    evidence = np.zeros((num_hypotheses, num_generations))
    quiet = np.ones(len(rotations), bool)  # rotations that have reached no boundary yet
    for generation in range(num_generations):
        now = means[:, :, generation]
        evidence[:, generation] = _t_along(common, now)[0]
        strongest = _t_along(rotations, now).max(axis=1)
        num_fired = len(quiet) - int(quiet.sum())
        may_fire = round(rate * (generation + 1) / num_generations * len(quiet)) - num_fired
        if may_fire > 0:
            boundary = np.partition(strongest[quiet], -may_fire)[-may_fire]
            if boundary > 0:  # at 0 no signal has moved in any seed
                boundaries[generation] = boundary
                quiet &= strongest < boundary
    return boundaries, evidence


def _t_along(directions: Values, now: Values) -> Values:
    """Each hypothesis's t along each direction, (directions, hypotheses); 0 without any spread.

    Args:
        directions: (directions, seeds), unit vectors.
        now: (hypotheses, seeds).
    """
    along, length = directions @ now.T, (now**2).sum(axis=1)
    across = length - along**2
    spread = across > 1e-12 * length  # what rounding leaves is no spread
    ratio = np.divide(along**2, across, out=np.zeros_like(along), where=spread)
    t: Values = np.sign(along) * np.sqrt(ratio * (now.shape[1] - 1))
    return t
