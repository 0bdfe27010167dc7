"""Scorers: values of texts that a crowd votes by. Higher is better.

Your own scorer is a plain function from a list of texts to a list of numbers, as TRL's
reward functions are; the built-in ones may also ask the run's base model. Some are made from a
part in brackets: `residual(fluency)`, `words(tea, milk)`, `length(10)`,
`learned_votes(models/votes)`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from textmad.curation import learned_votes
from textmad.curation.protocol import Context, document, first_failing
from textmad.curation.vote_targets import length_regressed_out
from textmad.errors import CurationError, RecipeError, RunError, raised
from textmad.recipe.components import component_name, import_name
from textmad.store import file_digest, source_digest
from textmad.text.passages import Passages
from textmad.text.words import folded_pieces, length_in_words

if TYPE_CHECKING:
    from datasets import Dataset

Scorer = Callable[[list[str]], Sequence[float]]
ScorerWithContext = Callable[[list[str], Context], Sequence[float]]

# Mild insults and coarse words of English posts, nothing worse. A list knows no meaning: quotes,
# jokes and "not stupid" count, and what is hurtful in polite words does not.
COARSE = frozenset(
    {
        *("annoying", "crap", "crappy", "creep", "damn", "disgusting", "dumb", "fool", "fools"),
        *("garbage", "hate", "hates", "hell", "idiot", "idiotic", "idiots", "jerk", "jerks"),
        *("lame", "liar", "liars", "loser", "losers", "moron", "morons", "pathetic", "sick"),
        *("ridiculous", "stupid", "suck", "sucks", "terrible", "trash", "ugly", "useless"),
        *("worst", "worthless"),
    }
)


def fluency(texts: list[str], context: Context) -> list[float]:
    """Mean log-likelihood of a text's tokens under the base model, nats per token, below 0.

    A candidate's prompt is context and is not scored; nor is the end token of one that was cut.
    """
    passages = context.scored or Passages.whole(texts)
    nll = context.base_token_nll(texts, *passages.prompt_arguments())
    return [-float(np.mean(row)) for row in passages.without_unwritten_ends(nll)]


def surprise(texts: list[str], context: Context) -> list[float]:
    """Mean loss of a text's tokens under the base model, nats per token: fluency reversed."""
    return [-value for value in fluency(texts, context)]


def variety(texts: list[str], context: Context) -> list[float]:
    """Expected share of distinct words among 10 words drawn from the text, in [0, 1].

    HD-D (McCarthy and Jarvis, "MTLD, vocd-D, and HD-D", Behavior Research Methods 42, 2010),
    which does not fall with length as the plain share of distinct words does; with a sample of
    10 words instead of 42, as posts are short. A text of fewer words is its own sample, and one
    without words scores 0.
    """
    return [hdd(folded_pieces(text), 10) for text in texts]


def hdd(words: Sequence[str], sample: int) -> float:
    """Expected share of distinct words among `sample` of them, drawn without replacement.

    >>> round(hdd(["tea", "tea", "or", "milk"], 2), 4)  # 1/6 of the pairs is tea, tea
    0.9167
    """
    total, sample = len(words), min(sample, len(words))
    ways = comb(total, sample)
    # A word is missed by the samples drawn from the others alone.
    missed = sum(comb(total - count, sample) / ways for count in Counter(words).values())
    return (len(set(words)) - missed) / sample if sample else 0.0


def toxicity(texts: list[str], context: Context) -> list[float]:
    """Share of the words that are in `COARSE`, in [0, 1]: more is better, so weigh it negatively.

    A short list of mild English markers: a stand-in for outrage that is voted up or down, no
    judge of what may be said. `words(...)` does the same with your own list.
    """
    return [listed_share(text, COARSE) for text in texts]


def listed_share(text: str, words: frozenset[str]) -> float:
    """The share of a text's words that are among `words`, 0 where there are none.

    >>> listed_share("Don't be stupid, you fool!", COARSE)
    0.4
    """
    own_words = re.findall(r"\w+(?:['’]\w+)*", text.casefold())
    return sum(word in words for word in own_words) / max(len(own_words), 1)


BUILT_IN: dict[str, Callable[[list[str], Context], list[float]]] = {
    "fluency": fluency,
    "learned_votes": learned_votes.learned_votes,
    "surprise": surprise,
    "toxicity": toxicity,
    "variety": variety,
}
_MADE_FROM = re.compile(r"(residual|words|length|learned_votes)\((.+)\)")


