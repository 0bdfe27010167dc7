"""What evaluators compute once a run, kept in a cache for other runs: losses, counts, references.

    Snapshot.once_a_run(key, compute)
      KeptValues[key]           from memory, else from the cache
      compute()                 where neither has it
      KeptValues[key] = value   into both

A value is kept where its key and itself can be written down: then the base model, the key, the code
and the machine say all that it depends on. Other values stay in memory, as without a cache.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import platform
from collections.abc import Callable, Hashable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from textmad import store
from textmad.evaluators import Measurement
from textmad.models.distributed import processes
from textmad.text.documents import as_table

_NAME = "reference"
_ARRAY, _ARRAYS, _MEASURED = "array.npy", "arrays.npz", "metrics.parquet"
_MEASURED_SCHEMA = pa.schema(
    [store.METRICS_SCHEMA.field(field.name) for field in dataclasses.fields(Measurement)]
)


def machine() -> dict[str, Any]:
    """Return what the last bits of a computation depend on, beside its inputs."""
    device = processes.device()
    is_cpu = device.type == "cpu"
    return {
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cpu_threads": torch.get_num_threads(),
        "device": device.type if is_cpu else torch.cuda.get_device_name(device),
        "processes": processes.world_size(),
    }


class KeptValues(MutableMapping[Hashable, tuple[Any, Any]]):
    """The `run_cache` of a run's snapshots, over a cache that several runs share.

    Args:
        cache: of the study, or the one that the run names.
        inputs: everything beside the key that a value depends on; JSON values.
        base: the base model of the snapshots.
    """

    def __init__(self, cache: store.Cache, inputs: Mapping[str, Any], base: Any) -> None:
        self._cache, self._base = cache, base
        self._inputs = {**inputs, "machine": machine()}
        self._values: dict[Hashable, tuple[Any, Any]] = {}
        self._digests: dict[int, tuple[Any, str]] = {}  # of corpora, by their id

    def __getitem__(self, key: Hashable) -> tuple[Any, Any]:
        """Return the base model and the value; KeyError where it has to be computed."""
        if key not in self._values:
            inputs = self._inputs_of(key)
            folder = None if inputs is None else self._cache.find(_NAME, inputs)
            if folder is None:
                raise KeyError(key)
            try:
                self._values[key] = (self._base, _read(folder))
            except FileNotFoundError:  # somebody has just emptied the cache
                raise KeyError(key) from None
        return self._values[key]

    def __setitem__(self, key: Hashable, value: tuple[Any, Any]) -> None:
        """Keep the value in memory and, where it can be written down, in the cache."""
        self._values[key] = value
        base, result = value
        write, inputs = _writer(result), self._inputs_of(key)
        if base is self._base and write is not None and inputs is not None:
            with self._cache.alone(inputs):
                self._cache.keep(_NAME, inputs, write)

    def __delitem__(self, key: Hashable) -> None:
        """Forget the value in memory."""
        del self._values[key]

    def __iter__(self) -> Iterator[Hashable]:
        """Go through the keys of the values in memory."""
        return iter(self._values)

    def __len__(self) -> int:
        """Count the values in memory."""
        return len(self._values)

    def _inputs_of(self, key: Hashable) -> dict[str, Any] | None:
        """Everything that the value of a key depends on; None where that cannot be written down."""
        digest = hashlib.sha256()
        try:
            self._add(digest, key)
        except TypeError:
            return None
        return {**self._inputs, "value": digest.hexdigest()}

    def _add(self, digest: Any, part: Any) -> None:
        """Add a part of a key to its digest.

        Raises:
            TypeError: it is none of the kinds that are known here.
        """
        from datasets import Dataset

        if part is None or isinstance(part, bool | int | float | str):
            digest.update(f"{type(part).__name__} {part!r}\n".encode())
        elif isinstance(part, np.generic):
            self._add(digest, part.item())
        elif isinstance(part, tuple):
            digest.update(f"tuple {len(part)}\n".encode())
            for each in part:
                self._add(digest, each)
        elif isinstance(part, Dataset):
            if id(part) not in self._digests:
                self._digests[id(part)] = (part, _digest_of_corpus(part))
            digest.update(f"corpus {self._digests[id(part)][1]}\n".encode())
        elif dataclasses.is_dataclass(part) and type(part).__module__.startswith("textmad."):
            digest.update(f"{type(part).__module__}:{type(part).__qualname__}\n".encode())
            for field in dataclasses.fields(part):
                self._add(digest, field.name)
                self._add(digest, getattr(part, field.name))
        else:
            raise TypeError(f"{type(part).__name__}: cannot be told from others by its value")


def _digest_of_corpus(corpus: Any) -> str:
    """SHA-256 of all columns of a corpus."""
    digest = _Digest()
    table = as_table(corpus)
    with pa.ipc.new_stream(pa.PythonFile(digest, mode="w"), table.schema) as stream:
        stream.write_table(table)
    return digest.sha256.hexdigest()


class _Digest(io.RawIOBase):
    """A file that keeps nothing but the SHA-256 of what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return memoryview(data).nbytes


# --- values as files ------------------------------------------------------------------------


def _writer(value: Any) -> Callable[[Path], None] | None:
    """Return a function that writes a value into a folder; None where there is no way to."""
    if _is_array(value):
        return lambda folder: np.save(folder / _ARRAY, value, allow_pickle=False)
    if not isinstance(value, list) or not value:
        return None
    if all(map(_is_array, value)):
        return lambda folder: np.savez(folder / _ARRAYS, *value)
    if all(type(each) is Measurement for each in value):
        rows = [vars(each) for each in value]
        table = pa.Table.from_pylist(rows, _MEASURED_SCHEMA)
        return lambda folder: pq.write_table(table, folder / _MEASURED)
    return None


def _is_array(value: Any) -> bool:
    """Whether a value is an array of plain numbers."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf"


def _read(folder: Path) -> Any:
    """Read a value as it was before it was written."""
    if (folder / _ARRAY).exists():
        return np.load(folder / _ARRAY, allow_pickle=False)
    if (folder / _ARRAYS).exists():
        with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
            return [arrays[name] for name in arrays.files]
    table = pq.read_table(folder / _MEASURED, schema=_MEASURED_SCHEMA)
    return [Measurement(**row) for row in table.to_pylist()]
