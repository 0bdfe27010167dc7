"""What the loop hands to the evaluators beside texts and models."""

import pytest

import textmad as tm
from textmad.errors import ModelError, RunError

SEEN = []


def look(snapshot):
    """An evaluator that shows what it was given."""
    SEEN.append(snapshot)
    return {"nothing": 0.0}


@pytest.fixture
def recipe(short_recipe, tiny_gpt2_folder):
    encoder = {"documents": 20, "encoder": str(tiny_gpt2_folder)}
    return short_recipe.replace(generations=0, evaluate=[{"embedding": encoder}, "adapter"])


def test_evaluators_are_given_the_training_curve_and_the_encoder_they_name(recipe, tmp_path):
    run = tm.run(recipe, tmp_path / "run")
    values = run.metrics.set_index(["metric", "split", "bin"])["value"]
    curve = run.curve(0)
    num = max(1, round(len(curve) / 10))
    first = curve[:num]
    tokens = first["tokens"].diff().fillna(first["tokens"])
    expected = (first["loss"] * tokens).sum() / tokens.sum()
    assert values["training_loss", "training", "first"] == pytest.approx(expected)
    assert values["adapter_norm", "all", ""] > 0
    assert 0 < values["mauve", "human", ""] <= 1


def test_an_encoder_that_is_not_there_is_an_error_before_anything_is_trained(recipe, tmp_path):
    missing = recipe.replace(evaluate=[{"embedding": {"encoder": "no/such/one"}}])
    with pytest.raises(ModelError, match=r"^encoder: no/such/one: "):
        tm.run(missing, tmp_path / "run")
    assert not list((tmp_path / "run").glob("gen-*"))


def test_a_run_does_not_go_on_with_another_encoder(recipe, tmp_path, tiny_models):
    folder = tiny_models.save(tiny_models.gpt2(), tmp_path / "encoder")
    named = recipe.replace(evaluate=[{"embedding": {"documents": 20, "encoder": str(folder)}}])
    tm.run(named, tmp_path / "run")
    (folder / "generation_config.json").write_text("{}\n")
    with pytest.raises(RunError, match="sources"):
        tm.run(named, tmp_path / "run")


def test_a_judge_is_another_model_and_scores_every_compared_split(recipe, tmp_path, tiny_models):
    folder = tiny_models.save(tiny_models.gpt2(), tmp_path / "judge")
    run = tm.run(
        recipe.replace(evaluate=[{"judge": {"model": str(folder)}}, "facts"]), tmp_path / "run"
    )
    judged = run.metrics.query("metric == 'judge_perplexity'").set_index("split")
    assert set(judged.index) == {"drawn", "kept", "human", "base"}
    # Its weights are random and far from uniform: human text is as unlikely as any other.
    assert (judged["value"] > 100).all()
    assert judged.loc["human", "low"] < judged.loc["human", "value"] < judged.loc["human", "high"]
    facts = run.metrics.query("metric == 'facts_accuracy'").set_index("split")["value"]
    assert facts.between(0, 1).all()
    assert set(facts.index) == {"all", "base"}


def test_the_base_is_no_judge_of_its_own_run(recipe, tmp_path, tiny_gpt2_folder):
    name = str(tiny_gpt2_folder)
    own = recipe.replace(model={"base": name}, evaluate=[{"judge": {"model": name}}])
    with pytest.raises(tm.TextmadError, match="is the base model of this run: expected another"):
        tm.run(own, tmp_path / "run")


def test_the_losses_of_held_out_documents_add_up_to_the_loss(recipe, tmp_path):
    run = tm.run(recipe.replace(evaluate=["perplexity"]), tmp_path / "run")
    losses = run.held_out_losses(0)
    loss = run.metrics.query("metric == 'loss' and bin == ''")["value"].item()
    assert losses["nats"].sum() / losses["tokens"].sum() == pytest.approx(loss)
    assert losses.index.is_unique
    assert set(losses.index) <= set(run.held_out["id"])


def test_references_are_cut_and_prompted_as_samples_and_no_model_has_learned_them(recipe, tmp_path):
    SEEN.clear()
    prompted = recipe.replace(
        generations=1,
        sample={"prompt": "human", "prompt_tokens": 3, "max_new_tokens": 10},
        evaluate=[look],
    )
    run = tm.run(prompted, tmp_path / "run")
    learned = {text for g in (0, 1) for text in run.training(g)["text"]}
    encode = lambda texts: SEEN[0].base.encode(list(texts))  # noqa: E731
    for snapshot in SEEN:
        for split in ("drawn", "human", "base"):
            passages = snapshot.passages(split)
            assert {len(ids) - 1 for ids in encode(passages.prompts)} == {3}
            lengths = [len(ids) - 1 for ids in encode(passages.texts)]
            cut = [n for n, end in zip(lengths, passages.finished, strict=True) if not end]
            assert cut
        human = snapshot.passages("human")
        whole = [p + t for p, t in zip(human.prompts, human.texts, strict=True)]
        # In so small a language some texts begin alike; of texts that were there, all would.
        for others in (learned, snapshot.human["text"]):
            shared = [any(text.startswith(one) for text in others) for one in whole]
            assert sum(shared) < 0.1 * len(shared)
    assert SEEN[0].texts["human"] == SEEN[1].texts["human"]
    assert SEEN[0].texts["base"] == SEEN[1].texts["base"] != SEEN[1].texts["drawn"]