def resolve(scorer: str | Scorer) -> ScorerWithContext:
    """Return the function that `scorer` names, or is.

    Raises:
        ValueError: no such built-in, module, function or file.
    """
    if not isinstance(scorer, str):
        return _from_user(scorer, scorer)
    if scorer in BUILT_IN:
        return BUILT_IN[scorer]
    made = _MADE_FROM.fullmatch(scorer)
    if made and made[1] == "residual":
        inner = resolve(made[2])
        return lambda texts, context: length_regressed_out(
            check_values(made[2], inner(texts, context), len(texts)), texts
        ).tolist()
    if made and made[1] == "learned_votes":
        return _from_folder(scorer, made[2])
    if made and made[1] == "length":
        preferred = _preferred_length(made[2])
        return lambda texts, context: [-abs(length_in_words(text) - preferred) for text in texts]
    if made:
        listed = _listed_words(made[2])
        return lambda texts, context: [listed_share(text, listed) for text in texts]
    if ":" not in scorer:
        close = difflib.get_close_matches(scorer, BUILT_IN, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(
            f"scorer: {scorer}: unknown scorer; built in are "
            f"{', '.join(sorted(BUILT_IN))}, residual(SCORER), words(LIST), length(WORDS) and "
            f"learned_votes(FOLDER); your own is module:name{hint}"
        )
    try:
        return _from_user(scorer, import_name(scorer))
    except RecipeError as error:
        raise ValueError(f"scorer: {error}") from None


def own_sources(scorer: str | Scorer) -> dict[str, str]:
    """Return digests of the user's files behind a scorer: source, list of words, weights."""
    if not isinstance(scorer, str):
        return {component_name(scorer): source_digest(scorer)}
    made = _MADE_FROM.fullmatch(scorer)
    if made and made[1] == "residual":
        return own_sources(made[2])
    if made and made[1] == "learned_votes":  # this file has the digest of the weights in it
        return {scorer: file_digest(Path(made[2], learned_votes.FACTS))}
    if made and made[1] == "length":
        return {}
    if made:
        return {} if _is_list(made[2]) else {scorer: file_digest(Path(made[2]))}
    return {} if scorer in BUILT_IN else {scorer: source_digest(import_name(scorer))}


def score_candidates(
    scorer: str | Scorer, candidates: Dataset, context: Context
) -> npt.NDArray[np.float64]:
    """Return the scorer's value for each candidate, `(documents,)`, all finite.

    Raises:
        CurationError: the scorer raised, or gave something other than one finite number a text.
    """
    texts: list[str] = candidates["text"][:]
    name = scorer_name(scorer)
    function, passages = resolve(scorer), Passages.of(candidates)

    def values_of(start: int, stop: int) -> Sequence[float]:
        some = passages.take(range(start, stop))
        return function(list(some.texts), replace(context, scored=some))

    try:
        values = values_of(0, len(texts))
    except (CurationError, RunError):
        raise
    except (Exception, SystemExit) as error:
        index = first_failing(values_of, len(texts), type(error))
        blame = "" if index is None else f"; so it does on {document(candidates, index)} alone"
        raise CurationError(f"scorer {name} raised {raised(error)}{blame}") from error
    numbers = check_values(name, values, len(texts))
    for index, value in enumerate(numbers):
        if not isinstance(value, int | float | np.number) or not np.isfinite(value):
            raise CurationError(
                f"scorer {name} gave {value!r} for {document(candidates, index)}, "
                "expected a finite number"
            )
    return np.array(numbers, dtype=np.float64)


def scorer_name(scorer: str | Scorer) -> str:
    """Return the scorer's name in recipes and messages."""
    return scorer if isinstance(scorer, str) else component_name(scorer)


def check_values(name: str, values: object, length: int) -> list[float]:
    """Return a scorer's values as a list, one for each text.

    Raises:
        CurationError: they are no list, or another number of values.
    """
    if not isinstance(values, Iterable):
        raise CurationError(
            f"scorer {name} gave {type(values).__name__}, expected a list of {length} numbers"
        )
    values = list(values)
    if len(values) != length:
        raise CurationError(
            f"scorer {name} gave {len(values)} values for {length} texts, expected 1 each"
        )
    return values


def _from_user(scorer: str | Scorer, function: object) -> ScorerWithContext:
    if not callable(function):
        raise ValueError(f"scorer: {scorer}: is a {type(function).__name__}, expected a function")
    return lambda texts, context: function(texts)


def _from_folder(scorer: str, folder: str) -> ScorerWithContext:
    try:
        model = learned_votes.load(folder)
    except CurationError as error:
        raise ValueError(f"scorer: {error}") from None

    def judge(texts: list[str], context: Context) -> list[float]:
        context.record(scorer, model.report)
        encoder = context.open_encoder(model.encoder["name"]) if model.encoder else None
        return model.score(texts, encoder)

    return judge


def _preferred_length(words: str) -> float:
    """Return the number of words in the brackets of `length(...)`."""
    try:
        preferred = float(words)
    except ValueError:
        preferred = math.nan
    if not 1 <= preferred < math.inf:
        raise ValueError(
            f"scorer: length({words}): expected a number of words of at least 1, as in length(10)"
        )
    return preferred


def _is_list(listed: str) -> bool:
    """Return whether the part in brackets of `words(...)` is the words, and not a file of them."""
    return "," in listed


def _listed_words(listed: str) -> frozenset[str]:
    """Return words: those of a list with commas, or of the file of that name."""
    if _is_list(listed):
        words = frozenset(word.strip().casefold() for word in listed.split(",")) - {""}
        if not words:
            raise ValueError(f"scorer: words({listed}): holds no words: expected some with commas")
        return words
    return _words_of_file(listed)


def _words_of_file(path: str) -> frozenset[str]:
    """Return the words of a file, one a line; the rest of a line after # is a comment."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ValueError(f"scorer: words({path}): cannot be read: {why}") from None
    words = frozenset(line.split("#")[0].strip().casefold() for line in lines) - {""}
    if not words:
        raise ValueError(f"scorer: words({path}): holds no words: expected one a line")
    return words
