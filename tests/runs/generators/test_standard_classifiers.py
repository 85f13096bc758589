"""Classifiers that judge generated images have batch-norm statistics of real images alone."""

from pathlib import Path

import pytest
import torch
from few_steps import composer
from torch import Tensor, nn

from trigan.datasets.inputs import Input
from trigan.datasets.types import LabelledImages
from trigan.runs.generators.standard_classifiers import NAS_SHARES, StandardClassifiers
from trigan.training.stages import classifier_stage


def test_samples_never_give_the_statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sampled: list[bool] = []

    def spied(network: nn.Module, images: Tensor, labelled: Input, seed: int) -> int:
        sampled.append(labelled.sampled)
        return recalibrate(network, images, labelled, seed)

    recalibrate = classifier_stage.recalibrate_on_real
    monkeypatch.setattr(classifier_stage, "recalibrate_on_real", spied)
    words = ["debug=fast", "regime=full", "logger=none", f"paths.outputs={tmp_path}"]
    classifiers = StandardClassifiers(composer().compose(words))

    def sample(labels: Tensor) -> LabelledImages:
        noise = torch.randint(0, 256, (len(labels), 1, 8, 8), generator=torch.Generator().manual_seed(0))
        return LabelledImages(noise.to(torch.uint8), labels)

    classifiers.figures(sample)
    assert sampled == [False, True, *[True] * len(NAS_SHARES)], "real images, gan_train, NAS"
