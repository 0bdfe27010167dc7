"""Voting in a real browser: keys, touch, without JavaScript, and what goes wrong on the way."""

from pathlib import Path

import numpy as np
import pytest

from tests.browser_raters import PHONE
from tests.hostile_texts import HOSTILE
from tests.simulated_raters import served
from textmad.rating.ballot import Ballot
from textmad.rating.ballots import Ballots
from textmad.rating.database import VOTES
from textmad.rating.page.display import displayed

pytestmark = pytest.mark.browser
TEXTS = tuple(f"text {i}, which is about the weather and the way home" for i in range(8))
DESIGNS = ("up_down", "pairs", "best_of", "stars")


class Poll:
    """Texts laid out in a folder, and the server of their page."""

    def __init__(self, folder, texts=TEXTS, **settings):
        self.ballots = Ballots(Path(folder) / VOTES)
        ids = [f"g3-{i}" for i in range(len(texts))]
        self.ballot = self.ballots.lay_out(
            Ballot(**settings), 3, ids, list(texts), np.random.default_rng(0)
        )

    def served(self, **options):
        return served(self.ballots, **options)

    def link(self, url):
        (token,) = self.ballots.raters.invite(1)
        return f"{url}/join/{token}"

    @property
    def votes(self):
        return self.ballots.votes(self.ballot)

    def text_of(self, vote):
        """The text that a vote chose, or was about."""
        return vote.documents[vote.value if len(vote.documents) > 1 else 0]

    @property
    def values(self):
        """The values in the order in which they were cast."""
        return [vote.value for vote in sorted(self.votes, key=lambda vote: vote.cast_at)]


@pytest.fixture
def poll(tmp_path):
    """`poll(**settings)`: texts laid out."""
    return lambda texts=TEXTS, **settings: Poll(tmp_path, texts, **settings)


def box(rater, selector):
    found = rater.page.locator(selector).first.bounding_box()
    assert found is not None
    return found


def chosen_texts(poll):
    votes = sorted(poll.votes, key=lambda vote: vote.cast_at)
    return [TEXTS[int(poll.text_of(vote).removeprefix("g3-"))] for vote in votes]


# --- keys and fingers -----------------------------------------------------------------------


def test_arrows_answer_yes_and_no_and_u_takes_back(poll, join):
    poll = poll()
    with poll.served() as url:
        rater = join(poll.link(url))
        (first,) = rater.texts
        rater.press("ArrowRight")
        rater.press("ArrowLeft")
        assert poll.values == [1, 0]
        rater.press("u")
        assert poll.values == [1]
        rater.press("u")
        assert poll.values == []
        assert rater.texts == [first]
        rater.read()
        rater.page.keyboard.press("u")  # nothing is left to take back
        rater.read()
        assert rater.texts == [first]


def test_the_keys_1_to_5_give_stars(poll, join):
    poll = poll(design="stars")
    with poll.served() as url:
        rater = join(poll.link(url))
        for key in "15243":
            rater.press(key)
        assert poll.values == [1, 5, 2, 4, 3]


@pytest.mark.parametrize(
    ("design", "keys"), [("pairs", ["1", "2", "ArrowLeft", "ArrowRight"]), ("best_of", "1234")]
)
def test_keys_choose_the_text_at_their_place_on_the_screen(poll, join, design, keys):
    poll = poll(design=design)
    places = {"1": 0, "2": 1, "3": 2, "4": 3, "ArrowLeft": 0, "ArrowRight": 1}
    with poll.served() as url:
        rater = join(poll.link(url))
        expected = []
        for key in keys:
            expected.append(rater.texts[places[key]])
            rater.press(key)
        assert chosen_texts(poll) == expected


def test_keys_with_control_or_in_a_field_are_no_answers(poll, join):
    poll = poll(design="stars")
    with poll.served() as url:
        rater = join(poll.link(url))
        rater.read()
        rater.page.keyboard.press("Control+1")
        rater.page.locator("summary").click()
        rater.page.locator("select").focus()
        rater.page.keyboard.press("1")
        rater.read()
        assert poll.values == []


