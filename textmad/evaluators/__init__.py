"""Evaluators: how far a generation has moved from human text, as pure numbers.

Importing this loads no torch. `metric_path` finds the same metrics for `evaluate.load`.
"""

from pathlib import Path

from textmad.evaluators.adapter import Adapter
from textmad.evaluators.adversary import Adversary
from textmad.evaluators.crawl_filters import CrawlFilterAccuracy
from textmad.evaluators.detection import Detection
from textmad.evaluators.discriminator import Discriminator
from textmad.evaluators.diversity import Diversity
from textmad.evaluators.embedding import Embedding
from textmad.evaluators.facts import Facts
from textmad.evaluators.judge import Judge
from textmad.evaluators.length import Length
from textmad.evaluators.memorisation import Memorisation
from textmad.evaluators.metrics import METRICS
from textmad.evaluators.ngram_gap import NgramGap
from textmad.evaluators.perplexity import Perplexity, TextPerplexity
from textmad.evaluators.protocol import COMPARED, Evaluator, Measurement, Metric, Snapshot, measure
from textmad.evaluators.rare_tokens import RareTokens
from textmad.evaluators.selection import Selection
from textmad.evaluators.self_bleu import SelfBleu
from textmad.evaluators.votes import Votes
from textmad.text.words import count_words

__all__ = [
    "COMPARED",
    "METRICS",
    "Adapter",
    "Adversary",
    "CrawlFilterAccuracy",
    "Detection",
    "Discriminator",
    "Diversity",
    "Embedding",
    "Evaluator",
    "Facts",
    "Judge",
    "Length",
    "Measurement",
    "Memorisation",
    "Metric",
    "NgramGap",
    "Perplexity",
    "RareTokens",
    "Selection",
    "SelfBleu",
    "Snapshot",
    "TextPerplexity",
    "Votes",
    "count_words",
    "measure",
    "metric_path",
]


def metric_path(name: str) -> str:
    """Return the path by which `evaluate.load` finds perplexity, diversity or rare_tokens.

    >>> import evaluate  # doctest: +SKIP
    >>> evaluate.load(metric_path("diversity")).compute(predictions=texts)  # doctest: +SKIP
    """
    folder = Path(__file__).parent / "metric_scripts"
    known = sorted(path.stem for path in folder.glob("[!_]*.py"))
    if name not in known:
        raise ValueError(f"{name}: expected one of {', '.join(known)}")
    return str(folder / f"{name}.py")
