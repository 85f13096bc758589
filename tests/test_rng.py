"""Every number is a function of (seed, stream, step, row), on any number of ranks."""

import hashlib
import random

import numpy as np
import pytest
import torch

from trigan.rng import Draws, hash64, permutation, torch_generator

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
    low = {hash64(1, stream, step) & 0xFFFFFFFF for stream in "abc" for step in range(2000)}
    assert len(low) > 5990  # the CPU generator keeps the lower 32 bits of a seed: they must be spread too


def test_generator_and_permutation() -> None:
    assert torch.equal(
        torch.rand(5, generator=torch_generator(1, "a")), torch.rand(5, generator=torch_generator(1, "a"))
    )
    assert not torch.equal(
        torch.rand(5, generator=torch_generator(1, "a")), torch.rand(5, generator=torch_generator(1, "b"))
    )
    order = permutation(100, 3, "split")
    assert order.dtype == torch.int64
    assert order.sort().values.tolist() == list(range(100))
    assert torch.equal(order, permutation(100, 3, "split"))
    assert not torch.equal(order, permutation(100, 4, "split"))
    assert permutation(0, 1).shape == (0,)


@pytest.mark.parametrize("kind", SHAPES)
def test_ranks_draw_what_one_process_would(kind: str) -> None:
    expected = draw(draws(), kind)
    assert expected.shape[0] == 8
    parts = [draw(draws(start, stop), kind) for start, stop in ((0, 3), (3, 8), (8, 8))]
    assert torch.equal(torch.cat(parts), expected)
    rank = draws(2, 8)
    micro = [draw(rank.rows(start, stop), kind) for start, stop in ((0, 4), (4, 6))]
    assert torch.equal(torch.cat(micro), expected[2:8])


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


def test_distributions() -> None:
    many = Draws(0, 0, 20_000, 0, 20_000)
    normal, uniform, integers = many.normal("a"), many.uniform("b"), many.integers("c", 7)
    assert abs(float(normal.mean())) < 0.03
    assert abs(float(normal.std()) - 1) < 0.03
    assert 0 <= float(uniform.min()) < 0.01
    assert 0.99 < float(uniform.max()) < 1
    assert integers.dtype == torch.int64
    assert integers.unique().tolist() == list(range(7))
    assert int(integers.bincount().min()) > 20_000 / 7 * 0.9


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
