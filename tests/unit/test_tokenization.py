"""Text to ids and back, for every kind of tokenizer: what was sampled is what is learned."""

from collections.abc import Callable

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from textmad.errors import ModelError
from textmad.models.causal_lm.tokenization import DocumentTokenizer

TEXTS = [
    "The cat sat on the mat, and THE DOG lay beside it.",
    "It's 3.50 (or so) -- is that what you said?",
    "a door, a window; a house: all of it was old!",
]
SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
ALPHABET = sorted(set("".join(TEXTS)) | set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))
PROMPTS = ["The cat", "It's", "a", "The cat sat on "]
CONTINUATIONS = ["s sat", " sat on", "  two spaces", ".", "\nline", "é 漢字 🙂", " ", "</s> x", "a"]


def byte_level(add_prefix_space: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        show_progress=False,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def sentencepiece_bpe(tokenizer: Tokenizer) -> Tokenizer:
    """Pieces with byte fallback over `tokenizer`'s normalizer, pre-tokenizer and decoder."""
    pieces = ["▁", *(character for character in ALPHABET if character != " ")]
    merges = [("t", "h"), ("▁", "th"), ("▁th", "e"), ("▁", "a"), ("▁", "s")]
    whole = [*SPECIAL, *BYTES, *pieces, *("".join(pair) for pair in merges)]
    vocabulary = {piece: number for number, piece in enumerate(whole)}
    made = Tokenizer(
        models.BPE(
            vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True
        )
    )
    made.normalizer = tokenizer.normalizer
    made.pre_tokenizer = tokenizer.pre_tokenizer
    made.decoder = tokenizer.decoder
    made.add_special_tokens(SPECIAL)
    return made


def shell(normalizer=None, pre_tokenizer=None, decoder=None) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    if decoder is not None:
        tokenizer.decoder = decoder
    return tokenizer


def llama_2() -> Tokenizer:
    fused = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    return sentencepiece_bpe(
        shell(
            normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
            None,
            decoders.Sequence([*fused, decoders.Strip(" ", 1, 0)]),
        )
    )


def metaspace(scheme: str) -> Tokenizer:
    pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme)]
    )
    return sentencepiece_bpe(shell(None, pre_tokenizer, decoder))


