"""What crawl filters made of a crawl, by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from textmad.detection import auc
from textmad.evaluators import METRICS, CrawlFilterAccuracy
from textmad.testing import check_evaluator
from textmad.text.documents import documents

H, M = "human", "model"


def measured(crawled):
    found = CrawlFilterAccuracy()(SimpleNamespace(crawled=crawled))
    return {(m.metric, m.split, m.bin): m for m in found}


def table(**columns):
    return documents({"text": ["x"] * len(columns["kept"])} | columns)


CRAWLED = table(
    tokens=[10, 20, 30, 40, 50, 50],
    kept=[True, True, False, False, True, False],
    true_origin=[H, H, H, M, M, M],
    **{
        "score of first": [6.0, 5.0, 1.0, 2.0, 4.0, 3.0],  # rejects below 2
        "score of second": [0.1, 0.2, None, 0.9, 0.3, 0.8],  # rejects above 0.5
    },
)


def test_a_guards_auc_is_the_chance_that_human_text_stands_above_model_text():
    # Pairs human > model: 6 and 5 above all of 4, 3, 2; 1 above none.
    assert measured(CRAWLED)["guard_auc", "crawled", "first"].value == pytest.approx(6 / 9)
    assert auc(np.array([1.0]), np.array([1.0])) == 0.5


def test_a_guard_that_keeps_low_scores_is_turned_by_its_verdicts_and_not_by_the_truth():
    found = measured(CRAWLED)["guard_auc", "crawled", "second"]
    assert found.value == 1  # on what it saw, human text has the lowest scores, and it keeps those
    assert found.n == 5
    kept = [False, False, True, True]  # it keeps high scores, and those are the model's
    misled = table(kept=kept, true_origin=[H, H, M, M], **{"score of g": [1.0, 2.0, 3.0, 4.0]})
    assert measured(misled)["guard_auc", "crawled", "g"].value == 0


def test_a_guard_that_keeps_everything_is_taken_as_it_is():
    idle = table(kept=[True] * 2, true_origin=[H, M], **{"score of g": [1.0, 2.0]})
    assert measured(idle)["guard_auc", "crawled", "g"].value == 0


def test_model_text_is_counted_by_tokens_before_and_after_the_crawl_filters():
    found = measured(CRAWLED)
    assert found["model_share", "crawled", ""].value == 140 / 200
    assert found["model_share", "kept", ""].value == 50 / 80
    assert (found["model_share", "crawled", ""].n, found["model_share", "kept", ""].n) == (6, 3)


def test_errors_are_shares_of_the_documents_of_one_origin():
    found = measured(CRAWLED)
    assert found["false_rejections", "crawled", ""].value == 1 / 3
    assert found["misses", "crawled", ""].value == 1 / 3


def test_without_model_text_what_needs_it_is_nan_and_the_rest_is_there():
    human = table(kept=[True, False], true_origin=[H, H], tokens=[5, 5], **{"score of g": [1.0, 0]})
    found = measured(human)
    assert math.isnan(found["guard_auc", "crawled", "g"].value)
    assert math.isnan(found["misses", "crawled", ""].value)
    assert found["model_share", "crawled", ""].value == 0
    assert found["false_rejections", "crawled", ""].value == 0.5


def test_without_a_guard_the_shares_are_there():
    found = measured(table(kept=[True, True], true_origin=[H, M], tokens=[30, 10]))
    assert math.isnan(found["guard_auc", "crawled", ""].value)
    assert found["model_share", "kept", ""].value == 0.25


def test_where_nothing_is_crawled_every_value_is_nan_with_the_reason():
    found = measured(documents({"text": []}))
    wanted = {"guard_auc", "model_share", "false_rejections", "misses"}
    assert {metric for metric, _, _ in found} == wanted <= set(METRICS)
    assert all(math.isnan(m.value) for m in found.values())
    assert {m.note for m in found.values()} == {
        "no such documents: nothing was crawled, by no crawl filter or of one origin only"
    }


def test_the_evaluator_keeps_the_contract():
    check_evaluator(CrawlFilterAccuracy())
