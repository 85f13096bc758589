"""The memory of a fit: the estimate is near what a step keeps, and what does not fit is refused with a setting."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.training.tiny import SPEC, built, classifier_stage, gan_stage, inputs_for, joint_stage
from trigan import free_memory
from trigan.datasets.host_images import HostImages
from trigan.datasets.inputs import Input
from trigan.errors import ConfigError
from trigan.networks.gans.dcgan import DCGAN
from trigan.networks.gans.sngan import Projection
from trigan.networks.random_layers import use_random_source
from trigan.training import memory_check
from trigan.training.fit import TrainerSettings, fit
from trigan.training.memory_check import memory_need
from trigan.training.objectives import TripleGAN
from trigan.training.players import PlayersModule
from trigan.training.stage import StageContext
from trigan.training.step import TrainingStep

CPU = torch.device("cpu")


def kept_by_first_update(module: PlayersModule) -> int:
    """Bytes that are kept when D's loss, of real and generated images, is known."""
    seen, kept = {weight.untyped_storage().data_ptr() for weight in module.parameters()}, list[Tensor]()

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in seen:
            seen.add(tensor.untyped_storage().data_ptr())
            kept.append(tensor)
        return tensor

    module.networks.train()
    step, update = TrainingStep(module.step_context, 0, 0, True), module.updates[0]
    module.step_context.switch_to(update.player)
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, use_random_source(module._random_layers, step.layer_draws):
        update.loss(step)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept)


@pytest.mark.parametrize("architecture", [DCGAN(width=16, latent=16), Projection(width=16, latent=16)])
def test_the_estimate_is_near_what_is_kept(architecture: DCGAN | Projection) -> None:
    module = built(replace(gan_stage(), architecture=architecture))
    need, kept = memory_need(module, CPU), kept_by_first_update(module)
    assert 0.7 * kept < need.generated + need.batch < 2 * kept


def test_micro_batches_take_their_share_of_activations_alone() -> None:
    need = memory_need(built(gan_stage()), CPU)
    assert min(need.state, need.generated, need.batch) > 0
    assert need.total(1) - need.total(4) == need.batch - need.batch // 4


def test_measuring_changes_nothing() -> None:
    module = built(joint_stage(TripleGAN()))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    memory_need(module, CPU)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert module.flops == 0


def free(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    monkeypatch.setattr(memory_check, "free_bytes", lambda device: int(size))


def test_a_fit_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = built(classifier_stage())
    need = memory_need(module, CPU)
    free(monkeypatch, need.total(2))
    with pytest.raises(ConfigError, match=r"trainer\.accumulate=1: a step of \d+ images.*trainer\.accumulate=2 fits"):
        fit(module, TrainerSettings())
    assert module.completed_steps == 0
    free(monkeypatch, need.state - 1)
    with pytest.raises(ConfigError, match=r"no trainer\.accumulate fits; take narrower networks"):
        fit(module, TrainerSettings())
    free(monkeypatch, need.total(1))
    assert fit(module, TrainerSettings()).status == "finished"


def test_the_setting_that_fits_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = classifier_stage()
    free(monkeypatch, memory_need(built(stage), CPU).total(2))
    settings = TrainerSettings(accumulate=2)
    assert fit(built(stage, settings=settings), settings).status == "finished"


def test_images_larger_than_a_gpu_stay_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU: where the stream would put them."""
    images = inputs_for(gan_stage())["real"].images
    monkeypatch.setattr(TrainerSettings, "device", torch.device("cuda", 0))
    monkeypatch.setattr("trigan.training.stage.free_bytes", lambda device: images.nbytes - 1)
    with pytest.raises(ConfigError, match=r"trainer\.images=device: the real images have .* set trainer\.images=host"):
        StageContext(SPEC, 0, TrainerSettings()).stream("real", Input(images), 8)
    placed = StageContext(SPEC, 0, TrainerSettings(images="host"))._placed(images, "real")
    assert isinstance(placed, HostImages)
    assert torch.equal(placed.read(), images)


def test_a_container_has_less_than_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    monkeypatch.setattr(free_memory, "_MACHINE", tmp_path / "meminfo")
    monkeypatch.setattr(free_memory, "_CONTAINER", tmp_path)
    assert free_memory.free_bytes(CPU) == 8000 * 1024
    for name, text in (("max", "5000000"), ("current", "4000000"), ("stat", "anon 1\ninactive_file 500000\n")):
        (tmp_path / f"memory.{name}").write_text(text)
    assert free_memory.free_bytes(CPU) == 1_500_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory.free_bytes(CPU) == 8000 * 1024
