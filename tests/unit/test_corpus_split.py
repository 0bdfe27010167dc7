"""From a source to a training pool and held-out text."""

import json
import random
import re

import numpy as np
import pytest

from textmad.corpus import corpus_digest, corpus_notes, open_corpus
from textmad.corpus.split import held_out_mask
from textmad.errors import CorpusError
from textmad.recipe import Columns, CorpusSettings
from textmad.text.documents import content_id

WORDS = [f"w{n}" for n in range(2_000)]


def count_words(texts):
    return np.array([len(text.split()) + 1 for text in texts])


def posts(num, conversations=None, seed=0):
    """Random posts of 12 words, no two alike, a few to each conversation."""
    source = random.Random(seed)
    return [
        {
            "text": " ".join(source.sample(WORDS, 12)),
            "thread": f"c{source.randrange(conversations)}" if conversations else None,
        }
        for _ in range(num)
    ]


def opened(path, lines, **settings):
    path.write_text("\n".join(json.dumps(line) for line in lines))
    columns = Columns(conversation="thread")
    return open_corpus(CorpusSettings(source=str(path), columns=columns, **settings), count_words)


def test_about_the_share_asked_for_is_held_out(tmp_path):
    corpus = opened(tmp_path / "a.jsonl", posts(4_000), held_out=0.1)
    # Binomial: 400 expected, standard deviation sqrt(4000 * 0.1 * 0.9) = 19.
    assert abs(len(corpus.held_out) - 400) < 5 * 19
    assert len(corpus.human) + len(corpus.held_out) == 4_000


def test_no_document_is_on_both_sides(tmp_path):
    corpus = opened(tmp_path / "a.jsonl", posts(1_000), held_out=0.5)
    assert set(corpus.human["id"]).isdisjoint(corpus.held_out["id"])
    assert corpus.human["id"] == [content_id(text) for text in corpus.human["text"]]


def test_a_conversation_never_straddles_the_split(tmp_path):
    corpus = opened(tmp_path / "a.jsonl", posts(1_000, conversations=60), held_out=0.5)
    train, held_out = set(corpus.human["conversation"]), set(corpus.held_out["conversation"])
    assert train.isdisjoint(held_out)
    assert train | held_out == {f"c{n}" for n in range(60)}


@pytest.mark.parametrize("conversations", [None, 60])
def test_the_split_does_not_depend_on_order_or_on_other_documents(tmp_path, conversations):
    lines = posts(600, conversations)
    held_out = set(opened(tmp_path / "a.jsonl", lines, held_out=0.3).held_out["id"])
    shuffled = random.Random(1).sample(lines, len(lines))
    assert set(opened(tmp_path / "b.jsonl", shuffled, held_out=0.3).held_out["id"]) == held_out
    half = set(opened(tmp_path / "c.jsonl", lines[:300], held_out=0.3).held_out["id"])
    assert half == held_out & {content_id(line["text"]) for line in lines[:300]}


def test_what_is_held_out_stays_so_at_a_larger_share():
    keys = [str(n) for n in range(2_000)]
    small, large = held_out_mask(keys, 0.1), held_out_mask(keys, 0.3)
    assert small.sum() < large.sum()
    assert not (small & ~large).any()


@pytest.mark.parametrize("conversations", [None, 60])
def test_the_parts_of_a_corpus_are_disjoint_and_split_as_the_whole_is(tmp_path, conversations):
    path, lines = tmp_path / "a.jsonl", posts(1_200, conversations)
    whole = opened(path, lines, held_out=0.3)
    settings = CorpusSettings(
        source=str(path), columns=Columns(conversation="thread"), held_out=0.3, parts=3
    )
    parts = [open_corpus(settings, count_words, part) for part in range(3)]
    for side in ("human", "held_out"):
        ids = [set(getattr(part, side)["id"]) for part in parts]
        assert sum(map(len, ids)) == len(set.union(*ids))
        # A document of a part may be a near-copy of held-out text of another: none is here.
        assert set.union(*ids) == set(getattr(whole, side)["id"])
    if conversations:
        threads = [{*part.human["conversation"], *part.held_out["conversation"]} for part in parts]
        assert sum(map(len, threads)) == len(set.union(*threads)) == 60
    else:  # binomial: 400 expected, standard deviation sqrt(1200 / 3 * 2 / 3) = 16
        sizes = [len(part.human) + len(part.held_out) for part in parts]
        assert all(abs(size - 400) < 5 * 16 for size in sizes)
    for part in parts:
        ours = len(part.human) + len(part.held_out)
        assert part.report["dropped"]["other_part"] == 1_200 - ours
    assert "other_part" not in whole.report["dropped"]


