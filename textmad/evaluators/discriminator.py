"""How far the discriminator agrees with the crowd, on votes that it has not learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from textmad.detection import auc
from textmad.evaluators.protocol import Measurement, Snapshot
from textmad.text.documents import as_table


@dataclass(frozen=True)
class Discriminator:
    """Measure the agreement with the crowd on the documents of the check.

    The agreement may fall from generation to generation, since the classifier learns from a few
    votes on text that changes. NaN where no filter `discriminator` judged, or its `check` is empty
    or of one kind.
    """

    def __call__(self, snapshot: Snapshot) -> list[Measurement]:
        """Measure the candidates' columns."""
        table = as_table(snapshot.candidates)
        known = "lessons" in table.column_names
        lessons = table["lessons"].drop_null().to_pylist() if known else []
        if not lessons:
            names = ("agreement", "kappa", "auc", "both", "lessons")
            why = "no filter discriminator"
            return [_measurement(name, np.nan, 0, why) for name in names]
        asked = np.array(table["check_accepts"].fill_null(0).to_numpy())  # null: it saw it not
        rows = np.flatnonzero(asked)
        crowd = asked[rows] > 0
        judged = table.take(rows)
        accepts = np.array(judged["discriminator_accepts"].to_pylist(), dtype=bool)
        probability = np.array(judged["accept_probability"].to_pylist(), dtype=np.float64)
        why = "" if len(rows) else "no votes to check with: lower budget, or raise check"
        one = why or ("" if 0 < crowd.mean() < 1 else "the crowd accepts all of the check or none")
        num = len(rows)
        return [
            _measurement("agreement", _share(crowd == accepts), num, why),
            _measurement("kappa", np.nan if one else _kappa(crowd, accepts), num, one),
            _measurement(
                "auc", np.nan if one else auc(probability[crowd], probability[~crowd]), num, one
            ),
            _measurement("both", _share(crowd & accepts), num, why),
            _measurement("lessons", lessons[0], len(lessons), ""),
        ]


def _share(values: npt.NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _kappa(crowd: npt.NDArray[np.bool_], accepts: npt.NDArray[np.bool_]) -> float:
    """Agreement beyond chance (Cohen, Educational and Psychological Measurement 20, 1960)."""
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(crowd, accepts))


def _measurement(name: str, value: float, num: int, note: str) -> Measurement:
    return Measurement(f"discriminator_{name}", value, split="drawn", n=num, note=note)
