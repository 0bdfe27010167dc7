"""What happened to a run, in two or three sentences with their numbers.

There are two ways to go mad. Unselected text drifts into noise: it becomes stranger to the base
model than human text is, rare words and new word pairs may come to exceed human text, and held-out
perplexity rises. Selected text narrows: all three fall below human text, and every document still
looks fine. A verdict therefore needs both directions and the human reference; perplexity alone, or
distinct-n alone, would call one of the two healthy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from textmad.analysis.series import Series, series
from textmad.evaluators.metrics import NOTICEABLE, noticeable
from textmad.report.tables import show_number, show_percent, show_signed

if TYPE_CHECKING:
    import pandas as pd

Outcome = Literal["noise", "narrowing", "worse", "better", "nothing", "unknown"]

CAUTION = (
    "One run is one seed: these figures carry no interval, so hold them against a control and "
    "other seeds before believing a small change."
)


@dataclass(frozen=True)
class Verdict:
    """The outcome in one word, and the sentences that carry its numbers."""

    outcome: Outcome
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.sentences)


def verdict(metrics: pd.DataFrame) -> Verdict:
    """Judge the last generation against generation 0 and against human text.

    `metrics` is a run's tidy table. What was not measured is said, and never guessed.
    """
    last = int(metrics["generation"].max()) if len(metrics) else -1
    if last < 1:
        found = "No generation" if last < 0 else "Only generation 0"
        return Verdict("unknown", (f"{found} is measured: there is nothing to compare yet.",))
    perplexity = series(metrics, "perplexity", "held_out")
    texts = {metric: series(metrics, metric, "drawn") for metric in _NAMES}
    sides = {metric: _side(text, noticeable(metric)) for metric, text in texts.items()}
    outcome = _outcome(perplexity.relative_change, set(sides.values()) - {None})
    moved = [_went(texts[metric]) for metric, side in sides.items() if side in ("above", "below")]
    others = [_went(texts[metric]) for metric, side in sides.items() if side in ("near", None)]
    if moved and others:
        others[0] = f"but {others[0]}"
    sentences = (
        f"Over generations 1 to {last}, {_perplexity(perplexity)}; {_tokens(metrics)}.",
        f"{_OPENING[outcome]}: {'; '.join(moved + others)}.",
        *([_WEAK] if outcome == "nothing" and _hardly_learns(metrics, perplexity) else []),
        CAUTION,
    )
    return Verdict(outcome, sentences)


_WEAK = (
    f"In no generation did held-out perplexity leave that of the base by {NOTICEABLE:.0%}: so weak "
    "a training may be unable to show collapse, whatever it is fed; raise train.learning_rate, "
    "train.epochs or model.lora.rank, or measure it with the evaluator adapter."
).replace("%", " %")

_NAMES = {
    "distinct_2": "distinct-2",
    "rare_rate": "rare-token rate",
    "base_perplexity": "perplexity under the base model",
}
_OPENING: dict[Outcome, str] = {
    "noise": "Drawn text drifted into noise, away from human text",
    "narrowing": "Drawn text narrowed, below human text",
    "worse": "The model lost human text, but neither by clear noise nor by clear narrowing",
    "better": "The model kept learning human text",
    "nothing": "Nothing to see beyond these figures",
    "unknown": "No outcome can be named from what was measured",
}


def _outcome(perplexity: float | None, shape: set[str | None]) -> Outcome:
    """From the relative change of perplexity, and the sides of human text that drawn text went."""
    worse = perplexity is not None and perplexity >= NOTICEABLE
    if shape >= {"above", "below"}:
        return "worse" if worse else "unknown"
    if "below" in shape:
        return "narrowing"
    if worse:
        return "noise" if "above" in shape else "worse"
    if perplexity is None or not shape:
        return "unknown"
    return "better" if perplexity <= -NOTICEABLE else "nothing"


def _hardly_learns(metrics: pd.DataFrame, perplexity: Series) -> bool:
    """Whether all models stay where the base is; that a small adapter does says nothing of text."""
    base = series(metrics, "base_perplexity", "held_out").values
    both = perplexity.values.keys() & base.keys()
    return bool(both) and all(
        abs(perplexity.values[g] / base[g] - 1) < NOTICEABLE for g in both if base[g]
    )


def _side(text: Series, noticeable: float) -> str | None:
    """Which side of human text the last generation went to; None where not measured.

    Text that starts away from human text and stays there did not move: it has to be further out
    than generation 0 as well.
    """
    if text.first is None or text.last is None or text.human is None:
        return None
    if text.last > max(text.first, text.human) + noticeable * text.human:
        return "above"
    if text.last < min(text.first, text.human) - noticeable * text.human:
        return "below"
    return "near"


def _perplexity(held_out: Series) -> str:
    share = held_out.relative_change
    if share is None:
        return f"held-out perplexity was not measured{_why(held_out)}"
    verb = "rose" if share >= NOTICEABLE else "fell" if share <= -NOTICEABLE else "moved"
    return (
        f"held-out perplexity {verb} from {show_number(held_out.first)} to "
        f"{show_number(held_out.last)} ({show_percent(share)})"
    )


def _tokens(metrics: pd.DataFrame) -> str:
    rare, common = (series(metrics, f"{kind}_loss", "held_out") for kind in ("rare", "common"))
    if rare.change is None or common.change is None:
        return "the loss of rare and common tokens was not measured"
    return (
        f"the loss of rare tokens changed by {show_signed(rare.change)} nats, "
        f"that of common tokens by {show_signed(common.change)}"
    )


def _went(text: Series) -> str:
    name = _NAMES[text.metric]
    if text.first is None or text.last is None:
        return f"{name} was not measured{_why(text)}"
    human = "human text not measured" if text.human is None else f"human {show_number(text.human)}"
    return f"{name} went from {show_number(text.first)} to {show_number(text.last)} ({human})"


def _why(each: Series) -> str:
    reasons = list(dict.fromkeys(each.notes.values()))
    return f" ({'; '.join(reasons)})" if reasons else ""
