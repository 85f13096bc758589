"""Images of another data set, brought to the shape of this one: what a stage may be trained on before a transfer."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from trigan.data.sources.decode import Geometry
from trigan.data.splits.split_info import ExternalDataInfo
from trigan.data.splits.splitter import DataSplit
from trigan.data.types import DataSpec, ImageDataset, TrainingView
from trigan.errors import DataError


def with_external(drawn: DataSplit, source: ImageDataset, other: ImageDataset) -> DataSplit:
    """The draw from ``source``, its view with the training images of ``other``, labelled or not.

    The other's official test set is never taken. Neither is an image whose pixels a test image of this draw has, in
    whatever shape and colour either is shown: the test set stays sealed though it lies in two data sets.

    Raises:
        DataError: no image is left.
    """
    sealed = {row.tobytes() for row in source.digests.numpy()[drawn.parts.test]}
    rows = np.arange(len(other.images))
    if other.official_test is not None:
        rows = rows[~other.official_test.numpy()]
    known = np.array([row.tobytes() in sealed for row in other.digests.numpy()[rows]], dtype=bool)
    kept = rows[~known]
    if not len(kept):
        raise DataError(
            f"strategy.pretrain.data: {other.name} has no image outside its test set and this run's; "
            "name another data set"
        )
    images = resize_to_spec(other.images.index_select(0, torch.from_numpy(kept)), drawn.view.spec)
    facts = ExternalDataInfo(other.name, other.fingerprint, len(kept), int(known.sum()))
    return replace(drawn, view=replace(drawn.view, external=images), external=facts)


def resize_to_spec(images: Tensor, spec: DataSpec) -> Tensor:
    """Images uint8 (N, c, s, s) as (N, C, S, S): resized as a source's own are, larger ones antialiased.

    Grey becomes colour by repetition; colour becomes grey by its luma (ITU-R 601), as in :class:`Geometry`.
    """
    if images.shape[1:] == (spec.channels, spec.size, spec.size):
        return images
    geometry = Geometry(spec.size, spec.channels)
    out = np.empty((len(images), spec.channels, spec.size, spec.size), dtype=np.uint8)
    for row, image in zip(out, images.numpy(), strict=True):
        row[:] = geometry.fit(image.transpose(1, 2, 0)).transpose(2, 0, 1)
    return torch.from_numpy(out)


def external_images(view: TrainingView) -> Tensor:
    """The view's external images, where there must be some."""
    if view.external is None:
        raise DataError(
            "this view has no images of another data set: draw it by trigan.data.splits.external_data.with_external"
        )
    return view.external
