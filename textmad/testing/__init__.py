"""Contract checks for filters and evaluators, for textmad's own and for a user's."""

from textmad.testing.checks import check_evaluator, check_filter

__all__ = ["check_evaluator", "check_filter"]
