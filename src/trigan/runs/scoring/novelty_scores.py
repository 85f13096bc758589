"""How a run's frozen networks tell test images of held-out classes from those of known ones."""

from typing import Any

from torch import Tensor, nn

from trigan.datasets.types import LabelledImages
from trigan.evaluation.novelty import ImageOutputs, NoveltyReference, image_scores, novelty_figures
from trigan.networks.gans.gan import ImageGenerator
from trigan.rng import hash64
from trigan.runs.trained_run import TrainedRun
from trigan.samples.filters import outputs
from trigan.samples.samplers import GeneratorSampler

#: Samples of G that are the further class of the score ``generated``.
SAMPLES = 1000


def novelty_scores(trained: TrainedRun, training: LabelledImages, known: Tensor, novel: Tensor) -> dict[str, Any]:
    """The block ``novelty`` of a record.

    Args:
        trained: with its networks, in evaluation mode.
        training: all training images, with -1 as label of the unlabelled ones.
        known: test images of the classes of the task, uint8 (N, C, S, S).
        novel: test images of held-out classes, uint8 (M, C, S, S).
    """
    held_out = trained.data.info.held_out
    assert held_out is not None
    reference, discriminator = _reference(trained, training), _discriminator(trained)
    scores = [image_scores(_outputs(trained, discriminator, images), reference) for images in (known, novel)]
    counts = {"images": len(novel), "known": len(known)}
    return {"classes": list(held_out.classes), **counts, "scores": novelty_figures(*scores)}


def _outputs(trained: TrainedRun, discriminator: nn.Module | None, images: Tensor) -> ImageOutputs:
    classifier = trained.outcome.classifier
    return ImageOutputs(
        outputs(classifier, images),
        outputs(classifier, images, embed=True) if hasattr(classifier, "embed") else None,
        None if discriminator is None else outputs(discriminator, images),
    )


def _reference(trained: TrainedRun, training: LabelledImages) -> NoveltyReference | None:
    """What features are compared with, if C has an ``embed``; with G's samples if the run has a generator."""
    classifier, generator = trained.outcome.classifier, trained.outcome.generator
    if not hasattr(classifier, "embed"):
        return None
    rows = (training.labels >= 0).nonzero().squeeze(1)
    labels, generated = training.labels[rows], None
    if isinstance(generator, ImageGenerator):
        seed = hash64(trained.run_config.seed, "novelty")
        samples = GeneratorSampler(generator).first(SAMPLES, labels, seed)
        generated = outputs(classifier, samples.images, embed=True)
    return NoveltyReference(outputs(classifier, training.images[rows], embed=True), labels, generated)


def _discriminator(trained: TrainedRun) -> nn.Module | None:
    """D, if the networks of the run's stages have exactly one."""
    found = [one.networks["discriminator"] for one in trained.stages if "discriminator" in one.networks]
    return found[0] if len(found) == 1 else None
