"""Near-copies, held against exact Jaccard similarity over all pairs."""

import random
import subprocess
import sys

import numpy as np
import pytest

from textmad.testing.synthetic import synthetic_texts
from textmad.text.near_duplicates import NearCopies, first_copies, jaccard, shingles


def altered_texts(seed=0, originals=80):
    """Texts of 5 to 30 words, each with three copies in which up to six words are changed."""
    rng = random.Random(seed)
    words = [f"w{i}" for i in range(500)]
    texts = []
    for _ in range(originals):
        text = rng.choices(words, k=rng.randint(5, 30))
        texts.append(" ".join(text))
        for _ in range(3):
            copy = list(text)
            for _ in range(rng.randint(1, 6)):
                copy[rng.randrange(len(copy))] = rng.choice(words)
            texts.append(" ".join(copy))
    return texts


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 1.0])
def test_first_copies_are_those_that_exact_comparison_of_all_pairs_finds(threshold):
    texts = altered_texts()
    sets = [shingles(text) for text in texts]
    first = list(range(len(texts)))
    for i in range(len(texts)):
        for j in range(i):
            if first[j] == j and jaccard(sets[i], sets[j]) >= threshold:
                first[i] = j
                break
    assert first_copies(texts, threshold).tolist() == first


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.6, 0.8, 1.0])
def test_near_copies_of_references_are_those_that_exact_comparison_finds(threshold):
    texts, references = altered_texts()[::2], altered_texts()[1::2]
    texts += ["w1", "W1!", "w1 w2", "🙂", " 🙂", "", "\0", "w3\0w4 w5"]
    references += ["w1", "🙂", "w3 w4 w5", *references[:50]]
    expected = [
        any(jaccard(shingles(text), shingles(other)) >= threshold for other in references)
        for text in texts
    ]
    assert any(expected)
    assert not all(expected)
    assert NearCopies(references, threshold).among(texts).tolist() == expected


def test_near_copies_are_found_whatever_is_held_at_once(monkeypatch):
    texts, references = altered_texts()[::2], altered_texts()[1::2]
    expected = NearCopies(references, 0.6).among(texts).tolist()
    monkeypatch.setattr("textmad.text.near_duplicates._AT_ONCE", 7)
    monkeypatch.setattr("textmad.text.near_duplicates._MAX_PAIRS", 5)
    monkeypatch.setattr("textmad.text.near_duplicates._COUNTED_TEXTS", 20)
    assert NearCopies(references, 0.6).among(texts).tolist() == expected


def test_the_index_of_near_copies_takes_few_bytes_a_reference():
    def index_bytes(num_references):
        copies = NearCopies(synthetic_texts(num_references), 0.8)
        return copies._keys.nbytes + copies._owners.nbytes + copies._shared.nbytes

    # 25 words, so 24 pairs of which 24 - 20 + 3 = 7 are indexed at 12 bytes, and 1 byte.
    assert index_bytes(2000) / 2000 < 100
    assert index_bytes(4000) < 2.1 * index_bytes(2000)


def test_a_chain_of_small_changes_is_not_one_copy():
    first, second, third = "a b c d e f g h", "a b c d e f g x", "a b c d e f y x"
    # Seven pairs each: neighbours share 6 of 8 and 5 of 9, the ends 5 of 9.
    assert first_copies([first, second, third], 0.7).tolist() == [0, 0, 2]


def test_texts_without_words_are_copies_only_of_themselves():
    assert first_copies(["🙂", "", "🙂🙂", " 🙂 ", ""], 0.5).tolist() == [0, 1, 2, 0, 1]


def test_ten_thousand_equal_texts_have_one_first_copy():
    assert first_copies(["I don't know."] * 10_000, 0.8).max() == 0


def test_no_text_and_no_reference_give_no_copy():
    assert first_copies([], 0.8).shape == (0,)
    assert NearCopies([], 0.8).among(["a b"]).tolist() == [False]
    assert NearCopies(["a b"], 0.8).among([]).dtype == bool


@pytest.mark.parametrize("threshold", [0, 1.1, float("nan")])
def test_a_threshold_that_is_no_similarity_is_an_error(threshold):
    with pytest.raises(ValueError, match=f"threshold: {threshold}: expected more than 0"):
        first_copies(["a"], threshold)
    with pytest.raises(ValueError, match=f"threshold: {threshold}: expected more than 0"):
        NearCopies(["a"], threshold)


def test_another_process_finds_the_same_copies():
    code = (
        "from textmad.text.near_duplicates import first_copies\n"
        "texts = [f'{i % 7} b c d e f {i % 3} {i % 2}' for i in range(60)]\n"
        "print(first_copies(texts, 0.6).tolist())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert np.array(eval(outputs.pop())).max() > 0
