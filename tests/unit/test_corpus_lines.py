"""Lines of files of any size: what is a line, what is too long, what is damaged, what is a bomb."""

import bz2
import gzip
import lzma
import random
import tracemalloc
from collections import deque
from pathlib import Path

import pytest
import zstandard

from textmad.corpus import lines as lines_module
from textmad.corpus.lines import numbered_lines
from textmad.corpus.records import MAX_LINE, Tally
from textmad.errors import CorpusError

MIB = 2**20


def write(path: Path, data: bytes) -> Path:
    """Write `data` packed as the suffix says."""
    packed = {
        ".gz": lambda: gzip.compress(data),
        ".zst": lambda: zstandard.compress(data),
        ".bz2": lambda: bz2.compress(data),
        ".xz": lambda: lzma.compress(data),
    }.get(path.suffix, lambda: data)()
    path.write_bytes(packed)
    return path


def read(path: Path) -> tuple[list[tuple[int, str]], Tally]:
    tally = Tally()
    return list(numbered_lines(path, tally)), tally


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".bz2", ".xz"])
@pytest.mark.parametrize("end", ["", "\n"])
def test_lines_are_numbered_from_one_and_the_last_needs_no_end(tmp_path, suffix, end):
    got, tally = read(write(tmp_path / f"a.txt{suffix}", f"one\n\nthree\r\nfour{end}".encode()))
    assert got == [(1, "one"), (2, ""), (3, "three\r"), (4, "four")]
    assert tally.num_bad == 0


def test_an_empty_file_has_no_lines(tmp_path):
    for name in ("a.txt", "a.gz", "a.zst", "a.bz2", "a.xz"):
        (tmp_path / name).write_bytes(b"")
        assert read(tmp_path / name)[0] == []


def test_a_byte_order_mark_is_no_text(tmp_path):
    got, _ = read(write(tmp_path / "a.txt", "one\n\ufefftwo".encode("utf-8-sig")))
    assert got == [(1, "one"), (2, "\ufefftwo")]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".bz2", ".xz"])
def test_characters_and_lines_across_chunk_borders_arrive_whole(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(lines_module, "_CHUNK", 7)
    monkeypatch.setattr(lines_module, "_ZSTD_PIECE", 1)
    texts = ["日本語" * n + "🙂" for n in range(20)]
    got, tally = read(write(tmp_path / f"a.txt{suffix}", "\n".join(texts).encode()))
    assert got == list(enumerate(texts, 1))
    assert tally.num_bad == 0


def test_a_line_that_is_not_utf8_is_counted_and_its_neighbours_are_kept(tmp_path):
    got, tally = read(write(tmp_path / "a.txt", b"good\nbad \xff\xfe\ngood\n\xc3\n"))
    assert got == [(1, "good"), (3, "good")]
    assert tally.bad_lines == {"not UTF-8": [2, 4]}


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".bz2", ".xz"])
@pytest.mark.parametrize("end", [b"", b"\nafter"])
def test_a_line_may_have_a_mebibyte_and_not_a_byte_more(tmp_path, suffix, end):
    letters = random.Random(0).randbytes(MAX_LINE // 2).hex().encode()  # does not pack like a bomb
    assert len(letters) == MAX_LINE
    data = b"\n".join([b"before", letters, letters + b"x", 3 * letters]) + end
    got, tally = read(write(tmp_path / f"a.txt{suffix}", data))
    after = [(5, "after")] if end else []
    assert got == [(1, "before"), (2, letters.decode()), *after]
    assert tally.bad_lines == {"over 1 MiB": [3, 4]}


def test_what_is_a_long_line_does_not_depend_on_the_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(lines_module, "MAX_LINE", 10)
    source = random.Random(1)
    data = b"\n".join(b"x" * source.choice([0, 3, 9, 10, 11, 12, 40]) for _ in range(300))
    path = write(tmp_path / "a.txt", data)
    expected = [
        (number, line.decode())
        for number, line in enumerate(data.split(b"\n"), 1)
        if len(line) <= 10
    ]
    if data.endswith(b"\n"):
        expected.pop()  # an end of line is not the beginning of another
    for chunk in (1, 2, 5, 13, 100, 10_000):
        monkeypatch.setattr(lines_module, "_CHUNK", chunk)
        got, tally = read(path)
        assert got == expected
        assert tally.num_bad == sum(len(line) > 10 for line in data.split(b"\n"))


def test_a_line_without_end_is_not_held_in_memory(tmp_path):
    path = tmp_path / "a.txt"
    with path.open("wb") as file:
        for _ in range(64):
            file.write(b"x" * MIB)
        file.write(b"\nlast")
    tracemalloc.start()
    got, tally = read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert got == [(2, "last")]
    assert tally.bad_lines == {"over 1 MiB": [1]}
    assert peak < 8 * MIB


def test_concatenated_frames_and_members_are_one_file(tmp_path):
    packers = (("a.gz", gzip), ("a.zst", zstandard), ("a.bz2", bz2), ("a.xz", lzma))
    for name, pack in ((name, module.compress) for name, module in packers):
        (tmp_path / name).write_bytes(pack(b"one\ntw") + pack(b"") + pack(b"o\nthree"))
        assert read(tmp_path / name)[0] == [(1, "one"), (2, "two"), (3, "three")]


def test_a_zstd_skippable_frame_is_skipped(tmp_path):
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"abcd"
    (tmp_path / "a.zst").write_bytes(skippable + zstandard.compress(b"one"))
    assert read(tmp_path / "a.zst")[0] == [(1, "one")]


def test_the_long_window_of_reddit_dumps_is_read(tmp_path):
    parameters = zstandard.ZstdCompressionParameters(window_log=31, write_content_size=False)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    (tmp_path / "a.zst").write_bytes(packer.compress(b"one\ntwo\n") + packer.flush())
    with pytest.raises(zstandard.ZstdError, match="too much memory"):  # what the default refuses
        zstandard.ZstdDecompressor().decompressobj().decompress((tmp_path / "a.zst").read_bytes())
    assert read(tmp_path / "a.zst")[0] == [(1, "one"), (2, "two")]


def noise_lines() -> bytes:
    return random.Random(2).randbytes(600_000).hex().encode().replace(b"00", b"\n")


@pytest.mark.parametrize("name", ["a.gz", "a.zst", "a.bz2", "a.xz"])
def test_a_file_that_is_cut_off_is_an_error(tmp_path, name):
    path = write(tmp_path / name, noise_lines())
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CorpusError, match=r"compressed data is damaged after about \d[\d,]+ lines"):
        read(path)


