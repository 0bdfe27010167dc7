"""Filters in turn: what is written about each candidate, and what is refused."""

import random
import re
import sys

import numpy as np
import pytest

from textmad.curation import Context, Verdicts, apply_filters
from textmad.errors import CurationError
from textmad.text.documents import SCHEMA, as_table, documents


def candidates(*texts, **columns):
    ids = [f"g3-{index}" for index in range(len(texts))]
    return documents({"text": list(texts), "id": ids, **columns})


def context_for(place=0, name="", generation=3):
    nothing = documents({"text": []})
    return Context(
        generation=generation,
        rng=np.random.default_rng(place),
        human=nothing,
        earlier=lambda generation: nothing,
        token_nll=lambda texts: [],
        base_token_nll=lambda texts: [],
        encode=lambda texts: [],
        vocabulary_size=1,
    )


def longer_than(limit, **extra):
    """A filter on the number of characters."""

    def judge(documents, context):
        score = np.array([len(text) for text in documents["text"]], dtype=float)
        return Verdicts(score > limit, score, f"at most {limit} characters", **extra)

    return judge


def returning(**fields):
    def judge(documents, context):
        n = len(documents)
        given = {"keep": np.ones(n, dtype=bool), "score": np.zeros(n), **fields}
        return Verdicts(**given)

    return judge


def refusal(judge, *texts):
    with pytest.raises(CurationError) as caught:
        apply_filters(candidates(*texts or ("one two", "three")), [("mine", judge)], context_for)
    return caught.value


def test_every_candidate_stays_in_its_place_with_the_filter_that_decided():
    filters = [("first", longer_than(1)), ("second", longer_than(3))]
    result = apply_filters(candidates("a", "bbbbb", "cc", "dddd"), filters, context_for)
    assert result["text"][:] == ["a", "bbbbb", "cc", "dddd"]
    assert result["kept"][:] == [False, True, False, True]
    assert result["filter"][:] == ["first", "", "second", ""]
    assert result["score"][:] == [1.0, 5.0, 2.0, 4.0]
    assert result["reason"][:] == ["at most 1 characters", "", "at most 3 characters", ""]


def test_a_filter_sees_only_what_the_earlier_ones_kept():
    seen = []

    def watching(documents, context):
        seen.extend(documents["text"][:])
        return returning()(documents, context)

    apply_filters(
        candidates("a", "bbbbb", "cc"), [("f", longer_than(1)), ("g", watching)], context_for
    )
    assert seen == ["bbbbb", "cc"]


def test_each_filter_gets_the_context_of_its_place_and_name():
    asked = []

    def noting(place, name):
        asked.append((place, name))
        return context_for(place, name)

    apply_filters(candidates("a"), [("f", returning()), ("g", returning())], noting)
    assert asked == [(0, "f"), (1, "g")]


def test_without_filters_everything_is_kept_and_nothing_scored():
    result = apply_filters(candidates("a", "b"), [], context_for)
    assert result["kept"][:] == [True, True]
    assert result["score"][:] == [None, None]


def test_the_columns_of_the_result_have_the_same_types_with_and_without_candidates():
    filters = [("f", longer_than(1)), ("g", longer_than(2))]
    full = as_table(apply_filters(candidates("aaaa"), filters, context_for)).schema
    none = as_table(apply_filters(candidates(), filters, context_for)).schema
    assert full == none
    assert full.names == [*SCHEMA.names, "kept", "score", "filter", "reason"]


def test_a_filters_columns_are_null_for_documents_it_did_not_see():
    def counting(documents, context):
        return returning(columns={"ups": np.array([7, 8])})(documents, context)

    filters = [("f", longer_than(1)), ("g", counting)]
    assert apply_filters(candidates("a", "bb", "cc"), filters, context_for)["ups"][:] == [
        None,
        7,
        8,
    ]


def test_a_column_given_twice_keeps_both_and_later_filters_see_it():
    filters = [
        ("f", longer_than(1, columns={"ups": np.array([1, 2, 3])})),
        ("g", longer_than(2, columns={"ups": np.array([20, 30])})),
    ]
    result = apply_filters(candidates("a", "bb", "ccc"), filters, context_for)
    assert result["ups"][:] == [1, 2, 3]
    assert result["ups_2"][:] == [None, 20, 30]


