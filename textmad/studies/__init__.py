"""Studies: one recipe, several arms of it with their controls, several seeds.

A study's runs are ordinary runs. What they have in common is computed once (`store.sharing`).
"""

from textmad.studies.arms import Arm, PlannedRun, Study
from textmad.studies.engines.slurm import emit_slurm
from textmad.studies.folder import RunState, Saved, saved, states
from textmad.studies.parsing import is_study, load_study, parse_study
from textmad.studies.runner import study

__all__ = [
    "Arm",
    "PlannedRun",
    "RunState",
    "Saved",
    "Study",
    "emit_slurm",
    "is_study",
    "load_study",
    "parse_study",
    "saved",
    "states",
    "study",
]
