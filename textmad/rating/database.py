"""The SQLite file of people's votes: opened, migrated, and written in transactions."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from textmad.errors import RunError

VOTES = "votes.sqlite"  # in a run folder, or in that of `textmad rate TEXTS --out DIR`
_BUSY_SECONDS = 30.0

# The schema version of a file is the number of migrations it has had.
_MIGRATIONS = (
    """
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE ballots (
        id TEXT PRIMARY KEY, generation INTEGER NOT NULL, settings TEXT NOT NULL,
        created REAL NOT NULL, digest TEXT  -- of the votes; NULL while the ballot is open
    ) WITHOUT ROWID;
    CREATE TABLE texts (
        id INTEGER PRIMARY KEY, ballot TEXT NOT NULL REFERENCES ballots,
        document TEXT NOT NULL, text TEXT NOT NULL, answer INTEGER  -- of a gold text
    );
    CREATE INDEX texts_of_ballot ON texts (ballot);
    CREATE TABLE items (  -- what one vote is about: a text, a pair or a group
        id INTEGER PRIMARY KEY, ballot TEXT NOT NULL REFERENCES ballots, number INTEGER NOT NULL,
        gold INTEGER NOT NULL, taken INTEGER NOT NULL DEFAULT 0,  -- by raters who vote or voted
        UNIQUE (ballot, number)
    );
    CREATE INDEX items_to_give ON items (ballot, gold, taken, number);
    CREATE TABLE item_texts (
        item INTEGER NOT NULL REFERENCES items, position INTEGER NOT NULL,
        text INTEGER NOT NULL REFERENCES texts, PRIMARY KEY (item, position)
    ) WITHOUT ROWID;
    CREATE TABLE raters (
        id TEXT PRIMARY KEY, invitation TEXT NOT NULL UNIQUE  -- SHA-256 of the token
    ) WITHOUT ROWID;
    CREATE TABLE tasks (  -- an item given to a rater; showing 1 is a repeat
        id INTEGER PRIMARY KEY, rater TEXT NOT NULL REFERENCES raters ON DELETE CASCADE,
        item INTEGER NOT NULL REFERENCES items, showing INTEGER NOT NULL, seed INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('open', 'voted', 'skipped', 'released')),
        turn INTEGER NOT NULL, opened REAL NOT NULL, reason TEXT NOT NULL DEFAULT '',
        UNIQUE (rater, item, showing)
    );
    CREATE INDEX tasks_of_item ON tasks (item);
    CREATE TABLE votes (
        rater TEXT NOT NULL REFERENCES raters ON DELETE CASCADE,
        item INTEGER NOT NULL REFERENCES items, showing INTEGER NOT NULL,
        value INTEGER NOT NULL, screen_position INTEGER NOT NULL,
        seconds REAL NOT NULL, cast_at REAL NOT NULL,
        UNIQUE (rater, item, showing)
    );
    CREATE INDEX votes_of_item ON votes (item);
    CREATE TABLE reports (
        rater TEXT NOT NULL REFERENCES raters ON DELETE CASCADE,
        item INTEGER NOT NULL REFERENCES items, UNIQUE (rater, item)
    );
    CREATE TABLE used_keys (
        key TEXT PRIMARY KEY, rater TEXT NOT NULL REFERENCES raters ON DELETE CASCADE
    ) WITHOUT ROWID;
    """,
    """
    CREATE INDEX open_tasks ON tasks (rater) WHERE state = 'open';
    CREATE INDEX tasks_by_turn ON tasks (rater, turn)
    """,
    """
    CREATE TABLE ballot_runs (  -- the runs of a study that wait for a ballot, or learned from it
        ballot TEXT NOT NULL REFERENCES ballots, run TEXT NOT NULL, PRIMARY KEY (ballot, run)
    ) WITHOUT ROWID
    """,
)


class Database:
    """One SQLite file; threads share two connections, one that writes and one that reads.

    Threads that write at the same time are one transaction, with a savepoint each: waiting for the
    disk takes longest, and so all of them wait for it once. None goes on before it is done.

    Raises:
        RunError: it is no such file, was written by a later textmad, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._num_waiting = 0  # threads that want to write and are not in the transaction yet
        self._counting = threading.Lock()  # of `_num_waiting`
        self._group = _Group()
        with self._errors():
            self._connection = self._connect()
            self._migrate()
            self._reader = self._connect()
            self._reader.execute("PRAGMA query_only=ON")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        for setting in (
            "foreign_keys=ON",
            "journal_mode=WAL",
            "synchronous=FULL",  # a vote is on the disk before it is acknowledged
            "secure_delete=ON",  # what a rater has deleted is overwritten
        ):
            connection.execute(f"PRAGMA {setting}")
        return connection

    def close(self) -> None:
        """Close the file."""
        with self._lock, self._reading:
            self._reader.close()
            self._connection.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Change the file: what this block does is on the disk when it ends, or undone as a whole.

        Raises:
            RunError: the disk is full, or the file cannot be written.
        """
        with self._errors():
            self._add_waiting(1)
            with self._lock:
                self._add_waiting(-1)
                group = self._begin()
                with self._savepoint(group):
                    yield self._connection
                if self._num_waiting == 0:  # whoever waits for the lock commits for this one too
                    self._commit(group)
            group.wait()

    def _add_waiting(self, change: int) -> None:
        with self._counting:
            self._num_waiting += change

    def _begin(self) -> _Group:
        if not self._connection.in_transaction:
            self._group = _Group()
            self._connection.execute("BEGIN IMMEDIATE")
        return self._group

    @contextmanager
    def _savepoint(self, group: _Group) -> Iterator[None]:
        """Undo what a thread has done if it fails; the rest of the transaction stays."""
        db = self._connection
        try:
            db.execute("SAVEPOINT one")
            yield
            db.execute("RELEASE one")
        except BaseException as error:
            try:
                if db.in_transaction:
                    db.execute("ROLLBACK TO one")
                    db.execute("RELEASE one")
            except sqlite3.Error:
                db.execute("ROLLBACK")
            if not db.in_transaction:  # a full disk has undone the others' work too
                group.end(error)
            elif self._num_waiting == 0:
                self._commit(group)
            raise

    def _commit(self, group: _Group) -> None:
        try:
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            group.end(error)
        else:
            group.end(None)

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Begin a transaction that reads one state of the file, without waiting for who writes.

        Raises:
            RunError: it cannot be read.
        """
        with self._reading, self._errors():
            self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                self._reader.execute("ROLLBACK")

    def checkpoint(self) -> None:
        """Move everything from the log into the file, and empty the log."""
        with self._lock, self._errors():
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @property
    def secret(self) -> bytes:
        """The key that forms and cookies of this file are signed with."""
        with self.read() as db:
            (value,) = db.execute("SELECT value FROM facts WHERE name = 'secret'").fetchone()
        return bytes.fromhex(value)

    def _migrate(self) -> None:
        with self.write() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > len(_MIGRATIONS):
                raise RunError(
                    f"{self.path}: has schema version {version}, this textmad knows up to "
                    f"{len(_MIGRATIONS)}: use the textmad that wrote it, or a later one"
                )
            for number, script in enumerate(_MIGRATIONS[version:], version + 1):
                for statement in script.split(";\n"):  # executescript would commit
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {number}")
            db.execute("INSERT OR IGNORE INTO facts VALUES ('secret', ?)", (secrets.token_hex(32),))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise RunError(
                f"{self.path}: people's votes cannot be read or written: {error}: free some space, "
                "allow writing there, or restore the file; what was acknowledged before is in it"
            ) from error


