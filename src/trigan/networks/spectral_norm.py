"""Spectral norm: Miyato et al. 2018 (1802.05957), every weight over its largest singular value."""

import copy
from typing import TypeVar, cast

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

Network = TypeVar("Network", bound=nn.Module)


def apply_spectral_norm(network: nn.Module) -> None:
    """Bound every convolution, linear layer and embedding of ``network``; one power iteration per training pass."""
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
            spectral_norm(module)


def fold_spectral_norm(network: Network) -> Network:
    """A copy in eval mode with the normalised weights as plain ones: the form that ONNX can take."""
    network = copy.deepcopy(network).eval()
    for module in list(network.modules()):
        if parametrize.is_parametrized(module, "weight"):
            # torch's remove_parametrizations would change the class, which the copy shares with the original
            weight = cast(Tensor, module.weight).detach()
            del module.parametrizations
            module.__class__ = type(module).__bases__[0]
            module.weight = nn.Parameter(weight)
    return network
