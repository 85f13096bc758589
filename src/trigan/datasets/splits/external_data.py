"""Images of another data set in this one's shape, for pretraining."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from trigan.datasets.sources.geometry import Geometry
from trigan.datasets.splits.splitter import DataSplit, ExternalDataInfo
from trigan.datasets.types import DataSpec, ImageDataset, TrainingView
from trigan.errors import DataError


def with_external(split: DataSplit, source: ImageDataset, other: ImageDataset) -> DataSplit:
    """The ``split`` of ``source``, its view with the training images of ``other``, labelled or not.

    The official test set of ``other`` is left out, and so is every image whose original pixels equal those of a test
    image of this split: the test set stays sealed even if both data sets contain it.

    Raises:
        DataError: no image is left.
    """
    tested = [split.parts.test, *([split.held_out.rows] if split.held_out is not None else [])]
    sealed = {row.tobytes() for row in source.digests.numpy()[np.concatenate(tested)]}
    rows = np.arange(len(other.images))
    if other.official_test is not None:
        rows = rows[~other.official_test.numpy()]
    in_test = np.array([row.tobytes() in sealed for row in other.digests.numpy()[rows]], dtype=bool)
    kept = rows[~in_test]
    if not len(kept):
        raise DataError(
            f"strategy.pretrain.data: {other.name} has no image outside its own test set and this run's data; "
            "name another data set"
        )
    images = resize_to_spec(other.images.index_select(0, torch.from_numpy(kept)), split.view.spec)
    info = ExternalDataInfo(other.name, other.fingerprint, len(kept), int(in_test.sum()))
    own = split.view
    view = TrainingView(own.spec, own.labelled, own.validation, own.unlabelled, own.order, images)
    return replace(split, view=view, external=info)


def resize_to_spec(images: Tensor, spec: DataSpec) -> Tensor:
    """Images uint8 (N, c, s, s) as (N, C, S, S), resized and converted by `Geometry`, as a source's own are."""
    if images.shape[1:] == (spec.channels, spec.size, spec.size):
        return images
    geometry = Geometry(spec.size, spec.channels)
    resized = [geometry.fit(image) for image in images.movedim(1, 3).numpy()]
    return torch.from_numpy(np.stack(resized)).movedim(3, 1).contiguous()


def external_images(view: TrainingView) -> Tensor:
    """The view's external images, which must exist."""
    if view.external is None:
        raise DataError("this view has no images of another data set: add them with external_data.with_external")
    return view.external
