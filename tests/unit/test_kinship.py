"""Kinship and inbreeding: pedigrees worked by hand, the draw of gametes, founders, mates."""

import doctest
import math

import numpy as np
import pytest

from textmad import kinship as kinship_module
from textmad.kinship import (
    HUMAN,
    Descent,
    Pedigree,
    effective_founders,
    gamete_pairs,
    mates,
)


def rows(*children, founders=2):
    """Rows of founders and of children, given as (generation, member, {parent: share})."""
    found = [Descent(0, member, -1, HUMAN, 1.0) for member in range(founders)]
    for generation, member, shares in children:
        found += [Descent(generation, member, *parent, w) for parent, w in shares.items()]
        human = 1 - sum(shares.values())
        if human:
            found.append(Descent(generation, member, -1, HUMAN, human))
    return found


def pedigree(*children, founders=2):
    return Pedigree.of(rows(*children, founders=founders))


def halves(*parents):
    return dict.fromkeys(parents, 0.5)


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(kinship_module).failed == 0


# --- F and kinship of known pedigrees ------------------------------------------------------------


def test_founders_are_unrelated_and_not_inbred():
    found = pedigree(founders=3)
    assert found.inbreeding(found.founders).tolist() == [0, 0, 0]
    assert found.kinship(found.founders, found.founders).tolist() == (np.eye(3) / 2).tolist()


def test_selfing_halves_what_is_left_to_full_inbreeding_in_each_generation():
    found = pedigree(*[(g, 0, {(g - 1, 0): 1.0}) for g in (1, 2, 3)], founders=1)
    # F' = (1 + F) / 2: the two gametes are the same copy, or two that are identical with F.
    assert found.inbreeding([(1, 0), (2, 0), (3, 0)]).tolist() == [0.5, 0.75, 0.875]


def test_mating_of_full_siblings_gives_wrights_series():
    line = [(g, m, halves((g - 1, 0), (g - 1, 1))) for g in (1, 2, 3, 4, 5) for m in (0, 1)]
    found = pedigree(*line)
    inbreeding = found.inbreeding([(g, 0) for g in range(6)])
    assert inbreeding.tolist() == [0, 0, 0.25, 0.375, 0.5, 0.59375]
    for g in range(2, 6):  # F'' = (1 + 2 F' + F) / 4 (Wright 1921)
        expected = (1 + 2 * inbreeding[g - 1] + inbreeding[g - 2]) / 4
        assert inbreeding[g] == expected


def test_half_siblings_are_kin_by_an_eighth():
    found = pedigree((1, 0, halves((0, 0), (0, 1))), (1, 1, halves((0, 0), (0, 2))), founders=3)
    # One shared parent: 1/2 * 1/2 * 1/2.
    assert found.kinship([(1, 0)], [(1, 1)]) == 0.125


def test_a_child_of_first_cousins_has_an_f_of_a_sixteenth():
    found = pedigree(
        *[(1, m, halves((0, 0), (0, 1))) for m in (0, 1)],  # full siblings
        (2, 0, halves((1, 0), (0, 2))),  # cousins: each sibling with a founder of its own,
        (2, 1, halves((1, 1), (0, 3))),  # which is of an earlier generation
        (3, 0, halves((2, 0), (2, 1))),
        founders=4,
    )
    assert found.kinship([(2, 0)], [(2, 1)]) == 0.0625
    assert found.inbreeding([(3, 0)]) == 0.0625


def test_a_child_bred_back_to_its_parent_is_as_inbred_as_one_of_full_siblings():
    found = pedigree((1, 0, halves((0, 0), (0, 1))), (2, 0, halves((1, 0), (0, 0))))
    # kinship(parent, child) = (kinship(parent, parent) + kinship(parent, other)) / 2 = 1/4
    assert found.kinship([(1, 0)], [(0, 0)]) == found.kinship([(0, 0)], [(1, 0)]) == 0.25
    assert found.inbreeding([(2, 0)]) == 0.25


def test_out_crossing_with_an_unrelated_member_undoes_inbreeding():
    selfed = [(g, m, {(g - 1, m): 1.0}) for g in (1, 2) for m in (0, 1)]
    found = pedigree(*selfed, (3, 0, halves((2, 0), (2, 1))))
    assert found.inbreeding([(2, 0), (2, 1), (3, 0)]).tolist() == [0.75, 0.75, 0]


