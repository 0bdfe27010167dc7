import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sentencepiece
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from textmad.base_models.tokenizer import SPECIAL, train_tokenizer
from textmad.models.causal_lm.model import CausalLM
from textmad.recipe import ModelSettings
from textmad.testing.synthetic import synthetic_texts

ROOT = Path(__file__).resolve().parents[2]
TINY_GPT2 = ROOT / "data" / "tiny-gpt2"
PIECES = 400

FRAGMENTS = (
    *(
        " ",
        "  ",
        "the ",
        "hello",
        " I don't",
        "é",
        "e\u0301",
        "漢字",
        "🙂",
        "👩\u200d🔬",
        "🏳️\u200d🌈",
    ),
    *("\n", "\r\n", "\t", "\x00", "\x1b", "\x7f", "\u200b", "\ufeff", "\ufffd", "\uffff"),
    *("</s>", "<s>", "<unk>", "<0x41>", "<pad>", "[UNK]", "\U0010ffff"),
)
ESCAPED = (
    "\u2581",
    "\u2581\u2581",
    "\ue000",
    "\ue000a",
    "\ue000b",
    "\ue000\u2581",
    "\ue000\ue000b",
)


def odd_texts(num: int, fragments: tuple[str, ...]) -> list[str]:
    """Texts over all of Unicode, one character in two, and of the fragments."""
    draw = random.Random(0)
    ranges = ((0, 0x7F), (0x80, 0xD7FF), (0xE001, 0xFFFF), (0x10000, 0x10FFFF))

    def character() -> str:
        return chr(draw.randint(*draw.choice(ranges)))

    def fragment() -> str:
        return draw.choice(fragments)

    kinds: list[Callable[[], str]] = [character, fragment]
    return ["".join(draw.choice(kinds)() for _ in range(draw.randint(0, 30))) for _ in range(num)]


PLAIN = [
    "",
    " ",
    "   two   spaces  ",
    "Don't you think so? I DO!!! 10:30 is fine, isn't it... :-)",
    *synthetic_texts(200, "tokenizer"),
    # sentencepiece itself cannot hold U+2581, and the escape is textmad's own.
    *[t.replace("\u2581", "").replace("\ue000", "") for t in odd_texts(1000, FRAGMENTS)],
]
ODD = [*PLAIN, *ESCAPED, *odd_texts(2000, (*FRAGMENTS, *ESCAPED))]


def ids_of(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    encoded = tokenizer(texts, add_special_tokens=False, split_special_tokens=True)
    ids: list[list[int]] = encoded["input_ids"]
    return ids


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(synthetic_texts(300, "to learn from"), PIECES, folder)
    return folder


@pytest.fixture(scope="module", params=["trained here", "tiny-gpt2"])
def folder(request: pytest.FixtureRequest, trained: Path) -> Path:
    return {"trained here": trained, "tiny-gpt2": TINY_GPT2}[request.param]


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    opened: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(folder)
    return opened


def test_the_ids_are_sentencepiece_s_own(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    assert processor.get_piece_size() == len(tokenizer)
    for text, ids in zip(PLAIN, ids_of(tokenizer, PLAIN), strict=True):
        assert ids == processor.encode(text), repr(text)


def test_any_text_survives_the_round_trip(tokenizer: PreTrainedTokenizerFast) -> None:
    for text, ids in zip(ODD, ids_of(tokenizer, ODD), strict=True):
        assert tokenizer.decode(ids) == text


def test_every_character_of_unicode_survives_the_round_trip(trained: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(trained)
    characters = [*map(chr, range(0xD800)), *map(chr, range(0xE000, 0x110000, 7))]
    texts = ["".join(characters[begin : begin + 500]) for begin in range(0, len(characters), 500)]
    assert [tokenizer.decode(ids) for ids in ids_of(tokenizer, texts)] == texts


def test_no_text_is_unknown_or_special(tokenizer: PreTrainedTokenizerFast) -> None:
    special = set(tokenizer.convert_tokens_to_ids(list(SPECIAL)))
    assert special == {0, 1, 2}
    assert not special & {index for ids in ids_of(tokenizer, ODD) for index in ids}


def test_the_special_tokens_have_their_parts(tokenizer: PreTrainedTokenizerFast) -> None:
    assert (tokenizer.unk_token, tokenizer.bos_token, tokenizer.eos_token) == SPECIAL
    assert tokenizer.decode([1, *ids_of(tokenizer, ["so"])[0], 2], skip_special_tokens=True) == "so"


def test_byte_fallback_needs_as_many_tokens_as_bytes(trained: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(trained)
    # The text that it learned from is plain ASCII, so these are not among its pieces.
    [ids] = ids_of(tokenizer, ["漢🙂"])
    assert tokenizer.convert_ids_to_tokens(ids) == [f"<0x{byte:02X}>" for byte in "漢🙂".encode()]


def test_pieces_were_learned_from_the_text(trained: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(trained)
    texts = synthetic_texts(50, "others")
    num_tokens = sum(map(len, ids_of(tokenizer, texts)))
    assert len(tokenizer) == PIECES
    assert num_tokens < 0.6 * sum(map(len, texts))  # beside one token a character


def test_the_same_text_gives_the_same_tokenizer_byte_for_byte(
    trained: Path, tmp_path: Path
) -> None:
    train_tokenizer(synthetic_texts(300, "to learn from"), PIECES, tmp_path)
    names = sorted(path.name for path in trained.iterdir())
    assert {"tokenizer.json", "tokenizer.model"} <= set(names)
    for name in names:
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes(), name


def test_the_fast_tokenizer_needs_no_sentencepiece(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)  # importing it raises
    assert ids_of(AutoTokenizer.from_pretrained(folder), ["I don't know"])


def test_tiny_gpt2_reads_and_writes_any_text_back() -> None:
    model = CausalLM.open(ModelSettings(base="tiny-gpt2"))
    processor = sentencepiece.SentencePieceProcessor(model_file=str(TINY_GPT2 / "tokenizer.model"))
    end = processor.eos_id()
    for text, ids in zip(PLAIN, model.encode(PLAIN), strict=True):
        assert ids.tolist() == [*processor.encode(text), end]
    backend = model._base.tokenizer
    drawn = [ids[:-1].tolist() for ids in model.encode(ODD)]
    assert backend.decode_batch(drawn, skip_special_tokens=True) == ODD
