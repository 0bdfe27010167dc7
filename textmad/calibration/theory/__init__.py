"""What the loops come to: exact expectations of the categorical and the Gaussian model.

Generations are counted as textmad counts them: generation 0 learns from human text, so after
generation g a model has been fitted g + 1 times. A fit on n documents is a "round". Human text is
standard normal for the Gaussian, so errors are in units of the human variance.

Sources: [S] Seddik et al. 2404.05090; [A] Alemohammad et al. 2307.01850; [F] Ferbach et al.
2407.09499; [G] Gerstgrasser et al. 2404.01413.
"""

from textmad.calibration.theory.choices import (
    NUM_TEXTS,
    REWARD,
    best_of,
    curated,
    distance,
    mean_and_variance,
    reward,
    tilted,
)
from textmad.calibration.theory.fresh_text import (
    effective_sample_size,
    fit_error,
    fresh_error,
    one_fit_error,
    start_forgotten,
)
from textmad.calibration.theory.refits import (
    accumulate_error,
    median_variance,
    replace_error,
    squared_shares,
    support,
    variance,
    zipf,
)

__all__ = [
    "NUM_TEXTS",
    "REWARD",
    "accumulate_error",
    "best_of",
    "curated",
    "distance",
    "effective_sample_size",
    "fit_error",
    "fresh_error",
    "mean_and_variance",
    "median_variance",
    "one_fit_error",
    "replace_error",
    "reward",
    "squared_shares",
    "start_forgotten",
    "support",
    "tilted",
    "variance",
    "zipf",
]
