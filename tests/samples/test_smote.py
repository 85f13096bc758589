"""SMOTE in pixels against imbalanced-learn: the same neighbours and the same points; and in codes."""

import numpy as np
import pytest
import torch
from imblearn.over_sampling import SMOTE
from torch import Tensor, nn

from trigan.datasets.types import LabelledImages
from trigan.rng import Draws
from trigan.samples.smote import SMOTESampler

from ..training.tiny import digits

COUNTS = (40, 12, 7, 4, 1)


def _real() -> LabelledImages:
    rows = torch.cat([(digits().labels == k).nonzero().squeeze(1)[:n] for k, n in enumerate(COUNTS)])
    return LabelledImages(digits().images[rows], digits().labels[rows])


def test_neighbours_are_those_of_imbalanced_learn() -> None:
    real, sampler = _real(), SMOTESampler(_real(), neighbours=3)
    flat = real.images.flatten(1).double().numpy()
    for label, count in enumerate(COUNTS[:4]):
        rows, near = sampler.nearest[label]
        of_class = flat[rows.numpy()]
        model = SMOTE(k_neighbors=3)
        model.fit_resample(flat[: sum(COUNTS[:4])], real.labels[: sum(COUNTS[:4])].numpy())
        model.nn_k_.fit(of_class)
        expected = model.nn_k_.kneighbors(of_class, return_distance=False)[:, 1:]
        assert near.shape == (count, 3)
        assert np.array_equal(near.numpy(), rows.numpy()[expected])
    rows, near = sampler.nearest[4]
    assert near.tolist() == rows[:, None].tolist(), "an image that is alone in its class is its own neighbour"
    assert SMOTESampler(real, neighbours=50).nearest[2][1].shape == (7, 6), "all others, where there are fewer"


def test_samples_are_those_of_imbalanced_learn() -> None:
    """Its own formula, given the rows and steps that are drawn here; pixels are rounded."""
    real, sampler = _real(), SMOTESampler(_real(), neighbours=3)
    indices, labels = torch.arange(30), torch.arange(30) % 4
    found = sampler.sample(indices, labels, seed=5)
    drawn = Draws.of_indices(5, indices).uniform("smote", 3, dtype=torch.float64)
    flat = real.images.flatten(1).double().numpy()
    for label in range(4):
        of_label = labels == label
        rows, near = sampler.nearest[label]
        base = (drawn[of_label, 0] * len(rows)).long().numpy()
        column = (drawn[of_label, 1] * 3).long().numpy()
        table = near.numpy() - int(rows[0])  # its table numbers the images of the class
        expected = SMOTE()._generate_samples(
            flat[rows.numpy()], flat[rows.numpy()], table, base, column, drawn[of_label, 2:].numpy()
        )
        assert np.abs(found[of_label].flatten(1).numpy() - expected).max() <= 0.5
    assert found.dtype == torch.uint8
    assert len({tuple(one.flatten().tolist()) for one in found}) == 30


def test_a_sample_is_a_function_of_its_number() -> None:
    sampler, labels = SMOTESampler(_real()), torch.arange(20) % 5
    whole = sampler.sample(torch.arange(20), labels, seed=1)
    assert torch.equal(whole[7:13], sampler.sample(torch.arange(7, 13), labels[7:13], seed=1))
    assert not torch.equal(whole, sampler.sample(torch.arange(20), labels, seed=2))
    with pytest.raises(ValueError, match="draws samples for labels"):
        sampler.sample(torch.arange(2), None, seed=0)


class _Halves(nn.Module):
    """Codes are the pixels, times two; decoding halves them."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))

    def encode(self, images: Tensor) -> Tensor:
        return images.flatten(1) * self.factor

    def decode(self, codes: Tensor) -> Tensor:
        return (codes / self.factor).view(-1, 1, 8, 8)


def test_codes_are_interpolated_and_decoded() -> None:
    """With a linear code it is the same as in pixels, up to rounding."""
    labels = torch.arange(40) % 5
    plain, coded = (SMOTESampler(_real(), 3, codec).sample(torch.arange(40), labels, 3) for codec in (None, _Halves()))
    assert int((plain.int() - coded.int()).abs().max()) <= 1
