"""The built-in human source: the Chit-Chat Challenge conversations (BYU, 2018).

From the PyPI package `chitchat-dataset` (MIT): 7,168 conversations of two people each. A document
is one turn: all that one person wrote before the other answered. Half of the conversations, by
content hash, taught tiny-gpt2; the other half is what recipes get.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from textmad.corpus.records import Row


def read_chitchat(half: Literal["pool", "base"] = "pool") -> Iterator[Row]:
    """Yield the turns of one half: "pool" for recipes, "base" for training tiny-gpt2.

    `votes` is the mean of the ratings (1 to 10) that the conversation got for being witty, upbeat
    and interesting; every turn of a conversation shares it, and 55 % are the form's default 5.
    """
    import chitchat_dataset

    conversations: dict[str, Any] = json.loads(
        Path(chitchat_dataset.__file__).with_name("dataset.json").read_text(encoding="utf-8")
    )
    for name, conversation in conversations.items():
        if half_of(name) != half:
            continue
        ratings = list(conversation.get("ratings", {}).values())
        votes = sum(ratings) / len(ratings) if ratings else None
        for turn in conversation["messages"]:
            yield Row(
                text=" ".join(message["text"] for message in turn),
                votes=votes,
                community="chitchat",
                time=_seconds(turn[0]["timestamp"]) if turn else None,
                conversation=name,
            )


def half_of(conversation: str) -> Literal["pool", "base"]:
    """Return the half that a conversation belongs to, by a hash of its name; it never changes."""
    digest = hashlib.sha256(f"tiny-gpt2/{conversation}".encode()).digest()
    return "base" if digest[0] % 2 == 0 else "pool"


def _seconds(timestamp: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(timestamp).timestamp()
