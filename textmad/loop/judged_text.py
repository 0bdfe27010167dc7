"""What a generation learns from by preference: the candidates of the one before, with labels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from textmad.errors import CurationError
from textmad.recipe import PreferenceSettings, Recipe
from textmad.recipe.components import TWIN
from textmad.seeds import stream
from textmad.text.documents import as_dataset, as_table

if TYPE_CHECKING:
    from datasets import Dataset

Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
# The column of a filter that ranks: of the first 1, or the larger the better.
_RANKS = re.compile(r"(rank|accept_probability)(_\d+)?")


class JudgedText(NamedTuple):
    """Documents with a column `accepted`, and how many there are."""

    documents: Dataset  # of DPO the accepted ones of all pairs, then the rejected ones in order
    counts: dict[str, int | dict[str, int]]  # accepted, rejected, left_out by reason


def judged_text(recipe: Recipe, generation: int, candidates: Dataset) -> JudgedText:
    """Label the candidates of the generation before, and return what `generation` learns from.

    DPO learns from pairs: the best accepted document with the worst rejected one, the second best
    with the second worst, and so on, as long as there are both. Ranks are those of the last filter
    that ranks; with random labels, and where a filter of the recipe is a matched random control,
    they are random.

    Raises:
        CurationError: nothing was accepted or nothing rejected, or there are no ranks.
    """
    settings = recipe.train.preference
    assert settings is not None, "called only where the recipe has one"
    table = as_table(candidates)
    left_out: dict[str, int] = {}

    # Labels of the documents that have one, and a token to learn.
    is_known = np.ones(table.num_rows, bool)
    if settings.labels == "discriminator":
        verdicts = table["discriminator_accepts"]
        is_known = ~np.array(verdicts.is_null().to_pylist(), bool)
        accepted = np.array(verdicts.fill_null(False).to_pylist(), bool)
        left_out["not judged by the discriminator"] = int((~is_known).sum())
    else:
        accepted = np.array(table["kept"].to_pylist(), bool)
    has_tokens = np.array(table["tokens"].to_numpy()) > 0
    left_out["without a token"] = int((is_known & ~has_tokens).sum())
    rows = np.flatnonzero(is_known & has_tokens)
    accepted = accepted[rows]
    if settings.labels == "random":
        accepted = stream(recipe.seed, "preference", "labels", generation).permutation(accepted)
    _check_both(generation, settings, accepted)

    # At most so many of each label, chosen at random; pairs are made of them by rank.
    good, bad = (
        _some(rows[label], settings, stream(recipe.seed, "preference", name, generation))
        for name, label in (("accepted", accepted), ("rejected", ~accepted))
    )
    if settings.loss == "dpo":
        ranks = _ranks(recipe, generation, table)
        good, bad = (chosen[np.isfinite(ranks[chosen])] for chosen in (good, bad))
        good, bad = good[np.argsort(ranks[good])], bad[np.argsort(-ranks[bad])]
        num_pairs = min(len(good), len(bad))
        good, bad = good[:num_pairs], bad[:num_pairs]
        if not num_pairs:
            raise CurationError(
                f"train.preference, generation {generation}: of the candidates that were accepted "
                "or of those that were rejected none has a rank, so there is no pair; choose kto "
                "or apo_zero_unpaired"
            )
    left_out["not chosen"] = len(rows) - len(good) - len(bad)
    columns = table.select(["text", "prompt", "finished"]).take(np.concatenate([good, bad]))
    labels = pa.array([True] * len(good) + [False] * len(bad))
    return JudgedText(
        as_dataset(columns.append_column("accepted", labels)),
        {
            "accepted": len(good),
            "rejected": len(bad),
            "left_out": {reason: num for reason, num in left_out.items() if num},
        },
    )


def _check_both(generation: int, settings: PreferenceSettings, accepted: Bools) -> None:
    """Check that there are documents of both labels.

    Raises:
        CurationError: there are not.
    """
    for label, num in (("accepted", accepted.sum()), ("rejected", (~accepted).sum())):
        if not num:
            raise CurationError(
                f"train.preference, generation {generation}: none of the {len(accepted):,} judged "
                f"candidates of generation {generation - 1} was {label} (labels: "
                f"{settings.labels}); change what the filters in curate keep, or delete "
                "train.preference"
            )


def _some(rows: Rows, settings: PreferenceSettings, rng: np.random.Generator) -> Rows:
    """Return at most `documents` of the rows, in their order."""
    if settings.documents is None or len(rows) <= settings.documents:
        return rows
    return np.sort(rng.permutation(rows)[: settings.documents])


def _ranks(recipe: Recipe, generation: int, table: pa.Table) -> npt.NDArray[np.float64]:
    """Return a number for each candidate, the lower the better; NaN where it was not ranked.

    Raises:
        CurationError: no filter ranks.
    """
    assert recipe.train.preference is not None
    is_random = recipe.train.preference.labels == "random" or any(
        component.name.startswith(TWIN) for component in recipe.curate
    )
    if is_random:
        rng = stream(recipe.seed, "preference", "ranks", generation)
        return rng.random(len(table))
    names = [name for name in table.column_names if _RANKS.fullmatch(name)]
    if not names:
        raise CurationError(
            f"train.preference.loss: dpo, generation {generation}: pairs are made from ranks, and "
            "the candidates have no column rank or accept_probability; add upvotes, people or "
            "discriminator to curate, or choose kto or apo_zero_unpaired"
        )
    values: npt.NDArray[np.float64] = table[names[-1]].cast(pa.float64()).to_numpy()
    return values if names[-1].startswith("rank") else np.negative(values)
