from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SynthIDTextWatermarkLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    WatermarkLogitsProcessor,
)

from textmad.errors import ModelError
from textmad.models.causal_lm.loading import Base
from textmad.models.causal_lm.model import CausalLM
from textmad.models.protocol import Sample
from textmad.models.sampling import decoding, slots
from textmad.models.sampling.slots import Draft
from textmad.models.sampling.token_choice import pick, truncate
from textmad.recipe import LoraSettings, ModelSettings, SampleSettings, WatermarkSettings
from textmad.recipe.watermark_schemes import Tournament
from textmad.seeds import stream

TARGETS = {"tiny_gpt2_folder": ("c_attn",), "tiny_llama_folder": ("q_proj",)}
OPTIONS = {
    "temperature": {"temperature": 0.7},
    "top_k": {"top_k": 5},
    "top_p": {"top_p": 0.6},
    "min_p": {"min_p": 0.1},
    "repetition_penalty": {"repetition_penalty": 1.8},
    "green_list": {"watermark": WatermarkSettings(bias=4.0, share=0.7)},
    # A context of one token comes again now and then, and is then skipped.
    "synthid": {
        "watermark": WatermarkSettings(kind="synthid", depth=7, context=1, share=0.7),
        "top_p": 0.9,
    },
}


def model_in(folder: Path, targets: tuple[str, ...] = ("c_attn",)) -> CausalLM:
    return CausalLM.open(ModelSettings(base=str(folder), lora=LoraSettings(targets=targets)))


@pytest.fixture(scope="module")
def gpt2(tiny_gpt2_folder: Path) -> CausalLM:
    return model_in(tiny_gpt2_folder)


@pytest.fixture(scope="module", params=["tiny_gpt2_folder", "tiny_llama_folder"])
def model(request: pytest.FixtureRequest) -> CausalLM:
    return model_in(request.getfixturevalue(request.param), TARGETS[request.param])


def streams(seed: int = 0) -> Callable[[int], np.random.Generator]:
    return lambda index: stream(seed, "test", index)


def prompts(index: int) -> str:
    """Prompts of 0 to 11 bytes, so that documents of unlike lengths stand side by side."""
    return "the thing t"[: 3 * index % 12]


def warpers(settings: SampleSettings) -> LogitsProcessorList:
    """What transformers itself would do, in textmad's order."""
    chain = LogitsProcessorList()
    if settings.repetition_penalty != 1.0:
        chain.append(RepetitionPenaltyLogitsProcessor(settings.repetition_penalty))
    if settings.temperature != 1.0:
        chain.append(TemperatureLogitsWarper(settings.temperature))
    if settings.top_k:
        chain.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1.0:
        chain.append(TopPLogitsWarper(settings.top_p))
    if settings.min_p:
        chain.append(MinPLogitsWarper(settings.min_p))
    return chain


def transformers_watermark(
    settings: WatermarkSettings, vocabulary: int
) -> WatermarkLogitsProcessor | SynthIDTextWatermarkLogitsProcessor:
    if settings.kind == "green_list":
        return WatermarkLogitsProcessor(
            vocabulary,
            "cpu",
            greenlist_ratio=settings.green_share,
            bias=settings.bias,
            hashing_key=settings.key,
        )
    return SynthIDTextWatermarkLogitsProcessor(
        ngram_len=settings.context + 1,
        keys=Tournament(settings.key, settings.depth, settings.context).keys,
        sampling_table_size=2**16,
        sampling_table_seed=0,
        context_history_size=1024,
        device=torch.device("cpu"),
        skip_first_ngram_calls=True,
    )


def plainly(base: Base, settings: SampleSettings, rng: np.random.Generator, prompt: str) -> Draft:
    """One document: the whole sequence through the network for every token, no cache, no batch."""
    head = [base.start, *base.tokenizer.encode(prompt, add_special_tokens=False).ids]
    drawn: list[int] = []
    uniforms, chain = rng.random(settings.max_new_tokens), warpers(settings)
    if settings.watermark is not None and rng.random() < settings.watermark.share:
        chain.append(transformers_watermark(settings.watermark, base.network.config.vocab_size))
    while len(drawn) < settings.max_new_tokens:
        ids = torch.tensor([head + drawn])
        with torch.no_grad():
            logits = base.network(input_ids=ids, use_cache=False).logits[:, -1].float()
        shaped = chain(ids, logits)[0].double().numpy()
        cumulative = np.exp(shaped - shaped.max()).cumsum()
        chosen = int(
            np.searchsorted(cumulative, uniforms[len(drawn)] * cumulative[-1], side="right")
        )
        if chosen == base.end:
            return Draft(np.array(head), np.array(drawn), True)
        drawn.append(chosen)
    return Draft(np.array(head), np.array(drawn), False)


