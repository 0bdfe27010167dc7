"""Read comments and submissions as the Pushshift and Arctic Shift dumps hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textmad.corpus.entities import unescape
from textmad.corpus.records import (
    BadLineError,
    Row,
    UnwantedError,
    label_of,
    number_of,
    seconds_of,
    text_of,
)

REDDIT_KEYS = (
    *("body", "title", "selftext", "id", "link_id", "score", "subreddit", "created_utc"),
)
_GONE = {"[deleted]", "[removed]", "[deleted by user]", "[removed by moderator]"}
_GONE_PREFIX = "[ removed by reddit"


def reddit_row(record: Mapping[str, Any]) -> Row:
    """Return the row of a comment (`body`) or a submission (`title`, blank line, `selftext`).

    Votes are the score, the community is the subreddit, and the conversation is the submission:
    a comment's `link_id`, a submission's own id in the same form (t3_...). Each is unknown where
    the key is missing, as in reduced dumps. A submission without `selftext` (a link or a picture)
    is its title. Reddit escapes `&`, `<` and `>`, in some dumps twice; here they are unescaped.

    Raises:
        UnwantedError: deleted, removed or empty.
        BadLineError: there is neither body nor title, or a field is of the wrong kind.
    """
    if "body" in record:
        parts = [text_of(record, "body")]
        conversation = label_of(record, "link_id")
    elif "title" in record:
        has_text = record.get("selftext") is not None
        parts = [text_of(record, "title"), *([text_of(record, "selftext")] if has_text else [])]
        own_id = label_of(record, "id")
        conversation = own_id and f"t3_{own_id}"
    else:
        raise BadLineError("neither 'body' (a comment) nor 'title' (a submission)")
    parts = [stripped for part in parts if (stripped := unescape(part).strip())]
    if any(_is_gone(part) for part in parts):
        raise UnwantedError("deleted or removed")
    if not parts:
        raise UnwantedError("empty")
    return Row(
        text="\n\n".join(parts),
        votes=number_of(record, "score"),
        community=label_of(record, "subreddit"),
        time=seconds_of(record, "created_utc"),
        conversation=conversation,
    )


def _is_gone(text: str) -> bool:
    text = text.lower()
    return text in _GONE or text.startswith(_GONE_PREFIX)
