import html
import itertools
import json
import math
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from textmad import store
from textmad.analysis.populations import pedigree_of
from textmad.errors import RunError
from textmad.loop.run import Run
from textmad.recipe import Recipe
from textmad.report import plots, write_report
from textmad.report.page import run_names
from textmad.report.people import people_section
from textmad.report.population import population_section
from textmad.text.documents import documents, write_parquet

HOSTILE = "</p></td><script>alert(1)</script></svg><img src=x onerror=alert(1)>\"'&amp;"
HOSTILE_NAME = "<script>alert(1)<$x$&--><b onload=1>"
METRICS = (
    ("perplexity", "held_out"),
    ("rare_loss", "held_out"),
    ("common_loss", "held_out"),
    ("distinct_2", "drawn"),
    ("distinct_2", "human"),
)


class FakeRun:
    """A run as the report sees it, in memory."""

    members = ()
    shift = 0.0  # of all metrics

    def __init__(self, path: Path, *, text="hello there", metrics=METRICS, generations=2):
        self.path, self._text, self._metrics = path, text, metrics
        path.mkdir(parents=True, exist_ok=True)
        self.recipe = Recipe(generations=2)
        self.generations = list(range(generations))
        self.complete = generations == 3
        self.human = documents({"text": ["good morning"]})
        self.corpus_report = {
            "source": text,
            "dropped": {"too short": 7},
            "human": {"documents": 93},
        }
        self.provenance = {"command": ["textmad", text]}
        self.warnings = []

    @property
    def metrics(self):
        rows = [
            (
                g,
                "any",
                metric,
                split,
                "".join(bin),
                1.0 + 0.1 * g + self.shift,
                10,
                "",
                math.nan,
                math.nan,
            )
            for g in self.generations
            for metric, split, *bin in self._metrics
        ]
        return pd.DataFrame(rows, columns=store.METRICS_SCHEMA.names)

    def candidates(self, generation):
        return documents(
            {
                "text": [self._text, "other"],
                "prompt": [self._text, ""],
                "origin": ["model"] * 2,
                "votes": [1.0, -1.0],
                "kept": [True, False],
                "score": [0.5, -0.5],
                "filter": ["", self._text],
                "reason": ["", self._text],
            }
        )

    def records(self, generation, stage="curate"):
        return {}

    def mixture(self, generation):
        names = ("human_tokens", "model_tokens", "human_documents", "model_documents")
        return dict.fromkeys(names, 1234 + generation)

    def curve(self, generation):
        return pd.DataFrame({"step": [1, 2], "tokens": [10, 20], "loss": [4.0, 3.0]})


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs


def parsed(page: Path) -> Tags:
    tags = Tags()
    tags.feed(page.read_text(encoding="utf-8"))
    return tags


