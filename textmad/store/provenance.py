"""What a result came from: the code, the libraries, the machine and the command.

Code and library versions are inputs of every stage's key, so a run never continues under others
unnoticed. The rest (machine, command, times) is recorded beside, in provenance.json.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from textmad.errors import RecipeError, disk_error, unreadable
from textmad.version import __version__

PACKAGE = Path(__file__).parents[1]
LIBRARIES = (
    "accelerate",
    "datasets",
    "numpy",
    "pandas",
    "peft",
    "pyarrow",
    "rensa",
    "safetensors",
    "scikit-learn",
    "scipy",
    "sentencepiece",
    "tokenizers",
    "torch",
    "transformers",
)
# These present results or compare runs; no stage of a run depends on them.
_NOT_IN_RESULTS = {
    "__init__.py",
    "__main__.py",
    "analysis",
    "auditing",
    "base_models",
    "calibration",
    "cli",
    "planning",
    "plots.py",
    "progress.py",
    "report",
    "statistics",
    "shipped.py",
    "studies",
    "testing",
    "version.py",
}


@cache
def code_version() -> str:
    """Return the SHA-256 of textmad's source: of the modules that a run's results depend on."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE)
        if name.parts[0] not in _NOT_IN_RESULTS:
            digest.update(f"{name.as_posix()} {file_digest(path)}\n".encode())
    return digest.hexdigest()


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that results depend on, by name."""
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in LIBRARIES},
    }


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source_digest(component: Any) -> str:
    """Digest of the source of a filter, evaluator or scorer: the whole file that defines it.

    What that file imports is not followed. For a class or function of a notebook it is the
    source of its functions alone.

    Raises:
        RecipeError: there is no source to read, so that a change to it would go unnoticed.
        RunError: the disk does not give it.
    """
    definition = component if hasattr(component, "__qualname__") else type(component)
    try:
        return file_digest(Path(inspect.getsourcefile(definition) or ""))
    except (TypeError, OSError) as error:
        if of_disk := disk_error(error):  # the digest of its functions would be another one
            raise unreadable(Path(of_disk.filename or "."), of_disk) from error
    members = vars(definition).values() if isinstance(definition, type) else [definition]
    try:
        sources = [inspect.getsource(member) for member in members if inspect.isfunction(member)]
    except OSError:
        sources = []
    if not sources:
        raise RecipeError(
            f"{definition.__module__}:{definition.__qualname__}: its source cannot be read, so a "
            "resumed run could not tell whether it is still the same: put it into a module"
        )
    return hashlib.sha256("\n".join(sources).encode()).hexdigest()


def git_revision() -> str | None:
    """The commit of the checkout that textmad runs from, with "+changes" where files differ.

    None where textmad is no checkout or there is no git.
    """
    top = _git("rev-parse", "--show-toplevel")
    if top is None or Path(top, "textmad").resolve() != PACKAGE.resolve():
        return None
    revision = _git("rev-parse", "HEAD")
    return f"{revision}+changes" if _git("status", "--porcelain", "--", ".") else revision


def session() -> dict[str, Any]:
    """Return the facts of this start of a run that may differ at the next one."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "textmad": __version__,
        "git": git_revision(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
    }


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", *arguments], cwd=PACKAGE, capture_output=True, text=True, check=False
        )
    except OSError:  # no git here
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
