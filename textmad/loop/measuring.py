"""Measure a run again, with evaluators added."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textmad import store
from textmad.loop.evaluating import evaluate as evaluate_member
from textmad.loop.recursion import begun
from textmad.loop.run import Run
from textmad.progress import Progress, SilentProgress
from textmad.recipe import Recipe


def evaluate(
    path: str | Path,
    evaluators: Sequence[Any],
    *,
    progress: Progress | None = None,
    shared: store.Sharing | None = None,
) -> Run:
    """Measure the complete generations of a run by more evaluators, and return the run.

    The evaluators are added to the run's recipe. Measurements that are there stay as they are. An
    unfinished run is measured by all of its evaluators when it goes on.

    >>> import textmad as tm
    >>> run = tm.evaluate("runs/upvotes", ["self_bleu"])  # doctest: +SKIP

    Args:
        path: the run folder.
        evaluators: as in a recipe: names, names with settings, or the evaluators themselves.
        progress: told what is being done; silent by default.
        shared: stages that other runs of a study have committed, to be reused.

    Raises:
        TextmadError: see `textmad.errors`. RecipeError: an evaluator is unknown, or measures the
            run already with other settings.
    """
    run = Run(path)
    recipe = with_evaluators(run.recipe, evaluators)
    with begun(recipe, run.path, progress or SilentProgress(), shared=shared) as loop:
        for generation in run.generations:
            for member in loop.members:
                evaluate_member(member, generation)
                member.close_model()
        loop.finish()
    return Run(path)


def with_evaluators(recipe: Recipe, evaluators: Sequence[Any]) -> Recipe:
    """Return the recipe with evaluators added, those left out that it has already.

    Raises:
        RecipeError: an evaluator is unknown, or is there with other settings.
    """
    present = [store.canonical(component.dump()) for component in recipe.evaluate]
    resolved = recipe.replace(evaluate=list(evaluators)).evaluate
    added = [part for part in resolved if store.canonical(part.dump()) not in present]
    return recipe.replace(evaluate=[*recipe.evaluate, *added]) if added else recipe
