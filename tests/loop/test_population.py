"""Populations through the loop: what passes between members, and what does not."""

import gc
import shutil
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import textmad as tm
from tests.run_contents import contents
from textmad.cli.show import show
from textmad.loop.feasibility import check_kept_text, check_members_corpus
from textmad.loop.parents import lineage_rows
from textmad.loop.recursion import begun
from textmad.loop.selection import p_value_of_worse
from textmad.planning.make import make_plan
from textmad.progress import SilentProgress

TOKENS = 13  # of a document: twelve words and the end


@pytest.fixture(scope="module")
def posts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """900 documents of random words, half of them of each of two communities."""
    rng = np.random.default_rng(0)
    rows = [
        {"text": " ".join(f"w{word}" for word in rng.integers(0, 40, 12)), "place": f"p{i % 2}"}
        for i in range(900)
    ]
    path = tmp_path_factory.mktemp("posts") / "posts.jsonl"
    pd.DataFrame(rows).to_json(path, orient="records", lines=True)
    return path


def recipe(posts: Path, population: dict | None = None, **changes) -> tm.Recipe:
    alone = tm.Recipe(
        generations=2,
        corpus={"source": str(posts), "near_duplicate": 1.0, "min_words": 1},
        model={"base": "categorical", "categories": 40, "smoothing": 1.0},
        mix={"human_tokens": 10 * TOKENS, "model_tokens": 20 * TOKENS},
        sample={"min_tokens": 30 * TOKENS, "max_new_tokens": TOKENS},
        evaluate=["perplexity"],
    )
    return alone.replace(population=population, **changes)


def without_ids(run: tm.Run, generation: int) -> pd.DataFrame:
    return run.candidates(generation).to_pandas().drop(columns="id")


def sources(run: tm.Run, generation: int) -> dict[tuple[int, int], int]:
    return {(s["generation"], s["member"]): s["tokens"] for s in run.sources(generation)}


def test_members_without_migration_are_separate_runs(posts: Path, tmp_path: Path):
    given = recipe(posts, {"members": 2})
    together = tm.run(given, tmp_path / "together")
    for k, member in enumerate(together.members):
        alone = tm.run(recipe(posts, seed=given.of_member(k).seed), tmp_path / f"alone-{k}")
        for generation in range(3):
            pd.testing.assert_frame_equal(
                without_ids(member, generation), without_ids(alone, generation)
            )
            for name in ("model", "evaluate"):
                stages = member.path / f"gen-0{generation}" / f"member-{k}", alone.path
                ours, theirs = stages[0] / name, stages[1] / f"gen-0{generation}" / name
                for file in theirs.iterdir():
                    if file.name not in ("manifest.json", "held_out_losses.parquet"):
                        assert file.read_bytes() == (ours / file.name).read_bytes(), file
        pd.testing.assert_frame_equal(member.metrics, alone.metrics)
    ids = together.candidates(1)["id"][:]
    assert len(set(ids)) == len(ids)
    assert ids[0] == "m0-g1-0"


def test_the_metrics_of_a_population_are_means_over_its_members(posts: Path, tmp_path: Path):
    run = tm.run(recipe(posts, {"members": 3, "text": "pool"}), tmp_path / "run")
    key = ["generation", "metric", "split", "bin"]
    of_members = pd.concat([member.metrics for member in run.members])
    expected = of_members.groupby(key)["value"].mean()
    means = run.metrics[run.metrics["evaluator"] != "population"].set_index(key)["value"]
    pd.testing.assert_series_equal(means.sort_index(), expected.sort_index())
    assert not run.metrics.query("evaluator == 'population'").empty
    assert run.complete
    assert run.generations == [0, 1, 2]


