"""The forecast of a run as a table: selection, response, and what is predicted."""

from __future__ import annotations

import math
from collections.abc import Iterator

from textmad.analysis.forecast import Forecast, TraitForecast
from textmad.report.numbers import MISSING, show_number, show_percent, show_signed
from textmad.report.tables import Table
from textmad.statistics.selection_response import Band

_HEADER = ("trait", "h²", "", "gen", "measured", "S", "predicted", "80 % band", "no change")


def forecast_table(forecast: Forecast) -> Table:
    """Return a line for each trait and generation, and the answer to "how long" as notes."""
    lines = [line for each in forecast.traits for line in _lines(each, forecast)]
    return Table(_HEADER, tuple(lines), tuple(_notes(forecast)))


def _lines(each: TraitForecast, forecast: Forecast) -> Iterator[tuple[str, ...]]:
    """Yield the generations of a trait: those that are known, and those that are predicted."""
    trait = each.trait
    h2 = math.nan if each.response is None else each.response.heritability
    for generation in range(forecast.horizon + 1):
        is_first, is_later = generation == 0, generation > forecast.generation
        drawn, kept = trait.drawn.get(generation), trait.kept.get(generation)
        band = each.predicted.get(generation)
        yield (
            trait.name if is_first else "",
            show_number(h2) if is_first and not math.isnan(h2) else "",
            "",
            str(generation),
            show_number(drawn),
            MISSING if drawn is None or kept is None else show_signed(kept - drawn),
            "" if not is_later else MISSING if band is None else show_number(band.middle),
            "" if band is None else f"{show_number(band.low)} to {show_number(band.high)}",
            show_number(trait.drawn.get(forecast.generation)) if is_later else "",
        )


def _notes(forecast: Forecast) -> list[str]:
    notes = [
        f"An extrapolation from generations 0 to {forecast.generation}, which holds while the same "
        "filters go on to select as they do. S: kept less drawn text. h²: the share of S that the "
        "next generation shows. 80 % band: of the courses that these numbers allow."
    ]
    notes += [f"{each.trait.name}: {each.note}." for each in forecast.traits if each.note]
    if forecast.tolerance is not None:
        notes += [
            f"{each.trait.name}: {passing_sentence(each.passes, forecast)}"
            for each in forecast.traits
            if each.passes is not None
        ]
    return notes


def passing_sentence(passes: Band, forecast: Forecast) -> str:
    """Say at which generation the tolerance is passed, with the 80 % band."""
    assert forecast.tolerance is not None, "it is not asked"
    change = f"a change of {show_percent(forecast.tolerance).removeprefix('+')}"
    middle, low, high = (_when(generation, forecast.horizon) for generation in passes)
    if passes.high <= forecast.generation:
        return f"{change} was passed at generation {middle}."
    if math.isinf(passes.low):
        return f"{change} is not passed within {forecast.horizon} generations."
    if math.isinf(passes.middle):
        return (
            f"{change} is more likely not passed within {forecast.horizon} generations; at the "
            f"earliest at generation {low} (80 % band)."
        )
    band = f"generation {low}" if low == high else f"generations {low} to {high}"
    return f"{change} is passed at generation {middle} (80 % band: {band})."


def _when(generation: float, horizon: int) -> str:
    return f"later than {horizon}" if math.isinf(generation) else f"{generation:.0f}"
