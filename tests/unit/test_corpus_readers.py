"""Lines of JSON, Reddit dumps and plain text: each kind of badness, counted where it stands."""

import json
import os
from pathlib import Path

import pytest

from textmad.corpus import Tally, corpus_digest, read_rows, source_format
from textmad.corpus.readers import source_path
from textmad.corpus.records import Row
from textmad.errors import CorpusError, RecipeError
from textmad.recipe import Columns, CorpusSettings

ALL = {"votes": "score", "community": "sub", "time": "utc", "conversation": "thread"}


def read(path, content, **settings):
    """Rows and tally of a file with these lines (or bytes)."""
    if not isinstance(content, bytes):
        content = "\n".join(
            line if isinstance(line, str) else json.dumps(line) for line in content
        ).encode()
    path.write_bytes(content)
    if "columns" in settings:
        settings["columns"] = Columns(**settings["columns"])
    tally = Tally()
    return list(read_rows(CorpusSettings(source=str(path), **settings), tally)), tally


def test_mapped_columns_become_a_row(tmp_path):
    line = {"body": "hello", "score": 3, "sub": "pics", "utc": 1.5, "thread": 77, "other": []}
    (row,), tally = read(tmp_path / "a.jsonl", [line], columns={"text": "body", **ALL})
    assert row == Row("hello", votes=3.0, community="pics", time=1.5, conversation="77")
    assert tally.lines == tally.good == 1


def test_unmapped_columns_are_not_read(tmp_path):
    (row,), _ = read(tmp_path / "a.jsonl", [{"text": "hello", "votes": "none of your business"}])
    assert row == Row("hello")


def test_null_and_empty_are_not_known(tmp_path):
    lines = [{"text": "a", "score": x, "sub": x, "utc": x, "thread": x} for x in (None, "")]
    rows, _ = read(tmp_path / "a.jsonl", lines, columns=ALL)
    assert rows == [Row("a"), Row("a")]


def test_numbers_written_as_text_are_numbers(tmp_path):
    lines = [{"text": "a", "score": "-3", "utc": "1199145601"}]
    (row,), _ = read(tmp_path / "a.jsonl", lines, columns={"votes": "score", "time": "utc"})
    assert (row.votes, row.time) == (-3.0, 1199145601.0)


BAD_LINES = {
    '{"text": "cut': "not JSON",
    '{"text": "a"} trailing': "not JSON",
    '{"text": "raw \t tab"}': "not JSON",
    '{"text": "a", "x": NaN}': "not JSON",
    '{"text": "a", "x": -Infinity}': "not JSON",
    "[" * 100_000: "not JSON",
    '{"text": "a", "x": ' + "1" * 5_000 + "}": "not JSON",
    "text": "not JSON",
    '["text"]': "not a JSON object",
    '"text"': "not a JSON object",
    "null": "not a JSON object",
    "{}": "no field 'text'",
    '{"Text": "a"}': "no field 'text'",
    '{"text": null}': "'text' is not text",
    '{"text": 5}': "'text' is not text",
    '{"text": ["a"]}': "'text' is not text",
}


@pytest.mark.parametrize("bad", BAD_LINES, ids=lambda line: line[:24])
def test_a_bad_line_is_counted_with_its_reason_and_number(tmp_path, bad):
    good = '{"text": "good"}'
    rows, tally = read(tmp_path / "a.jsonl", [good, "", bad, good, bad])
    assert rows == [Row("good"), Row("good")]
    assert dict(tally.bad_counts) == {BAD_LINES[bad]: 2}
    assert tally.bad_lines == {BAD_LINES[bad]: [3, 5]}
    assert tally.lines == 4  # the blank line is none


