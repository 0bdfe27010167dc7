"""Draw docs/crowd/*.svg with the real crowd: `python scripts/crowd_figures.py`."""

from pathlib import Path

import numpy as np

from textmad.curation import Author, Bots, Context, Crowd, Exposure, Upvotes
from textmad.evaluators.votes import gini
from textmad.report.plots import BLUE, GREEN, ORANGE, Line, Panel, draw
from textmad.seeds import stream
from textmad.text.documents import documents

NUM = 8192
QUALITY = stream(0, "crowd figures").normal(size=NUM)
BEST = np.sort(QUALITY)[-NUM // 4]
TEXTS = {
    "text": [repr(q) + " buy" * (i % 10 == 0) for i, q in enumerate(QUALITY.tolist())],
    "id": [f"g0-{index}" for index in range(NUM)],
    "origin": ["model"] * NUM,
}
COLORS = (BLUE, ORANGE, GREEN)


def quality(texts):
    return [float(text.split()[0]) for text in texts]


def judged(judge):
    nothing = documents({"text": []})
    rng = stream(0, "crowd figures", "votes")
    context = Context(
        0, rng, nothing, lambda g: nothing, lambda t: [], lambda t: [], lambda t: [], 1
    )
    return judge(documents(TEXTS), context)


def best_kept(**settings):
    """Of the kept quarter, the percentage that is in the best quarter."""
    return 100 * (QUALITY[judged(Upvotes(quality, **settings)).keep] >= BEST).mean()


def figure(name, x, lines, x_title, y_title, y_limits=None):
    drawn = [
        Line(label, x, [value(each) for each in x], color)
        for (label, value), color in zip(lines.items(), COLORS, strict=False)
    ]
    svg = draw(name, [Panel("", drawn)], x_title=x_title, y_title=y_title, y_limits=y_limits)
    svg = svg.replace("<svg ", '<svg style="background: white; color: #222" ', 1)
    folder = Path(__file__).parents[1] / "docs" / "crowd"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.svg").write_text(svg, encoding="utf-8")


PERCENT = range(0, 101, 10)
BEST_TITLE = "kept from the best quarter (%)"
figure(
    "wrong-votes",
    range(0, 51, 5),
    {
        f"{n} voters": lambda wrong, n=n: best_kept(voters=n, crowd=Crowd(at_random=wrong / 50))
        for n in (5, 50, 500)
    },
    "wrong votes (%)",
    BEST_TITLE,
    (0, 105),
)
figure(
    "noise",
    range(0, 11),
    {f"{n} voters": lambda noise, n=n: best_kept(voters=n, noise=float(noise)) for n in (5, 50)},
    "noise (standard deviations of quality)",
    BEST_TITLE,
    (0, 105),
)
figure(
    "herding",
    PERCENT,
    {
        f"{n} voters": lambda share, n=n: best_kept(voters=n, crowd=Crowd(herding=share / 100))
        for n in (50, 500)
    },
    "votes that follow the score (%)",
    BEST_TITLE,
    (0, 105),
)


def upvotes_gini(exposure):
    return gini(judged(Upvotes(quality, exposure=exposure)).columns["ups"].astype(float))


figure(
    "exposure",
    range(10, 100, 10),
    {
        "uniform": lambda share: upvotes_gini(Exposure(attention=share / 100)),
        "by rank": lambda share: upvotes_gini(Exposure("rank", attention=share / 100)),
    },
    "attention (% of the documents)",
    "Gini of upvotes",
    (0, 1),
)


def targets_kept(share, rank):
    bots = Bots(share / 100, pattern="buy") if share else Bots()
    keep = judged(Upvotes(quality, bots=bots, rank=rank)).keep
    return 100 * keep[::10].mean()


figure(
    "bots",
    range(0, 51, 5),
    {rank: lambda share, rank=rank: targets_kept(share, rank) for rank in ("net", "wilson")},
    "bots (% of the voters)",
    "targets kept (%)",
    (0, 105),
)


def posted(drafts, noise):
    return QUALITY[judged(Author(drafts, quality, noise=noise)).keep].mean()


figure(
    "drafts",
    [2, 4, 8, 16, 32, 64],
    {f"noise {n:g}": lambda drafts, n=n: posted(drafts, n) for n in (0.0, 0.5, 1.0)},
    "drafts",
    "mean quality of what is posted",
)
