"""The closing table: metrics x generations, as text cells that every renderer shows alike."""

from __future__ import annotations

import math
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textmad.analysis.series import Series, series
from textmad.evaluators.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Group

    from textmad.loop.run import Run

# What a reader needs to tell apart the ways to go mad; the report holds all the others as well.
MAIN = (
    ("perplexity", "held_out"),
    ("bits_per_byte", "held_out"),
    ("accuracy", "held_out"),
    ("rare_loss", "held_out"),
    ("common_loss", "held_out"),
    ("base_perplexity", "drawn"),
    ("rare_rate", "drawn"),
    ("rare_rate", "kept"),
    ("distinct_2", "drawn"),
    ("distinct_2", "kept"),
    ("mattr", "drawn"),
    ("compression_ratio", "drawn"),
)
ARROWS = {"lower": "↓", "higher": "↑", "human": "≈"}
MISSING = "–"
MAX_COLUMNS = 7
_WIDTH_BESIDE, _WIDTH_OF_A_GENERATION = 38, 7  # characters of a terminal line


@dataclass(frozen=True)
class Table:
    """Text cells: one line a metric and split, a column a generation.

    The header is metric, text, direction, generations, change (the last generation against
    generation 0), human. `notes` say what is missing and why.
    """

    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def main_table(run: Run, at_most: int = MAX_COLUMNS) -> Table:
    """The metrics of `MAIN`, then those of the user's own evaluators, in `at_most` generations.

    Warnings of filters and scorers stand among its notes.
    """
    metrics = run.metrics
    own = [key for key in _measured(metrics) if key[0] not in METRICS]
    wanted = [(metric, split, "") for metric, split in MAIN] + own
    table = _table(metrics, wanted, at_most)
    return replace(table, notes=(*table.notes, *(f"Warning: {text}." for text in run.warnings)))


def full_table(run: Run) -> Table:
    """Every metric, split and bin that the run measured, in the order of the evaluators."""
    metrics = run.metrics
    return _table(metrics, _measured(metrics), MAX_COLUMNS)


def to_markdown(table: Table) -> str:
    """The table as plain Markdown, numbers to the right."""
    rule = [":---", ":---", ":---:"] + ["---:"] * (len(table.header) - 3)
    lines = [table.header, tuple(rule), *table.lines]
    text = "\n".join("| " + " | ".join(_pipe_free(cell) for cell in line) + " |" for line in lines)
    return "\n\n".join([text, *table.notes])


def to_rich(table: Table) -> Group:
    """The table for a terminal."""
    from rich import box
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 0))
    for index, name in enumerate(table.header):
        shown.add_column(Text(name), justify="left" if index < 3 else "right", overflow="fold")
    for line in table.lines:
        shown.add_row(*(Text(cell) for cell in line))
    return Group(shown, *(Text(note, style="dim") for note in table.notes))


def print_table(run: Run) -> None:
    """Print the main table to stdout: as wide as the terminal allows, or Markdown elsewhere."""
    from rich.console import Console

    fits = (Console().width - _WIDTH_BESIDE) // _WIDTH_OF_A_GENERATION
    at_most = min(MAX_COLUMNS, max(2, fits)) if sys.stdout.isatty() else MAX_COLUMNS
    show(main_table(run, at_most))


def show(table: Table) -> None:
    """Print a table to stdout: for a terminal, or as Markdown elsewhere."""
    if not sys.stdout.isatty():
        print(to_markdown(table))
        return
    from rich.console import Console

    Console().print(to_rich(table))


def print_words(sentence: str) -> None:
    """Print a sentence to stdout, with its lines broken between words in a terminal."""
    if sys.stdout.isatty():
        sentence = textwrap.fill(sentence, shutil.get_terminal_size().columns)
    print(sentence)


