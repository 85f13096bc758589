"""Every number is a function of (seed, stream, step, row), on any number of ranks."""

import hashlib
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from trigan.rng import Draws, hash64, permutation, random_words

SHAPES = {"normal": (3, 2), "uniform": (3, 2), "integers": (10, 3)}


def draws(start: int = 0, stop: int = 8, seed: int = 1, step: int = 5) -> Draws:
    return Draws(seed, step, total=8, start=start, stop=stop)


def draw(which: Draws, kind: str, stream: str = "z") -> torch.Tensor:
    return getattr(which, kind)(stream, *SHAPES[kind])


def test_hash64() -> None:
    expected = int.from_bytes(hashlib.blake2b(b"1/gan/5", digest_size=8).digest(), "big") // 2
    assert hash64(1, "gan", 5) == expected < 2**63
    parts = [("a", "b"), ("a/b",), ("ab",), ("b", "a"), ("a", "b", ""), ("a\\", "b"), ("a\\/b",)]
    assert len({hash64(*p) for p in parts}) == len(parts)
    assert hash64("a/b", "c") != hash64("a", "b/c")


def squares_of_integers(counter: int, key: int) -> int:
    """The generator in Python's unbounded integers (Widynski 2020, section 4)."""
    modulus = 2**64
    y = counter * key % modulus
    z = (y + key) % modulus
    x = y
    for added in (y, z, y):
        x = (x * x + added) % modulus
        x = x >> 32 | (x << 32) % modulus
    return ((x * x + z) % modulus) >> 32


def test_words_are_the_published_ones() -> None:
    # the upper halves of the 64-bit words that two independent implementations of the paper's generator test for
    words = random_words(0x548C9DECBCE65297, torch.arange(4))
    assert words.tolist() == [0x36D88366, 0x944716E0, 0xC8A8F4E0, 0x35CC666A]


@pytest.mark.parametrize("key", [0x548C9DECBCE65297, -0x3A71_02EA_B31C_D093, 1])
def test_words_equal_those_of_unbounded_integers(key: int) -> None:
    counters = [0, 1, 77, 2**31, 2**32 - 1, 2**32, (5 << 32) + 3, 2**63 - 1]
    expected = [squares_of_integers(counter, key % 2**64) for counter in counters]
    assert random_words(key, torch.tensor(counters)).tolist() == expected


def test_permutation() -> None:
    order = permutation(100, 3, "split")
    assert order.dtype == torch.int64
    assert order.sort().values.tolist() == list(range(100))
    assert torch.equal(order, permutation(100, 3, "split"))
    assert not torch.equal(order, permutation(100, 4, "split"))
    assert permutation(0, 1).shape == (0,)


