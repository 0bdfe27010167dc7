"""What a study will take: a plan for each arm, and what the arms share."""

from __future__ import annotations

from dataclasses import dataclass

from textmad.errors import TextmadError
from textmad.loop.feasibility import check_kept_text
from textmad.planning.make import Opened, open_for, plan_of
from textmad.planning.plan import Plan
from textmad.store import stage_key
from textmad.studies import Study


@dataclass(frozen=True)
class StudyPlan:
    """What a study's runs will take: a plan for each arm, and what the arms share."""

    study: Study
    plans: dict[str, Plan]  # by the arm's name
    shared_seconds: float  # of a seed's runs together

    @property
    def seconds(self) -> float:
        """Estimated time of all runs, one after another."""
        each_seed = sum(plan.seconds for plan in self.plans.values()) - self.shared_seconds
        return each_seed * len(self.study.seeds)

    def to_text(self) -> str:
        """A line an arm, and the sums."""
        num_runs, num_seeds = len(self.study.runs()), len(self.study.seeds)
        stages = sum(plan.stages for plan in self.plans.values()) * num_seeds
        disk = sum(plan.disk_bytes for plan in self.plans.values()) * num_seeds
        width = max(map(len, self.plans))
        return "\n".join(
            [
                *(
                    f"{name:<{width}}  {plan.seconds / 60:5.1f} minutes a run{plan.shortages()}"
                    for name, plan in self.plans.items()
                ),
                f"runs   {len(self.plans)} arms x {num_seeds} seeds = {num_runs}, {stages} stages",
                f"disk   at most about {disk / 1e6:,.0f} MB",
                f"time   about {self.seconds / 60:.1f} minutes one after another on this machine; "
                f"sharing generation 0 saves {self.shared_seconds * num_seeds / 60:.1f} or more",
                *self._searched(),
            ]
        )

    def _searched(self) -> list[str]:
        """What the search for a threshold may come to beside that."""
        search = self.study.search
        if search is None:
            return []
        more = search.settings.arms - len(search.settings.between)
        families = "" if len(search.families) == 1 else f" in each of {len(search.families)} kinds"
        return [
            f"more   up to {more} arms{families}, placed between shares as the figures of these say"
        ]


def make_study_plan(study: Study) -> StudyPlan:
    """The same for every arm of a study; arms on the same corpus and model share the probe.

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
        seconds = plan.trained_tokens[0] / plan.speed.train
        shared.setdefault(f"{key} {plan.trained_tokens[0]}", []).append(seconds)
    return StudyPlan(study, plans, sum(sum(seconds[1:]) for seconds in shared.values()))
