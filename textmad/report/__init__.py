"""What runs found: the closing table, the verdict, the HTML page, and arms compared."""

from textmad.report.comparing import compare
from textmad.report.comparison import Comparison
from textmad.report.comparison_page import print_comparison, write_comparison
from textmad.report.page import write_report
from textmad.report.tables import Table, full_table, main_table, print_table, to_markdown, to_rich
from textmad.report.verdict import Verdict, verdict

__all__ = [
    "Comparison",
    "Table",
    "Verdict",
    "compare",
    "full_table",
    "main_table",
    "print_comparison",
    "print_table",
    "to_markdown",
    "to_rich",
    "verdict",
    "write_comparison",
    "write_report",
]
