"""A generation of a population: diversity within and between members, and who models whom.

The union of all members' text has more words than one member's, and nearly every measure of
diversity depends on the amount of text. So unions of the size of a member are made, as many as
there are members: union r holds document d of member (r - d) mod K. Each document is in one member
and in one union, so both sides rest on the same documents, and where members write alike, a union
is like a member.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import product
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from textmad.evaluators import lexical
from textmad.evaluators.embedding import vendi_score
from textmad.evaluators.perplexity import corpus_loss, exponential
from textmad.evaluators.protocol import Measurement
from textmad.kinship import Descent, Pedigree, effective_founders
from textmad.text.passages import Passages
from textmad.text.words import Words, code_words, ngrams_up_to_4, take_words

Floats: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = npt.NDArray[np.int64]
Score: TypeAlias = Callable[[int, Passages], Sequence[Floats]]
"""Returns the nats of each target token of each passage under the model of a member."""
Embed: TypeAlias = Callable[[Passages], npt.ArrayLike]
"""Returns a vector for each passage, `(passages, dimensions)`."""

DOCUMENTS = 1000  # of a member that are compared; the Vendi score takes their number cubed
SCORED_DOCUMENTS = 50  # of a member: each is scored by every member


def measure(
    texts: Sequence[Passages],
    *,
    score: Score | None = None,
    embed: Embed | None = None,
    split: str = "drawn",
    documents: int = DOCUMENTS,
    scored_documents: int = SCORED_DOCUMENTS,
) -> list[Measurement]:
    """Measure the text of a generation's members, and the members on each other's text.

    Args:
        texts: of each member, in a random order. As many documents of each are compared as the
            member with the fewest has, and at most `documents`.
        score: of a member's model, which scores all texts before the next one is asked, so that one
            model has to be open at a time; None: cross-perplexity is NaN, with a note.
        embed: in one space for all members; None: the Vendi score is NaN, with a note.
        split: which text it is, `drawn` or `kept`.
        documents: at most so many of each member are compared.
        scored_documents: at most so many of each member are scored by every member.

    Returns:
        `population_distinct_1` to `_4` and `population_vendi` of a union (bin ""), the mean over
        members ("within") and each member ("member 0"); `between_distinct_1` to `_4` and
        `between_vendi`, the first by the second; `cross_perplexity` ("": of others' text, "own",
        and "0 on 1": of member 1's text under member 0) and `member_divergence`, the mean over
        pairs of nats per token that a text costs another member more than its own. That is the
        relative entropy (Kullback and Leibler 1951) where text is sampled at temperature 1.
    """
    num = min([documents, *map(len, texts)])
    compared = [passages.first(num) for passages in texts]
    measured = [
        *_distinct(compared),
        *_vendi(compared, embed),
        *_cross([passages.first(scored_documents) for passages in compared], score),
    ]
    return [replace(each, split=split) for each in measured]


def measure_lineage(rows: Iterable[Descent], generation: int) -> list[Measurement]:
    """Measure inbreeding, kinship and founders of a generation's members.

    Returns:
        `inbreeding`, the mean over members (bin "") and each member ("member 0"); `kinship`, the
        mean over pairs of different members and each pair ("0 and 1"); `effective_founders`.
    """
    pedigree = Pedigree.of(rows)
    members = pedigree.of_generation(generation)
    inbreeding = pedigree.inbreeding(members)
    kinship = pedigree.kinship(members, members)
    pairs = [(i, j) for i in range(len(members)) for j in range(i + 1, len(members))]
    measured = [
        *_mean_and_each(
            "inbreeding",
            {f"member {k}": f for (_, k), f in zip(members, inbreeding, strict=True)},
        ),
        *_mean_and_each(
            "kinship",
            {f"{members[i][1]} and {members[j][1]}": kinship[i, j] for i, j in pairs},
        ),
    ]
    founders = effective_founders(pedigree.contributions(members))
    return [*measured, Measurement("effective_founders", founders, n=len(members))]


def member_rows(num_members: int, num_documents: int) -> list[Rows]:
    """Return the rows of each member's documents, those of all members standing in one list."""
    return [np.arange(num_documents) + k * num_documents for k in range(num_members)]


def union_rows(num_members: int, num_documents: int) -> list[Rows]:
    """Return the rows of each union's documents, one of each member in turn.

    >>> [rows.tolist() for rows in union_rows(2, 3)]  # rows 0 to 2: member 0; 3 to 5: member 1
    [[0, 4, 2], [3, 1, 5]]
    """
    place = np.arange(num_documents)
    return [(r - place) % num_members * num_documents + place for r in range(num_members)]


def _distinct(texts: Sequence[Passages]) -> list[Measurement]:
    """Measure distinct-n on the words that the member or the union with the fewest has."""
    num = len(texts[0])
    words = code_words([text for passages in texts for text in passages.texts])
    lengths = np.bincount(words.documents, minlength=num * len(texts))
    members, unions = member_rows(len(texts), num), union_rows(len(texts), num)
    num_words = min(int(lengths[rows].sum()) for rows in (*members, *unions))

    def measure_rows(rows: Rows) -> list[float]:
        return _distinct_shares(take_words(words, rows, num_words))

    of_members, of_unions = (np.array([*map(measure_rows, each)]) for each in (members, unions))
    return [
        each
        for n in range(4)
        for each in _parts(f"distinct_{n + 1}", of_members[:, n], of_unions[:, n], num_words)
    ]


def _distinct_shares(words: Words) -> list[float]:
    return [lexical.distinct(grams.ids) for _, grams in ngrams_up_to_4(words)]


def _vendi(texts: Sequence[Passages], embed: Embed | None) -> list[Measurement]:
    num = len(texts[0])
    members, unions = member_rows(len(texts), num), union_rows(len(texts), num)
    if embed is None or not num:
        missing = np.full(len(texts), math.nan)
        return _parts("vendi", missing, missing, num, "no embedding" if num else "")
    points = np.concatenate([np.asarray(embed(each), dtype=np.float64) for each in texts])
    scores = [[vendi_score(points[rows]) for rows in each] for each in (members, unions)]
    return _parts("vendi", np.array(scores[0]), np.array(scores[1]), num)


def _parts(name: str, members: Floats, unions: Floats, n: int, note: str = "") -> list[Measurement]:
    """Return a measure of diversity of unions, within members, between them, and of each."""
    within, union = float(members.mean()), float(unions.mean())
    between = union / within if within else math.nan

    def value(metric: str, value: float, bin: str = "") -> Measurement:
        why = note or "too little text"
        return Measurement(metric, value, bin=bin, n=n, note=why if math.isnan(value) else "")

    return [
        value(f"population_{name}", union),
        value(f"population_{name}", within, "within"),
        *(value(f"population_{name}", float(v), f"member {k}") for k, v in enumerate(members)),
        value(f"between_{name}", between),
    ]


def _cross(texts: Sequence[Passages], score: Score | None) -> list[Measurement]:
    """Measure each member's text under each member's model."""
    num, place = len(texts), range(len(texts))
    nats, tokens = np.full((num, num), math.nan), np.zeros(num, np.int64)
    if score is not None and len(texts[0]):
        for reader, author in product(place, place):
            nll = texts[author].without_unwritten_ends(score(reader, texts[author]))
            nats[reader, author] = corpus_loss(nll)
            tokens[author] = sum(map(len, nll))
    total, own = int(tokens.sum()), float(np.diagonal(nats).mean())
    of_others = nats[~np.eye(num, dtype=bool)]
    others = float(of_others.mean()) if len(of_others) else math.nan
    note = "one member" if num < 2 else "infinite loss"
    if not total:
        note = "no scores" if score is None else "no documents"

    def value(metric: str, value: float, bin: str = "", n: int = total * (num - 1)) -> Measurement:
        return Measurement(metric, value, bin=bin, n=n, note=note if math.isnan(value) else "")

    def perplexity(loss: float, bin: str = "", n: int = total * (num - 1)) -> Measurement:
        value_of = math.nan if math.isnan(loss) else exponential(loss)
        return value("cross_perplexity", value_of, bin, n)

    return [
        perplexity(others),
        perplexity(own, "own", total),
        *(perplexity(nats[i, j], f"{i} on {j}", int(tokens[j])) for i, j in product(place, place)),
        value("member_divergence", others - own if math.isfinite(own) else math.nan),
    ]


def _mean_and_each(metric: str, each: dict[str, float]) -> list[Measurement]:
    mean = float(np.mean([*each.values()])) if each else math.nan
    return [
        Measurement(metric, mean, n=len(each), note="" if each else "one member"),
        *(Measurement(metric, value, bin=name, n=1) for name, value in each.items()),
    ]
