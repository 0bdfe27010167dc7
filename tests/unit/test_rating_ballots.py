"""Ballots and their votes: who is given what, what counts, and what the file holds afterwards."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from textmad.errors import RunError
from textmad.rating.ballot import Ballot
from textmad.rating.ballots import Ballots
from textmad.rating.database import VOTES, Database
from textmad.rating.records import votes_digest
from textmad.rating.voting import VoteRejectedError

ROOT = Path(__file__).parents[2]


def opened(folder, num_texts=6, settings=None, num_raters=3, clock=time.time):
    """A file with one ballot, its id, and raters."""
    ballots = Ballots(Path(folder) / VOTES, clock=clock)
    settings = settings or Ballot(raters_per_text=2)
    ids = [f"g0-{i}" for i in range(num_texts)]
    texts = [f"text {i}" for i in range(num_texts)]
    name = ballots.lay_out(settings, 0, ids, texts, np.random.default_rng(0))
    ballots.raters.invite(num_raters)
    return ballots, name, ballots.raters.names()


def vote_all(ballots, rater, choose=lambda task: 1):
    """Vote until nothing is left for this rater; return what was shown."""
    shown = []
    while (task := ballots.voting.next_task(rater)) is not None:
        shown.append(task)
        ballots.voting.cast(rater, task.key, choose(task))
    return shown


def rejection(call, *args, **options):
    with pytest.raises(VoteRejectedError) as caught:
        call(*args, **options)
    return caught.value.status, str(caught.value)


def test_every_text_gets_as_many_votes_as_wanted_and_no_rater_sees_one_twice(tmp_path):
    ballots, name, raters = opened(tmp_path)
    shown = [task.texts[0] for rater in raters for task in vote_all(ballots, rater)]
    assert Counter(shown) == {f"text {i}": 2 for i in range(6)}
    votes = ballots.votes(name)
    assert len({(vote.rater, vote.item) for vote in votes}) == len(votes) == 12
    state = ballots.state(name)
    assert (state.num_votes, state.num_needed, state.is_enough) == (12, 12, True)


def test_a_rater_is_given_the_same_text_until_they_answer(tmp_path):
    ballots, _, (rater, *_) = opened(tmp_path)
    tasks = [ballots.voting.next_task(rater) for _ in range(3)]
    assert len({task.id for task in tasks}) == 1
    assert len({task.key for task in tasks}) == 3  # each rendering has a key of its own


def test_a_vote_that_is_sent_twice_counts_once(tmp_path):
    ballots, name, (rater, *_) = opened(tmp_path)
    task = ballots.voting.next_task(rater)
    ballots.voting.cast(rater, task.key, 1)
    ballots.voting.cast(rater, task.key, 0)  # the same form again: nothing changes
    assert [vote.value for vote in ballots.votes(name)] == [1]


def test_the_later_of_two_tabs_replaces_the_vote(tmp_path):
    ballots, name, (rater, *_) = opened(tmp_path)
    first, second = (ballots.voting.next_task(rater) for _ in range(2))
    ballots.voting.cast(rater, first.key, 1)
    ballots.voting.cast(rater, second.key, 0)
    assert [vote.value for vote in ballots.votes(name)] == [0]


def test_undo_takes_the_last_vote_back_once_and_shows_its_text_again(tmp_path):
    ballots, name, (rater, *_) = opened(tmp_path)
    keys, texts = [], []
    for _ in range(2):
        task = ballots.voting.next_task(rater)
        keys.append(task.key)
        texts.append(task.texts)
        ballots.voting.cast(rater, task.key, 1)
    undo = ballots.voting.next_task(rater).key
    ballots.voting.undo(rater, undo)
    ballots.voting.undo(rater, undo)  # a double click takes back one vote, not two
    assert len(ballots.votes(name)) == 1
    again = ballots.voting.next_task(rater)
    assert again.texts == texts[1]
    ballots.voting.cast(rater, keys[1], 0)  # the old form, replayed: its key is used up
    assert len(ballots.votes(name)) == 1
    ballots.voting.cast(rater, again.key, 0)
    assert sorted(vote.value for vote in ballots.votes(name)) == [0, 1]


def test_undo_without_a_vote_is_rejected(tmp_path):
    ballots, _, (rater, *_) = opened(tmp_path)
    key = ballots.voting.key_without_task(rater)
    assert rejection(ballots.voting.undo, rater, key) == (409, "There is no vote to take back.")


@pytest.mark.parametrize(
    "tamper",
    [
        lambda key: key.replace(key.split(".")[0], "999", 1),  # another task
        lambda key: key[:-1] + ("0" if key[-1] != "0" else "1"),
        lambda key: "",
        lambda key: "1.2.3.4",
        lambda key: key.upper(),
        lambda key: "é" + key,
    ],
)
def test_a_tampered_key_is_rejected_and_nothing_changes(tmp_path, tamper):
    ballots, name, (rater, *_) = opened(tmp_path)
    key = ballots.voting.next_task(rater).key
    status, message = rejection(ballots.voting.cast, rater, tamper(key), 1)
    assert status == 403
    assert "was not made for you" in message
    assert ballots.votes(name) == []


def test_another_raters_form_and_answers_out_of_range_are_rejected(tmp_path):
    ballots, name, (rater, other, *_) = opened(tmp_path)
    key = ballots.voting.next_task(rater).key
    assert rejection(ballots.voting.cast, other, key, 1)[0] == 403
    for choice in (-1, 2, 10**30):
        assert rejection(ballots.voting.cast, rater, key, choice)[0] == 400
    assert ballots.votes(name) == []
    ballots.voting.cast(rater, key, 1)  # a rejected answer has not used up the key
    assert len(ballots.votes(name)) == 1


def test_a_closed_ballot_takes_no_vote_and_keeps_its_digest(tmp_path):
    ballots, name, (rater, other, *_) = opened(tmp_path)
    vote_all(ballots, rater)
    late = ballots.voting.next_task(other).key
    digest = ballots.close_ballot(name)
    assert digest == votes_digest(ballots.votes(name)) == ballots.close_ballot(name)
    assert rejection(ballots.voting.cast, other, late, 1)[0] == 409
    assert ballots.voting.next_task(other) is None
    assert ballots.state(name).digest == digest


def test_a_skipped_text_goes_to_others_and_a_report_is_counted(tmp_path):
    settings = Ballot(raters_per_text=1)
    ballots, name, (rater, other, *_) = opened(tmp_path, num_texts=2, settings=settings)
    first = ballots.voting.next_task(rater)
    assert rejection(ballots.voting.skip, rater, first.key, "because")[0] == 400
    first = ballots.voting.next_task(rater)
    ballots.voting.skip(rater, first.key, "I cannot decide")
    second = ballots.voting.next_task(rater)
    ballots.voting.skip(rater, second.key, "", report=True)
    assert ballots.voting.next_task(rater) is None
    assert sorted(task.texts[0] for task in vote_all(ballots, other)) == ["text 0", "text 1"]
    state = ballots.state(name)
    assert (state.num_votes, state.num_skipped, state.num_reported) == (2, 2, 1)


def test_what_was_given_and_not_answered_is_given_to_others_after_half_an_hour(tmp_path):
    now = [1000.0]
    ballots, _, (rater, other, *_) = opened(
        tmp_path, 1, Ballot(raters_per_text=1), clock=lambda: now[0]
    )
    late = ballots.voting.next_task(rater)
    assert ballots.voting.next_task(other) is None
    now[0] += 1801
    assert ballots.voting.next_task(other).texts == late.texts
    ballots.voting.cast(rater, late.key, 1)  # who comes back late is still counted


def test_a_clock_that_goes_back_loses_nothing(tmp_path):
    now = [1000.0]
    ballots, name, (rater, *_) = opened(tmp_path, clock=lambda: now[0])
    task = ballots.voting.next_task(rater)
    now[0] -= 500
    ballots.voting.cast(rater, task.key, 1)
    (vote,) = ballots.votes(name)
    assert vote.seconds == 0.0
    assert ballots.state(name).age_seconds == 0.0


def test_the_deadline_lets_the_run_go_on_with_at_least_one_vote(tmp_path):
    now = [0.0]
    settings = Ballot(deadline_hours=2.0)
    ballots, name, (rater, *_) = opened(tmp_path, settings=settings, clock=lambda: now[0])
    now[0] = 7201.0
    assert not ballots.state(name).is_enough
    ballots.voting.cast(rater, ballots.voting.next_task(rater).key, 1)
    assert ballots.state(name).is_enough
    now[0] = 7199.0
    assert not ballots.state(name).is_enough


def test_needed_is_a_share_of_the_votes_wanted(tmp_path):
    ballots, name, _ = opened(tmp_path, 5, Ballot(raters_per_text=3, needed=0.5))
    state = ballots.state(name)
    assert (state.num_wanted, state.num_needed) == (15, 8)  # 7.5 rounded up


@pytest.mark.parametrize(("design", "width"), [("pairs", 2), ("best_of", 3)])
def test_every_text_meets_others_in_every_round(tmp_path, design, width):
    settings = (
        Ballot(design=design, rounds=4, raters_per_text=1)
        if width == 2
        else Ballot(design=design, group=3, rounds=4, raters_per_text=1)
    )
    ballots, name, (rater, *_) = opened(tmp_path, 7, settings)
    shown = vote_all(ballots, rater, choose=lambda task: 0)
    assert all(len(set(task.texts)) == width for task in shown)
    items_a_round = -(-7 // width)  # the last one is filled up
    assert len(shown) == 4 * items_a_round
    counts = Counter(text for task in shown for text in task.texts)
    assert min(counts.values()) >= 4
    # What was chosen on the screen is what was counted, wherever it stood.
    votes = ballots.votes(name)
    chosen = Counter(vote.documents[vote.value].replace("g0-", "text ") for vote in votes)
    assert chosen == Counter(task.texts[0] for task in shown)
    assert {vote.screen_position for vote in votes} == {0}
    assert len({vote.value for vote in votes}) == width  # the order on the screen is random


def test_gold_texts_and_repeats_are_mixed_in_and_count_for_nothing(tmp_path):
    gold = tmp_path / "gold.jsonl"
    gold.write_text('{"text": "surely good", "answer": 1}\n{"text": "surely bad", "answer": 0}\n')
    settings = Ballot(raters_per_text=1, texts_per_rater=20, gold=str(gold), repeats=2)
    ballots, name, (rater, *_) = opened(tmp_path, 30, settings)
    shown = [task.texts[0] for task in vote_all(ballots, rater)]
    assert len(shown) == 20
    assert {"surely good", "surely bad"} <= set(shown)
    twice = [text for text, times in Counter(shown).items() if times == 2]
    assert len(twice) == 2
    assert all(len(shown) - 1 - shown[::-1].index(t) - shown.index(t) >= 5 for t in twice)
    votes = ballots.votes(name)
    assert sorted(v.gold for v in votes if v.gold is not None) == [0, 1]
    assert sum(vote.showing for vote in votes) == 2
    assert ballots.state(name).num_votes == 20 - 2 - 2


def test_laying_out_again_finds_the_same_ballot_and_other_texts_get_another(tmp_path):
    _ballots, name, _ = opened(tmp_path)
    again, same, _ = opened(tmp_path)
    assert same == name
    assert len(again.states()) == 1
    _, other, _ = opened(tmp_path, num_texts=7)
    assert other != name


def test_two_files_with_the_same_seed_lay_out_the_same_items(tmp_path):
    texts = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        ballots, name, (rater, *_) = opened(tmp_path / folder, 9, Ballot(design="pairs"))
        vote_all(ballots, rater)
        texts.append([(vote.item, vote.documents) for vote in ballots.votes(name)])
    assert texts[0] == texts[1]


def test_a_forgotten_raters_votes_are_gone_from_the_file_and_their_texts_are_given_again(tmp_path):
    ballots, name, (rater, other, third) = opened(tmp_path)
    vote_all(ballots, rater)
    assert ballots.raters.forget(rater) == (6, 0)
    assert ballots.votes(name) == []
    assert ballots.raters.names() == [other, third]
    assert len(vote_all(ballots, other)) == 6
    assert len(vote_all(ballots, third)) == 6
    ballots.close()
    assert rater.encode() not in (tmp_path / VOTES).read_bytes()
    with pytest.raises(RunError, match="no rater nobody: expected one of r002, r003"):
        Ballots(tmp_path / VOTES).raters.forget("nobody")


def test_votes_of_a_closed_ballot_stay_when_their_rater_is_forgotten(tmp_path):
    ballots, name, (rater, *_) = opened(tmp_path)
    vote_all(ballots, rater)
    ballots.close_ballot(name)
    assert ballots.raters.forget(rater) == (0, 6)
    assert len(ballots.votes(name)) == 6


def test_a_new_rater_never_gets_a_forgotten_ones_pseudonym(tmp_path):
    ballots, _, raters = opened(tmp_path, num_raters=1)
    ballots.raters.forget(raters[0])
    ballots.raters.invite(1)
    assert ballots.raters.names() != raters


def test_invitations_and_cookies_know_their_rater_and_no_other(tmp_path):
    ballots, _, _ = opened(tmp_path, num_raters=0)
    tokens = ballots.raters.invite(2)
    names = [ballots.raters.rater_of(token) for token in tokens]
    assert names == ["r001", "r002"]
    assert ballots.raters.rater_of("guess") is None
    cookie = ballots.raters.sign_in("r001")
    assert ballots.raters.signed_in(cookie) == "r001"
    assert ballots.raters.signed_in(cookie.replace("r001", "r002")) is None
    assert ballots.raters.signed_in("") is None
    ballots.raters.forget("r001")
    assert ballots.raters.signed_in(cookie) is None
    assert tokens[1].encode() not in (tmp_path / VOTES).read_bytes()  # only its hash is stored


def test_a_full_disk_is_an_error_and_every_acknowledged_vote_is_there(tmp_path):
    ballots, name, (rater, *_) = opened(tmp_path, 400, Ballot(texts_per_rater=None))
    connection = ballots._database._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    acknowledged = 0

    def vote():
        nonlocal acknowledged
        while (task := ballots.voting.next_task(rater)) is not None:
            ballots.voting.cast(rater, task.key, 1)
            acknowledged += 1

    with pytest.raises(RunError, match="disk is full: free some space"):
        vote()
    assert 0 < acknowledged < 400
    assert len(ballots.votes(name)) == acknowledged
    connection.execute("PRAGMA max_page_count = 1000000")
    vote()
    assert len(ballots.votes(name)) == acknowledged == 400


def test_a_file_of_a_later_schema_and_a_file_that_is_none_are_errors(tmp_path):
    ballots, _, _ = opened(tmp_path)
    ballots.close()
    with sqlite3.connect(tmp_path / VOTES) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(RunError, match="has schema version 99, this textmad knows up to 3"):
        Ballots(tmp_path / VOTES)
    (tmp_path / "other").write_text("no database " * 100)
    with pytest.raises(RunError, match="cannot be read or written"):
        Ballots(tmp_path / "other")
    with pytest.raises(RunError, match="no texts are laid out for people there"):
        Ballots(tmp_path / "none" / VOTES, must_exist=True)


def test_imported_votes_are_the_same_votes(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    ballots, name, raters = opened(tmp_path / "one", 9, Ballot(design="pairs", raters_per_text=2))
    for rater in raters:
        vote_all(ballots, rater, choose=lambda task: len(task.texts[0]) % 2)
    other, same, _ = opened(tmp_path / "two", 9, Ballot(design="pairs", raters_per_text=2), 0)
    votes = ballots.votes(name)
    assert same == name
    assert other.add_votes(votes) == len(votes)
    assert other.add_votes(votes) == 0
    assert other.votes(name) == votes
    assert other.close_ballot(name) == ballots.close_ballot(name)
    with pytest.raises(RunError, match=r"vote 1 \(ballot .*the ballot is closed"):
        other.add_votes(votes)


def test_an_imported_vote_on_something_else_is_an_error_and_none_is_added(tmp_path):
    ballots, name, (rater, *_) = opened(tmp_path)
    vote_all(ballots, rater)
    votes = ballots.votes(name)
    ballots.raters.forget(rater)
    for wrong in (
        {"item": 99},
        {"ballot": "other"},
        {"value": 7},
        {"documents": ("g0-77",)},
    ):
        with pytest.raises(RunError, match="vote 2 "):
            ballots.add_votes([votes[0], votes[1]._replace(**wrong)])
        assert ballots.votes(name) == []


def test_twenty_thousand_texts_are_laid_out_in_seconds(tmp_path):
    start = time.process_time()
    ballots, name, (rater, *_) = opened(tmp_path, 20_000)
    assert time.process_time() - start < 4  # 2 s on a machine of its own
    assert ballots.voting.next_task(rater) is not None
    assert ballots.state(name).num_texts == 20_000


def test_many_threads_lose_and_double_nothing(tmp_path):
    ballots, name, raters = opened(tmp_path, 40, Ballot(raters_per_text=4), 8)
    errors = []

    def work(rater):
        try:
            vote_all(ballots, rater)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(rater,)) for rater in raters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    votes = ballots.votes(name)
    assert Counter(vote.item for vote in votes) == dict.fromkeys(range(40), 4)


def written_together(database, *jobs):
    """Have threads write at the same time; return what each one raised, and the COMMITs."""
    statements, raised = [], {}
    database._connection.set_trace_callback(statements.append)

    def work(number, job):
        try:
            with database.write() as db:
                job(db)
        except Exception as error:
            raised[number] = error

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(jobs)]
    with database._lock:
        for thread in threads:
            thread.start()
        while database._num_waiting < len(jobs):
            time.sleep(0.001)
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    database._connection.set_trace_callback(None)
    return raised, statements.count("COMMIT")


def add(name):
    return lambda db: db.execute("INSERT INTO facts VALUES (?, '')", (name,))


def names(database):
    with database.read() as db:
        return {row[0] for row in db.execute("SELECT name FROM facts WHERE value = ''")}


def test_threads_that_write_at_the_same_time_wait_for_the_disk_once(tmp_path):
    database = Database(tmp_path / VOTES)
    raised, num_commits = written_together(database, *(add(f"n{i}") for i in range(8)))
    assert (raised, num_commits) == ({}, 1)
    assert names(database) == {f"n{i}" for i in range(8)}


def test_a_thread_that_fails_undoes_its_own_part_alone(tmp_path):
    database = Database(tmp_path / VOTES)

    def fail(db):
        add("undone")(db)
        raise ValueError("no")

    for jobs in ([add("a"), fail, add("b")], [fail], [fail, fail]):
        raised, _ = written_together(database, *jobs)
        assert [type(error) for error in raised.values()] == [ValueError] * jobs.count(fail)
        assert names(database) == {"a", "b"}
        with database.write() as db:  # nothing is left open
            assert db.in_transaction


def test_if_the_common_end_fails_no_thread_is_told_that_its_part_is_there(tmp_path):
    database = Database(tmp_path / VOTES)

    def orphan(db):  # which COMMIT finds
        db.execute("PRAGMA defer_foreign_keys = ON")
        db.execute("INSERT INTO reports VALUES ('nobody', 99)")

    raised, _ = written_together(database, add("a"), orphan, add("b"))
    assert {type(error) for error in raised.values()} == {RunError}
    assert set(raised) == {0, 1, 2}
    assert names(database) == set()
    assert written_together(database, add("c"))[0] == {}


def test_a_reader_does_not_wait_for_who_writes(tmp_path):
    database = Database(tmp_path / VOTES)
    with database.write() as db:
        add("a")(db)
        assert names(database) == set()
    assert names(database) == {"a"}


# --- several ballots, as of a study's arms ----------------------------------------------------


def test_arms_are_asked_about_side_by_side_and_progress_counts_them_together(tmp_path):
    ballots = Ballots(tmp_path / VOTES)
    settings = Ballot(raters_per_text=1, texts_per_rater=4)
    for arm in "ab":
        ids = [f"{arm}{i}" for i in range(6)]
        ballots.lay_out(settings, 0, ids, [f"{arm} {i}" for i in ids], np.random.default_rng(0))
    ballots.raters.invite(1)
    seen, left = "", []
    while (task := ballots.voting.next_task("r001")) is not None:
        seen += task.texts[0][0]
        left.append((task.num_voted, task.num_left))
        ballots.voting.cast("r001", task.key, 1)
    assert {seen[i : i + 2] for i in range(0, 8, 2)} <= {"ab", "ba"}  # one of each, in turn
    assert left == [(i, 8 - i) for i in range(8)]  # four of each arm is the rater's share


def test_the_runs_that_share_a_ballot_are_noted_and_no_rater_sees_them(tmp_path):
    ballots = Ballots(tmp_path / VOTES)
    with ballots._database.write() as db:  # as the file was before runs were noted
        db.execute("DROP TABLE ballot_runs")
        db.execute("PRAGMA user_version = 2")
    ballots.close()
    ballots = Ballots(tmp_path / VOTES)

    def lay_out(text, run):
        ballots.lay_out(Ballot(), 0, ["a", "b"], [text, "b"], np.random.default_rng(0), None, run)

    for run in ("voted/seed-0", "hot/seed-0", "hot/seed-0"):
        lay_out("the same text", run)
    lay_out("another text", "hot/seed-1")
    lay_out("a third text", "")
    assert [state.runs for state in ballots.states()] == [
        ("hot/seed-0", "voted/seed-0"),
        ("hot/seed-1",),
        (),
    ]
    ballots.raters.invite(1)
    shown = str(ballots.voting.next_task("r001")) + str(ballots.items())
    assert "seed" not in shown.replace("seed=", "")


def test_another_question_comes_when_the_first_one_is_through(tmp_path):
    ballots = Ballots(tmp_path / VOTES)
    for question in ("Good?", "Human?"):
        ballots.lay_out(
            Ballot(question=question, raters_per_text=1),
            *(0, ["x", "y"], ["text x", "text y"], np.random.default_rng(0)),
        )
    ballots.raters.invite(1)
    asked = []
    while (task := ballots.voting.next_task("r001")) is not None:
        asked.append(task.ballot.question)
        ballots.voting.cast("r001", task.key, 1)
    assert asked == ["Good?", "Good?", "Human?", "Human?"]


# --- kill -9 --------------------------------------------------------------------------------

VOTER = """
import sys, pathlib
from textmad.rating.ballots import Ballots
ballots = Ballots(pathlib.Path(sys.argv[1]))
rater = sys.argv[2]
while (task := ballots.voting.next_task(rater)) is not None:
    ballots.voting.cast(rater, task.key, 1)
    print(task.id, flush=True)  # acknowledged