@pytest.mark.parametrize("design", DESIGNS)
def test_a_thumb_on_a_phone_of_360_px_reaches_every_answer(poll, join, design):
    poll = poll(design=design)
    with poll.served() as url:
        rater = join(poll.link(url), **PHONE)
        page = rater.page
        page.wait_for_function("window.visualViewport.scale === 1")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        sizes = page.locator("button, summary, a, select").evaluate_all(
            "all => all.filter(x => x.checkVisibility()).map(x => x.getBoundingClientRect())"
            ".map(({left, right, width, height}) => [left, right, width, height])"
        )
        for left, right, width, height in sizes:
            assert left >= 0
            assert right <= 360
            assert min(width, height) >= 44  # the least size of a target for a finger
        if design in ("up_down", "stars"):  # without scrolling
            assert box(rater, ".answers")["y"] + box(rater, ".answers")["height"] <= 640
        assert page.locator("kbd").evaluate_all("all => all.some(x => x.checkVisibility())") is (
            False
        )  # a phone has no keys
        values = list(Ballot(design=design).values)
        expected = rater.texts
        rater.act(lambda: page.locator("button[name=choice]").last.tap())
        if design in ("up_down", "stars"):
            assert poll.values == [values[-1]]
        else:
            assert chosen_texts(poll) == expected[-1:]


def test_the_answers_stay_at_the_same_place_however_long_the_text_is(poll, join):
    poll = poll(texts=("short", "a long text " * 12, "an endless text " * 400))
    with poll.served() as url:
        for options in (PHONE, {"viewport": {"width": 1000, "height": 700}}):
            rater = join(poll.link(url), **options)
            places = {}
            while rater.key:
                places[rater.texts[0]] = box(rater, ".answers")["y"]
                rater.vote(1)
            least, most = min(places.values()), max(places.values())
            if options is PHONE:
                assert most == least
            else:  # they move for what does not fit
                assert places["short"] == places["a long text " * 12] == least
                assert most < 700


# --- without JavaScript ---------------------------------------------------------------------


@pytest.mark.parametrize("design", ["up_down", "best_of"])
def test_everything_works_without_javascript(poll, join, design):
    poll = poll(design=design, texts_per_rater=2)
    with poll.served() as url:
        rater = join(poll.link(url), java_script_enabled=False)
        page = rater.page

        def click(name):
            with page.expect_navigation():
                page.get_by_role("button", name=name).first.click()

        values = list(Ballot(design=design).values)
        answer = page.locator("button[name=choice]").last
        texts = rater.texts
        with page.expect_navigation():
            answer.click()
        (vote,) = poll.votes
        if design in ("up_down", "stars"):
            assert vote.value == values[-1]
        else:
            assert chosen_texts(poll) == texts[-1:]
        click("Undo")
        assert poll.votes == []
        assert rater.texts == texts
        page.locator("summary").click()
        page.locator("select").select_option("It is not in my language")
        click("Skip this text")
        assert poll.ballots.state(poll.ballot).num_skipped == 1
        page.locator("summary").click()
        click("Report as offensive")
        assert poll.ballots.state(poll.ballot).num_reported == 1
        page.get_by_role("link", name="Pause").click()
        page.get_by_role("link", name="Go on").click()
        for _ in range(2):
            with page.expect_navigation():
                page.locator("button[name=choice]").last.click()
        assert page.locator("h1").inner_text() == "Thank you"
        assert len(poll.votes) == 2


# --- what a screen reader hears, and what eyes see ------------------------------------------

_ROLES_WITH_NAMES = ("button", "link", "combobox", "ProgressIndicator", "progressbar", "region")


@pytest.mark.parametrize("design", DESIGNS)
def test_everything_to_operate_has_a_name_in_the_browsers_accessibility_tree(poll, join, design):
    poll = poll(design=design)
    with poll.served() as url:
        rater = join(poll.link(url))
        rater.page.locator("summary").click()
        session = rater.context.new_cdp_session(rater.page)
        nodes = session.send("Accessibility.getFullAXTree")["nodes"]
        named = [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node["ignored"]
        ]
        roles = [role for role, _ in named]
        for role in ("main", "heading", "region", "button", "combobox", "progressbar", "link"):
            assert role in roles or (role == "progressbar" and "ProgressIndicator" in roles)
        assert [
            pair for pair in named if pair[0] in _ROLES_WITH_NAMES and not pair[1].strip()
        ] == []
        focusable = [
            node
            for node in nodes
            for each in node.get("properties", [])
            if each["name"] == "focusable" and each["value"]["value"] and not node["ignored"]
        ]
        assert [
            node["role"]["value"]
            for node in focusable
            if not node.get("name", {}).get("value", "").strip()
        ] == []
        regions = [name for role, name in named if role == "region"]
        num = len(rater.texts)
        assert regions == (["Text"] if num == 1 else [f"Text {i + 1}" for i in range(num)])
        buttons = [name for role, name in named if role == "button"]
        assert len(buttons) == len(set(buttons))  # each can be told from the others by its name
        if design == "stars":
            assert "3 of 5 stars" in buttons
        assert rater.page.get_attribute("html", "lang") == "en"
        assert rater.page.title()