def same_as_plain(
    model: CausalLM, settings: SampleSettings, prompt: Callable[[int], str] | None
) -> bool:
    drawn = model.sample(settings, num_tokens=150, stream=streams(), prompt=prompt)
    drafts = [
        plainly(model._base, settings, streams()(index), prompt(index) if prompt else "")
        for index in range(len(drawn))
    ]
    assert len(drawn) > 3
    return drawn == model._read(drafts)


def test_text_is_that_of_one_document_at_a_time_without_a_cache(model: CausalLM) -> None:
    settings = SampleSettings(max_new_tokens=24, slots=3)
    assert same_as_plain(model, settings, None)


def test_prompted_text_is_that_of_one_document_at_a_time_without_a_cache(model: CausalLM) -> None:
    settings = SampleSettings(max_new_tokens=20, slots=4, prompt="human")
    assert same_as_plain(model, settings, prompts)


@pytest.mark.parametrize("option", OPTIONS)
def test_text_under_each_option_is_that_of_transformers_own_warpers(
    model: CausalLM, option: str
) -> None:
    settings = SampleSettings(max_new_tokens=16, slots=5, prompt="human", **OPTIONS[option])
    assert same_as_plain(model, settings, prompts)


def test_all_options_together_keep_the_order_penalty_temperature_k_p_min_p() -> None:
    settings = SampleSettings(
        repetition_penalty=1.5, temperature=1.7, top_k=60, top_p=0.95, min_p=0.02
    )
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(64, 200, generator=rng) * 3
    ids = torch.randint(0, 200, (64, 30), generator=rng)
    seen = torch.zeros(64, 200, dtype=torch.bool).scatter(1, ids, True)
    expected = warpers(settings)(ids, logits.clone())
    assert torch.isinf(expected).any(1).all()
    assert torch.equal(truncate(logits, settings, seen), expected)


@pytest.mark.parametrize("num_slots", [1, 3, 8])
def test_text_depends_on_neither_the_slots_nor_the_number_of_documents(
    model: CausalLM, num_slots: int
) -> None:
    many = model.sample(
        SampleSettings(max_new_tokens=20, slots=64), num_tokens=1500, stream=streams()
    )
    settings = SampleSettings(max_new_tokens=20, slots=num_slots)
    for num_tokens in (1, 80, 500):
        few = model.sample(settings, num_tokens=num_tokens, stream=streams())
        assert few == many[: len(few)]


def test_the_documents_are_the_shortest_prefix_that_holds_the_tokens(gpt2: CausalLM) -> None:
    settings = SampleSettings(max_new_tokens=20, slots=16)
    for num_tokens in (1, 57, 400):
        drawn = gpt2.sample(settings, num_tokens=num_tokens, stream=streams())
        tokens = [document.tokens for document in drawn]
        assert sum(tokens) >= num_tokens > sum(tokens[:-1])


def test_tokens_are_those_of_the_text_read_again(gpt2: CausalLM) -> None:
    drawn = gpt2.sample(
        SampleSettings(max_new_tokens=30, slots=16), num_tokens=2000, stream=streams()
    )
    assert {document.finished for document in drawn} == {True, False}
    for document in drawn:
        with_end = len(gpt2.encode([document.text])[0])
        assert document.tokens == with_end - (not document.finished)


def test_a_document_that_ends_at_once_counts_its_end_token(gpt2: CausalLM) -> None:
    base = gpt2._base
    [empty] = gpt2._read([Draft(np.array([base.start]), np.array([], np.int64), True)])
    assert empty == Sample("", True, 1)


def test_a_start_token_drawn_inside_a_text_leaves_no_characters(gpt2: CausalLM) -> None:
    base, [hello] = gpt2._base, gpt2.encode(["hello"])
    ids = np.array([*hello[:2], base.start, *hello[2:5]], np.int64)
    [drawn] = gpt2._read([Draft(np.array([base.start]), ids, False)])
    sampled = tuple(ids.tolist())  # the text has no start token, so it encodes to other ids
    assert drawn == Sample("hello", False, 5, sampled_ids=sampled)


