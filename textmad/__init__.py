"""textmad: a laboratory for language models that learn from their own output.

    import textmad as tm

    run = tm.run(tm.load_recipe("recipes/quickstart/recipe.yaml"), out="runs/quickstart")
    run.metrics

The names below are the public ones. They are imported when first used, so that
`import textmad` loads neither torch nor pandas.
"""

import importlib
from typing import TYPE_CHECKING, Any

from textmad.version import __version__ as __version__

if TYPE_CHECKING:
    from textmad import curation as filters
    from textmad import evaluators, kinship, plots, testing
    from textmad.analysis.compare import compare
    from textmad.analysis.comparison_result import Comparison
    from textmad.analysis.forecast import Forecast, forecast
    from textmad.auditing import audit
    from textmad.curation import learned_votes
    from textmad.curation.protocol import Context, Verdicts
    from textmad.errors import (
        CorpusError,
        CurationError,
        EvaluationError,
        ModelError,
        RecipeError,
        RunError,
        RunInUseError,
        TextmadError,
        WaitingForVotesError,
    )
    from textmad.evaluators.protocol import Measurement, Snapshot
    from textmad.loop.measuring import evaluate
    from textmad.loop.recursion import run
    from textmad.loop.run import Run
    from textmad.models.causal_lm.encoder import open_encoder
    from textmad.planning import make_plan
    from textmad.progress import make_progress
    from textmad.recipe import Recipe, load_recipe
    from textmad.report import write_report
    from textmad.report.comparison.page import write_comparison
    from textmad.statistics import critical_share as critical_shares
    from textmad.statistics import inference as stats
    from textmad.statistics.early_warning import early_warning
    from textmad.studies import Study, load_study, study


__all__ = [
    "Comparison",
    "Context",
    "CorpusError",
    "CurationError",
    "EvaluationError",
    "Forecast",
    "Measurement",
    "ModelError",
    "Recipe",
    "RecipeError",
    "Run",
    "RunError",
    "RunInUseError",
    "Snapshot",
    "Study",
    "TextmadError",
    "Verdicts",
    "WaitingForVotesError",
    "audit",
    "compare",
    "critical_shares",
    "early_warning",
    "evaluate",
    "evaluators",
    "filters",
    "forecast",
    "kinship",
    "learned_votes",
    "load_recipe",
    "load_study",
    "make_plan",
    "make_progress",
    "open_encoder",
    "plots",
    "run",
    "stats",
    "study",
    "testing",
    "write_comparison",
    "write_report",
]

_HOMES = {
    "early_warning": "textmad.statistics.early_warning",
    "audit": "textmad.auditing",
    "Context": "textmad.curation.protocol",
    "Verdicts": "textmad.curation.protocol",
    "Measurement": "textmad.evaluators.protocol",
    "Snapshot": "textmad.evaluators.protocol",
    "Recipe": "textmad.recipe",
    "load_recipe": "textmad.recipe",
    "Run": "textmad.loop.run",
    "Study": "textmad.studies",
    "load_study": "textmad.studies",
    "make_plan": "textmad.planning",
    "make_progress": "textmad.progress",
    "open_encoder": "textmad.models.causal_lm.encoder",
    "evaluate": "textmad.loop.measuring",
    "run": "textmad.loop.recursion",
    "Forecast": "textmad.analysis.forecast",
    "forecast": "textmad.analysis.forecast",
    "Comparison": "textmad.analysis.comparison_result",
    "compare": "textmad.analysis.compare",
    "write_comparison": "textmad.report.comparison.page",
    "study": "textmad.studies",
    "write_report": "textmad.report",
}
_MODULES = {
    "filters": "textmad.curation",
    "evaluators": "textmad.evaluators",
    "kinship": "textmad.kinship",
    "learned_votes": "textmad.curation.learned_votes",
    "plots": "textmad.plots",
    "stats": "textmad.statistics.inference",
    "testing": "textmad.testing",
    "critical_shares": "textmad.statistics.critical_share",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name in __all__:
        return getattr(importlib.import_module(_HOMES.get(name, "textmad.errors")), name)
    raise AttributeError(f"module 'textmad' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
