"""The filter `people`: it waits, counts, freezes and ranks people's votes."""

import json

import numpy as np
import pytest

import textmad as tm
from textmad.curation import Ballot, Choice, Crowd, Discriminator, People, Upvotes
from textmad.curation.protocol import apply_filters, run_filter
from textmad.errors import CurationError, RecipeError, WaitingForVotesError
from textmad.rating.ballots import Ballots
from textmad.rating.database import VOTES
from textmad.recipe.components import Component
from textmad.testing.checks import _context
from textmad.text.documents import documents, take

NUM = 8


def candidates(num=NUM):
    return documents(
        {
            "id": [f"g2-{i}" for i in range(num)],
            "text": [f"text number {i}" for i in range(num)],
            "tokens": [5] * num,
            "origin": ["model"] * num,
            "generation": [2] * num,
        }
    )


def context(folder, records=None, seed=0):
    import dataclasses

    plain = _context(seed, 2)
    take_record = (lambda *_: None) if records is None else records.__setitem__
    rng = np.random.default_rng(seed)
    return dataclasses.replace(
        plain, votes_file=folder / VOTES, record=take_record, rng=rng, generation=2
    )


def vote(folder, choose, num_raters=3):
    """Let raters vote on everything that is laid out; `choose` takes a rater and the texts."""
    ballots = Ballots(folder / VOTES, must_exist=True)
    ballots.raters.invite(num_raters - len(ballots.raters.names()))
    for rater in ballots.raters.names():
        while (task := ballots.voting.next_task(rater)) is not None:
            ballots.voting.cast(rater, task.key, choose(rater, task.texts))
    ballots.close()


def number(text):
    return int(text.split()[-1])


def test_the_filter_waits_says_how_to_vote_and_goes_on_when_there_are_enough(tmp_path):
    judge = People(keep=0.5)
    with pytest.raises(WaitingForVotesError, match=r"0 of 24 so far: vote with `textmad rate"):
        run_filter("people", judge, candidates(), context(tmp_path))
    vote(tmp_path, lambda rater, texts: int(number(texts[0]) < 4))
    records = {}
    verdicts = run_filter("people", judge, candidates(), context(tmp_path, records))
    assert verdicts.keep.tolist() == [True] * 4 + [False] * 4
    assert verdicts.columns["ups"].tolist() == [3] * 4 + [0] * 4
    assert verdicts.columns["downs"].tolist() == [0] * 4 + [3] * 4
    assert verdicts.score.tolist() == [1.0] * 4 + [-1.0] * 4
    assert verdicts.columns["votes"].tolist() == [3.0] * 4 + [-3.0] * 4
    frozen = [json.loads(each) for each in verdicts.columns["people_votes"]]
    assert [[mark for _, _, mark in each] for each in frozen] == [[1] * 3] * 4 + [[0] * 3] * 4
    (facts,) = records.values()
    assert facts["alpha"] == {"value": pytest.approx(1.0), "low": 1.0, "high": 1.0}
    assert facts["raters"] == ["r001", "r002", "r003"]
    assert set(verdicts.columns["votes_digest"]) == {facts["digest"]}
    assert set(verdicts.reason) == {"not among the 0.5 that people rank highest by net"}


def test_the_order_of_the_candidates_changes_nothing(tmp_path):
    judge = People(keep=0.5)
    with pytest.raises(WaitingForVotesError):
        judge(candidates(), context(tmp_path))
    vote(tmp_path, lambda rater, texts: number(texts[0]) % 2)
    order = np.random.default_rng(1).permutation(NUM)
    straight = judge(candidates(), context(tmp_path))
    shuffled = judge(take(candidates(), order), context(tmp_path))
    assert shuffled.keep.tolist() == straight.keep[order].tolist()
    assert shuffled.score.tolist() == straight.score[order].tolist()


def test_what_was_closed_stays_whatever_is_sent_later(tmp_path):
    judge = People(keep=0.5, ballot=Ballot(needed=0.5))
    with pytest.raises(WaitingForVotesError):
        judge(candidates(), context(tmp_path))
    vote(tmp_path, lambda rater, texts: number(texts[0]) % 2, num_raters=2)
    first = judge(candidates(), context(tmp_path))
    vote(tmp_path, lambda rater, texts: 1)  # nothing is open for them
    again = judge(candidates(), context(tmp_path))
    for title, values in first.columns.items():
        assert again.columns[title].tolist() == values.tolist()


@pytest.mark.parametrize("rank", ["net", "share", "wilson", "likes"])
def test_every_ranking_rule_keeps_what_all_voted_up(tmp_path, rank):
    judge = People(keep=0.25, rank=rank)
    with pytest.raises(WaitingForVotesError):
        judge(candidates(), context(tmp_path))
    vote(tmp_path, lambda rater, texts: int(number(texts[0]) in (2, 5)))
    verdicts = judge(candidates(), context(tmp_path))
    assert np.flatnonzero(verdicts.keep).tolist() == [2, 5]


