"""What a source's text is identified by: a run must not go on over text that has changed."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path

from textmad.corpus.readers import source_format
from textmad.errors import CorpusError
from textmad.recipe import CorpusSettings


def corpus_digest(settings: CorpusSettings) -> str:
    """A digest of the source's bytes, compressed as they are; reads a file at disk speed.

    For chitchat it is the package's version. A Hub dataset has its name alone: whether its
    content changed cannot be known without the network.

    >>> corpus_digest(CorpusSettings(source="chitchat"))
    'chitchat-dataset 0.9.0'

    Raises:
        CorpusError: the source does not exist or cannot be read.
    """
    path = Path(settings.source)
    if source_format(settings) == "chitchat":
        return f"chitchat-dataset {version('chitchat-dataset')}"
    if path.is_file():
        return f"sha256 {_file_digest(path)}"
    if not path.is_dir():
        return f"Hub dataset {settings.source}, config {settings.config}, split {settings.split}"
    digest = hashlib.sha256()
    # Arrow files only: state.json changes with the version of `datasets`, cache-* are results.
    for file in sorted(path.rglob("*.arrow")):
        if not file.name.startswith("cache-"):
            digest.update(f"{file.relative_to(path).as_posix()} {_file_digest(file)}\n".encode())
    return f"sha256 {digest.hexdigest()}"


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror}") from None
