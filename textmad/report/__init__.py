"""The report of runs: the closing table, the verdict, the HTML page.

Several arms against a control are compared by `textmad.analysis.compare`.
"""

from textmad.report.page import write_report
from textmad.report.tables import Table, full_table, main_table, print_table, to_markdown, to_rich
from textmad.report.verdict import Verdict, verdict

__all__ = [
    "Table",
    "Verdict",
    "full_table",
    "main_table",
    "print_table",
    "to_markdown",
    "to_rich",
    "verdict",
    "write_report",
]
