"""How well a generation's text can be told from human text, and whether that becomes harder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from textmad.detection import Floats, Known, Method, Models, auc, first_by_hash, human_likeness
from textmad.evaluators.protocol import Measurement, Snapshot
from textmad.text.documents import ids_of

if TYPE_CHECKING:
    from textmad.models.protocol import SupportsTokenMoments

    pass


@dataclass(frozen=True)
class Detection:
    """AUC of drawn and of kept text against as much human text, by method.

    The human text is training text of the run that this generation's model has not learned. The
    method `trained` learns from the very texts that it tells apart, always from others than it
    judges. Human text against human text would be 0.5; below it, model text looks more human
    than human text does.
    """

    methods: tuple[Method, ...] = ("curvature",)

    def __post_init__(self) -> None:
        if not self.methods:
            raise ValueError("methods: expected at least one")
        for index, method in enumerate(self.methods):
            if method in self.methods[:index]:
                raise ValueError(f"methods: {method}: is given twice; delete one")

    def __call__(self, snapshot: Snapshot) -> list[Measurement]:
        """Measure each method on each split."""
        human = _human_text_not_learned(snapshot)
        found = []
        for method in self.methods:
            found.append(Measurement("detection_auc", 0.5, "human", method, note="by definition"))
            for split in ("drawn", "kept"):
                texts = snapshot.compared(split)
                why_not = _why_not(snapshot, method, split, texts, human)
                value = math.nan if why_not else _auc(snapshot, method, human, texts)
                n = 0 if why_not else len(human) + len(texts)
                found.append(Measurement("detection_auc", value, split, method, n, why_not))
        return found


def _human_text_not_learned(snapshot: Snapshot) -> list[str]:
    learned = frozenset(ids_of(snapshot.training))
    return first_by_hash(snapshot.human, snapshot.num_documents, learned)


def _why_not(
    snapshot: Snapshot, method: Method, split: str, texts: Sequence[str], human: Sequence[str]
) -> str:
    if not texts:
        return f"too few {split} documents"
    if len(human) < len(texts):
        return "too little human training text that the model has not learned"
    asked = {"curvature": "token_moments", "cross_perplexity": "cross_entropy"}.get(method)
    if asked and not hasattr(snapshot.base, asked):
        return f"the model {snapshot.base.name} has no {asked}"
    return ""


def _auc(snapshot: Snapshot, method: Method, human: Sequence[str], texts: Sequence[str]) -> float:
    """Computed once where nothing was rejected, so that the kept texts are the drawn ones."""
    model, base = (cast("SupportsTokenMoments", m) for m in (snapshot.model, snapshot.base))
    models = Models(  # not before they are asked: `trained` goes without
        lambda some: base.token_moments(some),
        snapshot.model.token_nll,
        lambda some: model.cross_entropy(some, snapshot.base),
    )

    def likeness(some: Sequence[str]) -> Floats:
        return human_likeness(method, some, models)

    def compute() -> float:
        if method == "trained":
            both = human_likeness(method, [*human, *texts], models, Known(human, texts))
            return auc(both[: len(human)], both[len(human) :])
        key = ("human likeness", method, tuple(human))
        # Under the base alone the same texts look the same in every generation.
        once = snapshot.once_a_run if method == "curvature" else snapshot.once
        return auc(once(key, lambda: likeness(human)), likeness(texts))

    return snapshot.once(("detection_auc", method, tuple(texts)), compute)
