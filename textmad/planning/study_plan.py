"""What a study will take: a plan for each arm, and what the arms share."""

from __future__ import annotations

from dataclasses import dataclass, replace

from textmad.errors import TextmadError
from textmad.loop.feasibility import check_kept_text
from textmad.planning.make import Opened, open_for, plan_of
from textmad.planning.plan import Plan, between, lack_of_space
from textmad.progress import about
from textmad.store import stage_key
from textmad.studies import Study


@dataclass(frozen=True)
class StudyPlan:
    """What a study's runs will take: a plan for each arm, and what the arms share."""

    study: Study
    plans: dict[str, Plan]  # by the arm's name
    shared_seconds: float  # of a seed's runs: generation 0's training, the base model's samples

    @property
    def seconds(self) -> float:
        """Estimated time of all runs, one after another."""
        each_seed = sum(plan.seconds for plan in self.plans.values()) - self.shared_seconds
        return each_seed * len(self.study.seeds)

    @property
    def range_seconds(self) -> tuple[float, float]:
        """Bounds of the estimated time, from how much the probes varied."""
        parts = [plan.range_seconds for plan in self.plans.values()]
        total = sum(plan.seconds for plan in self.plans.values())
        low, high = (sum(bounds) / total for bounds in zip(*parts, strict=True))
        return self.seconds * low, self.seconds * high

    @property
    def disk_bytes(self) -> int:
        """Estimated size of all runs on disk, if nothing is shared."""
        return sum(plan.disk_bytes for plan in self.plans.values()) * len(self.study.seeds)

    @property
    def tokens(self) -> int:
        """Tokens that all runs train on, sample and score, if nothing is shared."""
        each_seed = sum(
            plan.models * (sum(plan.trained_tokens) + plan.generations * plan.preferred_tokens)
            + plan.base_tokens
            + plan.models * plan.drawn_tokens * (plan.generations + 1)
            + plan.scored_tokens
            for plan in self.plans.values()
        )
        return each_seed * len(self.study.seeds)

    def with_seeds(self, num_seeds: int) -> StudyPlan:
        """Return the plan of the same study under another number of seeds."""
        return replace(self, study=replace(self.study, seeds=tuple(range(num_seeds))))

    def to_text(self) -> str:
        """Return a line for each arm, and the sums."""
        num_runs, num_seeds = len(self.study.runs()), len(self.study.seeds)
        stages = sum(plan.stages for plan in self.plans.values()) * num_seeds
        width = max(map(len, self.plans))
        shared = self.shared_seconds * num_seeds
        saved = f"; shared stages save {about(shared)} or more of that" if shared else ""
        return "\n".join(
            [
                *(
                    f"{name:<{width}}  {between(*plan.range_seconds)} a run{plan.shortages()}"
                    for name, plan in self.plans.items()
                ),
                f"runs   {_counted(len(self.plans), 'arm')} x {_counted(num_seeds, 'seed')} = "
                f"{num_runs}, {stages} stages",
                f"disk   at most about {self.disk_bytes / 1e6:,.0f} MB"
                f"{lack_of_space(self.disk_bytes)}",
                f"time   {between(*self.range_seconds)} one after another on this machine{saved}",
                *self._searched(),
            ]
        )

    def _searched(self) -> list[str]:
        """Return what a search for a critical share may add."""
        search = self.study.search
        if search is None:
            return []
        more = search.settings.arms - len(search.settings.between)
        families = "" if len(search.families) == 1 else f" in each of {len(search.families)} kinds"
        return [
            f"more   up to {more} arms{families}, at shares chosen from the results of the first"
        ]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def make_study_plan(study: Study) -> StudyPlan:
    """Plan every arm of a study; arms with the same corpus and model share the probe.

    Raises:
        TextmadError: whatever would stop a run; the message begins with the arm.
    """
    opened: dict[str, Opened] = {}
    plans: dict[str, Plan] = {}
    shared: dict[str, list[float]] = {}
    for arm in study.arms:
        recipe = arm.recipe
        sample = recipe.sample.model_dump(exclude={"oversample", "min_tokens"})
        probed = [recipe.corpus, recipe.model, recipe.train]
        key = stage_key({"sample": sample, "groups": [group.model_dump() for group in probed]})
        try:
            check_kept_text(recipe)
            if key not in opened:
                opened[key] = open_for(recipe)
            plan = plans[arm.name] = plan_of(recipe, opened[key])
        except TextmadError as error:
            raise type(error)(f"{arm.name}: {error}") from error
        for what, num_tokens, speed in (
            ("trained", plan.trained_tokens[0], plan.speed.train),
            ("base", plan.base_tokens, plan.speed.sample),
        ):
            shared.setdefault(f"{what} {num_tokens} {key}", []).append(num_tokens / speed)
    return StudyPlan(study, plans, sum(sum(seconds[1:]) for seconds in shared.values()))