def test_every_way_to_choose_works_on_peoples_votes(tmp_path):
    for choice, kept in (
        (Choice("threshold", threshold=0.5), [True, True] + [False] * 6),
        (Choice("softmax", temperature=0.01), [True, True] + [False] * 6),
        (Choice("bradley_terry", temperature=0.01), None),
    ):
        judge = People(keep=0.25, choice=choice)
        with pytest.raises(WaitingForVotesError) if not (tmp_path / VOTES).exists() else _nothing():
            judge(candidates(), context(tmp_path))
        vote(tmp_path, lambda rater, texts: int(number(texts[0]) < 2))
        verdicts = judge(candidates(), context(tmp_path))
        assert kept is None or verdicts.keep.tolist() == kept
        assert kept is not None or verdicts.keep.sum() == 2  # one of each random group of four


class _nothing:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


@pytest.mark.parametrize("design", ["pairs", "best_of"])
def test_choices_between_texts_become_ups_downs_and_strengths(tmp_path, design):
    options = {"group": 3} if design == "best_of" else {}
    ballot = Ballot(design=design, rounds=6, raters_per_text=1, **options)
    judge = People(keep=0.25, ballot=ballot, rank="strength")
    with pytest.raises(WaitingForVotesError):
        judge(candidates(), context(tmp_path))
    # The text with the smallest number is always chosen.
    vote(tmp_path, lambda rater, texts: int(np.argmin([number(text) for text in texts])))
    verdicts = judge(candidates(), context(tmp_path))
    assert verdicts.columns["downs"][0] == 0  # text 0 never loses
    assert verdicts.columns["ups"][NUM - 1] == 0  # the last one never wins
    num_items = 6 * -(-NUM // ballot.texts_per_item)
    assert verdicts.columns["ups"].sum() == num_items
    assert verdicts.columns["exposure"].sum() == num_items * ballot.texts_per_item
    assert verdicts.keep[0]
    assert not verdicts.keep[NUM - 1]
    order = np.argsort(-verdicts.score)
    assert np.abs(order - np.arange(NUM)).max() <= 2


def test_stars_are_averaged_and_unrated_texts_stand_in_the_middle(tmp_path):
    ballot = Ballot(design="stars", raters_per_text=1, needed=0.5)
    judge = People(keep=0.5, ballot=ballot, rank="stars")
    with pytest.raises(WaitingForVotesError):
        judge(candidates(), context(tmp_path))
    ballots = Ballots(tmp_path / VOTES)
    ballots.raters.invite(1)
    for stars in (5, 1, 1, 5):
        task = ballots.voting.next_task("r001")
        ballots.voting.cast("r001", task.key, stars)
    ballots.close()
    verdicts = judge(candidates(), context(tmp_path))
    assert sorted(set(verdicts.score)) == [1.0, 3.0, 5.0]
    assert (verdicts.score == 3.0).sum() == 4
    rated = verdicts.score != 3.0
    assert verdicts.columns["ups"][rated].tolist() == (verdicts.score[rated] == 5).tolist()


def test_raters_who_miss_the_gold_texts_are_left_out_and_named(tmp_path):
    gold = tmp_path / "gold.jsonl"
    gold.write_text('{"text": "gold 1", "answer": 1}\n{"text": "gold 0", "answer": 0}\n')
    ballot = Ballot(gold=str(gold), min_gold_accuracy=0.75, raters_per_text=2, texts_per_rater=10)
    judge = People(keep=0.5, ballot=ballot)
    with pytest.raises(WaitingForVotesError):
        judge(candidates(), context(tmp_path))

    def choose(rater, texts):
        if texts[0].startswith("gold"):
            return number(texts[0]) if rater == "r001" else 1 - number(texts[0])
        return int((number(texts[0]) < 4) == (rater == "r001"))

    vote(tmp_path, choose, num_raters=2)
    records = {}
    verdicts = judge(candidates(), context(tmp_path, records))
    (facts,) = records.values()
    assert facts["left_out"] == {"r002": "gold"}
    assert facts["votes"] == NUM
    assert verdicts.keep.tolist() == [True] * 4 + [False] * 4
    assert {
        rater for each in verdicts.columns["people_votes"] for rater, *_ in json.loads(each)
    } == {"r001"}


def test_raters_who_click_at_random_are_left_out_if_the_recipe_says_so(tmp_path):
    # r004 tosses a coin on each of 60 texts. The three others agree on nearly all of them.
    coin = np.random.default_rng(5)

    def choose(rater, texts):
        return int(coin.integers(2)) if rater == "r004" else int(number(texts[0]) % 2)

    for leave_out, expected in ((False, {}), (True, {"r004": "random"})):
        folder = tmp_path / str(leave_out)
        folder.mkdir()
        judge = People(keep=0.5, ballot=Ballot(raters_per_text=4, leave_out_random=leave_out))
        with pytest.raises(WaitingForVotesError):
            judge(candidates(60), context(folder))
        vote(folder, choose, num_raters=4)
        records = {}
        verdicts = judge(candidates(60), context(folder, records))
        (facts,) = records.values()
        assert facts["left_out"] == expected
        assert facts["votes"] == 60 * (4 - len(expected))
        assert set(verdicts.columns["exposure"]) == {4 - len(expected)}
        again = judge(candidates(60), context(folder))  # the same from the frozen votes
        assert again.columns["people_votes"].tolist() == verdicts.columns["people_votes"].tolist()


def test_peoples_filter_stands_in_a_list_of_filters(tmp_path):
    filters = [("length", tm.filters.Length(min_words=1)), ("people", People(keep=0.5))]
    with pytest.raises(WaitingForVotesError):
        apply_filters(candidates(), filters, lambda *_: context(tmp_path))
    vote(tmp_path, lambda rater, texts: number(texts[0]) % 2)
    judged = apply_filters(candidates(), filters, lambda *_: context(tmp_path))
    assert judged["kept"][:] == [False, True] * 4
    assert judged["votes"][:] == [-3.0, 3.0] * 4


def test_people_read_the_prompt_with_what_the_model_wrote(tmp_path):
    prompted = documents(
        {"id": ["g2-0", "g2-1"], "text": [" tea 1", " milk 2"], "prompt": ["I like", "I hate"]}
    )
    with pytest.raises(WaitingForVotesError):
        People()(prompted, context(tmp_path))
    ballots = Ballots(tmp_path / VOTES)
    ballots.raters.invite(1)
    (rater,) = ballots.raters.names()
    shown = set()
    while (task := ballots.voting.next_task(rater)) is not None:
        shown |= set(task.texts)
        ballots.voting.cast(rater, task.key, 1)
    assert shown == {"I like tea 1", "I hate milk 2"}


def test_a_context_without_a_file_for_votes_is_an_error():
    with pytest.raises(CurationError, match="has no file for people's votes"):
        run_filter("people", People(), candidates(), _context(0, 2))


def test_too_few_candidates_for_the_design_are_an_error(tmp_path):
    judge = People(ballot=Ballot(design="best_of", group=5))
    with pytest.raises(CurationError, match="4 texts, expected at least 5 for best_of"):
        run_filter("people", judge, candidates(4), context(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 0}, "people.keep: 0: expected a share above 0 and at most 1"),
        ({"keep": 0.5, "choice": {"by": "threshold"}}, "people.keep: 0.5: has no effect"),
        ({"rank": "strength"}, "people.rank: strength: needs ballot.design pairs or best_of"),
        ({"rank": "stars"}, "people.rank: stars: needs ballot.design stars"),
        ({"ballot": {"needed": 2}}, "people.ballot.needed: 2: expected a share"),
        ({"ballot": {"gold": "none.jsonl"}}, "people.ballot.gold: none.jsonl: cannot be read"),
    ],
)
def test_a_bad_setting_is_rejected_by_name(options, message):
    with pytest.raises(RecipeError) as caught:
        Component(name="people", options=options).build("filter")
    assert str(caught.value).startswith(message)


