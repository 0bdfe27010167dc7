"""Hypotheses of a study in sentences, in a table and as JSON."""

from __future__ import annotations

import json
import math

from textmad.analysis.comparison_result import (
    CONFIRMATORY,
    EXPLORATORY,
    Comparison,
    hypothesis_frame,
)
from textmad.analysis.hypotheses import HypothesisTest, key_of
from textmad.report.numbers import MISSING, show_difference, show_p
from textmad.report.tables import Table
from textmad.studies.arms import TEXTS, Hypothesis
from textmad.studies.registration import Version

_INTERVAL = "(95 % interval {low} to {high})"


def hypothesis_sentences(comparison: Comparison) -> list[str]:
    """Return a paragraph for each hypothesis, then what these rest on and what all else is."""
    if not comparison.hypotheses:
        return []
    sentences = [_of(each) for each in comparison.hypotheses]
    confirmatory = [each for each in comparison.hypotheses if each.registered.is_confirmatory]
    if confirmatory:
        level = max(each.hypothesis.level for each in confirmatory)
        sentences.append(
            f"Confirmatory: registered before any result, {len(confirmatory)} in number, for which "
            f"p is adjusted (Holm). The share of studies in which a false one among them is "
            f"supported is at most {level:.3g}."
        )
    return [*sentences, "Exploratory: everything below was not registered as a hypothesis."]


def hypothesis_table(comparison: Comparison) -> Table:
    """Return a line for each hypothesis."""
    header = ("hypothesis", "claim", "", "difference", "p", "level", "supported", "registered")
    lines = [
        (
            each.hypothesis.name,
            _claim(each.hypothesis),
            CONFIRMATORY if each.registered.is_confirmatory else EXPLORATORY,
            show_difference(each.difference) if each.pairs.differences else MISSING,
            show_p(each.p),
            f"{each.hypothesis.level:g}",
            MISSING if math.isnan(each.p) else "yes" if each.supported else "no",
            each.registered.since.date,
        )
        for each in comparison.hypotheses
    ]
    notes = (
        "difference: arm less the other, of the same seed, with its 95 % interval. p: one-sided t "
        "test that the mean lies on the claimed side of the tolerance (two of them for "
        "equivalence), adjusted (Holm): of confirmatory hypotheses for their number, of "
        "exploratory ones for all in the table.",
    )
    return Table(header, tuple(lines), notes)


def hypotheses_json(comparison: Comparison) -> bytes:
    """Return the frame of the hypotheses as JSON, with what was changed and when."""
    records = json.loads(
        hypothesis_frame(comparison).to_json(orient="records", double_precision=15)
    )
    for record, each in zip(records, comparison.hypotheses, strict=True):
        record["changes"] = [
            {"date": v.date, "runs_with_results": v.runs_with_results, "what": what}
            for v, what in each.registered.changes
        ]
    data = {"hypotheses": records, "all_else": EXPLORATORY}
    return (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode()


def _of(each: HypothesisTest) -> str:
    hypothesis, pairs = each.hypothesis, each.pairs
    parts = [f"Hypothesis {hypothesis.name}: {_claim(hypothesis)}."]
    if math.isnan(each.p):
        parts.append(f"Not tested: {pairs.why_not}.")
    else:
        parts.append(
            f"{'Supported' if each.supported else 'Not supported'}: "
            f"{show_difference(each.difference, _INTERVAL)}, p {_p(each.p)} at level "
            f"{hypothesis.level:g}, {each.difference.n} seeds."
        )
    return " ".join([*parts, *_history(each)])


def _p(p: float) -> str:
    shown = show_p(p)
    return shown if shown.startswith("<") else f"= {shown}"


def _claim(hypothesis: Hypothesis) -> str:
    """The claim in words."""
    label = f"{key_of(hypothesis).label} of {hypothesis.arm}"
    other = hypothesis.against
    of = f"that of the {other}" if other in TEXTS else f"that of {other}"
    tolerance = f"{hypothesis.tolerance:.3g}"
    when = f"at generation {hypothesis.generation}"
    if hypothesis.direction == "equivalent":
        return f"{label} differs from {of} by less than {tolerance} times the latter {when}"
    side = "above" if hypothesis.direction == "higher" else "below"
    more = f" by more than {tolerance} times the latter" if hypothesis.tolerance else ""
    return f"{label} is {side} {of}{more} {when}"


def _history(each: HypothesisTest) -> list[str]:
    known = each.registered
    lines = [f"Registered {known.since.date}{_results(known.since)}."]
    lines += [
        f"Changed {version.date}{_results(version)} ({what})." for version, what in known.changes
    ]
    if known.ended:
        became = "changed" if known.end == "changed" else "withdrawn"
        lines.append(
            f"It was {became} {known.ended.date}{_results(known.ended)}, and is tested as it was "
            "registered."
        )
    if not known.is_confirmatory:
        lines.append("It is exploratory, because results existed before it.")
    return lines


def _results(version: Version) -> str:
    num = version.runs_with_results
    if not num:
        return ", before any result"
    return f", when {num} {'run' if num == 1 else 'runs'} had results"