@pytest.mark.parametrize(
    ("population", "expected"),
    [
        ({"members": 3, "text": "others"}, {1: 10, 2: 10}),
        ({"members": 3, "text": "pool"}, {0: 7, 1: 7, 2: 7}),  # of 6.67 documents, each rounded up
        ({"members": 3, "text": "own", "migration": 0.5}, {0: 10, 1: 5, 2: 5}),
        ({"members": 4, "text": "others", "graph": "ring"}, {1: 10, 3: 10}),
        ({"members": 4, "text": "others", "graph": "islands"}, {1: 20}),
        (
            {"members": 4, "text": "pool", "graph": "islands", "migration": 0.1},
            {0: 9, 1: 9, 2: 1, 3: 1},
        ),
        ({"members": 2}, {0: 20}),
    ],
)
def test_a_member_learns_the_stated_shares(posts, tmp_path, population, expected):
    run = tm.run(recipe(posts, population, generations=1), tmp_path / "run")
    human = {(-1, -1): 10 * TOKENS}
    model = {(0, member): documents * TOKENS for member, documents in expected.items()}
    assert sources(run.members[0], 1) == human | model
    lineage = run.lineage().query("generation == 1 and member == 0")
    total = sum(expected.values()) + 10
    assert dict(zip(lineage["parent_member"], lineage["share"], strict=True)) == pytest.approx(
        {-1: 10 / total, **{member: n / total for member, n in expected.items()}}
    )


def test_accumulated_text_of_partners_keeps_its_generations(posts: Path, tmp_path: Path):
    run = tm.run(
        recipe(posts, {"members": 2, "text": "pool"}, mix={"model": "all"}), tmp_path / "run"
    )
    assert sources(run.members[1], 2) == {
        (-1, -1): 10 * TOKENS,
        **{(generation, member): 10 * TOKENS for generation in (0, 1) for member in (0, 1)},
    }


def test_unrelated_members_are_mated_first(posts: Path, tmp_path: Path):
    population = {"members": 4, "text": "pool", "graph": "unrelated"}
    run = tm.run(recipe(posts, population, mix={"human_tokens": 0}), tmp_path / "run")
    lineage = run.lineage().query("by == 'tokens'")

    def parents(generation: int, member: int) -> set[int]:
        rows = lineage.query(f"generation == {generation} and member == {member}")
        return set(rows["parent_member"])

    first = [parents(1, member) for member in range(4)]
    assert first == [{0, 1}, {1, 2}, {2, 3}, {3, 0}]  # all are unrelated: the next on the ring
    for member in range(4):
        one, other = parents(2, member)
        assert not first[one] & first[other]  # mates that share no parent
    metrics = run.metrics.query("metric == 'inbreeding' and bin == ''").set_index("generation")
    assert metrics["value"].to_dict() == pytest.approx({0: 0, 1: 0, 2: 0}, abs=1e-3)


def test_selfing_is_inbreeding(posts: Path, tmp_path: Path):
    run = tm.run(recipe(posts, {"members": 2}, mix={"human_tokens": 0}), tmp_path / "run")
    metrics = run.metrics.query("metric == 'inbreeding' and bin == ''").set_index("generation")
    assert metrics["value"].to_dict() == {0: 0, 1: 0.5, 2: 0.75}


def test_members_learn_the_text_of_their_community(posts: Path, tmp_path: Path):
    given = recipe(
        posts,
        {"members": 2, "communities": ["p0", "p1"]},
        corpus={"columns": {"community": "place"}},
    )
    run = tm.run(given, tmp_path / "run")
    for k, member in enumerate(run.members):
        human = [c for c in member.training(0)["community"][:] if c is not None]
        assert set(human) == {f"p{k}"}
    assert run.members[0].held_out["id"][:] == run.members[1].held_out["id"][:]


def test_the_base_model_continues_prompts_of_the_members_community(posts: Path, tmp_path: Path):
    given = tm.Recipe(
        corpus={"source": str(posts), "min_words": 1, "columns": {"community": "place"}},
        model={"base": "tiny-gpt2"},
        mix={"model_tokens": 100},
        sample={"min_tokens": 100, "max_new_tokens": 4, "prompt": "human", "prompt_tokens": 12},
        population={"members": 2, "communities": ["p0", "p1"]},
    )
    with begun(given, tmp_path / "run", SilentProgress()) as loop:
        loop.gather()
    run = tm.Run(tmp_path / "run")
    for member, other in (run.members, run.members[::-1]):
        prompts = set(member.base_text["prompt"])
        assert len(prompts) > 10
        assert all(any(text.startswith(p) for text in member.human["text"]) for p in prompts)
        assert not any(text.startswith(p) for text in other.human["text"] for p in prompts)


