"""Training goes as it went when the trajectory was recorded."""

import json
import subprocess
from types import ModuleType

import numpy as np
import pytest

# The same code with other micro-batches or threads is 1e-6 off; 5 % more learning rate is 9e-4
# off at most and 5e-4 on average.
LARGEST, MEAN = 5e-5, 1e-5


@pytest.fixture(scope="module")
def recorded(record: ModuleType) -> dict[str, list[float]]:
    return json.loads(record.TRAJECTORY.read_text())["losses"]


@pytest.mark.parametrize("name", ["adapter", "all weights"])
def test_twenty_steps_have_the_losses_that_were_recorded(record, tiny_gpt2_folder, recorded, name):
    losses = record.trajectory(tiny_gpt2_folder, record.ADAPTERS[name])
    assert len(losses) == len(recorded[name]) == 20
    differences = np.abs(np.subtract(losses, recorded[name]))
    assert differences.max() < LARGEST
    assert differences.mean() < MEAN


@pytest.mark.parametrize(
    "change",
    [{"learning_rate": 1.05e-5}, {"warmup": 0.2}, {"decay": "cosine"}, {"batch_tokens": 360}],
    ids=str,
)
@pytest.mark.parametrize("name", ["adapter", "all weights"])
def test_the_record_would_show_a_small_change(record, tiny_gpt2_folder, recorded, name, change):
    train = record.TRAIN.model_copy(update=change)
    losses = record.trajectory(tiny_gpt2_folder, record.ADAPTERS[name], train)
    num = min(len(losses), len(recorded[name]))
    differences = np.abs(np.subtract(losses[:num], recorded[name][:num]))
    assert differences.max() > 2 * LARGEST
    assert differences.mean() > 2 * MEAN


def test_the_recorder_refuses_a_dirty_tree(record, tmp_path):
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        command = ["git", *identity, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--no-verify", "--message", "empty")
    assert record.revision(tmp_path) == git("rev-parse", "HEAD")
    (tmp_path / "new.py").write_text("")
    with pytest.raises(SystemExit, match=r"(?s)not recorded.*new\.py"):
        record.revision(tmp_path)