# --- people as voters of other filters ------------------------------------------------------


def length_of(texts):
    return [float(number(text)) for text in texts]


@pytest.mark.parametrize("rank", ["net", "share", "wilson", "hot", "likes"])
def test_people_are_the_voters_of_upvotes_under_every_rule(tmp_path, rank):
    judge = Upvotes(voters="people", scorer=length_of, keep=0.25, rank=rank)
    with pytest.raises(WaitingForVotesError):
        judge(candidates(), context(tmp_path))
    vote(tmp_path, lambda rater, texts: int(number(texts[0]) in (1, 6)))
    verdicts = judge(candidates(), context(tmp_path))
    assert np.flatnonzero(verdicts.keep).tolist() == [1, 6]
    assert verdicts.columns["ups"].sum() == 6
    assert "people_votes" in verdicts.columns
    # Beside people's votes the table has what the scorer says, to compare them.
    assert np.argsort(verdicts.columns["quality"]).tolist() == list(range(NUM))


def test_people_vote_on_the_discriminators_budget_and_check_at_the_same_time(tmp_path):
    judge = Discriminator(
        keep=0.5, budget=20, check=10, votes=Upvotes(voters="people", scorer=length_of, keep=0.5)
    )
    with pytest.raises(WaitingForVotesError):
        judge(candidates(40), context(tmp_path))
    states = Ballots(tmp_path / VOTES).states()
    assert sorted(state.num_texts for state in states) == [10, 20]
    vote(tmp_path, lambda rater, texts: int(number(texts[0]) % 2))
    verdicts = judge(candidates(40), context(tmp_path))
    said = verdicts.columns["crowd_accepts"]
    assert (said != 0).sum() == 20
    assert not verdicts.keep[said < 0].any()


def test_settings_of_other_voters_are_rejected():
    for options, message in (
        ({"voters": "people", "crowd": Crowd(abstain=0.5)}, "crowd: has no effect"),
        ({"voters": "people", "noise": 2.0}, "noise: has no effect while voters is people"),
        ({"ballot": Ballot(needed=0.5)}, "ballot: has no effect while voters is 50"),
    ):
        with pytest.raises(ValueError, match=message):
            Upvotes(**options)
    with pytest.raises(RecipeError, match=r"upvotes.voters: 'persons'|upvotes.voters: persons"):
        Component(name="upvotes", options={"voters": "persons"}).build("filter")
