"""Filters: which of a generation's candidates the next generation learns from."""

from textmad.curation.controls import Random
from textmad.curation.duplicates import Duplicates
from textmad.curation.protocol import Context, Filter, Verdicts, apply_filters
from textmad.curation.quality import Length, Repetition
from textmad.curation.votes import Upvotes

__all__ = [
    "Context",
    "Duplicates",
    "Filter",
    "Length",
    "Random",
    "Repetition",
    "Upvotes",
    "Verdicts",
    "apply_filters",
]
