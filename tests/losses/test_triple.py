import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from trigan.losses import triple

REAL, CLASSIFIED, GENERATED = (
    torch.tensor(x, dtype=torch.float64) for x in ([1.0, 2.0], [0.5, -1.0, 3.0], [-2.0, 0.1])
)
LOGITS = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.2, 0.1]], dtype=torch.float64)


@pytest.mark.parametrize("alpha", [0.5, 0.3])
def test_closed_forms(alpha: float) -> None:
    expected = (
        -np.log(expit(REAL.numpy())).mean()
        - alpha * np.log(1 - expit(CLASSIFIED.numpy())).mean()
        - (1 - alpha) * np.log(1 - expit(GENERATED.numpy())).mean()
    )
    assert triple.pair_discriminator(REAL, CLASSIFIED, GENERATED, alpha).item() == pytest.approx(expected)
    expected = -(1 - alpha) * np.log(expit(GENERATED.numpy())).mean()
    assert triple.pair_generator(GENERATED, alpha).item() == pytest.approx(expected)
    expected = -alpha * (softmax(LOGITS.numpy(), axis=1).max(1) * np.log(expit(CLASSIFIED.numpy()))).mean()
    assert triple.pair_classifier(LOGITS, CLASSIFIED, alpha).item() == pytest.approx(expected)


def test_the_classifier_doubts_labels_that_d_rejects_most() -> None:
    logits, judged = (
        LOGITS.clone().requires_grad_(),
        torch.tensor([-5.0, 5.0, 0.0], dtype=torch.float64, requires_grad=True),
    )
    triple.pair_classifier(logits, judged).backward()
    assert judged.grad is None
    assert logits.grad[0, 0] > 0  # the rejected label loses probability
    assert logits.grad[0].abs().sum() > 10 * logits.grad[1].abs().sum()


def test_with_equal_shares_d_is_balanced_at_zero() -> None:
    zeros = torch.zeros(4, requires_grad=True)
    triple.pair_discriminator(zeros, zeros, zeros).backward()
    assert zeros.grad.abs().max() < 1e-7
