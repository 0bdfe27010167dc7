"""Claims A1, A2, A5 and A6: loops without a crowd. Positions in long documents are replicates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from textmad.calibration import theory
from textmad.calibration.checks import Check, Measured, mean_of, median_of
from textmad.calibration.loops import NUM_CATEGORIES, HumanText, Loop, fitted
from textmad.loop.run import Run
from textmad.models.toy.categorical import Categorical
from textmad.models.toy.gaussian import Gaussian

Floats = npt.NDArray[np.float64]


def counts_refitted(chains: int = 400, draws: int = 500, generation: int = 9) -> Loop:
    """A1: a categorical model, refitted on its own draws, loses words at an exactly known rate."""
    human, shares = HumanText("counts", chains, draws), theory.zipf(NUM_CATEGORIES)

    def measure(runs: Sequence[Run]) -> list[Check]:
        checks = []
        for g in sorted({0, generation // 2, generation}):
            model, rounds = fitted(runs, g, Categorical), g + 1
            squares = theory.squared_shares(shares, draws, rounds)
            words = theory.support(shares, draws, rounds)
            checks += [
                Check(
                    "A1", name, f"sum of p^2, {rounds} fits", squares, mean_of(model.squared_shares)
                ),
                Check("A1", name, f"words left, {rounds} fits", words, mean_of(model.support)),
            ]
        return checks

    name = f"counts, {draws} draws"
    settings = {"generations": generation, "mix.model_tokens": human.tokens(draws)}
    return Loop("counts", human, settings, measure)


def numbers_refitted(
    bias: float, chains: int = 1600, draws: int = 100, generation: int = 10
) -> Loop:
    """A2: a Gaussian, refitted on its own draws, which are biased towards the mean by `bias`."""
    human = HumanText("numbers", chains, draws)
    name = f"Gaussian, {draws} draws, lambda {bias:g}"

    def measure(runs: Sequence[Run]) -> list[Check]:
        measured = fitted(runs, generation, Gaussian).variance
        expected = theory.variance(bias, generation)
        when = f"variance at t = {generation}"
        checks = [Check("A2", name, f"mean {when}", expected, mean_of(measured))]
        if bias == 1:
            expected = theory.median_variance(draws, generation + 1)
            checks.append(Check("A2", name, f"median {when}", expected, median_of(measured)))
        return checks

    settings = {
        "generations": generation,
        "mix.model_tokens": human.tokens(draws),
        "sample.temperature": bias,
    }
    return Loop(f"bias-{bias:g}", human, settings, measure)


def replaced(chains: int = 10_000, draws: int = 20, generation: int = 6) -> Loop:
    """A5: each generation replaces the one before. Errors add up without bound."""
    human = HumanText("numbers", chains, draws)
    settings = {"generations": generation, "mix.model_tokens": human.tokens(draws)}

    def measure(runs: Sequence[Run]) -> list[Check]:
        expected = theory.replace_error(generation)
        return [_errors_of_mean(runs, "replace", draws, generation, expected)]

    return Loop("replace", human, settings, measure)


def accumulated(chains: int = 7200, draws: int = 10, generation: int = 6) -> Loop:
    """A5: each generation is added to all before it. Errors stay below pi^2/6 of one round's."""
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
        expected = theory.accumulate_error(draws, generation)
        return [_errors_of_mean(runs, "accumulate", draws, generation, expected)]

    return Loop("accumulate", human, settings, measure)


def _errors_of_mean(
    runs: Sequence[Run], name: str, draws: int, generation: int, expected: float
) -> Check:
    errors = fitted(runs, generation, Gaussian).mean ** 2 * draws
    return Check("A5", name, f"error at t = {generation}, in rounds", expected, mean_of(errors))


def refreshed(
    bias: float, model: int, chains: int = 4800, human: int = 20, generation: int = 4
) -> Loop:
    """A6: each generation learns `human` fresh documents and `model` of the last model."""
    text = HumanText("numbers", chains, human + model + generation * human)
    name = f"{human} fresh + {model} model, lambda {bias:g}"

    def measure(runs: Sequence[Run]) -> list[Check]:
        start, end = fitted(runs, 0, Gaussian), fitted(runs, generation, Gaussian)
        expected = theory.effective_sample_size(theory.fresh_error(human, model, bias, generation))
        measured = _effective_size(mean_of(theory.fit_error(end.mean, end.variance)), human)
        checks = [Check("A6", name, f"n_e / n_r at t = {generation}", expected / human, measured)]
        if model < human:  # otherwise forgetting takes more generations
            expected = theory.start_forgotten(human, model, generation)
            what = f"share of the start forgotten at t = {generation}"
            checks.append(Check("A6", name, what, expected, _forgotten(start.mean, end.mean)))
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


def _effective_size(error: Measured, human: int) -> Measured:
    """Return n_e / n_r. Its standard error follows from that of `error` by the delta method."""
    size = theory.effective_sample_size(error.value)
    slope = 1 / size**2 + 1 / (2 * (size - 1) ** 2)  # -d error / d n_e
    return Measured(size / human, error.standard_error / slope / human)


def _forgotten(start: Floats, end: Floats) -> Measured:
    """Return 1 minus the slope of the regression of `end` on `start`."""
    from scipy.stats import linregress

    line = linregress(start, end)
    return Measured(1 - float(line.slope), float(line.stderr))
