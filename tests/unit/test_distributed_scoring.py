"""Scoring by several processes, with threads in their place that meet where processes would."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest

from textmad.errors import EvaluationError, ModelError, TextmadError
from textmad.models.distributed import processes
from textmad.models.distributed.distributed_scoring import DistributedScorer, deal
from textmad.models.protocol import TokenScores

TEXTS = ["a fox", "the", "seven words are more than there are", "b", "c d e", "f"]


@dataclass(frozen=True)
class Toy:
    """Gives a word its length in nats; an own model, with something that no other model has."""

    name: str
    asked: list[list[str]] = field(default_factory=list, compare=False)  # by this process
    fails_on: str = ""

    def token_nll(self, texts, prompts=None, *, observer=None, entries=None):
        self.asked.append(list(texts))
        if self.fails_on in texts:
            raise ValueError(f"not {self.fails_on}")
        shift = len(observer.name) if observer is not None else 0
        before = prompts if prompts is not None else [""] * len(texts)
        pairs = list(zip(texts, before, strict=True))[:entries]
        return [np.array([len(w) + len(p) + shift for w in t.split()], float) for t, p in pairs]

    def token_scores(self, texts, prompts=None):
        nll = self.token_nll(texts, prompts)
        return TokenScores(nll, [losses < 2 for losses in nll])

    def sample(self):
        return [processes.world_size() for _ in processes.gather(None)]

    def special(self):
        return f"{self.name} is special"


class Outcome(NamedTuple):
    """What became of one process."""

    value: Any
    error: BaseException | None
    asked: dict[str, list[list[str]]]


def together(
    monkeypatch: pytest.MonkeyPatch,
    work: Callable[[DistributedScorer], Any],
    num_processes: int = 2,
    make: Callable[[str, int], Any] = lambda name, rank: Toy(name),
) -> list[Outcome]:
    """`work` in the first of so many processes; each has a base model and generation 3's model."""
    own, alone = threading.local(), processes._alone.get
    meeting = threading.Barrier(num_processes, timeout=10)
    table: list[Any] = [None] * num_processes

    def gather(value: Any) -> list[Any]:
        if processes.world_size() == 1:
            return [value]
        table[own.rank] = value
        meeting.wait()
        values = list(table)
        meeting.wait()
        return values

    monkeypatch.setattr(processes, "rank", lambda: own.rank)
    monkeypatch.setattr(processes, "world_size", lambda: 1 if alone() else num_processes)
    monkeypatch.setattr(processes, "gather", gather)
    monkeypatch.setattr(processes, "broadcast", lambda value=None: gather(value)[0])
    outcomes: list[Any] = [None] * num_processes

    def process(rank: int) -> None:
        own.rank = rank
        models = {None: make("base", rank), 3: make("generation 3", rank)}
        scorer = DistributedScorer(models.__getitem__)
        value, error = None, None
        try:
            with scorer.at_work():
                if rank == 0:
                    value = work(scorer)
        except BaseException as stopped:
            error = stopped
        asked = {model.name: getattr(model, "asked", []) for model in models.values()}
        outcomes[rank] = Outcome(value, error, asked)

    threads = [threading.Thread(target=process, args=(rank,)) for rank in range(num_processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def equal(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return [values.tolist() for values in one] == [values.tolist() for values in other]


@pytest.mark.parametrize("num_processes", [2, 3, 8])  # 8 processes: two have no text
def test_answers_come_in_the_order_of_the_texts(monkeypatch, num_processes):
    alone = Toy("alone").token_scores(TEXTS)
    first, *others = together(
        monkeypatch,
        lambda scorer: (scorer.shared(3).token_scores(TEXTS), scorer.shared(None).token_nll(TEXTS)),
        num_processes,
    )
    scores, nll = first.value
    assert isinstance(scores, TokenScores)
    assert equal(scores.nll, alone.nll)
    assert equal(scores.correct, alone.correct)
    assert equal(nll, alone.nll)
    asked = [outcome.asked["base"] for outcome in (first, *others)]
    assert sorted(text for calls in asked for call in calls for text in call) == sorted(TEXTS)
    assert all(len(calls) == (rank < len(TEXTS)) for rank, calls in enumerate(asked))


def test_shares_are_as_many_and_about_as_long():
    lengths = np.random.default_rng(0).geometric(0.02, 1001).tolist()
    shares = deal(lengths, 4)
    assert sorted(place for share in shares for place in share) == list(range(1001))
    assert [len(share) for share in shares] == [251, 250, 250, 250]
    sums = [sum(lengths[place] for place in share) for share in shares]
    # In each round of four the longest and the shortest differ by what the sorted lengths fall:
    # over all rounds by no more than the longest.
    assert max(sums) - min(sums) <= max(lengths)


def test_prompts_go_with_their_texts_and_count_as_length(monkeypatch):
    prompts = ["", "p" * 90, "", "", "pp", "p" * 80]
    first, second = together(
        monkeypatch, lambda scorer: scorer.shared(None).token_nll(TEXTS, prompts=prompts)
    )
    assert equal(first.value, Toy("alone").token_nll(TEXTS, prompts))
    # Characters with the prompt: 93 (the), 81 (f), 35 (seven ...), 7 (c d e), 5 (a fox), 1 (b).
    assert first.asked["base"] == [["the", "c d e", "a fox"]]
    assert second.asked["base"] == [["f", "seven words are more than there are", "b"]]


def test_a_shared_model_as_an_argument_is_each_process_its_own(monkeypatch):
    first, second = together(
        monkeypatch,
        lambda scorer: scorer.shared(3).token_nll(TEXTS, observer=scorer.shared(None)),
    )
    assert equal(first.value, Toy("alone").token_nll(TEXTS, observer=Toy("base")))
    assert second.asked["generation 3"]


def test_a_shared_model_is_otherwise_the_model_itself(monkeypatch):
    def work(scorer):
        shared = scorer.shared(3)
        assert isinstance(shared, Toy)
        assert shared == Toy("generation 3")
        return shared.special()

    first, _ = together(monkeypatch, work)
    assert (first.value, first.error) == ("generation 3 is special", None)


def test_what_else_takes_all_processes_does_without_the_others(monkeypatch):
    first, _ = together(monkeypatch, lambda scorer: scorer.shared(3).sample())
    assert first.value == [1]


def test_one_text_is_not_sent_around(monkeypatch):
    first, second = together(monkeypatch, lambda scorer: scorer.shared(None).token_nll(["a fox"]))
    assert equal(first.value, [np.array([1.0, 3.0])])
    assert second.asked["base"] == []


def test_nothing_is_sent_around_when_the_others_do_not_listen(monkeypatch):
    kept = []
    first, second = together(monkeypatch, lambda scorer: kept.append(scorer.shared(None)))
    assert equal(kept[0].token_nll(TEXTS), Toy("alone").token_nll(TEXTS))
    assert (len(first.asked["base"]), second.asked["base"]) == (1, [])


def test_one_process_has_the_models_themselves():
    model = Toy("base")
    scorer = DistributedScorer(lambda name: model)
    with scorer.at_work():
        assert scorer.shared(None) is model


# --- what can go wrong ----------------------------------------------------------------------


# Longest first: seven ..., a fox, c d e, the, b, f. Dealt in turns 0, 1, 1, 0, 0, 1.
@pytest.mark.parametrize(("rank", "fails_on"), [(0, "b"), (1, "f")])
def test_an_error_in_any_process_is_raised_in_the_first_and_work_goes_on(
    monkeypatch, rank, fails_on
):
    def work(scorer):
        with pytest.raises(ModelError) as raised:
            scorer.shared(None).token_nll(TEXTS)
        return str(raised.value), scorer.shared(3).token_nll(TEXTS)

    def make(name, _):
        return Toy(name, fails_on=fails_on if name == "base" else "")

    first, second = together(monkeypatch, work, make=make)
    assert first.error is second.error is None
    message, nll = first.value
    assert message == f"token_nll in process {rank}: ValueError: not {fails_on}"
    assert equal(nll, Toy("alone").token_nll(TEXTS))


def test_what_the_first_process_stops_with_stops_the_others(monkeypatch):
    def work(scorer):
        scorer.shared(None).token_nll(TEXTS)
        raise EvaluationError("evaluator odd: no")

    first, second = together(monkeypatch, work)
    assert (type(first.error), str(first.error)) == (EvaluationError, "evaluator odd: no")
    assert (type(second.error), str(second.error)) == (EvaluationError, "evaluator odd: no")


class Interrupted(Toy):
    def token_nll(self, texts, prompts=None):
        raise KeyboardInterrupt


@pytest.mark.parametrize("scoring", [False, True])
def test_an_interrupt_of_the_first_process_leaves_no_other_waiting(monkeypatch, scoring):
    def work(scorer):
        if scoring:
            scorer.shared(None).token_nll(TEXTS)
        raise KeyboardInterrupt

    def make(name, rank):
        return Interrupted(name) if rank == 0 else Toy(name)

    first, second = together(monkeypatch, work, make=make)
    assert type(first.error) is KeyboardInterrupt
    assert type(second.error) is TextmadError
    assert str(second.error) == "the first process stopped: KeyboardInterrupt"
    assert len(second.asked["base"]) == scoring


def test_processes_that_lost_each_other_are_not_asked_again(monkeypatch):
    def work(scorer):
        with monkeypatch.context() as cut:
            cut.setattr(processes, "gather", lambda value: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                scorer.shared(None).token_nll(TEXTS)
        with pytest.raises(TextmadError, match="have lost each other; start it again"):
            scorer.shared(None).token_nll(TEXTS)

    first, second = together(monkeypatch, work)
    assert first.error is None
    assert isinstance(second.error, ZeroDivisionError | threading.BrokenBarrierError)


BAD_CALLS = [
    ({"entries": 1}, r"token_nll in process 0: ValueError: 1 entries for 3 texts"),
    ({"prompts": ["p"]}, "token_nll: 1 entries for 6 texts, expected one each"),
    ({"observer": Toy("a stranger")}, "token_nll: Toy: expected an entry for each text, a number"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_CALLS)
def test_what_cannot_be_dealt_out_is_an_error(monkeypatch, arguments, message):
    first, second = together(
        monkeypatch, lambda scorer: scorer.shared(None).token_nll(TEXTS, **arguments)
    )
    assert isinstance(first.error, ModelError)
    assert str(first.error).startswith(message)
    assert str(second.error) == str(first.error)


@dataclass(frozen=True, slots=True)
class Closed:
    name: str

    def token_nll(self, texts, prompts=None):
        return [np.ones(1) for _ in texts]


def test_a_model_whose_methods_cannot_be_replaced_is_an_error(monkeypatch):
    first, _ = together(
        monkeypatch, lambda scorer: scorer.shared(None), make=lambda name, rank: Closed(name)
    )
    assert isinstance(first.error, ModelError)
    assert "base: 'Closed' object attribute 'token_nll' is read-only" in str(first.error)
    assert "needs a __dict__ (no __slots__)" in str(first.error)
