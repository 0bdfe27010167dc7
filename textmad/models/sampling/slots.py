"""The documents in flight as tensors, and one step that takes each a token further.

All that a step needs lies on the device: documents in a table, with their prompts and uniforms;
which of them each slot draws; and the queue of those that wait. A slot whose document ends takes
the next from the queue by itself, so the host looks on only after a block of steps. On a GPU the
step is captured once as a CUDA graph.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from transformers import PreTrainedModel

from textmad.errors import ModelError
from textmad.models.sampling.slot_cache import SlotCache
from textmad.models.sampling.token_choice import BLOCK, pick, truncate
from textmad.models.sampling.watermark_logits import Written, watermark
from textmad.recipe import SampleSettings


class Draft(NamedTuple):
    """A document as ids."""

    prompt: np.ndarray  # start token and prompt
    ids: np.ndarray  # drawn, without the end token
    finished: bool


class Entry(NamedTuple):
    """A document to be drawn; `turn` counts documents in the order of their start."""

    turn: int
    prompt: np.ndarray  # start token and prompt
    uniforms: np.ndarray  # one for each token it may have
    marked: bool = False  # it carries the watermark


class Slots:
    """`num_slots` documents side by side and, on a GPU, as many again that wait.

    Args:
        network: made by `for_sampling`.
        settings: the sampling options.
        num_slots: documents that a step takes further.
        end: id of the end token.
        captured: whether a GPU's steps are captured as a graph, in which no hook is called.
    """

    def __init__(
        self,
        network: PreTrainedModel,
        settings: SampleSettings,
        num_slots: int,
        *,
        end: int,
        captured: bool = True,
    ) -> None:
        self.network, self.settings, self.end = network, settings, end
        self.device = network.device
        on_gpu = self.device.type == "cuda"
        self._captured = captured and on_gpu
        self.most_steps = 16 if on_gpu else 1  # between two looks of the host
        self._shrink_at = 1 / 2 if on_gpu else 7 / 8  # a GPU has to capture the step anew
        self.num_slots = num_slots
        self._cache = SlotCache(network, num_slots, settings.max_new_tokens, paged=not on_gpu)
        self._graph: torch.cuda.CUDAGraph | None = None
        # The table of documents; its last row is the one that idle slots draw, for nobody.
        self.capacity = num_slots * _waiting_on(self.device)
        rows, longest = self.capacity + 1, settings.max_new_tokens
        self.turn = np.full(rows, -1)  # -1: a free row
        self._ids = self._zeros(rows, 1 + longest)  # prompt and drawn
        self._known = self._zeros(rows) + 1  # start token and prompt: fed, not drawn
        self._uniforms = self._zeros(rows, longest).double()
        self._reached = self._zeros(rows)  # tokens fed
        self._over = self._zeros(rows).bool()
        self._broken = self._zeros().bool()
        self._marked = self._zeros(rows).bool()
        self._queue = self._zeros(rows)
        self._head, self._tail = self._zeros(), self._zeros()
        # The slots.
        self._row = self._zeros(num_slots) + self.capacity
        self._position = self._zeros(num_slots)
        self._slot_scratch()
        mark, vocabulary = settings.watermark, _vocabulary(network)
        self._watermark = watermark(mark, vocabulary, self.device) if mark else None

    def _zeros(self, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.int64, device=self.device)

    def _slot_scratch(self) -> None:
        vocabulary = _vocabulary(self.network)
        self._no_mask = torch.zeros(self.num_slots, 1, 1, 1, device=self.device)
        padded = -(-vocabulary // BLOCK) * BLOCK
        self._scratch = torch.zeros(self.num_slots, padded, dtype=torch.float64, device=self.device)
        self._seen: torch.Tensor | None = None
        if self.settings.repetition_penalty != 1.0:
            shape = (self.num_slots, vocabulary)
            self._seen = torch.zeros(shape, dtype=torch.bool, device=self.device)

    # --- what the host sees -----------------------------------------------------------------

    @property
    def num_documents(self) -> int:
        """Documents in the table, drawn or waiting."""
        return int((self.turn >= 0).sum())

    @property
    def turn_of_slot(self) -> list[int]:
        """The turn of the document in each slot, -1 where it is idle."""
        return [int(self.turn[row]) for row in self._row.tolist()]

    def num_drawn(self) -> dict[int, int]:
        """Tokens drawn so far of each document here, by turn."""
        drawn = (self._reached - self._known + 1).clamp_(min=0).cpu().numpy()
        return {int(self.turn[row]): int(drawn[row]) for row in np.flatnonzero(self.turn >= 0)}

    def add(self, entries: list[Entry]) -> None:
        """Documents for the queue, no more than there are free rows."""
        longest = max(len(entry.prompt) for entry in entries) + self.settings.max_new_tokens
        if longest > self._ids.shape[1]:
            self._lengthen(longest)
        rows = np.flatnonzero(self.turn[:-1] < 0)[: len(entries)]
        self.turn[rows] = [entry.turn for entry in entries]
        ids = np.zeros((len(entries), self._ids.shape[1]), np.int64)
        for place, entry in enumerate(entries):
            ids[place, : len(entry.prompt)] = entry.prompt
        at = torch.from_numpy(rows).to(self.device)
        known = np.array([len(entry.prompt) for entry in entries])
        uniforms = np.stack([entry.uniforms for entry in entries])
        marked = np.array([entry.marked for entry in entries])
        tables = (self._ids, self._known, self._uniforms, self._marked)
        for table, values in zip(tables, (ids, known, uniforms, marked), strict=True):
            table[at] = torch.from_numpy(values).to(self.device)
        self._reached[at] = 0
        self._over[at] = False
        self._line_up()

    def remove(self, turns: list[int]) -> None:
        """Forget these documents, wherever they stand."""
        rows = np.flatnonzero(np.isin(self.turn, turns))
        self.turn[rows] = -1
        removed = torch.from_numpy(rows).to(self.device)
        self._row.masked_fill_(torch.isin(self._row, removed), self.capacity)
        self._line_up()

    def _line_up(self) -> None:
        """The queue: documents that no slot has yet, in their order."""
        taken = np.isin(np.arange(len(self.turn)), self._row.cpu().numpy())
        waiting = np.flatnonzero((self.turn >= 0) & ~taken & ~self._over.cpu().numpy())
        waiting = waiting[np.argsort(self.turn[waiting])]
        self._queue[: len(waiting)] = torch.from_numpy(waiting).to(self.device)
        self._head.fill_(0)
        self._tail.fill_(len(waiting))

    def advance(self, num_steps: int) -> dict[int, Draft]:
        """So many steps; the documents that are over, by turn."""
        if self.num_documents <= self._shrink_at * self.num_slots:
            self._shrink()
        for _ in range(num_steps):
            if self._captured:
                self._replay()
            else:
                self._step()
        if bool(self._broken):
            raise ModelError(
                "sample: the model's scores of the next token are not finite, so none can be "
                "drawn: the training that led there may have diverged (lower "
                "train.learning_rate), or the base model's weights are damaged or overflow"
            )
        over = np.flatnonzero(self._over.cpu().numpy() & (self.turn >= 0))
        if not len(over):
            return {}
        at = torch.from_numpy(over).to(self.device)
        ids, known, reached = (
            table[at].cpu().numpy() for table in (self._ids, self._known, self._reached)
        )
        drafts = {}
        for turn, row, start, last in zip(self.turn[over], ids, known, reached, strict=True):
            finished = bool(row[last] == self.end)
            drafts[int(turn)] = Draft(row[:start], row[start : last + (not finished)], finished)
        self.turn[over] = -1
        return drafts

    # --- one step ---------------------------------------------------------------------------

    @torch.inference_mode()
    def _step(self) -> None:
        """Idle slots take documents; each slot is fed a token and, past its prompt, draws one."""
        idle = self._row == self.capacity
        place = self._head + idle.cumsum(0) - 1
        takes = idle & (place < self._tail)
        self._head += takes.sum()
        following = self._queue[place.clamp_(0, self.capacity)]
        self._row.copy_(torch.where(takes, following, self._row))
        self._position.masked_fill_(idle, 0)

        row, known = self._row, self._known[self._row]
        fed = self._ids[row, self._position]
        if self._seen is not None:
            self._seen.masked_fill_(idle.unsqueeze(1), False).scatter_(1, fed.unsqueeze(1), True)
        self._cache.point(self._position)
        logits = self.network(
            input_ids=fed.unsqueeze(1),
            position_ids=self._position.unsqueeze(1),
            attention_mask=self._no_mask,  # four dimensions: passed on as it is, and not looked at
            use_cache=False,
            cache=self._cache,
        ).logits[:, -1]
        self._position += 1
        number = (self._position - known).clamp_(min=0)
        free = self._position >= known
        scores = truncate(logits, self.settings, self._seen)
        if self._watermark is not None:
            marked = self._marked[row] & free
            scores = self._watermark(scores, Written(self._ids[row], known, self._position, marked))
        # Every row has a finite largest score; without one no token can be drawn.
        self._broken |= ~scores.amax(-1).isfinite().all()
        chosen = pick(scores, self._uniforms[row, number], self._scratch)

        self._ids[row, self._position] = torch.where(free, chosen, self._ids[row, self._position])
        over = free & ((chosen == self.end) | (number + 1 == self.settings.max_new_tokens))
        self._reached[row] = self._position
        self._over[row] = over
        self._row.masked_fill_(over, self.capacity)

    def _replay(self) -> None:
        """One step on a GPU: the first ones of a shape plainly, to warm up, then the graph."""
        if self._graph is not None:
            self._graph.replay()
            return
        aside = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(aside):
            self._step()
        torch.cuda.current_stream(self.device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph):
            self._step()  # recorded, not run
        self._graph = graph

    # --- another size -----------------------------------------------------------------------

    def _lengthen(self, longest: int) -> None:
        """Room for documents of so many tokens."""
        self._ids = torch.nn.functional.pad(self._ids, (0, longest - self._ids.shape[1]))
        if longest - 1 > self._cache.length:  # the last token drawn is not fed
            self._cache.resize(np.arange(self.num_slots), longest - 1)
        self._graph = None

    def _shrink(self) -> None:
        """Only as many slots as there are documents."""
        busy = np.flatnonzero(self._row.cpu().numpy() < self.capacity)
        idle = np.setdiff1d(np.arange(self.num_slots), busy)
        kept = np.sort(np.concatenate([busy, idle[: self.num_documents - len(busy)]]))
        at = torch.from_numpy(kept).to(self.device)
        seen = self._seen
        self.num_slots = len(kept)
        self._row, self._position = self._row[at], self._position[at]
        self._cache.resize(kept, self._cache.length)
        self._slot_scratch()
        if seen is not None:
            self._seen = seen[at]
        self._graph = None


def _vocabulary(network: PreTrainedModel) -> int:
    return int(network.get_output_embeddings().weight.shape[0])


def _waiting_on(device: torch.device) -> int:
    """Documents in the table for each slot: on a GPU slots are refilled within a block of steps."""
    return 2 if device.type == "cuda" else 1