@pytest.mark.parametrize("name", ["a.gz", "a.zst", "a.bz2", "a.xz"])
def test_a_frame_that_is_corrupt_is_an_error(tmp_path, name):
    path = write(tmp_path / name, noise_lines())
    data = bytearray(path.read_bytes())
    data += b"\x01\x02\x03\x04 trailing garbage"
    path.write_bytes(data)
    with pytest.raises(CorpusError, match=r"damaged after about .*get the file again"):
        read(path)


def test_good_lines_before_the_damage_are_counted(tmp_path):
    (tmp_path / "a.zst").write_bytes(zstandard.compress(b"one\ntwo\nthree\n") + b"garbage")
    with pytest.raises(CorpusError, match="after about 3 lines"):
        read(tmp_path / "a.zst")


def zstd_bomb(path: Path, unit: bytes) -> None:
    packer = zstandard.ZstdCompressor(level=3).compressobj()
    with path.open("wb") as file:
        for _ in range(40):
            file.write(packer.compress(unit * (MIB // len(unit))))
        file.write(packer.flush())


@pytest.mark.parametrize("unit", [b"\0", b'{"text": "aaaaaaaaaaaa"}\n'])
def test_a_zstd_bomb_is_an_error_whether_or_not_it_has_lines(tmp_path, unit):
    zstd_bomb(tmp_path / "bomb.zst", unit)
    assert 40 * MIB / (tmp_path / "bomb.zst").stat().st_size > 5_000
    with pytest.raises(CorpusError, match="looks like a decompression bomb"):
        read(tmp_path / "bomb.zst")


def test_a_gzip_bomb_is_an_error(tmp_path):
    with gzip.open(tmp_path / "bomb.gz", "wb", compresslevel=1) as file:
        for _ in range(40):
            file.write(bytes(MIB))
    with pytest.raises(CorpusError, match="looks like a decompression bomb"):
        read(tmp_path / "bomb.gz")


@pytest.mark.parametrize(
    ("name", "module"),
    [
        pytest.param(
            "a.bz2", bz2, marks=pytest.mark.slow
        ),  # bz2 takes most of a minute to write it
        ("a.xz", lzma),
    ],
)
def test_a_bz2_or_xz_bomb_is_an_error_in_little_memory(tmp_path, name, module):
    (tmp_path / name).write_bytes(module.compress(b"abcdefg\n" * 2**23))
    assert (tmp_path / name).stat().st_size < 2**26 / 1_000
    tracemalloc.start()
    with pytest.raises(CorpusError, match="looks like a decompression bomb"):
        deque(numbered_lines(tmp_path / name, Tally()), maxlen=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * MIB


def test_the_padding_of_xz_is_allowed(tmp_path):
    (tmp_path / "a.xz").write_bytes(lzma.compress(b"one\n") + bytes(8) + lzma.compress(b"two"))
    assert read(tmp_path / "a.xz")[0] == [(1, "one"), (2, "two")]


def test_a_small_file_may_pack_as_well_as_it_likes(tmp_path):
    path = write(tmp_path / "a.zst", b"the same line again\n" * 200_000)
    assert len(read(path)[0]) == 200_000


def test_a_file_that_cannot_be_opened_says_why(tmp_path):
    with pytest.raises(CorpusError, match="cannot be read: Is a directory"):
        read(tmp_path)
