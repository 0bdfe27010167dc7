"""Tables: CSV, Parquet, and `datasets` on disk; the Hub only as far as it is out of reach."""

import json
from datetime import UTC, datetime

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from textmad.corpus import Tally, corpus_digest, read_rows
from textmad.corpus.records import Row
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


def test_a_parquet_file_that_is_none_or_lacks_the_column_is_an_error(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"not Parquet at all")
    with pytest.raises(CorpusError, match="cannot be read as Parquet"):
        read(tmp_path / "a.parquet")
    path = write_parquet(tmp_path / "b.parquet", body=["a"])
    with pytest.raises(CorpusError, match="no column 'text'; it has 'body'"):
        read(path)


def test_a_damaged_parquet_file_is_an_error(tmp_path):
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


def test_a_saved_dataset_without_the_column_is_an_error(tmp_path):
    datasets.Dataset.from_dict({"body": ["a"]}).save_to_disk(tmp_path / "d")
    with pytest.raises(CorpusError, match="no column 'text'; it has 'body'"):
        read(tmp_path / "d")


@pytest.mark.parametrize("name", ["../outside.arrow", "/etc/passwd", "link.arrow", "gone", "\0"])
def test_a_saved_dataset_that_names_a_file_outside_is_neither_read_nor_hashed(tmp_path, name):
    datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "d")
    (data,) = (tmp_path / "d").glob("*.arrow")
    data.rename(tmp_path / "outside.arrow")
    (tmp_path / "d/link.arrow").symlink_to(tmp_path / "outside.arrow")
    (tmp_path / "d/state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
    settings = CorpusSettings(source=str(tmp_path / "d"))
    for use in (corpus_digest, lambda settings: list(read_rows(settings, Tally()))):
        with pytest.raises(CorpusError, match="not a folder that datasets' save_to_disk wrote"):
            use(settings)


BROKEN_STATES = [
    "",
    "[]",
    "{}",
    '{"_data_files": 5}',
    '{"_data_files": [[]]}',
    '{"_data_files": [{"filename": null}]}',
    '{"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_indices_files": [1]}',
    "[" * 200_000,
    '{"a": ' + "1" * 5_000 + "}",
    '{"a": "' + "x" * 2**22 + '"}',
]


@pytest.mark.parametrize("state", BROKEN_STATES, ids=lambda state: state[:20])
def test_a_broken_state_of_a_saved_dataset_is_an_error(tmp_path, state):
    datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "d")
    (tmp_path / "d/state.json").write_text(state)
    with pytest.raises(CorpusError, match="not a folder that datasets' save_to_disk wrote"):
        read(tmp_path / "d")


def test_a_compressed_arrow_file_is_an_error_before_it_is_unpacked(tmp_path):
    datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "d")
    (data,) = (tmp_path / "d").glob("*.arrow")
    for text in (pa.array(["x" * 2**20] * 64), pa.array(["x" * 2**20]).dictionary_encode()):
        table = pa.table({"text": text})
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_stream(data, table.schema, options=options) as writer:
            writer.write_table(table)
        with pytest.raises(CorpusError, match="is compressed inside; save it again"):
            read(tmp_path / "d")


def test_a_parquet_bomb_is_an_error_in_little_memory(tmp_path):
    # A megabyte of one letter that every row shares, and a page of zeros.
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * 4_000), pa.array(["x" * 2**20]))
    plain = pa.array(["x" * 2**20] * 64)
    for text, use_dictionary in ((shared, True), (plain, False)):
        path = tmp_path / "bomb.parquet"
        table = pa.table({"text": text})
        pq.write_table(table, path, compression="zstd", use_dictionary=use_dictionary)
        assert path.stat().st_size < 2**20 / 4
        before = pa.total_allocated_bytes()
        with pytest.raises(CorpusError, match="looks like a decompression bomb"):
            read(path)
        assert pa.total_allocated_bytes() - before < 2**24


def test_a_value_that_all_rows_share_and_is_too_long_is_a_bad_line_each(tmp_path):
    long = pa.array(["x" * (5 * 2**20), "good"])
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 300 + [1]), long)
    rows, tally = read(write_parquet(tmp_path / "a.parquet", text=text))
    assert rows == [Row("good")]
    assert dict(tally.bad_counts) == {"over 1 MiB": 300}


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_beyond_the_calendar_and_in_unknown_zones_are_seconds_or_bad_lines(tmp_path, unit):
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    seconds = [1_262_304_000, 9_000_000_000, None]  # 2010, 2255, unknown
    for zone in (None, "UTC", "Mars/Olympus", "+99:99"):
        values = [None if at is None else at * per_second for at in seconds]
        when = pa.array(values, pa.timestamp(unit, tz=zone))
        path = write_parquet(tmp_path / "a.parquet", text=["a", "b", "c"], when=when)
        rows, _ = read(path, columns={"time": "when"})
        assert [row.time for row in rows] == seconds
    far = pa.array([2**62 // 1_000], pa.timestamp("ms"))  # the year 146 million
    rows, _ = read(
        write_parquet(tmp_path / "b.parquet", text=["a"], when=far), columns={"time": "when"}
    )
    assert len(rows) <= 1


def test_a_date_is_its_first_second(tmp_path):
    when = pa.array([1, 14_610], pa.date32())
    path = write_parquet(tmp_path / "a.parquet", text=["a", "b"], when=when)
    rows, _ = read(path, columns={"time": "when"})
    assert [row.time for row in rows] == [86_400, 1_262_304_000]


@pytest.mark.parametrize("kind", ["csv", "parquet", "dataset"])
def test_two_columns_of_one_name_are_errors_where_that_one_is_mapped(tmp_path, kind):
    table = pa.table([["a"], ["b"], ["c"]], names=["text", "text", "other"])
    if kind == "csv":
        (tmp_path / "a.csv").write_text("text,text,other\na,b,c\n")
        path = tmp_path / "a.csv"
    elif kind == "parquet":
        path = tmp_path / "a.parquet"
        pq.write_table(table, path)
    else:
        path = tmp_path / "d"
        datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(path)
        (data,) = path.glob("*.arrow")
        with pa.ipc.new_stream(data, table.schema) as writer:
            writer.write_table(table)
    with pytest.raises(CorpusError, match="2 columns are called 'text'"):
        read(path)
    assert read(path, columns={"text": "other"})[0] == [Row("c")]


def test_a_column_of_lists_is_an_error(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", text=[["a"], ["b"]])
    with pytest.raises(CorpusError, match=r"the column 'text' holds list<.*expected one text"):
        read(path)


@pytest.mark.parametrize(
    "header", [b"text," + b"x" * 2**20, b'"text\n' + b"x" * 2**20, b'"text"x,a']
)
def test_a_csv_header_that_cannot_be_read_is_not_replaced_by_the_next_row(tmp_path, header):
    with pytest.raises(CorpusError, match="its header line cannot be read"):
        read_csv(tmp_path, header + b"\ntext,score\nhello,1\n")


def test_any_other_folder_is_an_error(tmp_path):
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
