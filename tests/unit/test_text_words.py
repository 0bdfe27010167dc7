import numpy as np
import pytest

from textmad.text.words import (
    Vocabulary,
    code_words,
    count_words,
    cut_texts,
    folded_pieces,
    length_in_words,
    ngrams,
    type_counts,
    words_of,
)


def test_words_are_folded_to_one_case_and_keep_inner_apostrophes():
    assert words_of("It’s 5 O'CLOCK, 'quoted' -- naïve!") == [
        "it's",
        "5",
        "o'clock",
        "quoted",
        "naïve",
    ]


# Each says "we go to school today" or nearly so, in words that a speaker would separate.
UNSPACED = {
    "Chinese": "我们 今天 去 学校",
    "Japanese": "今日 は 学校 に 行き ます",
    "Thai": "เรา ไป โรงเรียน",
    "Lao": "ພວກ ເຮົາ ໄປ ໂຮງຮຽນ",
    "Khmer": "ថ្ងៃនេះ យើង ទៅ សាលារៀន",
    "Burmese": "ကျောင်း သွား မယ်",
}


@pytest.mark.parametrize("language", UNSPACED)
def test_scripts_without_spaces_are_split_into_words(language):
    words = UNSPACED[language].split()
    run = "".join(words)
    assert words_of(run) == words
    assert words_of(f"Ok {run}, (yes)") == ["ok", *words, "yes"]  # beside other scripts
    assert count_words([run, f"{run} {run}"]) == 3 * len(words)
    assert length_in_words(run) == len(words)
    assert [w for text in cut_texts([run + run], 2) for w in words_of(text)] == words[:2]


def test_a_script_with_spaces_is_split_at_them_alone():
    assert words_of("오늘 학교에 갑니다") == ["오늘", "학교에", "갑니다"]
    assert words_of("आज हम स्कूल जाते हैं") == ["आज", "हम", "स्कूल", "जाते", "हैं"]


@pytest.mark.parametrize(
    "text",
    ["", "Fine - I'm 3.5 IN", "...", *UNSPACED.values(), "我们 3.5 - «去学校» ...", "今日は。"],
)
def test_pieces_are_as_many_as_the_length_in_words_and_white_space_splits_the_rest(text):
    assert len(folded_pieces(text)) == length_in_words(text)
    if text.isascii():
        assert folded_pieces(text) == text.casefold().split()


def test_counting_counts_what_splitting_finds():
    texts = ["don’t go", "", "...", "one-two İstanbul"]
    assert count_words(texts) == sum(len(words_of(text)) for text in texts) == 5


@pytest.mark.parametrize("num_words", range(8))
def test_cut_texts_hold_exactly_the_words_asked_for(num_words):
    texts = ["A b’s c.", "!", "d, e", "f g"]
    assert [w for t in cut_texts(texts, num_words) for w in words_of(t)] == [
        *("a", "b's", "c", "d", "e", "f", "g")
    ][:num_words]


def test_a_corpus_with_fewer_words_is_not_cut():
    assert cut_texts(["a b", "c."], 9) == ["a b", "c."]


def test_words_are_numbered_by_first_occurrence_and_know_their_document():
    words = code_words(["b A", "", "a c a"])
    assert words.codes.tolist() == [0, 1, 1, 2, 1]
    assert words.documents.tolist() == [0, 0, 2, 2, 2]


def test_a_vocabulary_numbers_the_words_of_two_corpora_alike():
    vocabulary = Vocabulary()
    assert type_counts(["b A", "", "a \0 c a"], vocabulary).tolist() == [1, 3, 1]
    assert code_words(["C d", "a"], vocabulary=vocabulary).codes.tolist() == [2, 3, 1]
    assert vocabulary.num_types == 4
    assert type_counts(["d"], vocabulary).tolist() == [0, 0, 0, 1]


def test_types_are_counted_in_many_texts_as_in_few():
    texts = [f"every word{index % 7} {index}" for index in range(9000)]  # more than one batch
    counts = type_counts(texts, Vocabulary())
    assert counts.tolist() == np.bincount(code_words(texts).codes).tolist()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 13])
def test_ngrams_are_equal_where_their_words_are_and_stay_within_documents(n):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(list("abc"), size)) for size in (40, 0, 3, 13, 25, 1)]
    grams = ngrams(code_words(texts), n)

    expected = []
    for index, text in enumerate(texts):
        words = text.split()
        expected += [(tuple(words[i : i + n]), index) for i in range(len(words) - n + 1)]
    assert grams.documents.tolist() == [index for _, index in expected]
    number_of = {}
    for (gram, _), number in zip(expected, grams.ids.tolist(), strict=True):
        assert number_of.setdefault(gram, number) == number
    assert len(set(number_of.values())) == len(number_of)
