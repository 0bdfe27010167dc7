"""How well crawl filters told human text from model text; they do not see the origin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from textmad.detection import auc
from textmad.evaluators.protocol import Measurement, Snapshot
from textmad.text.documents import HUMAN, MODEL, SCORE_OF, as_table

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CrawlFilterAccuracy:
    """Compare the crawl filters' verdicts with the true origin of what was crawled.

    In a generation that crawls nothing every value is NaN.
    """

    def __call__(self, snapshot: Snapshot) -> list[Measurement]:
        """Measure the columns of the crawl."""
        table = as_table(snapshot.crawled)
        columns = {name: table[name].to_numpy() for name in table.column_names}
        origin = columns.get("true_origin", np.zeros(0, dtype=object))
        is_human, is_model = origin == HUMAN, origin == MODEL
        everything = np.ones(len(origin), dtype=bool)
        kept = columns.get("kept", everything).astype(bool)
        tokens = columns["tokens"].astype(np.float64)
        scores = {
            name.removeprefix(SCORE_OF): column.astype(np.float64)
            for name, column in columns.items()
            if name.startswith(SCORE_OF)
        }
        return [
            *_aucs(scores, kept, is_human),
            _share("model_share", "crawled", is_model, everything, tokens),
            _share("model_share", "kept", is_model, kept, tokens),
            _share("false_rejections", "crawled", ~kept, is_human, everything),
            _share("misses", "crawled", kept, is_model, everything),
        ]


def _aucs(scores: dict[str, Floats], kept: Bools, is_human: Bools) -> Iterator[Measurement]:
    """Measure each crawl filter on the documents that the filters before it had kept."""
    seen = [~np.isnan(score) for score in scores.values()]
    for index, (name, score) in enumerate(scores.items()):
        passed = seen[index + 1] if index + 1 < len(seen) else kept
        taken, left = score[seen[index] & passed], score[seen[index] & ~passed]
        # A score has a direction of its own: it is turned so that what is kept is above the rest.
        sign = -1 if len(taken) and len(left) and auc(taken, left) < 0.5 else 1
        human, model = sign * score[seen[index] & is_human], sign * score[seen[index] & ~is_human]
        if len(human) and len(model):
            yield Measurement(
                "guard_auc", auc(human, model), "crawled", name, int(seen[index].sum())
            )
        else:
            yield _missing("guard_auc", "crawled", name)
    if not scores:
        yield _missing("guard_auc", "crawled")


def _share(
    metric: str, split: str, which: Bools, among: Bools, weights: npt.NDArray[Any]
) -> Measurement:
    """Measure the share of `which` in the weight of the documents `among`."""
    of = float(weights[among].sum())
    if not of:
        return _missing(metric, split)
    return Measurement(metric, float(weights[which & among].sum()) / of, split, n=int(among.sum()))


def _missing(metric: str, split: str, bin_: str = "") -> Measurement:
    note = "no such documents: nothing was crawled, by no crawl filter or of one origin only"
    return Measurement(metric, np.nan, split, bin_, note=note)
