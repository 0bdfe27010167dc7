"""How a generation's model comes about: its training set, and the fit on it.

    mix(member, generation)               human text and kept text up to the token budgets
      mixture.mix(...)
    fit(member, generation)               the base model, or the model before, learns it
      LanguageModel.fit(...)                by imitation
      LanguageModel.prefer(...)             and by preference, where the recipe says so

A population reaches other members at these two places alone, by the member's `relatives`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textmad import mixture, store
from textmad.loop.crawl import treat_as_human, with_label
from textmad.loop.judged_text import judged_text
from textmad.loop.member import Member
from textmad.loop.stages import Stage
from textmad.models.protocol import FitResult, SupportsCheckpoints, preferring
from textmad.recipe import PreferenceSettings
from textmad.seeds import torch_seed
from textmad.text import documents


def mix(member: Member, generation: int) -> None:
    """Make the training set of human text and of what earlier generations have kept."""
    inputs: dict[str, Any] = {
        "mix": member.recipe.mix.model_dump(),
        "corpus": member.stages.digest("corpus"),
    }
    if generation == 0:  # human text only: how later generations mix makes no difference
        inputs["mix"] = {"human_tokens": mixture.training_tokens(member.recipe.mix, 0)}
    learns = bool(member.recipe.mix.model_tokens) and generation > 0
    if member.relatives is None:
        learned_from = range(generation) if learns else ()
        inputs["curate"] = [member.stages.digest("curate", earlier) for earlier in learned_from]
    else:
        inputs["parents"] = member.relatives.inputs_of_mix(generation) if learns else []
    if member.recipe.crawls(generation):
        inputs["crawl"] = [member.stages.digest("crawl", g) for g in range(1, generation + 1)]

    def compute() -> mixture.Mixture:
        is_crawled = member.recipe.crawls(generation)
        kept = [documents.empty()] * generation
        for g in _learned_generations(member, generation):
            texts = member.run.kept(g)
            kept[g] = with_label(texts, member.run.crawl(g + 1)) if is_crawled else texts
        crawled = None
        if is_crawled:
            crawled = treat_as_human(member.recipe.mix, generation, member.run.crawl(generation))
        sources = None
        if member.relatives is not None:
            sources = member.relatives.sources(generation) if learns else []
        return mixture.mix(
            member.recipe.mix,
            generation,
            member.run.human,
            kept,
            member.recipe.seed,
            crawled,
            sources,
        )

    def write(mixed: mixture.Mixture, folder: Path) -> None:
        documents.write_parquet(mixed.documents, folder / "training.parquet")
        store.write_json(mixed.counts(), folder / "mix.json")

    member.stages.complete(Stage("mix", generation, inputs, compute, write, main_only=True))


def fit(member: Member, generation: int) -> None:
    """Train the base model, or the previous generation's model, on the training set."""
    train, preference = member.recipe.train, _preference(member, generation)
    imitates = preference is None or not preference.instead_of_imitation
    if member.relatives is not None:
        imitates = imitates and member.relatives.learns(generation)
    previous = generation - 1 if _continues(member, generation) else None
    inputs = {
        "model": member.recipe.model.model_dump(exclude={"start_from"}),  # see `previous`
        "train": train.model_dump(exclude={"preference"}),
        "mix": member.stages.digest("mix", generation) if imitates else None,
        "previous": None if previous is None else member.stages.digest("model", previous),
    }
    if member.relatives is not None:
        inputs |= member.relatives.inputs_of_fit(generation)
    if preference is not None:
        inputs["preference"] = preference.model_dump()
        inputs["judged"] = member.stages.digest("curate", generation - 1)

    def compute(checkpoints: store.Checkpoints) -> tuple[FitResult, dict[str, Any]]:
        if member.relatives is not None:
            start = member.relatives.starting_model(generation)
        else:
            start = member.base if previous is None else member.model(previous)
        fitted = FitResult(start, [])
        kept = {"checkpoints": checkpoints} if isinstance(start, SupportsCheckpoints) else {}
        if imitates:
            fitted = start.fit(
                member.run.training(generation),
                train,
                seed=torch_seed(member.recipe.seed, "fit", generation),
                advance=member.progress.advance,
                **kept,
            )
        report: dict[str, Any] = {"curve": fitted.curve}
        if preference is not None:
            judged = judged_text(member.recipe, generation, member.run.candidates(generation - 1))
            preferred = preferring(fitted.model).prefer(
                judged.documents,
                train,
                seed=torch_seed(member.recipe.seed, "preference", generation),
                advance=member.progress.advance,
            )
            report["preference"] = {**judged.counts, "curve": preferred.curve}
            fitted = FitResult(preferred.model, fitted.curve)
        return fitted, report

    def write(result: tuple[FitResult, dict[str, Any]], folder: Path) -> None:
        fitted, report = result
        fitted.model.save(folder)
        store.write_json(report, folder / "training.json")

    num_tokens = mixture.training_tokens(member.recipe.mix, generation) if imitates else 0
    total = round(num_tokens * train.epochs)
    if preference is not None:
        judged_tokens = mixture.model_tokens_drawn(member.recipe.mix, member.recipe.sample)
        total += round(judged_tokens * preference.epochs)
    member.stages.complete(
        Stage("model", generation, inputs, compute, write, total=total, resumes=True)
    )


def _learned_generations(member: Member, generation: int) -> range:
    """The generations whose kept text this model's mixture takes; in a population none."""
    if member.relatives is not None or not member.recipe.mix.model_tokens:
        return range(0)
    first = generation - 1 if member.recipe.mix.model == "latest" else 0
    return range(max(first, 0), generation)


def _continues(member: Member, generation: int) -> bool:
    return member.recipe.model.start_from == "previous" and generation > 0


def _preference(member: Member, generation: int) -> PreferenceSettings | None:
    """How a generation learns by preference: the first has no judged text to learn from."""
    return member.recipe.train.preference if generation > 0 else None