def test_near_copies_of_held_out_text_are_not_trained_on(tmp_path):
    lines = posts(400)
    held_out = opened(tmp_path / "a.jsonl", lines, held_out=0.3).held_out["text"]
    # One more word at the end: 11 shared word pairs of 12, a Jaccard similarity of 0.92.
    copies = [{"text": f"{text} extra", "thread": None} for text in held_out]
    is_out = held_out_mask((copy["text"] for copy in copies), 0.3)
    corpus = opened(tmp_path / "b.jsonl", lines + copies, held_out=0.3)
    assert corpus.report["dropped"]["near_copy_of_held_out"] == (~is_out).sum() > 0
    assert not any(text.endswith("extra") for text in corpus.human["text"])
    assert len(corpus.held_out) == len(held_out) + is_out.sum()
    spared = opened(tmp_path / "b.jsonl", lines + copies, held_out=0.3, near_duplicate=0.95)
    assert spared.report["dropped"]["near_copy_of_held_out"] == 0


def test_documents_are_cleaned_bounded_and_told_apart(tmp_path):
    good = [{"text": f"{line['text']} @someone", "thread": None} for line in posts(50)]
    odd = [
        {"text": "a b c d e f g", "thread": None},  # 7 words
        {"text": " ".join(WORDS[:14]), "thread": None},  # 14 words
        {"text": good[0]["text"].replace("@someone", "@another\u200b "), "thread": None},
    ]
    corpus = opened(tmp_path / "a.jsonl", good + odd, min_words=8, max_words=13)
    assert corpus.report["dropped"] == {
        "too_short": 1,
        "too_long": 1,
        "duplicate": 1,
        "near_copy_of_held_out": 0,
    }
    texts = [*corpus.human["text"], *corpus.held_out["text"]]
    assert len(texts) == 50
    assert all(text.endswith(" [user]") for text in texts)


def test_documents_carry_source_tokens_and_what_is_known(tmp_path):
    columns = Columns(votes="ups", community="sub", time="utc", conversation="thread")
    lines = [
        {**line, "ups": n, "sub": "pics", "utc": 60 * n} for n, line in enumerate(posts(20, 9))
    ]
    (tmp_path / "my-posts.jsonl").write_text("\n".join(map(json.dumps, lines)))
    settings = CorpusSettings(
        source=str(tmp_path / "my-posts.jsonl"), columns=columns, held_out=0.5
    )
    corpus = open_corpus(settings, count_words)
    by_text = {line["text"]: line for line in lines}
    for document in [*corpus.human, *corpus.held_out]:
        line = by_text[document["text"]]
        assert document["votes"] == line["ups"]
        assert document["time"] == line["utc"]
        assert document["conversation"] == line["thread"]
        assert document["community"] == "pics"
        assert document["author"] == "my-posts.jsonl"
        assert document["tokens"] == 13
        assert (document["origin"], document["generation"]) == ("human", -1)


