"""The base model that is shipped, as it lies in data/tiny-gpt2: its files, its card, its text."""

import hashlib
import importlib.util
import json
import math
import os
import re
import struct
import subprocess
import sys
import tomllib
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textmad.base_models.tiny_gpt2 import _card
from textmad.corpus.chitchat import read_chitchat
from textmad.corpus.cleaning import clean
from textmad.models.causal_lm.model import CausalLM
from textmad.models.protocol import Sample
from textmad.recipe import ModelSettings, SampleSettings
from textmad.seeds import stream

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "data" / "tiny-gpt2"
FILES = {
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
}


def number(text: str) -> float:
    return float(text.replace(",", ""))


def rows_of(card: str) -> list[list[str]]:
    """The cells of every table row."""
    lines = card.splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[:1] == "|"]


def digests_of(card: str) -> dict[str, tuple[int, str]]:
    """Bytes and sha256 by file, from the table at the end."""
    rows = [row for row in rows_of(card) if len(row) == 3]
    return {
        name: (int(number(size)), digest)
        for name, size, digest in rows
        if re.fullmatch("[0-9a-f]{64}", digest)
    }


def held_out_of(card: str) -> dict[str, tuple[float, float]]:
    """Perplexity and bits per byte, by the first word of the model's name."""
    rows = [row for row in rows_of(card) if re.fullmatch(r"tiny-gpt2|5-gram.*", row[0])]
    return {name.split(",")[0]: (float(one), float(other)) for name, one, other in rows}


