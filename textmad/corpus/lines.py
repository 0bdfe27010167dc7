"""Read the lines of a text file of any size, plain or compressed, in bounded memory."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from textmad.corpus.records import BAD_UTF8, MAX_LINE, NULS, TOO_LONG, Tally
from textmad.errors import CorpusError

_CHUNK = 2**18  # bytes; well below MAX_LINE, so that a block of whole lines is rarely longer
_OTHER_ENCODINGS = {  # by byte order mark; UTF-32 first, as its mark begins like that of UTF-16
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}

# In zstd, 4 compressed bytes can expand to 128 KiB. So it gets small pieces: 512 bytes give at most
# 16 MiB at a time. Text is compressed 3 to 15 : 1, a bomb 1,000 : 1 (gzip) to 1,000,000 : 1 (bz2).
_ZSTD_PIECE = 512
_ZSTD_WINDOW = 2**31  # Reddit dumps are written with --long=31
BOMB_BYTES, BOMB_RATIO = 8 * 2**20, 200
_XZ_MEMORY = 2**30  # bytes of a dictionary; `xz -9` takes 2**26
COMPRESSED = (".gz", ".zst", ".bz2", ".xz")


class _DamagedError(Exception):
    """The compressed data cannot be decompressed further; the message is the library's."""


def numbered_lines(
    path: Path, tally: Tally, errors: Literal["strict", "surrogateescape"] = "strict"
) -> Iterator[tuple[int, str]]:
    r"""Yield each line with its number, from 1, without `\n` and byte order mark; `\r` stays.

    A line over 1 MiB counts as bad; it is skipped and never held in memory. A line that is not
    UTF-8 or holds a NUL byte counts as bad too, unless `errors` is "surrogateescape".

    Raises:
        CorpusError: the file cannot be opened or read, is damaged, is UTF-16 or UTF-32, or is a
            decompression bomb.
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
                    elif errors == "strict" and "\0" in line:
                        tally.bad(NULS, number)
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
    """Return the lines of a block; None for a line that is not UTF-8."""
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
    """Yield blocks of whole lines, without the last line's end; None for a line over MAX_LINE."""
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
    """Split a block into blocks of at most MAX_LINE bytes; None for a line that is longer."""
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
    """Yield the file's bytes, decompressed by its suffix."""
    with path.open("rb") as raw:
        unpack = _UNPACK.get(path.suffix.lower(), _as_it_is)
        num_bytes = 0
        for chunk in unpack(raw):
            if not chunk:
                continue
            is_first = num_bytes == 0
            num_bytes += len(chunk)
            if unpack is not _as_it_is:
                check_ratio(path, num_bytes, raw.tell())
            if is_first:
                _check_encoding(path, chunk)
                chunk = chunk.removeprefix(codecs.BOM_UTF8)
            yield chunk


def check_ratio(source: Path | str, num_bytes: int, num_compressed: int) -> None:
    """Check that decompressed data is not larger than any text of this compressed size.

    Raises:
        CorpusError: it is larger.
    """
    if num_bytes > max(BOMB_BYTES, BOMB_RATIO * num_compressed):
        raise CorpusError(
            f"{source}: {num_compressed:,} compressed bytes became {num_bytes:,}, which no text "
            f"does (expected at most {BOMB_RATIO} : 1); it looks like a decompression bomb"
        )


def _check_encoding(path: Path, chunk: bytes) -> None:
    """Check that a file is not UTF-16 or UTF-32, by its byte order mark or its line ends.

    UTF-16 text of non-Latin letters can be valid UTF-8, but each of its line feeds has a NUL.
    """
    encoding = next(
        (name for mark, name in _OTHER_ENCODINGS.items() if chunk.startswith(mark)), None
    )
    if encoding is None:
        beside_nul = max(chunk.count(b"\n\0"), chunk.count(b"\0\n"))
        num_nuls = chunk.count(b"\0")
        if 2 * beside_nul > chunk.count(b"\n") or 0.25 < num_nuls / len(chunk) < 0.9:
            encoding = "UTF-16"
    if encoding is not None:
        raise CorpusError(f"{path}: the file seems to be {encoding}: save it as UTF-8")


def _as_it_is(raw: BinaryIO) -> Iterator[bytes]:
    while chunk := raw.read(_CHUNK):
        yield chunk


def _unpack_gzip(raw: BinaryIO) -> Iterator[bytes]:
    try:
        yield from _as_it_is(gzip.GzipFile(fileobj=raw))  # type: ignore[arg-type]
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _DamagedError(error) from None


def _unpack_bz2(raw: BinaryIO) -> Iterator[bytes]:
    return _unpack_streams(raw, bz2.BZ2Decompressor)


def _unpack_xz(raw: BinaryIO) -> Iterator[bytes]:
    return _unpack_streams(raw, lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY))


def _unpack_streams(
    raw: BinaryIO, decompressor: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]
) -> Iterator[bytes]:
    """Yield the data of all streams of the file, at most `_CHUNK` bytes at a time.

    The readers of bz2 and lzma ignore a damaged second stream.
    """
    stream: bz2.BZ2Decompressor | lzma.LZMADecompressor | None = None
    piece = b""
    try:
        while True:
            if not piece and (stream is None or stream.needs_input):
                piece = raw.read(_CHUNK)
                if not piece:
                    break
            if stream is None:
                # xz allows NULs between streams and after the last one.
                piece = piece.lstrip(b"\0") if decompressor is not bz2.BZ2Decompressor else piece
                if not piece:
                    continue
                stream = decompressor()
            chunk = stream.decompress(piece, _CHUNK)
            piece = b""
            if stream.eof:
                piece = stream.unused_data
                stream = None
            if chunk:
                yield chunk
    except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise _DamagedError(error) from None
    if stream is not None:
        raise _DamagedError("the last stream is cut off")


def _unpack_zstd(raw: BinaryIO) -> Iterator[bytes]:
    """Yield the data of all frames of the file.

    The reader of zstandard does not notice that a file is cut off.
    """
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


_UNPACK: dict[str, Callable[[BinaryIO], Iterator[bytes]]] = {
    ".gz": _unpack_gzip,
    ".zst": _unpack_zstd,
    ".bz2": _unpack_bz2,
    ".xz": _unpack_xz,
}