def test_the_report_accounts_for_every_line(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [json.dumps(line) for line in posts(60)]
    lines += ["{", lines[0], '{"text": "too short"}']
    path.write_text("\n".join(lines))
    corpus = open_corpus(CorpusSettings(source=str(path), max_bad_lines=0.1), count_words)
    num_train, num_held_out = len(corpus.human), len(corpus.held_out)
    assert num_train + num_held_out == 60
    assert corpus.report == {
        "source": str(path),
        "format": "jsonl",
        "read": {
            "lines": 63,
            "good": 62,
            "unwanted": {},
            "bad": {"not JSON": {"lines": 1, "first": [61]}},
        },
        "dropped": {"too_short": 1, "too_long": 0, "duplicate": 1, "near_copy_of_held_out": 0},
        "with_html_entities": 0,
        "changed_by_tokenizer_share": 0,
        "human": {
            "documents": num_train,
            "conversations": 0,
            "words": 12 * num_train,
            "tokens": 13 * num_train,
            "longest_token_share": round(1 / num_train, 4),
        },
        "held_out": {
            "documents": num_held_out,
            "conversations": 0,
            "words": 12 * num_held_out,
            "tokens": 13 * num_held_out,
            "longest_token_share": round(1 / num_held_out, 4),
        },
    }
    json.dumps(corpus.report)


def test_a_word_without_end_is_bounded_in_tokens(tmp_path):
    lines = [*posts(200), *({"text": f"{n} " * 8 + "A" * 3_000, "thread": None} for n in range(40))]
    settings = CorpusSettings(source=str(tmp_path / "a.jsonl"), held_out=0.5, near_duplicate=1.0)
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))

    def count_letters(texts):
        return np.array(list(map(len, texts)))

    for max_tokens, num_long in ((None, 40), (2_000, 40), (4_000, 0)):
        bounded = settings.model_copy(update={"max_tokens": max_tokens})
        corpus = open_corpus(bounded, count_letters)
        assert corpus.report["dropped"]["too_long"] == num_long
        assert max([*corpus.human["tokens"], *corpus.held_out["tokens"]]) > 3_000 * (not num_long)


