"""`textmad evaluate`, `sample` and `export`: what can be done with a run that is finished."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import textmad as tm
from tests.command_line import Answer


@pytest.fixture
def textmad(textmad: Callable[..., Answer]) -> Callable[..., str]:
    """Call the program in this process; what it prints, or its error."""

    def call(*arguments: object) -> str:
        answer = textmad(*arguments)
        return answer.err if answer.code else answer.out

    return call


@pytest.fixture(scope="module")
def run(short_recipe: tm.Recipe, tmp_path_factory: pytest.TempPathFactory) -> tm.Run:
    recipe = short_recipe.replace(generations=0)
    return tm.run(recipe, tmp_path_factory.mktemp("commands") / "run")


def test_sample_prints_new_documents_and_more_of_them_begin_alike(run: tm.Run, textmad):
    few = textmad("sample", run.path, "--generation", 0, "--num", 3)
    assert few.startswith("0: ")
    assert len(few.split("\n\n")) == 3 + 1
    assert textmad("sample", run.path, "--generation", 0, "--num", 30).startswith(few)
    assert textmad("sample", run.path, "--generation", 0, "--num", 3, "--seed", 1) != few
    candidates = set(run.candidates(0)["text"])
    texts = run.sample(0, 30)["text"][:]
    assert len(texts) == 30
    assert len(candidates & set(texts)) < 5  # a short one may come twice


def test_sample_writes_a_file_with_the_prompt_apart(run: tm.Run, textmad, tmp_path: Path):
    out = tmp_path / "texts.jsonl"
    prompt = run.human["text"][0][:6]
    textmad("sample", run.path, "--generation", 0, "--num", 4, "--prompt", prompt, "--out", out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["prompt"] for row in rows] == [prompt] * 4
    assert len({row["text"] for row in rows}) > 1
    assert [row["id"] for row in rows] == [f"s0-g0-{i}" for i in range(4)]
    textmad("sample", run.path, "--generation", 0, "--num", 4, "--out", tmp_path / "t.parquet")
    table = pq.read_table(tmp_path / "t.parquet")
    assert table["text"].to_pylist() == run.sample(0, 4)["text"][:]
    caught = textmad("sample", run.path, "--generation", 0, "--out", tmp_path / "texts.csv")
    assert caught.endswith("expected a name that ends in .jsonl or .parquet\n")
    assert "gen-07/model is not there" in textmad("sample", run.path, "--generation", 7)


def test_export_writes_a_folder_that_another_library_opens_and_scores_the_same(
    run: tm.Run, textmad, tmp_path: Path
):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "model"
    textmad("export", run.path, "--generation", 0, "--merge", "--out", out)
    network, tokenizer = (
        kind.from_pretrained(out) for kind in (AutoModelForCausalLM, AutoTokenizer)
    )
    text = run.held_out["text"][0]
    ids = [tokenizer.bos_token_id, *tokenizer.encode(text), tokenizer.eos_token_id]
    with torch.no_grad():
        logits = network(torch.tensor([ids])).logits[0, :-1].double()
    nll = torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none")
    assert nll.numpy() == pytest.approx(run.model(0).token_nll([text])[0], abs=1e-4)
    again = textmad("export", run.path, "--generation", 0, "--merge", "--out", out)
    assert "holds something: expected an empty folder" in again


def test_export_without_merging_writes_an_adapter_for_peft(run: tm.Run, textmad, tmp_path: Path):
    from peft import AutoPeftModelForCausalLM

    out = tmp_path / "adapter"
    textmad("export", run.path, "--generation", 0, "--out", out)
    assert (out / "adapter_model.safetensors").is_file()
    assert AutoPeftModelForCausalLM.from_pretrained(out).peft_config["default"].r == 8


def test_share_copies_all_but_the_paths_of_this_machine(run: tm.Run, textmad, tmp_path: Path):
    out = tmp_path / "shared"
    textmad("share", run.path, "--out", out)
    # The recipe names its corpus and its base by absolute paths.
    named = [Path(run.recipe.corpus.source), Path(run.recipe.model.base)]
    assert all(path.is_absolute() for path in named)
    written = {path for path in out.rglob("*") if path.is_file()}
    for path in written:
        data = path.read_bytes()
        assert not any(str(above.parent).encode() in data for above in [*named, run.path])
        if path.suffix == ".parquet" and "author" in (table := pq.read_table(path)).column_names:
            assert not any("/" in author for author in table["author"].to_pylist())
    assert {path.name for path in written} >= {"recipe.yaml", "provenance.json", "metrics.parquet"}
    copy = tm.Run(out)
    assert copy.complete == run.complete
    assert copy.metrics.equals(run.metrics)
    assert copy.candidates(0).to_list() == run.candidates(0).to_list()
    assert copy.recipe.corpus.source == named[0].name
    assert "| Perplexity |" in textmad("report", out)
    assert "holds something" in textmad("share", run.path, "--out", out)


def test_evaluate_adds_a_table_row_and_an_unknown_name_is_refused(
    run: tm.Run, textmad, tmp_path: Path
):
    caught = textmad("evaluate", run.path, "--evaluate", "self_blue")
    assert "self_blue: unknown evaluator" in caught
    printed = textmad("evaluate", run.path, "--evaluate", "diversity", "--evaluate", "self_bleu")
    assert "distinct-2" in printed.lower()
    assert set(run.metrics["evaluator"]) == {"perplexity", "diversity", "self_bleu"}


@pytest.mark.parametrize("rank", ["1", "worker-0"])
def test_a_rank_that_something_else_has_set_silences_nobody(
    short_recipe: tm.Recipe, textmad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str
):
    monkeypatch.setenv("RANK", rank)
    recipe = short_recipe.replace(generations=0, evaluate=["diversity"])
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    printed = textmad("run", tmp_path / "recipe.yaml", "--out", tmp_path / "run")
    assert printed.splitlines()[-1] == f"report: {tmp_path / 'run' / 'report.html'}"
    caught = textmad("run", tmp_path / "none.yaml", "--out", tmp_path / "run")
    assert caught.startswith("textmad: ")
