"""Figures of a run's generator for its record: against training images alone, in the embedding ``random_conv``."""

from typing import Any

from trigan.config.settings import Evaluation
from trigan.datasets.types import LabelledImages
from trigan.evaluation.generators.embeddings import random_conv
from trigan.evaluation.generators.image_figures import MIN_IMAGES, compare_sets, reference_from
from trigan.networks.gans.gan import ImageGenerator
from trigan.rng import hash64
from trigan.runs.trained_run import TrainedRun
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
