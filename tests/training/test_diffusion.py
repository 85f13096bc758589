"""The diffusion stage: its loss, its random numbers, and which images are shown with a label."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from trigan.datasets.inputs import Input
from trigan.datasets.stream import to_float
from trigan.errors import ConfigError
from trigan.training.step import TrainingStep

from .tiny import DCGAN8, EDM8, built, diffusion_stage, fitted, inputs_for, partly_labelled, view


def _step(module: Any, index: int, part: int = 0) -> TrainingStep:
    return TrainingStep(module.step_context, index, part, False)


class _Watched(torch.nn.Module):
    """Stands in for the denoiser and records what it is asked."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner, self.weight = inner, inner.weight
        self.noisy, self.sigma, self.labels = [], [], []  # type: ignore[var-annotated]

    def denoise(self, x: Tensor, sigma: Tensor, y: Tensor | None) -> Tensor:
        self.noisy.append(x)
        self.sigma.append(sigma)
        self.labels.append(y)
        return torch.zeros_like(x)


def _watched(stage: Any, inputs: Any = None, steps: int = 40) -> tuple[Any, _Watched]:
    module = built(stage, inputs)
    watched = module.networks["generator"] = _Watched(module.networks["generator"])
    for index in range(steps):
        stage._loss(_step(module, index))
    return module, watched


def test_the_loss_is_that_of_the_paper() -> None:
    """E weight(sigma) |D(x + n; sigma) - x|^2 with D = 0, computed anew from the recorded noise levels."""
    stage = diffusion_stage()
    module = built(stage)
    watched = module.networks["generator"] = _Watched(module.networks["generator"])
    step = _step(module, 3)
    loss = stage._loss(step)
    x, sigma = step.batch("real").images.double(), watched.sigma[0].double()
    weight = (sigma**2 + 0.25) / (0.5 * sigma) ** 2
    assert float(loss) == pytest.approx(float((weight * x.square().flatten(1).mean(1)).mean()), rel=1e-5)
    noise = (watched.noisy[0].double() - x) / sigma[:, None, None, None]
    assert abs(float(noise.mean())) < 0.1
    assert abs(float(noise.std()) - 1.0) < 0.1


def test_noise_levels_are_log_normal() -> None:
    _, watched = _watched(diffusion_stage(noise_mean=-0.7, noise_std=0.4), steps=60)
    levels = torch.cat(watched.sigma).log()
    assert abs(float(levels.mean()) + 0.7) < 0.06
    assert abs(float(levels.std()) - 0.4) < 0.05


def test_half_of_a_batch_is_labelled_where_most_images_are_not() -> None:
    """40 of 240 images have labels; a tenth of those is shown without."""
    for share, dropout, expected in ((0.5, 0.0, 0.5), (0.5, 0.2, 0.4), (0.0, 0.0, 40 / 240), (0.9, 0.0, 0.9)):
        _, watched = _watched(diffusion_stage(labelled_share=share, label_dropout=dropout), steps=100)
        labels = torch.cat(watched.labels)
        assert abs(float((labels >= 0).float().mean()) - expected) < 0.05
        assert set(labels.unique().tolist()) == {-1, *range(10)}


@pytest.mark.parametrize("conditional", [False, True])
def test_images_without_labels_train_it_without(conditional: bool) -> None:
    stage = diffusion_stage(architecture=replace(EDM8, conditional=conditional))
    _, watched = _watched(stage, {"real": Input(view().training_images)}, steps=3)
    assert watched.labels == [None] * 3
    if not conditional:
        _, watched = _watched(stage, {"real": partly_labelled(view())}, steps=3)
        assert watched.labels == [None] * 3


def test_labels_belong_to_their_images() -> None:
    stage = diffusion_stage(label_dropout=0.0, noise_mean=-20.0)
    _, watched = _watched(stage, steps=20)
    seen = view().labelled
    known = {tuple(image.flatten().tolist()): int(label) for image, label in zip(seen.images, seen.labels, strict=True)}
    for noisy, labels in zip(watched.noisy, watched.labels, strict=True):
        pixels = ((noisy + 1) * 127.5).round().int().flatten(1)
        for row, label in zip(pixels.tolist(), labels.tolist(), strict=True):
            assert known.get(tuple(row), -1) == label


def test_the_loss_falls() -> None:
    losses = []
    for steps in (1, 60):
        module, _ = fitted(diffusion_stage(steps))
        stage = diffusion_stage()
        with torch.no_grad():
            losses.append(float(sum(stage._loss(_step(module, index)) for index in range(100, 130))) / 30)
    assert losses[0] == pytest.approx(1.0, rel=0.8), "preconditioned: of order 1 at the start"
    assert losses[1] < 0.8 * losses[0]


def test_what_is_kept() -> None:
    stage = diffusion_stage()
    module, ending = fitted(stage)
    assert ending.status == "finished"
    assert module.images == {"generator": 96}
    kept = stage.finish(module, inputs_for(stage))
    assert set(kept) == set(stage.skeleton(view().spec)) == {"generator"}
    assert kept["generator"] is module.averages["generator"]
    images = to_float(view().labelled.images)
    assert images.shape[1:] == kept["generator"].shape


def test_settings_out_of_range_are_refused() -> None:
    cases: dict[str, dict[str, Any]] = {
        "label_dropout: 1.5 must be in": {"label_dropout": 1.5},
        "labelled_share: 1.0 must be in": {"labelled_share": 1.0},
        "noise_std: -1.0 must be 0 or more": {"noise_std": -1.0},
        "architecture: DCGAN must be a diffusion model, architecture=edm": {"architecture": DCGAN8},
        "clip: 0.0 must be above 0": {"clip": 0.0},
    }
    for message, changes in cases.items():
        with pytest.raises(ConfigError, match=message):
            diffusion_stage(**changes)
