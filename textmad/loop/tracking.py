"""Live figures: the metrics of each generation go to a tracker that other tools display.

The trackers are accelerate's. What they write lies in the run folder, in tracking/, and nothing is
sent anywhere: wandb works offline, and `wandb sync` sends a run later.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from textmad.errors import RunError, raised
from textmad.models.distributed import processes

if TYPE_CHECKING:
    import pandas as pd

    from textmad.loop.run import Run
    from textmad.recipe import Recipe

FOLDER = "tracking"


class Tracker:
    """Sends the metrics of generations to the recipe's tracker, each generation once."""

    def __init__(self, recipe: Recipe, run: Run) -> None:
        self._recipe, self._run = recipe, run
        is_new = not (run.path / FOLDER).exists()
        self._sent = set() if is_new else set(run.generations)
        self._tracker: Any = None

    def send(self, generation: int) -> None:
        """Send what was measured of a generation, unless it was sent before."""
        if self._recipe.track is None or not processes.is_main() or generation in self._sent:
            return
        try:
            if self._tracker is None:
                self._tracker = self._open()
            metrics = self._run.metrics
            values = tracked_values(metrics[metrics["generation"] == generation])
            self._tracker.log(values, step=generation)
        except Exception as error:  # whatever the tracker's package raises
            raise RunError(f"track: {self._recipe.track}: raised {raised(error)}") from error
        self._sent.add(generation)

    def close(self) -> None:
        """Have the tracker write what it still holds."""
        if self._tracker is not None:
            self._tracker.finish()

    def _open(self) -> Any:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        folder = self._run.path / FOLDER
        folder.mkdir(exist_ok=True)
        name = str(self._recipe.track)
        options: dict[str, Any] = {}
        if name == "tensorboard":
            # A file is named by the second in which it is opened, and opened anew: number it too.
            number = len(list(folder.rglob("events.*")))
            options = {"logging_dir": str(folder), "filename_suffix": f".{number}"}
        elif name == "wandb":
            options = {"dir": str(folder), "mode": "offline", "name": self._run.path.name}
        else:
            os.environ.setdefault("TRACKIO_DIR", str(folder.resolve()))
        project = "textmad" if name != "tensorboard" else "."
        tracker = LOGGER_TYPE_TO_CLASS[name](project, **options)
        tracker.start()
        return tracker


@contextmanager
def tracking(recipe: Recipe, run: Run) -> Iterator[Tracker]:
    """Yield the tracker of a run, and close it at the end, however the run ends."""
    tracker = Tracker(recipe, run)
    try:
        yield tracker
    finally:
        tracker.close()


def tracked_values(metrics: pd.DataFrame) -> dict[str, float]:
    """Return the values of one generation by their names METRIC/SPLIT or METRIC/SPLIT/BIN.

    What could not be computed is left out. The names are those of `textmad compare --metric`.
    """
    names = zip(metrics["metric"], metrics["split"], metrics["bin"], strict=True)
    values = map(float, metrics["value"])
    return {
        "/".join(part for part in name if part): value
        for name, value in zip(names, values, strict=True)
        if not math.isnan(value)
    }
