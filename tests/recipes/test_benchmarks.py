"""`make bench`: both sides do the same work, turns alternate, limits are what they say.

The sides run in this process at a tiny size; what spawns processes is tried on a side of no weight.
"""

import importlib
import json
import math
from pathlib import Path
from typing import Any

import pytest

from benchmarks import limits, suite, table
from benchmarks.sides import Measured, Side, Turn, alternate, whole_processes

ROOT = Path(__file__).parents[2]


def turn(make: str, number: int = 1, **settings: Any) -> tuple[int, dict[str, float]]:
    """Tokens and facts of one turn of a side."""
    module, _, function = make.partition(":")
    side = getattr(importlib.import_module(f"benchmarks.{module}"), function)
    done = side(**settings)(number)
    return done.tokens, done.facts()


@pytest.fixture(scope="module")
def model(trained_gpt2_folder: Path) -> dict[str, str]:
    return {"base": str(trained_gpt2_folder), "dtype": "float32"}


@pytest.fixture(scope="module")
def files(human_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    from benchmarks.workload import write_documents

    counts = {"train": 60, "held_out": 40, "generation": 300}
    return write_documents(str(human_corpus), counts, str(tmp_path_factory.mktemp("documents")))


# --- same work ------------------------------------------------------------------------------


def test_no_document_is_in_two_files(files: dict[str, str]):
    from benchmarks.workload import read_texts

    texts = [text for path in files.values() for text in read_texts(path)]
    assert len(texts) == len(set(texts)) == 60 + 40 + 300


def test_both_samplers_write_documents_of_the_same_length(model: dict[str, str]):
    settings = {**model, "rows": (64,), "num_tokens": 8_000, "max_new_tokens": 60}
    (_, plain), (_, ours) = (turn(f"sampling:{side}", **settings) for side in ("plain", "ours"))
    # Some 200 documents each: the means differ by a few standard errors at most.
    variance = plain["mean_square"] - plain["mean_length"] ** 2
    error = math.sqrt(2 * variance / (8_000 / plain["mean_length"]))
    assert abs(plain["mean_length"] - ours["mean_length"]) < 5 * error
    assert plain["mean_length"] < 59  # they end by themselves


def test_documents_of_the_endless_copy_all_have_full_length(model: dict[str, str], tmp_path: Path):
    from benchmarks.workload import endless_copy

    base = endless_copy(model["base"], str(tmp_path / "endless"))
    settings = {"dtype": "float32", "rows": (8,), "num_tokens": 150, "max_new_tokens": 20}
    for side in ("plain", "ours"):
        tokens, facts = turn(f"sampling:{side}", base=base, **settings)
        # All are cut at 20; read again, bytes that are no character count a little otherwise.
        assert facts["mean_length"] == pytest.approx(20, abs=3)
        assert tokens >= 120


def test_every_way_of_training_learns_the_same_tokens_to_about_the_same_loss(
    model: dict[str, str], files: dict[str, str]
):
    settings = {**model, "texts": files["train"], "held_out": files["held_out"]}
    settings |= {"batch_tokens": 512, "learning_rate": 2e-2}
    untrained = turn("evaluation:our_perplexity", **model, texts=files["held_out"])[1]["loss"]
    found = [
        turn("training:plain", **settings, grouped=False),
        turn("training:plain", **settings, grouped=True),
        turn("training:ours", **settings),
    ]
    assert len({tokens for tokens, _ in found}) == 1
    losses = [facts["held_out_loss"] for _, facts in found]
    assert max(losses) < untrained - 0.05
    assert max(losses) - min(losses) < 0.5 * (untrained - min(losses))


def test_a_plain_turn_trains_a_fresh_adapter_each_time(
    model: dict[str, str], files: dict[str, str]
):
    from benchmarks import training

    side = training.plain(
        **model,
        texts=files["train"],
        held_out=files["held_out"],
        batch_tokens=512,
        learning_rate=2e-2,
        grouped=False,
    )
    first, second = (side(3).facts()["held_out_loss"] for _ in range(2))
    assert second == pytest.approx(first, abs=1e-6)


def test_both_perplexities_are_the_same_number(model: dict[str, str], files: dict[str, str]):
    settings = {**model, "texts": files["held_out"]}
    (num_plain, plain), (num_ours, ours) = (
        turn(f"evaluation:{side}_perplexity", **settings) for side in ("plain", "our")
    )
    assert num_plain == num_ours
    assert ours["loss"] == pytest.approx(plain["loss"], abs=1e-5)


def test_both_counts_are_the_same_numbers(model: dict[str, str], files: dict[str, str]):
    settings = {**model, "texts": files["train"], "human": files["generation"]}
    plain, ours = (turn(f"evaluation:{side}_counts", **settings) for side in ("plain", "our"))
    assert plain[0] == ours[0]
    assert ours[1] == pytest.approx(plain[1], abs=1e-12)
    assert set(ours[1]) == {"distinct_1", "distinct_2", "distinct_3", "distinct_4", "rare_rate"}


def test_both_generations_learn_and_draw_as_much_to_about_the_same_loss(
    model: dict[str, str], files: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    import signal

    monkeypatch.setattr("sys.argv", ["restored afterwards"])
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    settings = {**model, "texts": files["generation"], "tokens": 600, "rows": 16}
    settings |= {"batch_tokens": 256, "rate": 1e-2, "max_new_tokens": 60}
    (num_plain, plain), (num_ours, ours) = (
        turn(f"generation:{side}", **settings) for side in ("plain", "ours")
    )
    for number, handler in before.items():
        signal.signal(number, handler)
    # 600 learned and 600 drawn; a batch of 16 documents of up to 60 tokens may go beyond.
    assert 1_200 <= num_ours < 1_200 + 2 * 60
    assert 1_200 <= num_plain < 1_200 + 60 + 16 * 60
    assert ours["held_out_loss"] == pytest.approx(plain["held_out_loss"], rel=0.15)


# --- turns ----------------------------------------------------------------------------------


SIDE = """
from pathlib import Path
from benchmarks.sides import Done

def weightless(path, name):
    def work(number):
        with Path(path).open("a") as file:
            file.write(f"{name}{number} ")
        return Done(10, lambda: {"loss": 2.0})
    return work

def broken():
    return lambda number: 1 / 0
"""


@pytest.fixture
def sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Side]:
    """Sides A and B, which only note their turns in the file "notes"."""
    (tmp_path / "side_of_no_weight.py").write_text(SIDE)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = str(tmp_path / "notes")
    make = "side_of_no_weight:weightless"
    return [Side(name, make, {"path": path, "name": name}) for name in "AB"]


def test_sides_take_turns_and_the_first_turn_of_each_is_not_counted(
    sides: list[Side], tmp_path: Path
):
    measured = alternate(sides, 2)
    assert (tmp_path / "notes").read_text() == "A0 B0 A1 B1 A2 B2 "
    assert [len(side.turns) for side in measured.values()] == [2, 2]
    assert measured["A"].turns[0].tokens == 10
    assert measured["B"].fact("loss") == 2.0
    # A Python process takes megabytes; without torch it stays far below what torch takes.
    assert 5e6 < measured["A"].peak_bytes < 1e8


def test_whole_processes_take_turns_and_their_start_is_counted(sides: list[Side], tmp_path: Path):
    measured = whole_processes(sides, 2)
    assert (tmp_path / "notes").read_text() == "A0 B0 A1 B1 "
    # A turn itself takes microseconds, starting Python some hundredths of a second.
    assert min(turn.seconds for turn in measured["A"].turns) > 0.01


def test_a_side_that_fails_ends_the_benchmark_with_its_name(sides: list[Side]):
    with pytest.raises(RuntimeError, match="broken one: its process ended"):
        alternate([Side("broken one", "side_of_no_weight:broken")], 1)


# --- limits and table -----------------------------------------------------------------------


def test_the_model_is_described_by_its_weights(model: dict[str, str]):
    # GPT-2 of 2 layers x 32: c_attn 32 x 96, c_proj 32 x 32, c_fc and its c_proj 32 x 128 each; the
    # output layer multiplies by vocabulary x 32.
    from textmad.models.base_files import check_base
    from textmad.recipe import ModelSettings

    vocabulary = check_base(ModelSettings(base=model["base"])).vocabulary
    described = limits.describe(**model)
    layer = 32 * 96 + 32 * 32 + 2 * 32 * 128
    assert described == limits.Model(2 * layer + vocabulary * 32, 2 * 32, 2 * 2 * 32, 4)


def test_the_work_of_documents_is_what_their_positions_cost():
    model = limits.Model(parameters=100, width=10, cache_width=20, bytes_a_number=4)
    # Two documents of 1 and 3 tokens: 4 products with all weights; 1 + (1 + 2 + 3) positions seen,
    # each multiplied twice (scores, values) by a width of 10.
    documents = limits.Documents(tokens=4, mean_length=2, mean_square=(1 + 9) / 2)
    assert documents.seen == 7
    flops = 2 * 100 * 4 + 2 * 2 * 10 * 7
    assert limits.forward_flops(model, documents) == flops
    # Two rows: the weights are read in two steps, the cache at every position seen.
    moved = 4 * (2 * 100 + 20 * 7)
    assert limits.sampling_seconds(model, documents, 2, flops=1e9, bandwidth=1) == moved
    assert limits.sampling_seconds(model, documents, 2, flops=1, bandwidth=1e9) == flops
    assert limits.training_seconds(model, documents, flops=1) == 2 * flops


def result(side: str, rate: int, ratio: float | None = None) -> suite.Result:
    turns = [Turn(1.0, rate, {"held_out_loss": 4.0}), Turn(1.0, rate, {"held_out_loss": 4.5})]
    return suite.Result("training", "LoRA", side, Measured(side, turns, 2e8), ratio, 0.25)


def test_the_table_the_json_and_the_handbook_hold_the_same_figures(tmp_path: Path):
    results = [result("plain", 1000, 3.0), result("ours", 3000)]
    assert table.rows(results) == [
        "| training: LoRA | plain; held out loss 4.500 | 1,000 (1,000 to 1,000) | 3.00 x | 200 MB "
        "| 25% |",
        "| training: LoRA | ours; held out loss 4.500 | 3,000 (3,000 to 3,000) |  | 200 MB | 25% |",
    ]
    facts = {"date": "2026-11-23", "command": "scripts/bench", "machine": "2 cores"}
    facts["versions"] = {"torch": "2.13.0"}
    page = tmp_path / "benchmarks.md"
    page.write_text("| date |\n| --- |\n")
    table.append(page, table.handbook_rows(results, facts))
    assert page.read_text() == (
        "| date |\n| --- |\n"
        "| 2026-11-23 | training: LoRA; plain | 1,000 tokens/s, ours is 3.00 x, 200 MB, 25% of the "
        "limit | `scripts/bench` | 2 cores | torch 2.13.0 |\n"
        "| 2026-11-23 | training: LoRA; ours | 3,000 tokens/s, 200 MB, 25% of the limit "
        "| `scripts/bench` | 2 cores | torch 2.13.0 |\n"
    )
    data = json.loads(json.dumps(table.to_json(results, facts), allow_nan=False))
    assert [entry["measured"]["rate"] for entry in data["results"]] == [1000, 3000]
    assert data["results"][0]["ratio"] == 3.0


def test_every_part_and_side_that_the_suite_names_exists():
    source = (ROOT / "benchmarks" / "suite.py").read_text(encoding="utf-8")
    named = {name for name in source.replace('"', " ").split() if name.startswith("benchmarks.")}
    plain = {name for name in named if ":" in name and "{" not in name}
    assert len(plain) > 6
    for name in plain:
        module, _, function = name.partition(":")
        assert callable(getattr(importlib.import_module(module), function))
    assert all(hasattr(suite.Suite, f"_{part}") for part in suite.PARTS)
