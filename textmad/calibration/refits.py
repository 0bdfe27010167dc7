"""A1, A2, A5, A6: loops without a crowd, whose replicates are the places of long documents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from textmad.calibration import theory
from textmad.calibration.checks import Check, mean_of, median_of
from textmad.calibration.loops import NUM_CATEGORIES, HumanText, Loop, places
from textmad.store import Run


def counts_refitted(chains: int = 320, draws: int = 500, generation: int = 9) -> Loop:
    """A1: a categorical model refitted on its own draws forgets; exact in every generation."""
    human, shares = HumanText("counts", chains, draws), theory.zipf(NUM_CATEGORIES)

    def measure(runs: Sequence[Run]) -> list[Check]:
        checks = []
        for g in dict.fromkeys([0, generation // 2, generation]):
            model, fits = places(runs, g), f"after {g + 1} fits"
            checks.append(
                Check(
                    *("A1", name, f"words left {fits}"),
                    theory.support(shares, draws, g + 1),
                    *mean_of(model.support.astype(np.float64)),
                )
            )
        expected = theory.squared_shares(shares, draws, generation + 1)
        squares = mean_of(model.squared_shares)
        return [Check("A1", name, f"sum of p^2 {fits}", expected, *squares), *checks]

    name = f"counts, {draws} draws"
    return Loop(
        "counts",
        human,
        {"generations": generation, "mix.model_tokens": human.tokens(draws)},
        measure,
    )


def numbers_refitted(
    bias: float, chains: int = 800, draws: int = 100, generation: int = 10
) -> Loop:
    """A2: a Gaussian refitted on its own draws, which are biased towards the mean."""
    human = HumanText("numbers", chains, draws)
    name = f"Gaussian, {draws} draws, lambda {bias:g}"

    def measure(runs: Sequence[Run]) -> list[Check]:
        found = places(runs, generation).variance
        expected = theory.variance(bias, generation)
        when = f"variance at t = {generation}"
        checks = [Check("A2", name, f"mean {when}", expected, *mean_of(found))]
        if bias == 1:
            expected = theory.median_variance(draws, generation + 1)
            checks.append(Check("A2", name, f"median {when}", expected, *median_of(found)))
        return checks

    settings = {
        "generations": generation,
        "mix.model_tokens": human.tokens(draws),
        "sample.temperature": bias,
    }
    return Loop(f"bias-{bias:g}", human, settings, measure)


def replaced(chains: int = 9000, draws: int = 20, generation: int = 10) -> Loop:
    """A5: each generation in place of the one before; errors add up without bound."""
    human = HumanText("numbers", chains, draws)
    settings = {"generations": generation, "mix.model_tokens": human.tokens(draws)}

    def measure(runs: Sequence[Run]) -> list[Check]:
        error = places(runs, generation).mean ** 2 * draws
        what = f"error at t = {generation}, in rounds"
        return [Check("A5", "replace", what, theory.replace_error(generation), *mean_of(error))]

    return Loop("replace", human, settings, measure)


def accumulated(chains: int = 6000, draws: int = 10, generation: int = 10) -> Loop:
    """A5: each generation beside all before it; errors stay below pi^2/6 of one round's."""
    human = HumanText("numbers", chains, 2 * draws)
    settings = {
        "generations": generation,
        "mix": {
            "human_tokens": human.tokens(draws),
            "model_tokens": human.tokens(draws),
            "model": "all",
        },
    }

    def measure(runs: Sequence[Run]) -> list[Check]:
        error = places(runs, generation).mean ** 2 * draws
        expected = theory.accumulate_error(draws, generation)
        what = f"error at t = {generation}, in rounds"
        return [Check("A5", "accumulate", what, expected, *mean_of(error))]

    return Loop("accumulate", human, settings, measure)


def refreshed(
    bias: float, model: int, chains: int = 4000, human: int = 20, generation: int = 6
) -> Loop:
    """A6: fresh human text in each generation beside `model` documents of the last one's."""
    text = HumanText("numbers", chains, human + LARGEST_MODEL + generation * human)
    name = f"{human} fresh + {model} model, lambda {bias:g}"

    def measure(runs: Sequence[Run]) -> list[Check]:
        start, end = places(runs, 0), places(runs, generation)
        expected = theory.effective_sample_size(theory.fresh_error(human, model, bias, generation))
        error, spread = mean_of(theory.fit_error(end.mean, end.variance))
        found = theory.effective_sample_size(error)
        # n_e falls by 1 where the error rises by this much.
        slope = 1 / found**2 + 1 / (2 * (found - 1) ** 2)
        sizes = [value / human for value in (expected, found, spread / slope)]
        checks = [Check("A6", name, f"n_e / n_r at t = {generation}", *sizes)]
        if model < human:
            checks.append(_forgotten(name, start.mean, end.mean, human, model, generation))
        return checks

    settings = {
        "generations": generation,
        "mix": {
            "human_tokens": text.tokens(human),
            "model_tokens": text.tokens(model),
            "human": "fresh",
        },
        "sample.temperature": bias,
    }
    return Loop(f"fresh-{model}-bias-{bias:g}", text, settings, measure)


LARGEST_MODEL = 80  # documents of model text in A6's loops, so that they share their human text


def _forgotten(
    name: str, start: np.ndarray, end: np.ndarray, human: int, model: int, generation: int
) -> Check:
    from scipy.stats import linregress

    line = linregress(start, end)
    expected = theory.start_forgotten(human, model, generation)
    what = f"share of the start forgotten at t = {generation}"
    return Check("A6", name, what, expected, 1 - float(line.slope), float(line.stderr))