def test_after_a_vote_the_focus_is_on_the_next_text_and_the_progress_is_announced(poll, join):
    poll = poll()
    with poll.served() as url:
        rater = join(poll.link(url))
        assert rater.page.locator("[role=status]").inner_text().strip() == "Text 1, 8 left"
        rater.vote(1)
        assert rater.page.locator("[role=status]").inner_text().strip() == "Text 2, 7 left"
        assert rater.page.evaluate("document.activeElement.className") == "text"
        assert rater.page.locator("progress").get_attribute("value") == "1"
        assert rater.page.locator("progress").get_attribute("max") == "8"


def test_the_tab_key_comes_to_everything_and_shows_where_it_is(poll, join):
    poll = poll()
    with poll.served() as url:
        rater = join(poll.link(url))
        rater.vote(1)  # so that Undo can be pressed
        stops = []
        for _ in range(6):
            width, name = rater.page.evaluate(
                "() => [getComputedStyle(document.activeElement).outlineWidth,"
                " (document.activeElement.innerText || '').trim().slice(0, 6)]"
            )
            stops.append(name)
            if len(stops) > 1:  # after the first press of Tab
                assert width == "3px"
            rater.page.keyboard.press("Tab")
        assert stops[1:] == ["← No", "→ Yes", "u Undo", "Skip", "Pause"]


