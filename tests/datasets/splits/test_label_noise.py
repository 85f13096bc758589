"""Label noise: exact rates, other classes only, the same labels in the same trial; what it reaches and what not."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trigan.datasets.sources.digits import Digits
from trigan.datasets.splits.draw_split import draw_split
from trigan.datasets.splits.label_noise import (
    InstanceDependentNoise,
    LabelNoise,
    MatrixNoise,
    PairNoise,
    SymmetricNoise,
)
from trigan.datasets.splits.regime import Regime
from trigan.errors import ConfigError

RATED = (SymmetricNoise, PairNoise, InstanceDependentNoise)
CASES = st.tuples(st.integers(2, 6), st.integers(1, 200), st.integers(0, 2**32))


def part(classes: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    """Labels, keys and images."""
    source = np.random.default_rng(seed)
    images = torch.from_numpy(source.integers(0, 256, (count, 1, 8, 8))).to(torch.uint8)
    return source.integers(0, classes, count), source.integers(0, 2**64, (count, 2), dtype=np.uint64), images


def noisy(noise: LabelNoise, labels: np.ndarray, keys: np.ndarray, images: torch.Tensor, classes: int) -> np.ndarray:
    return noise(labels, keys, classes, lambda: images)


@settings(max_examples=40, deadline=None)
@given(CASES, st.floats(0, 1), st.sampled_from(RATED))
def test_the_rate_is_exact_and_each_changed_label_is_of_another_class(
    case: tuple[int, int, int], rate: float, kind: Any
) -> None:
    labels, keys, images = part(*case)
    changed = noisy(kind(rate), labels, keys, images, case[0])
    assert int((changed != labels).sum()) == round(rate * len(labels))
    assert set(changed) <= set(range(case[0]))
    order = np.random.default_rng(0).permutation(len(labels))
    again = noisy(kind(rate), labels[order], keys[order], images[torch.from_numpy(order)], case[0])
    assert (again == changed[order]).all()  # of an image, whatever its place


@settings(max_examples=40, deadline=None)
@given(CASES, st.data())
def test_a_matrix_gives_each_pair_of_classes_its_share(case: tuple[int, int, int], data: Any) -> None:
    classes = case[0]
    weights = data.draw(
        st.lists(
            st.lists(st.integers(0, 9), min_size=classes, max_size=classes).filter(any),
            min_size=classes,
            max_size=classes,
        )
    )
    matrix = tuple(tuple(w / sum(row) for w in row) for row in weights)
    labels, keys, images = part(*case)
    changed = noisy(MatrixNoise(matrix), labels, keys, images, classes)
    for i in range(classes):
        of_class = labels == i
        counts = np.bincount(changed[of_class], minlength=classes)
        assert (np.abs(counts - of_class.sum() * np.array(matrix[i])) < 1).all()
        assert counts[np.array(matrix[i]) == 0].sum() == 0
    order = np.argsort(keys[:, 1])
    assert (noisy(MatrixNoise(matrix), labels[order], keys[order], images, classes) == changed[order]).all()


def test_a_single_label_changes_with_the_probabilities_of_its_row() -> None:
    noise, keys = MatrixNoise(((0.5, 0.2, 0.3), (0, 1, 0), (0, 0, 1))), part(3, 4000, 5)[1]
    one = np.zeros(1, dtype=np.int64)
    found = [int(noisy(noise, one, keys[i : i + 1], torch.empty(0), 3)[0]) for i in range(4000)]
    assert np.allclose(np.bincount(found, minlength=3) / 4000, [0.5, 0.2, 0.3], atol=0.03)


def test_symmetric_noise_reaches_all_other_classes_evenly_and_pair_noise_the_next() -> None:
    labels, keys, images = np.arange(20000) % 5, *part(5, 20000, 0)[1:]
    steps = np.bincount((noisy(SymmetricNoise(0.5), labels, keys, images, 5) - labels) % 5, minlength=5)
    assert steps[0] == 10000
    assert np.allclose(steps[1:], 2500, atol=150)
    assert (noisy(PairNoise(1.0), labels, keys, images, 5) == (labels + 1) % 5).all()


@pytest.mark.parametrize(
    "noise", [SymmetricNoise(0.3), PairNoise(0.3), MatrixNoise(((0.9, 0.1, 0), (0, 1, 0), (0.2, 0.3, 0.5)))]
)
def test_the_matrix_of_a_noise_is_what_it_does(noise: LabelNoise) -> None:
    labels, keys, images = np.arange(30000) % 3, *part(3, 30000, 1)[1:]
    changed = noisy(noise, labels, keys, images, 3)
    found = np.array([np.bincount(changed[labels == i], minlength=3) / 10000 for i in range(3)])
    assert np.allclose(found, noise.transition(3), atol=0.015)


def test_instance_noise_sends_images_to_the_classes_of_its_projections() -> None:
    """Algorithm 2 with probabilities written out: of one image, repeated, the wrong classes have softmax shares."""
    image = (torch.arange(64).view(1, 1, 8, 8) % 7 + 124).to(torch.uint8)
    labels, keys = np.full(30000, 2), part(4, 30000, 2)[1]
    noise = InstanceDependentNoise(1.0)
    changed = noisy(noise, labels, keys, image.expand(30000, -1, -1, -1), 4)
    scores = (image.flatten().double() / 127.5 - 1) @ noise._projection(2, 64, 4)
    shares = np.exp(scores.numpy()) * np.array([1, 1, 0, 1])
    assert np.allclose(np.bincount(changed, minlength=4) / 30000, shares / shares.sum(), atol=0.015)
    spread = InstanceDependentNoise(0.4)._probabilities(np.arange(0.5, 1000) / 1000)
    assert spread.mean() == pytest.approx(0.4, abs=1e-3)
    assert spread.std() == pytest.approx(0.1, abs=1e-3)


NOISES = (
    SymmetricNoise(0.4),
    PairNoise(0.4),
    InstanceDependentNoise(0.4),
    MatrixNoise(SymmetricNoise(0.4).transition(10)),
)


@pytest.mark.parametrize("noise", NOISES)
def test_noise_reaches_training_and_validation_and_never_the_test_set(noise: Any) -> None:
    source = Digits().load()
    clean, drawn, again = (draw_split(source, Regime(20, noise=one), 3) for one in (None, noise, noise))
    other = draw_split(source, Regime(20, noise=noise), 4)
    for name in ("labelled", "validation"):
        before, after, same = (getattr(one.view, name) for one in (clean, drawn, again))
        assert torch.equal(before.images, after.images)
        within = 10 if isinstance(noise, MatrixNoise) else 0  # less than a label of each class
        assert abs(int((before.labels != after.labels).sum()) - round(0.4 * len(before))) <= within
        assert torch.equal(after.labels, same.labels)
    assert not torch.equal(drawn.view.labelled.labels, other.view.labelled.labels)
    assert torch.equal(drawn.test.open("x").labels, clean.test.open("x").labels)


def test_clean_validation_is_stamped_where_there_is_some() -> None:
    source = Digits().load()
    noise = SymmetricNoise(0.4, "clean")
    clean, drawn = (draw_split(source, Regime(20, noise=one), 0) for one in (None, noise))
    assert torch.equal(clean.view.validation.labels, drawn.view.validation.labels)  # type: ignore[union-attr]
    noisy_as_ever = draw_split(source, Regime(20, noise=replace(noise, validation="noisy")), 0)
    assert torch.equal(drawn.view.labelled.labels, noisy_as_ever.view.labelled.labels)
    assert (clean.info.stamps, drawn.info.stamps) == ((), ("clean-validation",))
    assert draw_split(source, Regime(5, noise=noise), 0).info.stamps == ()


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: MatrixNoise(((0.5, 0.4), (0, 1))), r"matrix: row 0, \[0.5, 0.4\], must be numbers .* add up to 1"),
        (lambda: MatrixNoise(((1.5, -0.5), (0, 1))), "matrix: row 0"),
        (lambda: MatrixNoise(((1, 0), (0, 1, 0))), "matrix: row 1 has 3 numbers, expected 2"),
        (
            lambda: MatrixNoise(((1, 0), (0, 1))).transition(3),
            "regime.noise.matrix: 2 rows, but the data have 3 classes",
        ),
        (lambda: InstanceDependentNoise(0.4).transition(3), "regime.noise=instance has no matrix"),
        (lambda: InstanceDependentNoise(0.4, spread=0.0), "spread: 0.0 must be above 0"),
        (lambda: SymmetricNoise(0.4, "dirty"), "validation: dirty must be noisy or clean"),  # type: ignore[arg-type]
    ],
)
def test_impossible_noise_is_refused_in_one_line(make: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as error:
        make()
    assert re.fullmatch(r".+", str(error.value))
