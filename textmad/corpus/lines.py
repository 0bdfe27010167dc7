"""Lines of a text file of any size, plain, gzip or zstd, in memory that does not grow with it."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from textmad.corpus.records import BAD_UTF8, MAX_LINE, TOO_LONG, Tally
from textmad.errors import CorpusError

_CHUNK = 2**18  # bytes; well under MAX_LINE, so that a block of whole lines rarely exceeds it
_BOM = b"\xef\xbb\xbf"

# A block of 4 compressed bytes may stand for 128 KiB, so zstd is fed in small pieces: 512 bytes
# give at most 16 MiB at a time. Text packs 3 to 15 : 1, a bomb 1,000 : 1 (gzip) or 32,000 : 1.
_ZSTD_PIECE = 512
_ZSTD_WINDOW = 2**31  # Reddit dumps are written with --long=31
_BOMB_BYTES, _BOMB_RATIO = 8 * 2**20, 200


class _DamagedError(Exception):
    """The compressed data cannot be decompressed further; the message is the library's."""


def numbered_lines(
    path: Path, tally: Tally, errors: Literal["strict", "surrogateescape"] = "strict"
) -> Iterator[tuple[int, str]]:
    r"""Each line with its number, from 1; `\n` and a byte order mark are cut, `\r` is not.

    A line over 1 MiB is counted and passed over without being held. So is one that is not UTF-8,
    unless `errors` is "surrogateescape".

    Raises:
        CorpusError: the file cannot be opened or read, is damaged, or is a decompression bomb.
    """
    number = 1
    try:
        for block in _blocks(path):
            if block is None:
                tally.bad(TOO_LONG, number)
            else:
                for number, line in enumerate(_decode(block, errors), number):  # noqa: B020
                    if line is None:
                        tally.bad(BAD_UTF8, number)
                    else:
                        yield number, line
            number += 1
    except _DamagedError as error:
        raise CorpusError(
            f"{path}: the compressed data is damaged after about {number - 1:,} lines ({error}); "
            "get the file again, or decompress what can be saved and use that"
        ) from None
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read: {error.strerror or error}") from None


def _decode(block: bytes, errors: Literal["strict", "surrogateescape"]) -> list[str | None]:
    """The lines of a block; None for one that is not UTF-8."""
    try:
        return list(block.decode("utf-8", errors).split("\n"))
    except UnicodeDecodeError:
        return [_decode_line(line) for line in block.split(b"\n")]


def _decode_line(line: bytes) -> str | None:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return None


def _blocks(path: Path) -> Iterator[bytes | None]:
    """Runs of whole lines without the last line's end; None for each line over MAX_LINE."""
    tail, skipping = b"", False
    for chunk in _chunks(path):
        if skipping:
            _, newline, chunk = chunk.partition(b"\n")
            if not newline:
                continue
            skipping = False
        head, newline, rest = chunk.rpartition(b"\n")
        if newline:
            yield from _bounded(tail + head)
            tail = rest
        else:
            tail += rest
        if len(tail) > MAX_LINE:
            yield None
            tail, skipping = b"", True
    if tail:
        yield from _bounded(tail)


def _bounded(block: bytes) -> Iterator[bytes | None]:
    """The block in runs of at most MAX_LINE bytes, so that no line in them is longer."""
    start = 0
    while len(block) - start > MAX_LINE:
        end = block.rfind(b"\n", start, start + MAX_LINE + 1)
        if end >= 0:
            yield block[start:end]
        else:
            yield None
            end = block.find(b"\n", start)
            if end < 0:
                return
        start = end + 1
    yield block[start:]


def _chunks(path: Path) -> Iterator[bytes]:
    """The file's bytes, decompressed by suffix."""
    with path.open("rb") as raw:
        unpack = {".gz": _unpack_gzip, ".zst": _unpack_zstd}.get(path.suffix.lower(), _as_it_is)
        num_bytes = 0
        for chunk in unpack(raw):
            is_first = num_bytes == 0
            num_bytes += len(chunk)
            if unpack is not _as_it_is and num_bytes > max(_BOMB_BYTES, _BOMB_RATIO * raw.tell()):
                raise CorpusError(
                    f"{path}: {raw.tell():,} compressed bytes became {num_bytes:,}, which no text "
                    f"does (expected at most {_BOMB_RATIO} : 1); refused as a decompression bomb"
                )
            yield chunk.removeprefix(_BOM) if is_first else chunk


def _as_it_is(raw: BinaryIO) -> Iterator[bytes]:
    while chunk := raw.read(_CHUNK):
        yield chunk


def _unpack_gzip(raw: BinaryIO) -> Iterator[bytes]:
    try:
        yield from _as_it_is(gzip.GzipFile(fileobj=raw))  # type: ignore[arg-type]
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _DamagedError(error) from None


def _unpack_zstd(raw: BinaryIO) -> Iterator[bytes]:
    """All frames of the file. zstandard's own reader takes a file that is cut off for a whole."""
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    frame, ready, num_ready = None, [], 0
    try:
        while piece := raw.read(_ZSTD_PIECE):
            while piece:
                frame = frame or decompressor.decompressobj()
                ready.append(frame.decompress(piece))
                num_ready += len(ready[-1])
                piece, frame = (frame.unused_data, None) if frame.eof else (b"", frame)
            if num_ready >= _CHUNK:
                yield b"".join(ready)
                ready, num_ready = [], 0
    except zstandard.ZstdError as error:
        yield b"".join(ready)
        raise _DamagedError(error) from None
    yield b"".join(ready)
    if frame is not None:
        raise _DamagedError("the last frame is cut off")
