"""Raters: invited by a link each, known by a pseudonym and a signed cookie, forgotten on demand."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3

from textmad.errors import RunError
from textmad.rating.database import Database


class Raters:
    """The raters of one file."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._secret = database.secret

    def invite(self, num_raters: int) -> list[str]:
        """Add raters, and return the secret token of each one's invitation link."""
        tokens = [secrets.token_urlsafe(24) for _ in range(num_raters)]
        with self._database.write() as db:
            for token in tokens:
                db.execute("INSERT INTO raters VALUES (?, ?)", (_new_rater(db), _hash(token)))
        return tokens

    def names(self) -> list[str]:
        """Return the raters' pseudonyms."""
        with self._database.read() as db:
            return [row[0] for row in db.execute("SELECT id FROM raters ORDER BY id")]

    def rater_of(self, token: str) -> str | None:
        """Return the rater with this invitation; None if there is none."""
        with self._database.read() as db:
            row = db.execute(
                "SELECT id FROM raters WHERE invitation = ?", (_hash(token),)
            ).fetchone()
        return None if row is None else str(row[0])

    def sign_in(self, rater: str) -> str:
        """Return the value of a rater's session cookie."""
        return f"{rater}.{self.sign('session', rater)}"

    def signed_in(self, cookie: str) -> str | None:
        """Return the rater of a session cookie; None if it is not one of ours."""
        rater, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self.sign("session", rater).encode()):
            return None
        with self._database.read() as db:
            is_known = db.execute("SELECT 1 FROM raters WHERE id = ?", (rater,)).fetchone()
        return rater if is_known else None

    def forget(self, rater: str) -> tuple[int, int]:
        """Delete a rater with all votes in open ballots; return how many went and how many stay.

        Votes in a closed ballot are frozen in a generation, and stay under the pseudonym; then the
        rater's invitation is deleted all the same.

        Raises:
            RunError: no such rater.
        """
        with self._database.write() as db:
            if not db.execute("SELECT 1 FROM raters WHERE id = ?", (rater,)).fetchone():
                known = ", ".join(row[0] for row in db.execute("SELECT id FROM raters ORDER BY id"))
                raise RunError(
                    f"{self._database.path}: no rater {rater}: expected one of {known or '(none)'}"
                )
            open_items = (
                "(SELECT items.id FROM items JOIN ballots ON ballots.id = ballot"
                " WHERE digest IS NULL)"
            )
            db.execute(
                "UPDATE items SET taken = taken - 1 WHERE id IN (SELECT item FROM tasks"
                " WHERE rater = ?"
                f" AND showing = 0 AND state IN ('open', 'voted')) AND id IN {open_items}",
                (rater,),
            )
            deleted = db.execute(
                f"DELETE FROM votes WHERE rater = ? AND item IN {open_items}", (rater,)
            ).rowcount
            (frozen,) = db.execute(
                "SELECT COUNT(*) FROM votes WHERE rater = ?", (rater,)
            ).fetchone()
            if frozen:
                db.execute(f"DELETE FROM tasks WHERE rater = ? AND item IN {open_items}", (rater,))
                db.execute(
                    "UPDATE raters SET invitation = ? WHERE id = ?", (f"deleted {rater}", rater)
                )
            else:
                db.execute("DELETE FROM raters WHERE id = ?", (rater,))
        self._database.checkpoint()
        return deleted, frozen

    def sign(self, *parts: str) -> str:
        """Return the signature of some text under the secret of the file."""
        return hmac.new(self._secret, "\0".join(parts).encode(), hashlib.sha256).hexdigest()[:32]


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _new_rater(db: sqlite3.Connection) -> str:
    """Return the next free pseudonym; that of a rater who was forgotten is not given again."""
    (last,) = db.execute(
        "INSERT INTO facts VALUES ('raters', '1') ON CONFLICT (name) DO UPDATE SET"
        " value = CAST(value AS INTEGER) + 1 RETURNING value"
    ).fetchone()
    name = f"r{int(last):03d}"
    is_known = db.execute("SELECT 1 FROM raters WHERE id = ?", (name,)).fetchone()
    return _new_rater(db) if is_known else name
