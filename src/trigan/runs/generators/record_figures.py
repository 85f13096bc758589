"""Figures of a run's generator for its record: against training images, and by classifiers if the run asks for them."""

from typing import Any

from torch import Tensor

from trigan.config.settings import Evaluation
from trigan.datasets.types import LabelledImages
from trigan.evaluation.generators.embeddings import random_conv
from trigan.evaluation.generators.image_figures import MIN_IMAGES, compare_sets, reference_from
from trigan.networks.gans.gan import ImageGenerator
from trigan.rng import hash64
from trigan.runs.generators.standard_classifiers import StandardClassifiers
from trigan.runs.trained_run import TrainedRun
from trigan.samples.filters import outputs
from trigan.samples.samplers import GeneratorSampler


def generator_figures(trained: TrainedRun, training: LabelledImages) -> dict[str, Any] | None:
    """The figures of the run's generator; None without one, if the setting says so, or with too few images.

    Equal numbers of samples, without filters, and of training images, at most ``evaluation.generator_images``. The
    labels of a conditional generator's samples are those of the labelled images in turn. No test image is in
    ``training``, whose labels are -1 where the regime hides them.
    """
    count = Evaluation(**trained.run_config.config["evaluation"]).generator_images
    generator = trained.outcome.generator
    if not isinstance(generator, ImageGenerator) or min(count, len(training) // 2) < MIN_IMAGES:
        return None
    known = (training.labels >= 0).nonzero().squeeze(1)
    reference = reference_from(training.images, count, trained.data.fingerprint, known)
    seed = hash64(trained.run_config.seed, "figures")
    samples = GeneratorSampler(generator).first(len(reference), training.labels[known], seed)
    return compare_sets(random_conv(), reference, samples.images)


def classifier_figures(trained: TrainedRun) -> dict[str, dict[str, float]]:
    """``figures`` by classifiers that are trained on samples, and the same of real images, ``floor``.

    GAN-train, GAN-test and NAS with as many samples as real images, at most ``evaluation.generator_images``. A
    conditional generator gets the labels of the real images; samples of another have those that the run's classifier
    predicts. Labels that the regime hides are read, for these numbers alone: everything is frozen.
    """
    setting = Evaluation(**trained.run_config.config["evaluation"])
    generator, classifier = trained.outcome.generator, trained.outcome.classifier
    if not setting.generator_classifiers or not isinstance(generator, ImageGenerator):
        return {"figures": {}, "floor": {}}
    seed = hash64(trained.run_config.seed, "classifier figures")

    def sample(labels: Tensor) -> LabelledImages:
        found = GeneratorSampler(generator).first(len(labels), labels, seed)
        return LabelledImages(
            found.images, outputs(classifier, found.images).argmax(1) if found.labels is None else labels
        )

    figures = StandardClassifiers(trained.run_config, setting.generator_images).figures(sample, shares=(1.0,))
    real = figures.pop("real_accuracy")
    return {"figures": figures, "floor": dict.fromkeys(figures, real)}
