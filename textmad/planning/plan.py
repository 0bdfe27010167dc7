"""What a run will take, and how that reads."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from textmad.loop.feasibility import ROOM, oversample_with_room
from textmad.planning.throughput import Rates, Speed
from textmad.planning.work_time import Seconds
from textmad.progress import about

# Measured on runs of the quickstart; columns and manifests included.
_BYTES_A_TOKEN = 2.5  # of documents in Parquet
_BYTES_A_SAMPLED_TOKEN = 3.4  # of candidates, with the sampled ids of three in ten
_BYTES_A_GENERATION = 60_000  # metrics, manifests, training curve


# Judged text is read once under the reference model, and twice in a step: two forward passes more
# than training, whose backward pass costs two.
_PREFERENCE_COST = 5 / 3

# The probe is short and a machine's load changes: the time is given with this much room at least.
_MARGIN = 1.25

_WITHOUT = "without your own filters and evaluators"

Bounds = tuple[float, float]
"""The least and the most seconds."""


class CrawlPlan(NamedTuple):
    """What one generation crawls as human text."""

    tokens: int
    unlabelled_tokens: int  # of these, a model's
    kept_share: float  # of the documents, by the crawl filters that keep a fixed share
    needed_tokens: int

    @property
    def kept_tokens(self) -> int:
        """Tokens that the crawl filters with a fixed share keep, about."""
        return round(self.tokens * self.kept_share)

    def to_text(self) -> str:
        """A line of the plan."""
        return (
            f"crawling       {self.tokens:,} tokens a generation, {self.unlabelled_tokens:,} of "
            f"them a model's; keeping at most about {self.kept_tokens:,}, "
            f"{self.needed_tokens:,} needed{self.shortage()}"
        )

    def shortage(self) -> str:
        """What to change where the crawl filters may leave too little; empty where they do not."""
        return _shortage(self.kept_tokens, self.needed_tokens, self.kept_share, "crawl")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a recipe alone tells of its run."""

    generations: int
    human_tokens_needed: int
    trained_tokens: list[int]  # by generation, epochs included
    drawn_tokens: int  # by each generation
    kept_share: float  # of the documents, by the filters that keep a fixed share
    model_tokens: int  # kept tokens that the next mixture needs
    crawl: CrawlPlan | None = None  # of each generation from 1 on
    members: int | None = None  # of a population; tokens are those of one member
    preferred_tokens: int = 0  # of judged text, learned by each generation from 1 on

    @property
    def stages(self) -> int:
        """Folders that will be committed."""
        of_members = 0 if self.members is None else 1
        each = 5 * self.models + of_members
        return 2 + each * (self.generations + 1) + (self.generations if self.crawl else 0)

    @property
    def models(self) -> int:
        """Models that each generation trains."""
        return self.members or 1

    @property
    def kept_tokens(self) -> int:
        """Tokens that the filters with a fixed share leave of what a generation samples, about."""
        return round(self.drawn_tokens * self.kept_share)

    def budget_lines(self) -> list[str]:
        """Return a line for each fact."""
        return [
            f"generations    0 to {self.generations}, {self.stages} stages",
            *(
                [f"population     {self.members} members, each of which takes the tokens below"]
                if self.members
                else []
            ),
            f"training       {_each(self.trained_tokens)} tokens a generation, "
            f"{sum(self.trained_tokens):,} in all",
            *(
                [
                    f"preference     at most {self.preferred_tokens:,} tokens of judged text in "
                    "each generation from 1 on"
                ]
                if self.preferred_tokens
                else []
            ),
            f"sampling       {self.drawn_tokens:,} tokens a generation",
            f"keeping        at most about {self.kept_tokens:,} of them, "
            f"{self.model_tokens:,} needed{self.shortage()}",
        ]

    def shortage(self) -> str:
        """What to change where the filters may leave too little; empty where they do not."""
        return _shortage(self.kept_tokens, self.model_tokens, self.kept_share, "sample")


