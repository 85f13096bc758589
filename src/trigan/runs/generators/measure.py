"""Behind `trigan metrics`: all figures of a set of generated images against training images, and a sheet of both."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trigan.component_ids import source_digest
from trigan.config.allow_list import check_targets, import_target
from trigan.datasets.types import LabelledImages
from trigan.errors import ConfigError, DataError
from trigan.evaluation.generators.embeddings import Embedding, from_file, of_classifier, random_conv
from trigan.evaluation.generators.image_figures import (
    class_figures,
    classwise_figures,
    compare_sets,
    likelihood_figures,
    reference_from,
)
from trigan.evaluation.generators.neighbours import nearest
from trigan.plots.sample_grids import save_sample_grid
from trigan.rng import permutation
from trigan.runs.generators.image_sets import RealImages
from trigan.runs.generators.standard_classifiers import StandardClassifiers

#: Samples on the sheet, and their nearest training images.
_ROWS, _NEAREST = 12, 6


@dataclass(frozen=True)
class MetricsRequest:
    """What is measured.

    Attributes:
        images: the most images of each kind.
        embedding: ``random_conv``, ``classifier``, or ``MODULE.FUNCTION`` of the user's.
        weights: a TorchScript file in place of ``embedding``; None: none.
        size: the side to which images are resized for it; 0: not at all.
        train: whether classifiers are trained for gan_train, gan_test and NAS.
        allow: the user's own modules.
    """

    images: int = 10_000
    embedding: str = "random_conv"
    weights: Path | None = None
    size: int = 0
    train: bool = False
    allow: Sequence[str] = ()


def measure(
    request: MetricsRequest,
    reals: RealImages,
    samples: LabelledImages,
    labelled_samples: Callable[[Tensor], LabelledImages],
    sheet: Path | None = None,
) -> dict[str, Any]:
    """The stamp, ``figures``, their ``floor``, and what follows from labels and classifiers, if there are any.

    Args:
        request: what is measured.
        reals: training images.
        samples: generated images, and labels, -1 where unknown.
        labelled_samples: samples for labels (n,), for classifiers that are trained on them.
        sheet: the picture of samples beside their nearest training images, to be written; None: none.
    """
    known = (reals.training.labels >= 0).nonzero().squeeze(1)
    count = min(request.images, len(samples))
    reference = reference_from(reals.training.images, count, reals.fingerprint, known)
    rows = permutation(len(samples), "samples")[: len(reference)].sort().values
    fake = LabelledImages(samples.images[rows], samples.labels[rows])
    classifiers = None
    if request.train or (request.embedding == "classifier" and request.weights is None):
        if reals.config is None:
            raise ConfigError(
                "--embedding classifier and --train need labelled training images: name a run or settings as the "
                "reference, e.g. data=mnist data.root=PATH"
            )
        classifiers = StandardClassifiers(reals.config)
    embedding = _embedding(request, classifiers)
    found = compare_sets(embedding, reference, fake.images)
    if reals.held_out is not None and len(reals.held_out) > 1:
        found["figures"] |= likelihood_figures(embedding, reference, reals.held_out, fake.images)
        found["held_out_images"] = len(reals.held_out)
    if len(known) and bool((fake.labels >= 0).any()):
        names = dict(enumerate(reals.classes))
        real = LabelledImages(reals.training.images[known], reals.training.labels[known])
        classwise = classwise_figures(embedding, real, fake, names)
        found["by_class"] = classwise.pop("by_class")
        found["figures"] |= classwise
    if classifiers is not None:
        real_classes = classifiers.logits(reference.real).argmax(1)
        found["figures"] |= class_figures(classifiers.logits(fake.images), real_classes)
        found["floor"] |= class_figures(classifiers.logits(reference.other), real_classes)
    if classifiers is not None and request.train:
        found["figures"] |= classifiers.figures(labelled_samples)
    if sheet is not None:
        _save_sheet(embedding, fake.images, reference.seen, sheet)
    for part in ("figures", "floor"):  # JSON has no infinity: a class without real images has generated ones
        found[part] = {name: value if math.isfinite(value) else None for name, value in found[part].items()}
    return found


def _embedding(request: MetricsRequest, classifiers: StandardClassifiers | None) -> Embedding:
    if request.weights is not None:
        return from_file(request.weights, request.size)
    if request.embedding == "random_conv":
        return random_conv()
    if request.embedding == "classifier":
        if classifiers is None:
            raise ValueError("the embedding classifier needs a classifier")
        stage = classifiers.real
        return of_classifier(stage.networks["classifier"], stage.digest)
    name = request.embedding
    if "." not in name:
        raise ConfigError(
            f"--embedding {name}: expected random_conv, classifier, or MODULE.FUNCTION of yours with --allow MODULE"
        )
    try:
        check_targets({"embedding": {"_target_": name}}, request.allow)
    except ConfigError as error:
        raise ConfigError(f"--embedding {name}: not on the allow-list; add --allow {name.partition('.')[0]}") from error
    network = import_target("embedding", name, request.allow)()
    if isinstance(network, nn.Module):
        network.eval()
    return Embedding(f"{name}-{source_digest(name.partition('.')[0])[:12]}", network)


def label_picker(samples: LabelledImages) -> Callable[[Tensor], LabelledImages]:
    """Samples for labels (n,) from a fixed set: each at most once, fewer where a class has too few.

    The returned function raises a DataError if no sample has a label.
    """

    def pick(labels: Tensor) -> LabelledImages:
        if not bool((samples.labels >= 0).any()):
            raise DataError("--train needs labelled samples: give a run, or a folder with one folder for each class")
        counts = torch.bincount(labels).tolist()
        rows = torch.cat([(samples.labels == k).nonzero().squeeze(1)[:n] for k, n in enumerate(counts)])
        return LabelledImages(samples.images[rows], samples.labels[rows])

    return pick


def _save_sheet(embedding: Embedding, fake: Tensor, seen: Tensor, path: Path) -> None:
    """Evenly spaced samples, each with its nearest training images, nearest first."""
    chosen = fake[torch.linspace(0, len(fake) - 1, min(_ROWS, len(fake))).long()]
    _, indices = nearest(embedding(chosen), embedding(seen), min(_NEAREST, len(seen)))
    samples, neighbours = (one.movedim(-3, -1).numpy() for one in (chosen[:, None], seen[indices]))
    save_sample_grid(samples, path, real=neighbours)
