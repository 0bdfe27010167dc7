"""Texts as numbers for scikit-learn: hashed words and word pairs, weighed by how rare they are.

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
