"""A diffusion model in the place of the GAN: its stage, its images, and what its samples cost."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from few_steps import composer

from trigan.cost import count_flops
from trigan.datasets.inputs import Input
from trigan.errors import ConfigError
from trigan.strategies.sample_settings import SampleSettings

from ..training.tiny import EDM8, classifier_stage, diffusion_stage, view
from .recipes import augment, make_runner


def test_the_architecture_chooses_the_stage_of_its_generator() -> None:
    for strategy in ("augment", "features"):
        for architecture, target in (("edm", "diffusion_stage.DiffusionStage"), ("cgan", "gan_stage.GANStage")):
            composed = composer().compose([f"strategy={strategy}", f"architecture={architecture}"])
            assert composed.config["strategy"]["gan"]["_target_"] == f"trigan.training.stages.{target}"
    refused = {
        "strategy=joint architecture=edm": "strategy.joint.architecture=edm: this needs a GAN's G and D",
        "strategy=augment stage@strategy.gan=diffusion": "architecture: DCGAN must be a diffusion model",
        "strategy=augment architecture=edm strategy.filter=discriminator": "needs a D, and a diffusion model has none",
        "strategy=augment strategy.gan_images=partly_labelled": "set architecture=cgan or another",
        "strategy=features architecture=edm strategy.backbone=autoencoder": "this needs a GAN's G and D",
    }
    for words, message in refused.items():
        with pytest.raises(ConfigError, match=message):
            composer().compose(words.split())


@pytest.mark.parametrize(
    ("changes", "labelled", "images"),
    [({}, 40, 240), ({"gan_images": "labelled"}, 40, 40), ({"labels": "classifier"}, 0, 240)],
    ids=["partly", "labelled", "without labels"],
)
def test_training_images_of_a_diffusion_model(
    changes: dict[str, Any], labelled: int, images: int, tmp_path: Path
) -> None:
    """A conditional one takes L with its labels and U without."""
    conditional = "labels" not in changes
    stage = diffusion_stage(2, architecture=replace(EDM8, conditional=conditional))
    runner, taken = make_runner(tmp_path), dict[str, Input]()
    train = runner.train

    def watched(name: str, stage: Any, inputs: Any, seed: int | None = None) -> Any:
        taken.update({name: inputs["real"]} if name == "diffusion" else {})
        return train(name, stage, inputs, seed)

    runner.train = watched  # type: ignore[method-assign]
    augment(gan=stage, **changes).run(view(), runner)
    real = taken["diffusion"]
    assert len(real) == images
    assert (0 if real.labels is None else int((real.labels >= 0).sum())) == labelled


def test_drawing_from_a_diffusion_model_is_charged_and_bounded(tmp_path: Path) -> None:
    """3 x 20 steps x 16 images at 7 passes a sample are 137 samples, so 3 sets of 40, not one for each epoch."""
    samples = SampleSettings(ratio=1.0, sets="auto")
    runner = make_runner(tmp_path)
    outcome = augment(gan=diffusion_stage(20), classifier=classifier_stage(30), samples=samples).run(view(), runner)
    notes = outcome.notes["samples"]
    assert notes["sets"] == [40, 40, 40]
    assert notes["n_candidates"] == 120, "all are kept, so no more are drawn"
    generator: Any = outcome.generator
    x, sigma = torch.zeros(120, 1, 8, 8), torch.ones(120)
    with torch.no_grad():
        once = count_flops(lambda: generator.denoise(x, sigma, torch.zeros(120, dtype=torch.int64)))
    assert runner.task_costs["sampling"].flops == 7 * once
    assert runner.task_costs["sampling"].flops < runner.trained_stages[0].cost.flops


def test_runs_with_other_settings_of_the_sampler_share_the_trained_model(tmp_path: Path) -> None:
    found = []
    for guidance in (1.0, 3.0):
        architecture = replace(EDM8, sampler=replace(EDM8.sampler, guidance=guidance))
        runner = make_runner(tmp_path)
        outcome = augment(gan=diffusion_stage(architecture=architecture)).run(view(), runner)
        stage = next(one for one in runner.trained_stages if one.kind == "diffusion")
        found.append((stage.digest, stage.reused, outcome.generator))
    assert found[0][0] == found[1][0]
    assert [reused for _, reused, _ in found] == [False, True]
    assert [generator.passes for *_, generator in found] == [7, 14]  # type: ignore[union-attr]
