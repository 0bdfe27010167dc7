"""What happened to a run, in a few sentences with their numbers.

Text can go wrong in two ways. Without selection it drifts towards noise: less likely under the base
model than human text, with more rare tokens and new word pairs, and
held-out perplexity rises. With selection it narrows: all three fall below human text, and every
document still looks fine. So a verdict needs both directions and a ladder of references: held-out
human text with the interval of such texts, and the base model's own samples. Both are prompted, cut
and scored as the sampled text is. Only what lies outside these intervals is called above or below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal, TypeAlias

from textmad.analysis.series import Series, series
from textmad.evaluators.metrics import NOTICEABLE
from textmad.report.numbers import show_number, show_percent, show_reference, show_signed

if TYPE_CHECKING:
    import pandas as pd

Outcome = Literal["noise", "narrowing", "worse", "better", "nothing", "unknown"]
Position: TypeAlias = Literal["above", "below", "human", "base", "between", "unmoved"]

CAUTION = (
    "One run is one seed: compare it with a control over several seeds before you believe a small "
    "change."
)


@dataclass(frozen=True)
class Verdict:
    """The outcome in one word, and the sentences that carry its numbers."""

    outcome: Outcome
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.sentences)


def verdict(metrics: pd.DataFrame) -> Verdict:
    """Judge the last generation of a run by its references and by generation 0.

    Args:
        metrics: a run's table, as `Run.metrics` returns it. What was not measured is not guessed.
    """
    last = int(metrics["generation"].max()) if len(metrics) else -1
    if last < 1:
        measured = "No generation" if last < 0 else "Only generation 0"
        return Verdict("unknown", (f"{measured} is measured: there is nothing to compare yet.",))
    perplexity = series(metrics, "perplexity", "held_out")
    texts = [series(metrics, metric, "drawn") for metric in _NAMES]
    measured_texts = [text for text in texts if text.first is not None and text.last is not None]
    positions = {text.metric: position(text, len(measured_texts)) for text in measured_texts}
    outcome = _outcome(perplexity.relative_change, {p for p in positions.values() if p})
    about_model = [_perplexity(metrics, perplexity), _tokens(metrics)]
    placed = [_placed(text, positions[text.metric]) for text in measured_texts]
    absent = [f"{_NAMES[t.metric]}{_why(t)}" for t in texts if t.metric not in positions]
    if perplexity.relative_change is None:
        absent.append(f"held-out perplexity{_why(perplexity)}")
    sentences = [
        f"From generation 0 to {last}, {'; '.join(filter(None, about_model))}."
        if any(about_model)
        else "",
        ": ".join(filter(None, [_OPENING[outcome], "; ".join(placed)])) + ".",
        _NO_INTERVAL if None in positions.values() else "",
        _WEAK if outcome == "nothing" and _hardly_learns(metrics, perplexity) else "",
        f"Not measured: {', '.join(absent)}." if absent else "",
        CAUTION,
    ]
    return Verdict(outcome, tuple(filter(None, sentences)))


def position(text: Series, questions: int = 1) -> Position | None:
    """Return where the last generation's text stands on the ladder of references.

    - "human": inside the interval of held-out human text;
    - "base": outside, but not told apart from the base model's own samples;
    - "between": outside, but nearer to human text than the base model's own samples;
    - "unmoved": outside, but not told apart from generation 0;
    - "above" or "below": outside, and on that side of the base model's samples and generation 0;
    - None: no value, or no interval.

    Two samples of one model differ by sqrt(2) times what one differs from its mean, so samples
    count as equal up to sqrt(2) times the half width of the human interval, unless the base model's
    samples have an interval of their own.

    Args:
        text: sampled text of one metric.
        questions: how many metrics are judged together; intervals are widened for as many
            (Bonferroni), since of three 95 % intervals one misses in one run of seven.
    """
    if text.first is None or text.last is None or text.human is None:
        return None
    widen = _widening(questions)
    side = text.human.side(text.last, widen)
    if side is None or side == "inside":
        return "human" if side else None
    reach = math.sqrt(2) * text.human.half_width * widen
    sign = 1 if side == "above" else -1
    if text.base is not None:
        own = text.base.half_width * widen
        beyond = sign * (text.last - text.base.value)
        apart = reach if math.isnan(own) else own
        if beyond <= apart:
            return "base" if beyond >= -apart else "between"
    return "unmoved" if sign * (text.last - text.first) <= reach else side


def _widening(questions: int) -> float:
    """How much wider one of several 95 % intervals is so that all hold together at 95 %."""
    return NormalDist().inv_cdf(1 - 0.025 / max(questions, 1)) / NormalDist().inv_cdf(0.975)


_WEAK = (
    "In no generation does held-out perplexity differ from that of the base model by "
    f"{NOTICEABLE:.0%}: "
    "training this weak may not show collapse on any data; raise train.learning_rate, train.epochs "
    "or model.lora.rank, or measure it with the evaluator adapter."
).replace("%", " %")

_NO_INTERVAL = (
    "This run has no interval of its human reference, so no text is called above or below it; "
    "measure it again with this version of textmad."
)

_NAMES = {
    "distinct_2": "distinct-2",
    "rare_rate": "rare-token rate",
    "base_perplexity": "perplexity under the base model",
}
_OPENING: dict[Outcome, str] = {
    "noise": "Sampled text drifted towards noise, above human text",
    "narrowing": "Sampled text narrowed, below human text",
    "worse": "The model predicts held-out human text worse, without clear noise or clear narrowing",
    "better": "The model predicts held-out human text better",
    "nothing": "No change of note",
    "unknown": "What was measured supports no outcome",
}


def _outcome(perplexity: float | None, positions: set[Position]) -> Outcome:
    """From the relative change of held-out perplexity and the positions of sampled text."""
    worse = perplexity is not None and perplexity >= NOTICEABLE
    if positions >= {"above", "below"}:
        return "worse" if worse else "unknown"
    if "below" in positions:
        return "narrowing"
    if worse:
        return "noise" if "above" in positions else "worse"
    if perplexity is None or not positions:
        return "unknown"
    return "better" if perplexity <= -NOTICEABLE else "nothing"


def _hardly_learns(metrics: pd.DataFrame, perplexity: Series) -> bool:
    """Whether all models stay where the base model is, as with a small adapter."""
    base = series(metrics, "base_perplexity", "held_out").values
    both = perplexity.values.keys() & base.keys()
    return bool(both) and all(
        abs(perplexity.values[g] / base[g] - 1) < NOTICEABLE for g in both if base[g]
    )


def _perplexity(metrics: pd.DataFrame, held_out: Series) -> str:
    share = held_out.relative_change
    if share is None:
        return ""
    base = series(metrics, "base_perplexity", "held_out").values
    beside = f"; the base model itself: {show_number(next(iter(base.values())))}" if base else ""
    return (
        f"held-out perplexity went from {show_number(held_out.first)} to "
        f"{show_number(held_out.last)} ({show_percent(share)}{beside})"
    )


def _tokens(metrics: pd.DataFrame) -> str:
    rare, common = (series(metrics, f"{kind}_loss", "held_out") for kind in ("rare", "common"))
    if rare.change is None or common.change is None:
        return ""
    return (
        f"the loss on rare tokens changed by {show_signed(rare.change)} nats, "
        f"that of common tokens by {show_signed(common.change)}"
    )


_PLACES: dict[Position, str] = {
    "above": "above human text",
    "below": "below human text",
    "human": "as human text",
    "base": "as the base model's own samples",
    "between": "between human text and the base model's own samples",
    "unmoved": "as in generation 0",
}


def _placed(text: Series, position: Position | None) -> str:
    beside = [f"human {show_reference(text.human, 'in {low} to {high}')}"] if text.human else []
    beside += [f"base {show_number(text.base.value)}"] if text.base else []
    place = f", {_PLACES[position]}" if position else ""
    within = "; ".join(beside) or "human text not measured"
    return (
        f"{_NAMES[text.metric]} went from {show_number(text.first)} to {show_number(text.last)}"
        f"{place} ({within})"
    )


def _why(each: Series) -> str:
    reasons = list(dict.fromkeys(each.notes.values()))
    return f" ({'; '.join(reasons)})" if reasons else ""
