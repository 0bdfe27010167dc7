"""The filter `watermark`: rejects text that carries the watermark of a key."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from textmad.curation.document_rng import Floats
from textmad.curation.protocol import Context, Verdicts
from textmad.recipe.watermark_schemes import (
    LARGEST_KEY,
    MOST_LAYERS,
    SETTINGS,
    Ints,
    Tournament,
    context_hashes,
    green_lists,
)

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, kw_only=True)
class Watermark:
    """Reject documents that carry the watermark of this key; the score is z.

    z is how many standard deviations more of the watermark a text holds than text written without
    the key would; what a text repeats counts once. A text is rejected when the probability that
    unmarked text holds as much is at most `false_alarms`: by the binomial distribution for the
    green list, as for short texts the normal one rejects more than it says (Fernandez et al.,
    2308.00113, section III); by the normal one for SynthID, whose sum has `depth` terms a token.
    The table gets that probability as `watermark_p`.

    Only the text counts: neither the prompt, nor the first tokens, whose context is the prompt.

    Attributes:
        key: the one that the text was drawn with.
        kind: as in `sample.watermark`, and so are the three settings below.
        green_share: of the green list alone.
        depth: of SynthID alone.
        context: of SynthID alone.
        false_alarms: share of unmarked documents that may be rejected, above 0 and below 1.
    """

    key: int
    kind: Literal["green_list", "synthid"] = "green_list"
    green_share: float = 0.25
    depth: int = 30
    context: int = 4
    false_alarms: float = 0.01

    def __post_init__(self) -> None:
        if not 1 <= self.key <= LARGEST_KEY:
            raise ValueError(f"key: {self.key}: expected a whole number from 1 to {LARGEST_KEY}")
        for share in ("green_share", "false_alarms"):
            if not 0 < getattr(self, share) < 1:
                value = getattr(self, share)
                raise ValueError(f"{share}: {value:g}: expected a share above 0 and below 1")
        if not 1 <= self.depth <= MOST_LAYERS:
            raise ValueError(f"depth: {self.depth}: expected from 1 to {MOST_LAYERS} layers")
        if self.context < 1:
            raise ValueError(f"context: {self.context}: expected at least 1 token")
        for field in fields(self):
            value, kind = getattr(self, field.name), SETTINGS.get(field.name, self.kind)
            if kind != self.kind and value != field.default:
                raise ValueError(
                    f"{field.name}: {value}: has no effect while kind is {self.kind}; set kind: "
                    f"{kind}, or delete it"
                )

    def __call__(self, candidates: Dataset, context: Context) -> Verdicts:
        """Judge all candidates."""
        ids = [one[:-1].astype(np.int64) for one in context.encode(candidates["text"][:])]
        if self.kind == "green_list":
            z, p, counted = self._greens(ids, context.vocabulary_size)
        else:
            z, p, counted = self._tournaments(ids)
        reason = [f"z {one:.1f} over {num} tokens" for one, num in zip(z, counted, strict=True)]
        return Verdicts(p > self.false_alarms, z, reason, {"watermark_p": p})

    def _greens(self, ids: list[Ints], vocabulary: int) -> tuple[Floats, Floats, Ints]:
        """z, probability and tokens counted of each text, by its green tokens.

        z is (greens - share tokens) / sqrt(tokens share (1 - share)) over different pairs of
        tokens (Kirchenbauer et al., 2301.10226, equation 3), as of transformers'
        `WatermarkDetector` with `ignore_repeated_ngrams`.
        """
        from scipy.stats import binom

        of, pairs = _windows(ids, 2)
        before, tokens = pairs.T
        once = _firsts(of, before * vocabulary + tokens)
        of, before, tokens = of[once], before[once], tokens[once]
        is_green = green_lists(self.key, self.green_share, vocabulary).is_green(before, tokens)
        counted = np.bincount(of, minlength=len(ids))
        greens = np.bincount(of[is_green], minlength=len(ids))
        share = self.green_share
        z = _standard(greens - share * counted, counted * share * (1 - share))
        return z, binom.sf(greens - 1, counted, share), counted

    def _tournaments(self, ids: list[Ints]) -> tuple[Floats, Floats, Ints]:
        """The same by the weighted mean of the g-values, over different contexts.

        The layers' weights fall from 10 to 1, since early layers are marked more strongly
        (Dathathri et al., detector_mean.py of google-deepmind/synthid-text).
        """
        from scipy.stats import norm

        tournament = Tournament(self.key, self.depth, self.context)
        of, windows = _windows(ids, self.context + 1)
        hashes = context_hashes(windows[:, :-1])
        once = _firsts(of, hashes)
        of, hashes, tokens = of[once], hashes[once], windows[once, -1]
        weights = np.linspace(10, 1, self.depth)
        ones = tournament.table.mean()  # of the g-values
        sums = np.zeros(len(tokens))
        for weight, g_values in zip(weights, tournament.g_values(hashes, tokens), strict=True):
            sums += weight * (g_values - ones)
        counted = np.bincount(of, minlength=len(ids))
        excess = np.bincount(of, sums, minlength=len(ids))
        z = _standard(excess, counted * ones * (1 - ones) * (weights**2).sum())
        return z, norm.sf(z), counted


def _standard(excess: npt.ArrayLike, variance: npt.ArrayLike) -> Floats:
    """Return the excess in standard deviations; 0 where the variance is 0."""
    deviation = np.sqrt(variance)
    z: Floats = np.divide(excess, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    return z


def _windows(ids: list[Ints], width: int) -> tuple[Ints, Ints]:
    """Return the text of each window, (windows,), and every `width` tokens, (windows, width)."""
    long_enough = [number for number, one in enumerate(ids) if len(one) >= width]
    parts = [np.lib.stride_tricks.sliding_window_view(ids[number], width) for number in long_enough]
    of = np.repeat(long_enough, [len(part) for part in parts]).astype(np.int64)
    return of, np.concatenate([np.zeros((0, width), np.int64), *parts])


def _firsts(of: Ints, codes: Ints) -> Ints:
    """Return the positions at which a text has a code for the first time."""
    order = np.lexsort((codes, of))
    is_first = np.ones(len(order), bool)
    of, codes = of[order], codes[order]
    is_first[1:] = (of[1:] != of[:-1]) | (codes[1:] != codes[:-1])
    return np.sort(order[is_first])
