"""What the file of votes holds, as values: votes, how far a ballot is, the digest of votes."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from textmad.rating.ballot import Ballot


class Vote(NamedTuple):
    """A vote as it is counted and exported."""

    ballot: str
    item: int  # number in the ballot
    documents: tuple[str, ...]  # of the item
    gold: int | None  # answer of a gold text
    rater: str
    showing: int  # 1: the item was asked again
    value: int  # see Ballot.values
    screen_position: int  # of the chosen text on the screen; 0 for one text
    seconds: float
    cast_at: float


class Item(NamedTuple):
    """What one vote is about: a text, a pair or a group, and what is asked about it."""

    ballot: str
    number: int  # in the ballot
    settings: Ballot
    documents: tuple[str, ...]
    texts: tuple[str, ...]
    gold: int | None  # answer of a gold text
    is_open: bool


class State(NamedTuple):
    """How far a ballot is."""

    ballot: str
    generation: int
    settings: Ballot
    digest: str | None  # of the votes; None while the ballot is open
    num_texts: int
    num_items: int
    num_votes: int  # that count: no gold, no repeats
    num_raters: int
    num_skipped: int
    num_reported: int
    age_seconds: float
    runs: tuple[str, ...]  # of a study that wait for it or learned from it, as arm/seed-0

    @property
    def num_wanted(self) -> int:
        """Votes with which the ballot is complete."""
        return self.num_items * self.settings.raters_per_text

    @property
    def num_needed(self) -> int:
        """Votes with which the run goes on."""
        return max(1, int(np.ceil(self.settings.needed * self.num_wanted - 1e-9)))

    @property
    def is_enough(self) -> bool:
        """Whether the run can go on: enough votes, or the deadline has passed and there are any."""
        hours = self.settings.deadline_hours
        is_late = hours is not None and self.age_seconds >= hours * 3600
        return self.num_votes >= (1 if is_late else self.num_needed)


def read_state(db: sqlite3.Connection, ballot: str, now: float) -> State:
    """Return how far a ballot is."""
    row = db.execute("SELECT * FROM ballots WHERE id = ?", (ballot,)).fetchone()

    def count(what: str) -> int:
        (number,) = db.execute(f"SELECT {what}", {"ballot": ballot}).fetchone()
        return int(number)

    of_votes = "FROM votes JOIN items ON items.id = item WHERE ballot = :ballot AND NOT gold"
    return State(
        ballot,
        row["generation"],
        settings_of(row["settings"]),
        row["digest"],
        count("COUNT(*) FROM texts WHERE ballot = :ballot AND answer IS NULL"),
        count("COUNT(*) FROM items WHERE ballot = :ballot AND NOT gold"),
        count(f"COUNT(*) {of_votes} AND showing = 0"),
        count(f"COUNT(DISTINCT rater) {of_votes}"),
        count(
            "COUNT(*) FROM tasks JOIN items ON items.id = item"
            " WHERE ballot = :ballot AND state = 'skipped'"
        ),
        count("COUNT(*) FROM reports JOIN items ON items.id = item WHERE ballot = :ballot"),
        max(0.0, now - row["created"]),
        tuple(
            name
            for (name,) in db.execute(
                "SELECT run FROM ballot_runs WHERE ballot = ? ORDER BY run", (ballot,)
            )
        ),
    )


def read_votes(db: sqlite3.Connection, ballot: str) -> list[Vote]:
    """Return a ballot's votes, by item, rater and showing."""
    documents: dict[int, list[str]] = {}
    answers: dict[int, int | None] = {}
    for item, document, answer in db.execute(
        "SELECT item, document, answer FROM item_texts JOIN texts ON texts.id ="
        " item_texts.text WHERE ballot = ? ORDER BY item, position",
        (ballot,),
    ):
        documents.setdefault(item, []).append(document)
        answers[item] = answer
    rows = db.execute(
        "SELECT item, number, rater, showing, value, screen_position, seconds, cast_at FROM votes"
        " JOIN items ON items.id = item WHERE ballot = ? ORDER BY number, rater, showing",
        (ballot,),
    )
    return [
        Vote(ballot, number, tuple(documents[item]), answers[item], *rest)
        for item, number, *rest in rows
    ]


def read_items(db: sqlite3.Connection) -> list[Item]:
    """Return the items of all ballots, in the order in which they were laid out."""
    ballots = {row["id"]: row for row in db.execute("SELECT * FROM ballots")}
    settings = {name: settings_of(row["settings"]) for name, row in ballots.items()}
    rows = db.execute(
        "SELECT items.ballot, number, document, texts.text, answer FROM items JOIN ballots ON"
        " ballots.id = items.ballot JOIN item_texts ON item_texts.item = items.id JOIN texts ON"
        " texts.id = item_texts.text ORDER BY created, items.ballot, number, position"
    )
    items: dict[tuple[str, int], Item] = {}
    for ballot, number, document, text, answer in rows:
        so_far = items.get((ballot, number))
        before = (so_far.documents, so_far.texts) if so_far else ((), ())
        items[ballot, number] = Item(
            ballot,
            number,
            settings[ballot],
            (*before[0], document),
            (*before[1], text),
            answer,
            ballots[ballot]["digest"] is None,
        )
    return list(items.values())


def read_documents(db: sqlite3.Connection, item: int) -> tuple[str, ...]:
    """Return the ids of an item's documents."""
    rows = db.execute(
        "SELECT document FROM item_texts JOIN texts ON texts.id = item_texts.text WHERE item = ?"
        " ORDER BY position",
        (item,),
    )
    return tuple(row[0] for row in rows)


def votes_digest(votes: Sequence[Vote]) -> str:
    """Return the SHA-256 of votes, whenever they were cast and wherever they stood on a screen."""
    return digest([[v.item, v.documents, v.rater, v.showing, v.value] for v in votes])


def digest(content: Any) -> str:
    """Return the SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@lru_cache
def settings_of(text: str) -> Ballot:
    """Return the settings that were stored as JSON."""
    options = json.loads(text)
    return Ballot(**(options | {"labels": tuple(options["labels"])}))
