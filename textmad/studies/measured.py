"""Whether the evaluators of a recipe measure a metric that a study asks for."""

from __future__ import annotations

from collections.abc import Sequence

from textmad.evaluators.metrics import MEASURED
from textmad.recipe.validation_errors import suggestion


def unmeasured(path: str, asked: str, evaluators: Sequence[str], where: str) -> list[str]:
    """Return why none of the evaluators measures a metric; empty where one does or may.

    Args:
        path: of the setting, which opens the message.
        asked: METRIC/SPLIT or METRIC/SPLIT/BIN.
        evaluators: the names in the recipe. What a user's own measures is not known.
        where: closes the message, such as " in voted".
    """
    if not set(evaluators) <= MEASURED.keys():
        return []
    metric, split, *_ = asked.split("/")
    by = [name for name, measured in MEASURED.items() if metric in dict(measured)]
    if not by:
        hint = suggestion(metric, [name for pairs in MEASURED.values() for name, _ in pairs])
        return [f"{path}: {metric}: is measured by no built-in evaluator{hint}"]
    pairs = {pair for name in by if name in evaluators for pair in MEASURED[name]}
    splits = sorted(on for name, on in pairs if name == metric)
    if not splits:
        return [
            f"{path}: {metric}: is measured by {' or '.join(by)}, which is not in "
            f"evaluate{where}; add it"
        ]
    if split not in splits:
        return [f"{path}: {asked}: {metric} is measured on {', '.join(splits)}{where}"]
    return []
