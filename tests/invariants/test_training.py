"""What must make no difference to training: how a step is cut into batches, and their padding.

And what two processes train and draw: their start takes longer than what they do, so it is one.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from textmad.models.causal_lm import training
from textmad.models.causal_lm.batches import Limits, micro_batches
from textmad.models.causal_lm.model import CausalLM
from textmad.recipe import LoraSettings, ModelSettings, SampleSettings, TrainSettings
from textmad.seeds import stream
from textmad.text.documents import documents

# About 20 steps; a faster or longer trajectory would amplify mere rounding.
TRAIN = TrainSettings(epochs=1, batch_tokens=220, learning_rate=1e-5)
PREFERENCE = TrainSettings(preference={"learning_rate": 1e-5, "beta": 1.0, "batch_documents": 16})


def accepted_of(corpus) -> list[bool]:
    """Short documents are accepted."""
    return [len(text.split()) < 8 for text in corpus["text"]]


@pytest.fixture(
    scope="module", params=[LoraSettings(rank=8, alpha=64.0), None], ids=["lora", "full"]
)
def model(request: pytest.FixtureRequest, trained_gpt2_folder: Path) -> CausalLM:
    return CausalLM.open(ModelSettings(base=str(trained_gpt2_folder), lora=request.param))


@pytest.fixture(scope="module")
def corpus(tiny_language):
    """Whole documents and first words: lengths from 2 to 60 tokens."""
    texts = [str(row["text"]) for row in tiny_language.rows(40, dialect=1)]
    short = [text if i % 2 else " ".join(text.split()[: 1 + i % 7]) for i, text in enumerate(texts)]
    return documents({"text": short})


def losses(model: CausalLM, corpus, train: TrainSettings = TRAIN) -> np.ndarray:
    return np.array([row["loss"] for row in model.fit(corpus, train, seed=0).curve])


def test_eight_documents_at_once_train_as_eight_times_one(model, corpus):
    def sizes(micro_batch_tokens: int) -> list[int]:
        step = training.plan_steps(model._examples(corpus), TRAIN, seed=0)[0]
        lengths = [len(model._examples(corpus)[index].input_ids) for index in step]
        plan = micro_batches(lengths, Limits(micro_batch_tokens, 8, packed=True))
        return [sum(len(rectangle.documents) for rectangle in row) for [row] in plan]

    assert set(sizes(1)) == {1}
    assert len(sizes(1000)) == 1
    together = losses(model, corpus, TRAIN.model_copy(update={"micro_batch_tokens": 1000}))
    one_by_one = losses(model, corpus, TRAIN.model_copy(update={"micro_batch_tokens": 1}))
    assert 15 <= len(together) <= 25
    np.testing.assert_allclose(together, one_by_one, rtol=0, atol=1e-5)


def test_padding_changes_no_trajectory(model, corpus, monkeypatch):
    collate, padding = training.collate, []

    def counted(examples, rectangles, device):
        batch = collate(examples, rectangles, device)
        own = (len(examples[index].input_ids) for r in rectangles for index in r.documents)
        padding.append(batch.input_ids.numel() - sum(own))
        return batch

    monkeypatch.setattr(training, "collate", counted)
    trajectories, padded = [], []
    for tokens in (0, 500):
        monkeypatch.setattr(training, "_RECTANGLE_TOKENS", tokens)
        padding.clear()
        trajectories.append(losses(model, corpus))
        padded.append(sum(padding))
    assert padded[0] == 0
    assert padded[1] > 1000
    np.testing.assert_allclose(*trajectories, rtol=0, atol=1e-5)


def test_checkpointed_layers_change_no_trajectory(model, corpus):
    checkpointed = TRAIN.model_copy(update={"gradient_checkpointing": True})
    np.testing.assert_allclose(
        losses(model, corpus, checkpointed), losses(model, corpus), rtol=0, atol=1e-5
    )


PROGRAM = """
import json, os
from textmad.text.documents import documents
from textmad.models.distributed import parallel, processes
from textmad.models.causal_lm.model import CausalLM
from textmad.recipe import LoraSettings, ModelSettings, SampleSettings, TrainSettings
from textmad.seeds import stream
given = json.load(open("given.json"))
drawing = ModelSettings(base=given["drawing"], lora=LoraSettings(targets=("c_attn",)))
drawn = CausalLM.open(drawing).sample(
    SampleSettings(max_new_tokens=16, slots=4), num_tokens=400, stream=lambda i: stream(0, i)
)
with open(f"drawn-{processes.rank()}-of-{processes.world_size()}.json", "w") as file:
    json.dump(drawn, file)
