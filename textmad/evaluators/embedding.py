"""Where a generation's text lies in a model's space, beside where human text lies."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from textmad.evaluators.held_out import reference_passages
from textmad.evaluators.protocol import REFERENCES, Measurement, Snapshot, at_least
from textmad.evaluators.references import Rows, measure_compared
from textmad.models.base_files import base_digest, whole_encoder
from textmad.text.passages import Passages

NUM_SAMPLES = 10  # of a reference: clustering takes seconds

NAMES = (
    "mauve",
    *("embedding_precision", "embedding_recall", "embedding_density", "embedding_coverage"),
    "vendi_score",
)


@dataclass(frozen=True)
class Embedding:
    """Measure MAUVE, precision, recall, density, coverage and Vendi score of every compared split.

    A document is the mean of the last hidden states at its tokens, of the base model (which reads
    its prompt first) or of `encoder` (a folder or a Hub id; it reads no prompts). All but the
    Vendi score are compared with held-out human text, of equally many documents: as many as are
    compared, at most `documents` and what is held out. The human text's own values are the
    ceiling: no two samples of it are the same.
    """

    documents: int = 1000
    neighbours: int = 5
    encoder: str | None = None

    def __post_init__(self) -> None:
        at_least("documents", self.documents, 2)
        at_least("neighbours", self.neighbours, 1)

    def sources(self) -> dict[str, str]:
        """Digest of the encoder's files."""
        if self.encoder is None:
            return {}
        return {f"encoder {self.encoder}": base_digest(whole_encoder(self.encoder))}

    def __call__(self, snapshot: Snapshot) -> list[Measurement]:
        """Measure the six metrics of each split."""
        most = min(self.documents, snapshot.num_documents)
        reference = reference_passages(snapshot, most)
        num = len(reference)

        def measure(split: str, rows: Rows) -> list[Measurement]:
            note = self._why_not(snapshot, len(rows[:num]))
            values = dict.fromkeys(NAMES, math.nan)
            if not note:
                is_reference = split in REFERENCES
                passages = snapshot.passages(split)
                passages = passages if is_reference else passages.first(num)
                points = self._points(snapshot, passages, is_reference)[rows[:num]]
                values = self._compare(points, self._points(snapshot, reference, True))
            return [
                Measurement(name, v, n=len(rows[:num]), note=note) for name, v in values.items()
            ]

        return measure_compared(
            snapshot, measure, num_documents=num, num_samples=NUM_SAMPLES, fixed=self
        )

    def _why_not(self, snapshot: Snapshot, num_texts: int) -> str:
        if self.encoder is None and not hasattr(snapshot.base, "embed"):
            return f"the model {snapshot.base.name} has no embed"
        if num_texts <= self.neighbours:
            return f"{num_texts} documents: too few for {self.neighbours} neighbours each"
        return ""

    def _points(self, snapshot: Snapshot, passages: Passages, is_same_all_run: bool) -> Floats:
        """Return the documents' vectors, `(documents, dimensions)`."""

        def embed() -> Floats:
            texts = list(passages.texts)
            if self.encoder is not None:
                vectors = snapshot.open_encoder(self.encoder).embed(texts)
            else:
                model = cast("Any", snapshot.base)  # with or without prompts
                vectors = model.embed(texts, *passages.prompt_arguments())
            return np.array(vectors, dtype=np.float64)

        once = snapshot.once_a_run if is_same_all_run else snapshot.once
        return once(("embedded", self.encoder, passages), embed)

    def _compare(self, points: Floats, reference: Floats) -> dict[str, float]:
        overlap = neighbourhood_overlap(points, reference, self.neighbours)
        values = (mauve(points, reference), *overlap, vendi_score(points))
        return dict(zip(NAMES, values, strict=True))


# --- distances between clouds of points -----------------------------------------------------

Floats = npt.NDArray[np.float64]

_DOCUMENTS_A_BUCKET = 10
_EXPLAINED = 0.9  # of the variance, by the directions in which points are clustered
_STARTS = 5  # of k-means, of which the best counts
_SCALE = 5.0  # c in Pillutla et al.
_SEED = 0  # of k-means alone: the same points have the same value in every run


