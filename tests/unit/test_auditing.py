"""An audit: what stands outside the range of human text, what does not, and what is refused."""

import csv
import doctest
import html
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest

import textmad as tm
from textmad import auditing
from textmad.auditing import Audit
from textmad.auditing import audit_rows as findings
from textmad.auditing.reference_metrics import ReferenceMetrics
from textmad.auditing.sources import read_source, reading, rows_by_group
from textmad.evaluators.reference_range import reference_range
from textmad.report import audit_page

TYPES = 400
ZIPF = (1 / np.arange(1, TYPES + 1)) / (1 / np.arange(1, TYPES + 1)).sum()
FEW = {"documents": 100, "min_documents": 50}
AUDITING = sorted(Path(auditing.__file__).parent.glob("*.py"))


def language(rng: np.random.Generator, num: int, types: int = TYPES) -> list[str]:
    """Documents of 12 words, by Zipf's law; fewer types leave the rare ones out."""
    law = ZIPF[:types] / ZIPF[:types].sum()
    return [" ".join(f"w{i}" for i in rng.choice(types, 12, p=law)) for _ in range(num)]


def write(path: Path, texts: Sequence[str], groups: Sequence[str | None] = ()) -> Path:
    """A JSONL file; where there are groups, in a column `board`."""
    rows = [{"text": text} for text in texts]
    for row, group in zip(rows, groups, strict=False):
        row |= {"board": group}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`human` and `same` of one law; `narrow` of its 40 commonest words, each text ten times."""
    folder, rng = tmp_path_factory.mktemp("corpora"), np.random.default_rng(0)
    write(folder / "human.jsonl", language(rng, 600))
    texts = language(rng, 160)
    write(folder / "same.jsonl", texts, ["left", "right"] * 75 + ["small"] * 9 + [None])
    write(folder / "narrow.jsonl", 10 * language(rng, 15, types=40), ["left"] * 150)
    return folder


@pytest.fixture(scope="module")
def found(corpora: Path) -> Audit:
    paths = [corpora / "same.jsonl", corpora / "narrow.jsonl"]
    return tm.audit(paths, corpora / "human.jsonl", group="board", **FEW)


def part(found: Audit, by: str, name: str) -> pd.DataFrame:
    """The lines of a file or group, by metric and bin."""
    table = found.table
    chosen = table[(table["by"] == by) & table["name"].str.endswith(name)]
    return chosen.set_index(["metric", "bin"]).sort_index()


# --- what is found --------------------------------------------------------------------------


def test_text_of_the_same_law_stands_inside_and_is_not_called_equal(found):
    lines = part(found, "file", "same.jsonl")
    assert not lines["differs"].any()
    assert (lines["side"] == "inside").sum() > 0.8 * len(lines)
    (said,) = [line for line in audit_page.verdict(found) if "same.jsonl" in line]
    assert "no difference is supported; there may still be one" in said


def test_text_without_the_tail_stands_outside_on_the_right_side(found):
    lines = part(found, "file", "narrow.jsonl")
    expected = {
        "rare_rate": "below",
        "surviving_rare_types": "below",
        "unseen_mass": "above",
        "repeated_share": "above",
        "near_repeated_share": "above",
        "self_bleu_4": "above",
        "distinct_2": "below",
        "compression_ratio": "above",
        "ngram_gap_1": "above",
    }
    assert {m: lines.loc[(m, ""), "side"] for m in expected} == expected
    assert all(lines.loc[(m, ""), "differs"] for m in expected)
    # Its words are those of human text, and as many in a document: this must not differ.
    assert lines.loc[("document_words", ""), "side"] == "inside"
    assert lines.loc[("document_words", ""), "value"] == 12
    (said,) = [line for line in audit_page.verdict(found) if "narrow.jsonl" in line]
    assert "Outside: " in said
    assert "rare words (3 of 3)" in said
    assert "not outside: length" in said


def test_groups_are_gathered_from_all_files_and_small_ones_are_named(found):
    table = found.table
    assert set(table.loc[table["by"] == "group", "name"]) == {"left", "right"}
    # 75 human-like and 150 narrow documents against 75 human-like ones: 75 of each are compared.
    assert set(table.loc[table["by"] == "group", "documents"]) == {75}
    assert part(found, "group", "left")["differs"].any()
    assert not part(found, "group", "right")["differs"].any()
    (note,) = [note for note in found.notes if note.startswith("Groups")]
    assert note == (
        "Groups leave out 1 groups of fewer than 50 documents, 1 documents without a group."
    )
    assert audit_page.verdict(found)[-1].startswith("Of 2 groups 1 lie outside")


def test_everything_is_compared_at_one_size(found):
    files = found.table[found.table["by"] == "file"]
    assert set(files["documents"]) == {100}
    assert set(files["words"]) == {100 * 12}


def test_p_values_allow_for_all_figures_of_the_audit(found):
    measured = [row for row in found.rows if row.side]
    raw = [row.human.p(row.value) for row in measured]
    order = np.argsort(raw)
    # Holm: the smallest by as many as there are, the next by one less, never below the last.
    expected = np.maximum.accumulate(np.sort(raw) * (len(raw) - np.arange(len(raw))))
    assert np.array([row.p for row in measured])[order] == pytest.approx(np.minimum(expected, 1))


def test_repeats_are_counted_over_whole_files(found):
    same, narrow = found.sources
    assert (same.repeated, narrow.repeated) == (0, 150 - 15)
    assert "| 150 | 135 | 90.0% |" in audit_page.to_page(found)


def test_a_range_ends_where_a_figure_cannot_go_on(found):
    human = found.rows[0].human._replace(low=-0.1, high=1.1)
    ranges = {
        metric: audit_page._range(found.rows[0]._replace(metric=metric, human=human))
        for metric in ("overlap", "ngram_gap_3", "self_bleu_4", "entropy_1")
    }
    up_to_1 = dict.fromkeys(("overlap", "ngram_gap_3", "self_bleu_4"), "0 to 1.000")
    assert ranges == up_to_1 | {"entropy_1": "0 to 1.100"}


# --- the metrics --------------------------------------------------------------------------


def values(metrics: ReferenceMetrics, texts: Sequence[str]) -> dict[tuple[str, str], float]:
    num_words = sum(len(text.split()) for text in texts)
    return {(m.metric, m.bin): m.value for m in metrics.measure(texts, num_words)}


def test_the_yardstick_itself_is_a_copy_and_a_foreign_text_shares_nothing():
    texts = language(np.random.default_rng(3), 60)
    metrics = ReferenceMetrics(texts)
    own = values(metrics, texts)
    other = values(metrics, [text.replace("w", "x") for text in texts])
    nothing = dict.fromkeys([f"ngram_gap_{n}" for n in (1, 2, 3)] + ["unseen_mass"], 0.0)
    everything = dict.fromkeys(
        ["copied_documents", "near_copied_documents", "surviving_rare_types"], 1.0
    )
    for name, value in (nothing | everything).items():
        assert (own[name, ""], other[name, ""]) == pytest.approx((value, 1 - value)), name
    assert (own["overlap", "8 words"], other["overlap", "8 words"]) == (1, 0)
    assert other["rare_rate", ""] == 1  # every word is one that human text never has
    assert math.isnan(own["overlap", "13 words"])  # documents have 12


def test_the_detector_tells_what_can_be_told_and_nothing_else():
    rng = np.random.default_rng(4)
    metrics = ReferenceMetrics(language(rng, 80), detector=True)
    same = values(metrics, language(rng, 80))["detection_auc", ""]
    narrow = values(metrics, language(rng, 80, types=40))["detection_auc", ""]
    # The standard error of an AUC of 80 against 80 is sqrt(161 / (12 * 80 * 80)) = 0.046.
    assert abs(same - 0.5) < 4 * 0.046
    assert narrow > 0.9


# --- the reference range ------------------------------------------------------------------


def test_the_examples_in_the_docstrings_hold():
    for path in AUDITING:
        module = __import__(f"textmad.auditing.{path.stem}", fromlist=["_"])
        assert doctest.testmod(module).failed == 0


def test_one_more_human_text_falls_outside_its_range_one_time_in_twenty():
    rng, n, size, num = np.random.default_rng(5), 60, 150, 500
    outside = 0
    for _ in range(num):
        half = rng.normal(size=size)
        samples = rng.permuted(np.tile(half, (20, 1)), axis=1)[:, :n].mean(axis=1)
        found = reference_range(samples.tolist(), n / size)
        outside += not found.low <= rng.normal(size=n).mean() <= found.high
    # 5 %, of which the standard error is sqrt(0.05 * 0.95 / 500) = 1 %
    assert 0.05 - 4 * 0.01 < outside / num < 0.05 + 4 * 0.01


def test_samples_that_all_agree_leave_room_for_one_thing_in_n():
    found = reference_range([0.0] * 20, 0.25, least_spread=1 / 100)
    # 1/100 x sqrt(1 + 0.25 + 0.75 / 20), times the 97.5 % point of t with 19 degrees of freedom
    assert found.high == pytest.approx(0.01 * math.sqrt(1.2875) * 2.093024, rel=1e-6)
    assert found.p(found.high) == pytest.approx(0.05)
    exact = reference_range([12.0] * 20, 0.25)
    assert (exact.p(12.0), exact.p(12.1)) == (1.0, 0.0)
    assert math.isnan(exact.p(math.nan))
    assert math.isnan(reference_range([1.0, math.nan], 0.25).p(1.0))


@pytest.mark.parametrize("expected", [0.3, 3.0])
def test_a_few_copies_by_chance_are_no_finding(expected):
    rng, num, n = np.random.default_rng(6), 500, 500
    counts = rng.poisson(expected, (num, 21)) / n
    found = [reference_range(row[1:].tolist(), 0.0, one=1 / n).p(row[0]) for row in counts]
    # A p-value below 0.002 decides where 28 figures are looked at; here 500 x 0.002 = 1.
    assert sum(p < 0.002 for p in found) <= 1 + 3 * 1
    # Where human text has none, k copies lie (sqrt(k + 3/8) - sqrt(3/8)) / (sqrt(1.05) / 2) out,
    # four 2.9 and six 3.7; t with 19 degrees of freedom has 0.002 beyond 3.58.
    nothing = reference_range([0.0] * 20, 0.0, one=1 / n)
    assert nothing.p(4 / n) > 0.002 > nothing.p(6 / n)


# --- sources --------------------------------------------------------------------------------


def test_what_is_left_out_of_a_file_is_counted(tmp_path):
    texts = ["one two", "", "   ", "one two", "a " * 30]
    read = read_source(reading(str(write(tmp_path / "some.jsonl", texts)), max_words=10))
    assert (len(read.documents), read.empty, read.too_long, read.repeated) == (2, 2, 1, 1)


def test_a_reddit_dump_has_its_subreddits_as_groups(tmp_path):
    path = tmp_path / "dump.jsonl"
    fields = {"link_id": "t3_1", "score": 1, "created_utc": 0}
    lines = [{"body": f"text {i}", "subreddit": "ab"[i % 2], **fields} for i in range(5)]
    lines.append({"body": "[deleted]", "subreddit": "a", **fields})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    read = read_source(reading(str(path), group="subreddit", form="reddit"))
    groups = rows_by_group([read])
    assert {name: rows.tolist() for name, [(_, rows)] in groups.items()} == {
        "a": [0, 2, 4],
        "b": [1, 3],
    }
    assert (len(read.documents), read.deleted) == (5, 1)
    with pytest.raises(tm.RecipeError, match="--group: has no effect on a reddit source"):
        reading(str(path), group="author", form="reddit")


def test_a_line_without_the_groups_key_is_in_no_group_as_one_with_null_is(tmp_path):
    path = tmp_path / "posts.jsonl"
    lines = [{"text": "a", "board": "x"}, {"text": "b"}, {"text": "c", "board": None}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    read = read_source(reading(str(path), group="board"))
    assert (len(read.documents), read.bad) == (3, 0)
    assert {name: rows.tolist() for name, [(_, rows)] in rows_by_group([read]).items()} == {
        "x": [0]
    }


def test_the_reference_may_have_another_column_and_another_format(corpora, tmp_path):
    dump = tmp_path / "dump.txt"  # by its name it would be plain text
    texts = [json.loads(line)["text"] for line in (corpora / "same.jsonl").open()]
    dump.write_text("".join(json.dumps({"body": text}) + "\n" for text in texts))
    few = {"documents": 20, "min_documents": 20}
    given = tm.audit(
        [dump],
        corpora / "human.jsonl",
        text_column="body",
        form="jsonl",
        reference_text_column="text",
        reference_format="auto",
        **few,
    )
    plain = tm.audit([corpora / "same.jsonl"], corpora / "human.jsonl", **few)
    pd.testing.assert_frame_equal(*(a.table.drop(columns="name") for a in (given, plain)))


def test_a_reference_without_columns_does_not_mind_those_of_the_texts(tmp_path):
    (tmp_path / "human.txt").touch()
    path, others = str(tmp_path / "human.txt"), ("body", "auto")
    assert reading(path, others=others).settings.columns.text == "text"
    assert reading("chitchat", others=("body", "jsonl")).settings.format == "auto"
    with pytest.raises(tm.RecipeError, match=r"^--reference-text-column: has no effect on a text"):
        reading(path, "body", prefix="--reference-")
    with pytest.raises(tm.RecipeError, match=r"^--reference-format: csv has no effect on chitch"):
        reading("chitchat", form="csv", prefix="--reference-")


def test_more_bad_lines_are_spared_when_asked_and_the_options_are_named(tmp_path):
    path = write(tmp_path / "posts.jsonl", ["one"] * 9)
    with path.open("a") as file:
        file.write("{\n")
    with pytest.raises(tm.CorpusError) as caught:
        read_source(reading(str(path)))
    assert str(caught.value) == (
        f"{path}: 1 of 10 lines are bad (10.00%), more than --max-bad-lines: 0.01 allows:\n"
        "  1 not JSON (line 10)\n"
        "Repair the file, check --format and --text-column, or raise --max-bad-lines if these "
        "lines can be spared."
    )
    assert read_source(reading(str(path), max_bad_lines=0.1)).bad == 1


def test_the_splits_of_a_folder_are_given_as_subfolders(tmp_path):
    texts = datasets.Dataset.from_dict({"text": ["one", "two"]})
    datasets.DatasetDict(old=texts, new=texts).save_to_disk(tmp_path)
    with pytest.raises(tm.CorpusError, match=r"'train'; give the subfolder of one of them: old, n"):
        read_source(reading(str(tmp_path)))
    assert len(read_source(reading(str(tmp_path / "old"))).documents) == 2


@pytest.mark.parametrize(
    ("header", "encoding", "message"),
    [
        ("id,text", "utf-16", "the file seems to be UTF-16: save it as UTF-8$"),
        ("id,text", "utf-16-le", "the file seems to be UTF-16: save it as UTF-8$"),
        ("größe,wort", "latin-1", "The file is not UTF-8: save it as UTF-8$"),
        ("id;text", "utf-8", "Its columns seem to be separated by semicolons: expected commas$"),
        ("id\ttext", "utf-8", "Its columns seem to be separated by tabs: expected commas$"),
        ("id;x,y", "utf-8", "'id;x', 'y'. Set --text-column to one of them$"),
    ],
)
def test_a_csv_without_the_column_says_what_is_likely_the_fault(
    tmp_path, header, encoding, message
):
    path = tmp_path / "posts.csv"
    path.write_bytes(f"{header}\n1,a\n".encode(encoding))
    with pytest.raises(tm.CorpusError, match=message):
        read_source(reading(str(path)))


def test_all_are_looked_for_before_any_is_read(corpora, monkeypatch):
    monkeypatch.setattr(auditing, "read_source", lambda _: pytest.fail("was read"))
    with pytest.raises(tm.CorpusError, match=r"nofile\.jsonl: no such file"):
        tm.audit([corpora / "same.jsonl", "nofile.jsonl"], corpora / "human.jsonl", **FEW)


@pytest.mark.parametrize("spelling", ["./same.jsonl", "linked.jsonl", "{}/same.jsonl"])
def test_another_spelling_is_the_same_file(corpora, monkeypatch, spelling):
    monkeypatch.chdir(corpora)
    Path("linked.jsonl").unlink(missing_ok=True)
    Path("linked.jsonl").symlink_to("same.jsonl")
    name = spelling.format(corpora)
    with pytest.raises(tm.CorpusError, match=r"is given twice \(also as same.jsonl\); delete one"):
        tm.audit(["same.jsonl", name], "human.jsonl", **FEW)
    with pytest.raises(tm.CorpusError, match="is the reference itself"):
        tm.audit([name], "same.jsonl", **FEW)


# --- what is written ------------------------------------------------------------------------


def test_where_a_file_lies_does_not_matter(corpora, tmp_path):
    figures = []
    for path in (corpora / "same.jsonl", tmp_path / "elsewhere.jsonl"):
        path.write_bytes((corpora / "same.jsonl").read_bytes())
        found = tm.audit([path], corpora / "human.jsonl", documents=20, min_documents=20)
        figures.append(found.table.drop(columns="name"))
    pd.testing.assert_frame_equal(*figures)


def test_the_same_audit_again_writes_the_same_bytes(corpora, tmp_path):
    pages = []
    for _ in range(2):
        found = tm.audit(
            [corpora / "same.jsonl"], corpora / "human.jsonl", documents=20, min_documents=20
        )
        pages.append([path.read_bytes() for path in audit_page.write_audit(found, tmp_path)])
    assert pages[0] == pages[1]


def test_the_files_hold_the_figures(found, tmp_path):
    paths = audit_page.write_audit(found, tmp_path / "found")
    assert [path.name for path in paths] == [
        "audit.md",
        "audit.html",
        "audit.csv",
        "audit.parquet",
    ]
    pd.testing.assert_frame_equal(pd.read_parquet(paths[3]), found.table)
    with paths[2].open() as file:
        assert len(list(csv.DictReader(file))) == len(found.rows)
    page = paths[1].read_text(encoding="utf-8")
    assert page.count("<tr>") > len(part(found, "file", "same.jsonl"))
    assert html.escape(audit_page.verdict(found)[0], quote=False) in page.replace("&#39;", "'")
    assert not re.search(r"<(script|img|link)|src=|https?:", page)


def test_every_metric_has_a_name_for_readers(found):
    assert {row.metric for row in found.rows} < set(findings.MEASURED)
    assert "nan" not in audit_page.to_page(found)


def test_a_value_that_is_missing_says_why(found):
    text = audit_page.to_page(found)
    assert "Verbatim overlap with the reference, 13 words" in text
    assert "same.jsonl): no document of 13 words." in text


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"texts": []}, "texts: expected at least one file"),
        ({"texts": ["same.jsonl", "same.jsonl"]}, "same.jsonl: is given twice; delete one"),
        ({"texts": ["human.jsonl"]}, "human.jsonl: is the reference itself"),
        ({"texts": ["none.jsonl"]}, "none.jsonl: no such file; the path is relative to"),
        ({"texts": ["empty.jsonl"]}, "empty.jsonl: "),
        ({"texts": ["blank.jsonl"]}, "blank.jsonl: no document is left: 60 are empty"),
        ({"texts": ["wordless.jsonl"]}, "wordless.jsonl: 60 of its documents hold no word"),
        ({"reference": "wordless.jsonl", "min_documents": 15}, "wordless.jsonl: .* hold no word"),
        (
            {"texts": ["small.jsonl"]},
            "small.jsonl: 49 documents; at least 50 are needed. Give more",
        ),
        ({"min_documents": 1}, "--min-documents: 1: expected at least 2"),
        ({"documents": 10}, "--documents: 10: expected at least --min-documents, 50"),
        (
            {"reference": "same.jsonl", "texts": ["human.jsonl"]},
            "same.jsonl: 160 documents; at least 200 are needed as a reference: a half gives "
            "samples of 50. Give more text, or lower --min-documents",
        ),
        (
            {"text_column": "body"},
            "(?s)human.jsonl: .*no field 'body'.*that --reference-format and "
            "--reference-text-column fit",
        ),
        (
            {"text_column": "body", "reference_text_column": "text"},
            "(?s)same.jsonl: .*no field 'body'.*that --format and --text-column fit",
        ),
        (
            {"text_column": "body", "reference_text_column": "text", "group": "board"},
            "(?s)same.jsonl: .*that --format and --text-column and --group fit",
        ),
        ({"group": "forum"}, "--group forum: no document has one; give a column that they have"),
        ({"max_words": 0}, "--max-words: 0: expected at least 1"),
        ({"max_bad_lines": -0.1}, "--max-bad-lines: -0.1: expected a share, from 0 to 1"),
        ({"max_bad_lines": math.nan}, "--max-bad-lines: nan: expected a share, from 0 to 1"),
        ({"group": "board", "min_documents": 80}, "--group board: no group has 80 documents"),
    ],
)
def test_a_corpus_that_cannot_be_audited_is_an_error(
    corpora: Path, monkeypatch, options: dict[str, object], message: str
):
    monkeypatch.chdir(corpora)
    Path("empty.jsonl").touch()
    write(Path("blank.jsonl"), [" "] * 60)
    write(Path("wordless.jsonl"), ["!?"] * 60)
    write(Path("small.jsonl"), ["some words"] * 49)
    given = {"texts": ["same.jsonl"], "reference": "human.jsonl"} | FEW | {"documents": 200}
    with pytest.raises(tm.CorpusError, match=message):
        tm.audit(**(given | options))