@pytest.mark.parametrize(
    ("human", "inbreeding"),
    [
        (0.0, 0.5),
        # A quarter: one gamete is the parent's, the other with probability 2 * 3/4 - 1.
        (0.25, 0.5 * 0.5),
        (0.5, 0.0),  # one gamete from the parent, one from human text
        (0.75, 0.0),
        (1.0, 0.0),
    ],
)
def test_human_text_of_a_half_or_more_leaves_no_inbreeding_in_selfing(human, inbreeding):
    found = pedigree((1, 0, {(0, 0): 1 - human}), founders=1)
    assert found.inbreeding([(1, 0)]) == inbreeding
    # Its kinship with the parent falls with human text all the same.
    assert found.kinship([(1, 0)], [(0, 0)]) == (1 - human) / 2


def test_members_that_learned_only_human_text_are_unrelated_whenever_they_did():
    found = pedigree((3, 0, {}), (4, 0, {(3, 0): 1.0}), (4, 1, {(3, 0): 1.0}))
    assert found.inbreeding([(3, 0)]) == 0
    assert found.kinship([(3, 0)], [(0, 0), (0, 1)]).tolist() == [[0, 0]]
    assert found.inbreeding([(4, 0)]) == found.kinship([(4, 0)], [(4, 1)]) == 0.5


# --- the two gametes -----------------------------------------------------------------------------

UNEVEN = [
    {(0, 0): 0.2, (0, 1): 0.3, (0, 2): 0.5},
    {(0, 0): 0.2, (0, 1): 0.3, (0, 2): 0.4, (0, 3): 0.1},
    {(0, 0): 0.1, (0, 1): 0.15, (0, 2): 0.3},  # and 0.45 of human text
    {(0, 0): 0.7, (0, 1): 0.1, (0, 2): 0.2},
    {(0, 0): 0.6, (0, 1): 0.1},  # and 0.3 of human text
]


def with_human_text(shares, authors):
    """The same, with human text as so many parents with equal shares."""
    human = 1 - sum(shares.values())
    return shares if human < 1e-9 else shares | {(-1, k): human / authors for k in range(authors)}


@pytest.mark.parametrize("shares", UNEVEN)
def test_a_parent_gives_two_gametes_times_its_share(shares):
    given = dict.fromkeys(shares, 0.0)
    for pair, probability in gamete_pairs(with_human_text(shares, 500)).items():
        for parent in pair:
            if parent in given:
                given[parent] += probability
    assert given == pytest.approx({parent: 2 * w for parent, w in shares.items()})


@pytest.mark.parametrize("shares", UNEVEN)
def test_human_text_is_the_limit_of_many_authors_with_small_shares(shares):
    pairs, many = gamete_pairs(shares), gamete_pairs(with_human_text(shares, 2000))
    assert pairs == pytest.approx({pair: many[pair] for pair in pairs}, rel=1e-3)


def test_gametes_are_drawn_as_brewer_draws_them():
    shares = {(0, 0): 0.15, (0, 1): 0.4, (0, 2): 0.45}
    parents, w = list(shares), np.array(list(shares.values()))
    first = w * (1 - w) / (1 - 2 * w)
    first /= first.sum()
    for (p, q), probability in gamete_pairs(shares).items():
        i, j = parents.index(p), parents.index(q)
        ordered = first[i] * w[j] / (1 - w[i]) + first[j] * w[i] / (1 - w[j])
        assert probability == pytest.approx(ordered)


def test_no_parent_with_less_than_half_is_paired_with_itself():
    assert all(p != q for p, q in gamete_pairs(UNEVEN[1]))


def test_pairs_change_steadily_as_a_share_passes_a_half():
    def near(w):
        return gamete_pairs({(0, 0): w, (0, 1): 0.3, (0, 2): 0.7 - w})

    below, above = near(0.5 - 1e-7), near(0.5 + 1e-7)
    assert {pair: below.get(pair, 0.0) for pair in above} == pytest.approx(above, abs=1e-5)


# --- founders ------------------------------------------------------------------------------------