def test_all_permutations_are_equally_likely() -> None:
    counts: dict[tuple[int, ...], int] = {}
    for epoch in range(6000):
        order = tuple(permutation(4, 1, epoch).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 24
    assert stats.chisquare(list(counts.values())).pvalue > 0.001


@pytest.mark.parametrize("kind", SHAPES)
def test_ranks_draw_what_one_process_would(kind: str) -> None:
    expected = draw(draws(), kind)
    assert expected.shape[0] == 8
    parts = [draw(draws(start, stop), kind) for start, stop in ((0, 3), (3, 8), (8, 8))]
    assert torch.equal(torch.cat(parts), expected)
    rank = draws(2, 8)
    micro = [draw(rank.rows(start, stop), kind) for start, stop in ((0, 4), (4, 6))]
    assert torch.equal(torch.cat(micro), expected[2:8])


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("ahead", [3, 32, 10**6])
def test_steps_drawn_ahead_have_the_same_numbers(kind: str, ahead: int) -> None:
    for step in [0, 1, 2, 3, 31, 32, 33, 2**31 - 1, 1]:
        drawn = draw(replace(draws(2, 7, step=step), ahead=ahead), kind)
        assert torch.equal(drawn, draw(draws(2, 7, step=step), kind))
        drawn.zero_()  # what is kept for later steps must not change


def test_a_permutation_of_the_global_batch_is_shared_by_its_processes() -> None:
    expected = draws().permutation("partners")
    assert expected.sort().values.tolist() == list(range(8))
    assert torch.equal(torch.cat([draws(0, 3).permutation("partners"), draws(3, 8).permutation("partners")]), expected)
    assert torch.equal(draws(2, 8).rows(1, 4).permutation("partners"), expected[3:6])
    assert not torch.equal(draws(step=6).permutation("partners"), expected)


@pytest.mark.parametrize("kind", SHAPES)
def test_seed_step_and_stream_all_count(kind: str) -> None:
    same = draw(draws(), kind)
    assert torch.equal(draw(draws(), kind), same)
    for other in (draw(draws(seed=2), kind), draw(draws(step=6), kind), draw(draws(), kind, "other")):
        assert not torch.equal(other, same)
    assert not torch.equal(same[0], same[1])


MANY = Draws(3, 7, 200_000, 0, 200_000)


def test_uniform_numbers() -> None:
    uniform, wide = MANY.uniform("b"), MANY.uniform("b", dtype=torch.float64)
    assert uniform.dtype == torch.float32
    assert float(uniform.min()) >= 0
    assert float(uniform.max()) < 1
    assert stats.kstest(uniform.numpy(), "uniform").pvalue > 0.001
    assert torch.equal(uniform.double(), (wide * 2**24).floor() / 2**24)
    assert len(wide.unique()) > 199_990


def test_normal_numbers() -> None:
    normal = MANY.normal("a", 5).double().flatten()
    assert stats.kstest(normal.numpy(), "norm").pvalue > 0.001
    assert abs(float(normal.mean())) < 4 / 1000
    assert abs(float(normal.var()) - 1) < 4 * 2**0.5 / 1000
    assert abs(float(normal.pow(4).mean()) - 3) < 4 * 96**0.5 / 1000
    beyond = int((normal.abs() > 4).sum())
    assert stats.binomtest(beyond, len(normal), 2 * stats.norm.sf(4)).pvalue > 0.001


def test_integers() -> None:
    integers = MANY.integers("c", 7)
    assert integers.dtype == torch.int64
    assert stats.chisquare(integers.bincount(minlength=7).numpy()).pvalue > 0.001


def _correlations(numbers: torch.Tensor) -> dict[str, float]:
    """Correlation of neighbours along each axis of numbers (steps, rows, elements)."""
    pairs = {
        "steps": (numbers[:-1], numbers[1:]),
        "rows": (numbers[:, :-1], numbers[:, 1:]),
        "elements": (numbers[:, :, :-1], numbers[:, :, 1:]),
    }
    return {axis: float(np.corrcoef(a.flatten(), b.flatten())[0, 1]) for axis, (a, b) in pairs.items()}


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_steps_rows_elements_seeds_and_streams_are_uncorrelated(kind: str) -> None:
    def drawn(seed: int, stream: str) -> torch.Tensor:
        return torch.stack([draw_of(Draws(seed, step, 64, 0, 64), stream) for step in range(32)])

    def draw_of(which: Draws, stream: str) -> torch.Tensor:
        return getattr(which, kind)(stream, 64)

    numbers = drawn(1, "z")
    bound = 4 / numbers.numel() ** 0.5
    assert all(abs(value) < bound for value in _correlations(numbers).values()), _correlations(numbers)
    for other in (drawn(2, "z"), drawn(1, "y")):
        assert abs(float(np.corrcoef(numbers.flatten(), other.flatten())[0, 1])) < bound


def test_steps_and_batches_beyond_the_counter_are_refused() -> None:
    with pytest.raises(ValueError, match="counter"):
        Draws(1, 2**31, 8, 0, 8).normal("z")
    with pytest.raises(ValueError, match="counter"):
        Draws(1, 0, 2**20, 2**20 - 1, 2**20).normal("z", 2**13)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_draws_the_same_numbers() -> None:
    here, there = Draws(1, 5, 64, 8, 64), Draws(1, 5, 64, 8, 64, torch.device("cuda"))
    for kind in SHAPES:
        assert torch.equal(draw(here, kind), draw(there, kind).cpu())
    assert torch.equal(here.permutation("p"), there.permutation("p").cpu())


def test_the_table_of_normal_quantiles_has_the_same_bits_everywhere() -> None:
    from trigan.rng import _normal_quantiles

    digest = hashlib.sha256(_normal_quantiles(torch.device("cpu")).numpy().tobytes()).hexdigest()
    assert digest == "8babbcaf96568f10165a1eab530c0e5c92d04de96761b6dbb3dadfa94baba37f"


def test_global_generators_are_unchanged() -> None:
    torch.manual_seed(0)
    state = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index]
    draws().normal("z", 4)
    draws().integers("z", 3)
    permutation(10, 1)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert random.getstate() == state[1]
    assert np.random.get_state()[1].tolist() == state[2]  # type: ignore[index]


@pytest.mark.parametrize(("start", "stop"), [(-1, 4), (0, 9), (5, 4)])
def test_rows_outside_the_batch_are_refused(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="global batch of 8"):
        draws(start, stop)


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (0, 5), (3, 2)])
def test_a_micro_batch_outside_the_rows_is_refused(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="4 rows of this process"):
        draws(2, 6).rows(start, stop)


def test_rows_in_any_order_have_the_numbers_of_the_list() -> None:
    whole, indices = Draws.of_rows(3, 0, 50), torch.tensor([49, 0, 7, 7, 31])
    some = Draws.of_indices(3, indices)
    assert torch.equal(some.normal("z", 4, 2), whole.normal("z", 4, 2)[indices])
    assert torch.equal(some.uniform("u"), whole.uniform("u")[indices])
    assert Draws.of_indices(3, indices[:0]).normal("z", 4).shape == (0, 4)
    with pytest.raises(ValueError, match="more than a 64-bit counter"):
        Draws.of_indices(3, torch.tensor([2**31])).words("z", 4)
