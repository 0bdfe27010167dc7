"""Distributed scoring: while the first process filters and evaluates, the others score for it.

Filters and evaluators may be anyone's code, so they run in the first process alone. Most of their
time goes into scoring texts with a model. That is distributed: each process holds the same models
and scores its share of the texts.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from textmad.errors import ModelError, RunError, TextmadError
from textmad.models.distributed import processes
from textmad.models.protocol import LanguageModel

SHARED = ("token_nll", "nll_of_ids", "token_scores", "token_moments", "cross_entropy", "embed")
"""The methods that are distributed, where a model has them.

Their first argument is texts (or the ids of each), and they return a list with an entry a text, or
a NamedTuple of such lists. A further argument is None, a number, a text, a sequence with an entry a
text, or a model that `DistributedScorer.shared` returned.
"""

ALONE = ("fit", "sample")
"""The methods that otherwise take all processes, and here do without the others."""

Name: TypeAlias = int | tuple[int, int] | None
"""The generation that a model was fitted in, with a member of a population; None: the base model.
"""

_NAME = "_name_of_shared_model"


class DistributedScorer:
    """The processes of a run, as scorers of texts.

    Args:
        find: the model of a name, in any process. It is called where that model is needed.
    """

    def __init__(self, find: Callable[[Name], LanguageModel]) -> None:
        self._find = find
        self._at_work = False
        self._in_step = True  # the others wait for the first process's next message
        self._one_at_a_time = threading.Lock()

    def shared(self, name: Name) -> LanguageModel:
        """A model that is scored with by all processes at work; with one process the model itself.

        It is a copy (as `copy.copy` makes one) with its `SHARED` and `ALONE` methods replaced, so
        that it has whatever else a model of the user's own has.

        Raises:
            ModelError: the methods of a model of this class cannot be replaced.
        """
        model = self._find(name)
        if processes.world_size() == 1:
            return model
        methods: dict[str, Callable[..., Any]] = {
            **{m: partial(self._score, name, m) for m in SHARED if hasattr(model, m)},
            **{m: _by_itself(getattr(model, m)) for m in ALONE if hasattr(model, m)},
        }
        twin = copy.copy(model)
        try:
            for attribute, value in {**methods, _NAME: name}.items():
                object.__setattr__(twin, attribute, value)  # also of a frozen dataclass
        except AttributeError as error:
            raise ModelError(
                f"{model.name}: {error}: filters and evaluators of several processes get a copy "
                f"whose {', '.join(methods)} are replaced, so its class needs a __dict__ (no "
                "__slots__)"
            ) from None
        return twin

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Around work of the first process; the others score for it, and come in when it is done.

        Raises:
            TextmadError: in the other processes, what the first one stopped with.
        """
        if processes.world_size() == 1:
            yield
        elif processes.is_main():
            with self._others_listening():
                yield
        else:
            self._score_for_main()
            yield

    # --- the first process ------------------------------------------------------------------

    @contextmanager
    def _others_listening(self) -> Iterator[None]:
        self._at_work = True
        try:
            yield
        except BaseException as error:
            known = isinstance(error, TextmadError)
            with suppress(Exception):  # another process may have gone first
                self._release(error if known else _stopped_by(_described(error)))
            raise
        else:
            self._release(None)

    def _release(self, error: BaseException | None) -> None:
        self._at_work = False
        if self._in_step:
            processes.broadcast(error)

    def _score(
        self, name: Name, method: str, /, texts: Sequence[str], *arguments: Any, **named: Any
    ) -> Any:
        """What a shared model's method gives; other threads wait for their turn."""
        if not self._at_work or len(texts) < 2:
            return getattr(self._find(name), method)(texts, *arguments, **named)
        request = _request(name, method, list(texts), arguments, named)
        with self._one_at_a_time:
            if not self._in_step:
                raise RunError("the processes of this run have lost each other; start it again")
            self._in_step = False
            processes.broadcast(request)
            answers = self._answers(request)
            self._in_step = True
        for rank, answer in enumerate(answers):
            if isinstance(answer, _Failure):
                raise ModelError(f"{method} in process {rank}: {answer.message}")
        return _in_order(request.shares, answers)

    # --- the others, and each one's share ---------------------------------------------------

    def _score_for_main(self) -> None:
        while isinstance(message := processes.broadcast(), _Request):
            first = self._answers(message)[0]
            if isinstance(first, _Failure) and first.interrupted:
                message = _stopped_by(first.message)
                break
        if message is not None:
            raise message

    def _answers(self, request: _Request) -> list[Any]:
        """The answer of every process; each has to call it, and hands one in if interrupted."""
        try:
            mine = self._answer(request)
        except BaseException as interrupt:
            with suppress(Exception):  # another process may have gone first
                processes.gather(_Failure(_described(interrupt), interrupted=True))
            raise
        return processes.gather(mine)

    def _answer(self, request: _Request) -> Any:
        """The answer for this process's share of the texts, None where it has none."""
        indices = request.shares[processes.rank()]
        if not indices:
            return None

        def mine(value: Any) -> Any:
            if isinstance(value, _Model):
                return self._find(value.name)
            return [value[i] for i in indices] if isinstance(value, list) else value

        try:
            method = getattr(self._find(request.model), request.method)
            arguments = [mine(value) for value in request.arguments]
            answer = method(*arguments, **{k: mine(value) for k, value in request.named.items()})
            for column in _columns(answer):
                if len(column) != len(indices):
                    raise ValueError(f"{len(column)} entries for {len(indices)} texts")
        except Exception as error:
            return _Failure(_described(error))
        return answer


