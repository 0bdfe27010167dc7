"""Text to token ids and back, so that what was sampled is what is learned and scored.

Three things are often taken for granted of a tokenizer and are not so:

- Encoding is not additive. Many tokenizers (Llama 2, Mistral, Phi-3) put a space before every text.
  A continuation encoded by itself would get that space too, behind its prompt.
- Encoding is not injective. A tokenizer may have "</s>" among its ordinary pieces, and then takes
  these characters in a text for the end of a document.
- Decoding does not always invert encoding. A tokenizer may fold case or put spaces between
  characters. Sampled and human text would then differ by the tokenizer alone.

The first two are mended here. The third is an error, apart from Unicode composition (NFC).
"""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from textmad.errors import ModelError

_MOST_CUT = 3  # tokens of a beginning that can be lost with half a character of four bytes
_ALPHABET = 40  # characters of the tokenizer's own vocabulary that are tried
# What has to come back unchanged; characters that a tokenizer does not know are left out first.
_PROBES = (
    "The cat sat on BYU's mat, twice.",
    'It\'s 3.50 (or so) -- "yes"; no? #1 & 100%!',
    "two  spaces, a tab\there\nand lines\n\napart",
    " a space before and behind ",
    "naïve café, Straße, señor, Žižek",
    "Привет, как дела? Ελλάδα",
    "今天我们去看电影，真的很好。",
    "今日はいい天気ですね。 안녕하세요",
    "مرحبا بالعالم שלום नमस्ते สวัสดี",
    "🙂👍🏽 ①½ ﬁ … ™ ＡＢＣ x² «»",
)