def figures(page: Path) -> list[str]:
    return re.findall(r"<svg.*?</svg>", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of one plain run."""
    return write_report([FakeRun(tmp_path_factory.mktemp("runs") / "run")])


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The page of a run whose documents, reasons, source and name are hostile, and a plain one."""
    runs = tmp_path_factory.mktemp("runs")
    metrics = [*METRICS, ("text_perplexity", "drawn", "median")]
    odd = FakeRun(runs / HOSTILE_NAME, text=HOSTILE, metrics=metrics)
    return write_report([odd, FakeRun(runs / "plain")])


def test_the_page_stands_in_the_run_folder(page):
    assert (page.parent.name, page.name) == ("run", "report.html")


def test_nothing_but_the_page_is_left_behind(page):
    assert [path.name for path in page.parent.iterdir()] == ["report.html"]


def test_the_same_run_gives_the_same_bytes(page, tmp_path):
    assert write_report([FakeRun(tmp_path / "run")]).read_bytes() == page.read_bytes()


def test_a_hostile_document_stays_text(hostile):
    found = parsed(hostile)
    assert not {"script", "img"} & found.tags
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in hostile.read_text(encoding="utf-8")


def test_a_hostile_folder_name_stays_text_in_the_figures(hostile):
    for figure in figures(hostile):
        assert HOSTILE_NAME in "".join(ElementTree.fromstring(figure).itertext())


def test_the_spread_of_perplexity_is_drawn_where_a_run_measured_it(page, hostile):
    heading = "<b>Perplexity of single documents</b>"
    assert heading not in page.read_text(encoding="utf-8")
    assert hostile.read_text(encoding="utf-8").count(heading) == 1
    assert len(figures(hostile)) == len(figures(page)) + 1


def test_the_page_loads_nothing_and_runs_nothing(page):
    found = parsed(page)
    policies = [value for name, value in found.attributes if name == "content"]
    assert any(value.startswith("default-src 'none';") for value in policies)
    assert not any("script-src" in value for value in policies)
    assert not found.tags & {"script", "link", "iframe", "object", "form"}
    assert "src" not in dict(found.attributes)
    links = [value for name, value in found.attributes if name.endswith("href")]
    assert all(value.startswith("#") for value in links)


def test_every_figure_is_well_formed_and_has_ids_of_its_own(page):
    drawn = figures(page)
    ids = [
        element.attrib["id"]
        for figure in drawn
        for element in ElementTree.fromstring(figure).iter()
        if "id" in element.attrib
    ]
    assert len(drawn) == 5  # perplexity, rare against common, distinct-2, kept share, training
    assert len(ids) == len(set(ids))


def test_the_references_inside_a_figure_lead_somewhere(page):
    for figure in figures(page):
        ids = set(re.findall(r'\bid="([^"]+)"', figure))
        targets = set(re.findall(r'(?:url\(#|href="#)([^")]+)', figure))
        assert targets <= ids
        assert targets


def test_runs_stand_side_by_side_under_their_names(tmp_path):
    runs = [FakeRun(tmp_path / "voted"), FakeRun(tmp_path / "random")]
    page = write_report(runs, tmp_path / "both.html").read_text(encoding="utf-8")
    assert "<title>voted, random" in page
    assert page.count('<div class="verdict') == 2
    assert ">voted</text>" in page
    assert ">random</text>" in page


def test_runs_of_one_name_are_told_apart_by_their_parents(tmp_path):
    runs = [FakeRun(tmp_path / "a" / "seed-0"), FakeRun(tmp_path / "b" / "seed-0")]
    assert run_names(runs) == ["a/seed-0", "b/seed-0"]


def test_the_same_run_twice_is_an_error(tmp_path):
    run = FakeRun(tmp_path / "run")
    with pytest.raises(RunError, match="is given twice"):
        write_report([run, run])


def test_a_run_without_a_complete_generation_is_an_error(tmp_path):
    with pytest.raises(RunError, match="expected a complete generation 0"):
        write_report([FakeRun(tmp_path / "run", generations=0)])
    assert not (tmp_path / "run" / "report.html").exists()


def test_a_run_that_is_not_complete_says_so(page):
    assert "generations 0 to 1 of 2, not complete" in page.read_text(encoding="utf-8")


def test_metrics_that_were_not_measured_are_said_and_not_drawn(tmp_path):
    run = FakeRun(tmp_path / "run", metrics=[("perplexity", "held_out")])
    path = write_report([run])
    page = path.read_text(encoding="utf-8")
    assert "Not measured: distinct-2, rare-token rate" in page
    assert ">not measured</text>" not in page
    assert len(figures(path)) == 3  # perplexity, kept share, training loss


@pytest.mark.parametrize(
    ("references", "reading"),
    [
        (("human",), "Above it: noise. Below it: narrowing."),
        (("human", "base"), "Above both: noise. Below both: narrowing."),
    ],
)
def test_a_curve_is_read_against_every_reference_that_is_drawn(tmp_path, references, reading):
    metrics = (*METRICS[:4], *(("distinct_2", split) for split in references))
    run = FakeRun(tmp_path / "run", metrics=metrics)
    page = write_report([run]).read_text(encoding="utf-8")
    assert reading in page
    assert ("own samples." in page) == ("base" in references)


def test_an_evaluator_beside_the_usual_ones_has_figures_and_rows_of_its_own(tmp_path):
    run = FakeRun(tmp_path / "run", metrics=[("votes_gini", "drawn"), ("votes_gini", "kept")])
    page = write_report([run]).read_text(encoding="utf-8")
    assert page.count("<b>Gini of upvotes</b>") == 1
    assert page.count('<th scope="row">Gini of upvotes</th>') == 4  # both tables, both splits


@pytest.mark.parametrize(("points", "marker"), [([10], "o"), ([10, 20], "")])
def test_a_training_curve_of_one_step_is_a_point(points, marker):
    curve = pd.DataFrame({"tokens": points, "loss": [4.0] * len(points)})
    panels = plots.loss_panels({"run": {0: curve}})
    (axis,) = plots.labelled(panels, x_title="tokens", y_title="loss").axes
    assert [line.get_marker() for line in axis.lines] == [marker]


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        write_report([FakeRun(tmp_path / "run")], tmp_path / "file" / "report.html")


def on_disk(fake: FakeRun) -> Run:
    """The same run as a folder."""

    def json_file(name, content):
        return lambda folder: (folder / name).write_text(json.dumps(content))

    def corpus(folder):
        write_parquet(fake.human, folder / "human.parquet")
        json_file("corpus.json", fake.corpus_report)(folder)

    (fake.path / "recipe.yaml").write_text(fake.recipe.to_yaml())
    (fake.path / "provenance.json").write_text(json.dumps(fake.provenance))
    store.commit(fake.path / "corpus", "corpus", {}, corpus)
    for g in fake.generations:
        table = pa.Table.from_pandas(fake.metrics.query(f"generation == {g}"), store.METRICS_SCHEMA)
        stages = {
            "mix": json_file("mix.json", fake.mixture(g)),
            "model": json_file("training.json", {"curve": fake.curve(g).to_dict("records")}),
            "sample": json_file("nothing.json", {}),
            "curate": lambda f, g=g: write_parquet(fake.candidates(g), f / "candidates.parquet"),
            "evaluate": lambda f, table=table: pq.write_table(table, f / "metrics.parquet"),
        }
        for stage, write in stages.items():
            store.commit(fake.path / f"gen-{g:02d}" / stage, f"gen-{g:02d}/{stage}", {}, write)
    return Run(fake.path)


def test_a_run_folder_gives_the_same_page_as_the_run_in_memory(page, tmp_path):
    from_disk = write_report([on_disk(FakeRun(tmp_path / "run"))])
    assert from_disk.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")


# --- people's votes -------------------------------------------------------------------------


class VotedRun(FakeRun):
    """A run on whose texts people voted: two raters agree, and the texts are hostile."""

    def __init__(self, path: Path, design="up_down"):
        super().__init__(path, text=HOSTILE)
        people = {"people": {"keep": 0.5, "ballot": {"design": design}}}
        self.recipe = Recipe(
            generations=2,
            mix={"human": "fresh", "human_tokens": 1000},
            crawl={"contamination": 0.5, "guard": [people]},
            curate=[people],
        )
        self.high, self.low = (5, 2) if design == "stars" else (1, 0)

    def candidates(self, generation):
        return self._voted({"text": [self._text, "other", "third", "early"]})

    def crawl(self, generation):
        origins = ["model", "human", "human", "model"]
        texts = ["posted", "real", "also real", "unseen"]
        return self._voted({"text": texts, "origin": ["human"] * 4, "true_origin": origins})

    def _voted(self, columns):
        marks = [[("r1", 0, self.high), ("r2", 0, self.high)], [("r1", 1, self.low)]]
        votes = [*map(json.dumps, [*marks, [("r2", 2, self.low)]]), None]
        rest = {
            "id": [f"g0-{i}" for i in range(4)],
            "origin": ["model"] * 4,
            "people_votes": votes,
            "ups": [2, 0, 0, None],
            "downs": [0, 1, 1, None],
            "rank": [1, 2, 3, None],
            "votes": [2.0, -1.0, -1.0, None],
            "kept": [True, False, False, False],
            "score": [1.0, -1.0, -1.0, None],
            "filter": ["", "people", "people", "length"],
            "reason": ["", "low", "low", "short"],
        }
        return documents(rest | columns)

    def records(self, generation, stage="curate"):
        if stage != "curate":
            return {}
        alpha = {"value": 0.25, "low": -0.5, "high": 0.75} if generation else None
        facts = {"votes": 4, "raters": ["r1", HOSTILE], "left_out": {HOSTILE: "random"}}
        return {"people 1": facts | {"alpha": alpha}, "other": {"warning": ""}}


@pytest.mark.parametrize("design", ["up_down", "stars"])
def test_peoples_votes_have_agreement_raters_origins_and_texts_side_by_side(tmp_path, design):
    section = people_section(VotedRun(tmp_path / "run", design))
    assert [(each.generation, each.alpha) for each in section.rounds] == [
        (0, "no value"),
        (1, "0.25 (-0.50 to 0.75)"),
    ]
    # Two upvotes on the model's text, two downvotes on the people's: the crawl knows whose it is.
    crawled = [each for each in section.shares if each.stage == "crawled text"]
    assert [(each.origin, each.texts, each.share) for each in crawled] == [
        ("human", 2, "0 %"),
        ("model", 1, "100 %"),
    ]
    # Three tables; in each r1 has an up and a down, r2 too.
    assert [(each.rater, each.votes, each.share) for each in section.raters] == [
        ("r1", 6, "50 %"),
        ("r2", 6, "50 %"),
    ]
    (kept, rejected), (nothing, also) = section.chosen[0].pairs
    assert (kept.text, kept.status, rejected.text, also.text) == (HOSTILE, "kept", "third", "other")
    assert nothing is None
    assert kept.votes == ("r1 5★, r2 5★" if design == "stars" else "r1 ▲, r2 ▲")


def test_peoples_hostile_texts_and_names_stay_text(tmp_path):
    page = write_report([VotedRun(tmp_path / "run"), FakeRun(tmp_path / "plain")])
    found = parsed(page)
    assert not {"script", "img"} & found.tags
    assert page.read_text(encoding="utf-8").count("People's votes") == 1  # of the first run alone


def test_a_run_without_people_has_no_section_about_them(tmp_path, page):
    assert people_section(FakeRun(tmp_path / "run")) is None
    assert "People's votes" not in page.read_text(encoding="utf-8")


# --- a population ---------------------------------------------------------------------------


class PopulationRun(FakeRun):
    """Members that learn half of their own text, a quarter of the next member, a quarter human.

    Member k has the metrics of one model plus k, and hostile texts.
    """

    def __init__(self, path: Path, members=3, generations=3):
        super().__init__(path, generations=generations)
        self.members = tuple(
            FakeRun(path / f"{k}", text=HOSTILE, generations=generations) for k in range(members)
        )
        for k, member in enumerate(self.members):
            member.shift = k

    @property
    def metrics(self):
        rows = [
            (g, "population", "population_distinct_2", "drawn", bin, value - 0.1 * g, 10, "")
            for g in self.generations
            for bin, value in (("", 0.8), ("within", 0.6))
        ]
        num = len(self.members)
        for g, i, j in itertools.product(self.generations, range(num), range(num)):
            value = 5 * math.e ** abs(i - j)  # e times as much for each step from reader to author
            pair = f"{i} on {j}"
            rows.append((g, "population", "cross_perplexity", "drawn", pair, value, 10, ""))
        rows = [(*row, math.nan, math.nan) for row in rows]
        return pd.concat([super().metrics, pd.DataFrame(rows, columns=store.METRICS_SCHEMA.names)])

    def lineage(self):
        num = len(self.members)
        rows = [(0, k, -1, -1, "tokens", 1.0) for k in range(num)]
        for g, k in itertools.product(range(1, len(self.generations)), range(num)):
            parents = [(-1, -1, 0.25), (g - 1, k, 0.5), (g - 1, (k + 1) % num, 0.25)]
            rows += [(g, k, p_g, p_k, "tokens", share) for p_g, p_k, share in parents]
            rows.append((g, k, g - 1, k, "weights", 1.0))
        names = ("generation", "member", "parent_generation", "parent_member", "by", "share")
        return pd.DataFrame(rows, columns=list(names))


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    """The page of a population of three, and the section it shows."""
    run = PopulationRun(tmp_path_factory.mktemp("runs") / "run")
    return write_report([run]), population_section(run, 0)


def test_a_run_of_one_model_has_no_population(page, tmp_path):
    assert population_section(FakeRun(tmp_path / "run"), 0) is None
    assert "<h2>Population</h2>" not in page.read_text(encoding="utf-8")


def test_a_population_has_pedigree_kinship_inbreeding_and_diversity(population):
    path, section = population
    text = path.read_text(encoding="utf-8")
    for figure in section.figures:
        assert f"<b>{figure.heading}</b>" in html.unescape(text)
    headings = [figure.heading for figure in section.figures]
    assert headings[:2] == ["Pedigree", "Kinship in generation 2"]
    assert len(headings) == 6
    assert "<b>Distinct-2 of the population</b>" not in text  # drawn once, in its section
    every = [each.attrib["id"] for each in elements(figures(path)) if "id" in each.attrib]
    assert len(every) == len(set(every))


def elements(svgs):
    return [element for svg in svgs for element in ElementTree.fromstring(svg).iter()]


def test_a_line_of_the_pedigree_is_as_wide_as_the_share_of_tokens(population):
    _, section = population
    styles = [e.attrib.get("style", "") for e in elements([section.figures[0].svg])]
    widths = Counter(re.findall(r"stroke-width: ([\d.]+)", "\n".join(styles)))
    # Three founders with all of their text from people; then six members with a half of their own.
    assert widths["7"] == 3
    assert widths["3.5"] == 6
    assert widths["1.75"] == 12  # a quarter of the next member, a quarter of people
    assert widths["1.4"] == 6  # of weights


def test_kinship_and_f_of_the_last_generation_are_written_in_the_figures(population):
    _, section = population
    pedigree = pedigree_of(PopulationRun.lineage(section_run(section)))
    last = pedigree.of_generation(2)
    text = "".join(ElementTree.fromstring(section.figures[1].svg).itertext())
    for value in pedigree.kinship(last, last).flat:
        assert f"{value:.2f}" in text
    f = pedigree.inbreeding(last).mean()
    assert f > 0
    assert f"F is {f:.2f} (" in section.sentences[1]


def test_what_a_text_costs_other_members_is_in_nats_above_its_author(population):
    _, section = population
    (figure,) = [each for each in section.figures if "each other's text" in each.heading]
    cells = [
        element.text
        for element in elements([figure.svg])
        if element.tag.endswith("text") and re.fullmatch(r"\d\.\d\d", element.text or "")
    ]
    assert Counter(cells)["0.00"] == 3
    assert Counter(cells)["1.00"] == 4
    assert Counter(cells)["2.00"] >= 2  # and perhaps a mark of the scale


def section_run(section):
    """A population as large as the section's, without a folder."""
    return SimpleNamespace(members=[None] * len(section.members), generations=[0, 1, 2])


def test_members_have_their_metrics_and_texts_side_by_side(population):
    path, section = population
    header, line = section.table.header, section.table.lines[0]
    assert header == ("metric", "split", "mean", "deviation", "member 0", "member 1", "member 2")
    # 1.2 in generation 2, one more in each next member: the deviation of 0, 1, 2 is 1.
    assert line == ("Perplexity", "held_out", "2.200", "1.000", "1.200", "2.200", "3.200")
    text = path.read_text(encoding="utf-8")
    assert [text.count(f"<th>member {k}</th>") for k in range(4)] == [1, 1, 1, 0]
    assert [len(row) for row in section.texts.rows] == [4, 4]  # human text, and three members


def test_the_texts_of_hostile_members_stay_texts(population):
    path, _ = population
    found = parsed(path)
    assert not {"script", "img"} & found.tags
    assert not [name for name, _ in found.attributes if name.startswith("on")]


def test_the_page_of_a_population_is_the_same_each_time(population, tmp_path):
    path, _ = population
    assert write_report([PopulationRun(tmp_path / "run")]).read_bytes() == path.read_bytes()


def test_a_member_alone_has_a_pedigree_and_nobody_to_differ_from(tmp_path):
    section = population_section(PopulationRun(tmp_path / "run", members=1), 0)
    assert [figure.heading for figure in section.figures][:2] == [
        "Pedigree",
        "Kinship in generation 2",
    ]
    assert not any("each other's text" in figure.heading for figure in section.figures)
    assert section.table.lines[0][2:] == ("1.200", "–", "1.200")  # mean, deviation, member 0


def test_a_large_population_says_what_is_not_drawn(tmp_path):
    section = population_section(PopulationRun(tmp_path / "run", members=20, generations=2), 0)
    assert "Not drawn: 4 more members." in section.figures[0].reading
    assert "4 more members are not drawn" in section.figures[1].reading
    assert "8 of 20 members" in section.figures[-1].reading
    assert "12 more members are in mean and deviation." in section.table.notes
    assert len(section.members) == 6