BAD_FIELDS = [
    ("score", "many", "'score' is not a number"),
    ("score", True, "'score' is not a number"),
    ("score", [1], "'score' is not a number"),
    ("score", "nan", "'score' is not a number"),
    ("score", 10**400, "'score' is not a number"),
    ("utc", "2020-01-01", "'utc' is not a number"),
    ("sub", 1.5, "'sub' is neither text nor a whole number"),
    ("thread", {}, "'thread' is neither text nor a whole number"),
    ("thread", "\ud800", "'thread' is neither text nor a whole number"),
]


@pytest.mark.parametrize(("field", "value", "reason"), BAD_FIELDS)
def test_a_bad_field_makes_a_bad_line(tmp_path, field, value, reason):
    good = {"text": "a", "score": 1, "sub": "s", "utc": 1, "thread": "t"}
    rows, tally = read(tmp_path / "a.jsonl", [good, {**good, field: value}], columns=ALL)
    assert len(rows) == 1
    assert tally.bad_lines == {reason: [2]}


def test_a_mapped_field_may_be_missing_in_some_records_and_not_in_all(tmp_path):
    lines = [{"text": "a"}, {"text": "b", "score": 2}]
    rows, tally = read(tmp_path / "a.jsonl", lines, columns={"votes": "score"})
    assert [row.votes for row in rows] == [None, 2.0]
    tally.check("a.jsonl", 0)
    _, tally = read(tmp_path / "a.jsonl", lines, columns={"votes": "scoer"})
    with pytest.raises(CorpusError, match=r"no line has a field 'scoer'; .* corpus\.columns"):
        tally.check("a.jsonl", 0)


def test_bad_utf8_and_long_lines_count_like_any_bad_line(tmp_path):
    lines = [b'{"text": "a"}', b'{"text": "\xff"}', b'{"text": "%s"}' % (b"a" * 2**20), b"{}"]
    rows, tally = read(tmp_path / "a.jsonl", b"\r\n".join(lines))
    assert rows == [Row("a")]
    assert tally.bad_lines == {"not UTF-8": [2], "over 1 MiB": [3], "no field 'text'": [4]}


def test_a_key_given_twice_makes_a_bad_line_and_one_in_an_inner_object_does_not(tmp_path):
    lines = [
        '{"text": "first", "text": "last"}',
        '{"text": "a", "other": 1, "other": 2}',
        '{"text": "b", "inner": {"text": "c"}, "list": ["text", "text"]}',
    ]
    rows, tally = read(tmp_path / "a.jsonl", lines)
    assert rows == [Row("a"), Row("b")]
    assert tally.bad_lines == {"'text' is given twice": [1]}


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_a_time_in_a_smaller_unit_than_seconds_is_known_by_its_size(tmp_path, unit):
    seconds = 1_262_304_000  # 2010-01-01
    for at in (seconds * unit, str(seconds * unit)):
        (row,), _ = read(tmp_path / "a.jsonl", [{"text": "a", "at": at}], columns={"time": "at"})
        assert row.time == seconds
        (row,), _ = read(tmp_path / "b.jsonl", [comment(created_utc=at)], format="reddit")
        assert row.time == seconds


def test_a_time_beyond_all_units_is_a_bad_line(tmp_path):
    lines = [{"text": "a", "at": 10**30}, {"text": "a", "at": -62_135_596_800}]
    (row,), tally = read(tmp_path / "a.jsonl", lines, columns={"time": "at"})
    assert row.time == -62_135_596_800  # the year 1
    assert tally.bad_lines == {"'at' is no time": [1]}


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
@pytest.mark.parametrize(
    "text", ["сегодня мы пошли в школу", "ذهبنا اليوم إلى", "today, “quoted” – yes", "今日は学校"]
)
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_a_file_that_is_not_utf8_but_utf16_or_utf32_is_an_error(tmp_path, coding, text, name):
    line = json.dumps({"text": text}, ensure_ascii=False) if name == "a.jsonl" else text
    lines = ["text", *[line] * 40] if name == "a.csv" else [line] * 40
    with pytest.raises(CorpusError, match=r"the file seems to be UTF-(16|32): save it as UTF-8"):
        read(tmp_path / name, "\r\n".join(lines).encode(coding))


