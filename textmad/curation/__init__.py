"""Filters: which of a generation's candidates the next generation learns from."""

from textmad.curation.author import Author
from textmad.curation.controls import MatchedRandom, Random
from textmad.curation.detector import Detector
from textmad.curation.discriminator import Discriminator
from textmad.curation.duplicates import Duplicates
from textmad.curation.jury import Jury
from textmad.curation.people import People
from textmad.curation.protocol import Context, Filter, Verdicts, apply_filters
from textmad.curation.quality import Length, Repetition
from textmad.curation.ranking import Choice
from textmad.curation.rescue import Rescue
from textmad.curation.upvotes import Upvotes
from textmad.curation.voters import Bots, Crowd, Exposure
from textmad.curation.watermark import Watermark
from textmad.rating.ballot import Ballot

__all__ = [
    "Author",
    "Ballot",
    "Bots",
    "Choice",
    "Context",
    "Crowd",
    "Detector",
    "Discriminator",
    "Duplicates",
    "Exposure",
    "Filter",
    "Jury",
    "Length",
    "MatchedRandom",
    "People",
    "Random",
    "Repetition",
    "Rescue",
    "Upvotes",
    "Verdicts",
    "Watermark",
    "apply_filters",
]
