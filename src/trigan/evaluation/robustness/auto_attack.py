"""APGD and an ensemble of attacks without settings of their own (Croce & Hein 2020, arXiv 2003.01690).

The ensemble has APGD on cross-entropy, APGD on the difference of logits ratio (DLR) and targeted APGD-DLR: the
white-box part of AutoAttack, all of its attacks but FAB and Square.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from trigan.evaluation.robustness.attacks import AttackLoss, Ball, Model, Slope, cross_entropy, slope
from trigan.rng import Draws

#: Section 3 of the paper: share of steps that must raise the loss, and the weight of the new step beside the momentum.
RHO, MOMENTUM = 0.75, 0.75
#: Classes that targeted APGD tries, those of the next largest logits first (section 4).
TARGETS = 9


def dlr_loss(labels: Tensor) -> AttackLoss:
    """-(z_y - max_{i != y} z_i) / (z_(1) - z_(3)), with z_(i) the i-th largest logit (eq. 6); 3 or more classes."""

    def loss(logits: Tensor) -> Tensor:
        top = logits.topk(3, dim=1).values
        own = logits.gather(1, labels[:, None]).squeeze(1)
        others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
        return -(own - others) / (top[:, 0] - top[:, 2]).clamp(min=1e-12)

    return loss


def targeted_dlr_loss(labels: Tensor, targets: Tensor) -> AttackLoss:
    """-(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2), with targets t (N,) (eq. 7); 4 or more classes."""

    def loss(logits: Tensor) -> Tensor:
        top = logits.topk(4, dim=1).values
        own, aimed = (logits.gather(1, index[:, None]).squeeze(1) for index in (labels, targets))
        return -(own - aimed) / (top[:, 0] - 0.5 * (top[:, 2] + top[:, 3])).clamp(min=1e-12)

    return loss


def checkpoints(steps: int) -> list[int]:
    """Steps at which APGD looks at the step size: shares p_{j+1} = p_j + max(p_j - p_{j-1} - .03, .06), section 3."""
    percent = [0, 22]
    while percent[-1] < 100:
        percent.append(percent[-1] + max(percent[-1] - percent[-2] - 3, 6))
    return sorted({-(-share * steps // 100) for share in percent[1:-1]})


def apgd(
    model: Model, clean: Tensor, labels: Tensor, loss: AttackLoss, ball: Ball, steps: int, start: Tensor
) -> tuple[Tensor, Tensor]:
    """Auto-PGD, algorithm 1: the step size of an image is halved where its loss has stopped rising.

    Args:
        model: in evaluation mode.
        clean: the images, (N, C, S, S) in [-1, 1].
        labels: (N,); an image is fooled once its class is another.
        loss: what is raised.
        ball: the permitted images.
        steps: gradient steps.
        start: where each image begins.

    Returns:
        The last image at which the class was wrong, else the one of largest loss, and whether it was fooled, (N,) bool.
    """
    x, now = start, slope(model, start, loss)
    before, size = x, torch.full_like(now.loss, 2.0 * ball.radius)[:, None, None, None]
    best, at_best = x, now
    fooled = now.logits.argmax(1) != labels
    wrong = torch.where(_rows(fooled), x, clean)
    rises, reduced, best_before, last = torch.zeros_like(now.loss), torch.ones_like(fooled), now.loss, 0
    due = checkpoints(steps)
    for step in range(steps):
        aimed = ball.project(x + size * ball.direction(now.gradient), clean)
        share = MOMENTUM if step else 1.0
        following = ball.project(x + share * (aimed - x) + (1.0 - share) * (x - before), clean)
        new = slope(model, following, loss)
        rises = rises + (new.loss > now.loss)
        before, x, now = x, following, new
        missed = now.logits.argmax(1) != labels
        fooled, wrong = fooled | missed, torch.where(_rows(missed), x, wrong)
        best, at_best = _chosen(now.loss > at_best.loss, (x, now), (best, at_best))
        if step + 1 in due:
            stuck = ~reduced & (best_before >= at_best.loss)
            reduced = (rises < RHO * (step + 1 - last)) | stuck
            size = torch.where(_rows(reduced), size / 2.0, size)
            x, now = _chosen(reduced, (best, at_best), (x, now))
            rises, best_before, last = torch.zeros_like(rises), at_best.loss, step + 1
    return torch.where(_rows(fooled), wrong, best), fooled


def _rows(mask: Tensor) -> Tensor:
    return mask[:, None, None, None]


def _chosen(mask: Tensor, one: tuple[Tensor, Slope], other: tuple[Tensor, Slope]) -> tuple[Tensor, Slope]:
    """Row by row, ``one`` where ``mask`` (N,) is true, else ``other``."""
    (x, a), (y, b) = one, other
    slopes = Slope(
        torch.where(_rows(mask), a.gradient, b.gradient),
        torch.where(mask, a.loss, b.loss),
        torch.where(mask[:, None], a.logits, b.logits),
    )
    return torch.where(_rows(mask), x, y), slopes


def auto_attack(model: Model, clean: Tensor, labels: Tensor, ball: Ball, steps: int, draws: Draws) -> Tensor:
    """The images after the ensemble: each attack is tried on those that the attacks before it left unfooled.

    With three classes there is no targeted attack, with two APGD on cross-entropy alone.
    """
    with torch.no_grad():
        logits = model(clean)
    result, left = clean.clone(), logits.argmax(1) == labels
    start = ball.random_start(clean, draws)
    for loss in _losses(labels, logits):
        rows = left.nonzero().squeeze(1)
        if not len(rows):
            break
        result[rows], fooled = apgd(model, clean[rows], labels[rows], loss(rows), ball, steps, start[rows])
        left[rows] = ~fooled
    return result


def _losses(labels: Tensor, logits: Tensor) -> list[Callable[[Tensor], AttackLoss]]:
    """The attacks in order: each gives its loss for some rows of ``labels`` (N,) and ``logits`` (N, K)."""
    classes = logits.shape[1]
    found: list[Callable[[Tensor], AttackLoss]] = [lambda rows: cross_entropy(labels[rows])]
    if classes >= 3:
        found.append(lambda rows: dlr_loss(labels[rows]))
    if classes >= 4:
        ranked = logits.scatter(1, labels[:, None], -torch.inf).argsort(1, descending=True)
        targets = ranked[:, : min(TARGETS, classes - 1)].unbind(1)
        found += [partial(_targeted, labels, target) for target in targets]
    return found


def _targeted(labels: Tensor, targets: Tensor, rows: Tensor) -> AttackLoss:
    return targeted_dlr_loss(labels[rows], targets[rows])
