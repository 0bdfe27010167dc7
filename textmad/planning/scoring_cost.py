"""How many tokens the built-in evaluators and filters have a model score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textmad import mixture
from textmad.curation import Detector, Discriminator
from textmad.detection import Method
from textmad.evaluators import Detection, Embedding, Perplexity, RareTokens
from textmad.evaluators.held_out import HeldOutSize
from textmad.evaluators.population import SCORED_DOCUMENTS
from textmad.recipe import Recipe

# Passes over a text for its detection; cross-perplexity: one by each model, and one for the loss.
_PASSES: dict[Method, int] = {"curvature": 1, "cross_perplexity": 3, "trained": 0}


def held_out_sizes(recipe: Recipe) -> list[HeldOutSize]:
    """Return how much held-out text the evaluators ask for, each size once."""
    scoring = (e for e in recipe.evaluators() if isinstance(e, Perplexity | RareTokens))
    return list(dict.fromkeys(each.held_out_tokens for each in scoring))


def scored_tokens(
    recipe: Recipe,
    held_out_tokens: int,
    document_tokens: float,
    chosen: Mapping[HeldOutSize, int] | None = None,
) -> int:
    """Return how many tokens the built-in evaluators and filters score in a whole run.

    `chosen`: the tokens of each size that is a precision.
    """
    evaluators, chosen = recipe.evaluators(), chosen or {}

    def tokens_of(part: Perplexity | RareTokens) -> int:
        size = part.held_out_tokens
        return int(chosen.get(size, size))

    perplexity = [tokens_of(e) for e in evaluators if isinstance(e, Perplexity)]
    rare = [tokens_of(e) for e in evaluators if isinstance(e, RareTokens)]
    # Evaluators of the same size share the scores; the base model scores human text once a run.
    each = sum(min(tokens, held_out_tokens) for tokens in {*perplexity, *rare})
    once = 0
    compared = mixture.compared_tokens(recipe.mix, recipe.sample)
    references = 2 * mixture.base_tokens_drawn(recipe.mix, recipe.sample)  # human, base
    own_text = compared * (2 if recipe.curate else 1)  # sampled, and kept if it is less
    if perplexity:
        each += own_text
        once = min(perplexity[0], held_out_tokens) + references
    sampled = mixture.model_tokens_drawn(recipe.mix, recipe.sample, recipe.crawl)
    each += _read_by(recipe.filters(), sampled, document_tokens)
    if recipe.crawl is not None:
        crawled = mixture.crawl_budget(recipe.mix, recipe.crawl).total
        once += _read_by(recipe.crawl_filters(), crawled, document_tokens) * recipe.generations
    detections = [m for e in evaluators if isinstance(e, Detection) for m in e.methods]
    each += sum(_PASSES[m] for m in detections) * own_text
    # Under the base model alone human and base text is read once a run.
    once += _PASSES["curvature"] * detections.count("curvature") * (compared + references)
    by_both = _PASSES["cross_perplexity"] * detections.count("cross_perplexity")
    each += by_both * (compared + references)
    by_base = sum(isinstance(e, Embedding) and e.encoder is None for e in evaluators)
    each += by_base * own_text
    once += by_base * (compared + references)  # the references, and held-out text
    if recipe.population is not None:
        members = recipe.population.members
        # Every member scores text of every member.
        scored = min(compared, round(SCORED_DOCUMENTS * document_tokens))
        each = members * each + members**2 * scored
    return once + each * (recipe.generations + 1)


def _read_by(filters: Sequence[Any], tokens: int, document_tokens: float) -> int:
    """Return how many tokens of documents the filters score."""
    read = 0
    for judge in filters:
        if isinstance(judge, Detector):
            read += _PASSES[judge.method] * tokens
        scorer = getattr(judge, "scorer", None)
        if "fluency" in (scorer if isinstance(scorer, Mapping) else [scorer]):
            voted_on = tokens
            if isinstance(judge, Discriminator):
                voted_on = min(tokens, round((judge.budget + judge.check) * document_tokens))
            read += voted_on
    return read