def test_arms_of_other_communities_share_no_mixture(posts: Path, tmp_path: Path):
    """The key of a member's mixture holds its community, which no earlier stage does."""
    given = recipe(posts, corpus={"columns": {"community": "place"}}, generations=0)
    arms = {
        name: {"population": {"members": 2, "communities": places}}
        for name, places in {"all": [], "ab": ["p0", "p1"], "ba": ["p1", "p0"]}.items()
    }
    study = {"recipe": given.dump(), "arms": arms, "seeds": [0], "controls": {"human": "none"}}
    runs = tm.study(study, tmp_path / "study", jobs=1)
    learned = {
        name: [set(member.training(0)["community"][:]) for member in run.members]
        for name, [run] in runs.items()
    }
    assert learned["all"] == [{"p0", "p1"}] * 2
    assert learned["ab"] == [{"p0"}, {"p1"}]
    assert learned["ba"] == [{"p1"}, {"p0"}]


def test_members_differ_where_the_recipe_says_so(posts: Path, tmp_path: Path):
    population = {"members": 2, "each": [{}, {"sample": {"temperature": 0.2}}]}
    run = tm.run(recipe(posts, population, generations=0), tmp_path / "run")
    assert [member.recipe.sample.temperature for member in run.members] == [1.0, 0.2]
    words = [len(set(" ".join(m.sampled(0)["text"][:]).split())) for m in run.members]
    assert words[1] < words[0] == 40
    base = [set(" ".join(m.base_text["text"][:]).split()) for m in run.members]
    assert (run.path / "member-1" / "base").is_dir()
    assert base[0] != base[1] or not base[0]


@pytest.fixture(scope="module")
def selected(posts: Path, tmp_path_factory: pytest.TempPathFactory) -> tm.Run:
    population = {"members": 3, "select": {"keep": 1, "tokens": 20 * TOKENS}}
    return tm.run(recipe(posts, population), tmp_path_factory.mktemp("selected") / "run")


def test_the_member_with_the_lowest_loss_has_all_children(selected: tm.Run):
    selection = selected.selection(0)
    best = int(np.argmin(selection["scores"]))
    assert selection["kept"] == [best]
    assert selection["standing"] == [[0, best]] * 3
    assert [set(sources(m, 1)) for m in selected.members] == [{(-1, -1), (0, best)}] * 3


def test_too_little_human_text_for_a_selection_is_an_error_before_anything_is_learned(
    selected: tm.Run, tmp_path: Path
):
    # The members of generations 0 and 1 are selected; those of generation 2 have no children.
    learned = {d for m in selected.members for g in range(2) for d in m.training(g)["id"][:]}
    human = selected.human.to_pandas()
    left = int(human["tokens"][~human["id"].isin(learned)].sum())
    enough = selected.recipe.replace(population={"select": {"tokens": left}})
    check_members_corpus(enough, selected.human)
    given = enough.replace(population={"select": {"tokens": left + 1}})
    message = (
        f"population.select.tokens: {left + 1:,}: the human training pool has {left:,} tokens that "
        "no member has learned up to generation 1: lower it, mix.human_tokens, generations or "
        "members, or give a larger corpus"
    )
    for stops in (lambda: make_plan(given), lambda: tm.run(given, tmp_path / "run")):
        with pytest.raises(tm.CorpusError) as error:
            stops()
        assert str(error.value) == message
    assert not (tmp_path / "run" / "gen-00").exists()
    # Votes need no such text.
    votes = {"population": {"select": {"by": "votes"}}, "curate": [{"upvotes": {"keep": 0.9}}]}
    check_members_corpus(given.replace(**votes, sample={"oversample": 2.0}), selected.human)


@pytest.mark.parametrize(
    ("changed", "oversample", "message"),
    [
        (
            {"oversample": 1.0},
            3.0,
            "population.each.1.sample.oversample: 1: the filters keep at most about 195 of 390 "
            "tokens, 260 are needed: set population.each.1.sample.oversample to 3, or keep more",
        ),
        (
            {"temperature": 0.5},
            1.0,
            "sample.oversample: 1: the filters keep at most about 195 of 390 tokens, 260 are "
            "needed: set sample.oversample to 3, or keep more",
        ),
    ],
)
def test_a_member_that_keeps_too_little_is_an_error_before_anything_is_computed(
    posts: Path, changed, oversample, message
):
    population = {"members": 2, "each": [{"sample": {"oversample": 3.0}}, {"sample": changed}]}
    given = recipe(posts, population, curate=[{"random": {"keep": 0.5}}])
    with pytest.raises(tm.RecipeError) as error:
        check_kept_text(given.replace(sample={"oversample": oversample}))
    assert str(error.value) == message
    each = [{"sample": {"oversample": 3.0}}] * 2
    check_kept_text(given.replace(population={"each": each}))  # nobody samples as `sample` says


