"""Accuracy under attacks and corruptions: what a frozen classifier answers, and its scores once labels are known.

No label is needed to attack: an image counts as robust only if it is classified correctly before and after, so the
class that the classifier gives the clean image takes the place of its label.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from trigan.datasets.inputs import network_batches
from trigan.evaluation.robustness.attacks import Ball, Norm, cross_entropy, fgsm, pgd
from trigan.evaluation.robustness.auto_attack import auto_attack
from trigan.evaluation.robustness.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from trigan.rng import Draws, hash64, permutation

#: Seed of random starts and of noise: the same for every classifier, so that all meet the same images.
_SEED = hash64("robustness")


@dataclass(frozen=True)
class RobustnessSettings:
    """What a classifier is tried with.

    Attributes:
        attacks: ``fgsm``, ``pgd``, ``pgd_l2``, ``auto`` and ``auto_l2`` (`auto_attack`).
        eps: sizes of perturbations of L-inf, on the scale of pixels in [0, 1].
        eps_l2: the same for L2, over the whole image.
        steps: gradient steps of PGD and of each attack of the ensemble.
        corruptions: whether all corruptions are tried.
        images: the most test images.
    """

    attacks: tuple[str, ...] = ()
    eps: tuple[float, ...] = (0.1,)
    eps_l2: tuple[float, ...] = (1.0,)
    steps: int = 20
    corruptions: bool = False
    images: int = 1000

    @property
    def active(self) -> bool:
        """Whether anything is tried."""
        return bool(self.attacks or self.corruptions)

    def trials(self) -> Iterator[tuple[str, Ball]]:
        """Every attack with every size of its norm."""
        for name in self.attacks:
            norm: Norm = "l2" if name.endswith("_l2") else "linf"
            yield from ((name, Ball(norm, eps)) for eps in (self.eps_l2 if norm == "l2" else self.eps))


@dataclass(frozen=True)
class RobustnessAnswers:
    """The classes (n,) that a classifier gives the images ``rows`` (n,): clean, attacked and corrupted (5, n)."""

    settings: RobustnessSettings
    rows: Tensor
    clean: Tensor
    attacked: Mapping[tuple[str, float], Tensor]
    corrupted: Mapping[str, Tensor]


def robustness_answers(network: nn.Module, images: Tensor, settings: RobustnessSettings) -> RobustnessAnswers:
    """Attack and corrupt the first ``settings.images`` of the images in the order of a hash.

    Args:
        network: frozen, in evaluation mode: images float (N, C, S, S) in [-1, 1] -> logits (N, K).
        images: uint8 (N, C, S, S).
        settings: what is tried.
    """
    rows = permutation(len(images), "robustness")[: settings.images].sort().values
    chosen = images[rows]
    clean = _classes(network, chosen)
    attacked = {
        (name, ball.eps): _attacked(network, chosen, rows, name, ball, settings.steps)
        for name, ball in settings.trials()
    }
    draws = Draws.of_indices(_SEED, rows)
    corrupted = {
        name: torch.stack([_classes(network, corrupt(name, chosen, severity, draws)) for severity in SEVERITIES])
        for name in (CORRUPTIONS if settings.corruptions else ())
    }
    return RobustnessAnswers(settings, rows, clean, attacked, corrupted)


@torch.no_grad()
def _classes(network: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([network(batch).argmax(1).cpu() for batch in network_batches(network, images)])


@torch.no_grad()
def _attacked(network: nn.Module, images: Tensor, rows: Tensor, name: str, ball: Ball, steps: int) -> Tensor:
    """The classes after an attack, (n,)."""
    found, start = [], 0
    for batch in network_batches(network, images):
        indices = rows[start : start + len(batch)].to(batch.device)
        labels, draws = network(batch).argmax(1), Draws.of_indices(_SEED, indices)
        if name == "fgsm":
            changed = fgsm(network, batch, cross_entropy(labels), ball.eps)
        elif name.startswith("pgd"):
            changed = pgd(network, batch, cross_entropy(labels), ball, steps, ball.random_start(batch, draws))
        else:
            changed = auto_attack(network, batch, labels, ball, steps, draws)
        found.append(network(changed).argmax(1).cpu())
        start += len(batch)
    return torch.cat(found)


def robustness_scores(answers: RobustnessAnswers, labels: Tensor) -> dict[str, Any]:
    """The block of a record: accuracy on the clean images, by attack and size, and by corruption and severity.

    Under an attack, an image is right if it is right before and after it.

    Args:
        answers: of a classifier.
        labels: of all images from which ``answers.rows`` were taken, int64 (N,).
    """
    known = labels[answers.rows]
    right = answers.clean == known

    def share(correct: Tensor) -> float:
        return int(correct.sum()) / len(known)

    found: dict[str, Any] = {"images": len(known), "clean": share(right), "steps": answers.settings.steps}
    if answers.attacked:
        found["attacks"] = [
            {"attack": name, "eps": eps, "accuracy": share(right & (classes == known))}
            for (name, eps), classes in answers.attacked.items()
        ]
    if answers.corrupted:
        found["corruptions"] = {
            name: [share(classes == known) for classes in by_severity]
            for name, by_severity in answers.corrupted.items()
        }
        found["corruption_accuracy"] = fmean(fmean(values) for values in found["corruptions"].values())
    return found


def robustness_line(found: Mapping[str, Any]) -> str:
    """What `robustness_scores` found, in one line."""
    attacks = (f"{one['attack']} {one['eps']:.3g} {_percent(one['accuracy'])}" for one in found.get("attacks", ()))
    corrupted = [f"corruptions {_percent(found['corruption_accuracy'])}"] if "corruptions" in found else []
    shares = ", ".join([f"clean {_percent(found['clean'])}", *attacks, *corrupted])
    return f"accuracy on {found['images']} test images: {shares}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
