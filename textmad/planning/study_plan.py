"""What a study will take: a plan for each arm, and what the arms share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from textmad.errors import TextmadError
from textmad.loop.feasibility import check_kept_text
from textmad.planning.make import Opened, open_for, plan_of
from textmad.planning.plan import Bounds, Plan, between, lack_of_space
from textmad.planning.work_time import Seconds
from textmad.progress import about
from textmad.store import stage_key
from textmad.studies import Study


@dataclass(frozen=True)
class StudyPlan:
    """What a study's runs will take: a plan for each arm, and what the arms share."""

    study: Study
    plans: dict[str, Plan]  # by the arm's name
    shared: Seconds  # of a seed's runs: generation 0's training, the base model's samples

    @property
    def seconds(self) -> Seconds:
        """Estimated time of all runs, one after another, by both clocks."""
        num_seeds = len(self.study.seeds)
        seconds = [plan.seconds for plan in self.plans.values()]
        return Seconds(
            now=(sum(each.now for each in seconds) - self.shared.now) * num_seeds,
            idle=(sum(each.idle for each in seconds) - self.shared.idle) * num_seeds,
        )

    @property
    def ranges(self) -> tuple[Bounds, Bounds]:
        """Bounds of the time now and on an idle machine, from how much the probes varied."""
        plans = self.plans.values()
        now = [(plan.seconds.now, plan.ranges[0]) for plan in plans]
        idle = [(plan.seconds.idle, plan.ranges[1]) for plan in plans]
        return _scaled(self.seconds.now, now), _scaled(self.seconds.idle, idle)

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
        now, idle = self.ranges
        saved = [
            f"; shared stages save {about(seconds * num_seeds)} or more of that" if seconds else ""
            for seconds in self.shared
        ]
        return "\n".join(
            [
                *(
                    f"{name:<{width}}  {between(*plan.ranges[1])} a run, idle{plan.shortages()}"
                    for name, plan in self.plans.items()
                ),
                f"runs   {_counted(len(self.plans), 'arm')} x {_counted(num_seeds, 'seed')} = "
                f"{num_runs}, {stages} stages",
                f"disk   at most about {self.disk_bytes / 1e6:,.0f} MB"
                f"{lack_of_space(self.disk_bytes)}",
                f"now    {between(*now)} one after another on this machine as it is{saved[0]}",
                f"idle   {between(*idle)} one after another on this machine without other work"
                f"{saved[1]}",
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


def _scaled(seconds: float, parts: Sequence[tuple[float, Bounds]]) -> Bounds:
    """Return bounds of a sum as wide as those of its parts are together."""
    total = sum(part for part, _ in parts)
    low, high = (sum(bounds) / total for bounds in zip(*(each for _, each in parts), strict=True))
    return seconds * low, seconds * high


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def make_study_plan(study: Study) -> StudyPlan:
    """Plan every arm of a study; arms with the same corpus and model share the probe.

    Raises:
        TextmadError: whatever would stop a run; the message begins with the arm.
    """
    opened: dict[str, Opened] = {}
    plans: dict[str, Plan] = {}
    shared: dict[str, list[Seconds]] = {}
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
        tokens, both = plan.trained_tokens[0], (plan.speed.now, plan.speed.idle)
        trained = Seconds(*(tokens / rates.train for rates in both))
        of_base = Seconds(*(plan.seconds_of_base(rates) for rates in both))
        shared.setdefault(f"trained {tokens} {key}", []).append(trained)
        shared.setdefault(f"base {plan.base_tokens} {key}", []).append(of_base)
    again = [seconds for same in shared.values() for seconds in same[1:]]
    saved = Seconds(sum(each.now for each in again), sum(each.idle for each in again))
    return StudyPlan(study, plans, saved)