def mauve(one: Floats, other: Floats) -> float:
    """Compute MAUVE of two clouds of points, in (0, 1]: 1 for equal ones, near 0 for distant ones.

    Pillutla et al. (NeurIPS 2021, 2102.01454): points of length 1 are clustered together, a
    bucket for every ten of the smaller cloud, and `frontier_area` compares the two histograms.
    """
    buckets = max(2, round(min(len(one), len(other)) / _DOCUMENTS_A_BUCKET))
    labels = _clusters(np.vstack([one, other]), buckets)
    counts = [np.bincount(part, minlength=buckets) for part in np.split(labels, [len(one)])]
    return frontier_area(*(count / count.sum() for count in counts))


def _clusters(points: Floats, num: int) -> npt.NDArray[np.int64]:
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import normalize
    from threadpoolctl import threadpool_limits

    # Several threads would add up the centres in an order that differs from call to call.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Number of distinct clusters")  # repeated texts
        pca = PCA(random_state=_SEED)
        turned = pca.fit_transform(normalize(points))
        explained = np.cumsum(pca.explained_variance_ratio_)
        num_dimensions = int(np.argmax(explained >= _EXPLAINED)) + 1
        means = KMeans(num, n_init=_STARTS, max_iter=500, random_state=_SEED)
        labels: npt.NDArray[np.int64] = means.fit_predict(turned[:, :num_dimensions])
    return labels.astype(np.int64)


def frontier_area(p: Floats, q: Floats) -> float:
    """Compute the area under the divergence curve of two histograms, in (0, 1].

    The curve runs through (exp(-c KL(q, r)), exp(-c KL(p, r))) for the mixtures r of p and q and
    the corners (1, 0) and (0, 1), with 25 mixtures and c = 5, as in the reference code.

    >>> round(frontier_area(np.array([0.5, 0.5]), np.array([0.5, 0.5])), 9)
    1.0
    """
    from scipy.integrate import trapezoid
    from scipy.special import rel_entr

    weights = np.linspace(1e-6, 1 - 1e-6, 25)[:, None]
    mixed = weights * p + (1 - weights) * q
    nats = np.stack([rel_entr(q, mixed).sum(1), rel_entr(p, mixed).sum(1)])
    x, y = np.exp(-_SCALE * np.pad(nats, ((0, 0), (1, 1)), constant_values=np.inf))
    x[0] = y[-1] = 1.0
    return float(trapezoid(y[::-1], x[::-1]) + trapezoid(x, y)) / 2


class Overlap(NamedTuple):
    """How much of a cloud of points lies in a reference, and the reverse."""

    precision: float  # share of the cloud inside the reference's neighbourhoods
    recall: float  # share of the reference inside the cloud's neighbourhoods
    density: float  # neighbourhoods of the reference around a point of the cloud, by those expected
    coverage: float  # share of the reference's neighbourhoods that hold a point of the cloud


def neighbourhood_overlap(points: Floats, reference: Floats, neighbours: int) -> Overlap:
    """Compute precision, recall (Kynkäänniemi et al., 1904.06991), density and coverage.

    The last two are of Naeem et al. (2002.09797). The neighbourhood of a point is the ball that
    ends short of its `neighbours`-th nearest of its own cloud.
    """
    from scipy.spatial.distance import cdist

    def radii(cloud: Floats) -> Floats:  # place 0 is the point itself
        reach: Floats = np.partition(cdist(cloud, cloud), neighbours, axis=1)[:, neighbours]
        return reach

    distances = cdist(reference, points)
    inside = distances < radii(reference)[:, None]
    return Overlap(
        precision=float(inside.any(axis=0).mean()),
        recall=float((distances < radii(points)).any(axis=1).mean()),
        density=float(inside.sum(axis=0).mean() / neighbours),
        coverage=float(inside.any(axis=1).mean()),
    )


def vendi_score(points: Floats) -> float:
    """Compute the effective number of different points: 1 if all are alike, up to their number.

    The exponential of the entropy of the eigenvalues of the cosines' matrix by its size
    (Friedman and Dieng, 2210.02410).

    >>> round(vendi_score(np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 3.0]])), 4)  # 1/3 and 2/3
    1.8899
    """
    from scipy.special import entr
    from sklearn.preprocessing import normalize

    unit = normalize(points)
    # Cosines between points and covariance between dimensions have the same eigenvalues but 0.
    product = unit @ unit.T if len(unit) <= unit.shape[1] else unit.T @ unit
    shares = np.linalg.eigvalsh(product).clip(0) / len(unit)
    return float(np.exp(entr(shares).sum()))