def test_every_filters_score_is_kept_where_it_is_asked_for():
    filters = [("f", longer_than(1)), ("g", longer_than(2)), ("f", longer_than(3))]
    given = candidates("a", "bb", "ccc", "dddd")
    result = apply_filters(given, filters, context_for, every_score=True)
    assert result["score of f"][:] == [1, 2, 3, 4]
    assert result["score of g"][:] == [None, 2, 3, 4]
    assert result["score of f_3"][:] == [None, None, 3, 4]


def test_votes_become_the_documents_own_and_the_last_vote_counts():
    filters = [
        ("f", longer_than(1, columns={"votes": np.array([1, 2, 3])})),
        ("g", returning(columns={"votes": np.array([-5, 9])})),
    ]
    result = apply_filters(candidates("a", "bb", "ccc", votes=[0, 0, 0]), filters, context_for)
    assert result["votes"][:] == [1.0, -5.0, 9.0]
    assert as_table(result).schema.names[: len(SCHEMA.names)] == SCHEMA.names


def test_candidates_can_be_judged_again():
    once = apply_filters(candidates("a", "bb"), [("f", longer_than(1))], context_for)
    twice = apply_filters(once, [("g", longer_than(0))], context_for)
    assert twice["kept"][:] == [True, True]
    assert twice.column_names.count("kept") == 1


@pytest.mark.parametrize("reason", ["bad", ["", "too b", "too c"]], ids=["for all", "one each"])
def test_verdicts_on_sorted_documents_are_put_back_in_the_candidates_order(reason):
    given = np.array(["c", "a", "b"])
    order = np.argsort(given)
    found = Verdicts(  # on a, b, c
        np.array([True, False, False]), np.array([1.0, 2.0, 3.0]), reason, {"own": given[order]}
    )
    back = found.take(np.argsort(order))
    assert back.keep.tolist() == [False, True, False]
    assert back.score.tolist() == [3.0, 1.0, 2.0]
    assert back.reason == ("bad" if reason == "bad" else ["too c", "", "too b"])
    assert back.columns["own"].tolist() == given.tolist()


def test_a_filter_cannot_change_the_candidates():
    def spoiling(documents, context):
        documents.set_format("numpy")
        documents._data = documents._data.slice(0, 1)
        return Verdicts([True, True], [0.0, 0.0])

    given = candidates("a", "b")
    assert apply_filters(given, [("f", spoiling)], context_for)["text"][:] == ["a", "b"]
    assert given["text"][:] == ["a", "b"]


def test_an_error_names_the_filter_the_generation_and_the_document_and_keeps_its_cause():
    def failing(documents, context):
        for text in documents["text"]:
            if "bad" in text:
                raise KeyError("boo")
        return returning()(documents, context)

    error = refusal(failing, "one", "two", "a bad one", "four")
    line = failing.__code__.co_firstlineno + 3
    assert str(error) == (
        f"filter mine, generation 3: raised KeyError: 'boo' ({__file__}, line {line}, in failing); "
        'so it does on document g3-2 ("a bad one") alone'
    )
    assert isinstance(error.__cause__, KeyError)


def test_an_error_that_no_document_causes_alone_blames_none():
    def failing(documents, context):
        if len(documents) > 1:
            raise RuntimeError("too many")
        return returning()(documents, context)

    message = str(refusal(failing))
    assert message.startswith("filter mine, generation 3: raised RuntimeError: too many (")
    assert message.endswith(", in failing)")


def test_a_filter_that_exits_ends_in_an_error_and_not_the_program():
    def leaving(documents, context):
        sys.exit(0)

    message = str(refusal(leaving))
    assert message.startswith("filter mine, generation 3: raised SystemExit: 0 (")


