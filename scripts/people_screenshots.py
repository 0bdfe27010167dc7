"""Screenshots of the page of `textmad rate`, of every design, and of the votes in a run's report.

python scripts/people_screenshots.py FOLDER

Writes PNG files of 256 colours, each page on a phone, on a desk, and in dark mode. The report is
that of recipes/people-vote with three simulated raters and one generation less, which takes some
minutes. Four files are in docs/people-vote.md (names in `IN_DOCS`); `--docs` writes these into
docs. Needs the extra `browser` and a Chromium on the PATH.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import textmad as tm  # noqa: E402
from tests.simulated_raters import served  # noqa: E402
from textmad.curation.scorers import hdd  # noqa: E402
from textmad.rating.ballot import Ballot  # noqa: E402
from textmad.rating.ballots import Ballots  # noqa: E402
from textmad.rating.database import VOTES  # noqa: E402

TEXTS = (
    "I went to the market this morning and it was so crowded, but I found the peaches that you "
    "like. Do you want me to bring some?",
    "haha yeah that is what I told him, he never listens though",
    "What did you think of the game last night? I could not believe that last goal.",
    "So what are you up to this weekend? I am thinking of going hiking if the weather holds.",
    "yes yes yes yes I think so too",
)
BALLOTS = {
    "up-down": Ballot(),
    "stars": Ballot(design="stars", question="How well is this text written?"),
    "pairs": Ballot(design="pairs", question="Which of the two would you rather answer?"),
    "best-of": Ballot(design="best_of", question="Which text would you post?"),
}
PHONE = {"viewport": {"width": 360, "height": 640}, "is_mobile": True, "has_touch": True}
VIEWS: dict[str, dict[str, Any]] = {
    "phone": PHONE,
    "dark": {**PHONE, "color_scheme": "dark"},
    "desk": {"viewport": {"width": 800, "height": 480}},
}
REPORT_VIEWS: dict[str, dict[str, Any]] = {
    "phone": {**PHONE, "viewport": {"width": 400, "height": 800}},
    "dark": {"viewport": {"width": 1000, "height": 800}, "color_scheme": "dark"},
    "desk": {"viewport": {"width": 1000, "height": 800}},
}
IN_DOCS = ("up-down-phone", "stars-dark", "pairs-desk", "report-desk")
NUM_RATERS = 3


def shoot(page: Any, path: Path, section: Any = None) -> None:
    """Write what the page shows, or a whole section of it, as a small PNG."""
    page.wait_for_load_state("networkidle")
    (section or page).screenshot(path=path)
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)


def voted_run(folder: Path) -> tm.Run:
    """Run recipes/people-vote for two generations; raters with a taste for varied words vote."""
    recipe = tm.load_recipe(ROOT / "recipes/people-vote/recipe.yaml")
    settings = recipe.dump() | {"generations": 1}
    settings["curate"][0]["people"]["ballot"]["raters_per_text"] = NUM_RATERS
    recipe = tm.Recipe(**settings)
    rng = np.random.default_rng(0)
    while True:
        try:
            return tm.run(recipe, folder)
        except tm.WaitingForVotesError:
            ballots = Ballots(folder / VOTES)
            ballots.raters.invite(NUM_RATERS - len(ballots.raters.names()))
            for rater in ballots.raters.names():
                while (task := ballots.voting.next_task(rater)) is not None:
                    quality = hdd(task.texts[0].casefold().split(), 10)
                    ballots.voting.cast(rater, task.key, int(quality + 0.05 * rng.normal() > 0.93))
            ballots.close()


def shoot_report(browser: Any, folder: Path) -> None:
    """Take the section on people's votes in the report of a run."""
    with tempfile.TemporaryDirectory() as run:
        page_path = folder / "report.html"
        tm.write_report([voted_run(Path(run) / "run")], page_path)
    for view, context in REPORT_VIEWS.items():
        page = browser.new_context(**context).new_page()
        page.goto(page_path.resolve().as_uri())
        section = page.locator("section", has=page.get_by_role("heading", name="People's votes"))
        shoot(page, folder / f"report-{view}.png", section.first)
        page.context.close()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--docs", action="store_true")
    given = options.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=arguments
        )
        for name, settings in BALLOTS.items():
            with tempfile.TemporaryDirectory() as folder:
                ballots = Ballots(Path(folder) / VOTES)
                ids = [f"g0-{i}" for i in range(len(TEXTS))]
                ballots.lay_out(settings, 0, ids, TEXTS, np.random.default_rng(1))
                with served(ballots) as url:
                    for view, context in VIEWS.items():
                        (token,) = ballots.raters.invite(1)
                        page = browser.new_context(**context).new_page()
                        page.goto(f"{url}/join/{token}")
                        if name == "up-down":
                            shoot(page, given.folder / f"welcome-{view}.png")
                        page.click("text=Begin")
                        page.wait_for_selector("#vote")
                        shoot(page, given.folder / f"{name}-{view}.png")
                        if name == "up-down":
                            page.click("summary")
                            shoot(page, given.folder / f"skip-{view}.png")
                        page.context.close()
        shoot_report(browser, given.folder)
        browser.close()
    if given.docs:
        for name in IN_DOCS:
            shutil.copy(given.folder / f"{name}.png", ROOT / "docs" / f"people-vote-{name}.png")


if __name__ == "__main__":
    main()
