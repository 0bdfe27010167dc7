"""`textmad plan`: everything that can be known before spending."""

from __future__ import annotations

from textmad.planning.make import make_plan
from textmad.planning.plan import CrawlPlan, Plan
from textmad.planning.study_plan import StudyPlan, make_study_plan
from textmad.planning.throughput import Speed

__all__ = ["CrawlPlan", "Plan", "Speed", "StudyPlan", "make_plan", "make_study_plan"]
