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
from textmad.store.folder import RunFolder, begin
from textmad.store.manifest import Manifest, stage_key
from textmad.store.provenance import code_version, file_digest, source_digest, versions
from textmad.store.run import METRICS_SCHEMA, RECORDS, Run

__all__ = [
    "METRICS_SCHEMA",
    "RECORDS",
    "Manifest",
    "Run",
    "RunFolder",
    "begin",
    "code_version",
    "commit",
    "committed",
    "confirm",
    "file_digest",
    "source_digest",
    "stage_key",
    "versions",
    "write_atomically",
]
