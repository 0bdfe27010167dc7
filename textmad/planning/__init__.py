"""`textmad plan`: everything that can be known before spending."""

from __future__ import annotations

from textmad.planning.make import make_plan
from textmad.planning.plan import CrawlPlan, Plan
from textmad.planning.study_plan import StudyPlan, make_study_plan
from textmad.planning.throughput import Rates, Speed
from textmad.planning.work_time import Seconds

__all__ = [
    "CrawlPlan",
    "Plan",
    "Rates",
    "Seconds",
    "Speed",
    "StudyPlan",
    "make_plan",
    "make_study_plan",
]
