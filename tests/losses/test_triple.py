import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from trigan.losses import triple

JUDGED = torch.tensor([0.5, -1.0, 3.0], dtype=torch.float64)
LOGITS = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.2, 0.1]], dtype=torch.float64)


@pytest.mark.parametrize("alpha", [0.5, 0.3])
def test_closed_form(alpha: float) -> None:
    expected = -alpha * (softmax(LOGITS.numpy(), axis=1).max(1) * np.log(expit(JUDGED.numpy()))).mean()
    assert triple.pair_classifier(LOGITS, JUDGED, alpha).item() == pytest.approx(expected)


def test_the_classifier_doubts_labels_that_d_rejects_most() -> None:
    logits, judged = (
        LOGITS.clone().requires_grad_(),
        torch.tensor([-5.0, 5.0, 0.0], dtype=torch.float64, requires_grad=True),
    )
    triple.pair_classifier(logits, judged).backward()
    assert judged.grad is None
    assert logits.grad[0, 0] > 0  # the rejected label loses probability
    assert logits.grad[0].abs().sum() > 10 * logits.grad[1].abs().sum()
