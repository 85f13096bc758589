"""Attacks: closed forms on linear classifiers, foolbox as reference, and APGD by its paper."""

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from trigan.errors import ConfigError
from trigan.evaluation.robustness.attacks import Ball, Norm, cross_entropy, fgsm, lengths, pgd
from trigan.evaluation.robustness.auto_attack import apgd, auto_attack, checkpoints, dlr_loss, targeted_dlr_loss
from trigan.rng import Draws


@cache
def trained() -> tuple[nn.Module, Tensor, Tensor]:
    """A small network that has learnt digits, and 64 images in [-1, 1] with the labels that it gets right."""
    torch.manual_seed(0)
    found = load_digits()
    images = torch.tensor(found.images, dtype=torch.float32)[:, None] / 8.0 - 1.0
    labels = torch.tensor(found.target, dtype=torch.int64)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.Tanh(), nn.Linear(48, 10))
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    right = (model(images).argmax(1) == labels).nonzero().squeeze(1)[:64]
    return model.eval().requires_grad_(False), images[right], labels[right]


def draws(count: int) -> Draws:
    return Draws.of_rows(3, 0, count)


def linear(weight: Tensor) -> Callable[[Tensor], Tensor]:
    """Two classes by the sign of <w, x>: logits (0, <w, x>)."""
    return lambda x: torch.stack([torch.zeros(len(x)), (x * weight).sum((1, 2, 3))], 1)


def test_attacks_on_a_linear_classifier_reach_the_closed_form() -> None:
    torch.manual_seed(1)
    weight, clean = torch.randn(1, 4, 4), torch.rand(5, 1, 4, 4) * 0.4 - 0.2  # far from the limits of pixels
    model, loss = linear(weight), cross_entropy(torch.ones(5, dtype=torch.int64))
    expected = clean - 2 * 0.1 * weight.sign()
    assert torch.allclose(fgsm(model, clean, loss, 0.1), expected, atol=1e-6)
    assert torch.allclose(pgd(model, clean, loss, Ball("linf", 0.1), 10), expected, atol=1e-6)
    expected = clean - 2 * 0.2 * weight / weight.norm()
    assert torch.allclose(pgd(model, clean, loss, Ball("l2", 0.2), 10), expected, atol=1e-6)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 0.6)])
def test_a_ball_is_in_units_of_pixels_and_starts_lie_in_it(norm: Norm, eps: float) -> None:
    _, clean, _ = trained()
    ball = Ball(norm, eps)
    start = ball.random_start(clean, draws(64))
    shift = (start - clean) / 2.0  # on the scale [0, 1]
    distance = shift.abs().flatten(1).amax(1) if norm == "linf" else lengths(shift).flatten()
    assert float(distance.max()) <= eps + 1e-6
    assert float(distance.mean()) > 0.3 * eps
    assert float(start.abs().max()) <= 1.0
    some = ball.random_start(clean[[7, 3]], Draws.of_indices(3, torch.tensor([7, 3])))
    assert torch.equal(some, start[[7, 3]])  # a function of the image's own number


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.08), ("l2", 0.6)])
def test_pgd_equals_foolbox(norm: Norm, eps: float) -> None:
    """Without a random start both are the same arithmetic up to rounding, so the losses agree to 0.1 %."""
    foolbox = pytest.importorskip("foolbox")
    model, clean, labels = trained()
    theirs = foolbox.PyTorchModel(nn.Sequential(_Rescaled(), model).eval(), bounds=(0, 1))
    attack_class = foolbox.attacks.LinfPGD if norm == "linf" else foolbox.attacks.L2PGD
    attack = attack_class(rel_stepsize=2.5 / 10, steps=10, random_start=False)
    _, found, _ = attack(theirs, (clean + 1.0) / 2.0, labels, epsilons=eps)
    ours = pgd(model, clean, cross_entropy(labels), Ball(norm, eps), 10)
    losses = [F.cross_entropy(model(x), labels) for x in (found * 2.0 - 1.0, ours)]
    assert float(losses[1]) == pytest.approx(float(losses[0]), rel=1e-3)
    assert float((ours - (found * 2.0 - 1.0)).abs().mean()) < 1e-3
    assert float(losses[1]) > 2 * float(F.cross_entropy(model(clean), labels))


class _Rescaled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2.0 - 1.0


