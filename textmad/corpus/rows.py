"""What every reader yields: one text of the source, not yet a document."""

from typing import NamedTuple


class Row(NamedTuple):
    """One text with what its source says of it; None where it says nothing."""

    text: str
    votes: float | None = None
    community: str | None = None
    time: float | None = None  # seconds since 1970
    conversation: str | None = None
