"""Drawings of a population: who learned from whom, kinship, inbreeding beside diversity."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from textmad.analysis.series import series
from textmad.kinship import HUMAN, Individual, Pedigree
from textmad.report import plots
from textmad.report.plots import BLUE, GREY, ORANGE, PURPLE, Figure, Line, Panel
from textmad.report.tables import chosen_generations

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

MOST_MEMBERS = 16  # whose places are drawn
_MOST_GENERATIONS = 12
_WIDEST = 7.0  # points, of a parent that wrote all text
_BESIDE = np.array([0.07, 0.0])  # of the line of text: a line of weights


def pedigree(name: str, lineage: pd.DataFrame, inbreeding: dict[Individual, float]) -> Figure:
    """Draw members as columns, generations as rows, and a line from each parent to its child.

    Args:
        name: prefix of the ids inside, unique in a page.
        lineage: as of `Run.lineage`.
        inbreeding: of each member, which is the colour of its place.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    shown = sorted(set(lineage["generation"]))[:_MOST_GENERATIONS]
    rows = lineage[lineage["generation"].isin(shown) & (lineage["member"] < MOST_MEMBERS)]
    num_members = min(int(lineage["member"].max()) + 1, MOST_MEMBERS)
    last = max(shown)
    with rc_context(plots.STYLE):
        width = min(11.0, 2.2 + 0.85 * num_members)
        canvas = Canvas(figsize=(width, 1.5 + 0.75 * (last + 1)))
        axis = canvas.add_subplot()
        for row in rows.to_dict("records"):
            _draw_parent(axis, row)
        axis.axhspan(-1.18, -0.94, color=GREY, alpha=0.5, linewidth=0)
        axis.annotate("human text", (0.5, -1.06), xycoords=("axes fraction", "data"),
                      ha="center", va="center", fontsize=9)  # fmt: skip
        places = [each for each in inbreeding if each[0] in shown and each[1] < MOST_MEMBERS]
        _draw_places(axis, places, inbreeding)
        axis.set_xlim(-0.75, num_members - 0.25)
        axis.set_ylim(last + 0.5, -1.25)
        axis.set_xticks(range(num_members))
        axis.set_yticks(range(last + 1))
        axis.set_xlabel("member")
        axis.set_ylabel("generation")
        axis.grid(False)
        canvas.tight_layout()
        svg = plots.to_svg(canvas, name)
    left_out = _left_out(lineage, num_members, len(shown))
    return Figure(
        "Pedigree",
        "Lines lead from a parent to the member that learned its text; their width is its share of "
        "the tokens. Grey: human text. Dashed: weights. The number in a member is its inbreeding "
        f"coefficient F in percent.{left_out}",
        svg,
    )


def _left_out(lineage: pd.DataFrame, num_members: int, num_generations: int) -> str:
    members = int(lineage["member"].max()) + 1 - num_members
    generations = lineage["generation"].nunique() - num_generations
    parts = [f"{members} more members"] * (members > 0)
    parts += [f"{generations} later generations"] * (generations > 0)
    return f" Not drawn: {' and '.join(parts)}." if parts else ""


def _draw_parent(axis: Axes, row: Mapping[Hashable, Any]) -> None:
    child = np.array([row["member"], row["generation"]], dtype=float)
    style: dict[str, Any] = {"linewidth": max(0.5, _WIDEST * row["share"]), "zorder": 1}
    if row["parent_member"] == HUMAN:
        # From the source itself in generation 0; later a stub, or the lines would cover all.
        begin = child - [0, 1] if row["generation"] == 0 else child - [0.3, 0.46]
        style |= {"color": GREY, "alpha": 0.75}
    else:
        if row["parent_member"] >= MOST_MEMBERS:
            return
        begin = np.array([row["parent_member"], row["parent_generation"]], dtype=float)
        own = row["parent_member"] == row["member"]
        style |= {"color": BLUE if own else ORANGE, "alpha": 0.75}
        if row["by"] == "weights":
            style |= {"linestyle": (0, (3, 2)), "color": PURPLE, "linewidth": 1.4, "zorder": 2}
            begin, child = begin + _BESIDE, child + _BESIDE
    axis.plot(*np.stack([begin, child], axis=1), solid_capstyle="butt", **style)


def _draw_places(
    axis: Axes, places: Sequence[Individual], inbreeding: dict[Individual, float]
) -> None:
    from matplotlib import colormaps

    for generation, member in places:
        f = inbreeding[generation, member]
        face = colormaps["viridis"](0.92 - 0.8 * f)
        axis.plot(
            [member], [generation], "o", color=face, markersize=17, zorder=3,
            markeredgecolor="white", markeredgewidth=0.8,
        )  # fmt: skip
        ink = "white" if f > 0.35 else "black"
        axis.annotate(f"{100 * f:.0f}", (member, generation), ha="center", va="center",
                      fontsize=8, color=ink, zorder=4)  # fmt: skip


def kinship(name: str, pedigree: Pedigree, generation: int) -> Figure:
    """Draw the kinship of the members of a generation as a heat map."""
    members = pedigree.of_generation(generation)[:MOST_MEMBERS]
    numbers = [member for _, member in members]
    values = pedigree.kinship(members, members)
    more = len(pedigree.of_generation(generation)) - len(members)
    return Figure(
        f"Kinship in generation {generation}",
        "The chance that copies drawn from two members come from one copy of an ancestor. 0: "
        "unrelated. Of a member with itself it is (1 + F) / 2."
        + (f" {more} more members are not drawn." if more else ""),
        _heat_map(name, values, numbers, ("member", "member"), highest=1.0),
    )


