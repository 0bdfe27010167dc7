"""How well a generation's text can be told from human text, and whether that becomes harder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from textmad.detection import Floats, Known, Method, Models, auc, first_by_hash, human_likeness
from textmad.evaluators.protocol import REFERENCES, Measurement, Snapshot
from textmad.evaluators.references import Rows, compared_passages, measure_compared
from textmad.text.documents import ids_of
from textmad.text.passages import Passages

if TYPE_CHECKING:
    from textmad.models.protocol import SupportsTokenMoments

_NEEDED = {"curvature": "token_moments", "cross_perplexity": "cross_entropy"}
_NUM_SAMPLES = {"trained": 8}  # of a reference, where a classifier is trained on each


@dataclass(frozen=True)
class Detection:
    """Measure the AUC of every compared split against as much human text, by method.

    The human text is of the human training pool, and this generation's model has not learned it,
    prompted and cut as drawn text is. The method `trained` learns from the very texts that it
    tells apart, always from others than it judges. Other human text has about 0.5; below it, model
    text looks more human than human text does.
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
        return [m for method in self.methods for m in _of_method(snapshot, method, human)]


def _human_text_not_learned(snapshot: Snapshot) -> Passages:
    learned = frozenset(ids_of(snapshot.training))
    # Some may be too short for a prompt.
    texts = first_by_hash(snapshot.human, 4 * snapshot.num_documents, learned)
    return snapshot.as_sampled(texts).first(snapshot.num_documents)


def _of_method(snapshot: Snapshot, method: Method, human: Passages) -> list[Measurement]:
    num = snapshot.num_documents
    why_not = ""
    if len(human) < num:
        why_not = "too little of the human training pool is new to the model"
    elif method in _NEEDED and not hasattr(snapshot.base, _NEEDED[method]):
        why_not = f"the model {snapshot.base.name} has no {_NEEDED[method]}"

    def measure(split: str, rows: Rows) -> list[Measurement]:
        note = why_not if len(rows) else "no documents"
        if note:
            return [Measurement("detection_auc", math.nan, bin=method, note=note)]
        passages = compared_passages(snapshot, split)
        value = _auc(snapshot, method, human, passages, rows[:num], split)
        return [Measurement("detection_auc", value, bin=method, n=2 * num)]

    # Under the generation's own model human text looks different in every generation.
    fixed = None if method == "cross_perplexity" else (method, human)
    num_samples = _NUM_SAMPLES.get(method)
    if num_samples is None:
        return measure_compared(snapshot, measure, fixed=fixed)
    return measure_compared(snapshot, measure, fixed=fixed, num_samples=num_samples)


def _auc(
    snapshot: Snapshot, method: Method, human: Passages, passages: Passages, rows: Rows, split: str
) -> float:
    """Compute the AUC of human text against the passages at `rows`."""
    model, base = (cast("SupportsTokenMoments", m) for m in (snapshot.model, snapshot.base))
    models = Models(  # not before they are asked: `trained` goes without
        lambda *some: base.token_moments(*some),
        snapshot.model.token_nll,
        lambda texts, *prompts: model.cross_entropy(texts, snapshot.base, *prompts),
    )

    def likeness(some: Passages, is_same_all_run: bool) -> Floats:
        # Under the base model alone the same texts look the same in every generation.
        once = snapshot.once_a_run if is_same_all_run and method == "curvature" else snapshot.once
        key = ("human likeness", method, some)
        return once(key, lambda: human_likeness(method, some, models))

    if method != "trained":
        own = likeness(passages, split in REFERENCES)
        return auc(likeness(human, True), own[rows])

    def learn() -> float:
        texts = passages.take(rows)
        known = Known(human.texts, texts.texts)
        both = human_likeness(method, human + texts, models, known)
        return auc(both[: len(human)], both[len(human) :])

    # Where nothing was rejected the kept texts are the drawn ones.
    return snapshot.once(("trained", human, passages, tuple(rows)), learn)
