"""Numbers of populations: pedigrees from lineages, metrics by member, what inbreeding explains."""

import doctest
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from textmad.analysis.populations import inbreeding_effects, member_spreads, pedigree_of
from textmad.report.comparison import inbreeding as pages
from textmad.store import METRICS_SCHEMA

LINEAGE = ["generation", "member", "parent_generation", "parent_member", "by", "share"]
MATINGS = {"selfing": lambda m: [m], "siblings": lambda m: [0, 1], "apart": lambda m: []}


class Population:
    """Two members in four generations; distinct-2 falls from 0.8 (in each run shifted) by F."""

    def __init__(self, mating, seed, metrics=("distinct_2",), slope=-0.4, noise=0.02):
        self.parents_of, self.generations = MATINGS[mating], [0, 1, 2, 3]
        pedigree = pedigree_of(self.lineage())
        rng = np.random.default_rng([seed, *mating.encode()])
        shift = rng.normal()
        self.members = []
        for k in range(2):
            f = pedigree.inbreeding([(g, k) for g in self.generations])
            values = 0.8 + shift + slope * f + noise * rng.standard_normal(4)
            rows = [
                (g, "any", name, "drawn", "", value, 10, "", math.nan, math.nan)
                for name in metrics
                for g, value in zip(self.generations, values, strict=True)
            ]
            frame = pd.DataFrame(rows, columns=METRICS_SCHEMA.names)
            self.members.append(SimpleNamespace(metrics=frame))

    def lineage(self):
        rows = [(0, k, -1, -1, "tokens", 1.0) for k in (0, 1)]
        for g in self.generations[1:]:
            for k in (0, 1):
                parents = self.parents_of(k)
                rows += [(g, k, g - 1, p, "tokens", 1 / len(parents)) for p in parents]
                rows += [(g, k, -1, -1, "tokens", 1.0)] if not parents else []
                rows.append((g, k, g - 1, 1 - k, "weights", 1.0))  # no part of kinship
        return pd.DataFrame(rows, columns=LINEAGE)


def arms(*matings, seeds=3, **options):
    arm_runs = [
        SimpleNamespace(
            name=mating, runs={seed: Population(mating, seed, **options) for seed in range(seeds)}
        )
        for mating in matings
    ]
    return SimpleNamespace(arms=tuple(arm_runs))


def comparison(effects):
    return SimpleNamespace(inbreeding=effects)


@pytest.fixture(scope="module")
def effects():
    return inbreeding_effects(arms("selfing", "siblings", "apart"))


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(pages).failed == 0


def test_the_pedigree_of_a_lineage_is_that_by_tokens():
    selfed = pedigree_of(Population("selfing", 0).lineage())
    assert selfed.inbreeding([(g, 1) for g in range(4)]).tolist() == [0, 0.5, 0.75, 0.875]
    siblings = pedigree_of(Population("siblings", 0).lineage())
    assert siblings.inbreeding([(g, 0) for g in range(4)]).tolist() == [0, 0, 0.25, 0.375]


def test_the_change_of_a_member_is_that_since_generation_0_of_its_run(effects):
    (effect,) = effects
    assert effect.metric == "distinct_2"
    assert len(effect.rows) == effect.explained.num_rows == 3 * 3 * 2 * 4
    first = effect.rows[effect.rows["generation"] == 0]
    assert first.groupby(["arm", "seed"])["change"].mean().to_numpy() == pytest.approx(0)
    # The runs' own levels, which differ by 1, are gone; what is left is 0.4 F and noise of 0.02.
    rest = effect.rows["change"] + 0.4 * effect.rows["inbreeding"]
    assert abs(rest).max() < 5 * 0.02 * math.sqrt(1.5)


def test_f_is_the_better_predictor_of_what_falls_with_f(effects):
    explained = effects[0].explained
    assert explained.one.estimate > 0.9
    assert explained.difference.low > 0
    assert explained.one.n == 9
    (said,) = pages.inbreeding_sentences(comparison(effects))
    assert "F is the better predictor: the difference is +" in said
    assert "(72 members in 9 runs)" in said


def test_of_noise_neither_is_said_to_be_better():
    (said,) = pages.inbreeding_sentences(
        comparison(inbreeding_effects(arms("selfing", "siblings", "apart", slope=0.0)))
    )
    assert "Which of them is the better predictor is not supported" in said


def test_of_one_run_an_arm_nothing_is_said_to_be_better():
    (said,) = pages.inbreeding_sentences(
        comparison(inbreeding_effects(arms("selfing", "siblings", seeds=1)))
    )
    assert said.endswith("is not tested: that takes two runs of each arm.")


@pytest.mark.parametrize(
    "given",
    [
        SimpleNamespace(arms=(SimpleNamespace(runs={0: SimpleNamespace(members=())}),)),
        arms("apart"),  # nobody is inbred
        arms("selfing", metrics=("perplexity",)),  # no metric of diversity
    ],
)
def test_without_inbreeding_there_is_no_effect(given):
    assert inbreeding_effects(given) == ()


def test_a_metric_that_some_population_lacks_is_left_out():
    both = arms("selfing", metrics=("distinct_2", "mattr"))
    some = SimpleNamespace(arms=both.arms + arms("siblings").arms)
    assert [each.metric for each in inbreeding_effects(both)] == ["distinct_2", "mattr"]
    assert [each.metric for each in inbreeding_effects(some)] == ["distinct_2"]


def test_the_table_has_a_line_for_each_metric_with_the_shares_of_the_sentence(effects):
    table = pages.inbreeding_table(comparison(effects))
    (line,) = table.lines
    assert line[0] == "Distinct-2"
    (said,) = pages.inbreeding_sentences(comparison(effects))
    assert line[1] in said
    assert line[2] in said
    assert line[-1] in said
    assert len(line) == len(table.header)


def test_the_figure_has_a_point_for_each_member_in_both_panels(effects):
    svg = pages.inbreeding_figure(comparison(effects)).svg
    assert svg.count("<use ") >= 2 * effects[0].explained.num_rows


def test_members_spread_around_their_mean():
    tables = [
        Population("selfing", 0, noise=0.0)
        .members[k]
        .metrics.assign(member=k, value=lambda t, k=k: t["value"] * 0 + k)
        for k in (0, 1)
    ]
    keys = [("distinct_2", "drawn"), ("perplexity", "held_out")]
    (spread,) = member_spreads(pd.concat(tables), 2, keys)  # perplexity was not measured
    assert (spread.metric, spread.mean, spread.values) == ("distinct_2", 0.5, (0.0, 1.0))
    assert spread.deviation == pytest.approx(math.sqrt(0.5))
    (alone,) = member_spreads(tables[0], 2, keys)
    assert math.isnan(alone.deviation)
