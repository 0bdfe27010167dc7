"""Comments and submissions as the Pushshift and Arctic Shift dumps hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textmad.corpus.records import BadLineError, UnwantedError, label_of, number_of, text_of
from textmad.corpus.rows import Row

_GONE = {"[deleted]", "[removed]", "[deleted by user]", "[removed by moderator]"}
_GONE_PREFIX = "[ removed by reddit"


def reddit_row(record: Mapping[str, Any]) -> Row:
    """A comment (`body`), or a submission (`title`, then `selftext` after a blank line).

    Votes are the score, the community is the subreddit, and the conversation is the submission:
    a comment's `link_id`, a submission's own id in the same form (t3_...). A submission without
    `selftext` (a link or a picture) is its title.

    Raises:
        UnwantedError: deleted, removed or empty.
        BadLineError: a field is missing or of the wrong kind.
    """
    if "body" in record:
        parts = [text_of(record, "body")]
        conversation = label_of(record, "link_id")
    elif "title" in record:
        parts = [text_of(record, "title"), text_of(record, "selftext")]
        own_id = label_of(record, "id")
        conversation = own_id and f"t3_{own_id}"
    else:
        raise BadLineError("neither 'body' (a comment) nor 'title' (a submission)")
    parts = [stripped for part in parts if (stripped := part.strip())]
    if any(_is_gone(part) for part in parts):
        raise UnwantedError("deleted or removed")
    if not parts:
        raise UnwantedError("empty")
    return Row(
        text="\n\n".join(parts),
        votes=number_of(record, "score"),
        community=label_of(record, "subreddit"),
        time=number_of(record, "created_utc"),
        conversation=conversation,
    )


def _is_gone(text: str) -> bool:
    text = text.lower()
    return text in _GONE or text.startswith(_GONE_PREFIX)