def show_number(value: float | None) -> str:
    """The digits that matter.

    >>> [show_number(value) for value in (1234.5, 70.128, 0.2703, 0.09617, 0.0, None)]
    ['1,234', '70.13', '0.270', '0.0962', '0', '–']
    """
    if value is None:
        return MISSING
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    digits = max(0, 3 - magnitude) if magnitude >= 0 else min(4, 2 - magnitude)
    return show_rounded(value, digits)


def show_signed(change: float) -> str:
    """A change in the metric's own unit.

    >>> show_signed(0.42), show_signed(-24.1)
    ('+0.420', '−24.10')
    """
    return ("+" if change > 0 else "") + show_number(change)


def show_rounded(value: float, digits: int) -> str:
    """With a minus sign, at a number of decimals that others share.

    >>> show_rounded(-1.25, 1), show_rounded(-0.01, 1)
    ('−1.2', '0.0')
    """
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", "−")


def show_percent(share: float) -> str:
    """A signed share: one decimal below 10 %.

    >>> show_percent(0.29), show_percent(-0.004)
    ('+29 %', '−0.4 %')
    """
    return f"{100 * share:+.{0 if abs(share) >= 0.0995 else 1}f} %".replace("-", "−")


def chosen_generations(generations: Sequence[int], at_most: int = MAX_COLUMNS) -> list[int]:
    """All generations, or `at_most` evenly spaced ones with the first and the last.

    >>> chosen_generations(range(21), at_most=5)
    [0, 5, 10, 15, 20]
    """
    if len(generations) <= at_most:
        return list(generations)
    step = (len(generations) - 1) / (at_most - 1)
    return [generations[round(index * step)] for index in range(at_most)]


def _table(metrics: pd.DataFrame, wanted: Sequence[tuple[str, str, str]], at_most: int) -> Table:
    rows = [series(metrics, *key) for key in wanted]
    measured = sorted({int(generation) for generation in metrics["generation"]})
    columns = chosen_generations(measured, at_most)
    header = ("metric", "text", "", *(f"gen {g}" for g in columns), "change", "human")
    lines = tuple(_line(each, columns) for each in rows if each.measured or each.notes)
    return Table(header, lines, tuple(_notes(rows, measured, columns)))


def _line(each: Series, columns: Sequence[int]) -> tuple[str, ...]:
    known = METRICS.get(each.metric)
    arrow = ARROWS[known.direction] if known else ""
    values = [show_number(each.values.get(generation)) for generation in columns]
    change = MISSING if each.relative_change is None else show_percent(each.relative_change)
    # Held-out text is human already: there is nothing to set beside it.
    human = "" if each.split == "held_out" else show_number(each.human)
    return (_label(each), each.split.replace("_", "-"), arrow, *values, change, human)


def _label(each: Series) -> str:
    label = METRICS[each.metric].label if each.metric in METRICS else each.metric
    return f"{label}, {each.bin}" if each.bin else label


def _notes(rows: Sequence[Series], measured: list[int], columns: list[int]) -> list[str]:
    notes = [
        "↓ lower is better, ↑ higher is better, ≈ nearest to human is better; "
        "change: the last generation against generation 0."
    ]
    if len(columns) < len(measured):
        notes.append(f"{len(columns)} of {len(measured)} generations are shown.")
    absent = [
        f"{_label(each)} ({each.split})" for each in rows if not (each.measured or each.notes)
    ]
    if absent:
        notes.append("Not measured: " + ", ".join(absent) + ".")
    reasons: dict[str, list[str]] = {}
    for each in rows:
        for generation, reason in each.notes.items():
            reasons.setdefault(f"{_label(each)} ({each.split}): {reason}", []).append(
                str(generation)
            )
    notes += [f"{MISSING} {what} (generation {', '.join(g)})." for what, g in reasons.items()]
    return notes


def _measured(metrics: pd.DataFrame) -> list[tuple[str, str, str]]:
    """(metric, split, bin) in order of first appearance, without the human references."""
    rows = zip(metrics["metric"], metrics["split"], metrics["bin"], strict=True)
    return [key for key in dict.fromkeys(rows) if key[1] != "human"]


def _pipe_free(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
