"""A real browser, and raters who use the page with it."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.browser_raters import Rater

# Chromium does not begin its sandbox as root, as in a container.
_ARGUMENTS = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless Chromium of this machine, driven by playwright."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright: pip install '.[browser]'"
    )
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip("needs a Chromium on the PATH")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def join(chromium: Any) -> Iterator[Callable[..., Rater]]:
    """`join(link, **context)`: a rater in a browser of their own, who has used their invitation."""
    raters = []

    def joined(link: str, **options: Any) -> Rater:
        raters.append(Rater(chromium.new_context(**options)))
        raters[-1].join(link)
        return raters[-1]

    yield joined
    for rater in raters:
        rater.context.close()
        assert rater.faults == []