def test_selection_reads_no_document_that_a_member_has_learned(selected: tm.Run):
    learned = {
        document for m in selected.members for g in range(3) for document in m.training(g)["id"][:]
    }
    model = selected.members[0].model(0)
    chosen = [
        t
        for i, t in zip(selected.human["id"], selected.human["text"], strict=True)
        if i not in learned
    ]
    assert selected.selection(0)["documents"] == 20
    assert len(chosen) > 20
    # The score of a member is a mean over the tokens of such documents, so between their extremes.
    means = [nll.mean() for nll in model.token_nll(chosen)]
    assert min(means) <= selected.selection(0)["scores"][0] <= max(means)


def test_a_generation_that_is_worse_is_undone(posts: Path, tmp_path: Path):
    """From six documents a generation loses words, and an unseen word is costly."""
    population = {"members": 2, "select": {"keep": 2, "undo": True, "tokens": 40 * TOKENS}}
    given = recipe(posts, population, mix={"human_tokens": 0, "model_tokens": 6 * TOKENS})
    given = given.replace(model={"smoothing": 0.05})
    run = tm.run(given, tmp_path / "run")
    first, second = run.selection(0), run.selection(1)
    assert first["standing"] == [[0, 0], [0, 1]]
    for k in range(2):
        is_worse = second["p_values"][k] < 0.05
        assert second["standing"][k] == ([0, k] if is_worse else [1, k])
        assert set(sources(run.members[k], 2)) == {tuple(second["standing"][k])}
    assert second["undone"], "no generation was worse: the recipe is too mild for this test"


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        ([1.0, np.inf], [1.0, 2.0], 0.0),  # lost a word for ever, of which there is no t test
        ([1.0, 2.0], [1.0, np.inf], 1.0),
        ([np.inf, 2.0], [1.0, np.inf], 1.0),
        ([3.0], [1.0], 1.0),  # one document
        ([1.0, 2.0], [1.0, 2.0], 1.0),
        ([3.0, 5.0], [1.0, 1.0], 0.5 - np.arctan(3.0) / np.pi),  # t = 3 with 1 degree of freedom
    ],
)
def test_the_p_value_of_a_generation_that_is_worse(new, old, expected):
    """Student's t with one degree of freedom is Cauchy: P(T > t) = 1/2 - arctan(t) / pi."""
    assert p_value_of_worse(np.array(new), np.array(old)) == pytest.approx(expected)


def test_one_document_undoes_nothing(posts: Path, tmp_path: Path):
    population = {"members": 2, "select": {"keep": 2, "undo": True, "tokens": 1}}
    run = tm.run(recipe(posts, population), tmp_path / "run")
    assert run.selection(1)["documents"] == 1
    assert run.selection(1)["p_values"] == [1.0, 1.0]


@pytest.mark.parametrize("name", ["upvotes", "twin upvotes"])
def test_votes_choose_members_on_one_page(posts: Path, tmp_path: Path, name: str):
    population = {"members": 2, "select": {"keep": 1, "by": "votes"}}
    curate = [{name: {"scorer": f"{__name__}:{zeros.__name__}", "keep": 0.9}}]
    given = recipe(posts, population, curate=curate, sample={"oversample": 2.0}, generations=1)
    run = tm.run(given, tmp_path / "run")
    zeros_of = [
        np.mean([zeros([text])[0] for text in member.sampled(0)["text"][:]])
        for member in run.members
    ]
    assert run.selection(0)["kept"] == [int(np.argmax(zeros_of))]


def zeros(texts: list[str]) -> list[float]:
    """The share of words that are w0 to w9."""
    return [np.mean([len(word) == 2 for word in text.split()]) for text in texts]


def test_members_side_by_side_give_the_same_bytes(posts: Path, tmp_path: Path):
    population = {"members": 3, "text": "pool", "select": {"keep": 2, "tokens": 20 * TOKENS}}
    one = tm.run(recipe(posts, population), tmp_path / "one")
    two = tm.run(recipe(posts, population), tmp_path / "two", jobs=2)
    assert contents(two.path) == contents(one.path)


def test_an_error_in_a_member_of_another_process_is_that_error(posts: Path, tmp_path: Path):
    curate = [{"length": {"min_words": 50}}]
    given = recipe(posts, {"members": 2}, curate=curate)
    with pytest.raises(tm.CurationError, match="kept none of"):
        tm.run(given, tmp_path / "run", jobs=2)


