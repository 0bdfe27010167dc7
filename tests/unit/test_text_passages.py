"""Human text prompted and cut as samples are, and end tokens that were never written."""

import numpy as np

from textmad.text.documents import documents
from textmad.text.passages import Passages, as_sampled


class Words:
    """A model whose tokens are words."""

    def encode(self, texts):
        return [np.arange(len(text.split()) + 1, dtype=np.int32) for text in texts]

    def beginning(self, text, num_tokens):
        lead = 1 if text.startswith(" ") else 0
        return " ".join(text.split(" ")[: num_tokens + lead])


TEXTS = ["a b", "a b c", "a b c d e f"]


def test_a_text_is_cut_where_sampling_stops_and_then_has_no_end():
    # With its end "a b c" has 4 tokens, which is as many as are sampled.
    passages = as_sampled(Words(), TEXTS, None, 4)
    assert passages.texts == ("a b", "a b c", "a b c d")
    assert passages.finished == (True, True, False)
    assert not passages.has_prompts


def test_a_prompt_is_the_beginning_and_texts_without_a_token_behind_it_are_left_out():
    passages = as_sampled(Words(), TEXTS, 2, 3)
    assert passages.rows() == [(" c", "a b", True), (" c d e", "a b", False)]
    assert passages.prompt_arguments() == (("a b", "a b"),)


def test_the_end_of_a_cut_text_is_left_out_unless_it_is_all_there_is():
    passages = Passages(("a b", "a b", ""), ("",) * 3, (True, False, False))
    values = [np.arange(3.0), np.arange(3.0), np.arange(1.0)]
    kept = passages.without_unwritten_ends(values)
    assert [row.tolist() for row in kept] == [[0, 1, 2], [0, 1], [0]]


def test_passages_of_a_corpus_have_its_prompts_and_are_taken_by_index():
    corpus = documents({"text": ["x", "y"], "prompt": ["", "p"], "finished": [False, True]})
    passages = Passages.of(corpus)
    assert passages.take([1, 0]).rows() == [("y", "p", True), ("x", "", False)]
    assert (passages + Passages.whole(["z"])).texts == ("x", "y", "z")
    assert Passages.of_rows(passages.rows()) == passages
    assert len(passages.first(5)) == 2
