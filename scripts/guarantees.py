"""Simulate textmad's statistical promises and rewrite the tables of docs/guarantees.md.

python scripts/guarantees.py [REPLICATES]     # 200 by default: two minutes on one core
"""

import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from textmad.detection import auc
from textmad.evaluators import Measurement, Snapshot
from textmad.evaluators.perplexity import QUANTILES, num_beyond
from textmad.evaluators.reference_range import range_of_gaps, reference_range
from textmad.evaluators.references import measure_compared
from textmad.report.verdict import verdict
from textmad.statistics import inference
from textmad.statistics.critical_share import critical_share
from textmad.statistics.early_warning import early_warning
from textmad.statistics.power import difference_needed, seeds_needed, upper_sd
from textmad.text.documents import empty

PAGE = Path(__file__).parents[1] / "docs" / "guarantees.md"
SEEDS, GENERATIONS, SIGNALS = 5, 5, 5
# Each leaves a tolerance of 0.5 at the share beside it.
CURVES = {
    "a line": (lambda x: 5 * x, 0.1),
    "a kink": (lambda x: 8 * np.maximum(x - 0.4, 0), 0.4625),
    "2 √s": (lambda x: 2 * np.sqrt(x), 0.0625),
    "2 (1 − e^−5s)": (lambda x: 2 * (1 - np.exp(-5 * x)), -math.log(0.75) / 5),
    "0.55 (1 − e^−20s)": (lambda x: 0.55 * (1 - np.exp(-20 * x)), math.log(11) / 20),
    "a step at 0.47": (lambda x: 1 / (1 + np.exp(-60 * (x - 0.47))), 0.47),
}


def holds(interval, truth):
    return interval.low <= truth <= interval.high


def t_interval(rng, seeds):
    return holds(inference.mean_interval(rng.normal(size=seeds)), 0)


def new_human_text(rng, share, widened):
    """Seeds that learn parts of one pool; the truth is that of all human text."""
    pool = rng.normal(size=100)
    values = [rng.choice(pool, round(100 * share), replace=False).mean() for _ in range(3)]
    interval = inference.mean_interval(values)
    factor = inference.pool_factor(3, share) if widened else 1
    return abs(interval.estimate) <= interval.half_width * factor


def crossed(rng, seeds, both):
    """100 held-out documents, measured by every seed."""
    d = rng.normal(0, 0.02, (seeds, 1)) + rng.normal(0, 0.4, 100) + rng.normal(0, 0.3, (seeds, 100))
    return holds(inference.crossed_interval(d) if both else inference.mean_interval(d.mean(1)), 0)


def table_of_questions(rng):
    """Ten differences that do not exist, over three seeds: is any significant?"""
    p = [inference.paired_difference(rng.normal(size=3), np.zeros(3)).p for _ in range(10)]
    return bool((inference.adjust(p) < 0.05).any())


def harm_at_the_bound(rng):
    return inference.equivalence(1 + rng.normal(0, 0.3, SEEDS), (-1.0, 1.0)).p < 0.05


def alarm(rng, effect, tolerance):
    """Five signals with this effect; the noise of a seed is 0.4."""
    names = [f"signal {i}" for i in range(SIGNALS)]
    d = {name: effect + rng.normal(0, 0.4, (SEEDS, GENERATIONS)) for name in names}
    allowed = dict.fromkeys(names, tolerance)
    sides = dict.fromkeys(names, "above")
    generations = range(1, GENERATIONS + 1)
    result = early_warning(generations, d, sides, tolerances=allowed, rotations=2000)
    return result.first is not None


def lead_of_equals(rng):
    """Five signals of the same effect and noise: does one lead over the first?"""
    generations = list(range(1, GENERATIONS + 1))
    noise = rng.normal(0, 0.4, (SIGNALS, SEEDS, GENERATIONS))
    first, *others = (
        inference.time_to_collapse(generations, 0.5 * np.array(generations) + each, (-math.inf, 1))
        for each in noise
    )
    confidence = 1 - 0.05 / len(others)
    leads = (inference.lead(o.times, first.times, GENERATIONS, confidence) for o in others)
    return any(each.low > 0 for each in leads)


def critical(rng, name):
    curve, truth = CURVES[name]
    shares = np.array([0.2, 0.4, 0.6, 0.8, 1.0])
    control = rng.normal(0, 0.2, (3, 1))
    d = curve(shares) + rng.normal(0, 0.2, (3, 5)) - control
    return critical_share(shares.tolist(), d, (-math.inf, 0.5)), truth


def wrongly_harmless(rng, name):
    result, truth = critical(rng, name)
    return result.harmless > truth


def in_human_range(rng):
    """20 samples of 500 documents of 5,000; then 500 documents of another text of this kind."""
    text = rng.normal(size=5000)
    samples = [rng.choice(text, 500, replace=False).mean() for _ in range(20)]
    value = rng.normal(size=500).mean()
    found = reference_range(samples, 0.1)
    return found.low <= value <= found.high


