"""Scoring of networks that must not change: evaluation mode, unchanged state, outputs independent of the batch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from trigan.datasets.inputs import network_batches
from trigan.errors import ConfigError
from trigan.identity import tensor_digest
from trigan.rng import permutation

#: Images that are scored again, and how many of them in one batch (a pass of the first scoring has up to 256).
SECOND_SCORING, SECOND_BATCH = 256, 48
#: Largest difference of a probability between the two scorings: rounding is far below it.
PROBABILITY_TOLERANCE = 0.01
#: Largest share of these images that may differ more, or in their class: ties that rounding decides.
SHARE_TOLERANCE = 0.01


@contextmanager
def frozen_networks(networks: Mapping[str, nn.Module]) -> Iterator[None]:
    """Put ``networks`` into evaluation mode; at the end their parameters and buffers must be what they were.

    Raises:
        ConfigError: a network that cannot be put into evaluation mode or has changed, by its name.
    """
    for name, network in networks.items():
        training = [path or "itself" for path, module in network.eval().named_modules() if module.training]
        if training:
            raise ConfigError(
                f"network {name}: its layer {training[0]} stays in training mode; its eval() must end training mode"
            )
    before = {name: _state(network) for name, network in networks.items()}
    yield
    for name, network in networks.items():
        after = _state(network)
        changed = sorted(key for key in {*before[name], *after} if before[name].get(key) != after.get(key))
        if changed:
            raise ConfigError(
                f"network {name}: its {changed[0]} changed while it was scored, so the score belongs to no network; "
                "its forward pass must change nothing in evaluation mode"
            )
        if any(module.training for module in network.modules()):
            raise ConfigError(f"network {name}: it left evaluation mode while it was scored; stay in it")


def _state(network: nn.Module) -> dict[str, str]:
    """The digest of each parameter and buffer, in the state dict or not."""
    return {name: tensor_digest(value) for name, value in chain(network.named_parameters(), network.named_buffers())}


@torch.no_grad()
def check_independence(name: str, network: nn.Module, images: Tensor, logits: Tensor) -> None:
    """Score some of the images again, in another order and other batches; the outputs must be the same.

    Args:
        name: of the network, for the error.
        network: images float (N, C, S, S) in [-1, 1] -> logits (N, K).
        images: uint8 (N, C, S, S).
        logits: (N, K), what the network gave for them.

    Raises:
        ConfigError: the output for an image depends on the other images, on their order, or on chance.
    """
    rows = permutation(len(images), 0, "second scoring")[:SECOND_SCORING]
    batches = (next(network_batches(network, images[part])) for part in torch.split(rows, SECOND_BATCH))
    again = torch.cat([network(batch).float().cpu() for batch in batches])
    before = logits[rows]
    gaps = (before.softmax(1) - again.softmax(1)).abs().amax(1)
    differ = (gaps > PROBABILITY_TOLERANCE) | (before.argmax(1) != again.argmax(1))
    count = int(differ.sum())
    if count > max(1, SHARE_TOLERANCE * len(rows)):
        raise ConfigError(
            f"network {name}: {count} of {len(rows)} images got other outputs when they were scored again in another "
            "order and other batches; the output for an image must depend on this image alone"
        )
