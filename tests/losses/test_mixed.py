"""Cross-entropy of mixed images, against the soft targets that it stands for."""

import torch
import torch.nn.functional as F
from torch import Tensor

from trigan.losses.mixed_labels import mixed_cross_entropy

SOURCE = torch.Generator().manual_seed(0)
LOGITS = torch.randn(12, 5, generator=SOURCE, dtype=torch.float64)
LABELS, OTHERS = (torch.randint(5, (12,), generator=SOURCE) for _ in range(2))
SHARE = torch.rand(12, generator=SOURCE, dtype=torch.float64)
ONES = torch.ones(5, dtype=torch.float64)


def _soft(share: Tensor) -> Tensor:
    one, other = F.one_hot(LABELS, 5).double(), F.one_hot(OTHERS, 5).double()
    return share[:, None] * one + (1 - share[:, None]) * other


def test_it_is_the_cross_entropy_of_mixed_one_hot_targets() -> None:
    expected = -(_soft(SHARE) * LOGITS.log_softmax(1)).sum(1)
    torch.testing.assert_close(mixed_cross_entropy(LOGITS, LABELS, OTHERS, SHARE, ONES), expected)


def test_shares_of_one_and_zero_are_plain_cross_entropy() -> None:
    plain = [F.cross_entropy(LOGITS, labels, reduction="none") for labels in (LABELS, OTHERS)]
    for share, expected in zip((torch.ones(12), torch.zeros(12)), plain, strict=True):
        assert torch.equal(mixed_cross_entropy(LOGITS, LABELS, OTHERS, share.double(), ONES), expected)
    assert torch.equal(mixed_cross_entropy(LOGITS, LABELS, LABELS, torch.full((12,), 0.5).double(), ONES), plain[0])


def test_each_label_counts_with_its_own_weight() -> None:
    weights = torch.arange(1.0, 6.0).double()
    found = mixed_cross_entropy(LOGITS, LABELS, OTHERS, SHARE, weights)
    logs = -LOGITS.log_softmax(1)
    for row in range(12):
        a, b, s = int(LABELS[row]), int(OTHERS[row]), SHARE[row]
        torch.testing.assert_close(found[row], s * weights[a] * logs[row, a] + (1 - s) * weights[b] * logs[row, b])


def test_the_gradient_pulls_towards_both_labels() -> None:
    """softmax - target, row by row."""
    logits = LOGITS.clone().requires_grad_(True)
    mixed_cross_entropy(logits, LABELS, OTHERS, SHARE, ONES).sum().backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, LOGITS.softmax(1) - _soft(SHARE))
