"""The early warning through the loop itself: a model that counts, runs of a study, paired seeds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import textmad as tm
from textmad.analysis.arm_settings import ArmRuns
from textmad.analysis.arms import Arms
from textmad.analysis.compare import compare_values, measured_values
from textmad.calibration.loops import HumanText
from textmad.loop.run import Run

SEEDS, GENERATIONS = 5, 5
DOCUMENTS = 150  # that a generation learns from
HUMAN = HumanText("counts", places=5, needed=1100)


def study_of(folder: Path, arms: Mapping[str, Any], pairs: int) -> dict[str, list[Run]]:
    """The arms' runs, five for each pair."""
    settings = HUMAN.settings
    settings["corpus"] |= {"source": str(HUMAN.write(folder / "human")), "held_out": 0.1}
    settings["model"] |= {"smoothing": 0.02}
    base = settings | {
        "generations": GENERATIONS,
        "evaluate": ["perplexity", "diversity", "rare_tokens"],
        "sample": {"max_new_tokens": HUMAN.places + 1, "min_tokens": HUMAN.tokens(DOCUMENTS)},
    }
    plan = {
        "recipe": base,
        "seeds": list(range(SEEDS * pairs)),
        "arms": arms,
        "controls": False,
    }
    return tm.study(plan, folder / "study", jobs=2)


def mixed(human_share: float) -> dict[str, Any]:
    """What an arm learns from; its human text is new in each generation."""
    human = round(human_share * DOCUMENTS)
    tokens = {
        "mix.human_tokens": HUMAN.tokens(human),
        "mix.model_tokens": HUMAN.tokens(DOCUMENTS - human),
    }
    return tokens | ({"mix.human": "fresh"} if human else {})


def alarms(runs: Mapping[str, list[Run]], arm: str, control: str) -> list[int | None]:
    """The generation of the alarm in each pair of five and five runs of the same seeds."""
    found = []
    for start in range(0, len(runs[arm]), SEEDS):
        chosen = {
            name: dict(enumerate(runs[name][start : start + SEEDS])) for name in (control, arm)
        }
        pair = Arms(tuple(ArmRuns(*each) for each in chosen.items()), GENERATIONS, ())
        (warning,) = compare_values(measured_values(pair), pair).warnings
        found.append(warning.alarm.first)
    return found


@pytest.mark.slow  # 2,000 and 500 runs: half an hour to an hour together
def test_of_200_pairs_that_differ_in_nothing_five_percent_at_most_raise_the_alarm(tmp_path: Path):
    arms = {
        "all": mixed(0.5),
        "any half": mixed(0.5) | {"sample.oversample": 2.0, "curate": [{"random": {"keep": 0.5}}]},
    }
    found = alarms(study_of(tmp_path, arms, pairs=200), "any half", control="all")
    share = np.mean([first is not None for first in found])
    print(f"{share:.1%} of {len(found)} pairs, at {[first for first in found if first]}")
    assert len(found) == 200
    assert share <= 0.08  # fewer than 5 %: no difference is less than the tolerance


@pytest.mark.slow  # 2,000 and 500 runs: half an hour to an hour together
def test_planted_collapse_raises_the_alarm_early(tmp_path: Path):
    arms = {"human": mixed(1.0), "model": mixed(0.0)}
    found = alarms(study_of(tmp_path, arms, pairs=50), "model", control="human")
    raised = [first for first in found if first]
    print(f"{len(raised)} of {len(found)} pairs, at {raised}")
    assert len(raised) >= 0.9 * len(found)
    assert np.median(raised) <= 2
