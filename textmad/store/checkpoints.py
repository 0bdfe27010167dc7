"""Checkpoints: how far an unfinished stage has come, so that a lost job does not repeat all of it.

A checkpoint is written as a stage is: whole or not at all, with the key of its stage and the
SHA-256 of its files. It lies in `checkpoints/` of the run folder. The next one takes its place, and
the last one goes when the stage is committed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textmad.errors import RunError
from textmad.store.commit import Write, committed, discard, replace
from textmad.store.files import make_folder, writing
from textmad.store.manifest import stage_key

CHECKPOINTS = "checkpoints"

_log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one stage, of which the latest is kept.

    Args:
        run: the run folder.
        stage: its name in messages, as in "gen-00/sample".
        inputs: everything that the stage depends on, so that no other stage goes on from here.
        minutes: between two checkpoints, and before the first.
    """

    def __init__(self, run: Path, stage: str, inputs: Mapping[str, Any], minutes: float) -> None:
        self._stage, self._inputs, self._seconds = stage, inputs, 60 * minutes
        self._folder = run / CHECKPOINTS / stage.replace("/", "-")
        self._kept_at = time.monotonic()

    def latest(self) -> Path | None:
        """Return the folder of the latest checkpoint; None where the stage starts anew.

        A damaged checkpoint, and one of other inputs, is not used. A warning says so.
        """
        try:
            manifest = committed(self._folder, self._stage, verify=True)
        except RunError as error:
            _log.warning("%s starts anew: its checkpoint is damaged: %s", self._stage, error)
            return None
        if manifest is None:
            return None
        if manifest.key != stage_key(self._inputs):
            _log.warning(
                "%s starts anew: %s is a checkpoint of other inputs", self._stage, self._folder
            )
            return None
        return self._folder

    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return time.monotonic() - self._kept_at >= self._seconds

    def keep(self, write: Write) -> None:
        """Put what `write` writes into a folder in the place of the latest checkpoint.

        Raises:
            RunError: the disk is full, or the place cannot be written.
        """
        with writing(self._folder):
            make_folder(self._folder.parent)  # several processes may compute members
        replace(self._folder, self._stage, self._inputs, write)
        self._kept_at = time.monotonic()

    def discard(self) -> None:
        """Delete the checkpoint, since the stage is committed."""
        discard(self._folder)