class DocumentTokenizer:
    """A tokenizer for documents, and for texts that continue a prompt.

    Attributes:
        backend: the tokenizer as it was opened, for whole documents.
        start: the id before every document.
        end: the id after every finished document.
    """

    def __init__(self, backend: Tokenizer, start: int, end: int, special: Sequence[str]) -> None:
        backend.no_padding()
        backend.no_truncation()
        backend.encode_special_tokens = True
        self.backend, self.start, self.end = backend, start, end
        settings = json.loads(backend.to_str())
        # With it a text is encoded as it stands, without a space of the tokenizer's own before it.
        self._inner, self._adds_space = _without_added_space(backend, settings)
        tokens = {token: backend.token_to_id(token) for token in special}
        tokens |= {
            token.content: number
            for number, token in backend.get_added_tokens_decoder().items()
            if token.special or number in (start, end)
        }
        self._unknown = _unknown_id(backend, settings["model"])
        ids = {number for number in tokens.values() if number is not None}
        forbidden = ids - {self._unknown} | {start, end}
        self._forbidden = np.array(sorted(forbidden))
        # Unknown characters are no special token, but the characters "<unk>" would be one.
        unknown = set() if self._unknown is None else {self._unknown}
        self._looked_at = np.array(sorted(forbidden | unknown))
        self._spelled = [token for token in tokens if len(token) > 1]
        by_length = sorted(map(re.escape, self._spelled), key=len, reverse=True)
        self._spelling = re.compile(f"(?=({'|'.join(by_length)}))") if by_length else None

    def encode(
        self, texts: Sequence[str], continues: Sequence[bool] | None = None
    ) -> list[np.ndarray]:
        """Encode texts without any special token, `(tokens,)` int32 each.

        Characters that spell a special token are encoded as the characters they are.

        Args:
            texts: whole documents, or continuations.
            continues: whether each text follows a prompt; default: none does.

        Raises:
            ModelError: a text cannot be encoded without a special token inside it.
        """
        if self._adds_space:
            begins = [True] * len(texts) if continues is None else [not each for each in continues]
            given = [f" {t}" if t and first else t for t, first in zip(texts, begins, strict=True)]
        else:
            given = list(texts)
        encodings = self._inner.encode_batch_fast(given, add_special_tokens=False)
        rows = [np.array(encoding.ids, np.int32) for encoding in encodings]
        lengths = np.array([len(ids) for ids in rows], int)
        inside = np.isin(np.concatenate([*rows, np.zeros(0, np.int32)]), self._looked_at)
        for number in np.unique(np.repeat(np.arange(len(rows)), lengths)[inside]).tolist():
            rows[number] = self._encode_spelled(given[number])
        return rows

    def _encode_spelled(self, text: str) -> np.ndarray:
        """Encode a text that spells a special token: cut inside it, and encode the parts."""
        spellings = self._spelling.finditer(text) if self._spelling else ()
        cuts = [0, *(match.start() + 1 for match in spellings), len(text)]
        parts = [text[begin:end] for begin, end in itertools.pairwise(cuts)]
        encodings = self._inner.encode_batch_fast(parts, add_special_tokens=False)
        ids = np.concatenate([np.array(encoding.ids, np.int32) for encoding in encodings])
        inside = ids[np.isin(ids, self._forbidden)]
        if len(inside):
            token = self.backend.id_to_token(int(inside[0]))
            raise ModelError(
                f"the tokenizer encodes characters of the text {text[:60]!r} as the special token "
                f"{token!r}, which would begin or end a document there; use another base model, or "
                "remove such characters"
            )
        return ids

    def decode(self, rows: Sequence[Sequence[int]], continues: Sequence[bool]) -> list[str]:
        """Decode ids to texts; special tokens stand for no characters and leave none."""
        texts = self._inner.decode_batch([list(row) for row in rows], skip_special_tokens=True)
        if not self._adds_space:
            return list(texts)
        return [
            text if continued else text.removeprefix(" ")
            for text, continued in zip(texts, continues, strict=True)
        ]

    def beginning(self, text: str, num_tokens: int) -> str:
        """Return the first `num_tokens` tokens of a document as text, for a prompt.

        Fewer where the cut would fall inside a character.

        Raises:
            ModelError: far fewer, since the tokenizer does not give the text back.
        """
        ids = self.encode([text])[0][:num_tokens].tolist()
        taken = len(ids)
        while ids and not text.startswith(self.decode([ids], [False])[0]):
            ids.pop()
        if len(ids) < taken - _MOST_CUT:
            raise ModelError(
                f"sample.prompt_tokens: {num_tokens}: the tokenizer does not give back the text "
                f"{text[:60]!r}: only {len(ids)} of its first {taken} tokens read as it begins; "
                "remove the characters that the tokenizer does not know, or use another base model"
            )
        return self.decode([ids], [False])[0]

    def read_back(self, texts: Sequence[str]) -> list[str]:
        """Return documents as they read after encoding and decoding.

        They differ from `texts` in characters that the tokenizer does not know and in Unicode
        composition.
        """
        return self.decode([ids.tolist() for ids in self.encode(texts)], [False] * len(texts))

    # --- checks -----------------------------------------------------------------------------

    def check(self, name: str, num_embeddings: int) -> None:
        """Check that texts come back, and that the network has an embedding for every token.

        Raises:
            ModelError: they do not, or it has not; the message shows an example.
        """
        self._check_ids(name, num_embeddings)
        for probe in self._probes():
            (whole,), (after,) = self.encode([probe]), self.encode([probe], [True])
            prompt = self.encode(["a"])[0].tolist()
            joined = self.backend.decode([*prompt, *after.tolist()])
            readings = (
                ("a document", probe, self.decode([whole.tolist()], [False])[0]),
                ("a text after a prompt", probe, self.decode([after.tolist()], [True])[0]),
                ("a prompt and its continuation", self.backend.decode(prompt) + probe, joined),
            )
            for what, given, read in readings:
                if unicodedata.normalize("NFC", given) != unicodedata.normalize("NFC", read):
                    raise ModelError(
                        f"model.base: {name}: its tokenizer does not give text back: {what}, "
                        f"{given!r}, comes back as {read!r}, so sampled text would differ from "
                        "human text by the tokenizer alone; use a base model whose tokenizer keeps "
                        "text as it is (byte-level BPE or sentencepiece without normalisation)"
                    )
            own = self.backend.encode(probe, add_special_tokens=False).ids
            mended = probe[0].isspace() or np.isin(own, self._looked_at).any()
            if not mended and own != whole.tolist():
                raise ModelError(
                    f"model.base: {name}: its tokenizer puts more than a space before a text: "
                    f"{probe!r} does not end in the tokens that it has behind a prompt; use "
                    "another base model"
                )

    def _check_ids(self, name: str, num_embeddings: int) -> None:
        special = {
            number
            for number, token in self.backend.get_added_tokens_decoder().items()
            if token.special
        } - {self.start, self.end}
        ids = {number: token for token, number in self.backend.get_vocab().items()}
        largest = max(ids.keys() - special, default=0)
        if largest >= num_embeddings:
            raise ModelError(
                f"model.base: {name}: the tokenizer has the token {ids[largest]!r} with id "
                f"{largest}, and the network only {num_embeddings} embeddings; resize them and "
                "save the model again (resize_token_embeddings), or use the tokenizer it came with"
            )

    def _probes(self) -> Iterator[str]:
        """Yield texts of characters that the tokenizer knows."""
        own = {token.strip("▁Ġ#") for token in self.backend.get_vocab()}
        letters = sorted(token for token in own if len(token) == 1 and token.isalpha())
        letters = letters[:: max(1, len(letters) // _ALPHABET)]
        spelled = [f"a {token} b{token}{token}" for token in self._spelled]
        for probe in (*_PROBES, "".join(letters), " ".join(letters), *spelled):
            known = {character for character in set(probe) if self._knows(character)}
            kept = "".join(character for character in probe if character in known)
            if kept.strip():
                yield kept

    def _knows(self, character: str) -> bool:
        """Return whether a character has a token; a space without one is left out, not unknown."""
        ids = self._inner.encode(character, add_special_tokens=False).ids
        return self._unknown not in ids and (bool(ids) or character.isspace())


def _without_added_space(backend: Tokenizer, settings: dict[str, Any]) -> tuple[Tokenizer, bool]:
    """Return the tokenizer without a space of its own before a text, and whether it adds one."""
    plain = {part: _plain_part(settings[part]) for part in ("normalizer", "decoder")}
    plain["pre_tokenizer"] = _plain_part(settings["pre_tokenizer"], splits=True)
    if settings | plain == settings:
        return backend, False
    inner = Tokenizer.from_str(json.dumps(settings | plain))
    inner.encode_special_tokens = True
    whole, spaced, bare = (
        tokenizer.encode(text, add_special_tokens=False).ids
        for tokenizer, text in ((backend, "a"), (inner, " a"), (inner, "a"))
    )
    return inner, whole == spaced != bare


def _plain_part(part: dict[str, Any] | None, splits: bool = False) -> dict[str, Any] | None:
    """Return a part of a tokenizer that neither adds nor removes a space at the beginning.

    `splits` says that it is the pre-tokenizer.
    """
    if part is None:
        return None
    kind, plain = part["type"], dict(part)
    if kind == "Sequence":
        for key in ("normalizers", "pretokenizers", "decoders"):
            if key in part:
                parts = [_plain_part(each, splits) for each in part[key]]
                plain[key] = [each for each in parts if each is not None]
    if kind == "Prepend":
        return None
    if kind == "Metaspace":
        plain["prepend_scheme"] = "never"
    if kind == "ByteLevel" and splits:  # in a decoder the key has no effect
        plain["add_prefix_space"] = False
    if kind == "Strip" and part.get("content") == " ":  # a decoder's; a normalizer has no content
        plain["start"] = 0
    return plain


def _unknown_id(backend: Tokenizer, model: dict[str, Any]) -> int | None:
    """Return the id that stands for what a tokenizer does not know, if it has one."""
    if isinstance(model.get("unk_id"), int):
        return int(model["unk_id"])
    token = model.get("unk_token")
    return None if token is None else backend.token_to_id(token)
