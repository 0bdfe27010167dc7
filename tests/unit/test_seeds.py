import hashlib
import itertools

import numpy as np
import torch

from textmad.seeds import stream, torch_seed


def first(seed: int, *names: str | int) -> float:
    return float(stream(seed, *names).random())


def test_a_stream_is_pcg64_seeded_with_the_sha256_of_its_seed_and_names() -> None:
    # This digest must never change: every published run depends on it.
    digest = hashlib.sha256(b"(0, 'sample', 1, 7)").digest()
    expected = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))
    np.testing.assert_array_equal(stream(0, "sample", 1, 7).random(5), expected.random(5))


def test_a_torch_seed_is_the_first_63_bits_of_the_same_digest() -> None:
    bits = "".join(f"{byte:08b}" for byte in hashlib.sha256(b"(3, 'lora')").digest())
    seed = torch_seed(3, "lora")
    assert seed == int(bits[:63], 2)
    torch.manual_seed(seed)  # takes it


def test_a_number_of_numpy_s_opens_the_same_stream() -> None:
    assert first(np.int64(3), "sample", np.int32(1), np.uint8(7)) == first(3, "sample", 1, 7)
    assert torch_seed(np.int64(3), "fit", np.int64(1)) == torch_seed(3, "fit", 1)


def test_a_stream_does_not_depend_on_which_were_opened_before() -> None:
    alone = stream(1, "sample", 2).random(3)
    stream(1, "sample", 1).random(100)
    np.testing.assert_array_equal(stream(1, "sample", 2).random(3), alone)


def test_every_name_and_every_seed_has_its_own_stream() -> None:
    ways = [
        (0, "a", "b"),
        (0, "ab"),
        (0, "a, b"),
        (0, "a', 'b"),
        (0, ("a", "b")),
        (0, "b", "a"),
        (0, "a"),
        (0,),
        (0, 1),
        (0, "1"),
        (0, 1, 0),
        (0, 10),
        (1, 0),
        (1,),
        (-1,),
        (2**200,),
    ]
    assert len({first(*way) for way in ways}) == len(ways)
    assert len({torch_seed(*way) for way in ways}) == len(ways)


def test_streams_of_neighbouring_documents_are_uncorrelated() -> None:
    drawn = np.array([stream(0, "sample", 1, index).random(200) for index in range(200)])
    correlation = np.corrcoef(drawn)[np.triu_indices(200, 1)]
    # Of independent streams: mean 0 and standard deviation 1 / sqrt(200), over 19,900 pairs.
    assert abs(correlation.mean()) < 5 / np.sqrt(200 * len(correlation))
    assert abs(correlation.std() * np.sqrt(200) - 1) < 0.05
    assert abs(correlation).max() < 6 / np.sqrt(200)


def test_first_draws_over_the_streams_are_uniform() -> None:
    drawn = np.array([first(0, "sample", 1, index) for index in range(4000)])
    counts = np.histogram(drawn, bins=20, range=(0, 1))[0]
    chi_square = ((counts - 200) ** 2 / 200).sum()
    assert chi_square < 50  # 19 degrees of freedom: exceeded by chance once in 7,000


def test_torch_seeds_are_nonnegative_and_fit_63_bits() -> None:
    seeds = [torch_seed(0, index) for index in range(2000)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62  # and use them
    assert all(one != other for one, other in itertools.pairwise(seeds))
