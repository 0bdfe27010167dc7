"""A short probe of this machine: trains, samples and scores a little, several times."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from textmad.errors import temporary_files
from textmad.models.protocol import LanguageModel, Sample
from textmad.planning.work_time import Seconds, read_clocks, timed
from textmad.recipe import Recipe
from textmad.seeds import stream
from textmad.text.documents import token_counts

if TYPE_CHECKING:
    from datasets import Dataset

_WARM_UP_TOKENS = 300
_LONGEST_WARM_UP = 10.0  # seconds of an idle machine
_SHORT_TOKENS, _LONG_TOKENS = 1_200, 4_800
_NUM_TURNS = 3
_LONGEST_PROBE = 60.0  # seconds by the clock after which no further turn begins
# Of one turn, which nothing can be compared with: the clock of a busy machine, and CPU time.
_SPREAD_OF_ONE = Seconds(now=2.0, idle=1.25)
_SHORTEST = 1e-9  # seconds: of a model that learns by counting, less than a clock shows


class Rates(NamedTuple):
    """Tokens a second, and how much they differ from turn to turn."""

    train: float
    sample: float  # of a draw so long that all slots are in use
    score: float
    draw_seconds: float = 0.0  # that a draw takes beside its tokens
    spread: float = 1.0  # upper against lower quartile of the turns' seconds

    def seconds_of_draws(self, num_tokens: float, num_draws: float) -> float:
        """Return the seconds of some draws of so many tokens together."""
        return num_draws * self.draw_seconds + num_tokens / self.sample


class Speed(NamedTuple):
    """What a short probe on this machine says."""

    now: Rates  # by the clock, beside whatever else the machine does
    idle: Rates  # by CPU time: on the same machine without other work
    model_bytes: int  # of one saved model
    finished: float = 1.0  # share of the sampled tokens that are in documents with an end


class Work(NamedTuple):
    """Some tokens, and the seconds that they took."""

    tokens: int
    seconds: Seconds


class Turn(NamedTuple):
    """What one turn measured."""

    train: Work
    draws: tuple[Work, ...]  # a short one, and after the warm-up a long one
    score: Work
    finished: float
    model_bytes: int

    @property
    def whole(self) -> Seconds:
        """Seconds of all its work."""
        each = [work.seconds for work in (self.train, *self.draws, self.score)]
        return Seconds(*(sum(parts) for parts in zip(*each, strict=True)))


def probe(recipe: Recipe, model: LanguageModel, human: Dataset) -> Speed:
    """Train, sample and score a little, and return how fast that is here.

    The first, small turn is a warm-up: it loads libraries and takes memory. If it would take more
    than ten seconds of an idle machine, it is the only one, so that the probe of a large model on a
    CPU ends. Else three turns follow, fewer where they take more than a minute, and of each kind of
    work the median counts: on a busy machine some turns have to wait and others do not.

    A draw ends with the steps of its longest documents, in which few slots are in use. These steps
    are as many in a short draw as in one of a whole generation, so two lengths are timed: their
    difference gives the tokens a second, and what is left the seconds of each draw.
    """
    begun = read_clocks().clock
    warm_up = _turn(recipe, model, human, _WARM_UP_TOKENS, _WARM_UP_TOKENS)
    if warm_up.whole.idle > _LONGEST_WARM_UP:
        speed = speed_of([warm_up])
        return speed._replace(idle=speed.idle._replace(spread=_SPREAD_OF_ONE.now))
    turns: list[Turn] = []
    while len(turns) < _NUM_TURNS:
        turns.append(_turn(recipe, model, human, _SHORT_TOKENS, _LONG_TOKENS))
        if read_clocks().clock - begun > _LONGEST_PROBE:
            break
    return speed_of(turns)


def speed_of(turns: Sequence[Turn]) -> Speed:
    """Return the median speed of some turns, by both clocks."""
    return Speed(
        now=_rates(turns, attrgetter("now")),
        idle=_rates(turns, attrgetter("idle")),
        model_bytes=turns[-1].model_bytes,
        finished=statistics.median(turn.finished for turn in turns),
    )


def _rates(turns: Sequence[Turn], clock: Callable[[Seconds], float]) -> Rates:
    """Return the rates by one of the two clocks."""

    def median(works: Iterable[Work]) -> tuple[int, float]:
        """Return the tokens, and the median of their seconds."""
        same = list(works)
        seconds = statistics.median(clock(work.seconds) for work in same)
        return same[0].tokens, max(seconds, _SHORTEST)

    def rate(works: Iterable[Work]) -> float:
        num_tokens, seconds = median(works)
        return num_tokens / seconds

    spread = clock(_SPREAD_OF_ONE)
    if len(turns) > 1:
        low, high = np.quantile([max(clock(turn.whole), _SHORTEST) for turn in turns], [0.25, 0.75])
        spread = float(high / low)
    by_length = zip(*(turn.draws for turn in turns), strict=True)
    sample, draw_seconds = _draw_rates([median(same) for same in by_length])
    return Rates(
        train=rate(turn.train for turn in turns),
        sample=sample,
        score=rate(turn.score for turn in turns),
        draw_seconds=draw_seconds,
        spread=spread,
    )


def _draw_rates(draws: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Return tokens a second and seconds a draw, from tokens and seconds of draws by length.

    Where a longer draw took no longer, or there is one alone, all of its time is its tokens'.
    """
    (few, short), (many, long) = draws[0], draws[-1]
    if many <= few or long <= short:
        return many / long, 0.0
    rate = (many - few) / (long - short)
    return rate, max(0.0, short - few / rate)


def _turn(
    recipe: Recipe, model: LanguageModel, human: Dataset, num_short: int, num_long: int
) -> Turn:
    """Train about `num_short` tokens, draw as many and `num_long`, and score `num_long`."""
    few, more = _first(human, num_short), _first(human, num_long)
    once = recipe.train.model_copy(update={"epochs": 1.0})
    fitted, train = timed(lambda: model.fit(few, once, seed=0).model)
    _, score = timed(lambda: fitted.token_nll(more["text"]))
    drawn: list[Work] = []
    finished = 1.0
    for num_tokens in sorted({num_short, num_long}):
        samples, seconds = timed(partial(_draw, fitted, recipe, num_tokens))
        lengths = [document.tokens for document in samples]
        drawn.append(Work(sum(lengths), seconds))
        finished = float(np.average([each.finished for each in samples], weights=lengths))
    return Turn(
        train=Work(sum(few["tokens"]), train),
        draws=tuple(drawn),
        score=Work(sum(more["tokens"]), score),
        finished=finished,
        model_bytes=_saved_bytes(fitted),
    )


def _first(human: Dataset, num_tokens: int) -> Dataset:
    """Return the first documents that hold so many tokens, two at least: a variance needs two."""
    size = int(np.searchsorted(np.cumsum(token_counts(human)), num_tokens)) + 1
    return human.select(range(min(max(size, 2), len(human))))


def _draw(model: LanguageModel, recipe: Recipe, num_tokens: int) -> list[Sample]:
    return model.sample(
        recipe.sample, num_tokens=num_tokens, stream=lambda i: stream(0, "probe", i)
    )


def _saved_bytes(model: LanguageModel) -> int:
    with temporary_files(), tempfile.TemporaryDirectory(prefix="textmad-") as folder:
        model.save(Path(folder))
        return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
