"""What evaluators compute once a run comes back from a cache as it was, and never as another's."""

import math
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textmad import store
from textmad.evaluators import Measurement
from textmad.evaluators.length import Length
from textmad.loop.kept_values import KeptValues
from textmad.text.documents import documents
from textmad.text.passages import Passages

BASE = object()


def values(folder: Path, **inputs: Any) -> KeptValues:
    """As in a run that begins."""
    return KeptValues(store.Cache(folder), inputs, BASE)


@pytest.mark.parametrize(
    "value",
    [
        np.array([[1.5, -0.0], [math.nan, 3.0]]),
        np.arange(4, dtype=np.int64),
        [np.array([0.1], np.float32), np.zeros(0), np.array([1, 2])],
        [
            Measurement("loss", 0.1 + 0.2, split="human", n=3, low=0.1, high=math.inf),
            Measurement("loss", math.nan, note="too little", bin="x"),
        ],
    ],
    ids=["array", "counts", "arrays", "measurements"],
)
def test_a_value_comes_back_to_the_last_bit(tmp_path: Path, value: Any):
    values(tmp_path)["key"] = (BASE, value)
    base, found = values(tmp_path)["key"]
    assert base is BASE
    assert type(found) is type(value)
    if isinstance(value, list) and isinstance(value[0], Measurement):
        assert repr(found) == repr(value)  # NaN is not equal to itself
        return
    for one, other in zip(
        found if isinstance(found, list) else [found],
        value if isinstance(value, list) else [value],
        strict=True,
    ):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


def corpus(votes: int = 1) -> Any:
    return documents({"text": ["hello", "good day"], "votes": [3, votes]})


KEYS: list[Hashable] = [
    "x",
    1,
    1.0,
    True,
    None,
    ("x",),
    (("x",), "y"),
    ("x", ("y",)),
    ("x", "y"),
    ("xy",),
    Length(),
    Passages.whole(["x", "y"]),
    Passages.whole(["xy"]),
    Passages(("x", "y"), ("", ""), (True, False)),
    corpus(),
    corpus(votes=2),
]


def test_keys_that_differ_have_values_of_their_own(tmp_path: Path):
    for number, key in enumerate(KEYS):  # in runs of their own: to Python 1, 1.0 and True are one
        values(tmp_path)[key, "key"] = (BASE, np.array([number]))
    same = [*KEYS[:-2], corpus(), corpus(votes=2)]  # other objects, of equal documents
    found = [values(tmp_path)[key, "key"][1].item() for key in same]
    assert found == list(range(len(KEYS)))


def test_what_depends_on_other_inputs_is_not_found(tmp_path: Path):
    values(tmp_path, base="one")["key"] = (BASE, np.zeros(1))
    assert "key" in values(tmp_path, base="one")
    assert "key" not in values(tmp_path, base="other")


class Own:
    """An evaluator of the user's own, which nothing but its object tells from others."""


@pytest.mark.parametrize(
    ("key", "value"),
    [(Own(), np.zeros(1)), ("key", None), ("key", []), ("key", [np.array([object()])])],
    ids=["key", "none", "empty", "objects"],
)
def test_what_cannot_be_written_down_stays_in_memory(tmp_path: Path, key: Hashable, value: Any):
    kept = values(tmp_path)
    kept[key] = (BASE, value)
    assert kept[key] == (BASE, value)
    assert key not in values(tmp_path)
    assert not list(tmp_path.iterdir())


def test_values_of_another_base_model_are_not_kept(tmp_path: Path):
    values(tmp_path)["key"] = (object(), np.zeros(1))
    assert "key" not in values(tmp_path)
