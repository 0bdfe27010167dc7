"""The whole loop on the tests' own language: what it leaves behind and what it finds."""

import math
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import textmad as tm
from textmad.evaluators import COMPARED
from textmad.models.causal_lm.model import CausalLM
from textmad.store import METRICS_SCHEMA

STAGES = {
    "mix": {"training.parquet", "mix.json"},
    "model": {
        "adapter_model.safetensors",
        "adapter_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
    },
    "sample": {"candidates.parquet"},
    "curate": {"candidates.parquet"},
    "evaluate": {"metrics.parquet", "held_out_losses.parquet"},
}


@pytest.fixture(scope="module")
def half_human(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: tm.Recipe) -> tm.Run:
    """As `finished_run`, but half of each training set is the same human text."""
    recipe = tiny_recipe.replace(mix={"human_tokens": 1500, "model_tokens": 1500})
    return tm.run(recipe, tmp_path_factory.mktemp("runs") / "half")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def held_out_loss(run: tm.Run, metric: str = "loss") -> np.ndarray:
    """Nats per token on held-out human text, by generation."""
    rows = run.metrics.query(f"metric == '{metric}' and split == 'held_out' and bin == ''")
    return rows.sort_values("generation")["value"].to_numpy()


def test_the_folder_of_a_run_holds_what_is_promised_and_nothing_else(finished_run):
    folder = finished_run.path
    generations = [f"gen-{g:02d}" for g in range(5)]
    assert names(folder) == {
        *("corpus", "base", "recipe.yaml", "provenance.json", "metrics.parquet"),
        *generations,
    }
    corpus = {"human.parquet", "held_out.parquet", "corpus.json", "manifest.json"}
    assert names(folder / "corpus") == corpus
    for generation in generations:
        assert names(folder / generation) == set(STAGES)
        for stage, files in STAGES.items():
            assert names(folder / generation / stage) == files | {"manifest.json"}


def test_a_finished_run_opens_again_as_the_recipe_that_was_given(finished_run, tiny_recipe):
    opened = tm.Run(finished_run.path)
    assert opened.complete
    assert opened.recipe == tiny_recipe
    assert opened.generations == [0, 1, 2, 3, 4]


def test_every_evaluator_measures_the_same_in_every_generation(finished_run):
    metrics = finished_run.metrics
    keys = ["evaluator", "metric", "split", "bin"]
    measured = [
        set(rows[keys].itertuples(index=False)) for _, rows in metrics.groupby("generation")
    ]
    assert len(measured) == 5
    assert all(one == measured[0] for one in measured)
    assert not metrics.duplicated(["generation", *keys]).any()
    assert {key.evaluator for key in measured[0]} == {"perplexity", "diversity", "rare_tokens"}
    assert {key.split for key in measured[0]} == {"held_out", *COMPARED}


def test_only_what_has_no_counterpart_is_not_measured(finished_run):
    metrics = finished_run.metrics
    missing = metrics[metrics["value"].isna()]
    # Generation 0 learned from human text only, the later ones from model text only.
    assert set(missing["metric"]) == {"overlap"}
    assert set(missing.query("generation == 0")["bin"]) == {"model"}
    assert set(missing.query("generation > 0")["bin"]) == {"human"}
    assert (missing["note"] != "").all()
    assert (metrics.dropna(subset="value")["n"] > 0).all()


def test_metrics_at_the_top_are_those_of_the_generations_in_one_table(finished_run):
    table = pq.read_table(finished_run.path / "metrics.parquet")
    assert table.schema.remove_metadata() == METRICS_SCHEMA
    parts = [
        pq.read_table(finished_run.path / f"gen-{g:02d}" / "evaluate" / "metrics.parquet")
        for g in range(5)
    ]
    assert table.num_rows == sum(part.num_rows for part in parts)
    rows = [row for part in parts for row in part.to_pylist()]
    assert [str(row) for row in table.to_pylist()] == [str(row) for row in rows]  # NaN != NaN


