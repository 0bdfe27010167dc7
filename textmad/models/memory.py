"""What the C library does with freed memory."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # glibc's malloc.h


def keep_freed_memory() -> None:
    """Keep large freed blocks for the tensors to come.

    Each step of training, sampling and scoring frees tensors of megabytes and takes as much again.
    By default glibc returns such blocks to the system, which clears every page anew. Kept, they
    cost a third of the page faults (docs/log.md). Without glibc nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 2**30)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_TOP_PAD, 2**26)
