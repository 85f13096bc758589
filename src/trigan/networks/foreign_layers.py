"""torch's own layers in a user's network: replaced by trigan's where it has them, else refused.

torch's batch norm cannot be recalibrated, and its statistics are not part of averaged weights: an averaged copy keeps
those of its first step. torch's dropout draws from the process's global generator, so a resumed fit and two ranks would
draw other numbers.
"""

import copy
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm

from trigan.errors import ConfigError
from trigan.networks.batchnorm import BatchNorm2d, BatchNormNd, frozen_statistics, local_statistics
from trigan.networks.random_layers import Dropout, random_layers, use_random_source
from trigan.networks.weight_norm import singular_vectors
from trigan.rng import Draws

M = TypeVar("M", bound=nn.Module)

_BATCH_NORMS: dict[type[nn.Module], type[BatchNorm2d]] = {
    nn.BatchNorm1d: BatchNormNd,
    nn.BatchNorm2d: BatchNorm2d,
    nn.BatchNorm3d: BatchNormNd,
}
_RANDOM = (_DropoutNd, nn.RReLU, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d)


def with_our_layers(setting: str, network: M, norms: tuple[type[nn.Module], ...] = ()) -> M:
    """Replace torch's batch norm and dropout in ``network`` by trigan's, with the same weights and statistics.

    Names in the state dict stay, except ``num_batches_tracked``, which trigan's batch norm does not have. A network
    without such layers is returned as it is.

    Args:
        setting: what the network is, for errors.
        network: changed in place; if it is itself such a layer, the result is another object.
        norms: subclasses of torch's batch norms that are equal to them, followed by their children.

    Raises:
        ConfigError: a layer that cannot be replaced, by its name in the network.
    """
    names = {id(module): name or "itself" for name, module in network.named_modules()}
    ours: dict[int, nn.Module] = {}

    def replaced(module: nn.Module) -> nn.Module:
        if id(module) not in ours:
            for name, child in list(module._modules.items()):
                if child is not None and (own := replaced(child)) is not child:
                    setattr(module, name, own)
            where = f"{setting}: its layer {names[id(module)]}"
            ours[id(module)] = _replacement(module, where, norms) or module
        return ours[id(module)]

    return replaced(network)  # type: ignore[return-value]


def _replacement(layer: nn.Module, where: str, norms: tuple[type[nn.Module], ...]) -> nn.Module | None:
    """Our layer for one of torch's, or None for a layer that may stay."""
    kind = type(layer).__name__
    if isinstance(layer, _BatchNorm):
        return _our_batch_norm(layer, where, norms)
    if isinstance(layer, _InstanceNorm) and layer.track_running_stats:
        raise ConfigError(f"{where} is an {kind} with running statistics; set its track_running_stats=False")
    if type(layer) is nn.Dropout and layer.p < 1.0:
        return _without_hooks(layer, where, Dropout(layer.p))
    if isinstance(layer, _RANDOM) and getattr(layer, "p", 1.0) > 0.0:
        raise ConfigError(
            f"{where} is a {kind}, whose random numbers a resumed fit cannot repeat; take a layer of "
            "trigan.networks.random_layers"
        )
    if isinstance(layer, nn.MultiheadAttention | nn.RNNBase) and layer.dropout > 0.0:
        raise ConfigError(
            f"{where} is a {kind} with dropout of its own, which a resumed fit cannot repeat; set its dropout=0"
        )
    return None


def _our_batch_norm(theirs: _BatchNorm, where: str, norms: tuple[type[nn.Module], ...]) -> nn.Module:
    kind = next((base for base in _BATCH_NORMS if isinstance(theirs, base)), None)
    known = type(theirs) in _BATCH_NORMS or isinstance(theirs, norms)
    complete = theirs.affine and theirs.bias is not None and theirs.track_running_stats and theirs.momentum is not None
    if kind is None or not known or not complete:
        raise ConfigError(
            f"{where} is a {type(theirs).__name__}, which cannot be replaced by trigan's batch norm; take "
            "trigan.networks.batchnorm.BatchNorm2d, or torch's with affine, running statistics and a momentum"
        )
    ours = _BATCH_NORMS[kind](theirs.num_features, float(theirs.momentum or 0.0), theirs.eps)
    ours.load_state_dict({name: value for name, value in theirs.state_dict().items() if name in ours.state_dict()})
    # a subclass may have an activation and dropout as children, to be applied after it
    children = list(theirs.children())
    return _without_hooks(theirs, where, nn.Sequential(ours, *children) if children else ours)


def _without_hooks(theirs: nn.Module, where: str, ours: nn.Module) -> nn.Module:
    if theirs._forward_hooks or theirs._forward_pre_hooks or theirs._backward_hooks:
        raise ConfigError(f"{where} is a {type(theirs).__name__} with hooks, which its replacement would lose")
    return ours.train(theirs.training)


@torch.no_grad()
def check_training_pass(setting: str, network: nn.Module, images: Tensor) -> Any:
    """The output of a copy of ``network`` in training mode, which must draw no numbers and change no state of its own.

    Raises:
        ConfigError: it draws random numbers outside of trigan's layers, or changes a buffer outside of trigan's batch
            norm and of torch's spectral norm.
    """
    copied = copy.deepcopy(network).train()
    before = {name: value.clone() for name, value in copied.named_buffers()}
    layers = random_layers({"network": copied})

    def source(name: str, rows: int) -> Draws:
        return Draws.of_rows(0, 0, rows, images.device)

    with torch.random.fork_rng(devices=[]), frozen_statistics(copied), local_statistics(copied):
        state = torch.get_rng_state()
        with use_random_source(layers, source):
            output = copied(images)
        is_random = not torch.equal(state, torch.get_rng_state())
    if is_random:
        raise ConfigError(
            f"{setting} draws random numbers in training that a resumed fit could not repeat; take them from a layer "
            "of trigan.networks.random_layers"
        )
    followed = set(map(id, singular_vectors(copied)))  # the average has the network's
    own = ((name, value) for name, value in copied.named_buffers() if name in before and id(value) not in followed)
    changed = [name for name, value in own if not _equal(value, before[name])]
    if changed:
        raise ConfigError(
            f"{setting} changes its buffer {changed[0]} in training, which the average of its weights would not have; "
            "take the batch norm of trigan.networks.batchnorm, or no such state"
        )
    return output


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(((one == other) | (one != one)).all())
