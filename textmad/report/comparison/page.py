"""A comparison as files: Markdown, CSV, Parquet, LaTeX, and one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from textmad.analysis.comparison_result import (
    Comparison,
    alarm_frame,
    bin_frame,
    hypothesis_frame,
    inbreeding_frame,
    share_frame,
)
from textmad.report.comparison import figures
from textmad.report.comparison.differences import (
    difference_table,
    generation_table,
    verdict_sentences,
)
from textmad.report.comparison.findings import (
    alarm_sentences,
    alarm_table,
    bin_sentences,
    bin_table,
    share_sentences,
    share_table,
)
from textmad.report.comparison.hypotheses import (
    hypotheses_json,
    hypothesis_sentences,
    hypothesis_table,
)
from textmad.report.comparison.inbreeding import (
    inbreeding_figure,
    inbreeding_sentences,
    inbreeding_table,
)
from textmad.report.comparison.plane import (
    plane_figures,
    plane_frame,
    plane_sentences,
    plane_table,
)
from textmad.report.escaping import csv_bytes, markdown
from textmad.report.page import template
from textmad.report.tables import Table, print_words, show, to_markdown
from textmad.report.texts import side_by_side

if TYPE_CHECKING:
    import pandas as pd

# What LaTeX has no letter for in every font.
_LATEX = {"−": "$-$", "±": r"$\pm$", "≈": r"$\approx$", "↓": r"$\downarrow$", "↑": r"$\uparrow$",
          "–": "--", "<": "$<$", ">": "$>$"}  # fmt: skip
_FORMS = ("csv", "parquet", "tex")
_HEADINGS = {
    "hypotheses": "Hypotheses",
    "shares": "Critical share",
    "alarms": "Early warning",
    "bins": "Rare and common tokens",
    "plane": "Quality and diversity",
    "inbreeding": "Inbreeding",
}


class OptionalSection(NamedTuple):
    """A part of the page that exists only where it has content."""

    name: str  # of its files, behind comparison-
    heading: str
    sentences: list[str]
    table: Table
    numbers: pd.DataFrame


def write_comparison(comparison: Comparison, folder: str | Path) -> list[Path]:
    """Write comparison.md and .html and the tables; equal comparisons give equal bytes.

    The table of differences is comparison.csv, .parquet and .tex; comparison-generations.tex holds
    the columns of it that tell of earlier generations. Where there are any, critical shares,
    alarms, losses by frequency bin and inbreeding are comparison-shares, -alarms, -bins and
    -inbreeding, each in the three forms; hypotheses are comparison-hypotheses, as JSON too.
    Files of an earlier comparison that this one does not have are removed.

    Raises:
        RunError: the folder cannot be written.
    """
    from textmad.store import write_atomically, writing

    folder = Path(folder)
    contents = {
        "comparison.md": to_page_markdown(comparison).encode(),
        "comparison.html": to_html(comparison).encode(),
        "comparison-generations.tex": _tex(generation_table(comparison)),
        **_forms("comparison", comparison.table, difference_table(comparison)),
    }
    for section in [*_hypotheses(comparison), *_sections(comparison)]:
        contents |= _forms(f"comparison-{section.name}", section.numbers, section.table)
    if comparison.hypotheses:
        contents["comparison-hypotheses.json"] = hypotheses_json(comparison)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in _HEADINGS:
            for ending in (*_FORMS, "json"):
                if f"comparison-{name}.{ending}" not in contents:
                    (folder / f"comparison-{name}.{ending}").unlink(missing_ok=True)
    for name, data in contents.items():
        write_atomically(folder / name, data)
    return [folder / name for name in contents]


def print_comparison(comparison: Comparison, is_brief: bool = False) -> None:
    """Print the verdict and then the tables to stdout; only the verdict where `is_brief`."""
    first, sections = _hypotheses(comparison), _sections(comparison)
    for sentences in (
        *(each.sentences for each in first),
        verdict_sentences(comparison),
        *(each.sentences for each in sections),
    ):
        for sentence in sentences:
            print_words(sentence)
        print()
    if is_brief:
        return
    tables = [difference_table(comparison), generation_table(comparison)]
    for table in [
        *(section.table for section in first),
        *tables,
        *(section.table for section in sections),
    ]:
        show(table)
        print()


def to_page_markdown(comparison: Comparison) -> str:
    """Verdict, tables, and what the arms are."""
    arms = "\n".join(
        f"- **{markdown(name)}**: {markdown(what)}"
        for name, what in describe_arms(comparison).items()
    )
    parts = [
        f"# {markdown(title(comparison))}",
        *_in_markdown(_hypotheses(comparison)),
        *map(markdown, verdict_sentences(comparison)),
        to_markdown(difference_table(comparison)),
        to_markdown(generation_table(comparison)),
        *_in_markdown(_sections(comparison)),
        f"## Arms\n\n{arms}",
    ]
    return "\n\n".join(parts) + "\n"


def _in_markdown(sections: Sequence[OptionalSection]) -> list[str]:
    return [
        part
        for section in sections
        for part in (
            f"## {section.heading}",
            *map(markdown, section.sentences),
            to_markdown(section.table),
        )
    ]


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
    return template("comparison/page.html.j2").render(
        title=title(comparison),
        hypotheses=_hypotheses(comparison),
        sentences=verdict_sentences(comparison),
        figures=figures.curves(comparison),
        forest=figures.forest(comparison),
        tables=[difference_table(comparison), generation_table(comparison)],
        optional_sections=_sections(comparison),
        share_figures=figures.critical_share_curves(comparison),
        plane_figures=plane_figures(comparison),
        heat=figures.heat_maps(comparison),
        inbreeding=[inbreeding_figure(comparison)] if comparison.inbreeding else [],
        texts=side_by_side(comparison.runs, comparison.generation) if comparison.runs else None,
        arms=describe_arms(comparison),
    )


def title(comparison: Comparison) -> str:
    """Which arms against which control."""
    arms = [arm for arm in comparison.seeds if arm in comparison.controls]
    named = ", ".join(arms) if len(arms) <= 3 else f"{len(arms)} arms"
    return f"{named} against {comparison.control}"


def describe_arms(comparison: Comparison) -> dict[str, str]:
    """Of each arm its seeds and the settings in which not all agree."""
    settings_of = {}
    for name, seeds in comparison.seeds.items():
        settings = ", ".join(f"{path} {v}" for path, v in comparison.settings[name].items())
        several = "seeds" if len(seeds) > 1 else "seed"
        settings_of[name] = f"{several} {', '.join(map(str, seeds))}; {settings}"
    return settings_of


def _hypotheses(comparison: Comparison) -> list[OptionalSection]:
    """The section that comes first, before the verdict, where there is one."""
    if not comparison.hypotheses:
        return []
    return [
        OptionalSection(
            "hypotheses",
            _HEADINGS["hypotheses"],
            hypothesis_sentences(comparison),
            hypothesis_table(comparison),
            hypothesis_frame(comparison),
        )
    ]


def _sections(comparison: Comparison) -> list[OptionalSection]:
    parts = {
        "shares": (comparison.critical_shares, share_sentences, share_table, share_frame),
        "alarms": (comparison.warnings, alarm_sentences, alarm_table, alarm_frame),
        "bins": (comparison.bins, bin_sentences, bin_table, bin_frame),
        "plane": (comparison.planes, plane_sentences, plane_table, plane_frame),
        "inbreeding": (
            comparison.inbreeding,
            inbreeding_sentences,
            inbreeding_table,
            inbreeding_frame,
        ),
    }
    return [
        OptionalSection(
            name, _HEADINGS[name], say(comparison), tabulate(comparison), numbers(comparison)
        )
        for name, (content, say, tabulate, numbers) in parts.items()
        if content
    ]


def _forms(name: str, numbers: pd.DataFrame, table: Table) -> dict[str, bytes]:
    """A table as files: all of its numbers, and its cells as they are printed."""
    forms = {
        "csv": csv_bytes(numbers),
        "parquet": parquet_bytes(numbers),
        "tex": _tex(table),
    }
    return {f"{name}.{ending}": data for ending, data in forms.items()}


def _tex(table: Table) -> bytes:
    return (to_latex(table) + "\n").encode()


def parquet_bytes(table: pd.DataFrame) -> bytes:
    """A table as the bytes of a Parquet file, without its index."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data
