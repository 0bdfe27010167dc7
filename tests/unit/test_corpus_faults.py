"""Corpora that are damaged or hostile: whatever a file holds, it is read or refused with a reason.

Every case is drawn from a seed of its own, so a failure names the one number that repeats it.
"""

import bz2
import gzip
import io
import json
import lzma
import os
import random
from collections.abc import Callable
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from textmad.corpus import Tally, clean, corpus_digest, read_rows
from textmad.errors import TextmadError
from textmad.recipe import Columns, CorpusSettings

COLUMNS = {"text": "text", "votes": "score", "community": "sub", "time": "at", "conversation": "to"}
NUM_ROWS = 12
RECORDS = [
    {
        "text": f"post {n} of @jane, see https://example.org/{n} \u00e9 \u4eca\u65e5",
        "score": n,
        "sub": f"sub{n % 3}",
        "at": 1_262_304_000 + n,
        "to": f"t{n % 4}",
    }
    for n in range(NUM_ROWS)
]
POSTS = [
    {"body": "a comment &gt; x", "score": n, "subreddit": "s", "created_utc": n, "link_id": "t3_a"}
    if n % 2
    else {"title": "A title", "selftext": "text", "id": f"a{n}", "subreddit": "s", "score": n}
    for n in range(NUM_ROWS)
]
NASTY = (
    *(None, True, "", "\0", "\ud800", "x" * 2_000, -1, 10**30, -(10**30), 1e308, 0.5, [], {}, [[]]),
    *("nan", "inf", "1" * 5_000, "[" * 5_000, "&#xD800;&#0;&amp;amp;lt;", "\u202e@\u200bjane"),
)
NASTY_BYTES = (
    *(b"\0", b"\xff", b"\xff\xfe", b"\n", b"\r", b'"', b",", b"{", b"[" * 200, b"\xed\xa0\x80"),
    *(b"1" * 5_000, b"\xef\xbb\xbf", b"NaN", b"\\ud800", bytes(64), b"\xf4\x90\x80\x80"),
)


def json_lines(records: list[dict[str, object]]) -> bytes:
    return "\n".join(map(json.dumps, records)).encode()


def csv_table() -> bytes:
    rows = [",".join(COLUMNS.values())]
    rows += [",".join(json.dumps(value) for value in record.values()) for record in RECORDS]
    return "\r\n".join(rows).encode()


def parquet(rng: random.Random) -> bytes:
    table = pa.Table.from_pylist(RECORDS)
    times = rng.choice(
        [None, pa.timestamp("ns", tz="Mars/Olympus"), pa.timestamp("us"), pa.date32()]
    )
    if times is not None:
        far = rng.choice([0, 10**6, 2**31 - 1, 2**62 if times != pa.date32() else 1])
        values = pa.array([far] * NUM_ROWS, pa.int32() if times == pa.date32() else pa.int64())
        table = table.set_column(3, "at", values.cast(times))
    if rng.random() < 0.3:
        table = table.set_column(1, "score", pa.array([[1]] * NUM_ROWS))
    if rng.random() < 0.3:
        table = table.set_column(0, "text", table["text"].dictionary_encode())
    if rng.random() < 0.1:
        table = table.append_column("text", table["text"])
    file = io.BytesIO()
    pq.write_table(
        table, file, compression=rng.choice(["none", "snappy", "zstd"]), row_group_size=5
    )
    return file.getvalue()


