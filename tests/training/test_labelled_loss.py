"""C's loss on labelled batches."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from trigan.datasets.augmentation import NoAugmentation
from trigan.losses.classifier_losses import CrossEntropy
from trigan.training.stages.labelled_loss import LabelledLoss

SOURCE = torch.Generator().manual_seed(0)
MIXED = torch.randn(12, 5, generator=SOURCE, dtype=torch.float64)
LABELS, OTHERS = (torch.randint(5, (12,), generator=SOURCE) for _ in range(2))
SHARE = torch.rand(12, generator=SOURCE, dtype=torch.float64)
PLAIN = LabelledLoss(NoAugmentation(), CrossEntropy(), torch.full((5,), 3))


def _soft(share: Tensor) -> Tensor:
    one, other = F.one_hot(LABELS, 5).double(), F.one_hot(OTHERS, 5).double()
    return share[:, None] * one + (1 - share[:, None]) * other


def test_mixed_cross_entropy_is_that_of_mixed_one_hot_targets() -> None:
    expected = -(_soft(SHARE) * MIXED.log_softmax(1)).sum(1)
    torch.testing.assert_close(PLAIN.mixed_rows(MIXED, LABELS, OTHERS, SHARE), expected)


def test_shares_of_one_and_zero_are_plain_cross_entropy() -> None:
    plain = [F.cross_entropy(MIXED, labels, reduction="none") for labels in (LABELS, OTHERS)]
    for share, expected in zip((torch.ones(12), torch.zeros(12)), plain, strict=True):
        assert torch.equal(PLAIN.mixed_rows(MIXED, LABELS, OTHERS, share.double()), expected)
    assert torch.equal(PLAIN.mixed_rows(MIXED, LABELS, LABELS, torch.full((12,), 0.5).double()), plain[0])


def test_each_label_has_the_weight_of_its_class() -> None:
    weights = torch.arange(1.0, 6.0).double()
    found = replace(PLAIN, class_weights=weights).mixed_rows(MIXED, LABELS, OTHERS, SHARE)
    logs = -MIXED.log_softmax(1)
    for row in range(12):
        a, b, s = int(LABELS[row]), int(OTHERS[row]), SHARE[row]
        torch.testing.assert_close(found[row], s * weights[a] * logs[row, a] + (1 - s) * weights[b] * logs[row, b])


def test_the_gradient_of_mixed_cross_entropy() -> None:
    """softmax - target, row by row."""
    logits = MIXED.clone().requires_grad_(True)
    PLAIN.mixed_rows(logits, LABELS, OTHERS, SHARE).sum().backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, MIXED.softmax(1) - _soft(SHARE))
