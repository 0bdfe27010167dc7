"""Records tests/golden/trajectory.json: `python tests/golden/record.py`.

The losses of 20 optimizer steps at a rate of 1e-5, with an adapter and with all weights. Longer or
faster ones amplify harmless differences in rounding. The model starts from random weights, so no
earlier training has a part in it.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from textmad.models.causal_lm.model import CausalLM
from textmad.recipe import LoraSettings, ModelSettings, TrainSettings
from textmad.testing.synthetic import synthetic_texts
from textmad.text.documents import documents

HERE = Path(__file__).resolve().parent
TRAJECTORY = HERE / "trajectory.json"
ADAPTERS = {"adapter": LoraSettings(rank=8, alpha=64.0), "all weights": None}
TRAIN = TrainSettings(epochs=2, batch_tokens=350, learning_rate=1e-5)
NUM_STEPS = 20


def trajectory(
    base: Path, adapter: LoraSettings | None, train: TrainSettings = TRAIN
) -> list[float]:
    """The loss before each of the first 20 steps."""
    texts = [" ".join(text.split()[:9]) for text in synthetic_texts(100, "golden")]
    model = CausalLM.open(ModelSettings(base=str(base), lora=adapter))
    curve = model.fit(documents({"text": texts}), train, seed=0).curve
    return [row["loss"] for row in curve[:NUM_STEPS]]


def revision(checkout: Path) -> str:
    """The commit that is being recorded; exits where any file differs from it."""

    def git(*arguments: str) -> str:
        answer = subprocess.run(
            ["git", *arguments], cwd=checkout, check=True, capture_output=True, text=True
        )
        return answer.stdout.strip()

    if changed := git("status", "--porcelain", "--", ":/"):
        sys.exit(f"not recorded: commit these first, or put them aside\n{changed}")
    return git("rev-parse", "HEAD")


def main() -> None:
    sys.path.append(str(HERE.parent))
    import tiny_models

    commit = revision(HERE)
    with tempfile.TemporaryDirectory() as folder:
        base = tiny_models.save(tiny_models.gpt2(), Path(folder))
        losses = {name: trajectory(base, adapter) for name, adapter in ADAPTERS.items()}
    recorded = {"revision": commit, "losses": losses}
    TRAJECTORY.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