def test_human_text_is_measured_the_same_in_every_generation(finished_run):
    """The reference is one set of documents; so is held-out text under the base model."""
    metrics = finished_run.metrics
    # How much of it stands in the training set depends on that.
    rows = metrics.query(
        "metric != 'overlap' and (split == 'human' or metric == 'base_perplexity') "
        "and split not in ('drawn', 'kept')"
    )
    values = rows.groupby(["evaluator", "metric", "split", "bin"])["value"]
    assert (values.nunique() == 1).all()


def test_without_filters_everything_drawn_is_kept(finished_run):
    for generation in range(5):
        candidates = finished_run.candidates(generation)
        assert all(candidates["kept"])
        assert len(finished_run.kept(generation)) == len(candidates)
    metrics = finished_run.metrics.fillna(-1.0)
    drawn, kept = (
        metrics[metrics["split"] == split].drop(columns=["split", "note"]).to_dict("records")
        for split in ("drawn", "kept")
    )
    assert drawn == kept


def test_candidates_hold_the_sampled_ids_where_their_text_encodes_to_others(finished_run):
    base = CausalLM.open(finished_run.recipe.model)
    num_reencoded = 0
    for candidates in (finished_run.base_text, finished_run.candidates(2)):
        encoded = base.encode(candidates["text"][:])
        sampled = candidates["sampled_ids"][:]
        for text, ids, other in zip(candidates["text"][:], sampled, encoded, strict=True):
            if ids is not None:
                assert base._base.text.decode([ids], [False]) == [text]
                assert ids != other[:-1].tolist()
                num_reencoded += 1
    assert num_reencoded > 0  # of some hundred documents
    assert "sampled_ids" not in finished_run.training(1).column_names
    shares = finished_run.metrics.query("metric == 'reencoded_share' and split == 'drawn'")
    assert shares["value"].gt(0).any()
    by_text, as_sampled = (
        finished_run.metrics.query("metric == @name and split == 'drawn'")["value"].to_numpy()
        for name in ("base_perplexity", "base_perplexity_as_sampled")
    )
    # An encoding that the model would rarely sample is less likely than the one that it did.
    assert (as_sampled < by_text)[shares["value"].to_numpy() > 0].all()


def test_candidates_name_their_generation_and_slot(finished_run):
    for generation in range(5):
        candidates = finished_run.candidates(generation)
        assert candidates["id"][:] == [f"g{generation}-{i}" for i in range(len(candidates))]
        assert set(candidates["origin"]) == {"model"}
        assert set(candidates["generation"]) == {generation}
        total = np.cumsum(candidates["tokens"])
        assert total[-2] < 3000 <= total[-1]  # min_tokens of the recipe, to within a document


def test_provenance_says_what_the_run_was_made_with(finished_run, tiny_recipe):
    provenance = finished_run.provenance
    (session,) = provenance["sessions"]
    assert session["processes"] == 1
    assert session["device"] in ("cpu", "cuda:0", "cuda")
    assert set(provenance["digests"]) == {"base"}
    assert {"torch", "transformers", "peft"} <= set(provenance["versions"])


def test_four_generations_of_a_tiny_model_take_less_than_30_seconds(finished):
    # Processor time, which is at least the time on an idle machine and not that of a busy one.
    assert finished.cpu_seconds < 30


def test_generation_0_learns_from_human_text_and_replacement_loses_it(finished_run):
    loss = held_out_loss(finished_run)
    base = finished_run.metrics.query("metric == 'base_perplexity' and split == 'held_out'")
    base_loss = math.log(base["value"].iloc[0])
    assert loss[0] < base_loss - 0.3
    # Every generation adds its own errors to those of the one it learned from.
    assert np.all(np.diff(loss) > 0)
    assert loss[4] > loss[0] + 0.25


def test_half_human_text_holds_back_what_replacement_loses(finished_run, half_human):
    replaced, mixed = held_out_loss(finished_run), held_out_loss(half_human)
    # Generation 0 has the same human text and seeds in both.
    assert mixed[0] == replaced[0]
    # Half of the text is human in each generation, so at most half the loss is to be expected,
    # and it does not add up: what one generation forgot stands in the next one's human half.
    assert mixed[4] - mixed[0] < (replaced[4] - replaced[0]) / 2
    assert mixed[4] - mixed[1] < (replaced[4] - replaced[1]) / 2
