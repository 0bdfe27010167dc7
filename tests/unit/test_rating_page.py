"""The page: what raters see, what they send, and what an attacker does not get."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.hostile_texts import HOSTILE
from tests.simulated_raters import Browser, Page, served, vote_through_page
from textmad.errors import RunError, RunInUseError
from textmad.rating.ballot import Ballot
from textmad.rating.ballots import Ballots
from textmad.rating.database import VOTES
from textmad.rating.page.app import COOKIE, make_app
from textmad.rating.page.display import displayed
from textmad.rating.page.server import serve

ROOT = Path(__file__).parents[2]


def laid_out(folder, texts=("first text", "second text", "third text"), settings=None):
    ballots = Ballots(Path(folder) / VOTES)
    ids = [f"g3-{i}" for i in range(len(texts))]
    settings = settings or Ballot(raters_per_text=2)
    name = ballots.lay_out(settings, 3, ids, list(texts), np.random.default_rng(0))
    return ballots, name


def client_of(ballots, *, joined=True, **options):
    client = TestClient(make_app(ballots, **options), base_url="http://127.0.0.1")
    if joined:
        (token,) = ballots.raters.invite(1)
        client.post(f"/join/{token}")
    return client


def shown(response):
    assert response.status_code == 200, response.text
    return Page(response.text)


def send(client, action, page, **fields):
    return client.post(action, data={**page.form(action)["fields"], **fields})


def test_without_an_invitation_nothing_is_shown_and_nothing_counts(tmp_path):
    ballots, name = laid_out(tmp_path)
    client = client_of(ballots, joined=False)
    for response in (
        client.get("/"),
        client.get("/join/guess"),
        client.post("/join/guess"),
        client.post("/vote", data={"key": "1.a.b", "choice": "1"}),
        client.get("/", headers={"Cookie": f"{COOKIE}=r001.{'0' * 32}"}),
    ):
        assert response.status_code in (401, 404)
        assert "Please open your invitation" in response.text
        assert "first text" not in response.text
    assert ballots.votes(name) == []


def test_looking_at_an_invitation_does_not_use_it(tmp_path):
    ballots, _ = laid_out(tmp_path)
    (token,) = ballots.raters.invite(1)
    client = client_of(ballots, joined=False)
    response = client.get(f"/join/{token}")
    assert "Would you like to read more texts like this one?" in response.text
    assert "set-cookie" not in response.headers


def test_the_cookie_is_for_this_page_alone(tmp_path):
    ballots, _ = laid_out(tmp_path)
    (token,) = ballots.raters.invite(1)
    client = client_of(ballots, joined=False)
    cookie = client.post(f"/join/{token}", follow_redirects=False).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    secure = client_of(ballots, joined=False, public_url="https://votes.example.org")
    cookie = secure.post(
        f"/join/{token}", follow_redirects=False, headers={"Host": "votes.example.org"}
    ).headers["set-cookie"]
    assert "Secure" in cookie


def test_a_rater_votes_on_all_texts_and_is_thanked(tmp_path):
    ballots, name = laid_out(tmp_path)
    client = client_of(ballots)
    seen = []
    page = shown(client.get("/"))
    while page.form("/vote"):
        seen += page.texts
        page = shown(send(client, "/vote", page, choice="1"))
    assert sorted(seen) == ["first text", "second text", "third text"]
    assert "Thank you" in page.text
    assert [vote.value for vote in ballots.votes(name)] == [1, 1, 1]
    page = shown(send(client, "/undo", page))
    assert page.texts == seen[-1:]
    assert len(ballots.votes(name)) == 2


@pytest.mark.parametrize(
    ("settings", "choices"),
    [
        (Ballot(), ["No", "Yes"]),
        (Ballot(labels=("Nein", "Ja")), ["Nein", "Ja"]),
        (Ballot(design="stars"), ["1", "2", "3", "4", "5"]),
        (Ballot(design="pairs"), ["Text 1 is better", "Text 2 is better"]),
        (Ballot(design="best_of", group=3), [f"Text {i} is the best" for i in (1, 2, 3)]),
    ],
    ids=lambda value: value.design if isinstance(value, Ballot) else "",
)
def test_every_design_shows_its_answers_and_each_of_them_is_counted(tmp_path, settings, choices):
    ballots, name = laid_out(tmp_path, settings=settings)
    client = client_of(ballots)
    for number, label in enumerate(choices):
        page = shown(client.get("/"))
        form = page.form("/vote")
        if form is None:
            break
        value, words = list(form["choices"].items())[number]
        assert label in words
        send(client, "/vote", page, choice=value)
        votes = ballots.votes(name)
        assert len(votes) == number + 1
        assert {vote.value for vote in votes} <= set(settings.values)


def test_the_page_tells_nothing_of_a_texts_origin(tmp_path):
    ballots, name = laid_out(tmp_path)
    html = client_of(ballots).get("/").text
    for secret in ("g3-", "generation", "origin", "model", name, "score", "author"):
        assert secret not in html


def test_every_page_is_small_and_asks_for_nothing_else(tmp_path):
    ballots, _ = laid_out(tmp_path)
    client = client_of(ballots)
    (token,) = ballots.raters.invite(1)
    for path in ("/", "/pause", f"/join/{token}"):
        response = client.get(path)
        assert len(response.content) < 60_000
        attributes = [pair for _, attrs in Page(response.text).tags for pair in attrs.items()]
        links = {value for name, value in attributes if name in ("src", "href")}
        assert links <= {"data:,", "/", "/pause"}
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy


def test_every_control_has_a_name_and_the_page_a_language(tmp_path):
    ballots, _ = laid_out(tmp_path, settings=Ballot(design="pairs"))
    html = client_of(ballots).get("/").text
    page = Page(html)
    assert ("html", {"lang": "en"}) in page.tags
    assert [a["aria-label"] for tag, a in page.tags if a.get("class") == "text"] == [
        "Text 1",
        "Text 2",
    ]
    assert {a["dir"] for _, a in page.tags if a.get("class") == "text"} == {"auto"}
    labelled = {a["for"] for tag, a in page.tags if tag == "label"}
    assert {a["id"] for tag, a in page.tags if tag in ("select", "progress")} == labelled
    assert "width=device-width" in html
    assert "prefers-color-scheme: dark" in html


# --- hostile texts --------------------------------------------------------------------------


def test_sixty_hostile_texts_are_shown_as_text_and_nothing_of_them_becomes_a_page(tmp_path):
    assert len(HOSTILE) == 60
    settings = Ballot(raters_per_text=1, texts_per_rater=None)
    ballots, name = laid_out(tmp_path, HOSTILE, settings)
    harmless, _ = laid_out_harmless(tmp_path / "other", settings)
    expected_tags = [tag for tag, _ in harmless.tags]
    client = client_of(ballots, votes_per_minute=10_000)
    seen = []
    page = shown(client.get("/"))
    while page.form("/vote"):
        assert [tag for tag, _ in page.tags] == expected_tags
        assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
        seen += page.texts
        page = shown(send(client, "/vote", page, choice="1"))
    assert sorted(seen) == sorted(displayed(text) for text in HOSTILE)
    assert len(ballots.votes(name)) == 60


def laid_out_harmless(folder, settings):
    folder.mkdir()
    ballots, _ = laid_out(folder, ["harmless"], settings)
    return Page(client_of(ballots).get("/").text), ballots


def test_a_question_and_labels_of_markup_are_text_too(tmp_path):
    question = "<script>alert(1)</script>?"
    settings = Ballot(question=question, labels=("<b>no", '"yes'))
    ballots, _ = laid_out(tmp_path, settings=settings)
    response = client_of(ballots).get("/")
    page = shown(response)
    assert list(page.form("/vote")["choices"].values()) == ["← <b>no", '→ "yes']
    scripts = [attrs for tag, attrs in page.tags if tag == "script"]
    nonce = re.search(r"script-src 'nonce-([\w-]+)'", response.headers["content-security-policy"])
    assert scripts == [{"nonce": nonce[1]}]


def test_control_characters_become_visible():
    assert displayed("\x00\x1b\r\na\rb\x7f\u202e") == "␀␛\na\nb[U+007F][U+202E]"
    assert displayed("שלום \u200f!") == "שלום \u200f!"  # marks of honest right-to-left text stay


# --- what is sent ---------------------------------------------------------------------------


def test_tampered_votes_get_a_clear_answer_and_change_nothing(tmp_path):
    ballots, name = laid_out(tmp_path)
    client, other = client_of(ballots), client_of(ballots)
    page = shown(client.get("/"))
    key = page.form("/vote")["fields"]["key"]
    stranger = shown(other.get("/")).form("/vote")["fields"]["key"]
    for fields, status, words in (
        ({"key": stranger, "choice": "1"}, 403, "not made for you"),
        ({"key": key + "0", "choice": "1"}, 403, "not made for you"),
        ({"key": "", "choice": "1"}, 403, "not made for you"),
        ({"choice": "1"}, 403, "not made for you"),
        ({"key": key}, 400, "not one of the answers"),
        ({"key": key, "choice": "2"}, 400, "not one of the answers"),
        ({"key": key, "choice": "-1"}, 400, "not one of the answers"),
        ({"key": key, "choice": "9" * 5000}, 400, "not one of the answers"),
        ({"key": key, "choice": "²"}, 400, "not one of the answers"),
        ({"key": key, "choice": "x" * 20_000}, 413, "too large"),
    ):
        response = client.post("/vote", data=fields)
        assert (response.status_code, words in response.text) == (status, True), fields
        assert "first text" not in response.text
    many = "&".join(f"a{i}=1" for i in range(50))
    assert client.post("/vote", content=many).status_code == 400
    assert client.post("/vote", content=b"\xff\xfe").status_code == 400
    assert client.post("/skip", data={"key": key, "reason": "<b>"}).status_code == 400
    assert ballots.votes(name) == []
    assert send(client, "/vote", page, choice="1").status_code == 200
    assert len(ballots.votes(name)) == 1


def test_a_form_from_another_site_is_rejected(tmp_path):
    ballots, name = laid_out(tmp_path)
    client = client_of(ballots)
    page = shown(client.get("/"))
    fields = {**page.form("/vote")["fields"], "choice": "1"}
    response = client.post("/vote", data=fields, headers={"Sec-Fetch-Site": "cross-site"})
    assert response.status_code == 403
    assert "another site" in response.text
    assert client.post("/vote", data={"choice": "1"}).status_code == 403  # without the key
    assert ballots.votes(name) == []


def test_another_host_name_is_rejected(tmp_path):
    ballots, _ = laid_out(tmp_path)
    client = client_of(ballots)
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400


def test_a_double_click_two_tabs_and_the_back_button_count_one_vote(tmp_path):
    ballots, name = laid_out(tmp_path)
    client = client_of(ballots)
    first_tab, second_tab = shown(client.get("/")), shown(client.get("/"))
    assert first_tab.texts == second_tab.texts
    send(client, "/vote", first_tab, choice="1")
    send(client, "/vote", first_tab, choice="1")  # double click
    send(client, "/vote", second_tab, choice="0")  # the later tab decides
    send(client, "/vote", first_tab, choice="1")  # back, and the old form again
    assert [vote.value for vote in ballots.votes(name)] == [0]


def test_a_vote_in_a_closed_round_is_not_counted_and_the_rater_is_told(tmp_path):
    ballots, name = laid_out(tmp_path)
    client = client_of(ballots)
    page = shown(client.get("/"))
    ballots.close_ballot(name)
    response = send(client, "/vote", page, choice="1")
    assert response.status_code == 409
    assert "round is closed" in response.text
    assert ballots.votes(name) == []


def test_skip_and_report_bring_the_next_text(tmp_path):
    ballots, name = laid_out(tmp_path)
    client = client_of(ballots)
    first = shown(client.get("/"))
    second = shown(send(client, "/skip", first, reason="I cannot decide"))
    third = shown(send(client, "/report", second))
    assert len({*first.texts, *second.texts, *third.texts}) == 3
    state = ballots.state(name)
    assert (state.num_skipped, state.num_reported, state.num_votes) == (2, 1, 0)


def test_too_many_votes_a_minute_are_slowed_down_and_not_lost(tmp_path):
    ballots, name = laid_out(tmp_path, [f"text {i}" for i in range(20)])
    client = client_of(ballots, votes_per_minute=5)
    for _ in range(5):
        page = shown(send(client, "/vote", shown(client.get("/")), choice="1"))
    response = send(client, "/vote", page, choice="1")
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) <= 12
    assert "too fast" in response.text
    assert len(ballots.votes(name)) == 5


def test_guessing_invitations_is_slowed_down(tmp_path):
    ballots, _ = laid_out(tmp_path)
    client = client_of(ballots, joined=False)
    # 60 at once, then one in a second: a slow machine needs some more to be too fast.
    statuses = (client.get(f"/join/{i}").status_code for i in range(500))
    first = [next(statuses) for _ in range(60)]
    assert first == [404] * 60
    assert 429 in statuses


def test_a_whole_lab_may_join_from_one_address_in_a_minute(tmp_path):
    ballots, _ = laid_out(tmp_path)
    client = client_of(ballots, joined=False)
    for token in ballots.raters.invite(70):  # more than may be wrong in a minute
        assert client.get(f"/join/{token}").status_code == 200
        client.cookies.clear()
        response = client.post(f"/join/{token}", follow_redirects=False)
        assert response.status_code == 303


def test_a_vote_that_cannot_be_saved_says_so(tmp_path):
    ballots, name = laid_out(tmp_path)
    told = []
    client = client_of(ballots, warn=told.append)
    newcomer = client_of(ballots, joined=False, warn=told.append)
    newcomer.post(f"/join/{ballots.raters.invite(1)[0]}", follow_redirects=False)
    page = shown(client.get("/"))
    ballots._database._connection.execute("PRAGMA query_only = ON")
    for _ in range(3):
        response = send(client, "/vote", page, choice="1")
        assert response.status_code == 507
        assert "could not be saved" in response.text
    (why,) = told  # the organiser, once a minute
    assert f"{tmp_path / VOTES}: people's votes cannot be read or written" in why
    response = newcomer.get("/")  # which would give a first text to this rater
    assert response.status_code == 507
    assert "The next text cannot be shown now." in response.text
    ballots._database._connection.execute("PRAGMA query_only = OFF")
    assert ballots.votes(name) == []
    assert send(client, "/vote", page, choice="1").status_code == 200


# --- the server itself ----------------------------------------------------------------------


def test_fifty_raters_at_once_lose_and_double_nothing_on_a_real_server(tmp_path):
    texts = [f"text {i}" for i in range(50)]
    settings = Ballot(raters_per_text=15)  # more than are cast, so that nobody runs out
    ballots, name = laid_out(tmp_path, texts, settings)
    tokens = ballots.raters.invite(50)
    with served(ballots) as url, ThreadPoolExecutor(50) as pool:
        counts = list(
            pool.map(lambda token: vote_through_page(url, token, lambda t, c: c[-1], 10), tokens)
        )
    votes = ballots.votes(name)
    assert sum(counts) == len(votes) == 500
    assert len({(vote.rater, vote.item) for vote in votes}) == 500


def test_a_second_server_on_a_file_and_a_port_in_use_are_errors(tmp_path):
    ballots, _ = laid_out(tmp_path)
    with served(ballots) as url:
        with pytest.raises(RunInUseError, match="another server has it open"):
            serve(ballots, port=0)
        (tmp_path / "other").mkdir()
        other, _ = laid_out(tmp_path / "other")
        with pytest.raises(RunError, match="choose another --port"):
            serve(other, port=int(url.rsplit(":", 1)[1]))


SERVER = """
import sys, pathlib
from textmad.rating.ballots import Ballots
from textmad.rating.page.server import serve
serve(Ballots(pathlib.Path(sys.argv[1])), port=0, tell=lambda url: print(url, flush=True))
"""


def killed_servers(folder, times):
    """Kill a server under load again and again; return acknowledged votes and those in the file."""
    texts = [f"text {i}" for i in range(2000)]
    settings = Ballot(raters_per_text=4, texts_per_rater=None)
    ballots, name = laid_out(folder, texts, settings)
    tokens = ballots.raters.invite(4)
    acknowledged: list[str] = []

    def work(url, token):
        browser = Browser(url)
        try:
            _, page = browser.join(token)
            while (form := page.form("/vote")) is not None:
                fields = {**form["fields"], "choice": "1"}
                status, page = browser.request("POST", "/vote", fields)
                if status == 200:  # what is shown next is the receipt
                    acknowledged.append(form["fields"]["key"])
        except (OSError, AssertionError):
            pass  # the server is gone
        except Exception as error:
            if "IncompleteRead" not in repr(error) and "RemoteDisconnected" not in repr(error):
                raise

    moments = random.Random(0)
    for _ in range(times):
        begun = time.monotonic()
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(folder / VOTES)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert Browser(url).request("GET", "/")[0] == 401  # it answers
        with ThreadPoolExecutor(4) as pool:
            for token in tokens:
                pool.submit(work, url, token)
            wanted = len(acknowledged) + moments.randrange(1, 20)
            while len(acknowledged) < wanted:
                assert time.monotonic() < begun + 300, "the server does not answer"
                time.sleep(moments.uniform(0, 0.01))
            server.send_signal(signal.SIGKILL)
            server.wait()
    with ballots._database.read() as db:
        used = {row[0] for row in db.execute("SELECT key FROM used_keys")}
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    return acknowledged, used, ballots.votes(name)


def check_killed_servers(folder, times):
    acknowledged, used, votes = killed_servers(folder, times)
    assert acknowledged
    assert set(acknowledged) <= used
    assert len({(v.rater, v.item, v.showing) for v in votes}) == len(votes)
    assert len(acknowledged) <= len(votes) <= len(acknowledged) + 4 * times  # in flight


def test_a_vote_that_the_page_acknowledged_survives_kill_9_of_the_server(tmp_path):
    check_killed_servers(tmp_path, 2)


@pytest.mark.slow
def test_a_vote_that_the_page_acknowledged_survives_200_kills_of_the_server(tmp_path):
    check_killed_servers(tmp_path, 200)
