"""Sampling: a fixed number of slots, each refilled with the next document as soon as it is free.

Every document is drawn from its own stream, one uniform a token, so its text depends on neither
the slots nor the processes nor how many documents are drawn (up to the rounding of the logits,
which decides a draw about once in a million tokens).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from textmad.errors import ModelError
from textmad.models import Advance, Drawn, no_advance, processes
from textmad.models.ring_cache import RingCache
from textmad.models.token_choice import pick, truncate
from textmad.recipe import SampleSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_MAX_SILENT = 10_000  # documents without a single token before the model is given up


class Draft(NamedTuple):
    """A document as ids."""

    prompt: np.ndarray  # start token and prompt
    ids: np.ndarray  # drawn, without the end token
    finished: bool


def sample_documents(
    network: PreTrainedModel,
    settings: SampleSettings,
    *,
    num_tokens: int,
    stream: Callable[[int], np.random.Generator],
    prompt_ids: Callable[[int], np.ndarray],
    end: int,
    context: int,
    read: Callable[[Sequence[Draft]], list[Drawn]],
    advance: Advance = no_advance,
) -> list[Drawn]:
    """Documents 0, 1, 2, ...: the shortest prefix with at least `num_tokens` tokens.

    Of w processes the one of rank r draws documents r, r + w, r + 2w, ... up to its share of the
    tokens; then all draw on to the last document that any of them began with, which is enough for
    the prefix since the shares alone add up to `num_tokens`. `prompt_ids(i)` begins with
    the start token; `read` turns ids to text.

    Raises:
        ModelError: a prompt is too long for the context, or the model writes nothing at all.
    """
    rank, world = processes.rank(), processes.world_size()

    def draw(indices: Iterable[int], budget: float, num_slots: int) -> list[Drawn]:
        slots = _Slots(network, settings, num_slots, stream, prompt_ids, end, context)
        return slots.draw(indices, budget, read, advance)

    share = math.ceil(num_tokens / world)
    mine = draw(itertools.count(rank, world), share, min(settings.slots, share))
    longest = max(processes.gather(len(mine)))
    rest = [rank + world * turn for turn in range(len(mine), longest)]
    mine += draw(rest, math.inf, min(settings.slots, len(rest)))
    turns = zip(*processes.gather(mine), strict=True)
    everything = list(itertools.chain.from_iterable(turns))
    ends = np.cumsum([drawn.tokens for drawn in everything])
    return everything[: int(np.searchsorted(ends, num_tokens)) + 1]


class _Slots:
    """The documents in flight, one a row; `turn` counts documents in the order of their start."""

    def __init__(
        self,
        network: PreTrainedModel,
        settings: SampleSettings,
        num_slots: int,
        stream: Callable[[int], np.random.Generator],
        prompt_ids: Callable[[int], np.ndarray],
        end: int,
        context: int,
    ) -> None:
        self.network, self.settings, self.end, self.context = network, settings, end, context
        self.stream, self.prompt_ids = stream, prompt_ids
        longest = settings.max_new_tokens  # fed tokens of a document without a prompt
        self.turn = np.full(num_slots, -1)  # -1: free
        self.index = np.zeros(num_slots, np.int64)
        self.waiting: list[tuple[int, int]] = []  # turn and index of documents taken out again
        self.position = np.zeros(num_slots, np.int64)  # of the token fed next
        self.known = np.ones(num_slots, np.int64)  # start token and prompt: fed, not drawn
        self.ids = np.zeros((num_slots, 1 + longest), np.int64)  # prompt and drawn
        self.uniforms = np.zeros((num_slots, longest))
        self.cache = RingCache(network.config.num_hidden_layers, longest)
        self.mask = self._closed(num_slots, longest)  # added to attention scores
        table = (num_slots, network.config.vocab_size)
        self.scratch = torch.empty(table, dtype=torch.float64, device=network.device)
        self.seen = None
        if settings.repetition_penalty != 1.0:
            self.seen = torch.zeros(table, dtype=torch.bool, device=network.device)

    # --- the loop ---------------------------------------------------------------------------

    @torch.inference_mode()
    def draw(
        self,
        indices: Iterable[int],
        num_tokens: float,
        read: Callable[[Sequence[Draft]], list[Drawn]],
        advance: Advance,
    ) -> list[Drawn]:
        """Documents of `indices` in order, the shortest prefix that holds `num_tokens`, or all.

        No document is begun while those done and in flight already hold enough.
        """
        queue = enumerate(indices)
        done: dict[int, Drawn] = {}
        total = held = whole = 0  # `held` tokens in the first `whole` documents, all of them done
        while held < num_tokens:
            wanted = num_tokens - total - int(self._num_drawn().sum())
            if wanted <= 0:
                self._take_out_surplus(done, whole, num_tokens - held)
            if wanted > 0 or (self.turn < 0).all():
                self._refill(queue)
            busy = np.flatnonzero(self.turn >= 0)
            if not len(busy):
                break
            if 2 * len(busy) <= len(self.turn):
                self._move(busy, self.cache.length)
            drafts = self._step()
            for turn, drawn in zip(drafts, read(list(drafts.values())), strict=True):
                done[turn] = drawn
                total += drawn.tokens
                advance(drawn.tokens)
            while whole in done and held < num_tokens:
                held += done[whole].tokens
                whole += 1
            if not total and len(done) >= _MAX_SILENT:
                raise ModelError(
                    f"sample: the first {len(done)} documents hold no text at all: the model draws "
                    "only special tokens; check its tokenizer, or the training that led there"
                )
        return [done[turn] for turn in range(whole)]

    def _num_drawn(self) -> np.ndarray:
        """Tokens drawn so far by the document in each slot."""
        drawn: np.ndarray = np.maximum(self.position - self.known + 1, 0) * (self.turn >= 0)
        return drawn

    def _refill(self, queue: Iterator[tuple[int, int]]) -> None:
        for row in np.flatnonzero(self.turn < 0):
            following = heappop(self.waiting) if self.waiting else next(queue, None)
            if following is None:
                break
            self._begin(int(row), *following)

    def _take_out_surplus(self, done: dict[int, Drawn], turn: int, missing: float) -> None:
        """Free the slots of documents behind enough tokens: none of theirs will be needed.

        Tokens in flight are counted as drawn, which reading the text again may correct; the
        documents taken out wait for that case and would be drawn again, the same.
        """
        row_of = {int(turn): row for row, turn in enumerate(self.turn) if turn >= 0}
        drawn = self._num_drawn()
        while missing > 0 and turn <= max(row_of, default=-1):
            if turn in done:
                missing -= done[turn].tokens
            elif turn in row_of:
                missing -= int(drawn[row_of[turn]])
            turn += 1
        for surplus in [t for t in row_of if t >= turn]:
            row = row_of[surplus]
            heappush(self.waiting, (surplus, int(self.index[row])))
            self.turn[row] = -1

    def _begin(self, row: int, turn: int, index: int) -> None:
        prompt, most = self.prompt_ids(index), self.settings.max_new_tokens
        if len(prompt) + most > self.context:
            raise ModelError(
                f"sample.max_new_tokens: {most}: document {index} has a prompt of "
                f"{len(prompt) - 1} tokens; with the start token that is {len(prompt) + most} "
                f"positions, and the model has {self.context}"
            )
        needed = len(prompt) + most - 1  # the last token drawn is not fed
        if needed > self.cache.length:
            self._move(np.arange(len(self.turn)), needed)
        self.turn[row], self.index[row] = turn, index
        self.position[row], self.known[row] = 0, len(prompt)
        self.ids[row, : len(prompt)] = prompt
        self.uniforms[row] = self.stream(index).random(most)
        self.mask[row] = torch.finfo(self.mask.dtype).min
        if self.seen is not None:
            self.seen[row] = False

    def _step(self) -> dict[int, Draft]:
        """Feed one token a slot, draw the next where the prompt is over; the documents that end."""
        rows = np.arange(len(self.turn))
        chosen = self._choose(self.ids[rows, self.position])
        self.position += 1
        free = self.position >= self.known
        self.ids[rows[free], self.position[free]] = chosen[free]
        full = self.position + 1 - self.known == self.settings.max_new_tokens
        ended = free & (chosen == self.end)
        over = np.flatnonzero((ended | full) & (self.turn >= 0))
        drafts = {int(self.turn[row]): self._draft(int(row), bool(ended[row])) for row in over}
        self.turn[over] = -1
        self.position[self.turn < 0] = 0  # a free slot runs idle at position 0
        return drafts

    def _draft(self, row: int, finished: bool) -> Draft:
        known, stop = self.known[row], self.position[row] + (not finished)
        return Draft(self.ids[row, :known].copy(), self.ids[row, known:stop].copy(), finished)

    def _choose(self, fed: np.ndarray) -> np.ndarray:
        """The token that each slot's document would go on with, (slots,)."""
        device = self.network.device
        tokens = torch.from_numpy(fed).to(device)
        if self.seen is not None:
            self.seen[torch.arange(len(fed), device=device), tokens] = True
        self.mask[..., self.cache.column] = 0.0
        logits = self.network(
            input_ids=tokens.unsqueeze(1),
            position_ids=torch.from_numpy(self.position).to(device).unsqueeze(1),
            attention_mask=self.mask[..., : self.cache.width],
            past_key_values=self.cache,
            use_cache=True,
        ).logits[:, -1]
        self.cache.step += 1
        number = np.maximum(self.position + 1 - self.known, 0)
        uniform = torch.from_numpy(self.uniforms[np.arange(len(fed)), number]).to(device)
        chosen = pick(truncate(logits, self.settings, self.seen), uniform, self.scratch)
        ids: np.ndarray = chosen.cpu().numpy()
        return ids

    # --- memory -----------------------------------------------------------------------------

    def _closed(self, num_slots: int, length: int) -> torch.Tensor:
        least = torch.finfo(self.network.dtype).min
        return torch.full(
            (num_slots, 1, 1, length), least, dtype=self.network.dtype, device=self.network.device
        )

    def _move(self, rows: np.ndarray, length: int) -> None:
        """Keep only `rows`, with room for documents of `length` fed tokens."""
        order, picked = self.cache.order(), torch.from_numpy(rows)
        mask = self._closed(len(rows), length)
        mask[..., : len(order)] = self.mask[picked][..., order]
        self.cache.move(picked, length)
        self.mask = mask
        ids = np.zeros((len(rows), 1 + length), np.int64)
        ids[:, : self.ids.shape[1]] = self.ids[rows]
        self.turn, self.index = self.turn[rows], self.index[rows]
        self.position, self.known = self.position[rows], self.known[rows]
        self.ids, self.uniforms = ids, self.uniforms[rows]
        self.scratch = self.scratch[: len(rows)]
        if self.seen is not None:
            self.seen = self.seen[picked.to(self.seen.device)]
