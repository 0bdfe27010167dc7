"""The record of a study's hypotheses, which is written before its first run and only added to.

runs/quickstart/hypotheses/
  version-001.json   the hypotheses, the date, and how many runs had results then
  version-002.json   the same after a change; it holds the SHA-256 of version-001.json

A file is never written again. Whoever can write the folder can make all of it anew, so the digest
that `textmad study` prints is worth keeping outside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from textmad import store
from textmad.errors import RunError
from textmad.store.records import sealed_json
from textmad.studies.arms import Hypothesis

HYPOTHESES = "hypotheses"
_KEYS = ("version", "date", "runs_with_results", "previous", "hypotheses")


@dataclass(frozen=True)
class Version:
    """What was registered at one time."""

    number: int
    date: str  # UTC, to the second
    runs_with_results: int
    hypotheses: Mapping[str, Hypothesis]
    sha256: str  # of the file

    @property
    def before_results(self) -> bool:
        """Whether no run had a complete generation."""
        return not self.runs_with_results


@dataclass(frozen=True)
class Registered:
    """A hypothesis, since when it stands as it is, and what became of it.

    `changes` are those of earlier forms, oldest first: the version that changed it, and what.
    `ended` is the version that changed or withdrew it after there were results.
    """

    hypothesis: Hypothesis
    since: Version
    changes: tuple[tuple[Version, str], ...] = ()
    ended: Version | None = None
    end: Literal["", "changed", "withdrawn"] = ""

    @property
    def is_confirmatory(self) -> bool:
        """Whether it was fixed, in this form, before any result."""
        return self.since.before_results


def register(
    hypotheses: Sequence[Hypothesis], path: Path, count_results: Callable[[], int]
) -> Version | None:
    """Write the hypotheses into a study's folder where they are new there or have changed.

    Args:
        hypotheses: those of the study now.
        path: the study's folder, whose only writer this process is.
        count_results: returns how many runs have a complete generation.

    Returns:
        The version that was written; None where nothing has changed.

    Raises:
        RunError: the record is damaged, or cannot be written.
    """
    versions = read_versions(path)
    now = {each.name: each for each in hypotheses}
    if now == (dict(versions[-1].hypotheses) if versions else {}):
        return None
    number = len(versions) + 1
    record = {
        "version": number,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "runs_with_results": count_results(),
        "previous": versions[-1].sha256 if versions else None,
        "hypotheses": {name: each.dump() for name, each in now.items()},
    }
    folder = path / HYPOTHESES
    with store.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    store.write_atomically(_file(folder, number), sealed_json(record))
    return read_versions(path)[-1]


def read_versions(path: Path) -> list[Version]:
    """Return all that was registered in a study's folder, oldest first.

    Raises:
        RunError: a file is damaged, missing between others, or not followed by the next.
    """
    folder = path / HYPOTHESES
    files = sorted(folder.glob("version-*.json")) if folder.is_dir() else []
    versions: list[Version] = []
    for number, file in enumerate(files, start=1):
        record = store.read_sealed_json(file, _KEYS)
        previous = versions[-1].sha256 if versions else None
        if file != _file(folder, number) or record["previous"] != previous:
            raise RunError(
                f"{file}: does not follow the version before it: a version was changed or removed; "
                "put the files of a backup there"
            )
        try:
            hypotheses = {n: _hypothesis(n, data) for n, data in record["hypotheses"].items()}
        except (AttributeError, KeyError, TypeError) as error:
            raise RunError(f"{file}: was written by another version of textmad: {error}") from error
        versions.append(
            Version(
                number,
                str(record["date"]),
                int(record["runs_with_results"]),
                hypotheses,
                hashlib.sha256(file.read_bytes()).hexdigest(),
            )
        )
    return versions


def registered(versions: Sequence[Version]) -> list[Registered]:
    """Return the hypotheses that are to be tested: those of now, and those that ended too late.

    One that was fixed before any result and changed or withdrawn after there were some stays, as
    it was: else an unwelcome answer could be dropped.
    """
    current: dict[str, Registered] = {}
    ended: list[Registered] = []
    for version in versions:
        for name, known in list(current.items()):
            new = version.hypotheses.get(name)
            if new == known.hypothesis:
                continue
            if known.is_confirmatory and not version.before_results:
                end: Literal["changed", "withdrawn"] = "withdrawn" if new is None else "changed"
                ended.append(replace(known, ended=version, end=end))
            del current[name]
            if new is not None:
                change = (version, "; ".join(_differences(known.hypothesis, new)))
                current[name] = Registered(new, version, (*known.changes, change))
        for name, hypothesis in version.hypotheses.items():
            current.setdefault(name, Registered(hypothesis, version))
    order = list(versions[-1].hypotheses) if versions else []
    now = sorted(current.values(), key=lambda each: order.index(each.hypothesis.name))
    return [*now, *ended]


def _differences(old: Hypothesis, new: Hypothesis) -> Iterator[str]:
    before, after = old.dump(), new.dump()
    for key, value in before.items():
        if value != after[key]:
            yield "recipes" if key == "recipes" else f"{key} {value} to {after[key]}"


def _file(folder: Path, number: int) -> Path:
    return folder / f"version-{number:03d}.json"


def _hypothesis(name: str, data: Mapping[str, Any]) -> Hypothesis:
    whole = {**data, "seeds": tuple(data["seeds"]), "recipes": tuple(data["recipes"])}
    return Hypothesis(name=name, **whole)
