"""Sampling of documents: a fixed number of slots, each refilled when its document ends.

    sample_documents           documents 0, 1, 2, ... until there are enough tokens
      _Sampler.sample          this process's documents
        _Documents.next        which document comes next
        Slots.add              it waits in the table of documents
        Slots.advance          some steps; each gives each slot's document one more token
          truncate, pick       from logits to one token
        _Documents.finish      the text of a document that has ended

Each document has its own random stream, which gives one uniform number for each token. So a
document's text does not depend on the number of slots, processes or documents. The exception is
rounding: logits that differ in the last bit change a token about once in a million.
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

_MAX_EMPTY = 10_000  # documents without a single token, after which the model is in error


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
    """Sample documents 0, 1, 2, ... and return the first ones that have `num_tokens` together.

    Of w processes, process r samples documents r, r + w, r + 2w, ... until it has its share of the
    tokens. The shares add up to `num_tokens`. Then each process continues until all have sampled
    the same number of documents, so that no document is missing between the first and the last.

    Args:
        network: made by `for_sampling`.
        settings: the sampling options.
        num_tokens: sampled tokens that are needed, over all processes.
        stream: the random stream of a document, by its index.
        prompt_ids: start token and prompt of a document, by its index.
        end: id of the end token.
        context: positions that the network has.
        read: turns drafts into samples with text.
        advance: told the tokens of each finished document, for the progress display.

    Raises:
        ModelError: a prompt is too long for the context, or the model writes nothing at all.
    """
    rank, world = processes.rank(), processes.world_size()
    sampler = _Sampler(network, settings, stream, prompt_ids, end, context, read, advance)
    # Each process samples its share of the tokens, then as many documents as the others.
    own = sampler.sample(itertools.count(rank, world), math.ceil(num_tokens / world))
    most = max(processes.gather(len(own)))
    own += sampler.sample([rank + world * turn for turn in range(len(own), most)], math.inf)
    # In the order of documents: one of each process in turn.
    by_turn = zip(*processes.gather(own), strict=True)
    samples = list(itertools.chain.from_iterable(by_turn))
    ends = np.cumsum([sample.tokens for sample in samples])
    return samples[: int(np.searchsorted(ends, num_tokens)) + 1]


class _Documents:
    """Which documents are finished, which are in flight, and which comes next.

    Documents are sampled in the order of `indices`; the turn of a document is its position there.
    Short documents end earlier, so the finished ones may have gaps. The prefix is the finished
    documents before the first gap.
    """

    def __init__(self, indices: Iterable[int], num_tokens: float) -> None:
        self._queue = enumerate(indices)
        self._waiting: list[tuple[int, int]] = []  # heap: turn and index of documents put back
        self._begun: dict[int, int] = {}  # documents in flight: index by turn
        self._done: dict[int, Sample] = {}  # by turn
        self._prefix_length = 0  # documents
        self._prefix_tokens = 0
        self._num_tokens = num_tokens
        self.total = 0  # tokens of all finished documents

    @property
    def enough(self) -> bool:
        """Whether the prefix has the tokens that are needed."""
        return self._prefix_tokens >= self._num_tokens

    @property
    def prefix(self) -> list[Sample]:
        """The finished documents before the first gap, no more than are needed."""
        return [self._done[turn] for turn in range(self._prefix_length)]

    def wanted(self, drawn: dict[int, int]) -> float:
        """Tokens still missing beside finished documents and those in flight (`drawn`, by turn)."""
        return self._num_tokens - self.total - sum(drawn.values())

    def next(self) -> tuple[int, int] | None:
        """Begin the next document, and return its turn and index; None where there is no more."""
        following = heappop(self._waiting) if self._waiting else next(self._queue, None)
        if following is not None:
            self._begun[following[0]] = following[1]
        return following

    def put_back(self, turns: Iterable[int]) -> None:
        """Take unfinished documents back; if needed, they begin again and get the same text."""
        for turn in turns:
            heappush(self._waiting, (turn, self._begun.pop(turn)))

    def put_back_all(self) -> None:
        """Take all documents in flight back."""
        self.put_back(list(self._begun))

    def finish(self, turn: int, sample: Sample) -> None:
        """Keep a document that has ended."""
        del self._begun[turn]
        self._done[turn] = sample
        self.total += sample.tokens
        while self._prefix_length in self._done and not self.enough:
            self._prefix_tokens += self._done[self._prefix_length].tokens
            self._prefix_length += 1
        if not self.total and len(self._done) >= _MAX_EMPTY:
            raise ModelError(
                f"sample: the first {len(self._done)} documents hold no text at all: the model "
                "draws only special tokens; check its tokenizer, or the training that led there"
            )

    def surplus(self, drawn: dict[int, int]) -> list[int]:
        """Return the turns of documents in flight that are not needed any more.

        They follow documents that have enough tokens already, finished or in flight. The number of
        tokens in flight may change when the text is read, so the caller puts these documents back
        and does not drop them.
        """
        turn, missing = self._prefix_length, self._num_tokens - self._prefix_tokens
        last = max(drawn, default=-1)
        while missing > 0 and turn <= last:
            missing -= self._done[turn].tokens if turn in self._done else drawn.get(turn, 0)
            turn += 1
        return [other for other in drawn if other >= turn]


class _Sampler:
    """Samples documents of one network from their random streams."""

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

    def sample(self, indices: Iterable[int], num_tokens: float) -> list[Sample]:
        """Return documents of `indices` in order until they have `num_tokens`, or all of them.

        If the device has too little memory for so many slots, half as many continue.
        """
        documents = _Documents(indices, num_tokens)
        while True:
            try:
                self._sample(documents)
                return documents.prefix
            except torch.OutOfMemoryError as error:
                error.__traceback__ = None  # it refers to the tensors that filled the memory
                self._halve_slots(str(error))
            documents.put_back_all()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _halve_slots(self, why: str) -> None:
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

    def _sample(self, documents: _Documents) -> None:
        """Sample until `documents` has enough tokens or no document is left."""
        num_slots = int(min(self.num_slots, max(documents.wanted({}), 1)))
        slots = Slots(self.network, self.settings, num_slots, end=self.end)
        while not documents.enough:
            # 1. Take out documents that are not needed, or begin more if tokens are missing.
            drawn = slots.num_drawn()
            wanted = documents.wanted(drawn)
            if wanted <= 0 and (surplus := documents.surplus(drawn)):
                slots.remove(surplus)
                documents.put_back(surplus)
            if wanted > 0 or not slots.num_documents:
                self._refill(slots, documents)
            if not slots.num_documents:
                break
            # 2. Some steps: no more than could give the missing tokens.
            num_steps = int(min(slots.most_steps, max(1, wanted / slots.num_slots)))
            drafts = slots.advance(num_steps)
            # 3. Keep the documents that have ended.
            for turn, sample in zip(drafts, self.read(list(drafts.values())), strict=True):
                documents.finish(turn, sample)
                self.advance(sample.tokens)

    def _refill(self, slots: Slots, documents: _Documents) -> None:
        """Begin as many documents as the table has room for."""
        entries: list[Entry] = []
        while len(entries) < slots.capacity - slots.num_documents:
            following = documents.next()
            if following is None:
                break
            entries.append(self._entry(*following))
        if entries:
            slots.add(entries)

    def _entry(self, turn: int, index: int) -> Entry:
        """Return a document to begin with its prompt and random numbers.

        Raises:
            ModelError: the prompt and the new tokens do not fit the context.
        """
        prompt, max_new = self.prompt_ids(index), self.settings.max_new_tokens
        if len(prompt) + max_new > self.context:
            raise ModelError(
                f"sample.max_new_tokens: {max_new}: document {index} has a prompt of "
                f"{len(prompt) - 1} tokens; with the start token that is {len(prompt) + max_new} "
                f"positions, and the model has {self.context}"
            )
        rng, mark = self.stream(index), self.settings.watermark
        uniforms = rng.random(max_new)
        # Drawn after the uniforms, which then do not depend on whether there is a watermark.
        is_marked = mark is not None and bool(rng.random() < mark.share)
        return Entry(turn, prompt, uniforms, is_marked)
