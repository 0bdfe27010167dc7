import io
import subprocess
import sys

import pytest

from textmad.progress import (
    PlainProgress,
    Progress,
    SilentProgress,
    TerminalProgress,
    TimeLeft,
    about,
    make_progress,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def ticking(*seconds):
    return iter(seconds).__next__


def test_a_stage_that_is_over_prints_one_line_with_amount_seconds_and_rate():
    out = io.StringIO()
    progress = PlainProgress(out, clock=ticking(10.0, 14.0))
    with progress.stage(2, "sample", 3000, "tokens"):
        progress.advance(1000)
        progress.advance(2000)
    assert out.getvalue().count("\n") == 1
    said = " ".join(out.getvalue().split())
    assert said == "gen 02 sample 3,000 tokens 4.0 s 750 tokens/s"  # 3000 / (14 - 10)


def test_nothing_is_printed_while_a_stage_runs():
    out = io.StringIO()
    progress = PlainProgress(out)
    with progress.stage(0, "fit", None, "tokens"):
        progress.advance(5)
        assert out.getvalue() == ""


def test_a_stage_starts_counting_from_nothing():
    out = io.StringIO()
    progress = PlainProgress(out, clock=ticking(0.0, 1.0, 1.0, 2.0))
    with progress.stage(0, "sample", None, "tokens"):
        progress.advance(40)
    with progress.stage(0, "curate", None, "documents"):
        progress.advance(2)
    assert " 2 documents" in out.getvalue().splitlines()[1]


def test_a_stage_short_of_its_total_names_both():
    out = io.StringIO()
    progress = PlainProgress(out, clock=ticking(0.0, 1.0))
    with progress.stage(None, "corpus", 1500, "documents"):
        progress.advance(1200)
    assert "1,200 of 1,500 documents" in out.getvalue()
    assert out.getvalue().startswith("corpus ")


def test_a_stage_left_by_an_error_says_how_far_it_came_and_passes_the_error_on():
    out = io.StringIO()
    progress = PlainProgress(out, clock=ticking(0.0, 1.0))

    def interrupted() -> None:
        with progress.stage(1, "fit", 100, "tokens"):
            progress.advance(30)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "30 of 100 tokens" in out.getvalue()
    assert out.getvalue().endswith("(stopped)\n")


def test_a_stage_without_advances_has_no_rate():
    out = io.StringIO()
    with PlainProgress(out, clock=ticking(0.0, 2.0)).stage(0, "mix", None, "documents"):
        pass
    assert out.getvalue().rstrip().endswith("2.0 s")


def test_the_terminal_shows_a_bar_and_leaves_the_same_line():
    out = Terminal()
    progress = TerminalProgress(out, clock=ticking(0.0, 4.0))
    with progress.stage(2, "sample", 3000, "tokens"):
        progress.advance(1000)
        progress.advance(2000)
    last = out.getvalue().splitlines()[-1]
    assert "━" in out.getvalue()
    assert last.split("\r")[-1].endswith("4.0 s  750 tokens/s")


def test_the_terminal_takes_a_stage_of_unknown_total():
    out = Terminal()
    progress = TerminalProgress(out)
    with progress.stage(None, "corpus", None, "documents"):
        progress.advance(7)
    assert "7 documents" in out.getvalue()


def test_the_display_is_chosen_by_whether_the_stream_is_a_terminal():
    assert isinstance(make_progress(Terminal()), TerminalProgress)
    assert isinstance(make_progress(io.StringIO()), PlainProgress)


def test_the_silent_display_takes_the_same_calls(capfd):
    progress: Progress = SilentProgress()
    with progress.stage(0, "fit", 10, "tokens"):
        progress.advance(10)
    assert capfd.readouterr() == ("", "")


def test_rich_is_loaded_only_when_a_bar_is_drawn():
    script = "import sys, textmad.progress as p; p.make_progress(); print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_where_a_generation_begins_the_time_left_is_told_from_those_before():
    out = io.StringIO()
    # Generation 0 takes from 0 to 100 s, so the two that are left take 200 s.
    progress = PlainProgress(out, clock=ticking(0.0, 100.0, 100.0, 101.0), generations=2)
    for generation in (0, 1):
        with progress.stage(generation, "fit", None, "tokens"):
            pass
    assert "about 3 minutes left" in out.getvalue().splitlines()[1]


def test_the_time_left_of_a_resumed_run_is_told_from_this_session_alone():
    out = io.StringIO()
    ticks = ticking(0.0, 300.0, 300.0, 301.0)
    progress = PlainProgress(out, clock=ticks, generations=9)
    for generation in (7, 8):
        with progress.stage(generation, "fit", None, "tokens"):
            pass
    assert "about 10 minutes left" in out.getvalue()  # two generations of 300 s


def test_less_than_a_minute_left_is_not_told():
    out = io.StringIO()
    progress = PlainProgress(out, clock=ticking(0.0, 5.0, 5.0, 6.0), generations=1)
    for generation in (0, 1):
        with progress.stage(generation, "fit", None, "tokens"):
            pass
    assert "left" not in out.getvalue()


def test_each_of_several_processes_counts_its_share_and_a_finished_stage_is_whole():
    out = io.StringIO()
    progress = PlainProgress(out, clock=ticking(0.0, 2.0), processes=2)
    with progress.stage(1, "fit", 3_200, "tokens"):
        progress.advance(849)  # of 3,200 in two processes
    assert " 3,200 tokens" in out.getvalue()
    assert " of " not in out.getvalue()


def test_the_rest_of_several_runs_is_estimated_from_those_that_are_done():
    left = TimeLeft(6, clock=ticking(0.0, 240.0, 290.0))
    assert left.after(2) == "; about 8 minutes left"  # four more of 120 s
    assert left.after(5) == ""  # 58 s
    assert TimeLeft(6).after(0) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 second"), (14, "15 seconds"), (95, "2 minutes"), (5_000, "1.5 hours")],
)
def test_a_duration_is_told_as_precisely_as_an_estimate_is(seconds, text):
    assert about(seconds) == text
