"""The theory of populations: against simulated demes, and against the closed form of islands."""

import doctest

import numpy as np
import pytest

from textmad.calibration import checks, populations, theory
from textmad.calibration.populations import TrainingSets, expected_agreement

SHARES = theory.zipf(30)
HUMAN = float(np.sum(SHARES**2))  # agreement of two human words


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(populations).failed == 0


class Demes:
    """K members that learn documents of one word, in many positions at once.

    Each reads `own` documents of its own kept ones, `far` of each other member, and `human` of a
    pool that all share; never the same document twice in a generation.
    """

    def __init__(self, members, own, far, human=0, pool=60, kept=20, positions=1, seed=0):
        self.rng = np.random.default_rng(seed)
        self.members, self.own, self.far, self.human = members, own, far, human
        self.kept, self.positions = kept, positions
        self.pool = self.rng.choice(len(SHARES), (pool, positions), p=SHARES)
        self.orders = [self.rng.permutation(pool) for _ in range(members)]
        self.words, self.read = [None] * members, [0] * members

    def generation(self, first=0):
        """One generation: what is learned, and the members' shares (members, positions, words)."""
        human = np.zeros((self.members, len(self.pool)))
        model = np.zeros((self.members, self.members, self.kept))
        learned = []
        for k in range(self.members):
            num_human = first or self.human
            rows = self.orders[k][self.read[k] : self.read[k] + num_human]
            self.read[k] += num_human
            human[k, rows] = 1
            words = [self.pool[rows]]
            for author in range(self.members) if not first else ():
                num = self.own if author == k else self.far
                chosen = self.rng.permutation(self.kept)[:num]
                model[k, author, chosen] = 1
                words.append(self.words[author][chosen])
            learned.append(np.concatenate(words))
        self.words = [
            each[
                self.rng.integers(len(each), size=(self.kept, self.positions)),
                np.arange(self.positions),
            ]
            for each in learned
        ]
        shares = np.stack([(each[:, :, None] == np.arange(30)).mean(axis=0) for each in learned])
        return TrainingSets(human, model), shares


def agreement(shares):
    """Measured sums of p q, (members, members, positions)."""
    return np.einsum("kpw,lpw->klp", shares, shares)


@pytest.mark.parametrize(
    "settings",
    [
        {"members": 3, "own": 12, "far": 0},
        {"members": 3, "own": 8, "far": 2},
        {"members": 2, "own": 0, "far": 12},
        {"members": 3, "own": 4, "far": 2, "human": 4},
    ],
)
def test_simulated_demes_agree_as_expected_given_what_they_read(settings):
    demes = Demes(**settings, positions=20_000)
    runs = [demes.generation(first=12)] + [demes.generation() for _ in range(3)]
    expected = expected_agreement([learned for learned, _ in runs], HUMAN)
    for (_, shares), theirs in zip(runs, expected, strict=True):
        measured = agreement(shares)
        for k, other in np.ndindex(theirs.shape):
            mean, error = checks.mean_of(measured[k, other])
            assert abs(mean - theirs[k, other]) < 4.5 * error, (
                k,
                other,
            )  # 54 values: 4e-4 by chance


def island_model(members, own, far, human, pool, kept, generations, first):
    """Wright's island model in closed form, whatever documents happen to be read.

    Agreement within a member (w) and between two (b), with n = own + (K - 1) far + human draws of
    which `far` come from each other member. Two readers meet in a document of one author with
    probability 1 / kept, and in a human document with 1 / pool; a reader never reads a human
    document again, and s is the chance that a word descends from a document that its own member
    read. All members are alike, so two numbers do.
    """
    apart = 1 / pool + (1 - 1 / pool) * HUMAN  # human documents that two members read
    w, b, s = 1 / first + (1 - 1 / first) * HUMAN, apart, 1.0
    found = [(w, b)]
    n, others = own + (members - 1) * far + human, members - 1
    for _ in range(generations):
        # Chance of agreement of a human document of k with a model document of author k or l.
        with_own = s * HUMAN + (1 - s) * apart
        by_k = (1 - s) / others
        with_other = by_k * HUMAN + (1 - by_k) * apart
        model = n - human
        pairs = model**2 - own**2 - others * far**2  # of different authors, in one reader
        within = n + human * (human - 1) * HUMAN
        within += 2 * human * (own * with_own + others * far * with_other)
        within += (own * (own - 1) + others * far * (far - 1)) * w + pairs * b
        shared = 2 * own * far + (members - 2) * far**2  # of one author, in two readers
        between = human**2 * apart
        between += 2 * human * (far * with_own + (own + (members - 2) * far) * with_other)
        between += shared * (1 / kept + (1 - 1 / kept) * w) + (model**2 - shared) * b
        w, b = within / n**2, between / n**2
        s = (human + own * s + far * (1 - s)) / n
        found.append((w, b))
    return found


@pytest.mark.parametrize(
    "settings", [{"own": 12, "far": 0}, {"own": 8, "far": 2}, {"own": 4, "far": 2, "human": 4}]
)
def test_the_mean_over_what_is_read_is_the_island_model(settings):
    settings = {"members": 3, "human": 0, "pool": 60, "kept": 20} | settings
    closed = np.array(island_model(**settings, generations=3, first=12))
    drawn = []
    for seed in range(400):
        demes = Demes(**settings, seed=seed)
        learned = [demes.generation(first=12)[0]] + [demes.generation()[0] for _ in range(3)]
        expected = np.array(expected_agreement(learned, HUMAN))
        within = np.trace(expected, axis1=1, axis2=2) / 3
        drawn.append(np.stack([within, (expected.sum(axis=(1, 2)) / 3 - within) / 2], axis=1))
    for g, of in np.ndindex(closed.shape):
        mean, error = checks.mean_of(np.array(drawn)[:, g, of])
        assert abs(mean - closed[g, of]) < 4 * error + 1e-12, (g, of)


def test_without_migration_a_member_is_a_run_of_its_own():
    closed = island_model(3, 12, 0, 0, pool=10**9, kept=20, generations=5, first=12)
    for fits, (within, between) in enumerate(closed, start=1):
        assert within == pytest.approx(theory.squared_shares(SHARES, 12, fits))
        assert between == pytest.approx(HUMAN)  # they have nothing in common