def test_the_report_tells_what_share_of_the_tokens_the_longest_hundredth_holds(tmp_path):
    lines = [*posts(199), {"text": " ".join(WORDS[:1_000]), "thread": None}]
    corpus = opened(tmp_path / "a.jsonl", lines, max_words=1_000, held_out=0.5)
    for part in (corpus.human, corpus.held_out):
        tokens = sorted(part["tokens"])
        num = -(-len(tokens) // 100)
        share = corpus.report["human" if part is corpus.human else "held_out"]
        assert share["longest_token_share"] == round(sum(tokens[-num:]) / sum(tokens), 4)


def test_entities_are_counted_and_the_notes_say_so(tmp_path):
    lines = posts(100)
    for line in lines[:7]:
        line["text"] += " Tom &amp; Jerry"
    lines[8]["text"] += " Q&A; AT&T &copy"
    report = opened(tmp_path / "a.jsonl", lines).report
    assert report["with_html_entities"] == 7
    assert "7 of 100 documents hold HTML entities" in corpus_notes(report)[0]
    assert not corpus_notes(opened(tmp_path / "b.jsonl", posts(100)).report)


def test_a_document_without_spaces_is_as_long_as_its_words(tmp_path):
    short, long = "我们今天去学校。", "".join(f"我们今天去学校{n}。" for n in range(40))
    lines = [*posts(50), {"text": short, "thread": None}, {"text": long, "thread": None}]
    report = opened(tmp_path / "a.jsonl", lines).report
    # Four words and 200: below min_words: 8, and above max_words: 120.
    assert (report["dropped"]["too_short"], report["dropped"]["too_long"]) == (1, 1)


def test_max_documents_takes_the_first_clean_ones(tmp_path):
    lines = [{"text": "short", "thread": None}, *posts(100)]
    corpus = opened(tmp_path / "a.jsonl", lines, max_documents=40)
    assert {*corpus.human["text"], *corpus.held_out["text"]} == {
        line["text"] for line in lines[1:41]
    }


def test_too_many_bad_lines_refuse_the_corpus_unless_the_recipe_allows_them(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([json.dumps(line) for line in posts(97)] + ["{"] * 3))
    with pytest.raises(CorpusError, match=r"3 of 100 lines are bad \(3.00%\)"):
        open_corpus(CorpusSettings(source=str(path)), count_words)
    assert open_corpus(CorpusSettings(source=str(path), max_bad_lines=0.03), count_words)


def test_a_corpus_that_leaves_one_side_empty_is_an_error(tmp_path):
    with pytest.raises(CorpusError, match=r"0 documents to train on and 0 held out.*5 too_short"):
        opened(tmp_path / "a.jsonl", [{"text": f"short {n}", "thread": None} for n in range(5)])
    with pytest.raises(CorpusError, match=r"3 documents to train on and 0 held out; at least one"):
        opened(tmp_path / "a.jsonl", posts(3), held_out=1e-9)


def test_chitchat_takes_the_same_path():
    corpus = open_corpus(CorpusSettings(max_documents=300), count_words)
    assert set(corpus.human["conversation"]).isdisjoint(corpus.held_out["conversation"])
    assert set(corpus.human["author"]) == {"chitchat"}
    assert corpus.report["human"]["tokens"] == sum(corpus.human["tokens"])


def test_the_digest_follows_the_text(tmp_path):
    settings = CorpusSettings(source=str(tmp_path / "a.txt"))
    (tmp_path / "a.txt").write_text("one")
    first = corpus_digest(settings)
    assert corpus_digest(settings) == first
    (tmp_path / "a.txt").write_text("two")
    assert corpus_digest(settings) != first


def test_the_digest_of_a_saved_dataset_follows_its_rows(tmp_path):
    import datasets

    digests = []
    for name, text in (("a", "one"), ("b", "one"), ("c", "two")):
        datasets.Dataset.from_dict({"text": [text]}).save_to_disk(tmp_path / name)
        digests.append(corpus_digest(CorpusSettings(source=str(tmp_path / name))))
    assert digests[0] == digests[1] != digests[2]


def test_the_digest_of_a_saved_dataset_follows_the_order_of_its_files(tmp_path):
    import datasets

    table = datasets.Dataset.from_dict({"text": ["one", "two"]})
    table.save_to_disk(tmp_path / "d", num_shards=2)
    settings = CorpusSettings(source=str(tmp_path / "d"))
    first = corpus_digest(settings)
    state = json.loads((tmp_path / "d/state.json").read_text())
    state["_data_files"].reverse()
    (tmp_path / "d/state.json").write_text(json.dumps(state))
    assert corpus_digest(settings) != first


def test_human_text_is_kept_as_the_tokenizer_gives_it_back_and_the_share_is_told(tmp_path):
    rows = posts(400)
    for row in rows[:100]:
        row["text"] = row["text"].upper()
    rows[100]["text"] = "漢字 " * 12
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    settings = CorpusSettings(source=str(path), held_out=0.5)

    def read_back(texts):  # a tokenizer of lower-case letters alone
        return ["".join(re.findall("[a-z0-9 ]", text.lower())) for text in texts]

    as_given = open_corpus(settings, count_words)
    corpus = open_corpus(settings, count_words, read_back=read_back)
    for name in ("human", "held_out"):
        texts = getattr(corpus, name)["text"]
        assert all(text == text.lower() for text in texts)
        assert any(text != text.lower() for text in getattr(as_given, name)["text"])
    assert corpus.report["changed_by_tokenizer_share"] == 101 / 400
    assert len(corpus.human) + len(corpus.held_out) == 399  # nothing is left of the Chinese one
    (note,) = corpus_notes(corpus.report)
    assert re.match(r"25\.[23]% of the documents do not come back", note)
    assert corpus_notes(as_given.report) == []
    # What reads alike now is a copy.
    few = [row["text"].lower() for row in rows[:40]]
    path.write_text("\n".join(json.dumps({"text": text}) for text in [*few, *map(str.upper, few)]))
    assert (
        open_corpus(settings, count_words, read_back=read_back).report["dropped"]["duplicate"] == 40
    )
