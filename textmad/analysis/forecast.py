"""Forecast of a run from its first generations: where selection leads, and when.

forecast(run)
  traits_of(run)                 each trait's mean over drawn and kept text, by generation
  selection_response.extrapolate the breeder's equation, applied again and again
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import special

from textmad.analysis.series import series
from textmad.errors import RunError
from textmad.evaluators.metrics import METRICS, value_range
from textmad.evaluators.references import NUM_SAMPLES
from textmad.evaluators.selection import DocumentTrait, RareWords, document_traits
from textmad.loop.run import Run
from textmad.seeds import stream
from textmad.statistics.selection_response import (
    Band,
    Response,
    bands,
    extrapolate,
    is_selected,
    passing,
    response,
)
from textmad.text.documents import texts_of

if TYPE_CHECKING:
    import pandas as pd

METRICS_OF_TEXT = ("rare_rate", "distinct_2")  # beside length and rewards, where they are measured
_REFERENCE_DF = 8  # of the references' intervals (textmad.evaluators.references)
# A reference is resampled by halves (textmad.mixture.base_tokens_drawn). So its interval is wider
# than one value varies: it holds the error of the reference's mean as well.
_SAMPLE_SHARE = 1 / 2
_WIDER = math.sqrt(1 + _SAMPLE_SHARE + (1 - _SAMPLE_SHARE) / NUM_SAMPLES)


class Trait(NamedTuple):
    """The mean of a trait over drawn and over kept text, by generation."""

    name: str
    drawn: Mapping[int, float]
    kept: Mapping[int, float]
    error: float  # standard error of a value; NaN: unknown
    bounds: tuple[float, float]


@dataclass(frozen=True)
class TraitForecast:
    """What the first generations say about a trait.

    Attributes:
        trait: with all values that are measured, also those that the forecast does not use.
        response: S, R and h2 of the generations that it uses; None where not even these are there.
        predicted: median and 80 % band of each later generation; empty where no forecast is
            possible.
        passes: generation at which the tolerance is passed; None without a tolerance or forecast.
        note: why there is no forecast; "" where there is one.
    """

    trait: Trait
    response: Response | None
    predicted: Mapping[int, Band] = field(default_factory=dict)
    passes: Band | None = None
    note: str = ""


@dataclass(frozen=True)
class Forecast:
    """A forecast of a run: `traits` from what its generations 0 to `generation` have shown."""

    path: Path
    generation: int
    horizon: int
    tolerance: float | None
    traits: tuple[TraitForecast, ...]

    @property
    def table(self) -> pd.DataFrame:
        """Predicted and measured values, one row a trait and later generation."""
        import pandas as pd

        rows = [
            {
                "trait": each.trait.name,
                "generation": generation,
                "predicted": band.middle,
                "low": band.low,
                "high": band.high,
                "no_change": each.trait.drawn[self.generation],
                "measured": each.trait.drawn.get(generation, math.nan),
            }
            for each in self.traits
            for generation, band in each.predicted.items()
        ]
        names = ("trait", "generation", "predicted", "low", "high", "no_change", "measured")
        return pd.DataFrame(rows, columns=list(names))


def forecast(
    run: Run | str | Path,
    *,
    generation: int = 1,
    horizon: int | None = None,
    metrics: Sequence[str] = (),
    tolerance: float | None = None,
) -> Forecast:
    """Forecast where selection leads the text of a run, from its first generations.

    It is an extrapolation, and possible only for traits on which a filter selects; `note` says why
    not for the others. docs/forecast.md says how often the bands held the measured values.

    >>> import textmad as tm
    >>> tm.forecast("runs/upvotes").table  # doctest: +SKIP

    Args:
        run: a run or its folder, finished or not.
        generation: the last generation that the forecast uses, at least 1.
        horizon: the last generation that is predicted; None: the recipe's last.
        metrics: of drawn and kept text, beside the length and the rewards; none: rare_rate and
            distinct_2.
        tolerance: the largest change since generation 0 that still counts as harmless, as a share
            of the value in generation 0; None: it is not asked when that is passed.

    Raises:
        RunError: the run has not come to the generation, or one of the settings cannot be.
    """
    run = Run(run) if isinstance(run, str | Path) else run
    horizon = run.recipe.generations if horizon is None else horizon
    _check(run, generation, horizon, tolerance)
    traits = [
        *traits_of(run, generation),
        *metric_traits(run, metrics or METRICS_OF_TEXT, bool(metrics)),
    ]
    return Forecast(
        run.path,
        generation,
        horizon,
        tolerance,
        tuple(_of_trait(trait, generation, horizon, tolerance) for trait in traits),
    )


def _check(run: Run, generation: int, horizon: int, tolerance: float | None) -> None:
    if generation < 1:
        raise RunError(
            f"generation: {generation}: expected at least 1: a response takes two generations"
        )
    if generation not in run.generations:
        raise RunError(
            f"{run.path}: generation {generation} is not complete: expected one of those that "
            f"are, {', '.join(map(str, run.generations)) or 'none'}; the command that began the "
            "run resumes it"
        )
    if horizon <= generation:
        raise RunError(
            f"horizon: {horizon}: expected a generation after {generation}, the last that the "
            "forecast uses"
        )
    if tolerance is not None and not 0 < tolerance < math.inf:
        raise RunError(f"tolerance: {tolerance:g}: expected a share above 0, such as 0.1")


def _of_trait(
    trait: Trait, generation: int, horizon: int, tolerance: float | None
) -> TraitForecast:
    used = range(generation + 1)
    missing = [g for g in used if g not in trait.drawn or g not in trait.kept]
    if missing:
        note = f"not possible: not measured on drawn and kept text in generation {missing[0]}"
        return TraitForecast(trait, None, note=note)
    drawn, kept = ([values[g] for g in used] for values in (trait.drawn, trait.kept))
    realised = response(drawn, kept)
    if math.isnan(trait.error) or trait.error == 0:
        note = "not possible: how exactly it is measured is not known"
        return TraitForecast(trait, realised, note=note)
    if not is_selected(drawn, kept, trait.error):
        note = "not possible: nothing is selected beyond chance, so selection predicts no change"
        return TraitForecast(trait, realised, note=note)
    rng = stream(0, "forecast", trait.name)
    paths = extrapolate(drawn, kept, trait.error, horizon - generation, rng, bounds=trait.bounds)
    predicted = dict(zip(range(generation + 1, horizon + 1), bands(paths), strict=True))
    passes = None
    if tolerance is not None:
        start = drawn[0]
        seen = [g for g in used if abs(trait.drawn[g] - start) > tolerance * abs(start)]
        passes = (
            Band(*[float(seen[0])] * 3)
            if seen
            else passing(paths, start, tolerance * abs(start), generation + 1)
        )
    return TraitForecast(trait, realised, predicted, passes)


# --- traits -----------------------------------------------------------------------------------


def traits_of(run: Run, last: int) -> list[Trait]:
    """Return the traits of single documents: length, share of rare words, each scorer's value.

    Args:
        run: whose candidates.
        last: error and bounds are those of the generations up to this one, which a forecast knows.
    """
    by_name: dict[str, dict[int, DocumentTrait]] = {}
    rare = RareWords(texts_of(run.human))
    for generation in run.generations:
        for each in document_traits(run.candidates(generation), rare):
            if each.weights[each.kept].any():
                by_name.setdefault(each.name, {})[generation] = each
    traits = []
    for name, measured in by_name.items():
        drawn = {g: each.drawn_mean for g, each in measured.items()}
        kept = {g: each.kept_mean for g, each in measured.items()}
        known = [each for g, each in measured.items() if g <= last]
        if not known:
            continue
        # No mean lies beyond the documents that it is the mean of.
        values = np.concatenate([each.values for each in known])
        bounds = float(values.min()), float(values.max())
        error = max(each.kept_error for each in known)
        traits.append(Trait(name, drawn, kept, error, bounds))
    return traits


def metric_traits(run: Run, metrics: Sequence[str], is_asked: bool = True) -> list[Trait]:
    """Return metrics of drawn and kept text as traits.

    Args:
        run: whose metrics.
        metrics: their names.
        is_asked: a metric that is not measured is an error.

    Raises:
        RunError: a metric is not measured on drawn text.
    """
    table = run.metrics
    traits = []
    for name in metrics:
        drawn, kept = (series(table, name, split) for split in ("drawn", "kept"))
        if not drawn.measured:
            if is_asked:
                raise RunError(
                    f"metric: {name}: is not measured on drawn text in {run.path}: expected one "
                    "of an evaluator in its recipe; `textmad evaluate` adds one"
                )
            continue
        widths = [each.half_width for each in (drawn.human, drawn.base) if each is not None]
        known = [width for width in widths if math.isfinite(width)]
        spread = float(special.stdtrit(_REFERENCE_DF, 0.975))
        error = known[0] / (spread * _WIDER) if known else math.nan
        bounds = value_range(METRICS[name]) if name in METRICS else (-math.inf, math.inf)
        traits.append(Trait(name, drawn.values, kept.values, error, bounds))
    return traits
