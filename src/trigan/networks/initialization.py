"""How weights begin. Everything is drawn from torch's global generator, so the caller's seed decides alone."""

import torch
from torch import nn

from trigan.networks.batchnorm import BatchNorm2d


@torch.no_grad()
def initialize_normal(network: nn.Module, std: float = 0.02) -> None:
    """Radford et al. 2015, section 4: weights N(0, ``std``), batch-norm weights N(1, ``std``), biases 0.

    Embeddings begin at N(0, 1): a label's code then has the scale of the latent that it stands beside.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, std)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, 0.0, 1.0)


@torch.no_grad()
def initialize_kaiming(network: nn.Module) -> None:
    """He et al. 2015 (1502.01852), eq. 14: convolutions N(0, sqrt(2 / fan_out)), batch norm at identity, biases 0.

    Linear layers begin at N(0, 0.01), so that the first logits are near uniform.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
