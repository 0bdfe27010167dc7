"""The documents in flight as tensors, and a step that gives each of them one more token.

Everything that a step needs is on the device: a table of documents (a row each) with their prompts
and random numbers, the row that each slot works on, and a queue of the rows that wait. A slot whose
document ends takes the next row from the queue within the step. So the host has to look at the
result only after several steps. On a GPU the step is captured once as a CUDA graph.

Each step feeds one token to each slot, also those of a prompt. Its output is used, as the next
token, only from the end of the prompt on.
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
    """The ids of a sampled document."""

    prompt: np.ndarray  # start token and prompt
    ids: np.ndarray  # sampled, without the end token
    finished: bool  # it has an end token; otherwise it was cut at the longest length


class Entry(NamedTuple):
    """A document to be sampled; `turn` counts documents in the order of their start."""

    turn: int
    prompt: np.ndarray  # start token and prompt
    uniforms: np.ndarray  # one in [0, 1) for each token that it may have
    marked: bool = False  # it carries the watermark


class Slots:
    """Samples `num_slots` documents at once; on a GPU, as many again wait in the table.

    Args:
        network: made by `for_sampling`.
        settings: the sampling options.
        num_slots: documents that get a token in each step.
        end: id of the end token.
        captured: whether a step on a GPU is captured as a graph. A graph calls no hooks.
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
        # The table of documents. Idle slots work on its last row, whose result nobody reads.
        self.capacity = num_slots * _rows_per_slot(self.device)
        rows, longest = self.capacity + 1, settings.max_new_tokens
        self.turn = np.full(rows, -1)  # on the host; -1: a free row
        self._ids = self._zeros(rows, 1 + longest)  # start token, prompt, sampled tokens
        self._known = self._zeros(rows) + 1  # length of start token and prompt
        self._uniforms = self._zeros(rows, longest).double()
        self._num_fed = self._zeros(rows)  # tokens fed to the network so far
        self._over = self._zeros(rows).bool()  # the document has ended
        self._marked = self._zeros(rows).bool()  # it carries the watermark
        self._broken = self._zeros().bool()  # a score was not finite, in any document
        # The queue: rows in the order in which slots take them, from `_head` up to `_tail`.
        self._queue = self._zeros(rows)
        self._head, self._tail = self._zeros(), self._zeros()
        # The slots.
        self._row = self._zeros(num_slots) + self.capacity  # of the table
        self._position = self._zeros(num_slots)  # of the token that is fed next
        self._slot_scratch()
        mark, vocabulary = settings.watermark, _vocabulary(network)
        self._watermark = watermark(mark, vocabulary, self.device) if mark else None

    def _zeros(self, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=torch.int64, device=self.device)

    def _slot_scratch(self) -> None:
        """Allocate what a step needs for each slot and does not keep, but for `_seen`."""
        vocabulary = _vocabulary(self.network)
        self._no_mask = torch.zeros(self.num_slots, 1, 1, 1, device=self.device)
        padded = -(-vocabulary // BLOCK) * BLOCK
        self._scratch = torch.zeros(self.num_slots, padded, dtype=torch.float64, device=self.device)
        self._seen: torch.Tensor | None = None  # tokens of each slot's document so far
        if self.settings.repetition_penalty != 1.0:
            shape = (self.num_slots, vocabulary)
            self._seen = torch.zeros(shape, dtype=torch.bool, device=self.device)

    # --- on the host ------------------------------------------------------------------------

    @property
    def num_documents(self) -> int:
        """Documents in the table, in slots or waiting."""
        return int((self.turn >= 0).sum())

    @property
    def turn_of_slot(self) -> list[int]:
        """The turn of the document in each slot, -1 where it is idle."""
        return [int(self.turn[row]) for row in self._row.tolist()]

    def num_drawn(self) -> dict[int, int]:
        """Return the number of tokens sampled so far of each document in the table, by turn."""
        drawn = (self._num_fed - self._known + 1).clamp_(min=0).cpu().numpy()
        return {int(self.turn[row]): int(drawn[row]) for row in np.flatnonzero(self.turn >= 0)}

    def add(self, entries: list[Entry]) -> None:
        """Put documents into free rows of the table, and line them up.

        There may be no more of them than free rows.
        """
        longest = max(len(entry.prompt) for entry in entries) + self.settings.max_new_tokens
        if longest > self._ids.shape[1]:
            self._lengthen(longest)
        free = np.flatnonzero(self.turn[:-1] < 0)[: len(entries)]
        self.turn[free] = [entry.turn for entry in entries]
        ids = np.zeros((len(entries), self._ids.shape[1]), np.int64)
        for number, entry in enumerate(entries):
            ids[number, : len(entry.prompt)] = entry.prompt
        rows = torch.from_numpy(free).to(self.device)
        for column, values in (
            (self._ids, ids),
            (self._known, np.array([len(entry.prompt) for entry in entries])),
            (self._uniforms, np.stack([entry.uniforms for entry in entries])),
            (self._marked, np.array([entry.marked for entry in entries])),
        ):
            column[rows] = torch.from_numpy(values).to(self.device)
        self._num_fed[rows] = 0
        self._over[rows] = False
        self._line_up()

    def remove(self, turns: list[int]) -> None:
        """Take these documents out of the table, the slots and the queue."""
        rows = np.flatnonzero(np.isin(self.turn, turns))
        self.turn[rows] = -1
        removed = torch.from_numpy(rows).to(self.device)
        self._row.masked_fill_(torch.isin(self._row, removed), self.capacity)
        self._line_up()

    def _line_up(self) -> None:
        """Queue the documents that no slot works on, by turn."""
        taken = np.isin(np.arange(len(self.turn)), self._row.cpu().numpy())
        waiting = np.flatnonzero((self.turn >= 0) & ~taken & ~self._over.cpu().numpy())
        waiting = waiting[np.argsort(self.turn[waiting])]
        self._queue[: len(waiting)] = torch.from_numpy(waiting).to(self.device)
        self._head.fill_(0)
        self._tail.fill_(len(waiting))

    def advance(self, num_steps: int) -> dict[int, Draft]:
        """Take `num_steps` steps; remove the documents that have ended, and return them by turn.

        Raises:
            ModelError: the network's scores are not finite.
        """
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
        rows = torch.from_numpy(over).to(self.device)
        ids, known, num_fed = (
            column[rows].cpu().numpy() for column in (self._ids, self._known, self._num_fed)
        )
        drafts = {}
        # The last token of a document is sampled and never fed: it is at the column `last`.
        for turn, tokens, start, last in zip(self.turn[over], ids, known, num_fed, strict=True):
            finished = bool(tokens[last] == self.end)
            stop = last if finished else last + 1
            drafts[int(turn)] = Draft(tokens[:start], tokens[start:stop], finished)
        self.turn[over] = -1
        return drafts

    # --- one step ---------------------------------------------------------------------------

    @torch.inference_mode()
    def _step(self) -> None:
        """Feed each slot one token and, past its prompt, sample the next one.

        Arrays are (slots,) unless they say otherwise.
        """
        # 1. Idle slots take the next rows of the queue, in order.
        idle = self._row == self.capacity
        place = self._head + idle.cumsum(0) - 1  # in the queue
        takes = idle & (place < self._tail)
        self._head += takes.sum()
        waiting_row = self._queue[place.clamp_(0, self.capacity)]
        self._row.copy_(torch.where(takes, waiting_row, self._row))
        self._position.masked_fill_(idle, 0)

        # 2. The logits after the token that is fed, (slots, vocabulary).
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

        # 3. One token from them: sampling options, watermark, draw.
        number = (self._position - known).clamp_(min=0)  # of the token among those sampled
        is_sampled = self._position >= known  # otherwise the next token is of the prompt
        scores = truncate(logits, self.settings, self._seen)
        if self._watermark is not None:
            marked = self._marked[row] & is_sampled
            scores = self._watermark(scores, Written(self._ids[row], known, self._position, marked))
        # Without a finite largest score no token of a row can be drawn.
        self._broken |= ~scores.amax(-1).isfinite().all()
        chosen = pick(scores, self._uniforms[row, number], self._scratch)

        # 4. Write it down; slots whose document has ended are idle.
        known_token = self._ids[row, self._position]
        self._ids[row, self._position] = torch.where(is_sampled, chosen, known_token)
        over = is_sampled & ((chosen == self.end) | (number + 1 == self.settings.max_new_tokens))
        self._num_fed[row] = self._position
        self._over[row] = over
        self._row.masked_fill_(over, self.capacity)

    def _replay(self) -> None:
        """Take one step on a GPU: run it plainly once and capture it, from then on replay it."""
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
        """Make room for documents of `longest` tokens."""
        self._ids = torch.nn.functional.pad(self._ids, (0, longest - self._ids.shape[1]))
        if longest - 1 > self._cache.length:  # the last token drawn is not fed
            self._cache.resize(np.arange(self.num_slots), longest - 1)
        self._graph = None

    def _shrink(self) -> None:
        """Keep only as many slots as there are documents, those in use first."""
        busy = np.flatnonzero(self._row.cpu().numpy() < self.capacity)
        idle = np.setdiff1d(np.arange(self.num_slots), busy)
        kept = np.sort(np.concatenate([busy, idle[: self.num_documents - len(busy)]]))
        slots = torch.from_numpy(kept).to(self.device)
        seen = self._seen
        self.num_slots = len(kept)
        self._row, self._position = self._row[slots], self._position[slots]
        self._cache.resize(kept, self._cache.length)
        self._slot_scratch()
        if seen is not None:
            self._seen = seen[slots]
        self._graph = None


def _vocabulary(network: PreTrainedModel) -> int:
    return int(network.get_output_embeddings().weight.shape[0])


def _rows_per_slot(device: torch.device) -> int:
    """Rows of the table for each slot; on a GPU slots take new ones between looks of the host."""
    return 2 if device.type == "cuda" else 1