@pytest.mark.parametrize("prompt", ["", "ab"])
def test_ids_are_scored_as_they_were_sampled_and_not_as_their_text_encodes(
    gpt2: CausalLM, prompt: str
) -> None:
    base, prompts = gpt2._base, [prompt] if prompt else None
    [whole] = gpt2.encode(["hello there"])
    [text_nll] = gpt2.token_nll(["hello there"], prompts)
    [same] = gpt2.nll_of_ids([whole[:-1].tolist()], prompts)
    np.testing.assert_allclose(same, text_nll, rtol=1e-6)
    # One character a token: the same text by ids that it does not encode to.
    letters = [int(gpt2.encode([letter])[0][0]) for letter in "hello there"]
    assert base.text.decode([letters], [False]) == ["hello there"]
    assert len(letters) > len(whole) - 1
    [nll] = gpt2.nll_of_ids([letters], prompts)
    before = [base.start, *(gpt2.encode([prompt])[0][:-1] if prompt else [])]
    ids = torch.tensor([[*before, *letters, base.end]])
    logits = gpt2._network(input_ids=ids).logits[0].log_softmax(-1)
    expected = [-float(logits[i - 1, ids[0, i]]) for i in range(len(before), ids.shape[1])]
    np.testing.assert_allclose(nll, expected, rtol=1e-4)


def test_a_continuation_is_what_follows_the_prompt(gpt2: CausalLM) -> None:
    base, [prompt, rest] = gpt2._base, gpt2.encode(["ab", " tin"])
    draft = Draft(np.array([base.start, *prompt[:-1]]), rest[:-1].astype(np.int64), True)
    assert gpt2._read([draft]) == [Sample(" tin", True, 4)]  # " t" is one piece


@pytest.mark.parametrize("seed", range(6))
def test_slots_are_refilled_and_given_up_without_losing_a_document(
    gpt2: CausalLM, seed: int
) -> None:
    # Reading a text again may find fewer tokens than were drawn; here it finds none for most
    # documents, so those taken out as surplus have to be taken up again.
    settings = SampleSettings(max_new_tokens=8, slots=8)

    def read(drafts: list[Draft]) -> list[Sample]:
        return [
            Sample(str(d.ids.tolist()), d.finished, int(d.ids[:1].sum() % 3 == 0)) for d in drafts
        ]

    def sample(num_slots: int) -> list[Sample]:
        base = gpt2._base
        return decoding.sample_documents(
            gpt2._sampling_network,
            settings.model_copy(update={"slots": num_slots}),
            num_tokens=15,
            stream=streams(seed),
            prompt_ids=lambda index: np.array([base.start]),
            end=base.end,
            context=base.context,
            read=read,
        )

    assert sum(document.tokens for document in sample(8)) == 15
    assert sample(8) == sample(1) == sample(40)


def test_a_model_that_writes_only_special_tokens_is_an_error_not_waited_for(
    gpt2: CausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "_MAX_EMPTY", 20)
    monkeypatch.setattr(gpt2, "_read", lambda drafts: [Sample("", False, 0) for _ in drafts])
    with pytest.raises(ModelError, match="hold no text at all"):
        gpt2.sample(SampleSettings(max_new_tokens=2, slots=4), num_tokens=50, stream=streams())


def test_a_prompt_beyond_the_positions_is_an_error_with_its_document(gpt2: CausalLM) -> None:
    # 1 start token + 40 prompt bytes + 24 new tokens are 65 positions; the model has 64.
    settings = SampleSettings(max_new_tokens=24, slots=2, prompt="human")
    with pytest.raises(ModelError, match=r"document 0 has a prompt of 40 tokens.* is 65 positions"):
        gpt2.sample(settings, num_tokens=10, stream=streams(), prompt=lambda index: "a" * 40)
    assert gpt2.sample(settings, num_tokens=10, stream=streams(), prompt=lambda index: "a" * 39)


def test_a_uniform_of_zero_and_one_below_one_draw_only_possible_tokens() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 1.0, -torch.inf]])
    assert pick(logits.clone(), torch.tensor([0.0])).tolist() == [1]
    assert pick(logits.clone(), torch.tensor([np.nextafter(1.0, 0.0)])).tolist() == [3]


def test_the_far_tail_is_drawn_with_its_own_probability() -> None:
    # Token 1 has e**-23, about 1e-10: behind a float32 sum near 1 it would have no width at all.
    logits = torch.tensor([[0.0, -23.0]])
    share = np.exp(-23.0) / (1 + np.exp(-23.0))
    inside, outside = 1 - share * 0.999, 1 - share * 1.001
    uniforms = torch.tensor([inside, outside], dtype=torch.float64)
    assert pick(logits.repeat(2, 1), uniforms).tolist() == [1, 0]


