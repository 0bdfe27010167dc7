"""Identify a source's text: a run must not continue over text that has changed."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path

from textmad.corpus.folders import dataset_files
from textmad.corpus.readers import source_format, source_path
from textmad.errors import CorpusError
from textmad.recipe import CorpusSettings


def corpus_digest(settings: CorpusSettings) -> str:
    """Return a digest of the source's bytes, compressed as they are; reads at disk speed.

    For chitchat it is the package's version, for a Hub dataset its name: whether its content
    changed cannot be known without the network. Of a folder, the files that are read, in order.

    >>> corpus_digest(CorpusSettings(source="chitchat"))
    'chitchat-dataset 0.9.0'

    Raises:
        CorpusError: the source does not exist or cannot be read.
    """
    if source_format(settings) == "chitchat":
        return f"chitchat-dataset {version('chitchat-dataset')}"
    path = source_path(settings.source)
    if path.is_file():
        return f"sha256 {_file_digest(path)}"
    if not path.is_dir():
        return f"Hub dataset {settings.source}, config {settings.config}, split {settings.split}"
    digest = hashlib.sha256()
    for file in dataset_files(path, settings.split):
        digest.update(f"{file.name} {_file_digest(file)}\n".encode())
    return f"sha256 {digest.hexdigest()}"


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror}") from None
