"""Measure on simulated raters how well the numbers of `textmad votes` work: docs/people-vote.md.

    python scripts/vote_quality.py

Three votes on each text. A rater's vote is the text's label with a probability of their own, and
otherwise the toss of a coin.
"""

from __future__ import annotations

import warnings

import numpy as np

from textmad.rating.agreement import agreement
from textmad.rating.ballot import Ballot
from textmad.rating.records import Vote
from textmad.rating.reliability import reliabilities

VOTES_PER_TEXT = 3


def simulated(shares: np.ndarray, num_texts: int, rng: np.random.Generator) -> list[Vote]:
    labels = rng.integers(0, 2, num_texts)
    votes = []
    for text in range(num_texts):
        for rater in rng.choice(len(shares), VOTES_PER_TEXT, replace=False):
            knows = rng.random() < shares[rater]
            value = int(labels[text] if knows else rng.integers(2))
            name = f"r{rater:03d}"
            votes.append(Vote("b", text, (f"t{text}",), None, name, 0, value, 0, 1.0, 0.0))
    return votes


def alpha_coverage(num_raters: int, num_texts: int, num_tries: int = 200) -> float:
    # Shares are Beta(2, 2), of mean 1/2. Two raters agree with probability 1/2 + 1/2 E[s s'] =
    # 1/2 + 1/8, and by chance with 1/2: alpha is 1 - (3/8) / (1/2) = 1/4.
    rng, covered = np.random.default_rng(num_raters), 0
    for _ in range(num_tries):
        found = agreement(Ballot(), simulated(rng.beta(2, 2, num_raters), num_texts, rng))
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.25 <= found.high
    return covered / num_tries


def main() -> None:
    warnings.simplefilter("ignore")
    for num_raters, num_texts in ((4, 100), (8, 100), (20, 150)):
        share = alpha_coverage(num_raters, num_texts)
        print(f"alpha, {num_raters} raters: its interval covers 0.25 in {share:.1%} of 200 tries")
    rng = np.random.default_rng(3)
    covered, named = [], {"random": [], "others": []}
    for _ in range(20):
        shares = np.concatenate([[0, 0], rng.beta(4, 4, 10)])
        for rater, found in enumerate(reliabilities(simulated(shares, 400, rng))):
            covered.append(found.low - 0.005 <= shares[rater] <= found.high + 0.005)  # its grid
            named["random" if rater < 2 else "others"].append(found.is_random)
    print(f"reliability: its interval covers the truth for {np.mean(covered):.1%} of 240 raters")
    for kind, which in named.items():
        print(f"named as random: {np.mean(which):.1%} of {len(which)} ({kind})")


if __name__ == "__main__":
    main()