def test_nuls_in_a_text_make_a_bad_line_in_every_format(tmp_path):
    reason = "NUL bytes: the text seems to be UTF-16, expected UTF-8"
    lines = [{"text": f"good {n}"} for n in range(9)] + [{"text": "h\0e\0l\0l\0o\0"}]
    rows, tally = read(tmp_path / "a.jsonl", lines)
    assert (len(rows), tally.bad_lines) == (9, {reason: [10]})
    content = b"\n".join([b"good"] * 9 + [b"h\0e\0l\0l\0o\0"])
    rows, tally = read(tmp_path / "a.txt", content)
    assert (len(rows), tally.bad_lines) == (9, {reason: [10]})
    rows, tally = read(tmp_path / "a.csv", b"text\n" + content)
    assert (len(rows), tally.bad_lines) == (9, {reason: [11]})


# --- how many bad lines are too many --------------------------------------------------------


def test_too_many_bad_lines_are_errors_with_all_reasons(tmp_path):
    _, tally = read(tmp_path / "a.jsonl", ['{"text": "a"}'] * 2 + ["x"] * 7 + ["{}"])
    with pytest.raises(CorpusError) as caught:
        tally.check("a.jsonl", 0.01)
    assert str(caught.value) == (
        "a.jsonl: 8 of 10 lines are bad (80.00%), more than corpus.max_bad_lines: 0.01 allows:\n"
        "  7 not JSON (line 3, 4, 5, 6, 7, ...)\n"
        "  1 no field 'text' (line 10)\n"
        "Repair the file, check corpus.format and corpus.columns, or raise corpus.max_bad_lines "
        "if these lines can be spared."
    )
    assert caught.value.exit_code == 3


def test_exactly_the_allowed_share_is_allowed():
    tally = Tally(good=99)
    tally.bad("not JSON", 7)
    tally.check("a.jsonl", 0.01)
    with pytest.raises(CorpusError, match="1 of 100 lines are bad"):
        tally.check("a.jsonl", 0.0099)


def test_a_file_without_a_good_line_is_an_error_whatever_is_allowed(tmp_path):
    _, tally = read(tmp_path / "a.jsonl", ["x", "y"])
    with pytest.raises(
        CorpusError, match=r"none of its 2 lines is good:\n  2 not JSON \(line 1, 2"
    ):
        tally.check("a.jsonl", 1.0)


def test_a_file_without_lines_is_an_error(tmp_path):
    _, tally = read(tmp_path / "a.jsonl", b"\n\n")
    with pytest.raises(CorpusError, match=r"a\.jsonl: holds no text"):
        tally.check("a.jsonl", 1.0)


# --- Reddit ---------------------------------------------------------------------------------


def comment(**changes):
    fields = {"score": 4, "subreddit": "pics", "created_utc": "1199145601", "link_id": "t3_abc"}
    return {"body": "a comment", **fields, **changes}


def submission(**changes):
    fields = {"score": 9, "subreddit": "pics", "created_utc": 1199145600, "id": "abc"}
    return {"title": "A title", "selftext": "a post", **fields, **changes}


def test_comments_and_their_submission_share_a_conversation(tmp_path):
    rows, _ = read(tmp_path / "RC.jsonl", [submission(), comment()], format="reddit")
    assert rows == [
        Row("A title\n\na post", 9.0, "pics", 1199145600.0, "t3_abc"),
        Row("a comment", 4.0, "pics", 1199145601.0, "t3_abc"),
    ]


def test_deleted_removed_and_empty_posts_are_dropped_and_are_not_bad(tmp_path):
    lines = [
        comment(),
        comment(body="[deleted]"),
        comment(body=" [removed] "),
        comment(body="\n"),
        submission(selftext="[removed]"),
        submission(title="[deleted by user]", selftext=""),
        submission(title="[ Removed by Reddit ]", selftext="x"),
        submission(title="", selftext=""),
    ]
    rows, tally = read(tmp_path / "a.jsonl", lines, format="reddit")
    assert [row.text for row in rows] == ["a comment"]
    assert dict(tally.unwanted) == {"deleted or removed": 5, "empty": 2}
    assert (tally.lines, tally.num_bad) == (8, 0)


