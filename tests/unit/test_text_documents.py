import hashlib
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, concatenate_datasets

from textmad.errors import RunError
from textmad.text.documents import (
    SCHEMA,
    as_dataset,
    as_table,
    concatenate,
    content_id,
    documents,
    empty,
    on_disk,
    read_parquet,
    write_parquet,
)

FULL = {
    "id": ["g2-0", "g2-1", "g2-2"],
    "text": ["hello there", "", "é 漢字 \U0001f642\n\tand \x00"],
    "prompt": ["", "so I", ""],
    "origin": ["model"] * 3,
    "generation": [2] * 3,
    "author": ["tiny-gpt2"] * 3,
    "finished": [True, False, True],
    "tokens": [3, 0, 9],
    "conversation": [None, "c1", None],
    "community": ["r/pics", None, None],
    "time": [None, 1525289895.5, 0.0],
    "votes": [-3.0, None, 2.5],
}


def many(num: int) -> Dataset:
    return documents({"text": [f"text {index}" for index in range(num)]})


def test_a_lone_text_becomes_a_human_document() -> None:
    corpus = documents({"text": ["hello there"]})
    assert corpus.data.table.schema == SCHEMA
    assert corpus[0] == {
        "id": hashlib.sha256(b"hello there").hexdigest()[:16],
        "text": "hello there",
        "prompt": "",
        "origin": "human",
        "generation": -1,
        "author": "unknown",
        "finished": True,
        "tokens": 0,
        "conversation": None,
        "community": None,
        "time": None,
        "votes": None,
    }


def test_every_given_column_is_taken_as_it_is() -> None:
    assert documents(FULL).to_dict() == FULL


def test_columns_beyond_the_schema_come_behind_it() -> None:
    corpus = documents({"score": [0.5], "text": ["a"], "kept": [True]})
    assert corpus.column_names == [*SCHEMA.names, "score", "kept"]
    assert (corpus[0]["score"], corpus[0]["kept"]) == (0.5, True)


def test_columns_of_different_lengths_are_errors() -> None:
    with pytest.raises(pa.ArrowInvalid, match="length"):
        documents({"text": ["a", "b"], "votes": [1.0]})


def test_the_caller_s_columns_are_left_as_they_were() -> None:
    columns = {"text": ["a"]}
    documents(columns)
    assert columns == {"text": ["a"]}


def test_a_content_id_is_the_same_for_equal_texts_only() -> None:
    texts = ["", "a", "A", "a ", "é", "e\u0301", "half \ud83d of a pair", "half \ud83e of a pair"]
    assert len({content_id(text) for text in texts}) == len(texts)
    assert content_id("a") == content_id("".join(["a"]))
    assert all(len(content_id(text)) == 16 for text in texts)


def test_documents_come_back_from_parquet_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "documents.parquet"
    corpus = documents({**FULL, "score": [0.5, None, 1.0]})
    write_parquet(corpus, path)
    again = read_parquet(path)
    assert again.data.table.schema == corpus.data.table.schema
    assert again.to_dict() == corpus.to_dict()


def test_the_same_documents_give_the_same_bytes(tmp_path: Path) -> None:
    ways = {
        "directly": documents(FULL),
        "again": documents(FULL),
        "from two chunks": concatenate_datasets(
            [
                documents({key: value[:1] for key, value in FULL.items()}),
                documents({key: value[1:] for key, value in FULL.items()}),
            ]
        ),
        "by a selection": documents(FULL).select([2, 1, 0]).select([2, 1, 0]),
        "by way of pandas": Dataset.from_pandas(documents(FULL).to_pandas()).cast(
            documents(FULL).features
        ),
    }
    written = {}
    for name, corpus in ways.items():
        write_parquet(corpus, tmp_path / "first.parquet")
        write_parquet(read_parquet(tmp_path / "first.parquet"), tmp_path / "second.parquet")
        written[name] = (tmp_path / "first.parquet").read_bytes()
        assert (tmp_path / "second.parquet").read_bytes() == written[name]
    assert set(written.values()) == {written["directly"]}


def test_how_a_corpus_lies_in_memory_does_not_show_in_its_bytes(tmp_path: Path) -> None:
    texts = [f"{index} " + content_id(str(index)) * 100 for index in range(3000)]  # 5 MB
    parts = [documents({"text": texts[:1001]}), documents({"text": texts[1001:]})]
    write_parquet(documents({"text": texts}), tmp_path / "whole")
    write_parquet(concatenate_datasets(parts), tmp_path / "parts")
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "parts").read_bytes()


