import hashlib
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from textmad.corpus.chitchat import half_of, read_chitchat
from textmad.corpus.records import Row

START = 1525289895.0  # 2018-05-02T19:38:15Z: 17,653 days and 70,695 seconds after 1970
assert START == 17_653 * 86_400 + 70_695


def names(half: str, count: int) -> list[str]:
    """Conversation names of one half: an even first byte of the hash is the base model's."""
    parity = {"base": 0, "pool": 1}[half]
    found = (f"conversation-{number}" for number in range(1000))
    first = [
        name
        for name in found
        if hashlib.sha256(f"tiny-gpt2/{name}".encode()).digest()[0] % 2 == parity
    ]
    return first[:count]


def message(text: str, second: int = 15) -> dict[str, str]:
    return {"text": text, "timestamp": f"2018-05-02T19:38:{second}Z", "sender": "somebody"}


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Puts conversations in the place of the package's own."""

    def put(conversations: dict[str, Any]) -> None:
        (tmp_path / "dataset.json").write_text(json.dumps(conversations), encoding="utf-8")

    package = SimpleNamespace(__file__=str(tmp_path / "__init__.py"))
    monkeypatch.setitem(sys.modules, "chitchat_dataset", package)
    return put


def test_a_document_is_all_that_one_person_wrote_before_the_other_answered(stored) -> None:  # type: ignore[no-untyped-def]
    [name] = names("pool", 1)
    turns = [
        [message("Hello", 15), message("how are you?", 20)],
        [message("fine \U0001f642", 29)],
    ]
    stored({name: {"messages": turns, "ratings": {"witty": 4, "upbeat": 5, "int": 9}}})
    assert list(read_chitchat()) == [
        Row("Hello how are you?", 6.0, "chitchat", START, name),
        Row("fine \U0001f642", 6.0, "chitchat", START + 14, name),
    ]


def test_votes_are_unknown_where_nobody_rated(stored) -> None:  # type: ignore[no-untyped-def]
    unrated, empty = names("pool", 2)
    turns = [[message("Hello")]]
    stored({unrated: {"messages": turns}, empty: {"messages": turns, "ratings": {}}})
    assert [row.votes for row in read_chitchat()] == [None, None]


def test_a_turn_without_messages_is_an_empty_text_at_no_time(stored) -> None:  # type: ignore[no-untyped-def]
    [name] = names("pool", 1)
    stored({name: {"messages": [[]]}})
    assert list(read_chitchat()) == [Row("", None, "chitchat", None, name)]


def test_the_pool_and_the_base_get_different_conversations(stored) -> None:  # type: ignore[no-untyped-def]
    pool, base = names("pool", 5), names("base", 5)
    stored({name: {"messages": [[message(name)]]} for name in (*pool, *base)})
    assert [row.conversation for row in read_chitchat()] == pool
    assert [row.conversation for row in read_chitchat("pool")] == pool
    assert [row.conversation for row in read_chitchat("base")] == base


def test_the_half_of_a_conversation_is_decided_by_its_name_alone() -> None:
    for half in ("pool", "base"):
        assert {half_of(name) for name in names(half, 100)} == {half}


def test_the_real_conversations_are_halved_and_none_is_lost() -> None:
    halves = {half: list(read_chitchat(half)) for half in ("pool", "base")}
    ids = {half: {row.conversation for row in rows} for half, rows in halves.items()}
    assert not ids["pool"] & ids["base"]
    num = len(ids["pool"] | ids["base"])
    assert num == 7168
    # A fair coin: four standard deviations of the binomial.
    assert abs(len(ids["pool"]) - num / 2) < 4 * math.sqrt(num) / 2
    rows = [*halves["pool"], *halves["base"]]
    assert {row.community for row in rows} == {"chitchat"}
    assert sum(not row.text.strip() for row in rows) < 0.001 * len(rows)
    # The challenge of 2018: every message has its time in 2018, every rating is 1 to 10.
    assert all(row.time is not None and 1514764800 <= row.time < 1546300800 for row in rows)
    assert all(row.votes is None or 1 <= row.votes <= 10 for row in rows)
    assert len({row.conversation for row in rows if row.votes is not None}) == 5988