"""


def kill_at_random(folder, times, seed):
    """Kill a voting process again and again; return what it acknowledged and what the file has."""
    ballots, _name, (rater, *_) = opened(
        folder, 20_000, Ballot(raters_per_text=1, texts_per_rater=None), 1
    )
    moments = random.Random(seed)
    acknowledged = set()
    for _ in range(times):
        process = subprocess.Popen(
            [sys.executable, "-c", VOTER, str(Path(folder) / VOTES), rater],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        time.sleep(moments.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().splitlines()
        process.wait()
        acknowledged |= {int(line) for line in lines if line.strip().isdigit()}
        with ballots._database.read() as db:
            assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    with ballots._database.read() as db:
        rows = db.execute("SELECT tasks.id FROM votes JOIN tasks USING (rater, item, showing)")
        stored = [row[0] for row in rows]
    return acknowledged, stored


def check_killed(folder, times):
    acknowledged, stored = kill_at_random(folder, times, seed=0)
    assert len(acknowledged) >= times
    assert len(set(stored)) == len(stored)
    assert acknowledged <= set(stored)
    assert len(stored) - len(acknowledged) <= 2 * times  # in flight when it was killed


def test_a_vote_that_was_acknowledged_survives_kill_9(tmp_path):
    check_killed(tmp_path, 3)


@pytest.mark.slow
def test_a_vote_that_was_acknowledged_survives_200_kills(tmp_path):
    check_killed(tmp_path, 200)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"question": " "}, "expected 1 to 300 characters"),
        ({"labels": ("a",)}, "labels: 1 given, expected 2"),
        ({"design": "best_of", "group": 9}, "group: 9: expected 3 to 8 texts"),
        ({"group": 3}, "group: 3: has no effect"),
        ({"rounds": 2}, "rounds: 2: has no effect"),
        ({"raters_per_text": 0}, "raters_per_text: 0: expected at least 1"),
        ({"texts_per_rater": 0}, "texts_per_rater: 0: expected at least 1"),
        ({"repeats": -1}, "repeats: -1: expected at least 0"),
        ({"needed": 0.0}, "needed: 0: expected a share"),
        ({"deadline_hours": 0.0}, "deadline_hours: 0: expected a number above 0"),
        ({"min_gold_accuracy": 0.5}, "min_gold_accuracy: 0.5: has no effect"),
        ({"raters_per_text": 1, "leave_out_random": True}, "leave_out_random: True: has no effect"),
        ({"design": "pairs", "gold": "gold.jsonl"}, "gold: gold.jsonl: has no effect"),
    ],
)
def test_a_bad_setting_of_a_ballot_is_rejected_by_name(options, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        Ballot(**options)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["no json"], "line 1: expected"),
        ([json.dumps({"text": "a"})], "line 1: expected"),
        ([json.dumps({"text": "a", "answer": True})], "line 1: expected"),
        (
            [json.dumps({"text": "a", "answer": 1}), '{"text": "b", "answer": 2}'],
            "line 2: answer 2",
        ),
        ([], "is empty"),
    ],
)
def test_a_bad_file_of_gold_texts_is_rejected_with_its_line(tmp_path, lines, message):
    path = tmp_path / "gold.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=message):
        Ballot(gold=str(path)).read_gold()
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        Ballot(gold=str(tmp_path / "none")).read_gold()