def test_a_run_of_one_model_has_no_members_to_compute_side_by_side(posts: Path, tmp_path: Path):
    with pytest.raises(tm.RecipeError, match="--jobs 2: computes the members of a population"):
        tm.run(recipe(posts), tmp_path / "run", jobs=2)


@pytest.mark.parametrize(
    "stage", ["gen-01/member-1/mix", "gen-01/select", "gen-02/population", "gen-02/member-0/curate"]
)
def test_an_interrupted_population_goes_on_to_the_same_bytes(posts, tmp_path, stage):
    population = {"members": 2, "text": "pool", "select": {"keep": 1, "tokens": 20 * TOKENS}}
    run = tm.run(recipe(posts, population), tmp_path / "run")
    results = contents(run.path)
    order = ["mix", "model", "sample", "curate", "evaluate", "population", "select"]
    generation, name = stage.split("/")[0], stage.split("/")[-1]
    for path in sorted(run.path.glob("gen-*/**/manifest.json")):
        where = path.parent.relative_to(run.path).as_posix().split("/")
        if (where[0], order.index(where[-1])) >= (generation, order.index(name)):
            shutil.rmtree(path.parent)
    tm.run(recipe(posts, population), run.path)
    assert contents(run.path) == results


def test_more_text_can_be_asked_for_where_a_partner_kept_too_little(posts: Path, tmp_path: Path):
    population = {"members": 2, "text": "others"}
    curate = [{"random": {"keep": 0.5}}]
    given = recipe(posts, population, sample={"oversample": 2.5, "min_tokens": 1}, curate=curate)
    longer = given.replace(sample={"oversample": 3.0})
    whole = tm.run(longer, tmp_path / "whole")
    tm.run(given.replace(generations=0), tmp_path / "run")
    extended = tm.run(longer, tmp_path / "run")
    for generation in range(3):
        assert extended.candidates(generation).to_dict() == whole.candidates(generation).to_dict()


def test_a_member_that_samples_more_text_does_not_stop_the_run_from_going_on(posts, tmp_path):
    population = {"members": 2, "each": [{}, {"sample": {"oversample": 3.0}}]}
    given = recipe(posts, population, generations=0)
    tm.run(given, tmp_path / "run")
    run = tm.run(given.replace(generations=1), tmp_path / "run")
    assert run.complete
    with pytest.raises(tm.RecipeError, match=r"population\.each\.1\.sample\.oversample"):
        tm.run(given.replace(population={"each": [{}, {}]}), tmp_path / "run")


