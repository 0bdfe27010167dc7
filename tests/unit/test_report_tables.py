import io
import math
from types import SimpleNamespace

import pandas as pd
from rich.console import Console

from textmad.report.tables import full_table, main_table, print_table, to_markdown, to_rich

COLUMNS = ["generation", "evaluator", "metric", "split", "bin", "value", "n", "note"]


def run(*rows):
    """A run of rows (generation, metric, split, value[, note[, bin]])."""
    full = []
    for generation, metric, split, value, *more in rows:
        note, bin = [*more, "", ""][:2]
        full.append((generation, "any", metric, split, bin, value, 10, note))
    return SimpleNamespace(metrics=pd.DataFrame(full, columns=COLUMNS), warnings=[])


TWO = run(
    (0, "perplexity", "held_out", 84.0),
    (1, "perplexity", "held_out", 105.0),
    (0, "distinct_2", "drawn", 0.77),
    (1, "distinct_2", "drawn", 0.81),
    (0, "distinct_2", "human", 0.74),
    (1, "distinct_2", "human", 0.74),
)


def line(table, name):
    return next(cells for cells in table.lines if cells[0] == name)


def test_a_line_has_direction_values_change_and_human_reference():
    table = main_table(TWO)
    assert table.header == ("metric", "text", "", "gen 0", "gen 1", "change", "human")
    assert line(table, "Perplexity") == (
        "Perplexity",
        "held-out",
        "↓",
        "84.00",
        "105.0",
        "+25 %",
        "",
    )
    assert line(table, "Distinct-2")[1:] == ("drawn", "≈", "0.770", "0.810", "+5.2 %", "0.740")


def test_the_human_reference_is_a_column_and_not_a_line():
    assert not [cells for cells in full_table(TWO).lines if cells[1] == "human"]


def test_what_was_not_measured_is_in_no_line_and_no_note():
    table = main_table(TWO)
    assert "Rare-token rate" not in {line[0] for line in table.lines}
    assert "Not measured" not in " ".join(table.notes)


def test_the_base_and_the_interval_of_human_text_stand_beside_the_text():
    frame = run((0, "distinct_2", "drawn", 0.7), (0, "distinct_2", "human", 0.731)).metrics
    frame["low"], frame["high"] = [math.nan, 0.72], [math.nan, 0.742]
    base = frame.iloc[:1].assign(split="base", value=0.755)
    frame = pd.concat([frame, base], ignore_index=True)
    table = main_table(SimpleNamespace(metrics=frame, warnings=[]))
    assert table.header[-2:] == ("base", "human")
    (only,) = table.lines
    assert only[-2:] == ("0.755", "0.731 [0.720, 0.742]")


def test_a_value_that_could_not_be_computed_says_why_and_where():
    table = main_table(
        run((0, "distinct_2", "kept", 0.7), (1, "distinct_2", "kept", math.nan, "only 3 documents"))
    )
    assert line(table, "Distinct-2")[3:] == ("0.700", "–", "–", "–")
    assert "– Distinct-2 (kept): only 3 documents (generation 1)." in table.notes


def test_what_filters_warn_of_stands_under_the_main_table():
    warned = SimpleNamespace(metrics=TWO.metrics, warnings=["votes say little"])
    assert main_table(warned).notes == (*main_table(TWO).notes, "Warning: votes say little.")


def test_the_users_own_metric_is_in_the_main_table_under_its_own_name():
    table = main_table(run((0, "my_metric", "all", 1.0), (1, "my_metric", "all", 2.0)))
    assert line(table, "my_metric") == ("my_metric", "all", "", "1.000", "2.000", "+100 %", "–")


def test_the_full_table_keeps_bins_apart():
    table = full_table(
        run(
            (0, "loss", "held_out", 4.0, "", "rarest"),
            (0, "loss", "held_out", 2.0, "", "commonest"),
        )
    )
    assert [cells[0] for cells in table.lines] == ["Loss, rarest", "Loss, commonest"]


def test_of_many_generations_the_first_and_the_last_are_shown_and_it_is_said():
    many = run(*((g, "perplexity", "held_out", 80.0 + g) for g in range(21)))
    table = main_table(many, at_most=5)
    assert table.header[3:8] == ("gen 0", "gen 5", "gen 10", "gen 15", "gen 20")
    assert "5 of 21 generations are displayed." in table.notes
    assert line(table, "Perplexity")[8] == "+25 %"  # 20 / 80, whichever columns are shown


def test_markdown_and_terminal_show_the_same_cells():
    table = main_table(TWO)
    out = io.StringIO()
    Console(file=out, width=120).print(to_rich(table))
    for cell in [*table.header, *(cell for cells in table.lines for cell in cells)]:
        assert cell in to_markdown(table)
        assert cell in out.getvalue()


def test_markdown_has_as_many_cells_in_every_row():
    rows = to_markdown(main_table(TWO)).split("\n\n")[0].splitlines()
    assert {row.count("|") for row in rows} == {8}  # 7 cells


def test_a_pipe_in_a_name_does_not_break_markdown():
    text = to_markdown(main_table(run((0, "a|b", "all", 1.0))))
    assert "a\\|b" in text


def test_markup_in_a_name_is_not_read_by_the_terminal():
    out = io.StringIO()
    Console(file=out, width=120).print(to_rich(main_table(run((0, "[red]x", "all", 1.0)))))
    assert "[red]x" in out.getvalue()


def test_six_generations_fit_a_terminal_of_80_characters():
    table = main_table(run(*((g, "rare_rate", "drawn", 0.0962) for g in range(6))))
    out = io.StringIO()
    Console(file=out, width=80).print(to_rich(table))
    assert out.getvalue().count("0.0962") == 6
    assert "…" not in out.getvalue()


def test_elsewhere_than_in_a_terminal_the_table_is_markdown(capsys):
    print_table(TWO)
    assert capsys.readouterr().out.startswith("| metric | text |")


def test_the_number_of_documents_stands_beside_values_that_depend_on_it():
    both = run(*((g, "mauve", split, 0.9) for g in (0, 1) for split in ("drawn", "human")))
    assert "10 documents are behind each value that depends on it: MAUVE." in full_table(both).notes
    assert not any("documents are behind" in note for note in main_table(TWO).notes)
