"""The loops of the calibration: ordinary recipes over two models whose future is known.

A loop is an arm of a study, so its runs are ordinary runs. Replicates are positions where a
document of C words is one draw from each of C independent models
(`textmad.models.toy.independent_positions`), and seeds where a crowd judges whole documents.
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

_HELD_OUT = 10  # documents, about: that there are none has a chance of e^-10
_SPARE = 25  # documents beside those needed: that so many are held out has a chance of 1e-5


@dataclass(frozen=True)
class HumanText:
    """Text whose distribution is known, written for a loop to learn from.

    `counts`: every word Zipf over 1,000. `numbers`: every word standard normal. `texts`: of the
    first word's 20 texts each has its Zipf share exactly; the second word is the document's number,
    so that no document is the copy of another and dropped.
    """

    kind: Literal["counts", "numbers", "texts"]
    places: int
    needed: int  # documents that can be trained on

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
            "near_duplicate": 1.0,  # what is drawn at random has none
        }
        return {
            "corpus": corpus,
            "model": bases[self.kind],
            "sample": {"max_new_tokens": self.places + 1},
        }

    def tokens(self, documents: int) -> int:
        """Return the tokens of so many documents, end tokens included."""
        return documents * (self.places + 1)

    def write(self, folder: Path) -> Path:
        """Write the text as JSONL, unless it exists, and return its path; always the same text.

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
        name: the arm's.
        human: what it learns from first.
        settings: of its recipe, by dotted path, beside those that `human` asks for.
        measure: from its runs, one a seed, to what is checked.
        num_seeds: how many runs.
    """

    name: str
    human: HumanText
    settings: Mapping[str, Any]
    measure: Measure
    num_seeds: int = 1

    def patch(self, corpora: Path) -> dict[str, Any]:
        """Return the arm's changes of the base recipe; writes its human text to `corpora`."""
        source = {"corpus.source": str(self.human.write(corpora))}
        return {**self.human.settings, **source, **self.settings}


def fitted(runs: Sequence[Run], generation: int, kind: type[Model]) -> Model:
    """Return the model of a loop with one seed, whose positions are the replicates."""
    (run,) = runs
    return kind(run.recipe.model).load(run.model_folder(generation))
