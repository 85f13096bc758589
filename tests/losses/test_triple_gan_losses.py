import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import expit, softmax

from trigan.losses import semi_supervised_losses
from trigan.losses.gan_losses import hinge_discriminator, minimax_discriminator

LIKELIEST_LOGITS = torch.tensor([0.5, -1.0, 3.0], dtype=torch.float64)
LOGITS = torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.2, 0.1]], dtype=torch.float64)


#: Of every label; the likeliest labels of LOGITS are 0, 1, 0.
EVERY_LABEL_LOGITS = torch.tensor([[0.5, 2.0], [3.0, -1.0], [3.0, 0.0]], dtype=torch.float64)


def argmax_pair_classifier(logits: torch.Tensor, d_logits: torch.Tensor, alpha: float = 0.5) -> torch.Tensor:
    return semi_supervised_losses.pair_classifier(logits.softmax(1).amax(1, keepdim=True), d_logits[:, None], alpha)


@pytest.mark.parametrize("alpha", [0.5, 0.3])
def test_closed_form(alpha: float) -> None:
    p = softmax(LOGITS.numpy(), axis=1)
    expected = -alpha * (p.max(1) * np.log(expit(LIKELIEST_LOGITS.numpy()))).mean()
    assert argmax_pair_classifier(LOGITS, LIKELIEST_LOGITS, alpha).item() == pytest.approx(expected)
    expected = -alpha * (p * np.log(expit(EVERY_LABEL_LOGITS.numpy()))).sum(1).mean()
    assert semi_supervised_losses.pair_classifier(LOGITS.softmax(1), EVERY_LABEL_LOGITS, alpha).item() == pytest.approx(
        expected
    )


def test_the_gradient_raises_the_label_that_d_accepts() -> None:
    """Whether it is the most likely label (row 1) or not (row 0); argmax can only lower the most likely one."""
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    d_logits = torch.tensor([[-3.0, 3.0], [-3.0, 3.0]], dtype=torch.float64, requires_grad=True)
    semi_supervised_losses.pair_classifier(logits.softmax(1), d_logits, 0.5).backward()
    assert d_logits.grad is None
    assert (logits.grad[:, 1] < 0).all()  # descent raises it
    for accepted in (-5.0, 0.0, 5.0):
        logits.grad = None
        argmax_pair_classifier(logits, torch.full((2,), accepted, dtype=torch.float64)).backward()
        assert (logits.grad.gather(1, logits.argmax(1, keepdim=True)) > 0).all()


def test_the_gradient_lowers_labels_that_d_rejects_most() -> None:
    logits, d_logits = (
        LOGITS.clone().requires_grad_(),
        torch.tensor([-5.0, 5.0, 0.0], dtype=torch.float64, requires_grad=True),
    )
    argmax_pair_classifier(logits, d_logits).backward()
    assert d_logits.grad is None
    assert logits.grad[0, 0] > 0  # the rejected label loses probability
    assert logits.grad[0].abs().sum() > 10 * logits.grad[1].abs().sum()


@pytest.mark.parametrize("alpha", [0.5, 0.3])
def test_fake_pairs_are_weighted_by_alpha_and_real_ones_count_once(alpha: float) -> None:
    real, by_classifier, by_generator = torch.randn(3, 6, generator=torch.Generator().manual_seed(0)).double()
    found = semi_supervised_losses.pair_discriminator(minimax_discriminator, real, by_classifier, by_generator, alpha)
    expected = F.softplus(-real).mean() + alpha * F.softplus(by_classifier).mean()
    torch.testing.assert_close(found, expected + (1 - alpha) * F.softplus(by_generator).mean())
    found = semi_supervised_losses.pair_discriminator(hinge_discriminator, real, by_classifier, by_generator, alpha)
    expected = F.relu(1 - real).mean() + alpha * F.relu(1 + by_classifier).mean()
    torch.testing.assert_close(found, expected + (1 - alpha) * F.relu(1 + by_generator).mean())