def directed_verdict(rng, of_base):
    """A run whose samples are human text, or samples of one model: is it given a direction?"""
    centre, rows = (1.2 if of_base else 1.0), []
    for metric in ("distinct_2", "rare_rate", "base_perplexity"):
        drawn = centre + rng.normal(0, 0.02, 3)
        for generation, split, value in (
            (0, "drawn", drawn[0]),
            (1, "drawn", drawn[1]),
            (0, "base", drawn[2]),
            (0, "human", 1.0),
        ):
            reach = 0.02 * 1.96 if split == "human" else math.nan
            rows.append((generation, metric, split, "", value, "", value - reach, value + reach))
    rows += [(g, "perplexity", "held_out", "", 80.0, "", math.nan, math.nan) for g in (0, 1)]
    columns = ["generation", "metric", "split", "bin", "value", "note", "low", "high"]
    return verdict(pd.DataFrame(rows, columns=columns)).outcome != "nothing"


def detector_auc(rng):
    """Detector scores of human text alone: is the AUC of more of it in the human interval?"""
    scores = {"human": rng.normal(size=200), "drawn": rng.normal(size=100)}
    judged = rng.normal(size=100)  # human text that the model has not learned
    nothing = empty()
    texts = {split: list(map(str, values)) for split, values in scores.items()}
    snapshot = Snapshot(0, None, None, nothing, nothing, nothing, texts, 100, 1, rng)

    def measure(split, rows):
        value = auc(judged, scores[split][rows[:100]]) if len(rows) else math.nan
        return [Measurement("detection_auc", value, n=200, note="" if len(rows) else "none")]

    found = {m.split: m for m in measure_compared(snapshot, measure, splits=tuple(scores))}
    return found["human"].low <= found["drawn"].value <= found["human"].high


def gap_in_range(rng, in_common):
    """The gap of 60 documents, each with a Poisson number of n-grams in common with other text."""
    of_documents = rng.poisson(in_common / 60, 120)
    samples = [1 - rng.permutation(of_documents)[:60].sum() / 200 for _ in range(20)]
    value = 1 - rng.poisson(in_common) / 200
    found = range_of_gaps(samples, 200, 0.5, df=8)
    return found.low <= value <= found.high


def quantile_in_range(rng, name):
    """Nats of documents are log-normal; the reference has 120 of them, 60 are compared."""
    nats = {s: np.exp(rng.normal(1.4, 0.25, n)) for s, n in (("human", 120), ("drawn", 60))}
    texts = {split: list(map(str, values)) for split, values in nats.items()}
    snapshot = Snapshot(0, None, None, empty(), empty(), empty(), texts, 60, 1, rng)

    def measure(split, rows):
        value = np.exp(np.quantile(nats[split][rows[:60]], QUANTILES[name]))
        return [Measurement("text_perplexity", value, bin=name, n=60)]

    human, drawn = measure_compared(snapshot, measure, splits=tuple(nats), num_behind=num_beyond)
    return human.low <= drawn.value <= human.high


def false_hypotheses(rng):
    """Three hypotheses of a direction, whose true difference is 0: is any supported?"""
    p = [inference.equivalence(rng.normal(size=3), (0, math.inf)).p for _ in range(3)]
    return bool((inference.adjust(p) < 0.05).any())


def planned_study(rng):
    """One of three hypotheses is true by a deviation; the study has the planned seeds."""
    seeds = seeds_needed(1.0, 1.0, (0, math.inf), 0.05 / 3)
    p = [
        inference.equivalence(true + rng.normal(size=seeds), (0, math.inf)).p for true in (1, 0, 0)
    ]
    return bool(inference.adjust(p)[0] < 0.05)


def safe_size(rng):
    """A pilot of three seeds: is the standard deviation that `to be safe` takes large enough?"""
    return bool(upper_sd(rng.normal(size=3).std(ddof=1), 2) >= 1)


