"""How well `textmad plan` knows the time of a run: plans and runs a recipe, alternating.

    python scripts/plan_accuracy.py RECIPE [TURNS] [PATH=VALUE ...]

Prints the seconds that were planned and that the run took, now and idle. On an idle machine, the
planned idle seconds belong beside the run's seconds by the clock; on a busy one, beside its idle
seconds, which are CPU time (`textmad.planning.work_time`). The start of Python is in none of them.
"""

import os
import sys
import tempfile
from pathlib import Path

from textmad.threads import limit_spinning

limit_spinning()  # before torch is loaded

import textmad as tm  # noqa: E402
from textmad.cli.options import read_overrides  # noqa: E402
from textmad.planning import make_plan  # noqa: E402
from textmad.planning.work_time import timed  # noqa: E402
from textmad.recipe import load_recipe  # noqa: E402

path, *rest = sys.argv[1:]
num_turns = int(rest.pop(0)) if rest and rest[0].isdigit() else 1
recipe = load_recipe(Path(path), read_overrides(rest))
print("load   planned: now, idle   run: now, idle   planned / run: now, idle")
for _ in range(num_turns):
    load = os.getloadavg()[0]
    planned = make_plan(recipe).seconds
    with tempfile.TemporaryDirectory() as folder:
        _, took = timed(lambda folder=folder: tm.run(recipe, Path(folder) / "run"))
    print(
        f"{load:4.1f}   {planned.now:8.0f} {planned.idle:8.0f}      {took.now:6.0f} "
        f"{took.idle:6.0f}       {planned.now / took.now:6.2f} {planned.idle / took.idle:6.2f}",
        flush=True,
    )
