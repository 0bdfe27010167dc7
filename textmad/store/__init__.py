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
"""

from textmad.store.commit import commit, committed, confirm, write_atomically
from textmad.store.folder import RunFolder, begin, locked, read_json
from textmad.store.manifest import Manifest, differences, stage_key
from textmad.store.provenance import code_version, file_digest, source_digest, versions
from textmad.store.run import METRICS_SCHEMA, RECORDS, Run
from textmad.store.sharing import SharedStages, StageRecord, stage_records

__all__ = [
    "METRICS_SCHEMA",
    "RECORDS",
    "Manifest",
    "Run",
    "RunFolder",
    "SharedStages",
    "StageRecord",
    "begin",
    "code_version",
    "commit",
    "committed",
    "confirm",
    "differences",
    "file_digest",
    "locked",
    "read_json",
    "source_digest",
    "stage_key",
    "stage_records",
    "versions",
    "write_atomically",
]