@pytest.mark.parametrize(
    ("population", "message"),
    [
        ({"members": 0}, "population.members: 0: expected at least 1"),
        (
            {"members": 2, "text": "mine"},
            "population.text: mine: expected 'own', 'others' or 'pool'",
        ),
        ({"members": 2, "migration": 2}, "population.migration: 2: expected at most 1"),
        (
            {"members": 1, "text": "others"},
            "population: text, weights: ask for partners, and members is 1: raise it",
        ),
        (
            {"members": 1, "migration": 0.1},
            "population.migration: there is one member: raise members",
        ),
        (
            {"members": 3, "graph": "islands"},
            "population.island_size: 2: expected a divisor of members, 3",
        ),
        (
            {"members": 3, "island_size": 3},
            "population.island_size: 3: has no effect while graph is all; set graph: "
            "islands, or delete it",
        ),
        (
            {"members": 2, "graph": "islands", "migration": 0.1},
            "population.migration: there is one island: raise members, or lower island_size",
        ),
        (
            {"members": 2, "text": "pool", "migration": 0.1},
            "population.migration: 0.1: has no effect while text is pool; set text: "
            "own or graph: islands, or delete it",
        ),
        (
            {"members": 2, "graph": "ring"},
            "population.graph: ring: has no effect while nothing comes from "
            "partners; set text, migration or weights, or delete it",
        ),
        (
            {"members": 2, "each": [{}]},
            "population.each: 1 entries: expected one for each of the 2 members",
        ),
        (
            {"members": 2, "communities": ["a"]},
            "population.communities: 1 entries: expected one for each of the 2 members",
        ),
        (
            {"members": 2, "each": [{}, {"train": {"lr": 1}}]},
            "population.each.1.train.lr: unknown setting; did you mean learning_rate?",
        ),
        (
            {"members": 2, "weights": {"own": 0, "partners": 0}},
            "population.weights: own and partners are both 0: that is the base model; raise either",
        ),
        (
            {"members": 2, "weights": {"own": -1.0, "cross": "layers"}},
            "population.weights.cross: layers: weights are the chances of a layer "
            "there: expected own and partners of at least 0",
        ),
        (
            {"members": 2, "select": {"keep": 3}},
            "population.select.keep: 3: expected at most members, 2",
        ),
        (
            {"members": 2, "select": {"keep": 2}},
            "population.select: keeps all 2 members: lower keep, set undo, or delete it",
        ),
        (
            {"members": 2, "select": {"keep": 1, "level": 0.1}},
            "population.select.level: 0.1: has no effect while undo is false; set "
            "undo: true, or delete it",
        ),
        (
            {"members": 2, "select": {"keep": 1, "by": "votes"}},
            "population.select.by: votes: no crowd votes on the text: add upvotes to "
            "curate, or set by: loss",
        ),
        (
            {"members": 2, "text": "pool", "graph": "unrelated", "select": {"keep": 1}},
            "population.select: kinship of members whose place went to another is "
            "not followed: choose another graph, or delete it",
        ),
    ],
)
def test_a_bad_setting_is_named(population, message):
    with pytest.raises(tm.errors.RecipeError) as error:
        tm.Recipe(population=population)
    assert str(error.value).splitlines()[1:] == [f"  {message}"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"crawl": {"contamination": 0.1}, "mix": {"human_tokens": 10}},
            "crawl: is not possible in a population; delete crawl or population",
        ),
        (
            {"curate": ["people"]},
            "curate.0: people: people vote on the text of one model: is not possible "
            "in a population; use upvotes with simulated voters, or delete population",
        ),
        (
            {
                "curate": [
                    {"upvotes": {"scorer": {"fluency": 1, "variety": 1}, "crowd": {"drift": 0.5}}}
                ],
                "population": {"members": 2, "select": {"keep": 1, "by": "votes"}},
            },
            "population.select.by: votes: the crowd that compares members is a new one in each "
            "generation, and the taste of upvotes drifts: set by: loss, or delete crowd.drift",
        ),
        (
            {"mix": {"human_tokens": 10, "model_tokens": 0}},
            "population: no text passes between members while mix.model_tokens is 0; "
            "raise it, or delete text and migration",
        ),
        (
            {"mix": {"model": "all"}},
            "mix.model: all: is not possible while population.select replaces "
            "members; set mix.model: latest, or delete select",
        ),
        (
            {"model": {"start_from": "previous"}},
            "model.start_from: previous: has no effect while population.weights says "
            "where a model starts; delete one of them",
        ),
    ],
)
def test_what_a_population_excludes_is_named(changes, message):
    population = {"members": 2, "text": "pool", "weights": {}, "select": {"keep": 1}}
    with pytest.raises(tm.errors.RecipeError) as error:
        tm.Recipe(**{"population": population, **changes})
    assert str(error.value).splitlines()[1:] == [f"  {message}"]


class Crossing:
    """A member whose weights cancel out, and that learns the text of two members."""

    number = 0

    def sources(self, generation: int) -> list[dict[str, int]]:
        return [{"generation": 0, "member": 1, "tokens": 5}]

    def starting_weights(self, generation: int) -> list[dict]:
        return [{"generation": 0, "member": 1, "weight": 0.0}]

    def imitates(self, generation: int) -> bool:
        return True


def test_weights_that_cancel_out_have_no_parent():
    assert lineage_rows([Crossing()], 1) == [(1, 0, 0, 1, "tokens", 1.0)]


# --- commands and folders -------------------------------------------------------------------


def test_the_lineage_of_a_member_is_its_own_rows(selected: tm.Run):
    whole = selected.lineage()
    for member in selected.members:
        own = whole[whole["member"] == member.number].reset_index(drop=True)
        pd.testing.assert_frame_equal(member.lineage(), own)


def test_show_names_the_model_of_each_member(selected: tm.Run, capsys):
    show(selected.path)
    shown = capsys.readouterr().out
    for k in range(3):
        assert f"model        {selected.path}/gen-02/member-{k}/model\n" in shown


