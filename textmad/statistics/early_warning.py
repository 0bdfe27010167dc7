"""Early warning: the first generation at which an arm is shown to go wrong, and by which signal.

One alarm for several signals and all generations, with one false-alarm rate for all of them. At
each generation every signal's differences to the control of the same seed are averaged over the
generations so far, and the t statistic of these means over seeds is the signal's evidence. The
generation may spend an equal part of the rate: its boundary is the evidence that the strongest of
all signals would reach so often were there no effect, had no boundary been reached before.

How often that is depends on how signals and generations hang together, which no table knows. But
if there is no effect and the seeds' differences are normal, any rotation of the seeds is as likely
as what was measured, whatever their covariance (Langsrud 2005, the rotation test). So boundaries
are read off random rotations, exactly and without a correction for many questions; and those of a
generation depend on no later one. With a single signal and generation it is the t test.
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
_ROTATIONS = 20_000  # their error of a boundary that 1 % reach: 0.07 % reach it more, or less


class Alarm(NamedTuple):
    """What fired when.

    `fired` is each signal's generation, None where it never reached a boundary; `evidence` each
    signal's t by generation, above 0 towards harm; `boundaries` by generation. `ended`: of a signal
    that was not watched to the end the first generation in which a seed lacks a number.
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
        """The generation of the alarm; None where there was none."""
        return min((g for g in self.fired.values() if g is not None), default=None)

    @property
    def signals(self) -> list[str]:
        """Those that fired in that generation, the strongest first."""
        if self.first is None:
            return []
        place = self.generations.index(self.first)
        together = [name for name, fired in self.fired.items() if fired == self.first]
        return sorted(together, key=lambda name: -self.evidence[name][place])


def early_warning(
    generations: Sequence[int],
    differences: Mapping[str, ArrayLike],
    harm: Mapping[str, Harm] | None = None,
    rate: float = RATE,
    *,
    rotations: int = _ROTATIONS,
    seed: int = 0,
) -> Alarm:
    """The first generation at which an arm differs from the control, on the side of harm.

    >>> worse = [[0.1, 1.0, 2.1], [-0.2, 1.1, 1.9], [0.0, 0.8, 2.2], [0.1, 1.2, 2.0]]
    >>> found = early_warning([1, 2, 3], {"rare_loss": worse}, {"rare_loss": "above"})
    >>> found.first, found.signals
    (2, ['rare_loss'])

    A signal is watched up to the first generation in which a seed has no finite number: what it
    said until then stands. Where all seeds agree to the last digit, as coarse signals of two seeds
    may, there is no spread to judge by, and that is no evidence.

    Args:
        generations: (generations,), ascending, those in which the arms could differ.
        differences: each signal's (seeds, generations), arm less control of the same seed.
        harm: the side on which a signal's difference is harm; "either" where it is not named.
        rate: of false alarms, over all signals and generations together.
        rotations: how many are drawn.
        seed: of the rotations.

    Raises:
        ValueError: fewer than two seeds, signals of different shape or without a number in the
            first generation, a harm of no signal, a rate that is no share, or generations that
            do not ascend.
    """
    names, sides = list(differences), dict(harm or {})
    _check_settings(generations, names, sides, rate)
    values, missing = _checked(generations, differences)
    for place, name in enumerate(names):
        if sides.get(name) == "below":
            values[place] *= -1
    two_sided = np.array([sides.get(name, "either") == "either" for name in names])
    so_far = np.arange(1, len(generations) + 1)
    means = np.where(missing[:, None], 0.0, values.cumsum(axis=2) / so_far)
    boundaries, evidence = _watched(
        means, two_sided, rate, _rotated(values.shape[1], rotations, seed)
    )
    reached = evidence >= boundaries  # (signals, generations)
    return Alarm(
        generations=tuple(generations),
        fired={
            name: int(generations[row.argmax()]) if row.any() else None
            for name, row in zip(names, reached, strict=True)
        },
        evidence={name: tuple(map(float, row)) for name, row in zip(names, evidence, strict=True)},
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
    generations: Sequence[int], names: Sequence[str], sides: Mapping[str, str], rate: float
) -> None:
    if not 0 < rate < 1:
        raise ValueError(f"rate: {rate:g}: expected a share between 0 and 1, such as 0.05")
    if any(later <= sooner for sooner, later in pairwise(generations)):
        raise ValueError(f"generations: {list(generations)}: expected ascending numbers")
    for name, side in sides.items():
        if name not in names:
            raise ValueError(f"harm: {name}: is no signal; there are {', '.join(names)}")
        if side not in get_args(Harm):
            raise ValueError(f"harm: {name}: {side}: expected above, below or either")


def _checked(
    generations: Sequence[int], differences: Mapping[str, ArrayLike]
) -> tuple[Values, NDArray[np.bool_]]:
    """Differences (signals, seeds, generations), and where they are watched no more.

    That is from the first generation on in which a seed lacks a number, (signals, generations).
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


def _rotated(num_seeds: int, rotations: int, seed: int) -> Values:
    """(rotations, seeds): where random rotations take the direction that all seeds have in common.

    Of a rotation of the seeds t depends on that alone.
    """
    drawn = np.random.default_rng(seed).normal(size=(rotations, num_seeds))
    found: Values = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return found


def _watched(
    means: Values, two_sided: NDArray[np.bool_], rate: float, rotations: Values
) -> tuple[Values, Values]:
    """Boundaries (generations,) and evidence (signals, generations).

    `means` is (signals, seeds, generations), `rotations` (rotations, seeds).
    """
    num_signals, num_seeds, num_generations = means.shape
    common = np.full((1, num_seeds), 1 / math.sqrt(num_seeds))
    boundaries = np.full(num_generations, math.inf)
    evidence = np.zeros((num_signals, num_generations))
    calm = np.ones(len(rotations), bool)  # those in which no boundary has been reached yet
    for generation in range(num_generations):
        now = means[:, :, generation]
        evidence[:, generation] = _evidence(common, now, two_sided)[0]
        strongest = _evidence(rotations, now, two_sided).max(axis=1)
        spent = len(calm) - int(calm.sum())
        may_fire = round(rate * (generation + 1) / num_generations * len(calm)) - spent
        if may_fire > 0:
            boundary = np.partition(strongest[calm], -may_fire)[-may_fire]
            if boundary > 0:  # at 0 no signal has moved in any seed
                boundaries[generation] = boundary
                calm &= strongest < boundary
    return boundaries, evidence


def _evidence(directions: Values, now: Values, two_sided: NDArray[np.bool_]) -> Values:
    """Each signal's t along each direction, (directions, signals); 0 without any spread."""
    along, length = directions @ now.T, (now**2).sum(axis=1)
    across = length - along**2
    spread = across > 1e-12 * length  # what rounding leaves is none
    ratio = np.divide(along**2, across, out=np.zeros_like(along), where=spread)
    t = np.sign(along) * np.sqrt(ratio * (now.shape[1] - 1))
    found: Values = np.where(two_sided, np.abs(t), t)
    return found
