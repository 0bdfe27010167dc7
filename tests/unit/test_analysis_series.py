import math

import pandas as pd

from textmad.analysis.series import series

COLUMNS = ["generation", "evaluator", "metric", "split", "bin", "value", "n", "note"]


def metrics(*rows):
    """Rows of (generation, metric, split, value[, note])."""
    full = [(g, "mine", m, s, "", v, 10, note[0] if note else "") for g, m, s, v, *note in rows]
    return pd.DataFrame(full, columns=COLUMNS)


def test_a_series_holds_the_values_of_its_metric_and_split_only():
    table = metrics((0, "a", "drawn", 1.0), (1, "a", "drawn", 3.0), (1, "a", "kept", 9.0))
    assert series(table, "a", "drawn").values == {0: 1.0, 1: 3.0}
    assert series(table, "a", "drawn").change == 2.0
    assert series(table, "a", "drawn").relative_change == 2.0


def test_a_bin_is_a_series_of_its_own():
    table = metrics((0, "loss", "held_out", 4.0))
    binned = table.assign(bin="rarest", value=9.0)
    both = pd.concat([table, binned])
    assert series(both, "loss", "held_out").values == {0: 4.0}
    assert series(both, "loss", "held_out", "rarest").values == {0: 9.0}


def test_the_human_reference_is_the_mean_over_generations():
    table = metrics((0, "a", "drawn", 1.0), (0, "a", "human", 0.4), (1, "a", "human", 0.6))
    assert series(table, "a", "drawn").human.value == 0.5


def test_what_is_not_a_number_is_a_note_and_not_a_value():
    each = series(metrics((0, "a", "kept", math.nan, "too few")), "a", "kept")
    assert each.values == {}
    assert each.notes == {0: "too few"}
    assert not each.measured


def test_an_infinite_value_says_so_and_is_not_drawn():
    each = series(metrics((0, "perplexity", "held_out", math.inf)), "perplexity", "held_out")
    assert (each.values, each.notes) == ({}, {0: "infinite"})


def test_one_generation_alone_has_no_change():
    each = series(metrics((0, "a", "drawn", 1.0)), "a", "drawn")
    assert each.last is None
    assert each.change is None


def test_a_start_at_zero_has_a_change_but_no_share():
    each = series(metrics((0, "a", "drawn", 0.0), (1, "a", "drawn", 0.5)), "a", "drawn")
    assert each.change == 0.5
    assert each.relative_change is None


def test_what_was_not_measured_is_empty():
    each = series(metrics((0, "a", "drawn", 1.0)), "b", "drawn")
    assert (each.values, each.notes, each.human) == ({}, {}, None)
