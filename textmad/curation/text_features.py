"""Texts as numbers for scikit-learn: hashed words and word pairs, weighed by how rare they are,
and where a text lies in the space of an encoder.

Hashing needs no vocabulary, so what was learned from a corpus can be passed on without its words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfTransformer

    from textmad.models.protocol import SupportsEmbedding

Floats = npt.NDArray[np.float64]

NUM_FEATURES = 2**18  # at 60,000 posts as good as 2**20


def hashed_counts(texts: Sequence[str]) -> csr_matrix:
    """How often each word and each pair of neighbours occurs, `(texts, NUM_FEATURES)`.

    Words are runs of letters and digits in one case; a few share a place by their hash.
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(
        n_features=NUM_FEATURES,
        ngram_range=(1, 2),
        token_pattern=r"\w+",
        alternate_sign=False,
        norm=None,
    )
    return hashing.transform(texts)


class Weighing(NamedTuple):
    """Which hashed words are known, and what each counts."""

    columns: npt.NDArray[np.int64]  # of `hashed_counts`
    rarity: Floats  # (columns,): 1 + log(documents / documents with it), smoothed

    def rows(self, counts: csr_matrix) -> csr_matrix:
        """(1 + log count) x rarity of the known words, in rows of length 1."""
        transformer = _unfitted()
        transformer.idf_ = self.rarity
        return transformer.transform(counts[:, self.columns])


def learned_weighing(counts: csr_matrix) -> Weighing:
    """The words that occur, by how rare they are (smoothed and sublinear tf-idf)."""
    columns = np.unique(counts.indices).astype(np.int64)
    return Weighing(columns, _unfitted().fit(counts[:, columns]).idf_)


def _unfitted() -> TfidfTransformer:
    from sklearn.feature_extraction.text import TfidfTransformer

    return TfidfTransformer(sublinear_tf=True)


class Texts(NamedTuple):
    """As far as they are read."""

    counts: csr_matrix  # as of `hashed_counts`
    vectors: Floats | None  # (texts, hidden size) of an encoder

    def take(self, chosen: npt.NDArray[np.bool_]) -> Texts:
        """Those for which `chosen` is true."""
        vectors = None if self.vectors is None else self.vectors[chosen]
        return Texts(self.counts[chosen], vectors)


def read(texts: Sequence[str], encoder: SupportsEmbedding | None = None) -> Texts:
    """Texts as counts and, with an encoder, as vectors.

    The last bits of a vector depend on which texts an encoder reads together, so it reads them in
    an order of their own.
    """
    counts = hashed_counts(texts)
    if encoder is None:
        return Texts(counts, None)
    different, places = np.unique(np.array(texts, dtype=object), return_inverse=True)
    return Texts(counts, np.array(encoder.embed(different.tolist()), np.float64)[places])


class Space(NamedTuple):
    """How an encoder's vectors stand beside words."""

    middle: Floats  # (hidden size,): the mean vector
    spread: Floats  # (hidden size,): standard deviations, times the root of the hidden size

    def rows(self, vectors: Floats) -> Floats:
        """Of mean squared length 1, to which each coordinate gives as much."""
        found: Floats = (vectors - self.middle) / self.spread
        return found


class Features(NamedTuple):
    """Which words are known, and where an encoder's vectors usually lie."""

    weighing: Weighing
    space: Space | None

    def rows(self, texts: Texts) -> csr_matrix:
        """One column a known word, then one a coordinate of the space."""
        from scipy.sparse import csr_matrix, hstack

        words = self.weighing.rows(texts.counts)
        if self.space is None or texts.vectors is None:
            return words
        return hstack([words, csr_matrix(self.space.rows(texts.vectors))], format="csr")


def learned_features(texts: Texts) -> Features:
    """Of the texts to learn from."""
    return Features(
        learned_weighing(texts.counts),
        None if texts.vectors is None else _learned_space(texts.vectors),
    )


def _learned_space(vectors: Floats) -> Space:
    deviations = vectors.std(axis=0)
    # A coordinate that is the same for all but its last bits says nothing.
    moving = deviations > 1e-6 * np.abs(vectors).max()
    return Space(
        vectors.mean(axis=0), np.where(moving, deviations, np.inf) * np.sqrt(vectors.shape[1])
    )


def fit_text_classifier(
    texts: Sequence[str], accepted: Sequence[bool]
) -> Callable[[Sequence[str]], Floats]:
    """Logistic regression on the hashed words: from texts to the probability of acceptance."""
    from sklearn.linear_model import LogisticRegression

    counts = hashed_counts(texts)
    weighing = learned_weighing(counts)
    # Weak shrinkage: a few hundred lessons against rows of length 1.
    model: Any = LogisticRegression(C=10.0, max_iter=1000).fit(
        weighing.rows(counts), np.array(accepted)
    )

    def classify(others: Sequence[str]) -> Floats:
        if not others:
            return np.zeros(0)
        shares = model.predict_proba(weighing.rows(hashed_counts(others)))
        probability: Floats = shares[:, 1]
        return probability

    return classify