def test_a_link_submission_is_its_title(tmp_path):
    (row,), _ = read(tmp_path / "a.jsonl", [submission(selftext="")], format="reddit")
    assert row.text == "A title"


@pytest.mark.parametrize("missing", ["score", "subreddit", "created_utc", "link_id"])
def test_what_a_reduced_dump_leaves_out_is_not_known(tmp_path, missing):
    line = comment()
    del line[missing]
    for content in (line, comment(**{missing: None})):
        (row,), tally = read(tmp_path / "a.jsonl", [content], format="reddit")
        unknown = [name for name, value in row._asdict().items() if value is None]
        field = {"score": "votes", "subreddit": "community", "created_utc": "time"}
        assert unknown == [field.get(missing, "conversation")]
        assert tally.num_bad == 0


def test_a_submission_without_selftext_or_id_is_its_title(tmp_path):
    for line in ({"title": "A title"}, submission(selftext=None), submission(selftext="")):
        (row,), _ = read(tmp_path / "a.jsonl", [line], format="reddit")
        assert row.text == "A title"


def test_what_is_escaped_in_a_dump_is_unescaped_twice_at_most(tmp_path):
    body = "&gt; Tom &amp; Jerry &amp;#x200B; &lt;3 it&#39;s &amp;amp;lt; Q&A; AT&T &copy that"
    lines = [comment(body=body), submission(title="&quot;a&quot;", selftext="&nbsp;")]
    rows, tally = read(
        tmp_path / "a.jsonl", [*lines, comment(body="&#91;deleted]")], format="reddit"
    )
    text = "> Tom & Jerry \u200b <3 it's &lt; Q&A; AT&T &copy that"
    assert [row.text for row in rows] == [text, '"a"']
    assert dict(tally.unwanted) == {"deleted or removed": 1}


def test_what_is_neither_comment_nor_submission_is_bad(tmp_path):
    lines = [comment(), {"text": "a"}, comment(score="?"), {"title": 5}]
    _, tally = read(tmp_path / "a.jsonl", lines, format="reddit")
    assert tally.bad_lines == {
        "neither 'body' (a comment) nor 'title' (a submission)": [2],
        "'score' is not a number": [3],
        "'title' is not text": [4],
    }


# --- plain text, and which reader it is -----------------------------------------------------


def test_plain_text_is_one_document_a_line(tmp_path):
    rows, tally = read(tmp_path / "a.txt", "one\r\n\n  \ntwo\u2028still two\n".encode())
    assert rows == [Row("one"), Row("two\u2028still two")]
    assert tally.lines == 2


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.jsonl", "jsonl"),
        ("a.JSONL.gz", "jsonl"),
        ("a.ndjson.zst", "jsonl"),
        ("a.csv", "csv"),
        ("a.csv.gz", "csv"),
        ("a.parquet", "parquet"),
        ("a.txt.zst", "text"),
        ("a.txt.bz2", "text"),
        ("a.jsonl.xz", "jsonl"),
    ],
)
def test_the_name_tells_the_format(tmp_path, name, form):
    (tmp_path / name).touch()
    assert source_format(CorpusSettings(source=str(tmp_path / name))) == form


def test_a_name_without_a_file_may_be_a_hub_dataset():
    assert source_format(CorpusSettings(source="someone/some-posts")) == "dataset"
    assert source_format(CorpusSettings(source="imdb", split="test")) == "dataset"


@pytest.mark.parametrize("source", ["missing.jsonl", "data/RC.zst", "./posts", "a/b/c", "/no/file"])
def test_a_missing_file_is_not_taken_for_a_hub_dataset(source):
    with pytest.raises(CorpusError, match=f"{source}: no such file"):
        source_format(CorpusSettings(source=source))


