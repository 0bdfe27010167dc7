"""People's votes in a run's report: agreement, raters, origins, and what people chose."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from textmad.analysis.people import FROZEN, ballots_of
from textmad.report.texts import NUM_VOTED, DisplayedDocument, display
from textmad.store.folder import CRAWL

if TYPE_CHECKING:
    from datasets import Dataset

    from textmad.loop.run import Run

_MOST_RATERS = 12  # whose vote stands below a text
_STAGES = {"curate": "sampled text", CRAWL: "crawled text"}


@dataclass(frozen=True)
class Round:
    """What one ballot came to; every field is plain text still to be escaped."""

    generation: int
    stage: str
    votes: str
    raters: str
    alpha: str
    left_out: str


@dataclass(frozen=True)
class UpvoteShare:
    """The share of upvotes that texts of one origin got."""

    generation: int
    stage: str
    origin: str
    texts: int
    votes: int
    share: str


@dataclass(frozen=True)
class RaterVotes:
    """What one rater voted in the whole run."""

    rater: str
    votes: int
    share: str  # of upvotes


@dataclass(frozen=True)
class Chosen:
    """The texts of a generation that people liked best and least, kept beside rejected."""

    generation: int
    stage: str
    pairs: tuple[tuple[DisplayedDocument | None, DisplayedDocument | None], ...]


@dataclass(frozen=True)
class PeopleSection:
    """People's votes of a run."""

    rounds: tuple[Round, ...]
    shares: tuple[UpvoteShare, ...]
    raters: tuple[RaterVotes, ...]
    chosen: tuple[Chosen, ...]


def people_section(run: Run) -> PeopleSection | None:
    """Return people's votes of a run; None if people were not asked."""
    rounds: list[Round] = []
    shares: list[UpvoteShare] = []
    chosen: list[Chosen] = []
    by_rater: dict[str, list[bool]] = {}
    for generation, stage, table in _tables(run):
        rounds += _rounds(run, generation, stage)
        if FROZEN not in table.column_names:
            continue
        stars = _has_stars(run, stage)
        rows = [row for row in _rows(table) if row[FROZEN] is not None]
        shares += _shares(generation, _STAGES[stage], rows)
        for row in rows:
            for rater, _, mark in json.loads(row[FROZEN]):
                by_rater.setdefault(rater, []).append(mark > (3 if stars else 0))
        chosen.append(Chosen(generation, _STAGES[stage], _pairs(rows, stars)))
    if not rounds:
        return None
    raters = [
        RaterVotes(name, len(ups), _share(sum(ups), len(ups)))
        for name, ups in sorted(by_rater.items())
    ]
    last = chosen[:1] + chosen[-1:] if len(chosen) > 1 else chosen
    return PeopleSection(tuple(rounds), tuple(shares), tuple(raters), tuple(last))


def _tables(run: Run) -> Iterator[tuple[int, str, Dataset]]:
    """Yield each table of candidates that filters have judged."""
    for generation in run.generations:
        if run.recipe.crawls(generation):
            yield generation, CRAWL, run.crawl(generation)
        yield generation, "curate", run.candidates(generation)


def _rows(table: Dataset) -> Iterator[dict[str, Any]]:
    return iter(table)


def _has_stars(run: Run, stage: str) -> bool:
    recipe = run.recipe.dump()
    filters = recipe["curate"] if stage == "curate" else recipe["crawl"]["guard"]
    return any(ballot.design == "stars" for ballot in ballots_of(filters))


def _rounds(run: Run, generation: int, stage: str) -> list[Round]:
    found = []
    for name, facts in run.records(generation, stage).items():
        if not name.startswith("people "):
            continue
        alpha = facts["alpha"]
        text = "no value"
        if alpha is not None:
            text = f"{alpha['value']:.2f}"
            if alpha["low"] is not None:
                text += f" ({alpha['low']:.2f} to {alpha['high']:.2f})"
        out = ", ".join(f"{rater} ({why})" for rater, why in facts["left_out"].items())
        votes, raters = f"{facts['votes']:,}", f"{len(facts['raters']):,}"
        found.append(Round(generation, _STAGES[stage], votes, raters, text, out or "nobody"))
    return found


def _shares(generation: int, stage: str, rows: list[dict[str, Any]]) -> list[UpvoteShare]:
    counts: dict[str, list[int]] = {}
    for row in rows:
        # In a crawl `origin` is what the filters are told; the truth is beside it.
        origin = row.get("true_origin") or row["origin"]
        texts, ups, downs = counts.setdefault(origin, [0, 0, 0])
        counts[origin] = [texts + 1, ups + row["ups"], downs + row["downs"]]
    return [
        UpvoteShare(generation, stage, origin, texts, ups + downs, _share(ups, ups + downs))
        for origin, (texts, ups, downs) in sorted(counts.items())
    ]


def _pairs(
    rows: list[dict[str, Any]], stars: bool
) -> tuple[tuple[DisplayedDocument | None, DisplayedDocument | None], ...]:
    """Return kept texts from the best rank down beside rejected ones from the worst rank up."""
    ranked = sorted(rows, key=lambda row: (row["rank"], row["id"]))
    kept = [row for row in ranked if row["kept"]][:NUM_VOTED]
    rejected = [row for row in ranked[::-1] if not row["kept"]][:NUM_VOTED]
    num = max(len(kept), len(rejected))
    columns = [
        [_display(row, stars) for row in side] + [None] * (num - len(side))
        for side in (kept, rejected)
    ]
    return tuple(zip(*columns, strict=True))


def _display(row: Mapping[str, Any], stars: bool) -> DisplayedDocument:
    """Return a text as the page displays it, with the vote of each rater."""
    marks = json.loads(row[FROZEN])
    votes = [
        f"{rater} {f'{mark}★' if stars else '▲' if mark else '▼'}"
        for rater, _, mark in marks[:_MOST_RATERS]
    ]
    if len(marks) > _MOST_RATERS:
        votes.append(f"and {len(marks) - _MOST_RATERS:,} more")
    return replace(display(row), votes=", ".join(votes))


def _share(ups: int, total: int) -> str:
    return f"{100 * ups / total:.0f} %" if total else "no votes"
