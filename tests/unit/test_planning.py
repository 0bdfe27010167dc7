"""`textmad plan`: what can be known before spending."""

import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import textmad as tm
from textmad.planning import (
    CrawlPlan,
    Plan,
    Rates,
    Seconds,
    Speed,
    StudyPlan,
    make_plan,
    make_study_plan,
    throughput,
)
from textmad.planning.scoring_cost import held_out_sizes, scored_tokens
from textmad.planning.throughput import Turn, Work, speed_of
from textmad.planning.work_time import Reading, seconds_between, timed
from textmad.studies import parse_study

WORDS = ["tea", "milk", "rain", "wind", "road", "house", "green", "slow"]
PLAN = Plan(
    generations=2,
    human_documents=100,
    human_tokens=5_000,
    held_out_documents=10,
    held_out_tokens=500,
    human_tokens_needed=3_000,
    trained_tokens=[1_000, 1_000, 1_000],
    drawn_tokens=2_000,
    kept_share=0.25,
    model_tokens=500,
    base_tokens=1_000,
    scored_tokens=12_000,
    opening=Seconds(now=7.0, idle=3.0),
    speed=Speed(
        now=Rates(train=100.0, sample=50.0, score=400.0, spread=2.0),
        idle=Rates(train=200.0, sample=100.0, score=800.0, draw_seconds=1.0),
        model_bytes=1_000_000,
    ),
)


