"""Real and generated images to be compared, from runs, data sets, folders and files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trigan.component_ids import with_targets
from trigan.config import schema
from trigan.config.allow_list import check_targets
from trigan.config.compose import RunConfig
from trigan.datasets.image_files import find_files, read_images
from trigan.datasets.sources.decode import decode
from trigan.datasets.sources.geometry import Geometry
from trigan.datasets.sources.hub import Columns
from trigan.datasets.types import MAX_IMAGE_SIZE, MIN_IMAGE_SIZE, DataSpec, LabelledImages
from trigan.errors import DataError
from trigan.identity import tensor_digest
from trigan.networks.gans.gan import ImageGenerator
from trigan.runs.finished_run import FinishedRun
from trigan.runs.trained_run import divide_data, training_images
from trigan.samples.samplers import GeneratorSampler


@dataclass(frozen=True, eq=False)
class RealImages:
    """Training images to compare with; no test image is among them.

    Attributes:
        training: uint8 (N, C, S, S) and labels, -1 where none is known.
        spec: of the images.
        fingerprint: of the data set, or of the images of a folder or file.
        classes: names, in label order; empty if there are no labels.
        held_out: uint8, real images that no generator was trained on; None if there are none.
        config: of the run or the settings that the data set comes from; None for a folder or file.
    """

    training: LabelledImages
    spec: DataSpec
    fingerprint: str
    classes: tuple[str, ...] = ()
    held_out: Tensor | None = None
    config: RunConfig | None = None


def config_of_run(finished: FinishedRun, allow: Sequence[str] = ()) -> RunConfig:
    """The config of a finished run, with the parts that data and classifiers are built from checked."""
    config = with_targets(finished.record["config"])
    parts = {name: config[name] for name in ("data", "regime", "recipe", "trainer")}
    check_targets(parts, allow)
    schema.check(parts, {}, allow)
    return RunConfig(config, {}, ())


def real_images(config: RunConfig, used: dict[str, int] | None = None) -> RealImages:
    """The training images of a run's data, or of settings.

    ``used`` are the images that the run used by kind: unlabelled or else validation images that it did not use are held
    out. Without it they are the validation images.
    """
    view, data = divide_data(config, config.load_data())
    training, held_out = training_images(view), None
    if used is not None and view.sizes.unlabelled and not used["U"]:
        held_out = view.unlabelled
    elif view.validation is not None and not (used or {"V": 0})["V"]:
        held_out = view.validation.images
    return RealImages(training, view.spec, data.fingerprint, data.class_names, held_out, config)


def images_at(path: Path, spec: DataSpec | None, classes: Sequence[str] = ()) -> tuple[LabelledImages, DataSpec]:
    """The images of a file or folder, resized to ``spec``; without it, to the shorter side of the first image.

    An image in a folder with the name of a class has its label, one in a Parquet or npz file that of its column or
    array, by name or number, where there are ``classes``; the others have -1.

    Raises:
        DataError: there are none, one cannot be read, or a file has a label that is no class.
    """
    files = find_files(path)
    if spec is None:
        spec = _spec_of_first(files)
    pixels, labels = [], []
    number = {name: label for label, name in enumerate(classes)}
    for one in read_images(files, Geometry(spec.size, spec.channels), Columns()):
        if one.pixels is None:
            raise DataError(f"{one.error}; remove it, or name the images that count")
        pixels.append(one.pixels)
        if one.label is None or not classes:
            labels.append(number.get(Path(one.location).parent.name, -1))
        else:
            labels.append(number.get(str(one.label), one.label if isinstance(one.label, int) else len(classes)))
            if not -1 <= labels[-1] < len(classes):
                raise DataError(
                    f"{one.location}: its label {one.label!r} is no class of the training images "
                    f"({', '.join(classes[:10])}); correct it, or leave the labels out"
                )
    images = torch.from_numpy(np.stack(pixels).astype(np.uint8))
    return LabelledImages(images, torch.tensor(labels)), spec


def _spec_of_first(files: Sequence[Path]) -> DataSpec:
    """Side and channels of the first image, as they lie in its file."""
    suffix = files[0].suffix.lower()
    if suffix in (".npz", ".parquet"):
        (first, *_) = (one.pixels for one in read_images(files[:1], Geometry(None, None), Columns()))
        if first is None:
            raise DataError(f"{files[0]}: its first image cannot be read")
        channels, height, width = first.shape
    else:
        height, width, channels = decode(files[0], str(files[0]), None).shape
    side = min(max(min(height, width), MIN_IMAGE_SIZE), MAX_IMAGE_SIZE)
    return DataSpec(channels, side, 0)


def reals_at(path: Path) -> RealImages:
    """The images of a file or folder as training images: that they are not test images, the user says."""
    training, spec = images_at(path, None)
    return RealImages(training, spec, tensor_digest(training.images))


def samples_of(finished: FinishedRun, count: int, seed: int, labels: Tensor) -> LabelledImages:
    """``count`` samples of a run's generator, without filters; a conditional one takes ``labels`` (n,) in turn.

    Without any label it takes the classes in turn.
    """
    generator: Any = finished.generator
    if not isinstance(generator, ImageGenerator):
        raise DataError(f"run {finished.run[:12]}: its generator takes no latents; write its samples to a folder first")
    labels = labels if len(labels) else torch.arange(max(1, generator.classes))
    samples = GeneratorSampler(generator).first(count, labels, seed)
    return LabelledImages(samples.images, torch.full((count,), -1) if samples.labels is None else samples.labels)