def divergence(name: str, metrics: pd.DataFrame, generation: int) -> Figure | None:
    """Draw what each member's text costs each other one; None where it was not measured."""
    own = metrics[(metrics["metric"] == "cross_perplexity") & (metrics["generation"] == generation)]
    pairs = own[own["bin"].str.contains(" on ", regex=False)]
    found = {
        tuple(map(int, bin.split(" on "))): value
        for bin, value in zip(pairs["bin"], pairs["value"], strict=True)
        if np.isfinite(value)
    }
    num = min(1 + max((reader for reader, _ in found), default=-1), MOST_MEMBERS)
    if num < 2 or any(pair not in found for pair in np.ndindex(num, num)):
        return None
    nats = np.log([[found[reader, author] for author in range(num)] for reader in range(num)])
    return Figure(
        f"Members on each other's text in generation {generation}",
        "Nats per token that a text costs another member (row) more than its author (column). 0: "
        "to the reader the text is as likely as to its author.",
        _heat_map(name, nats - np.diagonal(nats), range(num), ("reader", "author")),
    )


def _heat_map(
    name: str,
    values: np.ndarray,
    members: Sequence[int],
    titles: tuple[str, str],
    highest: float | None = None,
) -> str:
    """Return a square of members as SVG, each value in its cell."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    highest = max(float(values.max()), 0.01) if highest is None else highest
    with rc_context(plots.STYLE):
        side = 1.4 + 0.5 * len(members)
        canvas = Canvas(figsize=(side + 0.9, side))
        axis = canvas.add_subplot()
        image = axis.imshow(values, cmap="viridis_r", vmin=0, vmax=highest)
        for i, j in np.ndindex(values.shape):
            ink = "white" if values[i, j] > highest / 2 else "black"
            axis.annotate(f"{values[i, j]:.2f}".replace("-", "−"), (j, i), ha="center",
                          va="center", fontsize=8, color=ink)  # fmt: skip
        numbers = [str(member) for member in members]
        axis.set_xticks(range(len(numbers)), numbers)
        axis.set_yticks(range(len(numbers)), numbers)
        axis.set_ylabel(titles[0])
        axis.set_xlabel(titles[1])
        axis.grid(False)
        axis.spines[:].set_visible(False)
        bar = canvas.colorbar(image, ax=axis, shrink=0.8)
        bar.outline.set_visible(False)
        canvas.tight_layout()
        return plots.to_svg(canvas, name)


def inbreeding(name: str, pedigree: Pedigree) -> Figure:
    """Draw the members' F and their kinship with each other by generation, as means."""
    generations = sorted({generation for generation, _ in pedigree.members})
    of_members = [pedigree.of_generation(g) for g in generations]
    f = [float(pedigree.inbreeding(members).mean()) for members in of_members]
    lines, highest = [Line("F", generations, f, ORANGE)], max(f)
    if min(map(len, of_members)) > 1:
        kin = [_between(pedigree.kinship(members, members)) for members in of_members]
        lines.append(Line("kinship", generations, kin, BLUE, "s"))
        highest = max(highest, *kin)
    return Figure(
        "Inbreeding by generation",
        "Means over members: F of a member, and the kinship of two different ones. Both are "
        "expected values for text that no selection touches, from the shares of tokens.",
        plots.draw(
            name,
            [Panel("", lines)],
            x_title="generation",
            y_title="coefficient",
            y_limits=(-0.01, max(0.25, 1.1 * highest)),
        ),
    )


def _between(kinship: np.ndarray) -> float:
    different = ~np.eye(len(kinship), dtype=bool)
    return float(kinship[different].mean())


def diversity(name: str, metrics: pd.DataFrame) -> Figure | None:
    """Draw distinct-2 of the union and within members; None where it was not measured."""
    lines = []
    for label, bin, color, marker in (("union", "", BLUE, "o"), ("member", "within", ORANGE, "s")):
        points = series(metrics, "population_distinct_2", "drawn", bin).values
        if points:
            lines.append(Line(label, list(points), list(points.values()), color, marker))
    if not lines:
        return None
    return Figure(
        "Diversity within and between members",
        "Distinct-2 of sampled text, on as many words of all members' union as of one member. No "
        "gap: together they write nothing that one of them would not.",
        plots.draw(name, [Panel("", lines)], x_title="generation", y_title="distinct-2 (share)"),
    )


def by_member(
    name: str, values: pd.DataFrame, metric: str, split: str, heading: str, y_title: str
) -> Figure | None:
    """Draw a metric of each member by generation; None where no member has it."""
    if values.empty:
        return None
    num_members = int(values["member"].max()) + 1
    chosen = chosen_generations(range(num_members), at_most=8)  # members, evenly spaced
    lines = []
    for member, color in zip(chosen, plots.shades(len(chosen)), strict=True):
        points = series(values[values["member"] == member], metric, split).values
        if points:
            lines.append(Line(str(member), list(points), list(points.values()), color))
    if not lines:
        return None
    more = "" if len(chosen) == num_members else f" {len(chosen)} of {num_members} members."
    return Figure(
        heading,
        f"A line for each member; its number stands at the end.{more}",
        plots.draw(name, [Panel("", lines)], x_title="generation", y_title=y_title),
    )
