"""The body of a classifier that no fit changes, under a head that is trained."""

import torch
from torch import Tensor, nn

from trigan.networks.batchnorm import batch_norms


class FrozenBody(nn.Module):
    """A body in evaluation mode, whose weights and statistics no training step changes.

    Gradients reach the images where they are asked for, as in an attack, and never the weights of a training step.
    With ``keep_statistics`` batch norm is not recalibrated after a fit either.
    """

    def __init__(self, body: nn.Module, keep_statistics: bool = False) -> None:
        super().__init__()
        self.body = body
        for layer in batch_norms(body):
            layer.keeps_statistics = keep_statistics

    def train(self, mode: bool = True) -> "FrozenBody":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, S, S) -> embeddings (N, F)."""
        with torch.set_grad_enabled(x.requires_grad and torch.is_grad_enabled()):
            embedded: Tensor = self.body(x)
        return embedded
