"""What `textmad compare` prints and writes, from run folders to files."""

import csv
import io
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pandas as pd
import pytest
from rich.console import Console

import textmad as tm
from textmad.report import to_rich
from textmad.report.comparison import page
from textmad.report.comparison.differences import difference_table

PURE = tm.Recipe(generations=1, mix={"model_tokens": 20_000})
HUMAN = PURE.replace(mix={"model_tokens": 0, "human_tokens": 20_000})
HOSTILE = '"><script>alert(1)</script>$x_%|&'


@pytest.fixture(scope="module")
def folders(tmp_path_factory, measured_runs):
    """Two arms of two seeds, of which one has a hostile base model's name."""
    place = tmp_path_factory.mktemp("runs")
    hostile = PURE.replace(model={"base": HOSTILE})
    found = []
    for seed in (0, 1):
        for name, recipe, end in (("human", HUMAN, 100.0), ("pure", hostile, 120.0 + seed)):
            values = {("perplexity", "held_out"): [90.0 + seed, end + seed]}
            run = recipe.replace(seed=seed)
            found.append(measured_runs.write(place / f"{name}-{seed}", run, values))
    return found


@pytest.fixture(scope="module")
def comparison(folders):
    return tm.compare(folders)


@pytest.fixture(scope="module")
def paths(comparison, tmp_path_factory):
    return tm.write_comparison(comparison, tmp_path_factory.mktemp("out") / "new" / "folder")


@pytest.fixture(scope="module")
def written(paths):
    """The main files by their ending."""
    return {path.suffix: path for path in paths if path.stem == "comparison"}


def test_the_folder_holds_each_form_and_nothing_else(paths, written):
    assert set(written) == {".md", ".csv", ".parquet", ".tex", ".html"}
    assert sorted(written[".md"].parent.iterdir()) == sorted(paths)
    assert {path.name for path in paths if path.stem != "comparison"} == {
        "comparison-generations.tex",
        *(f"comparison-alarms.{ending}" for ending in ("csv", "parquet", "tex")),
    }


def test_equal_comparisons_give_equal_bytes(folders, paths, tmp_path):
    for path, before in zip(tm.write_comparison(tm.compare(folders), tmp_path), paths, strict=True):
        assert (path.name, path.read_bytes()) == (before.name, before.read_bytes())


def test_tables_of_an_earlier_comparison_do_not_stay_beside_a_later_one(
    folders, comparison, tmp_path
):
    own = tmp_path / "comparison-notes.csv"
    own.write_text("mine")
    tm.write_comparison(comparison, tmp_path)
    written = tm.write_comparison(tm.compare(folders[:2]), tmp_path)  # one seed: no alarm
    assert set(tmp_path.iterdir()) == {own, *written}
    assert not [path for path in written if "alarms" in path.name]


def test_csv_and_parquet_hold_the_table(comparison, written):
    pd.testing.assert_frame_equal(pd.read_parquet(written[".parquet"]), comparison.table)
    lines = list(csv.DictReader(io.StringIO(written[".csv"].read_text())))
    assert [float(line["difference"]) for line in lines[1:]] == [20.5]  # 20 and 21


def test_markdown_begins_with_the_verdict_and_ends_with_the_arms(written):
    text = written[".md"].read_text()
    assert text.startswith("# human_tokens=0 against human only\n\nhuman_tokens=0, generation 1: ")
    assert "| Perplexity, held-out | human_tokens=0 | ↓ |" in text
    assert text.splitlines()[-2].startswith("- **human only**: seeds 0, 1; ")


def test_latex_has_the_rules_of_booktabs_and_no_bare_letters(written):
    text = written[".tex"].read_text()
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert rule in text
    assert r"human\_tokens=0" in text
    assert text.isascii()
    for line in text.splitlines()[2:-2]:
        assert line.startswith("\\") or len(re.findall(r"(?<!\\)&", line)) == 7


def test_latex_escapes_what_it_would_run():
    table = page.Table(("a", "b"), ((r"50% of \x {y} #1", "$x$ & ~"),), ())
    (line,) = (line for line in page.to_latex(table).splitlines() if "50" in line)
    assert line.startswith(r"50\% of \textbackslash x \{y\} \#1 & \$x\$ \& ")


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, attributes))


def test_the_page_loads_nothing_and_a_hostile_name_stays_text(written):
    page, tags = written[".html"].read_text(), Tags()
    tags.feed(page)
    assert not {"script", "img", "link"} & {tag for tag, _ in tags.found}
    assert not [name for _, given in tags.found for name, _ in given if name.startswith("on")]
    assert "&lt;script&gt;" in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_the_page_draws_curves_with_bands_and_a_forest(written):
    figures = re.findall(r"<svg.*?</svg>", written[".html"].read_text(), flags=re.DOTALL)
    texts = ["".join(ElementTree.fromstring(svg).itertext()) for svg in figures]
    assert len(figures) == 2
    forest, curve = texts
    assert "difference" in forest
    assert "human_tokens=0" in curve
    assert "human only" in curve
    assert "FillBetweenPolyCollection" in figures[1] or "PolyCollection" in figures[1]


def test_the_page_shows_what_each_arm_wrote_and_how_a_human_did(written):
    page = written[".html"].read_text()
    (slots,) = re.findall(r"<h2>The same slot, arm by arm</h2>.*?</section>", page, flags=re.DOTALL)
    assert "All of seed 0:" in slots
    assert slots.count("a human text") == 1
    # two slots x two generations of the first arm; the second arm drew the same
    assert len(re.findall(">(?:one|two)</p>", slots)) == 4
    assert slots.count("the same text as human only") == 4


def test_one_seed_draws_no_band(folders):
    found = tm.compare(folders[:2])
    (figure,) = page.figures.curves(found)
    assert "PolyCollection" not in figure.svg


def test_generation_0_alone_is_compared_without_slopes(tmp_path, measured_runs):
    values = {("perplexity", "held_out"): [90.0]}
    places = [
        measured_runs.write(tmp_path / name, recipe, values)
        for name, recipe in (("p", PURE), ("h", HUMAN))
    ]
    text = page.to_page_markdown(tm.compare(places))
    assert "generation 0, one seed: Perplexity, held-out 90.00 (0)" in text
    assert "Not finished: " in text
    assert "Runs are missing or not finished (see the notes): this may change." in text


def test_finished_runs_are_not_called_unfinished(written):
    assert "may change" not in written[".md"].read_text()


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_every_letter_of_the_table(comparison, width):
    console = Console(width=width, file=io.StringIO())
    console.print(to_rich(difference_table(comparison)))
    shown = console.file.getvalue()
    assert "…" not in shown
    for word in ("Perplexity", "held-out", "difference", "+20.5"):
        assert word in shown


def test_a_place_that_cannot_be_written_is_an_error(comparison, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(tm.RunError, match="cannot be written"):
        tm.write_comparison(comparison, tmp_path / "file")


def test_more_arms_than_colours_and_an_arm_without_numbers_are_drawn(tmp_path, measured_runs):
    recipes = [HUMAN, *(PURE.replace(train={"epochs": 1.0 + n}) for n in range(7))]
    places = [
        measured_runs.write(
            tmp_path / str(n),
            recipe,
            {("perplexity", "held_out"): [90.0, float("nan") if n == 7 else 100.0 + n]},
            note="broken",
        )
        for n, recipe in enumerate(recipes)
    ]
    written = page.to_html(tm.compare(places))
    assert "epochs=7" in written
    assert "no number of epochs=7, seed 0: broken" in written
