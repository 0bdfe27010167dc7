"""The loops of the calibration: ordinary recipes over two toy models whose future is known.

A loop is an arm of a study, so its runs are ordinary runs. In most loops a document of C words is
one draw from each of C independent models (`textmad.models.toy.independent_positions`), so the
positions are the replicates. Where a crowd judges whole documents, the seeds are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from textmad.calibration.checks import Check
from textmad.calibration.theory import NUM_TEXTS, zipf
from textmad.loop.run import Run
from textmad.models.toy.independent_positions import IndependentPositionModel
from textmad.seeds import stream
from textmad.store import write_atomically, writing

Measure = Callable[[Sequence[Run]], list[Check]]
Model = TypeVar("Model", bound=IndependentPositionModel)

NUM_CATEGORIES = 1000  # words of counted text

_HELD_OUT = 10  # documents on average; none at all has probability e^-10
_SPARE = 25  # documents beside those needed; so many held-out ones have probability 1e-5


@dataclass(frozen=True)
class HumanText:
    """Human text with a known distribution, which a loop learns from.

    - `counts`: each word is drawn from a Zipf distribution over 1,000 words.
    - `numbers`: each word is a standard normal number.
    - `texts`: the first word is one of 20, with exactly their Zipf shares. The second word is the
      document's number, so that no document is dropped as a copy of another.
    """

    kind: Literal["counts", "numbers", "texts"]
    places: int
    needed: int  # documents for training

    @property
    def documents(self) -> int:
        """Return how many documents are written."""
        return self.needed + _SPARE

    @property
    def settings(self) -> dict[str, Any]:
        """Return the recipe's settings without `corpus.source`."""
        bases: dict[str, dict[str, Any]] = {
            "counts": {"base": "categorical", "categories": NUM_CATEGORIES},
            "numbers": {"base": "gaussian"},
            "texts": {"base": "categorical", "categories": self.documents},
        }
        corpus = {
            "min_words": self.places,
            "max_words": self.places,
            "held_out": _HELD_OUT / self.documents,
            "near_duplicate": 1.0,  # random text has no near-duplicates
        }
        return {
            "corpus": corpus,
            "model": bases[self.kind],
            "sample": {"max_new_tokens": self.places + 1},
        }

    def tokens(self, documents: int) -> int:
        """Return the number of tokens of `documents`, end tokens included."""
        return documents * (self.places + 1)

    def write(self, folder: Path) -> Path:
        """Write the text as JSONL, unless the file exists, and return the path. It is always equal.

        Raises:
            RunError: the folder cannot be written.
        """
        path = folder / f"{self.kind}-{self.places}-{self.needed}.jsonl"
        if not path.exists():
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
            lines = (json.dumps({"text": " ".join(words)}) + "\n" for words in self._rows())
            write_atomically(path, "".join(lines).encode())
        return path

    def _rows(self) -> list[list[str]]:
        rng, shape = stream(0, "calibrate", self.kind), (self.documents, self.places)
        if self.kind == "numbers":
            return [[f"{value:.4f}" for value in row] for row in rng.standard_normal(shape)]
        if self.kind == "counts":
            words = rng.choice(NUM_CATEGORIES, shape, p=zipf(NUM_CATEGORIES))
        else:
            quantiles = (np.arange(self.documents) + 0.5) / self.documents
            first = np.searchsorted(np.cumsum(zipf(NUM_TEXTS)), quantiles)
            words = np.stack([first, np.arange(self.documents)], axis=1)
        return [[f"w{word}" for word in row] for row in words.tolist()]


@dataclass(frozen=True)
class Loop:
    """An arm of the calibration.

    Attributes:
        name: of the arm.
        human: the human text of the runs.
        settings: of the recipe, by dotted path, beside those that `human` needs.
        measure: takes the runs, one for each seed, and returns the checks.
        num_seeds: number of runs.
    """

    name: str
    human: HumanText
    settings: Mapping[str, Any]
    measure: Measure
    num_seeds: int = 1

    def patch(self, corpora: Path) -> dict[str, Any]:
        """Write the human text to the folder `corpora`; return the arm's changes to the recipe."""
        source = {"corpus.source": str(self.human.write(corpora))}
        return {**self.human.settings, **source, **self.settings}


def fitted(runs: Sequence[Run], generation: int, kind: type[Model]) -> Model:
    """Return the model of a loop with one seed. Its positions are the replicates."""
    (run,) = runs
    return kind(run.recipe.model).load(run.model_folder(generation))