def test_founders_contribute_by_all_paths_and_human_text_is_apart():
    found = pedigree(
        (1, 0, {(0, 0): 0.5, (0, 1): 0.5}),
        (1, 1, {(0, 1): 0.5}),  # and half of human text
        (2, 0, {(1, 0): 0.5, (1, 1): 0.25, (0, 0): 0.25}),
    )
    # (0, 0): 0.5 * 0.5 + 0.25; (0, 1): 0.5 * 0.5 + 0.25 * 0.5; human: 0.25 * 0.5
    assert found.contributions([(2, 0)]).tolist() == [[0.5, 0.375, 0.125]]
    assert found.contributions(found.members).sum(axis=1) == pytest.approx(1)
    assert effective_founders(found.contributions([(2, 0)])) == 1 / (0.5**2 + 0.375**2)


def test_as_many_founders_are_effective_as_contribute_equally():
    found = pedigree(*[(1, m, {(0, m): 1.0}) for m in range(4)], founders=4)
    assert effective_founders(found.contributions(found.of_generation(1))) == 4
    assert effective_founders(found.contributions([(1, 2)])) == 1


def test_without_any_founder_left_their_effective_number_is_infinite():
    found = pedigree((1, 0, {}))
    assert effective_founders(found.contributions([(1, 0)])) == math.inf


# --- mates ---------------------------------------------------------------------------------------


def test_mates_are_the_least_related_and_of_several_the_next_on_the_ring():
    families = [
        (1, 0, halves((0, 0), (0, 1))),
        (1, 1, halves((0, 0), (0, 1))),
        (1, 2, halves((0, 2), (0, 3))),
        (1, 3, halves((0, 2), (0, 3))),
    ]
    # 0 and 1 are siblings, 2 and 3 are: 0 takes the next of the other family, 1 too, ...
    assert mates(rows(*families, founders=4), 1) == {0: 2, 1: 2, 2: 0, 3: 0}
    assert mates(rows(founders=4), 0) == {0: 1, 1: 2, 2: 3, 3: 0}


def test_kinships_that_differ_by_rounding_alone_are_a_tie():
    given = rows(
        (1, 0, {(0, 0): 1.0}),
        (1, 1, {(0, 0): 0.1, (0, 1): 0.7}),
        (1, 2, {(0, 0): 0.3, (0, 1): 0.7}),
    )
    given = [row for row in given if row[:4] != (1, 1, -1, HUMAN)] + [Descent(1, 1, 0, 0, 0.2)]
    kinship = Pedigree.of(given).kinship([(1, 0)], [(1, 1), (1, 2)])[0]
    assert kinship[0] > kinship[1]  # since 0.1 + 0.2 > 0.3
    assert mates(given, 1)[0] == 1


def test_two_members_are_each_others_mates():
    assert mates(rows(*[(1, m, halves((0, 0), (0, 1))) for m in (0, 1)]), 1) == {0: 1, 1: 0}


def test_a_member_alone_has_no_mate():
    with pytest.raises(ValueError, match="generation 0: 1 members: expected two or more"):
        mates(rows(founders=1), 0)


# --- rows that are no pedigree -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            [Descent(0, 0, -1, HUMAN, 0.9)],
            "generation 0, member 0: shares that sum to 0.9: expected 1",
        ),
        ([Descent(0, 0, -1, HUMAN, -0.5)], "member 0: share -0.5: expected one from 0 to 1"),
        ([Descent(1, 0, 0, 7, 1.0)], "the parent generation 0, member 7: expected a member of an"),
        (
            [Descent(0, 0, -1, HUMAN, 1.0), Descent(0, 1, 0, 0, 1.0)],
            "generation 0, member 1: the parent generation 0, member 0: expected a member of an",
        ),
    ],
)
def test_rows_that_are_no_pedigree_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Pedigree.of(given)


def test_rows_of_one_parent_add_up_in_any_order():
    given = [
        Descent(1, 0, 0, 1, 0.25),
        *rows(),
        Descent(1, 0, 0, 0, 0.5),
        Descent(1, 0, 0, 1, 0.25),
    ]
    assert Pedigree.of(given).parents[1, 0] == halves((0, 0), (0, 1))
