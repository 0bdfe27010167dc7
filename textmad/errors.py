"""The errors textmad raises on purpose, and the exit codes of the command line.

    TextmadError             1
    ├── RecipeError          2    the recipe, or a change to it, is invalid
    ├── CorpusError          3    the human text cannot be used
    ├── ModelError           4    the base model or its settings cannot be used
    ├── CurationError        5    a filter or a scorer broke its contract
    ├── EvaluationError      6    an evaluator broke its contract
    ├── WaitingForVotesError 7    people have not voted enough yet
    └── RunError            73    the run folder, or a disk, cannot be written or read
        └── RunInUseError   75    another process is writing it

A message says where, what was given, what was expected, and what to do.
"""

import errno
import os
import re
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors

_PACKAGE = Path(__file__).parent

# What the operating system says of a disk, of its room, of who may read there, and of what a
# process may hold: not that a file is absent, and nothing about what is in it.
_OF_DISK = frozenset(
    {
        *(errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.ENODEV),
        *(errno.ENXIO, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM),
        *(getattr(errno, name) for name in ("EREMOTEIO", "EUCLEAN") if hasattr(errno, name)),
    }
)


class TextmadError(Exception):
    """Any error that textmad raises on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class RecipeError(TextmadError):
    """A recipe, an override, or the continuation of a run under another recipe is invalid."""

    exit_code = 2


class CorpusError(TextmadError):
    """Human text that is missing, unreadable, too bad or too small for the recipe."""

    exit_code = 3


class ModelError(TextmadError):
    """A base model that is missing, unsafe, or does not fit the settings."""

    exit_code = 4


class CurationError(TextmadError):
    """A filter or scorer that raised, or returned something other than one verdict each."""

    exit_code = 5


class EvaluationError(TextmadError):
    """An evaluator that raised, or returned something other than numbers."""

    exit_code = 6


class WaitingForVotesError(TextmadError):
    """A generation that waits for people's votes; when they are there, the same command goes on."""

    exit_code = 7


class RunError(TextmadError):
    """A run folder that cannot be written, or whose files are not what was committed.

    Also files of a base model that are there and that the disk does not give.
    """

    exit_code = 73


class RunInUseError(RunError):
    """A run folder that another process is writing."""

    exit_code = 75


@contextmanager
def temporary_files() -> Iterator[None]:
    """Turn the operating system's errors about temporary files into RunError.

    Raises:
        RunError: the folder for temporary files is full, or cannot be written; the message names
            it, and TMPDIR, which chooses another one.
    """
    try:
        yield
    except (OSError, safetensors.SafetensorError) as error:
        folder = tempfile.tempdir or os.environ.get("TMPDIR") or "no folder"
        why = getattr(error, "strerror", None) or error
        raise RunError(
            f"temporary files: {folder}: {why}: make room there, or set the environment variable "
            "TMPDIR to a folder with more room"
        ) from error


def disk_error(error: BaseException) -> OSError | None:
    """Return the error of the disk that an error comes from; None if it comes from none.

    An error that was raised while another one was handled comes from that one. Libraries in Rust
    give the number in their text alone. safetensors says of every file that it cannot open, for
    whatever reason, that there is no such file.
    """
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, OSError) and behind.errno in _OF_DISK:
            return behind
        number = re.search(r"\(os error (\d+)\)", str(behind))
        if number is not None and int(number[1]) in _OF_DISK:
            return OSError(int(number[1]), os.strerror(int(number[1])))
        missing = re.fullmatch(r"No such file or directory: (.+)", str(behind))
        if missing is not None and os.path.exists(missing[1].strip('"')):
            return OSError(None, "it is there, and cannot be opened", missing[1].strip('"'))
        behind = behind.__cause__ or behind.__context__
    return None


def unreadable(path: Path, error: OSError) -> RunError:
    """Make the error about a file or folder that the operating system does not give."""
    return RunError(
        f"{path}: cannot be read: {error.strerror or error}: check the disk, and whether you may "
        "read there; then give the same command again"
    )


def check_disk(path: Path, error: BaseException) -> None:
    """Check that an error is about what a file holds, and not about the disk (`disk_error`).

    Raises:
        RunError: the disk does not give the file, or folder, `path`.
    """
    if of_disk := disk_error(error):
        raise unreadable(path, of_disk) from error


def raised(error: BaseException) -> str:
    """Return what user code raised, with the file and the line of it.

    The line is the innermost one of the user's own code: neither textmad's nor an installed
    package's, unless there is no other.
    """
    message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if _PACKAGE not in Path(frame.filename).parents and not frame.filename.startswith("<")
    ]
    own = [frame for frame in frames if "site-packages" not in Path(frame.filename).parts]
    if not frames or isinstance(error, TextmadError):
        return message
    frame = (own or frames)[-1]
    return f"{message} ({frame.filename}, line {frame.lineno}, in {frame.name})"