def test_other_documents_give_other_bytes(tmp_path: Path) -> None:
    for name, votes in (("a", [1.0]), ("b", [2.0])):
        write_parquet(documents({"text": ["x"], "votes": votes}), tmp_path / name)
    assert (tmp_path / "a").read_bytes() != (tmp_path / "b").read_bytes()


def test_a_parquet_file_holds_no_trace_of_pandas_or_datasets(tmp_path: Path) -> None:
    path = tmp_path / "documents.parquet"
    write_parquet(Dataset.from_pandas(documents(FULL).to_pandas()), path)
    assert pq.read_schema(path).metadata is None


@pytest.mark.parametrize(
    "rows",
    [[7, 3, 3, 9, 0], list(range(10)), list(range(2, 6)), list(range(9, -1, -1)), []],
    ids=["scattered", "all", "contiguous", "reversed", "none"],
)
def test_a_selection_is_written_as_selected(tmp_path: Path, rows: list[int]) -> None:
    path = tmp_path / "documents.parquet"
    selected = many(10).select(rows)
    assert as_table(selected).column("text").to_pylist() == [f"text {row}" for row in rows]
    write_parquet(selected, path)
    assert read_parquet(path)["text"] == [f"text {row}" for row in rows]


def test_a_selection_of_a_selection_and_of_joined_parts_is_followed() -> None:
    joined = concatenate_datasets([many(6), many(4)]).select([9, 1, 6, 5]).select([2, 0])
    assert as_table(joined).column("text").to_pylist() == ["text 0", "text 3"]


def test_joined_corpora_have_the_schema_s_columns_only() -> None:
    first = documents({**FULL, "score": [0.5] * 3})
    second = documents({"text": ["b"], "kept": [True]}).select([0])
    joined = concatenate([first, empty(), second])
    assert joined.data.table.schema == SCHEMA
    assert joined["text"] == [*FULL["text"], "b"]
    assert joined["votes"] == [*FULL["votes"], None]
    assert joined["origin"] == ["model"] * 3 + ["human"]


def test_columns_of_another_number_type_are_brought_to_the_schema_s() -> None:
    table = documents(FULL).data.table
    wide = table.set_column(
        table.column_names.index("tokens"), "tokens", table["tokens"].cast(pa.int64())
    )
    assert concatenate([as_dataset(wide)]).to_dict() == FULL


def test_no_documents_are_a_corpus_too(tmp_path: Path) -> None:
    path = tmp_path / "documents.parquet"
    for corpus in (empty(), documents({"text": []}), concatenate([]), many(3).select([])):
        write_parquet(corpus, path)
        again = read_parquet(path)
        assert len(again) == 0
        assert again.data.table.schema == SCHEMA


# --- temporary files ------------------------------------------------------------------------


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def pieces(num: int) -> Iterator[pa.Table]:
    for piece in range(num):
        yield as_table(documents({"text": [f"text {piece} {index}" * 20 for index in range(100)]}))


def test_a_corpus_on_disk_is_whole_and_has_no_file_that_a_kill_would_leave(temporary: Path) -> None:
    names = []

    def watched() -> Iterator[pa.Table]:
        for piece in pieces(3):
            yield piece
            names.extend(path.name for path in temporary.iterdir())

    corpus = on_disk(watched())
    names.extend(path.name for path in temporary.iterdir())
    assert names == []
    assert corpus["text"][:] == [text for piece in pieces(3) for text in piece["text"].to_pylist()]


def test_no_room_for_temporary_files_is_an_error_that_names_the_variable(temporary: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # bytes of a file, for root too
    try:
        with pytest.raises(RunError, match=f"{temporary}: File too large: .*TMPDIR"):
            on_disk(pieces(5))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(temporary.iterdir()) == []


def test_no_folder_for_temporary_files_is_the_same_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(RunError, match=r"nowhere: No such file or directory: .*TMPDIR"):
        on_disk(pieces(1))


def test_an_error_of_what_is_written_stays_what_it_is(temporary: Path) -> None:
    def unreadable() -> Iterator[pa.Table]:
        yield from pieces(1)
        raise OSError("the source is gone")

    with pytest.raises(OSError, match="the source is gone"):
        on_disk(unreadable())
    assert list(temporary.iterdir()) == []