def unigram(normalizer=None, *extra: str) -> Tokenizer:
    """A Unigram model, which has the special tokens among its ordinary pieces."""
    pieces = [*SPECIAL, "▁", *(c for c in ALPHABET if c != " "), "▁the", "▁a", "at", *extra]
    tokenizer = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=0))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def word_pieces(
    normalizer=None, letters: str = "今天我们去看电影", prefix: str = "##"
) -> Tokenizer:
    vocabulary = {piece: number for number, piece in enumerate([*SPECIAL, *letters])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>"))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=prefix)
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


FAITHFUL: dict[str, Callable[[], Tokenizer]] = {
    "byte-level": lambda: byte_level(add_prefix_space=False),
    "byte-level with a space before": lambda: byte_level(add_prefix_space=True),
    "Llama 2": llama_2,
    "Metaspace, first": lambda: metaspace("first"),
    "Metaspace, always": lambda: metaspace("always"),
    "Metaspace, never": lambda: metaspace("never"),
    "Unigram": lambda: unigram(None, "/", "<", ">", "\n"),
    "NFC": lambda: unigram(normalizers.NFC(), "/", "<", ">", "\n"),
}


def of(backend: Tokenizer) -> DocumentTokenizer:
    start, end = backend.token_to_id("<s>"), backend.token_to_id("</s>")
    return DocumentTokenizer(backend, start, end, SPECIAL)


@pytest.fixture(params=FAITHFUL, ids=str)
def faithful(request: pytest.FixtureRequest) -> DocumentTokenizer:
    return of(FAITHFUL[request.param]())


def known(tokenizer: DocumentTokenizer, text: str) -> bool:
    """Whether the tokenizer knows every character of a text; Unigram has no bytes to fall back."""
    unknown = tokenizer.backend.token_to_id("<unk>")
    return unknown not in tokenizer.backend.encode(text, add_special_tokens=False).ids


def test_a_tokenizer_that_gives_text_back_passes_the_check(faithful: DocumentTokenizer) -> None:
    faithful.check("base", faithful.backend.get_vocab_size())


def test_a_continuation_reads_behind_its_prompt_as_it_was_written(
    faithful: DocumentTokenizer,
) -> None:
    for prompt in PROMPTS:
        for text in filter(lambda text: known(faithful, text), CONTINUATIONS):
            [before], [after] = faithful.encode([prompt]), faithful.encode([text], [True])
            together = [*before.tolist(), *after.tolist()]
            assert faithful.decode([together], [False]) == [prompt + text]
            assert faithful.decode([after.tolist()], [True]) == [text]


def test_a_document_reads_as_it_was_written_with_spaces_at_its_beginning(
    faithful: DocumentTokenizer,
) -> None:
    texts = [text for text in [*TEXTS, *CONTINUATIONS, "", "  a"] if known(faithful, text)]
    assert faithful.read_back(texts) == texts


def test_characters_that_spell_a_special_token_are_no_special_token(
    faithful: DocumentTokenizer,
) -> None:
    for text in ("a</s>b", "</s>", "</s></s> <s>", "x <s>", "<</s>"):
        for continues in (False, True):
            [ids] = faithful.encode([text], [continues])
            assert not {faithful.start, faithful.end} & set(ids.tolist())
            assert faithful.decode([ids.tolist()], [continues]) == [text]


def test_ordinary_documents_are_encoded_as_the_tokenizer_itself_does(
    faithful: DocumentTokenizer,
) -> None:
    for text, ids in zip(TEXTS, faithful.encode(TEXTS), strict=True):
        plain = faithful.backend.encode(text, add_special_tokens=False).ids
        np.testing.assert_array_equal(ids, plain)


LOSSY: dict[str, Callable[[], Tokenizer]] = {
    "lower case": lambda: unigram(normalizers.Lowercase()),
    "NFKC": lambda: unigram(normalizers.NFKC(), "1", "①", "½", "…", "™"),
    "no accents": lambda: unigram(
        normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]), "é"
    ),
    "spaces collapsed": lambda: unigram(normalizers.Replace(" " * 2, " ")),
    "spaces stripped": lambda: unigram(normalizers.Strip()),
    "WordPiece, Chinese": word_pieces,
    "WordPiece, lower case": lambda: word_pieces(normalizers.BertNormalizer(), "theca"),
    "WordPiece, Cyrillic": lambda: word_pieces(None, "приветмдакл"),
}


@pytest.mark.parametrize("kind", LOSSY, ids=str)
def test_a_tokenizer_that_does_not_give_text_back_is_an_error_with_an_example(kind: str) -> None:
    backend = LOSSY[kind]()
    with pytest.raises(ModelError, match=r"comes back as|puts more than a space before a text"):
        of(backend).check("base", backend.get_vocab_size())


def test_characters_that_a_tokenizer_does_not_know_are_told_by_reading_back() -> None:
    tokenizer = of(unigram())
    tokenizer.check("base", tokenizer.backend.get_vocab_size())  # 漢 is unknown, not altered
    assert tokenizer.read_back(["a 漢 b", "the cat"]) == ["a  b", "the cat"]


def test_a_prompt_that_would_be_shorter_since_text_does_not_come_back_is_an_error() -> None:
    tokenizer = of(unigram())
    assert tokenizer.beginning("the cat sat", 3) == "the c"
    with pytest.raises(ModelError, match=r"prompt_tokens: 8: .* only 3 of its first 8 tokens"):
        tokenizer.beginning("a 漢b and so on", 8)


def test_a_token_without_an_embedding_is_an_error() -> None:
    backend = unigram()
    size = backend.get_vocab_size()
    backend.add_tokens(["added"])
    with pytest.raises(ModelError, match=rf"'added' with id {size}, .* only {size} embeddings"):
        of(backend).check("base", size)
