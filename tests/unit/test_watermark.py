"""Drawing with a watermark: against transformers' own processors, and what else it has to keep."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import SynthIDTextWatermarkingConfig, WatermarkingConfig

from textmad.models.causal_lm.model import CausalLM
from textmad.models.protocol import Sample
from textmad.models.sampling import decoding, slots
from textmad.models.sampling.watermark_logits import Watermark, Written, _GreenList, watermark
from textmad.recipe import LoraSettings, ModelSettings, SampleSettings, WatermarkSettings
from textmad.recipe.watermark_schemes import Tournament
from textmad.seeds import stream

CPU = torch.device("cpu")
GREEN = WatermarkSettings(bias=6.0)
SYNTHID = WatermarkSettings(kind="synthid", context=2)


def random_scores(rows: int, vocabulary: int, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(rows, vocabulary, generator=rng)


def random_ids(rows: int, time: int, below: int) -> torch.Tensor:
    return torch.randint(0, below, (rows, time), generator=torch.Generator().manual_seed(1))


def all_written(ids: torch.Tensor, start: int, stop: int) -> Written:
    """Rows that all stand at `stop` and carry the mark."""
    rows = len(ids)
    return Written(
        ids, torch.full((rows,), start), torch.full((rows,), stop), torch.ones(rows).bool()
    )


# --- the scores -----------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "green_share"), [(15_485_863, 0.25), (7, 0.5), (2**62 + 9, 0.1)])
def test_green_scores_are_bit_for_bit_those_of_transformers(key: int, green_share: float):
    settings = WatermarkSettings(key=key, green_share=green_share, bias=2.5)
    config = WatermarkingConfig(hashing_key=key, greenlist_ratio=green_share, bias=2.5)
    scores, ids = random_scores(64, 333), random_ids(64, 9, 333)
    scores[:, ::5] = -torch.inf  # as truncation leaves them
    expected = config.construct_processor(333, "cpu")(ids[:, :6], scores)
    drawn = watermark(settings, 333, CPU)(scores.clone(), all_written(ids, 1, 6))
    assert torch.equal(drawn, expected)
    assert (expected > scores).sum() == pytest.approx(64 * 333 * 0.8 * green_share, rel=0.05)


def stepping(mark: Watermark, ids: torch.Tensor, start: int) -> list[torch.Tensor]:
    """The scores of every step of documents that turn out to be `ids`."""
    steps = range(start, ids.shape[1])
    return [
        mark(random_scores(len(ids), 40, step), all_written(ids, start, step)) for step in steps
    ]


@pytest.mark.parametrize(("context", "depth", "start"), [(1, 3, 1), (2, 30, 1), (4, 9, 5)])
def test_synthid_scores_are_those_of_transformers_at_every_step(
    context: int, depth: int, start: int
):
    # Documents of three different tokens after a prompt: most contexts come again.
    settings = WatermarkSettings(kind="synthid", context=context, depth=depth)
    ids = random_ids(16, 40, below=3)
    keys = Tournament(settings.key, depth, context).keys
    config = SynthIDTextWatermarkingConfig(context + 1, keys, skip_first_ngram_calls=True)
    processor = config.construct_processor(40, CPU)
    left = 0
    drawn = stepping(watermark(settings, 40, CPU), ids, start)
    for step, ours in enumerate(drawn, start=start):
        scores = random_scores(16, 40, step)
        theirs = processor(ids[:, :step], scores)
        skipped = (theirs == scores).all(1)
        assert torch.equal((ours == scores).all(1), skipped)
        left += int(skipped.sum())
        # Where one token is left with all the probability, that of the others is rounding alone.
        torch.testing.assert_close(ours.softmax(1), theirs.softmax(1), rtol=1e-4, atol=1e-6)
    # Marked is each context once, of those that lie in the text whole.
    contexts = [
        {tuple(text[stop - context : stop]) for stop in range(start + context, 40)}
        for text in ids.tolist()
    ]
    assert left == 16 * (40 - start) - sum(map(len, contexts))


def test_synthid_knows_vocabularies_larger_than_its_table():
    vocabulary, settings = 2**16 + 500, WatermarkSettings(kind="synthid", depth=3, context=1)
    keys = Tournament(settings.key, 3, 1).keys
    config = SynthIDTextWatermarkingConfig(2, keys, skip_first_ngram_calls=True)
    scores, ids = random_scores(2, vocabulary), random_ids(2, 4, vocabulary)
    processor = config.construct_processor(vocabulary, CPU)
    for step in (1, 2, 3):
        expected = processor(ids[:, :step], scores)
    drawn = watermark(settings, vocabulary, CPU)(scores.clone(), all_written(ids, 1, 3))
    torch.testing.assert_close(drawn, expected, rtol=1e-4, atol=1e-4)


def test_over_all_keys_synthid_leaves_the_probabilities_as_they_are():
    scores = torch.tensor([[2.0, 1.0, 0.5, 0.0, -1.0]])
    plain = scores.softmax(-1)[0].double().numpy()
    written = all_written(torch.tensor([[9, 8, 7, 0]]), 0, 3)
    drawn = []
    for key in range(1, 145):
        settings = WatermarkSettings(kind="synthid", key=key, depth=4, context=2)
        marked = watermark(settings, 5, CPU)(scores.clone(), written)
        drawn.append(marked.exp()[0].double().numpy())
    mean, error = np.mean(drawn, 0), np.std(drawn, 0) / 12
    assert (abs(mean - plain) < 4 * error).all()
    assert (error > 0.03 * plain).all()  # one key changes them by more than a third


def test_a_token_with_all_the_probability_keeps_it_under_synthid():
    scores = torch.full((8, 50), -40.0)
    scores[:, 3], scores[:4, 5] = 60.0, 43.0
    drawn = watermark(SYNTHID, 50, CPU)(scores, all_written(random_ids(8, 6, 50), 0, 5))
    assert not drawn.isnan().any()
    assert torch.allclose(drawn[:, 3].exp(), torch.ones(8), atol=1e-5)


@pytest.mark.parametrize("settings", [GREEN, SYNTHID], ids=["green_list", "synthid"])
def test_documents_without_the_mark_keep_their_scores_bit_for_bit(settings: WatermarkSettings):
    scores, written = random_scores(9, 70), all_written(random_ids(9, 6, 70), 1, 4)
    mark = watermark(settings, 70, CPU)
    every_third = written._replace(marked=torch.arange(9) % 3 == 0)
    drawn, all_marked = mark(scores.clone(), every_third), mark(scores.clone(), written)
    assert torch.equal(drawn[::3], all_marked[::3])
    for row in (1, 2, 4, 5, 7, 8):
        assert torch.equal(drawn[row], scores[row])
        assert not torch.equal(all_marked[row], scores[row])
    none = written._replace(marked=torch.zeros(9).bool())
    assert torch.equal(mark(scores.clone(), none), scores)


# --- the text -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tiny_gpt2_folder: Path) -> CausalLM:
    lora = LoraSettings(targets=("c_attn",))
    return CausalLM.open(ModelSettings(base=str(tiny_gpt2_folder), lora=lora))


def drawn_with(
    model: CausalLM, mark: WatermarkSettings | None, num_slots: int = 64, num_tokens: int = 900
) -> list[Sample]:
    settings = SampleSettings(max_new_tokens=12, slots=num_slots, watermark=mark)
    return model.sample(settings, num_tokens=num_tokens, stream=own_stream)


def own_stream(index: int) -> np.random.Generator:
    return stream(0, "test", index)


@pytest.mark.parametrize("mark", [GREEN, SYNTHID], ids=["green_list", "synthid"])
def test_the_share_carries_the_mark_and_the_rest_is_as_without(
    model: CausalLM, mark: WatermarkSettings
):
    plain, every = drawn_with(model, None), drawn_with(model, mark)
    half = drawn_with(model, mark.model_copy(update={"share": 0.5}))
    none = drawn_with(model, mark.model_copy(update={"share": 0.0}))
    assert none == plain
    carried = 0
    for index, document in enumerate(half[: min(len(plain), len(every))]):
        # A document's stream: a number for each of the 12 tokens, then the one that decides.
        rng = own_stream(index)
        rng.random(12)
        carries = rng.random() < 0.5
        carried += carries
        assert document == (every if carries else plain)[index]
        assert every[index] != plain[index]
    assert 8 < carried < len(half) - 8


@pytest.mark.parametrize("mark", [GREEN, SYNTHID], ids=["green_list", "synthid"])
def test_marked_text_depends_on_neither_the_slots_nor_the_queue(
    model: CausalLM, mark: WatermarkSettings, monkeypatch: pytest.MonkeyPatch
):
    half = mark.model_copy(update={"share": 0.5})
    drawn = drawn_with(model, half)
    for num_slots, num_tokens in ((1, 60), (3, 200)):
        few = drawn_with(model, half, num_slots, num_tokens)
        assert few == drawn[: len(few)]

    class Blocks(slots.Slots):  # as on a GPU: slots refill themselves between two looks
        def __init__(self, *args: object, **options: int) -> None:
            super().__init__(*args, **options)  # type: ignore[arg-type]
            self.most_steps = 16

    monkeypatch.setattr(decoding, "Slots", Blocks)
    monkeypatch.setattr(slots, "_rows_per_slot", lambda device: 2)
    assert drawn_with(model, half, num_slots=5) == drawn


def test_all_lists_on_the_device_are_the_lists_one_by_one():
    # A GPU holds them all, since a captured step cannot ask for one; here both are on the CPU.
    mark = watermark(GREEN, 130, CPU)
    assert isinstance(mark, _GreenList)
    written = all_written(random_ids(40, 6, 130), 1, 4)
    scores = random_scores(40, 130)
    one_by_one = mark(scores.clone(), written)
    mark._bits = mark._after(torch.arange(130), CPU)
    assert torch.equal(mark(scores.clone(), written), one_by_one)