def test_a_filter_that_keeps_nothing_is_an_error_unless_there_was_nothing():
    assert str(refusal(longer_than(99))) == (
        "filter mine, generation 3: kept none of 2 candidates, so there is nothing to learn from; "
        "loosen its settings or take it out of the recipe"
    )
    assert len(apply_filters(candidates(), [("f", longer_than(99))], context_for)) == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"keep": [True]}, "keep has 1 values for 2 candidates, expected 1 each"),
        (
            {"keep": np.ones((2, 1), dtype=bool)},
            "keep has an array of shape (2, 1) for 2 candidates, expected 1 each",
        ),
        ({"keep": [1, 0]}, "keep is int64, expected True or False for each candidate"),
        ({"score": [1.0, 2.0, 3.0]}, "score has 3 values for 2 candidates, expected 1 each"),
        ({"score": ["a", "b"]}, "score is <U1, expected a number for each candidate"),
        (
            {"score": [0.0, float("nan")]},
            'the score of document g3-1 ("three") is nan, expected a finite number',
        ),
        (
            {"score": [float("inf"), 0.0]},
            'the score of document g3-0 ("one two") is inf, expected a finite number',
        ),
        (
            {"reason": ["short"]},
            "reason has 1 values for 2 candidates, expected one text for all or a text each",
        ),
        (
            {"columns": {"ups": np.array([1])}},
            "column ups has 1 values for 2 candidates, expected 1 each",
        ),
        (
            {"columns": {"text": np.array(["x", "y"])}},
            "column text is textmad's own; choose another name",
        ),
        ({"columns": None}, "columns is NoneType, expected arrays by the column's name"),
        ({"columns": {3: [1, 2]}}, "column 3: expected a name of characters"),
        ({"columns": {"\ud800": [1, 2]}}, "column '\\ud800': expected a name of characters"),
        (
            {"reason": None, "keep": [True, False]},
            "reason: None: expected text, one for all candidates or one each",
        ),
        (
            {"reason": ["a", "\udfff"]},
            "reason: '\\udfff': expected text, one for all candidates or one each",
        ),
        (
            {"columns": {"votes": np.array(["many", "few"])}},
            "votes is <U4, expected a number for each candidate",
        ),
    ],
)
def test_verdicts_that_break_the_contract_are_errors_with_the_reason(fields, message):
    error = refusal(returning(**fields))
    assert str(error) == f"filter mine, generation 3: {message}"


def test_something_other_than_verdicts_is_an_error():
    assert str(refusal(lambda documents, context: [True, False])) == (
        "filter mine, generation 3: returned list, expected textmad.Verdicts"
    )


def test_a_column_that_parquet_cannot_hold_is_an_error():
    judge = returning(columns={"odd": np.array([object(), 1], dtype=object)})
    assert re.match("filter mine, generation 3: column odd cannot be stored", str(refusal(judge)))
    halves = returning(columns={"odd": np.array(["\ud800", "x"])})
    assert re.match("filter mine, generation 3: column odd cannot be stored", str(refusal(halves)))


def test_verdicts_of_ragged_lists_are_an_error():
    assert "keep cannot be made an array (" in str(refusal(returning(keep=[[True], [True, False]])))


def test_columns_of_two_filters_never_share_a_name():
    columns = {"a": np.arange(2), "a_2": np.arange(2)}
    filters = [("f", returning(columns=columns)), ("g", returning(columns=columns))]
    table = as_table(apply_filters(candidates("one two", "three"), filters, context_for))
    assert {"a", "a_2", "a_2_2"} < set(table.column_names)
    assert len(set(table.column_names)) == len(table.column_names)


VALUES = [
    *(None, True, 0, -1, 1.5, float("nan"), float("inf"), 10**400, 1j, "", "x", "\ud800", b"x"),
    *(
        [],
        [True],
        [True, False],
        [True, None],
        [1, 2],
        [0.0, 1.0],
        ["a", "b"],
        ["a", None],
        {},
        {3},
    ),
    *(np.ones(2), np.ones(2, bool), np.ones((2, 2)), np.array([None, 1], object), object()),
    *(np.array(["x", "\ud800"]), np.array([1, 10**30], object), [[1], [1, 2]], [10**30, 1]),
    *(np.array(["2020", "2021"], "datetime64[Y]"), np.zeros(2, [("a", int)]), range(2), "ab"),
]


def test_500_random_verdicts_are_taken_or_an_error_by_textmads_own_error():
    rng, counts = random.Random(0), {"taken": 0, "rejected": 0}
    for _ in range(500):
        fields = {
            name: rng.choice(VALUES) for name in ("keep", "score", "reason") if rng.random() < 0.4
        }
        if rng.random() < 0.6:
            titles = rng.sample([*VALUES[:13], "a", "b", "votes", "text", "kept"], 2)
            fields["columns"] = {title: rng.choice(VALUES) for title in titles}
        filters = [("f", returning(**fields)), ("g", returning())]
        try:
            apply_filters(candidates("one two", "three"), filters, context_for)
            counts["taken"] += 1
        except CurationError:
            counts["rejected"] += 1
    assert min(counts.values()) > 20