def test_fgsm_equals_foolbox() -> None:
    foolbox = pytest.importorskip("foolbox")
    model, clean, labels = trained()
    theirs = foolbox.PyTorchModel(nn.Sequential(_Rescaled(), model).eval(), bounds=(0, 1))
    attack = foolbox.attacks.FGSM(random_start=False)
    _, found, _ = attack(theirs, (clean + 1.0) / 2.0, labels, epsilons=0.1)
    assert torch.allclose(fgsm(model, clean, cross_entropy(labels), 0.1), found * 2.0 - 1.0, atol=1e-5)


def test_the_ratio_of_logits_is_that_of_the_paper_and_has_no_scale() -> None:
    logits, labels = torch.tensor([[4.0, 1.0, 3.0, 0.0]]), torch.tensor([0])
    assert float(dlr_loss(labels)(logits)) == pytest.approx(-(4.0 - 3.0) / (4.0 - 1.0))
    targeted = targeted_dlr_loss(labels, torch.tensor([1]))
    assert float(targeted(logits)) == pytest.approx(-(4.0 - 1.0) / (4.0 - 0.5 * (1.0 + 0.0)))
    wrong = torch.tensor([2])
    assert float(dlr_loss(wrong)(logits)) == pytest.approx(-(3.0 - 4.0) / (4.0 - 1.0))  # above 0 once it is fooled
    for loss in (dlr_loss(labels), targeted):
        assert float(loss(logits * 1000.0)) == pytest.approx(float(loss(logits)))


def test_the_checkpoints_are_those_of_the_paper() -> None:
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(10) == [3, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.08), ("l2", 0.6)])
def test_apgd_is_at_least_as_strong_as_pgd_of_the_same_start(norm: Norm, eps: float) -> None:
    model, clean, labels = trained()
    ball, loss = Ball(norm, eps), cross_entropy(labels)
    start = ball.random_start(clean, draws(64))
    found, fooled = apgd(model, clean, labels, loss, ball, 20, start)
    ours = float(loss(model(found)).mean())
    assert ours > 0.99 * float(loss(model(pgd(model, clean, loss, ball, 20, start))).mean())
    assert torch.equal(model(found).argmax(1) != labels, fooled)
    assert torch.allclose(ball.project(found, clean), found, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_ensemble_leaves_no_more_than_pgd_and_keeps_the_ball(norm: Norm) -> None:
    model, clean, labels = trained()
    ball = Ball(norm, 0.07 if norm == "linf" else 0.5)
    found = auto_attack(model, clean, labels, ball, 10, draws(64))
    left = model(found).argmax(1) == labels
    after_pgd = model(pgd(model, clean, cross_entropy(labels), ball, 10)).argmax(1) == labels
    assert 0 < int(left.sum()) <= int(after_pgd.sum()) < 64
    assert torch.allclose(ball.project(found, clean), found, atol=1e-6)


def test_the_ensemble_finds_what_hides_behind_saturated_logits() -> None:
    """Logits times 1e4 have no gradient of cross-entropy in float32: PGD fails, the ratio of logits does not."""
    model, clean, labels = trained()
    masked, ball = nn.Sequential(model, _Scaled()), Ball("linf", 0.1)
    after_pgd = masked(pgd(masked, clean, cross_entropy(labels), ball, 10)).argmax(1) == labels
    after_all = masked(auto_attack(masked, clean, labels, ball, 10, draws(64))).argmax(1) == labels
    unmasked = model(auto_attack(model, clean, labels, ball, 10, draws(64))).argmax(1) == labels
    assert int(after_pgd.sum()) == 64
    assert int(after_all.sum()) < 48
    assert abs(int(after_all.sum()) - int(unmasked.sum())) <= 2


class _Scaled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 1e4


@pytest.mark.parametrize("classes", [2, 3])
def test_two_and_three_classes_have_fewer_attacks_of_the_ensemble(classes: int) -> None:
    model, clean, labels = trained()
    few = nn.Sequential(model, _First(classes))
    mine = labels < classes
    ball, x, y = Ball("linf", 0.2), clean[mine], labels[mine]
    found = auto_attack(few, x, y, ball, 10, Draws.of_rows(0, 0, len(x)))
    assert int((few(found).argmax(1) == y).sum()) < len(x)


class _First(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        return x[:, : self.classes]


def test_a_classifier_without_gradients_is_refused() -> None:
    model = SimpleNamespace(answer=lambda x: torch.zeros(len(x), 3))
    with pytest.raises(ConfigError, match=r"evaluation\.attacks: the classifier gives no gradient"):
        fgsm(model.answer, torch.zeros(2, 1, 4, 4), cross_entropy(torch.tensor([0, 1])), 0.1)
