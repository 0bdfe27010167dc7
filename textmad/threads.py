"""How the threads of a process wait for each other: set before torch is loaded."""

import os
from collections.abc import Mapping

_SETTINGS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
_SPINS = "20000"


def waiting(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that bound how long a waiting thread keeps its core busy.

    torch's threads meet after every operation. By default, the first of them spins until the last
    one arrives, and on a busy core that one waits for a core which the first one holds: two
    threads beside two other processes take many times as long as one. With a short spin a thread
    gives its core back. On an idle machine the others arrive within the spin
    (docs/benchmarks.md has the figures).

    Args:
        environment: the variables that are set. What the user has set stays.

    Returns:
        The variables to add; none where the environment says how to wait.
    """
    return {} if any(name in environment for name in _SETTINGS) else {"GOMP_SPINCOUNT": _SPINS}


def limit_spinning() -> None:
    """Set these variables for this process and those that it starts.

    The OpenMP library reads them when it is loaded, so this comes before torch is imported.
    """
    os.environ.update(waiting(os.environ))