def _by_itself(method: Callable[..., Any]) -> Callable[..., Any]:
    def called(*arguments: Any, **named: Any) -> Any:
        with processes.alone():
            return method(*arguments, **named)

    return called


class _Model(NamedTuple):
    """Stands for a shared model on its way to another process."""

    name: Name


class _Request(NamedTuple):
    """A call of a model's method. Lists among the arguments have an entry a text."""

    model: Name
    method: str
    arguments: list[Any]
    named: Mapping[str, Any]
    shares: list[list[int]]  # indices of each process's texts


class _Failure(NamedTuple):
    """Stands for the answer of a process that has none."""

    message: str
    interrupted: bool = False  # by a signal: the process ends


def _stopped_by(cause: str) -> TextmadError:
    return TextmadError(f"the first process stopped: {cause}")


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _request(
    name: Name, method: str, texts: list[str], arguments: Sequence[Any], named: Mapping[str, Any]
) -> _Request:
    def sendable(value: Any) -> Any:
        if value is None or isinstance(value, str | bool | int | float):
            return value
        if hasattr(value, _NAME):
            return _Model(getattr(value, _NAME))
        if not isinstance(value, Sequence | np.ndarray):
            raise ModelError(
                f"{method}: {type(value).__name__}: expected an entry for each text, a number, a "
                "text, or one of the models that filters and evaluators are given"
            )
        if len(value) != len(texts):
            raise ModelError(
                f"{method}: {len(value)} entries for {len(texts)} texts, expected one each"
            )
        return list(value)

    sent = [texts, *map(sendable, arguments)]
    sent_named = {key: sendable(value) for key, value in named.items()}
    by_text = [value for value in (*sent, *sent_named.values()) if isinstance(value, list)]
    lengths = [
        sum(len(entry) for entry in entries if isinstance(entry, str | tuple | list))
        for entries in zip(*by_text, strict=True)
    ]
    return _Request(name, method, sent, sent_named, deal(lengths, processes.world_size()))


def deal(lengths: Sequence[int], num_processes: int) -> list[list[int]]:
    """Deal texts to processes; return each one's indices, longest first, of about equal length.

    >>> deal([40, 7, 30, 8, 39], num_processes=2)
    [[0, 3, 1], [4, 2]]
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    shares: list[list[int]] = [[] for _ in range(num_processes)]
    turns = [*shares, *reversed(shares)]  # who had the longest of one round gets the next's last
    for turn, index in enumerate(order):
        turns[turn % len(turns)].append(index)
    return shares


def _columns(answer: Any) -> tuple[Any, ...]:
    """The lists of a NamedTuple, or the one list."""
    return tuple(answer) if hasattr(answer, "_fields") else (answer,)


def _in_order(shares: list[list[int]], answers: list[Any]) -> Any:
    """One answer, in the texts' order, from those for each process's share."""
    first = answers[0]  # the longest text is in its share
    whole: list[list[Any]] = [[None] * sum(map(len, shares)) for _ in _columns(first)]
    for indices, answer in zip(shares, answers, strict=True):
        if not indices:
            continue
        for entries, column in zip(whole, _columns(answer), strict=True):
            for index, entry in zip(indices, column, strict=True):
                entries[index] = entry
    return type(first)(*whole) if hasattr(first, "_fields") else whole[0]
