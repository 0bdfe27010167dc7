"""A corpus of random words, for runs on the categorical base model."""

import json
import random
from pathlib import Path


def write_words(path: Path) -> Path:
    """Write 600 documents of 20 words from a hundred, as JSON lines, and return the path."""
    rng = random.Random(0)
    texts = [" ".join(f"w{rng.randrange(100)}" for _ in range(20)) for _ in range(600)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path