answers = {}
for fsdp in ("false", "true"):
    os.environ["ACCELERATE_USE_FSDP"] = fsdp  # as the launcher sets it
    found = []
    for lora in (LoraSettings(rank=8, alpha=64.0), None):
        model = CausalLM.open(ModelSettings(base=given["base"], lora=lora))
        train = TrainSettings(**given["train"])
        for _ in range(2):  # on the base model, and on a crossing
            fitted = model.fit(documents({"text": given["texts"]}), train, seed=0)
            judged = documents({"text": given["texts"]}).add_column("accepted", given["accepted"])
            preferred = model.prefer(judged, TrainSettings(**given["preference"]), seed=0)
            for each in (fitted, preferred):
                nll = sum(float(nats.sum()) for nats in each.model.token_nll(given["texts"]))
                found.append([[row["loss"] for row in each.curve], each.curve[0]["grad_norm"], nll])
            model = model.crossed([fitted.model], [2.0])
    answers["fsdp" if parallel.sharded() else "ddp"] = [processes.world_size(), found]
if processes.is_main():
    json.dump(answers, open("answers.json", "w"))
"""


@pytest.fixture(scope="module")
def by_one_process(trained_gpt2_folder: Path, corpus) -> list[list[object]]:
    answers = []
    for lora in (LoraSettings(rank=8, alpha=64.0), None):
        model = CausalLM.open(ModelSettings(base=str(trained_gpt2_folder), lora=lora))
        judged = corpus.add_column("accepted", accepted_of(corpus))
        for _ in range(2):  # on the base model, and on a crossing
            fitted = model.fit(corpus, TRAIN, seed=0)
            for each in (fitted, model.prefer(judged, PREFERENCE, seed=0)):
                nll = sum(float(nats.sum()) for nats in each.model.token_nll(corpus["text"][:]))
                curve = [row["loss"] for row in each.curve]
                answers.append([curve, each.curve[0]["grad_norm"], nll])
            model = model.crossed([fitted.model], [2.0])
    return answers


@pytest.fixture(scope="module")
def two_processes(
    trained_gpt2_folder: Path, tiny_gpt2_folder: Path, corpus, tmp_path_factory, python
) -> Path:
    """The folder in which two processes have run PROGRAM."""
    folder = tmp_path_factory.mktemp("two")
    given = {
        "drawing": str(tiny_gpt2_folder),
        "base": str(trained_gpt2_folder),
        "texts": corpus["text"][:],
        "train": TRAIN.model_dump(exclude_unset=True),
        "preference": PREFERENCE.model_dump(exclude_unset=True),
        "accepted": accepted_of(corpus),
    }
    (folder / "given.json").write_text(json.dumps(given))
    (folder / "program.py").write_text(PROGRAM)
    python(folder, "program.py", processes=2)
    return folder


def test_two_processes_draw_what_one_draws(tiny_gpt2_folder: Path, two_processes: Path) -> None:
    settings = ModelSettings(base=str(tiny_gpt2_folder), lora=LoraSettings(targets=("c_attn",)))
    sample = SampleSettings(max_new_tokens=16, slots=4)
    alone = CausalLM.open(settings).sample(sample, num_tokens=400, stream=lambda i: stream(0, i))
    for rank in range(2):
        assert (two_processes / f"drawn-{rank}-of-2.json").read_text() == json.dumps(alone)


@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_two_processes_train_as_one(by_one_process, two_processes: Path, how):
    """Copies of the model, and a model in shards whose weights are gathered for what follows."""
    world_size, answers = json.loads((two_processes / "answers.json").read_text())[how]
    assert world_size == 2
    for (curve, norm, nll), (alone, own_norm, own_nll) in zip(answers, by_one_process, strict=True):
        np.testing.assert_allclose(curve, alone, rtol=0, atol=1e-5)
        assert norm == pytest.approx(own_norm, rel=1e-4)
        assert nll == pytest.approx(own_nll, rel=1e-5)


def test_the_trajectories_compared_here_do_learn(model, corpus):
    """At so small a rate the losses might be equal because nothing is learned."""
    still = losses(model, corpus, TRAIN.model_copy(update={"learning_rate": 1e-12}))
    assert np.abs(losses(model, corpus) - still).max() > 1e-4