def test_the_search_by_blocks_finds_what_one_long_cumulative_sum_finds() -> None:
    # 1000 tokens are 15 blocks of 64 and one of 40; whole blocks are impossible.
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(scale=8, size=(400, 1000)).astype(np.float32))
    logits[:200, 64:320] = -torch.inf
    logits[:100, 700:] = -torch.inf
    uniforms = rng.random(400)
    uniforms[::7], uniforms[1::7] = 0.0, np.nextafter(1.0, 0.0)
    weights = (logits.double() - logits.double().amax(-1, keepdim=True)).exp().numpy()
    until = weights.cumsum(-1)
    drawn = pick(logits.clone(), torch.from_numpy(uniforms)).numpy()
    every = np.arange(400)
    assert (weights[every, drawn] > 0).all()
    # A token's float32 weight is off by at most (d + 2) 6e-8 for d below 87.
    goal, slack = uniforms * until[:, -1], 89 * 6e-8 * until[:, -1]
    assert (goal < until[every, drawn] + slack).all()
    assert (goal >= until[every, drawn] - weights[every, drawn] - slack).all()
    expected = [np.searchsorted(u, g, side="right") for u, g in zip(until, goal, strict=True)]
    assert (drawn == expected).mean() > 0.98


@pytest.mark.parametrize("on_gpu", [False, True])
def test_text_longer_than_a_page_is_that_of_one_document_at_a_time(
    model: CausalLM, on_gpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 60 tokens are two pages of 32; a GPU's layout, one page of 64 behind a mask, runs here too.
    paged = slots.SlotCache

    def cache(*args: object, **options: bool) -> slots.SlotCache:
        return paged(*args, **options | {"paged": not on_gpu})  # type: ignore[arg-type]

    monkeypatch.setattr(slots, "SlotCache", cache)
    settings = SampleSettings(max_new_tokens=50, slots=7, prompt="human", temperature=0.8)
    drawn = model.sample(settings, num_tokens=700, stream=streams(), prompt=prompts)
    assert sum(document.tokens > 40 for document in drawn) >= 3
    drafts = [plainly(model._base, settings, streams()(i), prompts(i)) for i in range(len(drawn))]
    assert drawn == model._read(drafts)


def test_slots_take_from_the_queue_by_themselves_within_a_block(
    gpt2: CausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a GPU: a table twice as long as the slots, and 16 steps between two looks at it.
    settings = SampleSettings(max_new_tokens=6, slots=5, temperature=1.5)
    plain = gpt2.sample(settings, num_tokens=600, stream=streams())

    class Blocks(slots.Slots):
        def __init__(self, *args: object, **options: int) -> None:
            super().__init__(*args, **options)  # type: ignore[arg-type]
            self.most_steps = 16

    monkeypatch.setattr(decoding, "Slots", Blocks)
    monkeypatch.setattr(slots, "_rows_per_slot", lambda device: 2)
    assert gpt2.sample(settings, num_tokens=600, stream=streams()) == plain


def test_out_of_memory_halves_the_slots_says_so_and_leaves_the_text_as_it_is(
    gpt2: CausalLM, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = SampleSettings(max_new_tokens=20, slots=16)
    plain = gpt2.sample(settings, num_tokens=400, stream=streams())
    step = slots.Slots._step
    taken: list[int] = []
    told: list[int] = []

    def short_of_memory(self: slots.Slots) -> None:
        taken.append(self.num_slots)
        if self.num_slots > 4 and len(taken) > 12:  # in the midst of it
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        step(self)

    monkeypatch.setattr(slots.Slots, "_step", short_of_memory)
    drawn = gpt2.sample(settings, num_tokens=400, stream=streams(), advance=told.append)
    assert drawn == plain
    assert sum(told) >= 400  # and no document is told of twice
    assert sum(told) < 400 + 16 * 20
    assert [record.getMessage().partition(":")[2][:52] for record in caplog.records] == [
        " out of memory with 16 slots: going on with 8, the t",
        " out of memory with 8 slots: going on with 4, the te",
    ]
    assert max(taken[-10:]) <= 4


def test_out_of_memory_with_one_slot_is_an_error_that_says_what_to_do(
    gpt2: CausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(self: slots.Slots) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(slots.Slots, "_step", no_memory)
    with pytest.raises(ModelError, match="out of memory with a single slot; lower"):
        gpt2.sample(SampleSettings(slots=4, max_new_tokens=8), num_tokens=9, stream=streams())
