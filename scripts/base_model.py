"""Train data/tiny-gpt2 from nothing: `make base-model`. Its card says what came out."""

from pathlib import Path

from textmad.base_models.tiny_gpt2 import build
from textmad.progress import make_progress

build(Path(__file__).parents[1] / "data" / "tiny-gpt2", make_progress())
