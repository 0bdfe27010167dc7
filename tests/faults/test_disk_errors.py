"""After an error of the disk, with a remedy, the same command gives the bytes of a whole run.

A file of its own, so that pytest-xdist runs it beside the other sweeps.
"""

import pytest


def test_after_a_sample_of_disk_errors_the_same_command_gives_the_same_bytes(sweep):
    sweep({"error:EIO": 100, "error:ENOSPC": 30, "error:EDQUOT": 70}, fewest=3)


@pytest.mark.faults
@pytest.mark.parametrize(("name", "fewest"), [("EIO", 300), ("ENOSPC", 100), ("EDQUOT", 150)])
def test_after_an_error_at_any_operation_the_same_command_gives_the_same_bytes(sweep, name, fewest):
    sweep({f"error:{name}": 1}, fewest)


@pytest.mark.faults
def test_after_an_error_while_a_network_is_written_the_same_command_gives_the_same_bytes(sweep):
    sweep({f"error:{name}:tiny-gpt2": 1 for name in ("EIO", "ENOSPC", "EDQUOT")}, fewest=8)
