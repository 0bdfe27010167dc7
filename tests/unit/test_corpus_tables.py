"""Tables: CSV, Parquet, and `datasets` on disk; the Hub only as far as it is out of reach."""

from datetime import UTC, datetime

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from textmad.corpus import Tally, read_rows
from textmad.corpus.rows import Row
from textmad.errors import CorpusError
from textmad.recipe import Columns, CorpusSettings


def read(source, **settings):
    if "columns" in settings:
        settings["columns"] = Columns(**settings["columns"])
    tally = Tally()
    return list(read_rows(CorpusSettings(source=str(source), **settings), tally)), tally


def read_csv(tmp_path, content: bytes, **settings):
    (tmp_path / "a.csv").write_bytes(content)
    return read(tmp_path / "a.csv", **settings)


def test_csv_cells_may_hold_commas_quotes_and_line_breaks(tmp_path):
    content = b'\xef\xbb\xbfid,text,score\r\n1,"a, ""b""\nc",5\r\n\r\n2,plain,\r\n'
    rows, tally = read_csv(tmp_path, content, columns={"votes": "score"})
    assert rows == [Row('a, "b"\nc', votes=5.0), Row("plain", votes=None)]
    assert (tally.lines, tally.num_bad) == (2, 0)


def test_a_bad_csv_record_counts_with_its_lines(tmp_path):
    content = (
        b'text,score\ngood,1\nshort\n"two\nlines",x,y\n\n\xff\xfe,1\ngood,2\nodd,many\n"a"b,1\n'
    )
    rows, tally = read_csv(tmp_path, content, columns={"votes": "score"})
    assert [row.votes for row in rows] == [1.0, 2.0]
    assert tally.bad_lines == {
        "another number of cells than the header": [3, 4],
        "not UTF-8": [7],
        "'score' is not a number": [9],
        "not CSV: ',' expected after '\"'": [10],
    }
    assert tally.bad_counts["another number of cells than the header"] == 3  # the lines 3, 4, 5


def test_an_unclosed_quote_counts_as_the_lines_it_swallows(tmp_path):
    rows, tally = read_csv(tmp_path, b'text\ngood\n"open\n' + b"swallowed\n" * 8)
    assert rows == [Row("good")]
    assert dict(tally.bad_counts) == {"not CSV: unexpected end of data": 9}
    assert tally.bad_lines == {"not CSV: unexpected end of data": [3]}


def test_an_unclosed_quote_ends_after_a_mebibyte(tmp_path):
    filler = b"swallowed " * 100 + b"\n"  # 1,001 bytes; 1 MiB ends inside the 1,048th
    rows, tally = read_csv(tmp_path, b'text\n"open\n' + filler * 1_500)
    reason = "not CSV: field larger than field limit (1048576)"
    assert dict(tally.bad_counts) == {reason: 1_049}
    assert len(rows) == 1_500 - 1_048


def test_a_missing_csv_column_is_named_with_those_there(tmp_path):
    with pytest.raises(
        CorpusError, match=r"no column 'text'; it has 'id', 'Text'. Set corpus.colu"
    ):
        read_csv(tmp_path, b"id,Text\n1,a\n")
    with pytest.raises(CorpusError, match=r"no column 'ups'; .* Set corpus\.columns\.votes"):
        read_csv(tmp_path, b"id,text\n1,a\n", columns={"votes": "ups"})


def write_parquet(path, **columns):
    pq.write_table(pa.table(columns), path, row_group_size=100)
    return path


def test_parquet_is_read_in_order_across_batches(tmp_path):
    texts = [f"text {n}" for n in range(1_000)]
    times = [datetime(2020, 1, 1, tzinfo=UTC)] * 1_000
    path = write_parquet(tmp_path / "a.parquet", text=texts, when=times, other=texts)
    rows, tally = read(path, columns={"time": "when"})
    assert [row.text for row in rows] == texts
    assert rows[0].time == 1_577_836_800.0  # 50 years and 12 leap days after 1970
    assert tally.good == 1_000


def test_a_time_without_zone_is_utc(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", text=["a"], when=[datetime(1970, 1, 2)])
    assert read(path, columns={"time": "when"})[0][0].time == 86_400.0


def test_bad_parquet_rows_are_counted(tmp_path):
    raw = pa.array([b"good", b"\xff", None, b"x" * (2**20 + 1), b"good"], pa.binary())
    text = pa.StringArray.from_buffers(5, raw.buffers()[1], raw.buffers()[2], raw.buffers()[0])
    rows, tally = read(write_parquet(tmp_path / "a.parquet", text=text))
    assert len(rows) == 2
    assert tally.bad_lines == {"not UTF-8": [2], "'text' is not text": [3], "over 1 MiB": [4]}


def test_a_parquet_file_that_is_none_or_lacks_the_column_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"not Parquet at all")
    with pytest.raises(CorpusError, match="cannot be read as Parquet"):
        read(tmp_path / "a.parquet")
    path = write_parquet(tmp_path / "b.parquet", body=["a"])
    with pytest.raises(CorpusError, match="no column 'text'; it has 'body'"):
        read(path)


def test_a_damaged_parquet_file_is_refused(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", text=[f"text {n}" for n in range(10_000)])
    data = bytearray(path.read_bytes())
    data[4:2000] = bytes(1996)
    path.write_bytes(data)
    with pytest.raises(CorpusError, match="cannot be read as Parquet"):
        read(path)


def test_a_saved_dataset_is_read(tmp_path):
    table = {"body": [f"text {n}" for n in range(300)], "ups": list(range(300))}
    datasets.Dataset.from_dict(table).select(range(10, 300)).save_to_disk(tmp_path / "d")
    rows, tally = read(tmp_path / "d", columns={"text": "body", "votes": "ups"})
    assert [row.text for row in rows] == table["body"][10:]
    assert rows[0].votes == 10.0
    assert tally.good == 290


def test_a_split_is_chosen_from_a_saved_dataset(tmp_path):
    parts = {name: datasets.Dataset.from_dict({"text": [name]}) for name in ("train", "test")}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "d")
    assert read(tmp_path / "d")[0] == [Row("train")]
    assert read(tmp_path / "d", split="test")[0] == [Row("test")]
    with pytest.raises(
        CorpusError, match=r"no split 'dev'; set corpus.split to one of train, test"
    ):
        read(tmp_path / "d", split="dev")


def test_a_saved_dataset_without_the_column_is_refused(tmp_path):
    datasets.Dataset.from_dict({"body": ["a"]}).save_to_disk(tmp_path / "d")
    with pytest.raises(CorpusError, match="no column 'text'; it has 'body'"):
        read(tmp_path / "d")


def test_any_other_folder_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="not a folder that datasets' save_to_disk wrote"):
        read(tmp_path)


def test_a_stream_from_the_hub_is_read_like_a_folder(monkeypatch):
    stream = datasets.Dataset.from_dict({"text": ["a", "b"], "x": [1, 2]}).to_iterable_dataset()
    asked = {}

    def load_dataset(name, config, **options):
        asked.update(name=name, config=config, **options)
        return stream

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert read("someone/posts", config="short", split="test")[0] == [Row("a"), Row("b")]
    assert asked == {
        "name": "someone/posts",
        "config": "short",
        "split": "test",
        "streaming": True,
    }


def test_a_hub_dataset_out_of_reach_is_one_clear_error(monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        CorpusError, match=r"someone/posts: cannot be read as a dataset, split 'tra"
    ):
        read("someone/posts")