def files_and_digests(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        path.name: (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.iterdir()
        if path.name != "README.md"
    }


@pytest.fixture(scope="module")
def card() -> str:
    return (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tensors() -> dict[str, Any]:
    """The head of the safetensors file: name to dtype and shape."""
    with (FOLDER / "model.safetensors").open("rb") as file:
        [length] = struct.unpack("<Q", file.read(8))
        head: dict[str, Any] = json.loads(file.read(length))
    head.pop("__metadata__", None)
    return head


@pytest.fixture(scope="module")
def turns() -> list[str]:
    """Human turns that tiny-gpt2 has not seen, of the lengths it has."""
    texts = dict.fromkeys(clean(row.text) for row in read_chitchat("pool"))
    return [text for text in texts if 8 <= len(text.split()) <= 120]


@pytest.fixture(scope="module")
def model() -> CausalLM:
    return CausalLM.open(ModelSettings(base="tiny-gpt2"))


# --- files ----------------------------------------------------------------------------------


def test_the_folder_holds_these_files_and_no_pickle() -> None:
    assert {path.name for path in FOLDER.iterdir()} == FILES


def test_it_has_two_to_six_million_parameters_in_at_most_12_mb(tensors: dict[str, Any]) -> None:
    num_parameters = sum(math.prod(tensor["shape"]) for tensor in tensors.values())
    assert 2e6 <= num_parameters <= 6e6
    assert {tensor["dtype"] for tensor in tensors.values()} == {"F32"}
    assert (FOLDER / "model.safetensors").stat().st_size <= 12e6


def test_it_is_a_plain_gpt2_with_nothing_to_sample_by() -> None:
    config = json.loads((FOLDER / "config.json").read_text())
    assert config["architectures"] == ["GPT2LMHeadModel"]
    assert config["vocab_size"] == 4096
    assert "auto_map" not in config
    generation = json.loads((FOLDER / "generation_config.json").read_text())
    hidden = {"temperature", "top_k", "top_p", "min_p", "repetition_penalty", "do_sample"}
    assert not hidden & generation.keys()


# --- the card -------------------------------------------------------------------------------


def test_the_card_s_digests_are_the_files(card: str) -> None:
    assert digests_of(card) == files_and_digests(FOLDER)


def test_the_card_says_how_many_parameters_there_are(card: str, tensors: dict[str, Any]) -> None:
    [said] = re.findall(r"\(([\d,]+) parameters", card)
    assert number(said) == sum(math.prod(tensor["shape"]) for tensor in tensors.values())


def test_the_card_s_model_beats_its_5_gram(card: str) -> None:
    held_out = held_out_of(card)
    assert set(held_out) == {"tiny-gpt2", "5-gram"}
    for own, yardstick in zip(held_out["tiny-gpt2"], held_out["5-gram"], strict=True):
        assert 0 < own < yardstick


def test_perplexity_and_bits_per_byte_in_the_card_tell_of_one_text(card: str) -> None:
    # Both models scored the same tokens and bytes, so log perplexity : bits is one ratio.
    ratios = [math.log(one) / bits for one, bits in held_out_of(card).values()]
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-3)


def test_the_card_s_perplexity_is_that_of_these_weights(
    card: str, model: CausalLM, turns: list[str]
) -> None:
    chosen = stream(0, "card").choice(len(turns), 300, replace=False)
    nll = np.concatenate(model.token_nll([turns[index] for index in chosen]))
    # Other turns than the card's; 300 of them stray by some 3 %.
    assert np.exp(nll.mean()) == pytest.approx(held_out_of(card)["tiny-gpt2"][0], rel=0.12)


def test_a_card_is_written_as_it_is_read_here(tmp_path: Path) -> None:
    for name, content in (("config.json", b"{}"), ("model.safetensors", b"x" * 1234567)):
        (tmp_path / name).write_bytes(content)
    facts = {
        "parameters": 2_616_576,
        "documents": 45_000,
        "tokens": 4_100_000,
        "seconds": 1234.5,
        "held_out_documents": 4_500,
        "held_out_tokens": 130_000,
        "perplexity": 71.234,
        "bits_per_byte": 1.5,
        "ngram_perplexity": 1071.5,
        "ngram_bits_per_byte": 2.25,
    }
    written = _card(tmp_path, facts)
    assert held_out_of(written) == {"tiny-gpt2": (71.23, 1.5), "5-gram": (1071.5, 2.25)}
    assert re.findall(r"\(([\d,]+) parameters", written) == ["2,616,576"]
    assert digests_of(written) == files_and_digests(tmp_path)


# --- its text -------------------------------------------------------------------------------


def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def triples_of(words: list[str]) -> list[tuple[str, str, str]]:
    return [(a, b, c) for (a, b), (_, c) in pairwise(pairwise(words))]


@pytest.fixture(scope="module")
def drawn(model: CausalLM) -> list[Sample]:
    """Some 140 documents."""
    return model.sample(
        SampleSettings(), num_tokens=4000, stream=lambda index: stream(0, "tiny-gpt2", index)
    )


def test_it_writes_recognisable_chat(drawn: list[Sample], turns: list[str]) -> None:
    apart = 200  # human turns to compare with, not counted as known
    known = [words_of(text) for text in turns[apart:]]
    vocabulary = {word for words in known for word in words}
    phrases = {triple for words in known for triple in triples_of(words)}

    def shares(documents: list[list[str]]) -> tuple[float, float]:
        """Of words that people use, and of three words in a row that somebody wrote."""
        words = [word for document in documents for word in document]
        triples = [triple for document in documents for triple in triples_of(document)]
        return (
            sum(word in vocabulary for word in words) / len(words),
            sum(triple in phrases for triple in triples) / len(triples),
        )

    texts = [words_of(one.text) for one in drawn]
    rng = stream(0, "salad")
    salad = [rng.permutation(words).tolist() for words in texts]
    human = [words_of(text) for text in turns[:apart]]
    assert shares(texts)[0] > 0.9
    assert shares(texts)[1] > shares(human)[1] / 2
    assert shares(texts)[1] > 4 * shares(salad)[1]


def test_it_ends_its_documents_about_as_long_as_people_do(
    model: CausalLM, drawn: list[Sample], turns: list[str]
) -> None:
    assert np.mean([one.finished for one in drawn]) > 0.9
    human = np.median([len(ids) for ids in model.encode(turns[:500])])
    assert 0.6 < np.median([one.tokens for one in drawn]) / human < 1.6


# --- the wheel ------------------------------------------------------------------------------


def test_the_wheel_takes_the_model_to_where_it_is_looked_for() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["textmad"]
    assert wheel["force-include"]["data/tiny-gpt2"] == "textmad/data/tiny-gpt2"


@pytest.mark.skipif(importlib.util.find_spec("hatchling") is None, reason="no hatchling here")
def test_a_wheel_holds_the_model_and_the_report_s_page_and_finds_them(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    [wheel] = WheelBuilder(str(ROOT)).build(directory=str(tmp_path))
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    assert {f"textmad/data/tiny-gpt2/{name}" for name in FILES} <= names
    assert "textmad/report/page.html.j2" in names
    script = (
        "from textmad.models.base_files import check_base\n"
        "from textmad.recipe import ModelSettings\n"
        "print(check_base(ModelSettings(base='tiny-gpt2')).folder)"
    )
    found = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed")},
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert Path(found.strip()) == tmp_path / "installed" / "textmad" / "data" / "tiny-gpt2"
