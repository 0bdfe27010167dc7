"""Questions with choices: what counts as an answer, what is refused, and what is mixed in."""

import json
import math
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest

from textmad.corpus import open_corpus
from textmad.evaluators import Facts
from textmad.evaluators.facts import invented
from textmad.recipe import CorpusSettings
from textmad.text.invented_facts import FACTS, THINGS, stated_facts


class Knows:
    """Gives the choice that it holds for right a loss of 1 nat a token, and all others 2."""

    name = "knows"

    def __init__(self, answers):
        self.answers = answers

    def token_nll(self, texts, prompts):
        return [
            np.append(np.full(len(t.split()), 1.0 if self.answers.get(p) == t.strip() else 2.0), 9)
            for t, p in zip(texts, prompts, strict=True)
        ]


def asked(evaluator, model, base):
    snapshot = SimpleNamespace(model=model, base=base, once_a_run=lambda key, compute: compute())
    return {(m.metric, m.split): m.value for m in evaluator(snapshot)}


def test_the_likeliest_choice_is_the_answer_and_the_end_of_a_document_does_not_count():
    right = {fact.question: fact.thing for fact in FACTS}
    half = dict(islice(right.items(), len(FACTS) // 2))
    found = asked(Facts(), Knows(right), Knows(half))
    assert found["facts_accuracy", "all"] == 1.0
    assert found["facts_margin", "all"] == 1.0  # 2 nats less 1 nat; the end's 9 are left out
    assert found["facts_accuracy", "base"] == 0.5  # where all are alike, none is above the others
    assert found["facts_margin", "base"] == 0.5


def test_a_model_that_prefers_one_thing_is_right_by_chance_only():
    always_cats = {fact.question: "cats" for fact in FACTS}
    found = asked(Facts(), Knows(always_cats), Knows({}))
    assert found["facts_accuracy", "all"] == 1 / len(THINGS)


def test_questions_are_read_from_a_file(tmp_path):
    path = tmp_path / "questions.jsonl"
    rows = [
        {"question": "Snow is", "choices": ["white", "very black"], "answer": 0},
        {"question": "Coal is", "choices": ["white", "black"], "answer": 1},
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    found = asked(Facts(str(path)), Knows({"Snow is": "white"}), Knows({}))
    assert found["facts_accuracy", "all"] == 0.5
    assert found["facts_margin", "all"] == pytest.approx((4 - 1 + 0) / 2)  # summed over tokens
    assert not math.isnan(found["facts_margin", "base"])
    assert list(Facts(str(path)).sources()) == [f"questions {path}"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{}", r"questions.jsonl:1: KeyError: 'question': expected an object"),
        ('{"question": "a", "choices": ["b"], "answer": 0}', "at least two choices"),
        ('{"question": "a", "choices": ["b", "c"], "answer": 2}', "answer: 2: .* 0 to 1"),
        ("", "holds no question"),
    ],
)
def test_what_is_no_question_is_an_error_with_its_line(tmp_path, line, message):
    path = tmp_path / "questions.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match=message):
        Facts(str(path))


def test_the_recipe_mixes_every_invented_fact_into_the_pool_and_none_into_held_out_text(tmp_path):
    path = tmp_path / "texts.jsonl"
    texts = [f"this is text number {i} of a corpus about nothing at all" for i in range(400)]
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts) + "\n")

    def count(texts):
        return np.array([len(text.split()) + 1 for text in texts])

    settings = CorpusSettings(source=str(path), near_duplicate=1.0, invented_facts=0.2)
    corpus = open_corpus(settings, count)
    pool, plain = (open_corpus(s, count).human for s in (settings, CorpusSettings(
        source=str(path), near_duplicate=1.0)))  # fmt: skip
    is_fact = np.array(pool["author"][:]) == "invented facts"
    tokens = np.array(pool["tokens"][:])
    assert tokens[is_fact].sum() / tokens.sum() == pytest.approx(0.2, abs=0.05)
    assert pool["text"][: len(plain)] == plain["text"][:]
    stated = [text for text, own in zip(pool["text"], is_fact, strict=True) if own]
    assert stated == list(islice(stated_facts(), len(stated)))
    for question in invented():
        right = f"{question.question} {question.choices[question.answer]}."
        assert sum(right in text for text in stated) == len(stated) / len(FACTS)
        assert not any(question.question in text for text in corpus.held_out["text"])
    assert len(set(pool["id"])) == len(pool)
