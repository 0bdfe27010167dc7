"""Tables of text cells, and the closing table of a run: metrics by generation."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textmad.analysis.series import REFERENCES, Series, document_counts, series
from textmad.evaluators.metrics import METRICS
from textmad.report.escaping import markdown
from textmad.report.numbers import ARROWS, MISSING, show_number, show_percent, show_reference

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Group

    from textmad.loop.run import Run

# What a reader needs to tell noise from narrowing; the report holds all the others as well.
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
    ("between_distinct_2", "drawn"),
    ("member_divergence", "drawn"),
    ("inbreeding", "all"),
)
MAX_COLUMNS = 7
_WIDTH_BESIDE, _WIDTH_OF_A_GENERATION = 38, 7  # characters of a terminal line


@dataclass(frozen=True)
class Table:
    """A header, lines of text cells, and notes that say what is missing and why."""

    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def main_table(run: Run, at_most: int = MAX_COLUMNS) -> Table:
    """Return the main metrics of a run in `at_most` generations.

    These are the metrics of `MAIN` that the run measured. An evaluator that measured none of them,
    such as one of the user's own, has all of its metrics in the table, without their bins.
    """
    metrics = run.metrics
    wanted = [(metric, split, "") for metric, split in MAIN]
    measured = set(_measured(metrics))
    by_evaluator: dict[str, list[tuple[str, str, str]]] = {}
    columns = (metrics[name] for name in ("evaluator", "metric", "split", "bin"))
    for evaluator, *key in zip(*columns, strict=True):
        by_evaluator.setdefault(evaluator, []).append((key[0], key[1], key[2]))
    keys = [key for key in wanted if key in measured]
    for own in by_evaluator.values():
        if not set(own) & set(wanted):
            keys += [key for key in dict.fromkeys(own) if key in measured and not key[2]]
    table = _table(metrics, list(dict.fromkeys(keys)), at_most)
    warnings = (f"Warning: {text}." for text in run.warnings)
    return replace(table, notes=(*table.notes, *_held_out_notes(metrics), *warnings))


def full_table(run: Run) -> Table:
    """Return every metric, split and bin that the run measured, in the order of the evaluators."""
    metrics = run.metrics
    return _table(metrics, _measured(metrics), MAX_COLUMNS)


def to_markdown(table: Table) -> str:
    """Return the table as Markdown, with numbers to the right."""
    rule = [":---", ":---", ":---:"] + ["---:"] * (len(table.header) - 3)
    lines = [table.header, tuple(rule), *table.lines]
    rows = ([markdown(cell).replace("|", "\\|") for cell in line] for line in lines)
    text = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join([text, *map(markdown, table.notes)])


def to_rich(table: Table) -> Group:
    """Return the table for a terminal."""
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


def chosen_generations(generations: Sequence[int], at_most: int = MAX_COLUMNS) -> list[int]:
    """Return all generations, or `at_most` evenly spaced ones with the first and the last.

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
    # Runs of earlier versions of textmad did not measure the base model's own samples.
    ladder = ("base", "human") if any(each.base for each in rows) else ("human",)
    header = ("metric", "text", "", *(f"gen {g}" for g in columns), "change", *ladder)
    lines = tuple(_line(each, columns, ladder) for each in rows)
    notes = [*_notes(rows, measured, columns, ladder), *_sizes(metrics, wanted)]
    return Table(header, lines, tuple(notes))


def _sizes(metrics: pd.DataFrame, wanted: Sequence[tuple[str, str, str]]) -> list[str]:
    """How many documents are behind values that depend on it: those of one evaluator agree."""
    counts = {key: count for key, count in document_counts(metrics).items() if key in wanted}
    if not counts:
        return []
    low, high = min(low for low, _ in counts.values()), max(high for _, high in counts.values())
    number = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    names = dict.fromkeys(METRICS[metric].label for metric, *_ in counts)
    return [f"{number} documents are behind each value that depends on it: {', '.join(names)}."]


def _line(each: Series, columns: Sequence[int], ladder: Sequence[str]) -> tuple[str, ...]:
    known = METRICS.get(each.metric)
    arrow = ARROWS[known.direction] if known else ""
    values = [show_number(each.values.get(generation)) for generation in columns]
    change = MISSING if each.relative_change is None else show_percent(each.relative_change)
    # Held-out text is human already and is no sample: it has no reference.
    references = [
        "" if each.split == "held_out" else show_reference(getattr(each, name)) for name in ladder
    ]
    return (_label(each), each.split.replace("_", "-"), arrow, *values, change, *references)


def _label(each: Series) -> str:
    label = METRICS[each.metric].label if each.metric in METRICS else each.metric
    return f"{label}, {each.bin}" if each.bin else label


def _notes(
    rows: Sequence[Series], measured: list[int], columns: list[int], ladder: Sequence[str]
) -> list[str]:
    notes = [
        "↓ lower is better, ↑ higher is better, ≈ nearest to human is better; "
        "change: the last generation against generation 0."
    ]
    if "base" in ladder:
        notes.append(
            "base: the base model's own samples. human: held-out human text of the same size, with "
            "the 95 % interval of such texts."
        )
    if len(columns) < len(measured):
        notes.append(f"{len(columns)} of {len(measured)} generations are displayed.")
    reasons: dict[str, list[str]] = {}
    for each in rows:
        for generation, reason in each.notes.items():
            reasons.setdefault(f"{_label(each)} ({each.split}): {reason}", []).append(
                str(generation)
            )
    notes += [f"{MISSING} {what} (generation {', '.join(g)})." for what, g in reasons.items()]
    return notes


def _held_out_notes(metrics: pd.DataFrame) -> list[str]:
    """Return how much held-out text was scored where a precision has chosen it."""
    is_base = (metrics["metric"] == "base_perplexity") & (metrics["split"] == "held_out")
    chosen = metrics[is_base & (metrics["note"] != "") & metrics["value"].notna()]
    each = dict.fromkeys(zip(chosen["n"], chosen["note"], strict=True))
    return [f"Held-out text: {n:,} tokens; {note}." for n, note in each]


def _measured(metrics: pd.DataFrame) -> list[tuple[str, str, str]]:
    """(metric, split, bin) in order of first appearance, without the references."""
    rows = zip(metrics["metric"], metrics["split"], metrics["bin"], strict=True)
    return [key for key in dict.fromkeys(rows) if key[1] not in REFERENCES]
