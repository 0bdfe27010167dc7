"""A comparison on paper: Markdown, CSV, Parquet, LaTeX, and one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textmad.report import comparison_plots
from textmad.report.alarm_words import alarm_sentences, alarm_table
from textmad.report.comparison import Comparison
from textmad.report.comparison_words import difference_table, generation_table, verdict_sentences
from textmad.report.page import template
from textmad.report.share_plots import threshold_curves
from textmad.report.share_words import share_sentences, share_table
from textmad.report.tables import Table, show, to_markdown

if TYPE_CHECKING:
    import pandas as pd

# What LaTeX has no letter for in every font.
_LATEX = {"−": "$-$", "±": r"$\pm$", "≈": r"$\approx$", "↓": r"$\downarrow$", "↑": r"$\uparrow$",
          "–": "--", "<": "$<$", ">": "$>$"}  # fmt: skip

SHARES, WARNING = "Critical share", "Early warning"


def write_comparison(comparison: Comparison, folder: str | Path) -> list[Path]:
    """Write comparison.md, .csv, .parquet, .tex and .html; equal comparisons give equal bytes.

    Raises:
        RunError: the folder cannot be written.
    """
    from textmad.store.commit import write_atomically, writing

    folder = Path(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "md": to_page_markdown(comparison).encode(),
        "csv": comparison.table.to_csv(index=False, lineterminator="\n").encode(),
        "parquet": parquet_bytes(comparison.table),
        "tex": (to_latex(difference_table(comparison)) + "\n").encode(),
        "html": to_html(comparison).encode(),
    }
    for ending, data in contents.items():
        write_atomically(folder / f"comparison.{ending}", data)
    return [folder / f"comparison.{ending}" for ending in contents]


def print_comparison(comparison: Comparison) -> None:
    """Print the tables and what they say to stdout."""
    for table in (difference_table(comparison), generation_table(comparison)):
        show(table)
        print()
    for sentence in verdict_sentences(comparison):
        print(sentence)
    for _, sentences, table in _sequels(comparison):
        print()
        show(table)
        print()
        for sentence in sentences:
            print(sentence)


def to_page_markdown(comparison: Comparison) -> str:
    """Verdict, tables, and what the arms are."""
    arms = "\n".join(f"- **{name}**: {what}" for name, what in described(comparison).items())
    parts = [
        f"# {title(comparison)}",
        *verdict_sentences(comparison),
        to_markdown(difference_table(comparison)),
        to_markdown(generation_table(comparison)),
        *(
            part
            for heading, sentences, table in _sequels(comparison)
            for part in (f"## {heading}", *sentences, to_markdown(table))
        ),
        f"## Arms\n\n{arms}",
    ]
    return "\n\n".join(parts) + "\n"


def to_latex(table: Table) -> str:
    r"""The table as a `tabular` with booktabs' rules; `\usepackage{booktabs}`.

    >>> print(to_latex(Table(("metric", "gen 5"), (("share_%", "−1 ± 2"),), ())))
    \begin{tabular}{ll}
    \toprule
    metric & gen 5 \\
    \midrule
    share\_\% & $-$1 $\pm$ 2 \\
    \bottomrule
    \end{tabular}
    """
    import pandas as pd

    columns = "".join("l" if place < 3 else "r" for place in range(len(table.header)))
    frame = pd.DataFrame(list(table.lines), columns=list(table.header))
    text = frame.to_latex(index=False, escape=True, column_format=columns).rstrip("\n")
    for letter, command in _LATEX.items():
        text = text.replace(letter, command)
    return text


def to_html(comparison: Comparison) -> str:
    """The page: one file that loads nothing."""
    return template("comparison.html.j2").render(
        title=title(comparison),
        sentences=verdict_sentences(comparison),
        figures=comparison_plots.curves(comparison),
        forest=comparison_plots.forest(comparison),
        tables=[difference_table(comparison), generation_table(comparison)],
        sequels=[
            (heading, sentences, table, threshold_curves(comparison) if heading == SHARES else [])
            for heading, sentences, table in _sequels(comparison)
        ],
        arms=described(comparison),
    )


def title(comparison: Comparison) -> str:
    """Which arms against which control."""
    others = [arm for arm in comparison.seeds if arm in comparison.controls]
    named = ", ".join(others) if len(others) <= 3 else f"{len(others)} arms"
    return f"{named} against {comparison.control}"


def described(comparison: Comparison) -> dict[str, str]:
    """Of each arm its seeds and the settings in which not all agree."""
    found = {}
    for name, seeds in comparison.seeds.items():
        settings = ", ".join(f"{path} {v}" for path, v in comparison.settings[name].items())
        several = "seeds" if len(seeds) > 1 else "seed"
        found[name] = f"{several} {', '.join(map(str, seeds))}; {settings}"
    return found


def _sequels(comparison: Comparison) -> list[tuple[str, list[str], Table]]:
    """What is said only where there is something to say: heading, sentences, table."""
    found = []
    if comparison.thresholds:
        found.append((SHARES, share_sentences(comparison), share_table(comparison)))
    if comparison.warnings:
        found.append((WARNING, alarm_sentences(comparison), alarm_table(comparison)))
    return found


def parquet_bytes(table: pd.DataFrame) -> bytes:
    """A table as the bytes of a Parquet file, without its index."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data
