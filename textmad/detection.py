"""Three methods that detect model text, as functions of texts and of models' scores.

Whatever the method, a higher value means more like a human's. `detector` drops or resamples by
it, `detection` measures how well it tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from textmad.errors import CurationError
from textmad.text.documents import content_id, ids_of, take
from textmad.text.passages import Passages

if TYPE_CHECKING:
    from datasets import Dataset

    from textmad.models.protocol import TokenMoments

Floats = npt.NDArray[np.float64]
Method = Literal["curvature", "cross_perplexity", "trained"]

_FOLDS = 5
_FEATURES = 2**18  # of words, and as many of characters


class Known(NamedTuple):
    """Texts whose origin is known."""

    human: Sequence[str]
    model: Sequence[str]


class Models(NamedTuple):
    """The models' methods that the zero-shot methods call; see `curation.protocol.Context`.

    Each takes texts, and where there are prompts, these behind them.
    """

    base_token_moments: Callable[..., TokenMoments]
    token_nll: Callable[..., list[Floats]]
    cross_entropy: Callable[..., list[Floats]]


def human_likeness(
    method: Method, passages: Passages, models: Models, known: Known | None = None
) -> Floats:
    """Compute how much like a human's each text looks, `(passages,)`, in the method's own unit.

    Args:
        method: `curvature`: Fast-DetectGPT's, negated, under the run's base. `cross_perplexity`:
            Binoculars', with the base model as observer and the latest fitted model as performer.
            `trained`: log odds by a classifier that has learned from `known` only.
        passages: the same passage gets the same value, whatever the others and their order. The
            zero-shot methods read its prompt first, and leave out the end token of a text that
            was cut; `trained` reads the text alone.
        models: not asked by `trained`.
        known: asked for by `trained` alone.

    Raises:
        CurationError: too few known texts to learn from.
    """
    # In an order of their own: batches then hold the same texts, and round the same way.
    distinct = sorted(set(passages.rows()))
    one_of_each = Passages.of_rows(distinct)
    texts, prompts = list(one_of_each.texts), one_of_each.prompt_arguments()
    written = one_of_each.without_unwritten_ends
    values: Floats
    match method:
        case "curvature":
            values = -curvature(*map(written, models.base_token_moments(texts, *prompts)))
        case "cross_perplexity":
            values = cross_perplexity(
                written(models.token_nll(texts, *prompts)),
                written(models.cross_entropy(texts, *prompts)),
            )
        case "trained":
            values = learned_log_odds(texts, known or Known([], []))
    index = {row: i for i, row in enumerate(distinct)}
    return values[np.array([index[row] for row in passages.rows()], dtype=np.int64)]


def curvature(
    nll: Sequence[Floats], entropy: Sequence[Floats], variance: Sequence[Floats]
) -> Floats:
    """Compute the conditional probability curvature of each text.

    (log p(x) - sum_t E[log p]) / sqrt(sum_t Var[log p]), the moments over the model's whole
    distribution of each token, so the sampler is the scorer. About a standard normal variable
    for text drawn from the model itself; lower, as a rule, for human text. 0 where nothing is
    uncertain. Source: Bao et al., "Fast-DetectGPT" (2310.05130), in its analytic form.

    >>> curvature([np.array([1.0, 2.0])], [np.array([3.0, 4.0])], [np.array([2.0, 2.0])]).tolist()
    [2.0]
    """
    above = np.array([(e - n).sum() for n, e in zip(nll, entropy, strict=True)], dtype=np.float64)
    spread = np.sqrt(np.array([v.sum() for v in variance], dtype=np.float64))
    return np.divide(above, spread, out=np.zeros_like(above), where=spread > 0)


def cross_perplexity(nll: Sequence[Floats], cross_entropy: Sequence[Floats]) -> Floats:
    """Compute log perplexity / log cross-perplexity of two models for each text, above 0.

    How surprising the text is to the performer, by how surprising to it is what the observer
    would have written there. Source: Hans et al., "Spotting LLMs with Binoculars" (2401.12070);
    which model is which as in their code: both logarithms are the performer's.

    >>> cross_perplexity([np.array([1.0, 2.0])], [np.array([2.0, 4.0])]).tolist()
    [0.5]
    """
    pairs = zip(nll, cross_entropy, strict=True)
    return np.array([n.sum() / c.sum() for n, c in pairs], dtype=np.float64)


def learned_log_odds(texts: Sequence[str], known: Known) -> Floats:
    """Compute the log odds that each text is human, by classifiers that have not learned from it.

    Logistic regression on hashed words and word pairs and 2 to 4 characters. Of five
    classifiers each has learned from the known texts outside its fold, and judges those in it; a
    text's fold is that of its content hash, so no copy of it has been learned either.

    Raises:
        CurationError: what is known does not suffice for every fold.
    """
    from sklearn.linear_model import LogisticRegression

    examples = [*sorted(known.human), *sorted(known.model)]
    is_human = np.arange(len(examples)) < len(known.human)
    folds, asked = _folds(examples), _folds(texts)
    learned_from, asked_of = _features(examples), _features(texts)
    values = np.zeros(len(texts))
    for fold in np.unique(asked):
        others = folds != fold
        if len(np.unique(is_human[others])) < 2:
            raise CurationError(
                f"method: trained: {len(known.human)} human and {len(known.model)} model texts "
                "are known, too few to learn from; draw more (sample.min_tokens), or choose "
                "another method"
            )
        # The dual form is exact, and many times faster on sparse texts; its order is its seed's.
        classifier = LogisticRegression(C=10.0, solver="liblinear", dual=True, random_state=0)
        classifier.fit(learned_from[others], is_human[others])
        values[asked == fold] = classifier.decision_function(asked_of[asked == fold])
    return values


def model_log_odds(likeness: Floats, human: Floats, model: Floats) -> Floats:
    """Compute calibrated log odds that texts are a model's, at even prior odds.

    Platt's logistic fit ("Probabilistic outputs for support vector machines", 1999) of origin on
    likeness, over texts of known origin.

    Args:
        likeness: of the texts, `(texts,)`.
        human: likeness of known human texts.
        model: of known model texts.
    """
    from sklearn.linear_model import LogisticRegression

    both = np.concatenate([human, model])
    centre, spread = both.mean(), both.std() or 1.0
    is_model = np.arange(len(both)) >= len(human)
    fit = LogisticRegression(class_weight="balanced")
    fit.fit((both - centre)[:, None] / spread, is_model)
    odds: Floats = (likeness - centre) / spread * fit.coef_[0, 0] + fit.intercept_[0]
    return odds


def auc(human: Floats, model: Floats) -> float:
    """Compute the probability that a human text has a higher value than a model text.

    1: told apart, 0.5: not at all; equal values count one half. That is the area under the ROC
    curve (Hanley and McNeil, Radiology 143, 1982).

    >>> auc(np.array([2.0, 3.0]), np.array([1.0, 2.0]))
    0.875
    """
    from scipy.stats import mannwhitneyu

    won = mannwhitneyu(human, model, method="asymptotic").statistic
    return float(won / (len(human) * len(model)))


def first_by_hash(
    corpus: Dataset, num_documents: int, without: frozenset[str] = frozenset()
) -> list[str]:
    """Return texts of at most `num_documents` documents, in an order fixed by their ids.

    Of a corpus on disk only they are read. `without` are ids that are passed over.
    """
    keys = np.fromiter((int(content_id(name), 16) for name in ids_of(corpus)), np.uint64)
    rows = np.argsort(keys, kind="stable")[: num_documents + len(without)]
    chosen = take(corpus.select_columns(["id", "text"]), rows)
    named = zip(chosen["id"][:], chosen["text"][:], strict=True)
    return [text for name, text in named if name not in without][:num_documents]


def _folds(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    return np.array([int(content_id(text), 16) % _FOLDS for text in texts], dtype=np.int64)


def _features(texts: Sequence[str]) -> Any:
    """Sparse `(texts, features)`."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import HashingVectorizer

    words = HashingVectorizer(
        lowercase=False, ngram_range=(1, 2), token_pattern=r"\S+", n_features=_FEATURES
    )
    pieces = HashingVectorizer(
        lowercase=False, ngram_range=(2, 4), analyzer="char_wb", n_features=_FEATURES
    )
    if not len(texts):
        return csr_matrix((0, 2 * _FEATURES))
    return hstack([words.transform(texts), pieces.transform(texts)], format="csr")
