"""What a run will take, and how that reads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from textmad.loop.feasibility import ROOM, oversample_with_room
from textmad.planning.throughput import Speed

# Measured on runs of the quickstart; columns and manifests included.
_BYTES_A_TOKEN = 2.5  # of documents in Parquet
_BYTES_A_GENERATION = 60_000  # metrics, manifests, training curve


class CrawlPlan(NamedTuple):
    """What one generation crawls as human text."""

    tokens: int
    unlabelled_tokens: int  # of these, a model's
    kept_share: float  # of the documents, by the guards that keep a fixed share
    needed_tokens: int

    @property
    def kept_tokens(self) -> int:
        """Tokens that the guards with a fixed share leave of a crawl, about."""
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


@dataclass(frozen=True)
class Plan:
    """What a run will take; the estimate of time is from a short probe on this machine."""

    generations: int
    human_documents: int
    human_tokens: int
    held_out_documents: int
    held_out_tokens: int
    human_tokens_needed: int
    trained_tokens: list[int]  # by generation, epochs included
    drawn_tokens: int  # by each generation
    kept_share: float  # of the documents, by the filters that keep a fixed share
    model_tokens: int  # kept tokens that the next mixture needs
    scored_tokens: int  # in all, by evaluators and filters
    opening_seconds: float  # that model and corpus took just now, as they will in the run
    speed: Speed
    crawl: CrawlPlan | None = None  # of each generation from 1 on

    @property
    def stages(self) -> int:
        """Folders that will be committed."""
        return 1 + 5 * (self.generations + 1) + (self.generations if self.crawl else 0)

    @property
    def disk_bytes(self) -> int:
        """Estimated size of the run folder."""
        texts = self.human_tokens + self.held_out_tokens + sum(self.trained_tokens)
        drawn = 2 * self.drawn_tokens * (self.generations + 1)
        crawled = self.crawl.tokens * self.generations if self.crawl else 0
        others = (self.speed.model_bytes + _BYTES_A_GENERATION) * (self.generations + 1)
        return others + round((texts + drawn + crawled) * _BYTES_A_TOKEN)

    @property
    def seconds(self) -> float:
        """Estimated time of opening, training, sampling and scoring."""
        return (
            self.opening_seconds
            + sum(self.trained_tokens) / self.speed.train
            + self.drawn_tokens * (self.generations + 1) / self.speed.sample
            + self.scored_tokens / self.speed.score
        )

    @property
    def kept_tokens(self) -> int:
        """Tokens that the filters with a fixed share leave of what a generation draws, about."""
        return round(self.drawn_tokens * self.kept_share)

    @property
    def postable_tokens(self) -> int:
        """Of these the ones in documents with an end: no others are posted without a label."""
        return round(self.kept_tokens * self.speed.finished)

    def to_text(self) -> str:
        """A line a fact."""
        return "\n".join(
            [
                f"generations    0 to {self.generations}, {self.stages} stages",
                f"human text     {self.human_documents:,} documents, {self.human_tokens:,} tokens; "
                f"{self.human_tokens_needed:,} needed",
                f"held-out       {self.held_out_documents:,} documents, "
                f"{self.held_out_tokens:,} tokens",
                f"training       {_each(self.trained_tokens)} tokens a generation, "
                f"{sum(self.trained_tokens):,} in all ({self.speed.train:,.0f} a second here)",
                f"drawing        {self.drawn_tokens:,} tokens a generation "
                f"({self.speed.sample:,.0f} a second here)",
                f"keeping        at most about {self.kept_tokens:,} of them, "
                f"{self.model_tokens:,} needed{self.shortage()}",
                *([self.crawl.to_text() + self._unposted()] if self.crawl else []),
                f"disk           about {self.disk_bytes / 1e6:,.0f} MB",
                f"time           about {self.seconds / 60:.1f} minutes on this machine, "
                "your own filters and evaluators not counted",
            ]
        )

    def shortage(self) -> str:
        """What to change where the filters may leave too little; empty where they do not."""
        return _shortage(self.kept_tokens, self.model_tokens, self.kept_share, "sample")

    def shortages(self) -> str:
        """All that would stop the run for want of text; empty where nothing would."""
        crawling = self.crawl.shortage() if self.crawl else ""
        return self.shortage() + crawling + self._unposted()

    def _unposted(self) -> str:
        """The same where a crawl wants more of a model's text than can be posted."""
        if self.crawl is None or self.postable_tokens >= self.crawl.unlabelled_tokens:
            return ""
        if not self.speed.finished:
            return "; NOTHING CAN BE POSTED, no document of the probe ended: raise max_new_tokens"
        times = self.crawl.unlabelled_tokens / (self.kept_share * self.speed.finished)
        return (
            f"; of a model's about {self.postable_tokens:,} are in documents with an end: TOO FEW, "
            f"raise sample.oversample to {_rounded_up(times / self.model_tokens)} or more"
        )


def _shortage(kept: int, needed: int, kept_share: float, group: str) -> str:
    """Advice where the room for filters that keep short documents is small.

    Too little for any filter is refused before a plan is made (`check_kept_text`).
    """
    if kept_share == 1 or kept >= needed * ROOM:
        return ""
    return (
        f": TOO FEW if the filters keep short documents, {group}.oversample: "
        f"{oversample_with_room(kept_share):g} has room"
    )


def _rounded_up(times: float) -> str:
    return f"{math.ceil(round(10 * times, 6)) / 10:g}"


def _each(tokens: list[int]) -> str:
    return f"{tokens[0]:,}" if len(set(tokens)) == 1 else f"{tokens[0]:,} to {tokens[-1]:,}"