# What is promised, of what, the share promised, whether at least or at most, and how it is tested.
PROMISES = [
    ("95 % interval over seeds", "3 seeds", 0.95, "≥", lambda r: t_interval(r, 3)),
    ("95 % interval over seeds", "5 seeds", 0.95, "≥", lambda r: t_interval(r, 5)),
    (
        "the same widened, for new human text",
        "3 seeds, each learns 40 % of the pool",
        0.95,
        "≥",
        lambda r: new_human_text(r, 0.4, True),
    ),
    (
        "the same not widened, for new human text",
        "3 seeds, each learns 40 % of the pool",
        None,
        "",
        lambda r: new_human_text(r, 0.4, False),
    ),
    (
        "95 % interval for new seeds and documents",
        "3 seeds, 100 documents",
        0.95,
        "≥",
        lambda r: crossed(r, 3, True),
    ),
    (
        "95 % interval over seeds, for new documents",
        "3 seeds, 100 documents",
        None,
        "",
        lambda r: crossed(r, 3, False),
    ),
    ("tables with a false difference", "10 questions, 3 seeds", 0.05, "≤", table_of_questions),
    (
        "harm of exactly the tolerance called ruled out",
        "5 seeds",
        0.05,
        "≤",
        harm_at_the_bound,
    ),
    (
        "early warning, harm of half the tolerance",
        "5 signals, 5 generations, 5 seeds",
        0.05,
        "≤",
        lambda r: alarm(r, 0.5, 1.0),
    ),
    (
        "early warning, harm of exactly the tolerance",
        "5 signals, 5 generations, 5 seeds",
        0.05,
        "≤",
        lambda r: alarm(r, 1.0, 1.0),
    ),
    (
        "early warning, harm of twice the tolerance",
        "5 signals, 5 generations, 5 seeds",
        None,
        "",
        lambda r: alarm(r, 2.0, 1.0),
    ),
    (
        "a rise in some frequency bin, where there is none",
        "5 bins, 5 generations, 5 seeds",
        0.05,
        "≤",
        lambda r: alarm(r, 0.0, 0.0),
    ),
    (
        "a lead over perplexity, where all signals are alike",
        "5 signals, 5 generations, 5 seeds",
        0.05,
        "≤",
        lead_of_equals,
    ),
    *(
        (
            "95 % interval of the critical share",
            f"{name}, 5 shares, 3 seeds",
            0.95,
            "≥",
            lambda r, name=name: holds(*critical(r, name)),
        )
        for name in CURVES
    ),
    *(
        (
            "a share called harmless that is not",
            f"{name}, 5 shares, 3 seeds",
            0.05,
            "≤",
            lambda r, name=name: wrongly_harmless(r, name),
        )
        for name in ("2 √s", "0.55 (1 − e^−20s)")
    ),
    ("95 % range of human text (audit)", "20 samples of 500 of 5,000", 0.95, "≥", in_human_range),
    (
        "a run's verdict with a direction, samples are human text",
        "3 metrics",
        0.05,
        "≤",
        lambda r: directed_verdict(r, False),
    ),
    (
        "a run's verdict with a direction, samples are the base model's",
        "3 metrics",
        0.05,
        "≤",
        lambda r: directed_verdict(r, True),
    ),
    ("95 % interval of a detector's AUC of human text", "100 documents", 0.95, "≥", detector_auc),
    (
        "studies with a false hypothesis supported",
        "3 hypotheses, 3 seeds",
        0.05,
        "≤",
        false_hypotheses,
    ),
    ("a true hypothesis supported, planned for 80 %", "3 hypotheses", 0.80, "≥", planned_study),
    ("pilots whose size to be safe is large enough", "3 seeds", 0.80, "≥", safe_size),
    *(
        (
            "95 % range of n-gram gaps of human text",
            f"{in_common} n-grams in common, 60 documents",
            0.95,
            "≥",
            lambda r, in_common=in_common: gap_in_range(r, in_common),
        )
        for in_common in (0.3, 3, 9)
    ),
    *(
        (
            "95 % range of a quantile of perplexities of human text",
            f"{name.replace('%', ' %')}, 60 documents",
            0.95,
            "≥",
            lambda r, name=name: quantile_in_range(r, name),
        )
        for name in ("median", "95%", "99%")
    ),
]


def delivered(test, replicates, seed):
    """The share that came out, and its Monte Carlo error (Agresti and Coull, also at 0 and 1)."""
    rng = np.random.default_rng(seed)
    count = sum(bool(test(rng)) for _ in range(replicates))
    middle = (count + 2) / (replicates + 4)
    error = math.sqrt(middle * (1 - middle) / (replicates + 4))
    return SimpleNamespace(share=count / replicates, error=error)


def promises(replicates):
    """The table of promises, a line each."""
    lines = [
        "| what | of what | promised | delivered | Monte Carlo error | replicates |",
        "| :--- | :--- | ---: | ---: | ---: | ---: |",
    ]
    for seed, (what, of, share, sign, test) in enumerate(PROMISES):
        result = delivered(test, replicates, seed)
        promised = f"{sign} {share:.0%}" if share is not None else "nothing"
        cells = [what, of, promised, f"{result.share:.1%}", f"{result.error:.1%}"]
        cells.append(f"{replicates:,}")
        lines.append(f"| {' | '.join(cells).replace(' %', '%').replace('%', ' %')} |")
    return lines


def table_of_seeds():
    lines = ["| seeds | 1 question | 5 questions | 10 questions |", "| ---: | ---: | ---: | ---: |"]
    for seeds in (3, 4, 5, 6, 8, 12):
        cells = [f"{difference_needed(seeds, questions):.1f}" for questions in (1, 5, 10)]
        lines.append(f"| {seeds} | {' | '.join(cells)} |")
    return lines


def replaced(page, name, lines):
    """The page with the table between two comments of this name made anew."""
    marks = f"<!-- {name} -->", f"<!-- end of {name} -->"
    table = "\n".join([marks[0], "", *lines, "", marks[1]])
    new, count = re.subn(f"{marks[0]}.*?{marks[1]}", lambda _: table, page, flags=re.DOTALL)
    assert count == 1, f"{PAGE}: expected one table {name}"
    return new


if __name__ == "__main__":
    replicates = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    page = replaced(PAGE.read_text(encoding="utf-8"), "promises", promises(replicates))
    page = replaced(page, "seeds", table_of_seeds())
    PAGE.write_text(page, encoding="utf-8")
