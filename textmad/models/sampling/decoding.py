"""Sampling: a fixed number of slots, each refilled with the next document as soon as it is free.

Every document is drawn from its own stream, one uniform a token, so its text depends on neither
the slots nor the processes nor how many documents are drawn (up to the rounding of the logits,
which decides a draw about once in a million tokens).
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import numpy as np
import torch

from textmad.errors import ModelError
from textmad.models.distributed import processes
from textmad.models.protocol import Advance, Sample, no_advance
from textmad.models.sampling.slots import Draft, Entry, Slots
from textmad.recipe import SampleSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_log = logging.getLogger(__name__)

_MAX_SILENT = 10_000  # documents without a single token before the model is given up


def sample_documents(
    network: PreTrainedModel,
    settings: SampleSettings,
    *,
    num_tokens: int,
    stream: Callable[[int], np.random.Generator],
    prompt_ids: Callable[[int], np.ndarray],
    end: int,
    context: int,
    read: Callable[[Sequence[Draft]], list[Sample]],
    advance: Advance = no_advance,
) -> list[Sample]:
    """Documents 0, 1, 2, ...: the shortest prefix with at least `num_tokens` tokens.

    Of w processes the one of rank r draws documents r, r + w, r + 2w, ... up to its share of the
    tokens; then all draw on to the last document that any of them began with, which is enough for
    the prefix since the shares alone add up to `num_tokens`. `prompt_ids(i)` begins with
    the start token; `read` turns ids to text.

    Raises:
        ModelError: a prompt is too long for the context, or the model writes nothing at all.
    """
    rank, world = processes.rank(), processes.world_size()
    sampler = _Sampler(network, settings, stream, prompt_ids, end, context, read, advance)
    share = math.ceil(num_tokens / world)
    mine = sampler.draw(itertools.count(rank, world), share)
    longest = max(processes.gather(len(mine)))
    mine += sampler.draw([rank + world * turn for turn in range(len(mine), longest)], math.inf)
    turns = zip(*processes.gather(mine), strict=True)
    everything = list(itertools.chain.from_iterable(turns))
    ends = np.cumsum([drawn.tokens for drawn in everything])
    return everything[: int(np.searchsorted(ends, num_tokens)) + 1]


class _Documents:
    """What has been drawn, and what comes next, in the order of `indices`."""

    def __init__(self, indices: Iterable[int], num_tokens: float) -> None:
        self._queue = enumerate(indices)
        self._waiting: list[tuple[int, int]] = []  # turn and index of documents put back
        self._begun: dict[int, int] = {}  # turn and index of documents in flight
        self._done: dict[int, Sample] = {}
        self._held = 0  # tokens in the first `_whole` documents, all of them done
        self._whole = 0
        self._num_tokens = num_tokens
        self.total = 0  # tokens of all that are done

    @property
    def enough(self) -> bool:
        """Whether the first documents hold the tokens."""
        return self._held >= self._num_tokens

    @property
    def prefix(self) -> list[Sample]:
        """The first documents, as many as are needed."""
        return [self._done[turn] for turn in range(self._whole)]

    def wanted(self, drawn: dict[int, int]) -> float:
        """Tokens that neither the documents done nor those in flight, `drawn`, hold yet."""
        return self._num_tokens - self.total - sum(drawn.values())

    def next(self) -> tuple[int, int] | None:
        """Turn and index of the next document, begun with this."""
        following = heappop(self._waiting) if self._waiting else next(self._queue, None)
        if following is not None:
            self._begun[following[0]] = following[1]
        return following

    def put_back(self, turns: Iterable[int]) -> None:
        """These were not finished, and will be begun again, the same, if they are needed."""
        for turn in turns:
            heappush(self._waiting, (turn, self._begun.pop(turn)))

    def put_back_all(self) -> None:
        """No document is in flight any more."""
        self.put_back(list(self._begun))

    def finish(self, turn: int, drawn: Sample) -> None:
        """Keep a document that is over."""
        del self._begun[turn]
        self._done[turn] = drawn
        self.total += drawn.tokens
        while self._whole in self._done and not self.enough:
            self._held += self._done[self._whole].tokens
            self._whole += 1
        if not self.total and len(self._done) >= _MAX_SILENT:
            raise ModelError(
                f"sample: the first {len(self._done)} documents hold no text at all: the model "
                "draws only special tokens; check its tokenizer, or the training that led there"
            )

    def surplus(self, drawn: dict[int, int]) -> list[int]:
        """Documents in flight behind enough tokens: none of theirs will be needed.

        Tokens in flight are counted as drawn, which reading the text again may correct; the
        documents taken out are put back for that case.
        """
        turn, missing = self._whole, self._num_tokens - self._held
        last = max(drawn, default=-1)
        while missing > 0 and turn <= last:
            missing -= self._done[turn].tokens if turn in self._done else drawn.get(turn, 0)
            turn += 1
        return [other for other in drawn if other >= turn]


class _Sampler:
    """Draws documents of one network from their streams."""

    def __init__(
        self,
        network: PreTrainedModel,
        settings: SampleSettings,
        stream: Callable[[int], np.random.Generator],
        prompt_ids: Callable[[int], np.ndarray],
        end: int,
        context: int,
        read: Callable[[Sequence[Draft]], list[Sample]],
        advance: Advance,
    ) -> None:
        self.network, self.settings, self.end, self.context = network, settings, end, context
        self.stream, self.prompt_ids, self.read, self.advance = stream, prompt_ids, read, advance
        self.num_slots = settings.slots

    def draw(self, indices: Iterable[int], num_tokens: float) -> list[Sample]:
        """Documents of `indices` in order, the shortest prefix that holds `num_tokens`, or all.

        Where the device has no memory for so many slots, half of them go on.
        """
        documents = _Documents(indices, num_tokens)
        while True:
            try:
                self._draw(documents)
                return documents.prefix
            except torch.OutOfMemoryError as error:
                # The error's traceback holds on to what filled the memory.
                error.__traceback__ = None
                self._halve(str(error))
            documents.put_back_all()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _halve(self, why: str) -> None:
        if self.num_slots == 1:
            raise ModelError(
                "sample.slots: out of memory with a single slot; lower sample.max_new_tokens, or "
                f"use a smaller model or a device with more memory: {why.splitlines()[0]}"
            )
        _log.warning(
            "sample: out of memory with %d slots: going on with %d, the text is the same; "
            "sample.slots: %d would spare the attempt",
            self.num_slots,
            self.num_slots // 2,
            self.num_slots // 2,
        )
        self.num_slots //= 2

    def _draw(self, documents: _Documents) -> None:
        """No document is begun while those done and in flight already hold enough."""
        num_slots = int(min(self.num_slots, max(documents.wanted({}), 1)))
        slots = Slots(self.network, self.settings, num_slots, end=self.end)
        while not documents.enough:
            drawn = slots.num_drawn()
            wanted = documents.wanted(drawn)
            if wanted <= 0 and (surplus := documents.surplus(drawn)):
                slots.remove(surplus)
                documents.put_back(surplus)
            if wanted > 0 or not slots.num_documents:
                self._refill(slots, documents)
            if not slots.num_documents:
                break
            steps = int(min(slots.most_steps, max(1, wanted / slots.num_slots)))
            drafts = slots.advance(steps)
            for turn, text in zip(drafts, self.read(list(drafts.values())), strict=True):
                documents.finish(turn, text)
                self.advance(text.tokens)

    def _refill(self, slots: Slots, documents: _Documents) -> None:
        entries: list[Entry] = []
        while len(entries) < slots.capacity - slots.num_documents:
            following = documents.next()
            if following is None:
                break
            entries.append(self._entry(*following))
        if entries:
            slots.add(entries)

    def _entry(self, turn: int, index: int) -> Entry:
        prompt, most = self.prompt_ids(index), self.settings.max_new_tokens
        if len(prompt) + most > self.context:
            raise ModelError(
                f"sample.max_new_tokens: {most}: document {index} has a prompt of "
                f"{len(prompt) - 1} tokens; with the start token that is {len(prompt) + most} "
                f"positions, and the model has {self.context}"
            )
        rng, mark = self.stream(index), self.settings.watermark
        uniforms = rng.random(most)
        # Drawn last, so that a document without the watermark is as in a run without watermarks.
        return Entry(turn, prompt, uniforms, mark is not None and bool(rng.random() < mark.share))
