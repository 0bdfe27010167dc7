"""A categorical distribution at each position of a document: the model whose collapse is known.

Fitting is counting. A generation refitted on n draws of the one before is the neutral model of
population genetics (Wright and Fisher), and what is not drawn is gone for good.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from textmad.errors import ModelError
from textmad.models.toy.independent_positions import IndependentPositionModel, Values
from textmad.recipe import ModelSettings

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Categorical(IndependentPositionModel):
    """Words `w0` to `w<categories - 1>`, each with its share of what was learned from.

    p(v) = (count of v + smoothing) / (documents + smoothing * categories) at each position. Without
    smoothing a word that was not learned from has probability 0 and costs infinite nats. Before
    anything is learned all words are equally likely.

    >>> from textmad.text.documents import documents
    >>> from textmad.recipe import TrainSettings
    >>> corpus = documents({"text": ["w0 w1", "w0 w2"]})
    >>> base = Categorical(ModelSettings(base="categorical", categories=3))
    >>> model = base.fit(corpus, TrainSettings(), seed=0).model
    >>> model.token_nll(["w0 w2"])[0].round(3).tolist()
    [0.0, 0.693, 0.0]

    Learned are the words that were counted, position by position:
        starts: `(positions + 1,)` where each position's words begin.
        words: `(counted,)` ascending at each position.
        counts: `(counted,)` at least 1.
    """

    name = "categorical"

    def __init__(
        self, settings: ModelSettings, learned: dict[str, npt.NDArray[Any]] | None = None
    ) -> None:
        super().__init__(settings, learned)
        self.categories, self.smoothing = settings.categories, settings.smoothing
        self.vocabulary_size = self.categories + 1

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {f"w{number}": number for number in range(self.categories)}

    def read(self, words: Sequence[str]) -> Values:
        """The words' numbers."""
        try:
            return np.fromiter(map(self._numbers.__getitem__, words), np.int64, len(words))
        except KeyError as error:
            raise ModelError(
                f"categorical: {error}: expected words w0 to w{self.categories - 1}; raise "
                "model.categories, or use another base model for such text"
            ) from None

    def written(self, values: Values) -> str:
        """The words of these numbers."""
        return "w" + " w".join(map(str, values.tolist()))

    def ids(self, values: Values) -> npt.NDArray[np.int32]:
        """One more than the words' numbers."""
        return (values + 1).astype(np.int32)

    # --- what is learned --------------------------------------------------------------------

    def learn(self, values: Values) -> dict[str, npt.NDArray[Any]]:
        """Count."""
        num_positions = values.shape[1]
        cells, counts = np.unique(values + self._first_cells(num_positions), return_counts=True)
        starts = np.searchsorted(cells, np.arange(num_positions + 1) * self.categories)
        return {"starts": starts, "words": cells % self.categories, "counts": counts}

    def _first_cells(self, num_positions: int) -> Ints:
        """Words at positions in one numbering: where each position's begins."""
        return np.arange(num_positions, dtype=np.int64) * self.categories

    @property
    def num_positions(self) -> int | None:
        """Words of a document."""
        return None if self.learned is None else len(self._starts) - 1

    @property
    def _starts(self) -> Ints:
        return self._parameter("starts")

    @property
    def counts(self) -> Ints:
        """Of the words that were counted, position by position."""
        return self._parameter("counts")

    @cached_property
    def _cells(self) -> Ints:
        """The words that were counted, in one numbering, ascending."""
        cells: Ints = self._parameter("words") + np.repeat(
            self._first_cells(len(self.support)), self.support
        )
        return cells

    @property
    def support(self) -> Ints:
        """How many words were counted at each position, `(positions,)`."""
        return np.diff(self._starts)

    @property
    def squared_shares(self) -> Floats:
        """Return the sum of p^2 at each position without smoothing, `(positions,)`.

        It is the chance that two draws agree: 1 where one word is left, 1 / categories where
        all are equally likely.
        """
        total = np.add.reduceat(self.counts, self._starts[:-1])
        squares: Floats = np.add.reduceat(self.counts**2, self._starts[:-1]) / total**2
        return squares

    @property
    def shares(self) -> Floats:
        """Return p of each word at each position without smoothing, `(positions, categories)`."""
        counts = np.zeros(len(self.support) * self.categories)
        counts[self._cells] = self.counts
        shares: Floats = counts.reshape(-1, self.categories) / self._total
        return shares

    def nll(self, values: Values) -> Floats:
        """-log p of each word."""
        if self.learned is None:
            return np.full(len(values), np.log(self.categories))
        cells = values + self._first_cells(len(values))
        at = np.minimum(np.searchsorted(self._cells, cells), len(self._cells) - 1)
        counted = np.where(self._cells[at] == cells, self.counts[at], 0)
        with np.errstate(divide="ignore"):  # of 0: infinite
            logs = np.log(counted + self.smoothing)
        nats: Floats = np.log(self._total + self.smoothing * self.categories) - logs
        return nats

    @property
    def _total(self) -> int:
        """Documents learned from."""
        return int(self.counts[: self._starts[1]].sum())

    def is_mode(self, values: Values) -> npt.NDArray[np.bool_]:
        """Whether each word has the highest count, of several the lowest number; w0 before any."""
        if self.learned is None:
            return np.asarray(values == 0)
        positions = np.repeat(np.arange(len(self.support)), self.support)
        order = np.lexsort((self._cells, -self.counts, positions))
        modes = self._parameter("words")[order[self._starts[:-1]]]
        return np.asarray(values == modes[: len(values)])

    # --- sampling ---------------------------------------------------------------------------

    def noise(self, rng: np.random.Generator, num_positions: int) -> Floats:
        """Uniform numbers."""
        return rng.random(num_positions)

    def sampler(self, temperature: float) -> Callable[[Floats], Values]:
        """Invert each position's cumulated weights, (count + smoothing)^(1 / temperature).

        What all words have alike, smoothing^(1 / temperature), stands behind the counted words'
        own, spread evenly.
        """
        # Relative to the largest, so that a high power of a count does not overflow.
        largest = float(self.counts.max()) + self.smoothing
        alike = (self.smoothing / largest) ** (1 / temperature)
        ends = np.cumsum(((self.counts + self.smoothing) / largest) ** (1 / temperature) - alike)
        first, last = self._starts[:-1], self._starts[1:] - 1
        begin = np.concatenate([[0.0], ends])[first]
        own = ends[last] - begin

        def draw(noise: Floats) -> Values:
            mass = noise * (own + alike * self.categories)
            positions = np.clip(np.searchsorted(ends, begin + mass, side="right"), first, last)
            drawn: Ints = self._parameter("words")[positions]
            if alike:
                evenly = np.clip((mass - own) / alike, 0, self.categories - 1).astype(np.int64)
                drawn = np.where(mass >= own, evenly, drawn)
            return drawn

        return draw
