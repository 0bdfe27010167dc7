"""Raters who use the page in a real browser, as playwright drives it."""

from urllib.parse import urlsplit

TOO_SOON_MS = 320  # within 300 ms of a text's appearance an answer is the end of a double click
PHONE = {
    "viewport": {"width": 360, "height": 640},
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 2,
}


class Rater:
    """One rater's browser: its context, its page, and what has gone wrong in it.

    Attributes:
        faults: scripts of texts that were executed, errors of the page's own script, and requests
            to elsewhere.
        requests: the addresses of all requests.
    """

    def __init__(self, context):
        self.context = context
        self.faults, self.requests = [], []
        self._host, self._is_stopped = None, False
        context.on("page", self._watch)
        self.page = context.new_page()

    def _watch(self, page):
        def dialog(found):
            self.faults.append(f"dialog {found.message}")
            found.dismiss()

        page.on("dialog", dialog)
        page.on("pageerror", lambda error: self.faults.append(f"error {error}"))
        page.on("request", self._requested)

    def _requested(self, request):
        self.requests.append(request.url)
        parts = urlsplit(request.url)
        if parts.scheme != "data" and parts.netloc != self._host:
            self.faults.append(f"request {request.url}")

    def stop_clock(self):
        """Let time pass in the page only by `read`, however slow this machine is."""
        self._is_stopped = True
        self.page.clock.install()
        self.page.clock.pause_at(self.page.evaluate("Date.now()") + 60_000)

    def join(self, link):
        self._host = urlsplit(link).netloc
        self.page.goto(link)
        self.page.get_by_role("button", name="Begin").click()
        self.page.wait_for_selector("h1:not(:text('Your vote on texts'))")

    @property
    def texts(self):
        """What the texts on the screen say."""
        return self.page.locator(".text").all_text_contents()

    @property
    def key(self):
        """The key of the form on the screen; None where there is none."""
        form = self.page.locator("#vote input[name=key]")
        return form.get_attribute("value") if form.count() else None

    def read(self):
        """Take as long as the page expects before an answer."""
        if self._is_stopped:
            self.page.clock.run_for(TOO_SOON_MS)
        else:
            self.page.wait_for_timeout(TOO_SOON_MS)

    def act(self, action):
        """Do something after a while, and wait until another page or form is there."""
        self.read()
        before = self.key
        action()
        self.page.wait_for_function(
            "before => (document.querySelector('#vote input[name=key]') || {}).value !== before",
            arg=before,
        )

    def press(self, key):
        self.act(lambda: self.page.keyboard.press(key))

    def click(self, name):
        self.act(lambda: self.page.get_by_role("button", name=name, exact=False).click())

    def vote(self, choice):
        """Click the answer with this value."""
        self.act(lambda: self.page.locator(f"button[name=choice][value='{choice}']").click())

    def vote_on_all(self, choose):
        """Vote until the page shows no text; return how often."""
        votes = 0
        while self.key is not None:
            self.vote(choose(self.texts))
            votes += 1
        return votes
