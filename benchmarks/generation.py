"""One whole generation: plain_generation.py against `textmad run`, each a process of its own.

Both learn from human text, draw as many tokens, and measure: held-out text under the model and the
base model, drawn and human text under the base model, distinct-n. `textmad run` also cleans and
splits the corpus, commits every stage with its checksums, measures more, and writes its report.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.sides import Done

if TYPE_CHECKING:
    from textmad.recipe import Recipe

_COMPARED_SHARE = 2 / 3  # of the human documents that fill the sample: as textmad compares


def plain(
    base: str,
    dtype: str,
    texts: str,
    tokens: int,
    rows: int,
    max_new_tokens: int,
    batch_tokens: int,
    rate: float,
) -> Callable[[int], Done]:
    """The plain script."""
    from benchmarks import plain_generation
    from benchmarks.workload import ALPHA, RANK, base_folder, targets_of

    def turn(number: int) -> Done:
        with tempfile.TemporaryDirectory() as folder:
            options = {
                "base": base_folder(base),
                "dtype": dtype,
                "texts": texts,
                "out": Path(folder, "run"),
                "rank": RANK,
                "alpha": ALPHA,
                "tokens": tokens,
                "held-out-tokens": tokens,
                "compared-tokens": round(tokens * _COMPARED_SHARE),
                "batch-tokens": batch_tokens,
                "batch-size": rows,
                "max-new-tokens": max_new_tokens,
                "learning-rate": rate,
                "seed": number,
            }
            words = [f"--{name}={value}" for name, value in options.items()]
            metrics = plain_generation.main([*words, "--targets", *targets_of(base)])
        return Done(
            metrics["tokens_learned"] + metrics["tokens_drawn"],
            lambda: {"held_out_loss": metrics["held_out_loss"]},
        )

    return turn


def ours(
    base: str,
    dtype: str,
    texts: str,
    tokens: int,
    rows: int,
    max_new_tokens: int,
    batch_tokens: int,
    rate: float,
) -> Callable[[int], Done]:
    """`textmad run` on a recipe of generation 0."""
    import textmad as tm
    from textmad import cli

    recipe = recipe_of(base, dtype, texts, tokens, rows, max_new_tokens, batch_tokens, rate)

    def turn(number: int) -> Done:
        with tempfile.TemporaryDirectory() as folder:
            path, out = Path(folder, "recipe.yaml"), Path(folder, "run")
            path.write_text(recipe.replace(seed=number).to_yaml(), encoding="utf-8")
            sys.argv = ["textmad", "run", str(path), "--out", str(out)]
            _expect_success(cli.main)
            run = tm.Run(out)
            metrics = run.metrics.query("split == 'held_out'").set_index("metric")["value"]
            num_tokens = sum(run.training(0)["tokens"]) + sum(run.candidates(0)["tokens"])
        return Done(num_tokens, lambda: {"held_out_loss": float(metrics["loss"])})

    return turn


def recipe_of(
    base: str,
    dtype: str,
    texts: str,
    tokens: int,
    rows: int,
    max_new_tokens: int,
    batch_tokens: int,
    rate: float,
    generations: int = 0,
) -> Recipe:
    """The recipe of the same work."""
    from benchmarks.workload import our_settings
    from textmad.recipe import Recipe

    return Recipe.model_validate(
        {
            "generations": generations,
            "corpus": {"source": texts},
            "model": our_settings(base, dtype),
            "train": {"batch_tokens": batch_tokens, "learning_rate": rate},
            "mix": {"model_tokens": tokens},
            "sample": {
                "min_tokens": tokens,
                "slots": rows,
                "max_new_tokens": max_new_tokens,
            },
            "evaluate": [{"perplexity": {"held_out_tokens": tokens}}, "diversity"],
        }
    )


def _expect_success(program: Callable[[], None]) -> None:
    try:
        program()
    except SystemExit as left:
        if left.code:
            raise RuntimeError(f"textmad run ended with {left.code}") from left
