"""Unlabelled model text among the human text: what is learned, and what a crawl filter may see."""

import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import textmad as tm
from tests.run_contents import check_resumed
from textmad.curation import Bots, Upvotes
from textmad.models.opening import open_model
from textmad.text.documents import content_id

LONGEST = 64  # tokens of a document at most
SEEN = []


@dataclass(frozen=True)
class Wordy:
    """Keeps the share whose words are most like certified human text, against known model text.

    Notes all that it can see.
    """

    keep: float = 0.6

    def __call__(self, candidates, context):
        earlier = [context.earlier(g) for g in range(context.generation)]
        SEEN.append((context.generation, candidates, context.human, earlier))
        human = counted(context.human["text"])
        model = counted(text for corpus in earlier for text in corpus["text"])
        odds = {w: np.log((human[w] + 1) / (model[w] + 1)) for w in human.keys() | model.keys()}
        score = np.array(
            [np.mean([odds.get(w, 0.0) for w in text.split()]) for text in candidates["text"]]
        )
        keep = np.zeros(len(score), dtype=bool)
        keep[np.argsort(-score, kind="stable")[: round(self.keep * len(score))]] = True
        return tm.Verdicts(keep, score, "its words are a model's")


def counted(texts):
    return Counter(word for text in texts for word in text.split())


@dataclass(frozen=True)
class EverySecond:
    """Keeps every second document, whatever it is."""

    def __call__(self, candidates, context):
        keep = np.arange(len(candidates)) % 2 == 0
        return tm.Verdicts(keep, np.zeros(len(keep)), "it is the second of two")


CRAWL = {"contamination": 0.4, "oversample": 2.0}
CROWD = Upvotes("variety", voters=10, keep=0.9, bots=Bots(share=0.2))


@pytest.fixture(scope="module")
def recipe(short_recipe: tm.Recipe) -> tm.Recipe:
    return short_recipe.replace(
        mix={"human_tokens": 600, "model_tokens": 300, "human": "fresh", "model": "all"},
        sample={"oversample": 1.3},
        evaluate=["guards", "votes"],
    )


@pytest.fixture(scope="module")
def guarded(recipe: tm.Recipe, tmp_path_factory: pytest.TempPathFactory) -> tm.Run:
    SEEN.clear()
    recipe = recipe.replace(crawl={**CRAWL, "guard": [Wordy(), CROWD]})
    return tm.run(recipe, tmp_path_factory.mktemp("crawl") / "guarded")


@pytest.fixture(scope="module")
def unguarded(recipe: tm.Recipe, tmp_path_factory: pytest.TempPathFactory) -> tm.Run:
    recipe = recipe.replace(generations=1, crawl={"contamination": 0.4})
    return tm.run(recipe, tmp_path_factory.mktemp("crawl") / "unguarded")


def value(run: tm.Run, metric: str, generation: int, split: str = "crawled", bin_: str = ""):
    rows = run.metrics.query(
        "metric == @metric and generation == @generation and split == @split and bin == @bin_"
    )
    return rows["value"].item()


def test_without_a_crawl_filter_the_share_that_is_learned_is_the_one_that_was_set(
    unguarded: tm.Run,
):
    counts = unguarded.mixture(1)
    assert 0 <= counts["human_tokens"] - 600 < LONGEST
    assert abs(counts["unlabelled_model_tokens"] - 0.4 * 600) < LONGEST
    posted = unguarded.crawl(1).to_pandas().query("true_origin == 'model'")
    learned = unguarded.training(1).to_pandas().query("origin == 'human'")
    unlabelled = learned[learned["id"].isin(posted["id"])]
    assert unlabelled["tokens"].sum() == counts["unlabelled_model_tokens"]
    assert "unlabelled_model_tokens" not in unguarded.mixture(0)


def test_a_crawl_filter_that_knows_words_lets_less_model_text_pass(guarded: tm.Run):
    for generation in (1, 2):
        before = value(guarded, "model_share", generation)
        assert before == pytest.approx(0.4, abs=LONGEST / 1200)
        assert value(guarded, "model_share", generation, "kept") < before
        assert value(guarded, "guard_auc", generation, bin_=f"{__name__}:Wordy") > 0.6
        assert value(guarded, "false_rejections", generation) > 0
        assert value(guarded, "misses", generation) < 1
        crawled = guarded.crawl(generation).to_pandas()
        learned = guarded.training(generation).to_pandas().query("origin == 'human'")
        kept = crawled[crawled["kept"]]
        assert learned["id"].tolist() == kept["id"].tolist()[: len(learned)]
    assert np.isnan(value(guarded, "model_share", 0))


def test_bots_among_the_crawl_filters_give_their_votes_to_model_text(guarded: tm.Run):
    crawled = guarded.crawl(1).to_pandas().dropna(subset="ups")
    theirs = crawled.loc[crawled["true_origin"] == "model", "ups"]
    assert theirs.min() >= 2
    share = theirs.sum() / crawled["ups"].sum()
    assert value(guarded, "votes_share", 1, bin_="model") == pytest.approx(share)
    assert crawled.loc[crawled["true_origin"] == "human", "ups"].min() < 2