def test_a_population_without_evaluators_has_a_report(posts: Path, tmp_path: Path):
    run = tm.run(recipe(posts, {"members": 2}, evaluate=[], generations=1), tmp_path / "run")
    tm.write_report([run], tmp_path / "report.html")
    assert "Inbreeding by generation" in (tmp_path / "report.html").read_text()


# --- networks -------------------------------------------------------------------------------


def network_recipe(short_recipe: tm.Recipe, population: dict, **changes) -> tm.Recipe:
    return short_recipe.replace(**{"population": population, "generations": 1, **changes})


def weights(run: tm.Run, member: int, generation: int) -> dict[str, np.ndarray]:
    """All weights of a member's model, as one network."""
    network = run.members[member].model(generation)._network
    return {name: value.numpy() for name, value in network.state_dict().items()}


@pytest.mark.parametrize(("own", "partners"), [(0.5, 0.5), (-0.5, 0.0)])
def test_a_child_that_learns_nothing_is_the_crossing_of_its_parents(
    short_recipe, tmp_path, own, partners
):
    settings = {"own": own, "partners": partners, "learn": False}
    population = {"members": 2, "weights": settings, "each": [{}, {"model": {"lora": {"rank": 3}}}]}
    run = tm.run(network_recipe(short_recipe, population), tmp_path / "run")
    base = {n: v.numpy() for n, v in run.members[0].base._network.state_dict().items()}
    parents, child = [weights(run, k, 0) for k in range(2)], weights(run, 0, 1)
    changed = 0
    for name, value in base.items():
        step = own * (parents[0][name] - value) + partners * (parents[1][name] - value)
        np.testing.assert_allclose(child[name], value + step, atol=1e-5)
        changed += int(np.abs(step).max() > 1e-4)
    assert changed > 5
    expected = [{"generation": 0, "member": 0, "weight": own}]
    if partners:
        expected.append({"generation": 0, "member": 1, "weight": partners})
    assert run.members[0].starting_weights(1) == expected
    # It has learned no text: its parents are those of its weights, unrelated ones or itself.
    assert set(run.lineage().query("generation == 1")["by"]) == {"weights"}
    metrics = run.metrics.query("metric == 'inbreeding' and bin == 'member 0' and generation == 1")
    assert metrics["value"].tolist() == [0.0 if partners else 0.5]


def test_the_members_of_a_population_share_one_base_model(short_recipe, tmp_path, monkeypatch):
    from textmad.models.causal_lm import model

    opened = []
    original = model.open_base
    monkeypatch.setattr(model, "open_base", lambda s: opened.append(s.base) or original(s))
    population = {"members": 3, "each": [{}, {"model": {"lora": {"rank": 2}}}, {}]}
    run = tm.run(network_recipe(short_recipe, population, generations=0), tmp_path / "run")
    assert len(opened) == 1
    assert [member.recipe.model.lora.rank for member in run.members] == [8, 2, 8]
    # A document that a member of another rank has sampled is the same in a run of its own.
    alone = tm.run(run.members[1].recipe.replace(generations=0), tmp_path / "alone")
    assert alone.sampled(0)["text"][:] == run.members[1].sampled(0)["text"][:]


def test_the_models_of_a_finished_run_are_freed_before_the_next_run_of_a_study(
    posts: Path, tmp_path: Path, monkeypatch
):
    from textmad.loop.member import Member
    from textmad.progress import SilentProgress
    from textmad.studies.engines.local import Job, compute

    alive: weakref.WeakSet[Member] = weakref.WeakSet()
    original = Member.__init__

    def noted(self, *arguments, **named) -> None:
        alive.add(self)
        original(self, *arguments, **named)

    monkeypatch.setattr(Member, "__init__", noted)
    gc.collect()
    gc.disable()  # what refers to itself in a circle would wait for it
    try:
        given = recipe(posts, {"members": 2, "text": "pool"}, generations=1)
        job = Job(str(tmp_path), "arm/seed-0", given.dump(), cpu_threads=1)
        assert compute(job, SilentProgress()) is None
        assert not alive
    finally:
        gc.enable()


def test_a_member_goes_on_from_the_model_of_the_selected_one(short_recipe, tmp_path):
    population = {"members": 2, "select": {"keep": 1, "tokens": 300}}
    given = network_recipe(short_recipe, population, model={"start_from": "previous"})
    run = tm.run(given, tmp_path / "run")
    [[_, best], _] = run.selection(0)["standing"]
    for member in run.members:
        assert member.starting_weights(1) == [{"generation": 0, "member": best, "weight": 1.0}]


