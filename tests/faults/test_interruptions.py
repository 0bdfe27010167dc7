"""A run that is killed, loses power, or whose files are damaged gives the same numbers or none."""

import pytest


def test_a_sample_of_kills_power_losses_and_damages_changes_no_number(sweep):
    sweep({"kill": 150, "power": 25, "damage": 25}, fewest=4)


@pytest.mark.faults
def test_a_kill_before_any_operation_changes_no_byte(sweep):
    sweep({"kill": 1}, fewest=500)


@pytest.mark.faults
def test_a_kill_of_a_population_before_any_operation_changes_no_byte(sweep):
    sweep({"kill:population": 1}, fewest=900)


@pytest.mark.faults
def test_power_that_is_lost_before_any_operation_changes_no_byte(sweep):
    sweep({"power": 1}, fewest=60)


@pytest.mark.faults
def test_damage_of_any_file_changes_no_number(sweep):
    sweep({"damage": 1}, fewest=300)
