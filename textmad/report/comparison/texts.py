"""What the arms of a comparison wrote, side by side: the same slot, arm by arm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textmad.report.texts import Shown, slot_grid

if TYPE_CHECKING:
    from textmad.loop.run import Run

# Of each arm, so that a page stays below about 2 MB however many arms, generations and texts
# there are; typically 100 kB.
NUM_SLOTS, MAX_GENERATIONS, MAX_ARMS = 3, 4, 20


@dataclass(frozen=True)
class SlotTexts:
    """One slot: a human example, and each arm's documents, one a generation."""

    human: Shown | None
    arms: Mapping[str, tuple[Shown | None, ...]]


@dataclass(frozen=True)
class ArmTexts:
    """The first slots of each arm, in the order they were drawn."""

    generations: tuple[int, ...]
    human_heading: str
    slots: tuple[SlotTexts, ...]
    seeds: Mapping[str, int]  # of the run that is shown, by the arm's name
    left_out: tuple[str, ...]  # arms beyond `MAX_ARMS`


def side_by_side(runs: Mapping[str, Run], last: int) -> ArmTexts:
    """The texts of these runs, one an arm, up to the generation `last`, which all of them have."""
    shown = list(runs)[:MAX_ARMS]
    grid = slot_grid(
        [runs[name] for name in shown], range(last + 1), NUM_SLOTS, at_most=MAX_GENERATIONS
    )
    num = len(grid.generations)
    slots = []
    for human, *cells in grid.rows:
        by_arm = {
            name: tuple(cells[place * num : (place + 1) * num]) for place, name in enumerate(shown)
        }
        slots.append(SlotTexts(human, _said_once(by_arm)))
    return ArmTexts(
        generations=grid.generations,
        human_heading=grid.human_heading,
        slots=tuple(slots),
        seeds={name: runs[name].recipe.seed for name in shown},
        left_out=tuple(list(runs)[MAX_ARMS:]),
    )


def _said_once(
    by_arm: Mapping[str, tuple[Shown | None, ...]],
) -> dict[str, tuple[Shown | None, ...]]:
    """A text that an arm above has in the same generation is not repeated; the verdict on it is.

    Arms that learn from the same human text in generation 0 have the same model there.
    """
    first: dict[tuple[int, str, str], str] = {}
    found = {}
    for name, cells in by_arm.items():
        row = list(cells)
        for place, doc in enumerate(cells):
            if doc is None or not doc.text:
                continue
            above = first.setdefault((place, doc.prompt, doc.text), name)
            if above != name:
                row[place] = replace(doc, text="", prompt="", cut="", same_as=above)
        found[name] = tuple(row)
    return found
