"""Near-copies, held against exact Jaccard similarity over all pairs."""

import random
import subprocess
import sys

import numpy as np
import pytest

from textmad.near_duplicates import first_copies, jaccard, near_duplicates_of, shingles


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


def test_near_duplicates_of_references_are_those_that_exact_comparison_finds():
    texts, references = altered_texts()[::2], altered_texts()[1::2]
    expected = [
        any(jaccard(shingles(text), shingles(other)) >= 0.6 for other in references)
        for text in texts
    ]
    assert any(expected)
    assert not all(expected)
    assert near_duplicates_of(texts, references, 0.6).tolist() == expected


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
    assert near_duplicates_of(["a b"], [], 0.8).tolist() == [False]
    assert near_duplicates_of([], ["a b"], 0.8).dtype == bool


@pytest.mark.parametrize("threshold", [0, 1.1, float("nan")])
def test_a_threshold_that_is_no_similarity_is_refused(threshold):
    with pytest.raises(ValueError, match=f"threshold: {threshold}: expected more than 0"):
        first_copies(["a"], threshold)


def test_another_process_finds_the_same_copies():
    code = (
        "from textmad.near_duplicates import first_copies\n"
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