def test_a_missing_file_of_a_given_format_is_missing():
    with pytest.raises(CorpusError, match="posts: no such file"):
        source_format(CorpusSettings(source="posts", format="jsonl"))


@pytest.mark.parametrize("name", ["RC_2012-01.zst", "posts", "posts.json", "posts.doc"])
def test_an_unknown_suffix_asks_for_the_format(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(CorpusError, match=r"does not tell its format .* set corpus\.format"):
        source_format(CorpusSettings(source=str(tmp_path / name)))
    assert source_format(CorpusSettings(source=str(tmp_path / name), format="reddit")) == "reddit"


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (".", {"format": "jsonl"}, "is a folder; corpus.format: jsonl reads files"),
        ("a.jsonl", {"format": "dataset"}, "is a file; corpus.format: dataset reads a folder"),
        ("a.parquet.gz", {}, "Parquet is compressed inside"),
    ],
)
def test_a_source_that_its_format_cannot_read_is_an_error(tmp_path, name, settings, message):
    if name != ".":
        (tmp_path / name).touch()
    with pytest.raises(CorpusError, match=message):
        source_format(CorpusSettings(source=str(tmp_path / name), **settings))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("chitchat", {"columns": Columns(text="x")}, "corpus.columns: has no effect on a chitchat"),
        ("chitchat", {"format": "csv"}, "corpus.format: csv has no effect on chitchat"),
        ("a.txt", {"columns": Columns(votes="x")}, "corpus.columns: has no effect on a text"),
        ("a.jsonl", {"config": "x"}, "corpus.config: x has no effect on a jsonl source; delete it"),
        (".", {"config": "x"}, "corpus.config: x has no effect on a folder; delete it"),
        ("a.jsonl", {"split": "test"}, "corpus.split: test has no effect on a jsonl"),
    ],
)
def test_a_setting_without_effect_is_an_error_of_the_recipe(
    tmp_path, monkeypatch, name, settings, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").touch()
    (tmp_path / "a.jsonl").touch()
    with pytest.raises(RecipeError, match=message):
        source_format(CorpusSettings(source=name, **settings))


def test_a_pipe_or_a_device_is_an_error_before_it_is_read(tmp_path):
    os.mkfifo(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "a.jsonl")
    for name in (str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl"), "/dev/zero"):
        settings = CorpusSettings(source=name, format="text")
        for use in (source_format, corpus_digest, lambda s: list(read_rows(s, Tally()))):
            with pytest.raises(CorpusError, match="is no regular file but a pipe, socket or dev"):
                use(settings)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x" * 5_000 + ".jsonl", "cannot be read: File name too long"),
        ("/".join(["x" * 200] * 100), "cannot be read: File name too long"),
        ("~nobody-of-that-name/a.jsonl", "is no path: Could not determine home directory"),
        ("a\0b.jsonl", "is no path: it holds a NUL byte"),
    ],
)
def test_a_path_that_is_none_is_an_error(source, message):
    with pytest.raises(CorpusError, match=message):
        source_format(CorpusSettings(source=source))


def test_a_path_that_is_not_utf8_is_an_error(tmp_path):
    name = os.fsdecode(bytes(tmp_path / "a") + b"\xff.jsonl")
    Path(name).write_text('{"text": "a"}')
    for path in (name, "a\ud800.jsonl"):
        with pytest.raises(CorpusError, match="the path is not UTF-8; rename the file"):
            source_path(path)


def test_the_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.txt").write_text("hello\n")
    settings = CorpusSettings(source="~/a.txt")
    assert source_format(settings) == "text"
    assert list(read_rows(settings, Tally())) == [Row("hello")]
    assert corpus_digest(settings) == corpus_digest(CorpusSettings(source=f"{tmp_path}/a.txt"))
