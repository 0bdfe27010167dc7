"""Limits of requests: as many a minute for each name, more for a short while."""

from __future__ import annotations

import time
from collections.abc import Callable

_MOST_NAMES = 10_000


class RateLimit:
    """A bucket of tokens for each name, which fills up by `per_minute`.

    >>> limit = RateLimit(2, clock=lambda: 0.0)
    >>> [limit.seconds_to_wait("r001") for _ in range(3)]
    [0.0, 0.0, 30.0]
    """

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._left: dict[str, tuple[float, float]] = {}  # tokens, and when that was

    def seconds_to_wait(self, name: str) -> float:
        """Take a token of this name; return 0, or how long there is none."""
        now = self._clock()
        tokens, then = self._left.pop(name, (self._per_minute, now))
        tokens = min(self._per_minute, tokens + max(0.0, now - then) * self._per_minute / 60)
        waiting = 0.0 if tokens >= 1 else (1 - tokens) * 60 / self._per_minute
        self._left[name] = (tokens if waiting else tokens - 1, now)
        if len(self._left) > _MOST_NAMES:  # the one that was quiet longest
            self._left.pop(next(iter(self._left)))
        return waiting