@dataclass(frozen=True, kw_only=True)
class Plan(Budget):
    """What a run will take; the estimate of time is from a short probe on this machine."""

    human_documents: int
    human_tokens: int
    held_out_documents: int
    held_out_tokens: int
    base_tokens: int  # sampled once from the base model; 0 if it cannot write
    scored_tokens: int  # in all, by evaluators and filters
    opening: Seconds  # that model and corpus took just now, as they will in the run
    speed: Speed
    notes: tuple[str, ...] = ()  # on the corpus
    chosen_tokens: Mapping[str, int] = field(default_factory=dict)  # held-out, by the precision

    @property
    def disk_bytes(self) -> int:
        """Estimated size of the run folder."""
        models = self.models
        texts = self.human_tokens + self.held_out_tokens + models * sum(self.trained_tokens)
        sampled = self.base_tokens + 2 * models * self.drawn_tokens * (self.generations + 1)
        crawled = self.crawl.tokens * self.generations if self.crawl else 0
        each = self.speed.model_bytes + _BYTES_A_GENERATION
        others = models * each * (self.generations + 1)
        corpora = (texts + crawled) * _BYTES_A_TOKEN + sampled * _BYTES_A_SAMPLED_TOKEN
        return others + round(corpora)

    @property
    def seconds(self) -> Seconds:
        """Estimated time of opening, training, sampling and scoring, by both clocks."""
        return Seconds(
            now=self._seconds(self.opening.now, self.speed.now),
            idle=self._seconds(self.opening.idle, self.speed.idle),
        )

    def _seconds(self, opening: float, rates: Rates) -> float:
        num_draws = self.models * (self.generations + 1)
        preferred = self.generations * self.preferred_tokens * _PREFERENCE_COST
        return (
            opening
            + self.models * sum(self.trained_tokens) / rates.train
            + self.models * preferred / rates.train
            + rates.seconds_of_draws(num_draws * self.drawn_tokens, num_draws)
            + self.seconds_of_base(rates)
            + self.scored_tokens / rates.score
        )

    def seconds_of_base(self, rates: Rates) -> float:
        """Return the seconds in which the base model's own text is sampled, once."""
        return rates.seconds_of_draws(self.base_tokens, 1 if self.base_tokens else 0)

    @property
    def postable_tokens(self) -> int:
        """Kept tokens in documents with an end token: no others are posted without a label."""
        return round(self.kept_tokens * self.speed.finished)

    @property
    def ranges(self) -> tuple[Bounds, Bounds]:
        """Bounds of the time now and on an idle machine, from how much the probe varied."""
        return (
            _bounds(self.seconds.now, self.speed.now.spread),
            _bounds(self.seconds.idle, self.speed.idle.spread),
        )

    def to_text(self) -> str:
        """Return a line for each fact, what is known exactly before what is estimated."""
        return "\n".join([*self.budget_lines(), *self.text_lines(), *self.time_lines()])

    def text_lines(self) -> list[str]:
        """Return what reading the human text tells."""
        return [
            f"human text     {self.human_documents:,} documents, {self.human_tokens:,} tokens; "
            f"{self.human_tokens_needed:,} needed",
            f"held-out       {self.held_out_documents:,} documents, "
            f"{self.held_out_tokens:,} tokens{self._chosen()}",
            *(
                [f"base model     {self.base_tokens:,} tokens sampled once, as a reference"]
                if self.base_tokens
                else []
            ),
            *(f"note           {note}" for note in self.notes),
        ]

    def _chosen(self) -> str:
        """Return how much held-out text is scored where a precision chooses it; else nothing."""
        return "".join(
            f"; {min(tokens, self.held_out_tokens):,} scored for {precision}"
            + (f", TOO FEW: {tokens:,} needed" if tokens > self.held_out_tokens else "")
            for precision, tokens in self.chosen_tokens.items()
        )

    def time_lines(self) -> list[str]:
        """Return what the probe of this machine tells."""
        speed, (now, idle) = self.speed, self.ranges
        return [
            *([self.crawl.to_text() + self._unposted()] if self.crawl else []),
            f"disk           about {self.disk_bytes / 1e6:,.0f} MB{lack_of_space(self.disk_bytes)}",
            f"speed, now     {_rates_text(speed.now)} tokens a second here, by the clock",
            f"speed, idle    {_rates_text(speed.idle)} by CPU time, without other work here",
            f"time, now      {between(*now)} on this machine as it is, {_WITHOUT}",
            f"time, idle     {between(*idle)} on this machine without other work, {_WITHOUT}",
        ]

    def shortages(self) -> str:
        """All shortages of text that would stop the run; empty if there are none."""
        crawling = self.crawl.shortage() if self.crawl else ""
        return self.shortage() + crawling + self._unposted()

    def _unposted(self) -> str:
        """Advice if a crawl needs more model text than can be posted; else empty."""
        if self.crawl is None or self.postable_tokens >= self.crawl.unlabelled_tokens:
            return ""
        if not self.speed.finished:
            return "; NOTHING CAN BE POSTED, no document of the probe ended: raise max_new_tokens"
        times = self.crawl.unlabelled_tokens / (self.kept_share * self.speed.finished)
        return (
            f"; of a model's about {self.postable_tokens:,} are in documents with an end: TOO FEW, "
            f"raise sample.oversample to {_rounded_up(times / self.model_tokens)} or more"
        )


def lack_of_space(num_bytes: int) -> str:
    """Advice where the current folder's disk has less than this free; else empty."""
    free = shutil.disk_usage(".").free
    if num_bytes <= free:
        return ""
    return f"; TOO MUCH: {free / 1e6:,.0f} MB are free here, use another disk for --out"


def _shortage(kept: int, needed: int, kept_share: float, group: str) -> str:
    """Advice where the room for filters that keep short documents is small.

    Too little for any filter is an error before a plan is made (`check_kept_text`).
    """
    if kept_share == 1 or kept >= needed * ROOM:
        return ""
    return (
        f": TOO FEW if the filters keep short documents, {group}.oversample: "
        f"{oversample_with_room(kept_share):g} has room"
    )


def _rounded_up(times: float) -> str:
    return f"{math.ceil(round(10 * times, 6)) / 10:g}"


def _bounds(seconds: float, spread: float) -> Bounds:
    return seconds / (_MARGIN * spread), seconds * _MARGIN * spread


def _rates_text(rates: Rates) -> str:
    return f"training {rates.train:,.0f}, sampling {rates.sample:,.0f}, scoring {rates.score:,.0f}"


def _each(tokens: list[int]) -> str:
    return f"{tokens[0]:,}" if len(set(tokens)) == 1 else f"{tokens[0]:,} to {tokens[-1]:,}"


def between(low: float, high: float) -> str:
    """Return a range of durations in words, no more precisely than it is known.

    >>> between(200, 500), between(50, 70), between(640, 700)
    ('3 to 8 minutes', '50 to 70 seconds', '11 to 12 minutes')
    """
    first, last = about(low), about(high)
    if first == last:
        return f"about {first}"
    number, _, unit = first.partition(" ")
    is_same_unit = unit.removesuffix("s") == last.partition(" ")[2].removesuffix("s")
    return f"{number if is_same_unit else first} to {last}"
