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
from textmad.models.parents import checked_parents
from textmad.models.protocol import LanguageModel
from textmad.models.toy.independent_positions import IndependentPositionModel, Values
from textmad.recipe import ModelSettings

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_ROUNDING = 1e-9  # of weights that add up to 1


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
        counts: `(counted,)` at least 1; of a crossing, above 0 and not always whole.
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
        shares: Floats = counts.reshape(-1, self.categories) / self._totals[:, None]
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
        totals = self._totals[: len(values)]
        nats: Floats = np.log(totals + self.smoothing * self.categories) - logs
        return nats

    @cached_property
    def _totals(self) -> npt.NDArray[Any]:
        """Documents learned from, at each position; those of a crossing are not always whole."""
        return np.asarray(np.add.reduceat(self.counts, self._starts[:-1]))

    def is_mode(self, values: Values) -> npt.NDArray[np.bool_]:
        """Whether each word has the highest count, of several the lowest number; w0 before any."""
        if self.learned is None:
            return np.asarray(values == 0)
        positions = np.repeat(np.arange(len(self.support)), self.support)
        order = np.lexsort((self._cells, -self.counts, positions))
        modes = self._parameter("words")[order[self._starts[:-1]]]
        return np.asarray(values == modes[: len(values)])

    # --- crossing ---------------------------------------------------------------------------

    def crossed(
        self,
        parents: Sequence[LanguageModel],
        weights: Sequence[float],
        *,
        choose_layers: np.random.Generator | None = None,
    ) -> Categorical:
        """Return the mixture of the parents' distributions, p(v) = sum_i w_i p_i(v).

        With `choose_layers` each position comes whole from one parent, drawn with chances
        proportional to the weights: positions are independent loci, inherited independently.

        The mixture is kept as real-valued counts. With n_i documents of parent i, s the smoothing
        and K the categories, p_i(v) = (c_i(v) + s) / (n_i + s K). Let H be the weighted harmonic
        mean of n_i + s K, 1 / H = sum_i w_i / (n_i + s K). Then c(v) = H sum_i w_i c_i(v) /
        (n_i + s K) gives (c(v) + s) / H = sum_i w_i p_i(v). So words that no parent counted are not
        stored.

        >>> from textmad.text.documents import documents
        >>> from textmad.recipe import TrainSettings
        >>> base = Categorical(ModelSettings(base="categorical", categories=3))
        >>> one, two = (
        ...     base.fit(documents({"text": texts}), TrainSettings(), seed=0).model
        ...     for texts in (["w0"], ["w1", "w2"])
        ... )
        >>> child = base.crossed([one, two], [0.5, 0.5])
        >>> [float(np.exp(-child.token_nll([word])[0][0]).round(3)) for word in ("w0", "w1")]
        [0.5, 0.25]

        Args:
            parents: of as many positions as each other; a model that has learned nothing gives all
                words the same chance.
            weights: one a parent, at least 0; they add up to 1 unless `choose_layers` is given.
            choose_layers: draws the parent of each position.

        Raises:
            ModelError: the parents or weights cannot be crossed (`checked_parents`), documents of
                the parents differ in length, or weights are no shares of a mixture.
        """
        models = checked_parents(self, parents, weights, by_layer=choose_layers is not None)
        shares = np.asarray(weights, np.float64)  # (parents,)
        if choose_layers is None and (shares.min() < 0 or abs(shares.sum() - 1) > _ROUNDING):
            raise ModelError(
                f"crossed: {self.name}: weights {', '.join(f'{weight:g}' for weight in weights)}: "
                "a mixture of distributions takes weights of at least 0 that add up to 1"
            )
        lengths = {len(model.support) for model in models if model.learned is not None}
        if len(lengths) > 1:
            raise ModelError(
                f"crossed: {self.name}: the parents' documents have {min(lengths)} and "
                f"{max(lengths)} words; expected as many in each"
            )
        if not lengths:
            return self
        (num_positions,) = lengths
        size = (len(models), num_positions)
        if choose_layers is None:
            by_position = np.broadcast_to(shares[:, None], size)
        else:
            drawn = choose_layers.choice(len(models), size=num_positions, p=shares / shares.sum())
            by_position = (drawn == np.arange(len(models))[:, None]).astype(np.float64)
        return Categorical(self.settings, self._mixture(models, by_position))

    def _mixture(
        self, models: Sequence[Categorical], shares: Floats
    ) -> dict[str, npt.NDArray[Any]]:
        """Return the counts of a mixture with other shares, `(models, positions)`, by position."""
        num_positions = shares.shape[1]
        cells: list[Ints] = []
        masses: list[Floats] = []
        inverse_mean = np.zeros(num_positions)
        for model, share in zip(models, shares, strict=True):
            if model.learned is None:  # every word once
                cells.append(np.arange(num_positions * self.categories))
                counts = np.ones(len(cells[-1]), np.int64)
                totals = np.full(num_positions, self.categories)
            else:
                cells.append(model._cells)
                counts, totals = model.counts, model._totals
            weight = share / (totals + self.smoothing * self.categories)  # (positions,)
            inverse_mean += weight
            masses.append(counts * weight[cells[-1] // self.categories])
        # Words of several parents add up; those of parents without a share are left out.
        all_cells, word_of_mass = np.unique(np.concatenate(cells), return_inverse=True)
        mass = np.bincount(word_of_mass, np.concatenate(masses))  # (words,)
        all_cells, mass = all_cells[mass > 0], mass[mass > 0]
        positions = all_cells // self.categories
        return {
            "starts": np.searchsorted(all_cells, np.arange(num_positions + 1) * self.categories),
            "words": all_cells % self.categories,
            "counts": mass / inverse_mean[positions],
        }

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
