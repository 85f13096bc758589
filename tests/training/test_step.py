"""Batches, noise and fakes as functions of (seed, step, row): two ranks together get what one process gets."""

import pytest
import torch
from torch import Tensor

from trigan import distributed
from trigan.training.fit import TrainerSettings
from trigan.training.players import PlayersModule
from trigan.training.step import TrainingStep

from .tiny import CGAN8, OBJECTIVES, built, gan_stage


def _as_rank(monkeypatch: pytest.MonkeyPatch, rank: int, size: int) -> None:
    monkeypatch.setattr(distributed, "rank", lambda: rank)
    monkeypatch.setattr(distributed, "world_size", lambda: size)


def _drawn(step: TrainingStep, stream: str, total: int) -> dict[str, Tensor]:
    draws = step.draws(stream, total)
    return {
        "normal": draws.normal("z", 3),
        "uniform": draws.uniform("u", 2, 2),
        "integers": draws.integers("y", 10),
    }


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_draws_of_all_ranks_are_those_of_one(monkeypatch: pytest.MonkeyPatch, size: int, accumulate: int) -> None:
    module = built(gan_stage())
    single = _drawn(TrainingStep(module.step_context, 3, 0, False), "real", 16)
    shares: list[dict[str, Tensor]] = []
    for part in range(accumulate):  # a micro-batch is the same rows, however many ranks share it
        for rank in range(size):
            _as_rank(monkeypatch, rank, size)
            module = built(gan_stage(), settings=TrainerSettings(accumulate=accumulate))
            shares.append(_drawn(TrainingStep(module.step_context, 3, part, False), "real", 16))
    assert len(shares) == size * accumulate
    for kind, value in single.items():
        assert torch.equal(torch.cat([share[kind] for share in shares]), value)


def test_batches_of_two_ranks_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, stage in OBJECTIVES.items():
        module = built(stage())
        for stream in module.streams:
            single = TrainingStep(module.step_context, 7, 0, False).batch(stream)
            halves = []
            for rank in (0, 1):
                _as_rank(monkeypatch, rank, 2)
                halves.append(TrainingStep(built(stage()).step_context, 7, 0, False).batch(stream))
            monkeypatch.undo()
            assert torch.equal(torch.cat([half.images for half in halves]), single.images), (name, stream)
            if single.labels is not None:
                assert torch.equal(torch.cat([half.known_labels for half in halves]), single.labels)
            noise = torch.cat([half.draws.normal("n", 2) for half in halves])
            assert torch.equal(noise, single.draws.normal("n", 2))


def test_streams_and_steps_and_seeds_differ() -> None:
    module = built(gan_stage())
    seen = [
        TrainingStep(module.step_context, 3, 0, False).draws("real", 16).normal("z", 3),
        TrainingStep(module.step_context, 4, 0, False).draws("real", 16).normal("z", 3),
        TrainingStep(module.step_context, 3, 0, False).draws("fakes", 16).normal("z", 3),
        TrainingStep(module.step_context, 3, 0, False).draws("real", 16).normal("other", 3),
        TrainingStep(built(gan_stage(), seed=1).step_context, 3, 0, False).draws("real", 16).normal("z", 3),
    ]
    assert all(not torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i])


def _module(conditional: bool) -> PlayersModule:
    module = built(gan_stage(architecture=CGAN8) if conditional else gan_stage())
    module.networks.train()
    return module


@pytest.mark.parametrize("conditional", [False, True])
def test_fakes_are_drawn_once_and_carry_a_graph_only_if_the_generator_is_updated(conditional: bool) -> None:
    module = _module(conditional)
    module.step_context.switch_to("discriminator")
    step, still = TrainingStep(module.step_context, 0, 0, True), TrainingStep(module.step_context, 0, 0, False)
    assert step.fakes() is step.fakes()
    assert step.fakes().images.requires_grad
    assert not still.fakes().images.requires_grad
    assert torch.equal(step.fakes().images, still.fakes().images)
    assert (step.fakes().labels is not None) == conditional
    moving = [name for name, network in module.networks.items() if next(network.parameters()).requires_grad]
    assert moving == ["discriminator"], "drawing fakes changed whose turn it is"


def test_known_labels_need_labels() -> None:
    with pytest.raises(ValueError, match="no labels"):
        _ = TrainingStep(_module(False).step_context, 0, 0, False).batch("real").known_labels
