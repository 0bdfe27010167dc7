"""Texts as features for scikit-learn: hashed words and word pairs with tf-idf weights, and an
encoder's vectors.

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
    """Return how often each word and each pair of neighbours occurs, `(texts, NUM_FEATURES)`.

    Words are runs of letters and digits in lower case; a few share a column by their hash.
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
    """The columns of hashed words that are used, and the weight of each."""

    columns: npt.NDArray[np.int64]  # of `hashed_counts`
    rarity: Floats  # (columns,): 1 + log(documents / documents with it), smoothed

    def rows(self, counts: csr_matrix) -> csr_matrix:
        """(1 + log count) x rarity of the known words, in rows of length 1."""
        transformer = _unfitted()
        transformer.idf_ = self.rarity
        return transformer.transform(counts[:, self.columns])


def fit_weighing(counts: csr_matrix) -> Weighing:
    """Fit smoothed, sublinear tf-idf weights to the words that occur."""
    columns = np.unique(counts.indices).astype(np.int64)
    return Weighing(columns, _unfitted().fit(counts[:, columns]).idf_)


def _unfitted() -> TfidfTransformer:
    from sklearn.feature_extraction.text import TfidfTransformer

    return TfidfTransformer(sublinear_tf=True)


class Texts(NamedTuple):
    """Texts as counts of words and, with an encoder, as vectors."""

    counts: csr_matrix  # as of `hashed_counts`
    vectors: Floats | None  # (texts, hidden size) of an encoder

    def take(self, chosen: npt.NDArray[np.bool_]) -> Texts:
        """Return the texts for which `chosen` is true, `(texts,)`."""
        vectors = None if self.vectors is None else self.vectors[chosen]
        return Texts(self.counts[chosen], vectors)


def read_texts(texts: Sequence[str], encoder: SupportsEmbedding | None = None) -> Texts:
    """Return texts as counts of words and, with an encoder, as vectors.

    The last bits of a vector depend on which texts an encoder reads together, so it reads the
    different ones in sorted order.
    """
    counts = hashed_counts(texts)
    if encoder is None:
        return Texts(counts, None)
    different, rows = np.unique(np.array(texts, dtype=object), return_inverse=True)
    return Texts(counts, np.array(encoder.embed(different.tolist()), np.float64)[rows])


class Space(NamedTuple):
    """How an encoder's vectors are scaled, beside the features of words."""

    middle: Floats  # (hidden size,): the mean vector
    spread: Floats  # (hidden size,): standard deviations, times the root of the hidden size

    def rows(self, vectors: Floats) -> Floats:
        """Return scaled vectors of mean squared length 1, each coordinate of the same variance."""
        scaled: Floats = (vectors - self.middle) / self.spread
        return scaled


class Features(NamedTuple):
    """How texts become features, fitted to some texts."""

    weighing: Weighing
    space: Space | None

    def rows(self, texts: Texts) -> csr_matrix:
        """Return a row for each text: one column a word, then one a coordinate of the vector."""
        from scipy.sparse import csr_matrix, hstack

        words = self.weighing.rows(texts.counts)
        if self.space is None or texts.vectors is None:
            return words
        return hstack([words, csr_matrix(self.space.rows(texts.vectors))], format="csr")


def fit_features(texts: Texts) -> Features:
    """Fit features to the texts to learn from."""
    return Features(
        fit_weighing(texts.counts),
        None if texts.vectors is None else _fit_space(texts.vectors),
    )


def _fit_space(vectors: Floats) -> Space:
    deviations = vectors.std(axis=0)
    # A coordinate that varies only in its last bits carries no information.
    varies = deviations > 1e-6 * np.abs(vectors).max()
    return Space(
        vectors.mean(axis=0), np.where(varies, deviations, np.inf) * np.sqrt(vectors.shape[1])
    )


def fit_text_classifier(
    texts: Sequence[str], accepted: Sequence[bool]
) -> Callable[[Sequence[str]], Floats]:
    """Fit logistic regression on the hashed words; return the classifier.

    It takes texts and returns the probability that each is accepted, `(texts,)`.
    """
    from sklearn.linear_model import LogisticRegression

    counts = hashed_counts(texts)
    weighing = fit_weighing(counts)
    # Weak regularisation: a few hundred examples, with rows of length 1.
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
