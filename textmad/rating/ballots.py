"""Ballots: texts laid out once for people to vote on, counted, closed, and read."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from textmad.errors import RunError
from textmad.rating.ballot import Ballot
from textmad.rating.database import Database, insert, next_turn, set_state
from textmad.rating.raters import Raters
from textmad.rating.records import (
    Item,
    State,
    Vote,
    digest,
    read_documents,
    read_items,
    read_state,
    read_votes,
    settings_of,
    votes_digest,
)
from textmad.rating.voting import Voting


class Ballots:
    """The ballots, raters and votes of one file.

    Raises:
        RunError: the file cannot be read or written, or `must_exist` and there is none.
    """

    def __init__(
        self, path: Path, *, must_exist: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        if must_exist and not path.is_file():
            raise RunError(
                f"{path.parent}: no texts are laid out for people there ({path.name} is missing): "
                "expected the folder of a run whose recipe has `people` and that has reached "
                "curate, or of `textmad rate TEXTS --out DIR`"
            )
        self.path = path
        self._clock = clock
        self._database = Database(path)
        self.raters = Raters(self._database)
        self.voting = Voting(self._database, self.raters, clock)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def lay_out(
        self,
        settings: Ballot,
        generation: int,
        ids: Sequence[str],
        texts: Sequence[str],
        rng: np.random.Generator,
        groups: Sequence[Sequence[int]] | None = None,
        run: str = "",
    ) -> str:
        """Lay out a ballot on documents, unless it is there, and return its id.

        Args:
            settings: what is asked.
            generation: of the documents.
            ids: of the documents.
            texts: of the documents.
            rng: decides which texts meet in a pair or group, and the order of the items.
            groups: the texts of each item, by their numbers, where they are not random.
            run: of a study, as arm/seed-0; noted for the experimenter, and shown to no rater.

        Raises:
            ValueError: too few texts, or the gold texts cannot be read.
        """
        gold = settings.read_gold()
        options = dataclasses.asdict(settings)
        content = [generation, options, list(zip(ids, texts, strict=True)), gold]
        name = digest(content if groups is None else [*content, groups])[:16]
        members = settings.items(len(texts), rng).tolist() if groups is None else groups
        members = [members[i] for i in rng.permutation(len(members))]
        with self._database.write() as db:
            is_new = db.execute(
                "INSERT OR IGNORE INTO ballots VALUES (?, ?, ?, ?, NULL)",
                (name, generation, json.dumps(options), self._clock()),
            ).rowcount
            if run:
                db.execute("INSERT OR IGNORE INTO ballot_runs VALUES (?, ?)", (name, run))
            if not is_new:
                return name
            text_ids = [
                insert(db, "texts (ballot, document, text, answer)", (name, *row))
                for row in [
                    *(
                        (document, _storable(text), None)
                        for document, text in zip(ids, texts, strict=True)
                    ),
                    *(
                        (f"gold-{i}", _storable(text), answer)
                        for i, (text, answer) in enumerate(gold)
                    ),
                ]
            ]
            rows = [*members, *([len(texts) + i] for i in range(len(gold)))]
            for number, row in enumerate(rows):
                is_gold = number >= len(members)
                item = insert(db, "items (ballot, number, gold)", (name, number, is_gold))
                db.executemany(
                    "INSERT INTO item_texts VALUES (?, ?, ?)",
                    [(item, position, text_ids[text]) for position, text in enumerate(row)],
                )
        return name

    def questions(self) -> list[str]:
        """Return the questions of the open ballots, each once."""
        with self._database.read() as db:
            rows = db.execute("SELECT settings FROM ballots WHERE digest IS NULL ORDER BY created")
            return list(dict.fromkeys(settings_of(row[0]).question for row in rows))

    def states(self) -> list[State]:
        """Return how far every ballot is, in the order in which they were laid out."""
        with self._database.read() as db:
            names = db.execute("SELECT id FROM ballots ORDER BY created, id").fetchall()
            return [read_state(db, name, self._clock()) for (name,) in names]

    def state(self, ballot: str) -> State:
        """Return how far a ballot is."""
        with self._database.read() as db:
            return read_state(db, ballot, self._clock())

    def close_ballot(self, ballot: str) -> str:
        """Close a ballot for good, and return the digest of its votes; of a closed one, its own."""
        with self._database.write() as db:
            (known,) = db.execute("SELECT digest FROM ballots WHERE id = ?", (ballot,)).fetchone()
            if known is None:
                known = votes_digest(read_votes(db, ballot))
                db.execute("UPDATE ballots SET digest = ? WHERE id = ?", (known, ballot))
            return str(known)

    def votes(self, ballot: str) -> list[Vote]:
        """Return a ballot's votes, by item, rater and showing."""
        with self._database.read() as db:
            return read_votes(db, ballot)

    def items(self) -> list[Item]:
        """Return the items of all ballots, with their texts."""
        with self._database.read() as db:
            return read_items(db)

    # --- import -----------------------------------------------------------------------------

    def add_votes(self, votes: Sequence[Vote]) -> int:
        """Add votes that another file, or a lab's own tool, collected; return how many are new.

        A vote that is there already (rater, item, showing) is replaced.

        Raises:
            RunError: an unknown ballot or item, a closed ballot, or a value out of range; it names
                the vote, and nothing is added.
        """
        added = 0
        with self._database.write() as db:
            for number, vote in enumerate(votes, 1):
                where = f"vote {number} (ballot {vote.ballot}, item {vote.item})"
                row = db.execute(
                    "SELECT items.id, digest, settings FROM items JOIN ballots ON ballots.id ="
                    " ballot WHERE ballot = ? AND number = ?",
                    (vote.ballot, vote.item),
                ).fetchone()
                if row is None:
                    raise RunError(f"{self.path}: {where}: there is no such ballot or item")
                if row["digest"] is not None:
                    raise RunError(f"{self.path}: {where}: the ballot is closed")
                settings = settings_of(row["settings"])
                documents = read_documents(db, row["id"])
                num = len(documents)  # of a group fewer than others have, perhaps
                values = settings.values if num == 1 else range(num)
                if vote.value not in values or vote.showing not in (0, 1):
                    raise RunError(f"{self.path}: {where}: value or showing is out of range")
                if vote.documents != documents:
                    raise RunError(
                        f"{self.path}: {where}: is about {vote.documents}, expected {documents}"
                    )
                db.execute(
                    "INSERT OR IGNORE INTO raters VALUES (?, ?)",
                    (vote.rater, f"imported {vote.rater}"),
                )
                added += self._add_vote(db, vote, row["id"])
        return added

    def _add_vote(self, db: sqlite3.Connection, vote: Vote, item: int) -> bool:
        known = db.execute(
            "SELECT * FROM tasks WHERE rater = ? AND item = ? AND showing = ?",
            (vote.rater, item, vote.showing),
        ).fetchone()
        if known is None:
            task = insert(
                db,
                "tasks (rater, item, showing, seed, state, turn, opened)",
                (
                    vote.rater,
                    item,
                    vote.showing,
                    0,
                    "released",
                    next_turn(db, vote.rater),
                    vote.cast_at,
                ),
            )
            known = db.execute("SELECT * FROM tasks WHERE id = ?", (task,)).fetchone()
        is_new = bool(known["state"] != "voted")
        set_state(db, known, "voted")
        db.execute(
            "INSERT OR REPLACE INTO votes VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                *(vote.rater, item, vote.showing, vote.value),
                *(vote.screen_position, vote.seconds, vote.cast_at),
            ),
        )
        return is_new


def _storable(text: str) -> str:
    """Half of a surrogate pair cannot be stored as UTF-8."""
    return text.encode("utf-8", "replace").decode()
