"""A Gaussian at each position of a document, refitted by its mean and variance.

Source: Alemohammad et al., "Self-consuming generative models go MAD" (2307.01850), section 3, and
the Gaussian of Shumailov et al. (2305.17493). Their sampling bias lambda, which draws from
N(mean, lambda variance), is the temperature of the recipe: N^(1/T), normalised, is just that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from textmad.errors import ModelError
from textmad.models.toy.independent_positions import IndependentPositionModel, Values

Floats = npt.NDArray[np.float64]

_DIGITS = 9  # significant ones of a number as text; what is cut is far below any sampling error


class Gaussian(IndependentPositionModel):
    """Numbers as words, normal at each position; the standard normal before anything is learned.

    The variance is the unbiased one, divided by documents - 1, so that it neither grows nor shrinks
    on average when a model learns from its own draws. The loss is the density's, in nats: below 0
    where the density is above 1.

    >>> from textmad.text.documents import documents
    >>> from textmad.recipe import ModelSettings, TrainSettings
    >>> base = Gaussian(ModelSettings(base="gaussian"))
    >>> corpus = documents({"text": ["1.5", "2.5", "3.5"]})
    >>> model = base.fit(corpus, TrainSettings(), seed=0).model
    >>> model.mean.tolist(), model.variance.tolist()
    ([2.5], [1.0])

    Learned are:
        mean: `(positions,)`.
        variance: `(positions,)` above 0.
    """

    name = "gaussian"
    vocabulary_size = 2  # numbers are too many for an id each: every number is 1, the end 0

    def read(self, words: Sequence[str]) -> Values:
        """The numbers."""
        try:
            values = np.fromiter(map(float, words), np.float64, len(words))
        except ValueError as error:
            raise ModelError(
                f"gaussian: {error}: expected numbers, such as 0.25, with white space between "
                "them; use another base model for such text"
            ) from None
        if not np.isfinite(values).all():
            raise ModelError("gaussian: nan or inf among the numbers: expected finite ones")
        return values

    def written(self, values: Values) -> str:
        """The numbers to nine digits."""
        return " ".join([f"%.{_DIGITS}g"] * len(values)) % tuple(values.tolist())

    def ids(self, values: Values) -> npt.NDArray[np.int32]:
        """1 for each number."""
        return np.ones(len(values), np.int32)

    # --- what is learned --------------------------------------------------------------------

    def learn(self, values: Values) -> dict[str, npt.NDArray[Any]]:
        """Mean and variance."""
        variance = values.var(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])
        if not variance.all():
            raise ModelError(
                f"gaussian: word {int(np.argmin(variance)) + 1} is the same in all {len(values)} "
                "documents to learn from, so there is no variance; give more documents"
            )
        return {"mean": values.mean(axis=0), "variance": variance}

    @property
    def num_positions(self) -> int | None:
        """Words of a document."""
        return None if self.learned is None else len(self.mean)

    @property
    def mean(self) -> Floats:
        """Of each position."""
        return self._parameter("mean")

    @property
    def variance(self) -> Floats:
        """Of each position."""
        return self._parameter("variance")

    def nll(self, values: Values) -> Floats:
        """-log of the density at each number."""
        if self.learned is None:
            mean, variance = np.zeros(len(values)), np.ones(len(values))
        else:
            mean, variance = self.mean[: len(values)], self.variance[: len(values)]
        nats: Floats = (np.log(2 * math.pi * variance) + (values - mean) ** 2 / variance) / 2
        return nats

    def is_mode(self, values: Values) -> npt.NDArray[np.bool_]:
        """Whether each number is the mean to the last bit, which a drawn one never is."""
        mean = np.zeros(len(values)) if self.learned is None else self.mean[: len(values)]
        return np.asarray(values == mean)

    # --- sampling ---------------------------------------------------------------------------

    def noise(self, rng: np.random.Generator, num_positions: int) -> Floats:
        """Standard normal numbers."""
        return rng.standard_normal(num_positions)

    def sampler(self, temperature: float) -> Callable[[Floats], Values]:
        """Draws from N(mean, temperature * variance)."""
        scale = np.sqrt(temperature * self.variance)
        return lambda noise: self.mean + scale * noise
