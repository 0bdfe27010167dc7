"""A sentencepiece tokenizer that gives back every text byte for byte, in transformers' format.

sentencepiece writes a space as U+2581 and cannot tell it from a U+2581 of the text. The normalizer
below escapes that character (and the escape), so that any Unicode text survives the round trip.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, normalizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

SPACE = "\u2581"
_ESCAPE = "\ue000"  # a private-use character, as good as absent from human text
SPECIAL = ("<unk>", "<s>", "</s>")


def train_tokenizer(texts: Iterable[str], num_pieces: int, folder: Path) -> PreTrainedTokenizerFast:
    """Train BPE pieces with byte fallback and save `tokenizer.model` and `tokenizer.json`."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="bpe",
        vocab_size=num_pieces,
        byte_fallback=True,
        character_coverage=0.9999,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        num_threads=1,
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    tokenizer = convert(sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()))
    tokenizer.save_pretrained(folder)
    return tokenizer


def convert(processor) -> PreTrainedTokenizerFast:  # type: ignore[no-untyped-def]
    """The same pieces and merges as a transformers tokenizer."""
    pieces = [processor.id_to_piece(index) for index in range(processor.get_piece_size())]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    backend = Tokenizer(
        BPE(
            vocab=vocabulary,
            merges=_merges(vocabulary, processor),
            unk_token=SPECIAL[0],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    backend.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(_ESCAPE, _ESCAPE + "a"),
            normalizers.Replace(SPACE, _ESCAPE + "b"),
            normalizers.Replace(" ", SPACE),
        ]
    )
    backend.decoder = decoders.Sequence(
        [
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Replace(SPACE, " "),
            decoders.Replace(_ESCAPE + "b", SPACE),
            decoders.Replace(_ESCAPE + "a", _ESCAPE),
        ]
    )
    backend.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token=SPECIAL[0],
        bos_token=SPECIAL[1],
        eos_token=SPECIAL[2],
        clean_up_tokenization_spaces=False,
    )


def _merges(vocabulary: dict[str, int], processor) -> list[tuple[str, str]]:  # type: ignore[no-untyped-def]
    """The merges in order of learning: sentencepiece stores their rank as the piece's score."""
    merges = []
    for piece, index in vocabulary.items():
        if len(piece) < 2 or processor.is_byte(index) or processor.is_control(index):
            continue
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocabulary and right in vocabulary:
                rank = (-processor.get_score(index), vocabulary[left], vocabulary[right])
                merges.append((rank, (left, right)))
    return [pair for _, pair in sorted(merges)]
