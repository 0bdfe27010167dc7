"""Raters who vote through the page as a browser without JavaScript does: links, forms, cookies."""

import http.client
import threading
from contextlib import contextmanager
from html.parser import HTMLParser
from urllib.parse import urlencode, urlsplit

import textmad as tm
from textmad.rating.ballots import Ballots
from textmad.rating.database import VOTES
from textmad.rating.page.server import serve


class Page(HTMLParser):
    """What a page holds: forms with their fields and buttons, texts, scripts, every attribute."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.forms, self.texts, self.tags, self.words = [], [], [], []
        self._in_text = 0
        self._button = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if self._in_text:
            self._in_text += 1
        if tag == "form":
            self.forms.append({"action": attributes.get("action"), "fields": {}, "choices": {}})
        elif tag == "input" and self.forms:
            self.forms[-1]["fields"][attributes["name"]] = attributes["value"]
        elif tag == "button" and "name" in attributes:
            self._button = attributes["value"]
            self.forms[-1]["choices"][self._button] = ""
        elif tag == "div" and attributes.get("class") == "text":
            self._in_text = 1
            self.texts.append("")

    def handle_endtag(self, tag):
        if self._in_text:
            self._in_text -= 1
        if tag == "button":
            self._button = None

    def handle_data(self, data):
        self.words.append(data)
        if self._in_text:
            self.texts[-1] += data
        if self._button is not None:
            self.forms[-1]["choices"][self._button] += data

    def form(self, action):
        return next((form for form in self.forms if form["action"] == action), None)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


class Browser:
    """One rater's browser: a connection and a cookie."""

    def __init__(self, url):
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        self._cookie = None

    def request(self, method, path, fields=None, headers=None):
        """Return status and page, redirects followed as browsers do."""
        body = None if fields is None else urlencode(fields)
        sent = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        if self._cookie:
            sent["Cookie"] = self._cookie
        self._connection.request(method, path, body, {**sent, **(headers or {})})
        response = self._connection.getresponse()
        html = response.read().decode()
        if cookie := response.getheader("Set-Cookie"):
            self._cookie = cookie.split(";")[0]
        if response.status == 303:
            return self.request("GET", response.getheader("Location"))
        return response.status, Page(html)

    def join(self, token):
        return self.request("POST", f"/join/{token}", {})

    def close(self):
        self._connection.close()


def vote_through_page(url, token, choose, most=None):
    """Vote until the page shows no text (or `most` times); return how often.

    `choose` takes the texts on the screen and the choices there are, and returns one of these.
    """
    browser = Browser(url)
    _, page = browser.join(token)
    votes = 0
    while (form := page.form("/vote")) is not None and votes != most:
        choice = choose(page.texts, list(form["choices"]))
        status, page = browser.request("POST", "/vote", {**form["fields"], "choice": choice})
        assert status == 200, page.text
        votes += 1
    browser.close()
    return votes


def run_with_votes(recipe, out, shared=None):
    """Run a recipe to its end; where it waits for people, one rater votes by the texts' length."""
    while True:
        try:
            return tm.run(recipe, out, shared=shared)
        except tm.WaitingForVotesError:
            ballots = Ballots((shared.study if shared else out) / VOTES, must_exist=True)
            if not ballots.raters.names():
                ballots.raters.invite(1)
            (rater,) = ballots.raters.names()
            while (task := ballots.voting.next_task(rater)) is not None:
                ballots.voting.cast(rater, task.key, len(task.texts[0]) % 2)
            ballots.close()


@contextmanager
def served(ballots, **options):
    """The address of a real server in a thread of its own."""
    address, stop = [], threading.Event()
    ready = threading.Event()

    def tell(url):
        address.append(url)
        ready.set()

    thread = threading.Thread(
        target=serve,
        args=(ballots,),
        kwargs={"port": 0, "is_done": stop.is_set, "tell": tell, **options},
    )
    thread.start()
    assert ready.wait(60)
    try:
        yield address[0]
    finally:
        stop.set()
        thread.join(60)