class _Group:
    """The threads of one transaction, which end together."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._error: BaseException | None = None

    def end(self, error: BaseException | None) -> None:
        self._error = error
        self._ended.set()

    def wait(self) -> None:
        """Wait until the transaction has ended.

        Raises:
            sqlite3.Error: it was undone, and this thread's part with it.
        """
        self._ended.wait()
        if self._error is not None:
            raise sqlite3.OperationalError(str(self._error))


def insert(db: sqlite3.Connection, into: str, values: Sequence[Any]) -> int:
    """Insert a row `into` a table (with its columns), and return its id."""
    marks = ", ".join("?" * len(values))
    row = db.execute(f"INSERT INTO {into} VALUES ({marks})", tuple(values)).lastrowid
    assert row is not None, "an INSERT has a row"
    return row


def next_turn(db: sqlite3.Connection, rater: str) -> int:
    """Return a number that is larger than those of all tasks of a rater."""
    (turn,) = db.execute(
        "SELECT COALESCE(MAX(turn), 0) + 1 FROM tasks WHERE rater = ?", (rater,)
    ).fetchone()
    return int(turn)


def set_state(db: sqlite3.Connection, task: Any, state: str, reason: str = "") -> None:
    """Change a task's state, and with it how many raters have its item."""
    takes = {"open": 1, "voted": 1, "skipped": 0, "released": 0}
    change = takes[state] - takes[task["state"]]
    if task["showing"] == 0 and change:
        db.execute("UPDATE items SET taken = taken + ? WHERE id = ?", (change, task["item"]))
    db.execute("UPDATE tasks SET state = ?, reason = ? WHERE id = ?", (state, reason, task["id"]))