_CONTRAST = """() => {
  const parse = (colour) => colour.match(/[0-9.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((x) => x / 255)
    .map((x) => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4)
    .reduce((sum, x, i) => sum + x * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll("main *")]
    .filter((e) => e.checkVisibility() && !e.disabled && !e.closest("select, :disabled")
      && [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()))
    .map((e) => {
      const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))];
      return [e.className || e.tagName, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
    });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground_in_light_and_dark_mode(poll, join, scheme):
    poll = poll()
    with poll.served() as url:
        rater = join(poll.link(url), color_scheme=scheme)
        rater.vote(1)
        rater.page.locator("summary").click()
        ratios = rater.page.evaluate(_CONTRAST)
        assert len(ratios) >= 8
        assert [pair for pair in ratios if pair[1] < 4.5] == []  # WCAG 2, level AA
        ground = rater.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, ground[4:-1].split(","))) < 60) == (scheme == "dark")


def test_right_to_left_and_chinese_text_is_laid_out_as_such_and_changes_nothing_around(poll, join):
    texts = {"שלום עולם, זה טקסט": "rtl", "مرحبا بالعالم 123": "rtl", "你好,世界。": "ltr"}
    poll = poll(texts=tuple(texts))
    with poll.served() as url:
        rater = join(poll.link(url), **PHONE)
        places = set()
        while rater.key:
            (text,) = rater.texts
            direction = rater.page.locator(".text").evaluate("e => getComputedStyle(e).direction")
            assert direction == texts[text]
            # The glyphs begin at the right edge, or at the left one.
            left, right = rater.page.locator(".text").evaluate(
                """e => {
                  const range = document.createRange();
                  range.selectNodeContents(e);
                  const [glyphs, box] = [range.getBoundingClientRect(), e.getBoundingClientRect()];
                  return [glyphs.left - box.left, box.right - glyphs.right];
                }"""
            )
            assert (right if direction == "rtl" else left) < 20
            labels = rater.page.locator("button[name=choice]").all_inner_texts()
            places.add((box(rater, "h1")["x"], *labels))
            rater.vote(1)
        assert places == {(12, "No", "Yes")}


# --- progress, pause, skip, report ----------------------------------------------------------


def test_a_pause_comes_back_to_the_same_text(poll, join):
    poll = poll()
    with poll.served() as url:
        rater = join(poll.link(url))
        rater.vote(1)
        texts = rater.texts
        rater.page.get_by_role("link", name="Pause").click()
        assert "Your votes are saved" in rater.page.inner_text("main")
        rater.page.get_by_role("link", name="Go on").click()
        assert rater.texts == texts
        assert poll.values == [1]


def test_skip_with_a_reason_and_report_bring_the_next_text(poll, join):
    poll = poll()
    with poll.served() as url:
        rater = join(poll.link(url))
        seen = [rater.texts[0]]
        rater.page.locator("summary").click()
        rater.page.locator("select").select_option("I do not understand the text")
        rater.click("Skip this text")
        seen.append(rater.texts[0])
        rater.page.locator("summary").click()
        rater.click("Report as offensive")
        seen.append(rater.texts[0])
        assert len(set(seen)) == 3
        state = poll.ballots.state(poll.ballot)
        assert (state.num_skipped, state.num_reported, state.num_votes) == (2, 1, 0)
        with poll.ballots._database.read() as db:
            reasons = {row[0] for row in db.execute("SELECT reason FROM tasks")}
        assert reasons == {"I do not understand the text", "reported", ""}


def test_at_the_end_the_page_thanks_and_the_last_vote_can_be_taken_back(poll, join):
    poll = poll(texts=TEXTS[:2])
    with poll.served() as url:
        rater = join(poll.link(url))
        rater.vote_on_all(lambda texts: 1)
        assert rater.page.locator("h1").inner_text() == "Thank you"
        rater.click("Undo the last vote")
        assert poll.values == [1]
        rater.vote(0)
        assert poll.values == [1, 0]


def test_who_is_done_sees_the_next_generation_without_a_click(poll, join):
    poll = poll(texts=TEXTS[:1])
    with poll.served() as url:
        rater = join(poll.link(url))
        rater.vote(1)
        assert rater.page.locator("h1").inner_text() == "Thank you"
        poll.ballots.lay_out(Ballot(), 4, ["g4-0"], ["a new one"], np.random.default_rng(0))
        rater.page.wait_for_selector("#vote", timeout=20_000)
        assert rater.texts == ["a new one"]


# --- what goes wrong on the way -------------------------------------------------------------


@pytest.mark.parametrize("way", ["click", "tap", "key"])
def test_a_double_click_is_one_vote_and_none_on_the_next_text(poll, join, way):
    poll = poll()
    with poll.served() as url:
        rater = join(poll.link(url), **(PHONE if way == "tap" else {}))
        rater.stop_clock()
        button = rater.page.get_by_role("button", name="Yes")

        def press():
            if way == "key":
                rater.page.keyboard.press("ArrowRight")
            else:
                button.tap() if way == "tap" else button.click()

        rater.read()
        press()
        press()  # while the first is sent, or on the next text
        rater.page.wait_for_selector("text=Text 2, 7 left")
        press()  # on the next text, at once
        assert poll.values == [1]
        rater.read()
        press()
        rater.page.wait_for_selector("text=Text 3, 6 left")
        assert poll.values == [1, 1]


def test_a_double_click_without_javascript_is_one_vote_on_a_text(poll, join):
    poll = poll()
    with poll.served() as url:
        rater = join(poll.link(url), java_script_enabled=False)
        rater.page.get_by_role("button", name="Yes").dblclick()
        rater.page.wait_for_selector("text=left")
        votes = poll.votes
        assert len({vote.item for vote in votes}) == len(votes)
        assert 1 <= len(votes) <= 2


def test_the_later_of_two_tabs_replaces_the_vote(poll, join):
    poll = poll()
    with poll.served() as url:
        rater = join(poll.link(url))
        other = rater.context.new_page()
        other.goto(url)
        assert other.locator(".text").all_text_contents() == rater.texts
        rater.vote(1)
        assert poll.values == [1]
        rater.read()
        other.get_by_role("button", name="No").click()
        other.wait_for_selector("text=Text 2, 7 left")
        assert poll.values == [0]
        # Both tabs now show the same next text.
        assert other.locator(".text").all_text_contents() == rater.texts


@pytest.mark.parametrize("has_javascript", [True, False])
def test_the_back_button_counts_nothing_twice(poll, join, has_javascript):
    poll = poll()
    with poll.served() as url:
        rater = join(poll.link(url), java_script_enabled=has_javascript)
        for number in range(3):
            rater.read()
            rater.page.get_by_role("button", name="Yes").click()
            rater.page.wait_for_selector(f"text=Text {number + 2}, {7 - number} left")
        rater.page.go_back()
        rater.page.go_forward()
        rater.page.reload()
        rater.page.wait_for_selector("text=Text 4, 5 left")
        assert poll.values == [1, 1, 1]


def test_a_phone_that_was_offline_sends_its_answer_when_it_is_back(poll, join):
    poll = poll()
    with poll.served() as url:
        rater = join(poll.link(url), **PHONE)
        texts = rater.texts
        rater.context.set_offline(True)
        rater.read()
        rater.page.get_by_role("button", name="Yes").tap()
        notice = rater.page.get_by_role("alert")
        notice.wait_for()
        assert "Keep this page open" in notice.inner_text()
        assert rater.page.evaluate("document.documentElement.scrollWidth") == 360
        assert rater.texts == texts  # it is still there to read
        rater.page.wait_for_timeout(3500)  # longer than one try
        assert poll.values == []
        rater.context.set_offline(False)
        rater.page.wait_for_selector("text=Text 2, 7 left")
        assert poll.values == [1]


def test_an_answer_to_a_server_that_has_stopped_arrives_when_it_is_back(poll, join):
    poll = poll()
    with poll.served() as url:
        rater = join(poll.link(url))
    rater.read()
    rater.page.get_by_role("button", name="Yes").click()
    rater.page.get_by_role("alert").wait_for()
    with poll.served(port=int(url.rsplit(":", 1)[1])):
        rater.page.wait_for_selector("text=Text 2, 7 left", timeout=20_000)
    assert poll.values == [1]


def test_an_answer_whose_receipt_was_lost_is_sent_again_and_counts_once(poll, join):
    poll = poll()
    with poll.served() as url:
        rater = join(poll.link(url))
        lost = []

        def lose(route):
            if not lost:
                lost.append(route.fetch(max_redirects=0).status)  # the server has it, we do not
                route.abort()
            else:
                route.continue_()

        rater.page.route("**/vote", lose)
        rater.read()
        rater.page.get_by_role("button", name="Yes").click()
        rater.page.wait_for_selector("text=Text 2, 7 left", timeout=20_000)
        assert lost == [303]
        assert poll.values == [1]


def test_who_is_too_fast_waits_and_loses_nothing(poll, join):
    poll = poll()
    with poll.served(votes_per_minute=30) as url:  # 30 at once, then one in two seconds
        rater = join(poll.link(url))
        for _ in range(14):
            rater.vote(1)
            rater.press("u")
        for _ in range(3):
            rater.vote(1)
        assert poll.values == [1, 1, 1]


def test_a_vote_in_a_closed_round_is_not_counted_and_the_rater_is_told(poll, join):
    poll = poll()
    with poll.served() as url:
        rater = join(poll.link(url))
        poll.ballots.close_ballot(poll.ballot)
        rater.read()
        rater.page.get_by_role("button", name="Yes").click()
        rater.page.wait_for_selector("text=This round is closed")
        rater.page.get_by_role("link", name="Go on").click()
        assert rater.page.locator("h1").inner_text() == "Thank you"
        assert poll.values == []


# --- hostile texts --------------------------------------------------------------------------


def test_sixty_hostile_texts_execute_nothing_and_the_layout_holds(poll, join):
    poll = poll(texts=HOSTILE, texts_per_rater=None, raters_per_text=1)
    with poll.served(votes_per_minute=10_000) as url:
        rater = join(poll.link(url), **PHONE)
        page = rater.page
        seen = []
        place = box(rater, ".answers")
        while rater.key:
            seen += rater.texts
            assert page.evaluate("document.documentElement.scrollWidth") == 360
            assert page.evaluate("document.documentElement.scrollHeight") <= 640
            assert box(rater, ".answers") == place
            assert page.locator(".text").evaluate("e => e.children.length") == 0
            assert page.title() == "Would you like to read more texts like this one?"
            rater.vote(1)
        assert sorted(seen) == sorted(displayed(text) for text in HOSTILE)
        assert len(poll.votes) == len(HOSTILE)
    # `join` asserts that no script has run and nothing was requested from elsewhere.


def test_hostile_texts_in_groups_hold_the_width_of_a_phone(poll, join):
    poll = poll(texts=HOSTILE, design="pairs", rounds=1, texts_per_rater=None, raters_per_text=1)
    with poll.served(votes_per_minute=10_000) as url:
        rater = join(poll.link(url), **PHONE)
        while rater.key:
            assert rater.page.evaluate("document.documentElement.scrollWidth") == 360
            rater.vote(1)
        assert len(poll.votes) == 30


def test_a_page_is_one_answer_below_60_kb(poll, join):
    poll = poll(texts=("a text of a hundred words " * 17,) * 8, design="best_of", group=8)
    with poll.served() as url:
        rater = join(poll.link(url), **PHONE)
        rater.requests.clear()
        response = rater.page.goto(url)
        assert len(response.body()) < 60_000
        assert [found for found in rater.requests if not found.startswith("data:")] == [f"{url}/"]