def nested(record: dict[str, object], rng: random.Random) -> dict[str, object]:
    """The record with one value replaced, one key dropped or added."""
    changed = dict(record)
    key = rng.choice(list(record))
    match rng.randrange(3):
        case 0:
            changed[key] = rng.choice(NASTY)
        case 1:
            del changed[key]
        case 2:
            changed[str(rng.choice(NASTY))] = rng.choice(NASTY)
    return changed


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Bytes with one to four of them flipped, cut, repeated, swapped or replaced."""
    array = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at, to = sorted(rng.randrange(len(array) + 1) for _ in range(2))
        match rng.randrange(6):
            case 0 if at < len(array):
                array[at] ^= 1 << rng.randrange(8)
            case 1:
                del array[at : at + rng.choice([1, 4, 100])]
            case 2:
                array[at:at] = rng.choice(NASTY_BYTES)
            case 3:
                array[at:at] = array[at : min(to, at + 500)]
            case 4:
                array[at : at + 8] = rng.randbytes(8)
            case 5 if rng.random() < 0.2:
                del array[at:]
    return bytes(array)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def write_file(folder: Path, rng: random.Random) -> tuple[Path, str]:
    """A damaged file, and its format."""
    form = rng.choice(["jsonl", "csv", "parquet", "text", "reddit"])
    records = POSTS if form == "reddit" else RECORDS
    if rng.random() < 0.5:
        records = [nested(record, rng) if rng.random() < 0.3 else record for record in records]
    data = {
        "csv": csv_table,
        "parquet": lambda: parquet(rng),
        "text": lambda: "\n".join(str(record["text"]) for record in RECORDS).encode(),
    }.get(form, lambda: json_lines(records))()
    if rng.random() < 0.1 and form != "parquet":
        data = data.decode().encode(rng.choice(["utf-16", "utf-16-le", "utf-32", "utf-7"]))
    if form != "parquet" and rng.random() < 0.4:
        suffix = rng.choice(list(PACKERS))
        if rng.random() < 0.5:
            data = PACKERS[suffix](mutated(data, rng))
        else:
            data = mutated(PACKERS[suffix](data), rng)
    else:
        suffix, data = "", mutated(data, rng)
    path = folder / f"corpus.{form}{suffix}"
    path.write_bytes(data)
    return path, form


def write_folder(folder: Path, saved: Path, rng: random.Random) -> Path:
    """A saved dataset of which one file is damaged."""
    target = folder / "saved"
    target.mkdir()
    names = [path.name for path in saved.iterdir()]
    broken = rng.choice(names)
    for name in names:
        data = (saved / name).read_bytes()
        if name == broken:
            values = [b"{}", b"[]", b"", b"[" * 200_000, b'{"_data_files": [{"filename": "../x"}]}']
            is_replaced = name.endswith(".json") and rng.random() < 0.3
            data = rng.choice(values) if is_replaced else mutated(data, rng)
        (target / name).write_bytes(data)
    return target


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "dataset"
    datasets.Dataset.from_list(RECORDS).save_to_disk(folder)
    return folder


def read_all(settings: CorpusSettings) -> None:
    tally = Tally()
    corpus_digest(settings)
    for row in read_rows(settings, tally):
        cleaned = clean(row.text)
        cleaned.encode()
        assert clean(cleaned) == cleaned
    tally.check(settings.source, 0.5)


def try_corpora(seeds: range, folder: Path, saved: Path) -> tuple[int, int]:
    """How many corpora were read and how many refused."""
    num_read = num_refused = 0
    for seed in seeds:
        rng = random.Random(seed)
        own = folder / str(seed)
        own.mkdir()
        if rng.random() < 0.15:
            path, form = write_folder(own, saved, rng), "dataset"
        else:
            path, form = write_file(own, rng)
        names = COLUMNS if form not in ("text", "reddit") and rng.random() < 0.8 else {}
        settings = CorpusSettings(source=str(path), format=form, columns=Columns(**names))
        try:
            read_all(settings)
            num_read += 1
        except TextmadError:
            num_refused += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {form}: {type(error).__name__}") from error
        for file in sorted(own.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        own.rmdir()
    return num_read, num_refused


def test_a_damaged_corpus_is_read_or_an_error_and_never_a_traceback(tmp_path, saved):
    num_read, num_refused = try_corpora(range(300), tmp_path, saved)
    # Neither is a rare outcome, so that both ways are tried.
    assert min(num_read, num_refused) > 60


@pytest.mark.faults
def test_twenty_thousand_damaged_corpora_are_read_or_refused(tmp_path, saved, record_property):
    number = int(os.environ.get("TEXTMAD_FUZZ", "20000"))
    num_read, num_refused = try_corpora(range(number), tmp_path, saved)
    counts = f"{num_read:,} read, {num_refused:,} rejected, 0 other errors"
    record_property("counts", f"{number:,} corpora: {counts}")
    assert min(num_read, num_refused) > number / 5