def test_nothing_that_a_crawl_filter_sees_tells_whose_text_it_is_but_the_text(guarded: tm.Run):
    assert [seen[0] for seen in SEEN] == [1, 2]
    base = open_model(guarded.recipe.model, guarded.recipe.sample)
    for generation, candidates, human, earlier in SEEN:
        crawled = guarded.crawl(generation)
        assert candidates["text"][:] == crawled["text"][:]
        assert len(set(crawled["true_origin"])) == 2
        table = candidates.to_pandas()
        assert table.pop("id").tolist() == [content_id(text) for text in table["text"]]
        encoded = base.encode(table.pop("text").tolist())
        assert table.pop("tokens").tolist() == [len(ids) for ids in encoded]
        assert (table.nunique(dropna=False) == 1).all()
        # And nothing else holds a crawled text, whoever wrote it.
        texts = set(crawled["text"])
        assert not texts & set(human["text"])
        for corpus in earlier:
            assert len(corpus)
            assert not texts & {text.strip() for text in corpus["text"]}


def test_what_was_posted_without_a_label_is_nowhere_learned_with_one(guarded: tm.Run):
    posted = {
        name
        for generation in (1, 2)
        for name, origin in zip(
            *(guarded.crawl(generation)[column] for column in ("true_id", "true_origin")),
            strict=True,
        )
        if origin == "model"
    }
    for generation in (1, 2):
        training = guarded.training(generation)
        assert not posted & set(training["id"])
        assert len(set(training["id"])) == len(training)
        labelled = sum(origin == "model" for origin in training["origin"])
        assert labelled == guarded.mixture(generation)["model_documents"] > 0


def test_a_crawl_is_the_same_after_a_resume(guarded: tm.Run, tmp_path: Path):
    lost = [f"gen-02/{stage}" for stage in ("crawl", "mix", "evaluate")]
    check_resumed(guarded, tmp_path / "run", "gen-01/crawl", *lost)


# --- a larger crawl.oversample ------------------------------------------------------------------


def parquet_files(run: tm.Run):
    """The bytes of every table of a run."""
    return {p.relative_to(run.path): p.read_bytes() for p in run.path.glob("**/*.parquet")}


def test_a_run_whose_crawl_filters_kept_too_little_goes_on_with_a_larger_oversample(
    recipe: tm.Recipe, tmp_path: Path
):
    few = recipe.replace(
        generations=1, crawl={"contamination": 0.4, "oversample": 1.2, "guard": [EverySecond()]}
    )
    with pytest.raises(tm.CurationError, match=r"raise crawl\.oversample"):
        tm.run(few, tmp_path / "run")
    small = tm.Run(tmp_path / "run").crawl(1)
    more = few.replace(crawl={"oversample": 2.6})
    run = tm.run(more, tmp_path / "run")
    assert run.complete
    assert len(run.crawl(1)) > 1.8 * len(small)
    assert parquet_files(run) == parquet_files(tm.run(more, tmp_path / "anew"))
    extents = [session["extent"]["crawl_oversample"] for session in run.provenance["sessions"]]
    assert extents == [1.2, 2.6]


def test_a_crawl_that_was_learned_from_stays_and_the_next_is_larger_with_other_people(
    unguarded: tm.Run, tmp_path: Path
):
    folder = Path(shutil.copytree(unguarded.path, tmp_path / "run"))
    before = parquet_files(unguarded)
    more = unguarded.recipe.replace(generations=2, crawl={"oversample": 2.0})
    run = tm.run(more, folder)
    after = parquet_files(run)
    learned = [path for path in before if path.parts[0] == "gen-00" and path.parts[1] != "sample"]
    assert {path: after[path] for path in before if path.parts[:2] == ("gen-01", "crawl")} == {
        path: before[path] for path in before if path.parts[:2] == ("gen-01", "crawl")
    }
    assert all(after[path] == before[path] for path in learned)
    first, second = (run.crawl(g).to_pandas() for g in (1, 2))
    assert sum(second["tokens"]) > 1.7 * sum(first["tokens"])
    by_people = [set(crawl.query("true_origin == 'human'")["true_id"]) for crawl in (first, second)]
    assert not by_people[0] & by_people[1]
    with pytest.raises(tm.RecipeError, match=r"crawl\.oversample: 1: a crawl was made with 2"):
        tm.run(more.replace(crawl={"oversample": 1.0}), folder)


def test_generation_0_crawls_nothing(unguarded: tm.Run):
    manifest = json.loads((unguarded.path / "gen-00" / "mix" / "manifest.json").read_bytes())
    assert "crawl" not in manifest["inputs"]
    assert not (unguarded.path / "gen-00" / "crawl").exists()
    with pytest.raises(tm.RunError, match="generation 0 has no crawl"):
        unguarded.crawl(0)


def test_the_report_says_how_much_of_the_human_text_was_a_models(guarded: tm.Run, tmp_path: Path):
    page = tm.write_report([guarded], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "model tokens among the human ones" in page
    for generation in guarded.generations:
        unlabelled = guarded.mixture(generation).get("unlabelled_model_tokens", 0)
        assert f"<td>{unlabelled:,}</td></tr>" in page
