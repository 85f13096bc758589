"""Filters by place keep exactly the rows that an independent computation keeps."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trigan.datasets.inputs import Input
from trigan.errors import ConfigError
from trigan.samples.filters import DensityFilter, ManifoldFilter, ScoringModels

SOURCE = torch.Generator().manual_seed(4)


class _Pixels(nn.Module):
    """A classifier whose features are the first three pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def embed(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :3] * self.scale


def _images(count: int, low: int = 0, high: int = 40) -> Tensor:
    return torch.randint(low, high, (count, 1, 2, 2), generator=SOURCE, dtype=torch.uint8)


REAL, OF = _images(30), torch.tensor([0] * 12 + [1] * 12 + [2] * 5 + [3])
FOUND, LABELS = torch.cat([_images(60), _images(20, 30, 90)]), torch.arange(80) % 4
MODELS = ScoringModels(_Pixels(), labelled=Input(REAL, OF))


def _seen(images: Tensor) -> np.ndarray:
    return images.flatten(1)[:, :3].double().numpy() / 127.5


def _far(image: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.sqrt(((others - image) ** 2).sum(1))


@pytest.mark.parametrize("neighbours", [1, 3, 8])
def test_manifold_filter_keeps_samples_within_the_ball_of_a_real_image(neighbours: int) -> None:
    real, found = _seen(REAL), _seen(FOUND)
    expected = []
    for image, label in zip(found, LABELS.tolist(), strict=True):
        members = real[OF.numpy() == label]
        inside = False
        for index, centre in enumerate(members):
            others = np.sort(_far(centre, np.delete(members, index, 0)))
            if len(others):
                inside |= bool(_far(image, centre[None])[0] <= others[min(neighbours, len(others)) - 1] + 1e-7)
        expected.append(inside)
    kept = ManifoldFilter(neighbours).keep(FOUND, LABELS, MODELS)
    assert kept.tolist() == expected
    assert 0 < int(kept.sum()) < 60
    assert not kept[LABELS == 3].any(), "one real image has no ball"


def test_manifold_filter_keeps_real_images() -> None:
    assert ManifoldFilter(1).keep(REAL, OF, MODELS).tolist() == [label != 3 for label in OF.tolist()]


@pytest.mark.parametrize("neighbours", [1, 3, 8])
@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_density_keeps_the_densest_share_of_each_class(neighbours: int, share: float) -> None:
    real, found = _seen(REAL), _seen(FOUND)
    kept = set(DensityFilter(share, neighbours=neighbours).keep(FOUND, LABELS, MODELS).nonzero().squeeze(1).tolist())
    for label in range(4):
        members, rows = real[OF.numpy() == label], np.flatnonzero(LABELS.numpy() == label)
        reach = np.array([np.sort(_far(found[row], members))[min(neighbours, len(members)) - 1] for row in rows])
        count = round(share * len(rows))
        taken = np.array([row in kept for row in rows])
        assert taken.sum() == count
        assert reach[taken].max() <= np.sort(reach)[count - 1] + 1e-6


def test_a_class_without_real_images_keeps_nothing() -> None:
    scoring_models = ScoringModels(_Pixels(), labelled=Input(REAL[OF != 1], OF[OF != 1]))
    for one in (DensityFilter(), ManifoldFilter()):
        kept = one.keep(FOUND, LABELS, scoring_models)
        assert not kept[LABELS == 1].any()
        assert kept[LABELS == 0].any()


def test_neighbour_filters_need_labelled_images() -> None:
    with pytest.raises(ValueError, match="no labelled images"):
        ManifoldFilter().keep(FOUND, LABELS, ScoringModels(_Pixels()))


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        (lambda: DensityFilter(neighbours=0), "neighbours: 0 must be an integer of at least 1"),
        (lambda: ManifoldFilter(0), "neighbours: 0 must be an integer of at least 1"),
        (lambda: DensityFilter(keep_fraction=0.0), "keep_fraction: 0.0 must be a fraction in (0, 1]"),
    ],
)
def test_settings_out_of_range_are_refused(bad: Callable[[], object], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bad()
    assert str(caught.value) == line