def test_a_member_learns_by_preference_what_was_judged_of_its_own_text(short_recipe, tmp_path):
    given = network_recipe(
        short_recipe,
        {"members": 2, "text": "pool"},
        curate=[{"random": {"keep": 0.5}}],
        sample={"oversample": 3.0},
        train={"preference": {"loss": "kto", "batch_documents": 16}},
    )
    run = tm.run(given, tmp_path / "run")
    for member in run.members:
        learned, judged = member.preference(1), member.candidates(0)
        assert learned["accepted"] == sum(judged["kept"])
        assert learned["accepted"] + learned["rejected"] == len(judged)
    with pytest.raises(tm.RunError, match="each of its 2 members has model of its own"):
        run.preference(1)
    with pytest.raises(tm.RunError, match="only members of a population have parents"):
        run.sources(1)


def test_members_know_each_other_wherever_a_run_is_opened(posts: Path, tmp_path: Path):
    """A member without the others keeps its models open, and would mix its own text alone."""
    from textmad.loop.recursion import begun
    from textmad.progress import SilentProgress

    with begun(recipe(posts, {"members": 2}), tmp_path / "run", SilentProgress()) as loop:
        assert all(member.relatives is not None for member in loop.members)


def test_a_run_of_one_model_has_no_member(posts: Path, tmp_path: Path):
    run = tm.run(recipe(posts, generations=0), tmp_path / "run")
    message = "member 0: the members of this run are none, there is no population"
    with pytest.raises(tm.RecipeError, match=message):
        _ = tm.Run(run.path, member=0).generations


def test_preference_alone_is_not_possible_in_a_population():
    message = "instead_of_imitation: true: is not possible in a population"
    with pytest.raises(tm.RecipeError, match=message):
        tm.Recipe(
            population={"members": 2},
            curate=["random"],
            train={"preference": {"loss": "kto", "instead_of_imitation": True}},
        )


def test_a_base_model_that_cannot_be_crossed_is_named(tmp_path: Path):
    rng = np.random.default_rng(0)
    numbers = tmp_path / "numbers.txt"
    numbers.write_text(
        "".join(" ".join(f"{x:.3f}" for x in row) + "\n" for row in rng.normal(size=(200, 12)))
    )
    given = tm.Recipe(
        generations=1,
        corpus={"source": str(numbers), "near_duplicate": 1.0, "min_words": 1},
        model={"base": "gaussian"},
        mix={"model_tokens": 20 * TOKENS},
        sample={"min_tokens": 30 * TOKENS, "max_new_tokens": TOKENS},
        evaluate=[],
        population={"members": 2, "weights": {}},
    )
    message = r"population\.weights: the model gaussian cannot cross weights"
    with pytest.raises(tm.errors.ModelError, match=message):
        tm.run(given, tmp_path / "run")


def test_a_population_is_planned_studied_reported_and_sampled(short_recipe, tmp_path):
    given = short_recipe.replace(
        population={"members": 2, "text": "pool"}, generations=1, mix={"human_tokens": 0}
    )
    alone = tm.make_plan(given.replace(population=None))
    plan = tm.make_plan(given)
    assert "population     2 members, each of which takes the tokens below" in plan.to_text()
    # Corpus and base text once; five stages of each member and one of all, in two generations.
    assert (alone.stages, plan.stages) == (2 + 2 * 5, 2 + 2 * (2 * 5 + 1))
    study = {"recipe": given.dump(), "seeds": [0], "controls": {"human": "fresh"}}
    runs = tm.study(study, tmp_path / "study", jobs=1)
    control = runs["human only"][0]
    assert [m.mixture(1)["model_tokens"] for m in control.members] == [0, 0]
    table = tm.compare([str(tmp_path / "study")])
    assert table is not None
    loop = next(run for name, [run] in runs.items() if name != "human only")
    page = tmp_path / "report.html"
    tm.write_report([loop], page)
    assert "<h1" in page.read_text()
    with pytest.raises(
        tm.RunError, match="is a population: each of its 2 members has model of its own"
    ):
        loop.sample(1)
    assert len(tm.Run(loop.path, member=1).sample(1, num=2)) == 2
    with pytest.raises(tm.RecipeError, match="member 2: the members of this run are 0 to 1"):
        tm.Run(loop.path, member=2).sample(1)
