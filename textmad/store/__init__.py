"""The run folder: stages committed whole or not at all, one writer, and the object that reads it.

runs/upvotes/
  recipe.yaml  provenance.json  metrics.parquet  report.html
  corpus/      human.parquet  held_out.parquet  corpus.json            manifest.json
  gen-00/
    mix/       training.parquet  mix.json                              manifest.json
    model/     what LanguageModel.save writes  training.json           manifest.json
    sample/    candidates.parquet                                      manifest.json
    curate/    candidates.parquet, with verdicts  records.json         manifest.json
    evaluate/  metrics.parquet                                         manifest.json
    evaluate-2/  the same, of evaluators that were added to a finished run
    member-0/  of a population: mix/ to evaluate/ of each member
    select/    selection.json: which members have children               manifest.json
    population/  metrics.parquet, of all members together                manifest.json
  checkpoints/ how far unfinished stages have come; nothing in a finished run
"""

from textmad.store.cache import Cache, open_cache
from textmad.store.checkpoints import CHECKPOINTS, Checkpoints
from textmad.store.commit import commit, committed, confirm, discard, replace
from textmad.store.files import append, opened_to_write, write_atomically, writing
from textmad.store.folder import (
    BASE,
    CORPUS,
    HELD_OUT_LOSSES,
    METRICS_SCHEMA,
    OF_POPULATION,
    POPULATION,
    RECORDS,
    SELECT,
    RunFolder,
    begin,
    evaluate_stage,
    locked,
)
from textmad.store.manifest import Manifest, canonical, differences, stage_key
from textmad.store.provenance import code_version, file_digest, source_digest, versions
from textmad.store.recipe_changes import Extent, forbidden_changes
from textmad.store.records import (
    read_json,
    read_recipe,
    read_sealed_json,
    read_sealed_yaml,
    sealed_yaml,
    write_json,
)
from textmad.store.sharing import (
    CachedStages,
    SharedStages,
    Sharing,
    StageRecord,
    stage_records,
)

__all__ = [
    "BASE",
    "CHECKPOINTS",
    "CORPUS",
    "HELD_OUT_LOSSES",
    "METRICS_SCHEMA",
    "OF_POPULATION",
    "POPULATION",
    "RECORDS",
    "SELECT",
    "Cache",
    "CachedStages",
    "Checkpoints",
    "Extent",
    "Manifest",
    "RunFolder",
    "SharedStages",
    "Sharing",
    "StageRecord",
    "append",
    "begin",
    "canonical",
    "code_version",
    "commit",
    "committed",
    "confirm",
    "differences",
    "discard",
    "evaluate_stage",
    "file_digest",
    "forbidden_changes",
    "locked",
    "open_cache",
    "opened_to_write",
    "read_json",
    "read_recipe",
    "read_sealed_json",
    "read_sealed_yaml",
    "replace",
    "sealed_yaml",
    "source_digest",
    "stage_key",
    "stage_records",
    "versions",
    "write_atomically",
    "write_json",
    "writing",
]
