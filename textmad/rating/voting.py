"""Voting: which text a rater is shown next, and what becomes of an answer.

Every change is one transaction. A vote is identified by rater, item and showing; a form's key
counts once.
"""

from __future__ import annotations

import hmac
import secrets
import sqlite3
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from textmad.rating.ballot import Ballot
from textmad.rating.database import Database, insert, next_turn, set_state
from textmad.rating.raters import Raters
from textmad.rating.records import settings_of

_HELD_SECONDS = 1800.0  # an item that was given and not voted on is given to others after this
_REPEAT_AFTER = 5  # votes between an item and its repeat
MOST_LEFT = 1000  # more are not counted
# Items that others are wanted for, and the rater has not had: of ballot, raters_per_text, rater.
_TO_GIVE = (
    "FROM items WHERE ballot = ? AND gold = 0 AND taken < ? AND NOT EXISTS"
    " (SELECT 1 FROM tasks WHERE rater = ? AND item = items.id AND showing = 0)"
)
SKIP_REASONS = ("I cannot decide", "I do not understand the text", "It is not in my language")


class VoteRejectedError(Exception):
    """A vote that is not counted; `status` is the HTTP code, the message is for the rater."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Task(NamedTuple):
    """What a rater is shown: texts in the order on the screen, and nothing about their origin."""

    id: int
    ballot: Ballot
    texts: list[str]
    key: str  # of this rendering of the form
    num_voted: int
    num_left: int  # for this rater with this one, as it is now; counted up to MOST_LEFT


class Voting:
    """What raters do with one file."""

    def __init__(
        self, database: Database, raters: Raters, clock: Callable[[], float] = time.time
    ) -> None:
        self._database, self._raters, self._clock = database, raters, clock

    def next_task(self, rater: str) -> Task | None:
        """Return what the rater is shown now; None when nothing is left for them.

        That is, in this order: what they were given and have not voted on; a repeat or a gold text
        that is due; the item that the fewest raters have. After half an hour an item that was
        given and not voted on is given to others too.
        """
        task = self.open_task(rater)
        if task is None:
            with self._database.write() as db:
                self._give_next(db, rater)
            task = self.open_task(rater)
        return task

    def open_task(self, rater: str) -> Task | None:
        """Return what the rater was given last and has not voted on; None if there is nothing.

        It only reads, and so waits for nobody who writes.
        """
        with self._database.read() as db:
            row = db.execute(
                "SELECT tasks.id, ballot, seed, settings FROM tasks JOIN items ON items.id = item"
                " JOIN ballots ON ballots.id = ballot WHERE rater = ? AND state = 'open'"
                " AND digest IS NULL ORDER BY turn DESC LIMIT 1",
                (rater,),
            ).fetchone()
            if row is None:
                return None
            settings = settings_of(row["settings"])
            texts = db.execute(
                "SELECT texts.text FROM tasks JOIN item_texts USING (item)"
                " JOIN texts ON texts.id = item_texts.text WHERE tasks.id = ? ORDER BY position",
                (row["id"],),
            ).fetchall()
            order = _screen_order(row["seed"], len(texts))
            num_voted, num_left = 0, 1
            for ballot in _alike(db)[row["settings"]]:
                num = _num_voted(db, rater, ballot)
                num_voted += num
                num_left += _num_left(db, rater, ballot, settings, num + (ballot == row["ballot"]))
            return Task(
                row["id"],
                settings,
                [texts[position]["text"] for position in order],
                self._new_key(rater, row["id"]),
                num_voted,
                min(num_left, MOST_LEFT),
            )

    def cast(self, rater: str, key: str, choice: int) -> None:
        """Count a vote.

        A key that has counted before changes nothing. Another key of the same task replaces the
        vote, as from a second tab.

        Args:
            rater: who votes.
            key: of the form.
            choice: up_down 0 or 1, stars 1 to 5, else the screen position of the chosen text.

        Raises:
            VoteRejectedError: the key is not this rater's, the choice is out of range, or the
                ballot is closed. Nothing changes.
        """
        with self._database.write() as db:
            task, settings = self._checked_task(db, rater, key)
            num_texts = task["num_texts"]  # of a group fewer than others have, perhaps
            if choice not in (settings.values if num_texts == 1 else range(num_texts)):
                raise VoteRejectedError(
                    400, f"{choice} is not one of the answers. Reload the page and vote again."
                )
            if not _is_new(db, key, rater):
                return
            value = choice if num_texts == 1 else _screen_order(task["seed"], num_texts)[choice]
            now = self._clock()
            db.execute(
                "INSERT INTO votes VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (rater, item, showing)"
                " DO UPDATE SET value = excluded.value, screen_position = excluded.screen_position,"
                " cast_at = excluded.cast_at",
                (
                    *(rater, task["item"], task["showing"], value),
                    choice if num_texts > 1 else 0,
                    max(0.0, now - task["opened"]),  # a clock may go back
                    now,
                ),
            )
            set_state(db, task, "voted")
            self._give_next(db, rater)

    def skip(self, rater: str, key: str, reason: str, *, report: bool = False) -> None:
        """Put a task aside, so that others get its item; `report`: because its text is offensive.

        Raises:
            VoteRejectedError: as by `cast`.
        """
        with self._database.write() as db:
            task, _ = self._checked_task(db, rater, key)
            if not _is_new(db, key, rater):
                return
            if report:
                db.execute("INSERT OR IGNORE INTO reports VALUES (?, ?)", (rater, task["item"]))
                reason = "reported"
            elif reason not in SKIP_REASONS:
                raise VoteRejectedError(400, "Choose one of the reasons.")
            db.execute(
                "DELETE FROM votes WHERE rater = ? AND item = ? AND showing = ?",
                (rater, task["item"], task["showing"]),
            )
            set_state(db, task, "skipped", reason)
            self._give_next(db, rater)

    def undo(self, rater: str, key: str) -> None:
        """Take back the rater's last vote, and show its item again.

        Raises:
            VoteRejectedError: as by `cast`, or there is no vote to take back.
        """
        with self._database.write() as db:
            self._checked_task(db, rater, key, must_have_task=False)
            if not _is_new(db, key, rater):
                return
            last = db.execute(
                "SELECT tasks.* FROM tasks JOIN items ON items.id = item JOIN ballots ON"
                " ballots.id = ballot WHERE rater = ? AND state = 'voted' AND digest IS NULL"
                " ORDER BY turn DESC LIMIT 1",
                (rater,),
            ).fetchone()
            if last is None:
                raise VoteRejectedError(409, "There is no vote to take back.")
            db.execute(
                "DELETE FROM votes WHERE rater = ? AND item = ? AND showing = ?",
                (rater, last["item"], last["showing"]),
            )
            set_state(db, last, "open")
            db.execute(
                "UPDATE tasks SET turn = ?, opened = ? WHERE id = ?",
                (next_turn(db, rater), self._clock(), last["id"]),
            )

    def key_without_task(self, rater: str) -> str:
        """Return a form key for a page that shows no task, such as that of undo at the end."""
        return self._new_key(rater, 0)

    # --- giving tasks -----------------------------------------------------------------------

    def _give_next(self, db: sqlite3.Connection, rater: str) -> None:
        """Give a rater a new task, unless they have one or nothing is left for them.

        In the transaction of their vote, so that a vote waits for the disk once.
        """
        has_task = db.execute(
            "SELECT 1 FROM tasks JOIN items ON items.id = item JOIN ballots ON ballots.id = ballot"
            " WHERE rater = ? AND state = 'open' AND digest IS NULL",
            (rater,),
        ).fetchone()
        if has_task:
            return
        for text, ballots in _alike(db).items():
            settings = settings_of(text)
            num_voted = {ballot: _num_voted(db, rater, ballot) for ballot in ballots}
            # One of each in turn, in random order, so that the arms of a study are side by side.
            for ballot in sorted(ballots, key=lambda name: (num_voted[name], secrets.randbits(31))):
                limit = settings.texts_per_rater
                if (limit is None or num_voted[ballot] < limit) and self._give_new(
                    db, rater, ballot, settings, num_voted[ballot]
                ):
                    return

    def _give_new(
        self, db: sqlite3.Connection, rater: str, ballot: str, settings: Ballot, num_voted: int
    ) -> bool:
        """Give a rater a task of this ballot; return whether there is one."""
        repeat = self._repeat_due(db, rater, ballot, settings, num_voted)
        if repeat is not None:
            self._give(db, rater, repeat, showing=1)
            return True
        item = self._gold_due(db, rater, ballot, settings, num_voted)
        if item is None:
            item = self._rarest_item(db, rater, ballot, settings)
        if item is None:
            self._release(db, ballot)
            item = self._rarest_item(db, rater, ballot, settings)
        if item is not None:
            self._give(db, rater, item, showing=0)
        return item is not None

    def _repeat_due(
        self, db: sqlite3.Connection, rater: str, ballot: str, settings: Ballot, num_voted: int
    ) -> int | None:
        """Return an item that the rater has voted on and is asked about again."""
        if settings.repeats == 0:
            return None
        repeated, first = (
            db.execute(
                "SELECT item, turn FROM tasks JOIN items ON items.id = item WHERE rater = ? AND"
                " ballot = ? AND showing = ? AND NOT gold ORDER BY turn",
                (rater, ballot, showing),
            ).fetchall()
            for showing in (1, 0)
        )
        num_firsts = sum(1 for _ in first)
        # Evenly over the rater's share: after every so many votes one is asked again.
        every = max(_REPEAT_AFTER, (settings.texts_per_rater or 100) // (settings.repeats + 1))
        if len(repeated) >= settings.repeats or num_firsts < every * (len(repeated) + 1):
            return None
        done = {row["item"] for row in repeated}
        candidates = db.execute(
            "SELECT item FROM tasks JOIN items ON items.id = item WHERE rater = ?"
            " AND ballot = ? AND state = 'voted' AND showing = 0 AND NOT gold ORDER BY turn",
            (rater, ballot),
        ).fetchall()[: -_REPEAT_AFTER + 1]
        return next((row["item"] for row in candidates if row["item"] not in done), None)

    def _gold_due(
        self, db: sqlite3.Connection, rater: str, ballot: str, settings: Ballot, num_voted: int
    ) -> int | None:
        if not settings.gold:
            return None
        left = db.execute(
            "SELECT id FROM items WHERE ballot = ? AND gold AND id NOT IN"
            " (SELECT item FROM tasks WHERE rater = ?) ORDER BY number",
            (ballot, rater),
        ).fetchall()
        if not left:
            return None
        (total,) = db.execute(
            "SELECT COUNT(*) FROM items WHERE ballot = ? AND gold", (ballot,)
        ).fetchone()
        # Spread over the rater's share, the first one soon.
        every = max(2, (settings.texts_per_rater or 100) // total)
        return int(left[0]["id"]) if num_voted >= 1 + every * (total - len(left)) else None

    def _rarest_item(
        self, db: sqlite3.Connection, rater: str, ballot: str, settings: Ballot
    ) -> int | None:
        row = db.execute(
            f"SELECT id {_TO_GIVE} ORDER BY taken, number LIMIT 1",
            (ballot, settings.raters_per_text, rater),
        ).fetchone()
        return None if row is None else int(row[0])

    def _release(self, db: sqlite3.Connection, ballot: str) -> None:
        """Give what was given long ago and not voted on to others."""
        rows = db.execute(
            "SELECT tasks.* FROM tasks JOIN items ON items.id = item WHERE ballot = ? AND"
            " state = 'open' AND opened < ?",
            (ballot, self._clock() - _HELD_SECONDS),
        )
        for task in rows.fetchall():
            set_state(db, task, "released")

    def _give(self, db: sqlite3.Connection, rater: str, item: int, *, showing: int) -> None:
        if showing == 0:
            db.execute("UPDATE items SET taken = taken + 1 WHERE id = ?", (item,))
        insert(
            db,
            "tasks (rater, item, showing, seed, state, turn, opened)",
            (
                *(rater, item, showing, secrets.randbits(31), "open"),
                *(next_turn(db, rater), self._clock()),
            ),
        )

    # --- keys -------------------------------------------------------------------------------

    def _new_key(self, rater: str, task: int) -> str:
        nonce = secrets.token_hex(8)
        return f"{task}.{nonce}.{self._raters.sign('form', rater, str(task), nonce)}"

    def _checked_task(
        self, db: sqlite3.Connection, rater: str, key: str, *, must_have_task: bool = True
    ) -> tuple[Any, Ballot]:
        """Return the task of a form's key and its ballot's settings.

        Raises:
            VoteRejectedError: the key is not signed for this rater, or the ballot is closed.
        """
        task_id, _, rest = key.partition(".")
        nonce, _, signature = rest.partition(".")
        expected = self._raters.sign("form", rater, task_id, nonce)
        if not hmac.compare_digest(signature.encode(), expected.encode()):
            raise VoteRejectedError(
                403, "This form was not made for you. Reload the page and vote again."
            )
        task = db.execute(
            "SELECT *, (SELECT COUNT(*) FROM item_texts WHERE item = tasks.item) AS num_texts"
            " FROM tasks WHERE id = ?",
            (int(task_id),),
        ).fetchone()
        if task is None:
            if not must_have_task:
                return None, Ballot()
            raise VoteRejectedError(409, "This text is no longer there. Reload the page.")
        row = db.execute(
            "SELECT digest, settings FROM ballots JOIN items ON ballot = ballots.id"
            " WHERE items.id = ?",
            (task["item"],),
        ).fetchone()
        if row["digest"] is not None:
            raise VoteRejectedError(
                409, "This round is closed, so your vote was not counted. Reload the page."
            )
        return task, settings_of(row["settings"])


def _alike(db: sqlite3.Connection) -> dict[str, list[str]]:
    """Return the open ballots by their settings, in the order in which they were laid out."""
    alike: dict[str, list[str]] = {}
    rows = db.execute("SELECT id, settings FROM ballots WHERE digest IS NULL ORDER BY created, id")
    for ballot, settings in rows:
        alike.setdefault(settings, []).append(ballot)
    return alike


def _num_voted(db: sqlite3.Connection, rater: str, ballot: str) -> int:
    (number,) = db.execute(
        "SELECT COUNT(*) FROM tasks JOIN items ON items.id = item"
        " WHERE rater = ? AND ballot = ? AND state = 'voted'",
        (rater, ballot),
    ).fetchone()
    return int(number)


def _num_left(
    db: sqlite3.Connection, rater: str, ballot: str, settings: Ballot, num_taken: int
) -> int:
    """Return how many items a rater who has taken so many can still be given."""
    limit = settings.texts_per_rater
    most = MOST_LEFT if limit is None else max(0, min(limit - num_taken, MOST_LEFT))
    (number,) = db.execute(
        f"SELECT COUNT(*) FROM (SELECT 1 {_TO_GIVE} LIMIT ?)",
        (ballot, settings.raters_per_text, rater, most),
    ).fetchone()
    return int(number)


def _is_new(db: sqlite3.Connection, key: str, rater: str) -> bool:
    """Use up a form's key; return whether it was not used before."""
    return db.execute("INSERT OR IGNORE INTO used_keys VALUES (?, ?)", (key, rater)).rowcount > 0


def _screen_order(seed: int, num_texts: int) -> list[int]:
    """Return which text of the item stands at each position on the screen."""
    if num_texts == 1:
        return [0]
    return [int(i) for i in np.random.default_rng(seed).permutation(num_texts)]