@pytest.fixture(scope="module", autouse=True)
def short_probe():
    """Probe less than a user does: how fast this machine is matters to no test here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(throughput, "_SHORT_TOKENS", 100)
        patch.setattr(throughput, "_LONG_TOKENS", 400)
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 different documents of 10 words."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("corpus") / "human.jsonl"
    texts = [" ".join([str(index), *rng.choice(WORDS, 9)]) for index in range(100)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


@pytest.fixture(scope="module")
def recipe(corpus: Path, tiny_gpt2_folder: Path) -> tm.Recipe:
    return tm.Recipe(
        generations=2,
        corpus={"source": str(corpus)},
        model={"base": str(tiny_gpt2_folder), "lora": {"rank": 2}},
        mix={"human_tokens": 200, "model_tokens": 100, "human": "fresh"},
        sample={"min_tokens": 300, "max_new_tokens": 40, "oversample": 4.0},
    )


@pytest.fixture(scope="module")
def plan(recipe: tm.Recipe) -> Plan:
    return make_plan(recipe.replace(train={"epochs": 2}, curate=[{"random": {"keep": 0.5}}]))


def test_a_plan_knows_the_budgets_exactly(plan, corpus):
    # Generation 0 learns from 200 + 100 tokens, and each later one from as many, twice over;
    # two later generations need 200 fresh human tokens each.
    assert plan.trained_tokens == [600, 600, 600]
    assert plan.human_tokens_needed == 300 + 2 * 200
    assert plan.drawn_tokens == 4 * 100
    assert plan.kept_tokens == 200
    assert plan.stages == 2 + 3 * 5
    # Two thirds of 100 tokens are compared, and twice as many of the base model's sampled.
    assert plan.base_tokens == 134
    assert plan.human_documents + plan.held_out_documents == 100
    # The tests' tokenizer gives a token a byte but " t", and an end token.
    texts = [json.loads(line)["text"] for line in corpus.read_text().splitlines()]
    total = sum(len(text) - text.count(" t") + 1 for text in texts)
    assert plan.human_tokens + plan.held_out_tokens == total


def test_every_estimate_is_positive(plan):
    for rates in plan.speed.now, plan.speed.idle:
        assert min(rates.train, rates.sample, rates.score) > 0
        assert rates.draw_seconds >= 0
    assert min(plan.seconds) > 0
    assert 0 <= plan.speed.finished <= 1
    assert plan.disk_bytes > 3 * plan.speed.model_bytes


def test_planning_leaves_nothing_behind(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_plan(recipe)
    assert list(tmp_path.iterdir()) == []


def test_a_gaussian_of_long_documents_is_probed_with_more_than_one(tmp_path):
    rng = np.random.default_rng(0)
    texts = [" ".join(map(str, rng.normal(size=3_500))) for _ in range(6)]
    path = tmp_path / "numbers.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    plan = make_plan(
        tm.Recipe(
            corpus={"source": str(path), "max_words": 3_500, "held_out": 0.2},
            model={"base": "gaussian"},
            mix={"model_tokens": 2 * 3_501},
            sample={"max_new_tokens": 3_501},
            evaluate=[],
        )
    )
    assert plan.trained_tokens[0] == 2 * 3_501
    assert plan.base_tokens == 0  # it cannot write before it has learned
    assert "base model" not in plan.to_text()
    assert all(value > 0 for rates in (plan.speed.now, plan.speed.idle) for value in rates[:3])


def test_the_estimates_are_sums_over_the_generations():
    # 3,000 tokens trained, 1,000 of the base model and three times 2,000 drawn, 12,000 scored, and
    # the opening.
    assert PLAN.seconds == Seconds(
        now=7 + 3_000 / 100 + 7_000 / 50 + 12_000 / 400,
        idle=3 + 3_000 / 200 + 4 * 1 + 7_000 / 100 + 12_000 / 800,  # four draws
    )
    # Three models and their records; texts at 2.5 bytes a token: corpus, training sets; at 3.4,
    # with sampled ids, the base model's text and candidates before and after the filters.
    texts, sampled = 5_000 + 500 + 3_000, 1_000 + 2 * 6_000
    assert PLAN.disk_bytes == 3 * (1_000_000 + 60_000) + 2.5 * texts + 3.4 * sampled


def test_a_run_leaves_the_stages_and_samples_the_tokens_that_its_plan_says(plan, recipe, tmp_path):
    run = tm.run(recipe, tmp_path / "run")
    planned = make_plan(recipe)
    assert len(list(run.path.rglob("manifest.json"))) == planned.stages
    # The fewest whole documents are sampled that hold the tokens.
    ends = np.cumsum(run.base_text["tokens"])
    assert ends[-2] < planned.base_tokens <= ends[-1]
    for generation in run.generations:
        ends = np.cumsum(run.sampled(generation)["tokens"])
        assert ends[-2] < planned.drawn_tokens <= ends[-1]


def test_what_is_scored_is_counted_by_who_scores_it(recipe):
    def scored(**changes):
        changed = recipe.replace(**changes)
        return scored_tokens(changed, held_out_tokens=1_000, document_tokens=10.0)

    # Perplexity and rare_tokens share the held-out text: 1,000 a generation; drawn text as long
    # as the mixture's 100 tokens; and once the base model on held-out text and on both references.
    references = 2 * 134  # two thirds of 100 tokens are compared, twice as much is resampled
    assert scored() == 3 * (1_000 + 100) + 1_000 + references
    # Two sizes of held-out text are scored apart; without perplexity the base model scores nothing.
    assert scored(evaluate=["perplexity", {"rare_tokens": {"held_out_tokens": 300}}]) == (
        3 * (1_000 + 300 + 100) + 1_000 + references
    )
    assert scored(evaluate=["rare_tokens"]) == 3 * 1_000
    assert scored(evaluate=["diversity"]) == 0
    # A crowd that likes fluency has the base model read all 400 candidates; kept text is less then.
    voted = [{"upvotes": {"scorer": "fluency"}}, {"upvotes": {"scorer": {"variety": 1.0}}}]
    assert scored(curate=voted) == 3 * (1_000 + 2 * 100 + 400) + 1_000 + references
    # Cross-perplexity reads three times, curvature once: all candidates; drawn text, and once a
    # run human text and the references.
    detected = {"curate": [{"detector": {"method": "cross_perplexity"}}], "evaluate": ["diversity"]}
    assert scored(**detected) == 3 * 3 * 400
    assert scored(evaluate=["detection"]) == 3 * 100 + 100 + references
    # The base model embeds drawn text, and once held-out text and the references; another encoder
    # is not it.
    assert scored(evaluate=["embedding"]) == 3 * 100 + 100 + references
    assert scored(evaluate=[{"embedding": {"encoder": "models/minilm"}}]) == 0
    # A discriminator's crowd reads 20 + 10 of the 40 candidates, and the whole of few.
    for asked, read in ((20, 300), (200, 400)):
        taught = {"discriminator": {"votes": {"scorer": "fluency"}, "budget": asked, "check": 10}}
        assert scored(curate=[taught], evaluate=["diversity"]) == 3 * read


def test_a_plan_reads_as_a_line_a_fact():
    assert PLAN.to_text().splitlines() == [
        "generations    0 to 2, 17 stages",
        "training       1,000 tokens a generation, 3,000 in all",
        "sampling       2,000 tokens a generation",
        "keeping        at most about 500 of them, 500 needed: TOO FEW if the filters keep short "
        "documents, sample.oversample: 6 has room",
        "human text     100 documents, 5,000 tokens; 3,000 needed",
        "held-out       10 documents, 500 tokens",
        "base model     1,000 tokens sampled once, as a reference",
        "disk           about 3 MB",
        "speed, now     training 100, sampling 50, scoring 400 tokens a second here, by the clock",
        "speed, idle    training 200, sampling 100, scoring 800 by CPU time, without other work "
        "here",
        # 207 s, at least a quarter less or more, and twice as slow once as the other time.
        "time, now      85 seconds to 9 minutes on this machine as it is, without your own filters "
        "and evaluators",
        # 107 s, a quarter less or more: 86 to 134.
        "time, idle     85 seconds to 2 minutes on this machine without other work, without your "
        "own filters and evaluators",
    ]


def test_a_plan_says_how_much_held_out_text_a_precision_takes(recipe):
    chosen = replace(PLAN, chosen_tokens={"4%": 300, "2%": 1_200})
    assert (
        "held-out       10 documents, 500 tokens; 300 scored for 4%; 500 scored for 2%, TOO FEW: "
        "1,200 needed"
    ) in chosen.text_lines()
    sizes = {"held_out_tokens": "4%"}
    asking = recipe.replace(evaluate=[{"perplexity": sizes}, {"rare_tokens": sizes}])
    assert held_out_sizes(asking) == ["4%"]
    scored = scored_tokens(asking, 1_000, 10.0, {"4%": 300})
    as_number = recipe.replace(evaluate=[{"perplexity": {"held_out_tokens": 300}}])
    assert scored == scored_tokens(as_number, 1_000, 10.0)


def test_a_plan_that_does_not_fit_on_the_disk_says_so(monkeypatch):
    def free(num_bytes):
        usage = SimpleNamespace(free=num_bytes)
        monkeypatch.setattr("textmad.planning.plan.shutil.disk_usage", lambda path: usage)

    free(PLAN.disk_bytes)
    assert "        about 3 MB\n" in PLAN.to_text()
    free(PLAN.disk_bytes - 1)
    assert "about 3 MB; TOO MUCH: 3 MB are free here, use another disk for --out" in PLAN.to_text()


def test_a_plan_knows_what_is_crawled(recipe):
    # 1.5 x 200 tokens a generation, a fifth of them a model's; two generations crawl.
    crawl = {"contamination": 0.2, "oversample": 1.5, "guard": [{"random": {"keep": 0.8}}]}
    plan = make_plan(recipe.replace(crawl=crawl))
    assert plan.crawl == CrawlPlan(300, 60, kept_share=0.8, needed_tokens=200)
    assert plan.stages == 2 + 3 * 5 + 2
    assert plan.human_tokens_needed == 300 + 2 * 240
    assert plan.drawn_tokens == 4 * (100 + 60)
    assert plan.model_tokens == 100 + 60
    all_end = replace(plan, speed=plan.speed._replace(finished=1.0))
    (line,) = [line for line in all_end.to_text().splitlines() if line.startswith("crawling")]
    assert line == (
        "crawling       300 tokens a generation, 60 of them a model's; keeping at most about 240, "
        "200 needed: TOO FEW if the filters keep short documents, crawl.oversample: 1.9 has room"
    )
    assert make_plan(recipe.replace(crawl=crawl, generations=0)).crawl is None


def test_what_is_crawled_is_stored_and_read_by_crowds_among_the_guards(recipe):
    crawled = replace(PLAN, crawl=CrawlPlan(300, 60, 1.0, 200))
    assert crawled.disk_bytes - PLAN.disk_bytes == 2 * 300 * 2.5
    crowd = recipe.replace(crawl={"oversample": 1.5, "guard": ["upvotes"]})
    more = scored_tokens(crowd, 1_000, 10.0) - scored_tokens(recipe, 1_000, 10.0)
    assert more == 2 * 300


@pytest.mark.parametrize(
    ("finished", "line_ends"),
    [
        (0.2, "300 needed"),  # a fifth of 500 is 100
        (
            0.1,
            "300 needed; of a model's about 50 are in documents with an end: TOO FEW, raise "
            "sample.oversample to 8 or more",
        ),
        (
            0.0,
            "300 needed; NOTHING CAN BE POSTED, no document of the probe ended: raise "
            "max_new_tokens",
        ),
    ],
)
def test_text_without_an_end_cannot_be_posted(finished, line_ends):
    # 100 tokens of a quarter of what is drawn, and of that a tenth: 4,000 have to be drawn.
    crawled = replace(
        PLAN,
        crawl=CrawlPlan(600, 100, 1.0, 300),
        speed=PLAN.speed._replace(finished=finished),
    )
    (line,) = [line for line in crawled.to_text().splitlines() if line.startswith("crawling")]
    assert line.endswith(line_ends)


def test_an_encoder_that_is_not_there_is_seen_before_the_run(recipe):
    with pytest.raises(tm.ModelError, match="encoder: no/such"):
        make_plan(recipe.replace(evaluate=[{"embedding": {"encoder": "no/such"}}]))


def test_what_is_known_is_told_before_the_probe(recipe, monkeypatch):
    from textmad.planning import make

    told = []

    def probe(*_):
        told.append("probe")
        return PLAN.speed

    monkeypatch.setattr(make, "probe", probe)
    plan = make_plan(recipe, told.append)
    kinds = [line.split(" ")[0] for line in told]
    assert kinds[:8] == [
        *("generations", "training", "sampling", "keeping", "human", "held-out", "base", "probe")
    ]
    assert [line for line in told if line != "probe"] == plan.to_text().splitlines()


def turn(now, idle, draws=((100, 1.0),)):
    """A turn that trains 100 tokens in so many seconds, draws, and scores 100 tokens in a second.

    `draws`: tokens and seconds, by both clocks.
    """
    return Turn(
        train=Work(100, Seconds(now, idle)),
        draws=tuple(Work(tokens, Seconds(seconds, seconds)) for tokens, seconds in draws),
        score=Work(100, Seconds(1.0, 1.0)),
        finished=1.0,
        model_bytes=9,
    )


def test_idle_time_is_that_of_the_calling_thread_however_long_the_clock_says():
    begun = Reading(clock=100.0, process=50.0, thread=20.0)
    # 8 s of work by each of two threads, which wait for a core most of the time.
    ended = Reading(clock=160.0, process=66.0, thread=28.0)
    assert seconds_between(begun, ended, num_threads=2, on_cpu=True) == Seconds(60.0, 8.0)
    # The caller waits for two others, which work 8 s each.
    ended = Reading(clock=160.0, process=66.0, thread=20.5)
    assert seconds_between(begun, ended, num_threads=2, on_cpu=True) == Seconds(60.0, 8.0)
    # One thread of two works: the clock of an idle machine says 16 s, and not 8.
    ended = Reading(clock=160.0, process=66.0, thread=36.0)
    assert seconds_between(begun, ended, num_threads=2, on_cpu=True) == Seconds(60.0, 16.0)
    # A GPU works, and no CPU time says how long.
    assert seconds_between(begun, ended, num_threads=2, on_cpu=False) == Seconds(60.0, 60.0)


def test_what_waits_is_in_the_time_now_and_not_in_the_idle_time():
    _, seconds = timed(lambda: time.sleep(0.2))
    assert seconds.now >= 0.2
    assert seconds.idle < 0.1


def test_a_speed_is_the_median_turn_of_each_kind_of_work_and_clock():
    # The third turn waited for a core: the clock says so, and CPU time does not.
    speed = speed_of([turn(1.0, 0.5), turn(2.0, 0.4), turn(90.0, 0.5)])
    assert (speed.now.train, speed.idle.train) == (100 / 2.0, 100 / 0.5)
    # With 2 s of other work a turn takes 3, 4 and 92 s, of which the quartiles are 3.5 and 48.
    assert speed.now.spread == pytest.approx(48 / 3.5)
    assert speed.idle.spread == pytest.approx(2.5 / 2.45)


def test_a_long_and_a_short_draw_tell_what_a_draw_takes_beside_its_tokens():
    # 2 s and 10 ms a token: 4 s for 200 tokens, 10 s for 800.
    rates = speed_of([turn(1.0, 1.0, draws=((200, 4.0), (800, 10.0)))]).now
    assert (rates.sample, rates.draw_seconds) == (pytest.approx(100.0), pytest.approx(2.0))
    assert rates.seconds_of_draws(3_000, 2) == pytest.approx(2 * 2 + 30)
    # A long draw in less time, on a machine that was busy before: no less than nothing.
    rates = speed_of([turn(1.0, 1.0, draws=((200, 4.0), (800, 2.0)))]).now
    assert (rates.sample, rates.draw_seconds) == (400.0, 0.0)
    # The time grows faster than the tokens.
    rates = speed_of([turn(1.0, 1.0, draws=((200, 1.0), (800, 7.0)))]).now
    assert (rates.sample, rates.draw_seconds) == (100.0, 0.0)


@pytest.mark.parametrize(
    ("now", "idle", "num_turns"),
    [
        (1.0, 0.5, 3),
        (45.0, 0.5, 1),  # a busy machine: a minute is over
        (45.0, 11.0, 0),  # a slow model
    ],
)
def test_a_probe_warms_up_and_takes_turns_until_it_has_three_or_a_minute_is_over(
    monkeypatch, now, idle, num_turns
):
    asked = []

    def next_turn(recipe, model, human, num_short, num_long):
        asked.append((num_short, num_long))
        return turn(7.0 if len(asked) == 1 else 5.0, idle)

    monkeypatch.setattr(throughput, "_turn", next_turn)
    monkeypatch.setattr(
        throughput, "read_clocks", lambda: Reading(now * len(asked), process=0.0, thread=0.0)
    )
    speed = throughput.probe(None, None, None)
    assert asked == [(300, 300), *[(100, 400)] * num_turns]
    # The warm-up counts only where it is all that there is, and then nothing is beside it.
    assert speed.now.train == 100 / (5.0 if num_turns else 7.0)
    assert speed.now.spread == (1.0 if num_turns == 3 else 2.0)
    # CPU time differs less from turn to turn, but a warm-up does other things too.
    assert speed.idle.spread == {3: 1.0, 1: 1.25, 0: 2.0}[num_turns]


def test_a_missing_corpus_is_seen_before_the_model_is_opened(recipe, tmp_path, monkeypatch):
    from textmad.planning import make

    monkeypatch.setattr(make, "open_model", lambda *_: pytest.fail("the model was opened"))
    with pytest.raises(tm.CorpusError, match="missing"):
        make_plan(recipe.replace(corpus={"source": str(tmp_path / "missing.jsonl")}))


def test_a_growing_training_set_is_told_as_a_range():
    growing = replace(PLAN, trained_tokens=[1_000, 1_000, 2_000])
    assert "1,000 to 2,000 tokens a generation, 4,000 in all" in growing.to_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # A fifth of 4 x 100 tokens stays; 5 times as many would do, half as many more have room.
        (
            {"curate": [{"random": {"keep": 0.2}}]},
            r"sample\.oversample: 4: .* about 80 of 400 tokens, 100 are needed: set "
            r"sample\.oversample to 7\.5",
        ),
        (
            {"crawl": {"oversample": 1.5, "guard": [{"random": {"keep": 0.5}}]}},
            r"crawl\.oversample: 1\.5: .* about 150 of 300 tokens, 200 are needed: set "
            r"crawl\.oversample to 3",
        ),
        ({"curate": [{"upvotes": {"scorer": "learned_votes", "keep": 0.5}}]}, "has votes: name"),
    ],
)
def test_what_cannot_be_met_is_an_error_of_plan_and_of_run_before_anything_is_learned(
    recipe, tmp_path, change, message
):
    for refuse in (make_plan, lambda recipe: tm.run(recipe, tmp_path / "run")):
        with pytest.raises((tm.RecipeError, tm.CurationError), match=message):
            refuse(recipe.replace(**change))
    assert not list(tmp_path.glob("run/*/"))


def test_a_run_without_a_next_generation_may_keep_as_little_as_it_likes(recipe):
    picky = recipe.replace(generations=0, curate=[{"random": {"keep": 0.01}}])
    assert make_plan(picky).model_tokens == 0


def test_room_for_filters_that_keep_short_documents_is_part_of_the_advice():
    # A quarter of 2,000 stays, 500: enough for 300 and half as much again, and not for 400.
    assert "300 needed\n" in replace(PLAN, model_tokens=300).to_text()
    tight = "400 needed: TOO FEW if the filters keep short documents, sample.oversample: 6 has room"
    assert tight in replace(PLAN, model_tokens=400).to_text()
    assert "2,000 needed\n" in replace(PLAN, model_tokens=2_000, kept_share=1.0).to_text()


@pytest.mark.parametrize(
    ("mix", "needed"),
    [
        ({"human_tokens": 200, "human": "fresh"}, 300 + 100 * 200),
        ({"human_tokens": 0, "human": "fixed", "model_tokens": 50_000}, 50_000),
    ],
)
def test_a_corpus_too_small_says_how_much_there_is_and_how_much_is_needed(
    recipe, plan, tmp_path, mix, needed
):
    recipe = recipe.replace(generations=100, mix=mix)
    message = (
        f"corpus: {plan.human_tokens:,} tokens are in the human training pool, and the recipe "
        f"needs {needed:,} up to generation 100: lower mix.human_tokens, mix.model_tokens or "
        "generations, or give a larger corpus"
    )
    with pytest.raises(tm.CorpusError) as caught:
        make_plan(recipe)
    assert str(caught.value) == message
    # The run refuses it too, before anything is trained, and leaves no records behind.
    with pytest.raises(tm.CorpusError) as caught:
        tm.run(recipe, tmp_path / "run")
    assert str(caught.value) == message
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_documents_longer_than_the_models_positions_are_errors(recipe, tiny_gpt2_folder, tmp_path):
    # Of 64 positions the start token takes one.
    recipe = recipe.replace(sample={"max_new_tokens": 64})
    message = (
        "sample.max_new_tokens: 64: start token + max_new_tokens is 65 positions, and "
        f"{tiny_gpt2_folder} has 64; expected at most 63"
    )
    for refusing in (make_plan, lambda recipe: tm.run(recipe, tmp_path / "run")):
        with pytest.raises(tm.ModelError) as caught:
            refusing(recipe)
        assert str(caught.value) == message


def test_a_revision_of_what_is_no_hub_id_is_an_error(recipe, tiny_gpt2_folder):
    with pytest.raises(tm.ModelError) as caught:
        make_plan(recipe.replace(model={"revision": "main"}))
    assert str(caught.value) == (
        f"model.revision: main: has no effect on {tiny_gpt2_folder}, which is no Hub id; delete it"
    )


# --- studies --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study_plan(recipe: tm.Recipe) -> StudyPlan:
    arms = {"plain": {}, "picky": {"curate": [{"random": {"keep": 0.5}}]}}
    data = {"recipe": recipe, "seeds": [0, 1], "arms": arms}
    return make_study_plan(parse_study(data, "study.yaml", Path()))


def test_a_study_is_planned_arm_by_arm_and_generation_0_learns_once_a_seed(study_plan):
    plans = study_plan.plans
    assert list(plans) == ["plain", "picky", "human only"]
    assert len({plan.speed for plan in plans.values()}) == 1  # one probe for all
    # All three learn from 200 + 100 tokens in generation 0, and compare as much text with the
    # base's 134 tokens; two take both over.
    speed = plans["plain"].speed
    for clock in ("now", "idle"):
        rates, shared = getattr(speed, clock), getattr(study_plan.shared, clock)
        draw = rates.draw_seconds + 134 / rates.sample
        assert shared == pytest.approx(2 * (300 / rates.train + draw))
        each_seed = sum(getattr(plan.seconds, clock) for plan in plans.values()) - shared
        assert getattr(study_plan.seconds, clock) == pytest.approx(2 * each_seed)


def test_a_study_plan_reads_as_a_line_an_arm(study_plan):
    ample = replace(PLAN, model_tokens=300)
    crawling = replace(ample, crawl=CrawlPlan(300, 60, 0.5, 200))
    plans = {"plain": ample, "picky": replace(PLAN, kept_share=0.1), "crawling": crawling}
    text = replace(study_plan, plans=plans, shared=Seconds(30.0, 15.0)).to_text()
    # PLAN takes 207 s, 83 to 518; a seed's three runs less 30 s, twice: 1,182 s, 473 to 2,955.
    # Idle it takes 107 s, 86 to 134; less 15 s: 612 s, 490 to 765.
    assert text.splitlines()[:3] == [
        "plain     85 seconds to 2 minutes a run, idle",
        "picky     85 seconds to 2 minutes a run, idle: TOO FEW if the filters keep short "
        "documents, sample.oversample: 15 has room",
        "crawling  85 seconds to 2 minutes a run, idle: TOO FEW if the filters keep short "
        "documents, crawl.oversample: 3 has room",
    ]
    assert text.splitlines()[-2:] == [
        "now    8 to 49 minutes one after another on this machine as it is; shared stages save 60 "
        "seconds or more of that",
        "idle   8 to 13 minutes one after another on this machine without other work; shared "
        "stages save 30 seconds or more of that",
    ]


def test_an_arm_whose_encoder_is_not_there_is_named_though_others_share_what_it_opens(recipe):
    away = {
        "evaluate": [{"embedding": {"encoder": "no/such"}}],
        "curate": [{"random": {"keep": 0.5}}],
    }
    data = {"recipe": recipe, "seeds": [0], "arms": {"plain": {}, "away": away}}
    with pytest.raises(tm.ModelError, match=r"^away: encoder: no/such"):
        make_study_plan(parse_study(data, "study.yaml", Path()))


def test_an_arm_that_the_corpus_is_too_small_for_is_named(recipe):
    arms = {"short": {}, "long": {"generations": 99, "train.epochs": 2}}
    data = {"recipe": recipe, "seeds": [0], "arms": arms}
    with pytest.raises(tm.CorpusError, match=r"^long: corpus: "):
        make_study_plan(parse_study(data, "study.yaml", Path()))
