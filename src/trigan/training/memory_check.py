"""The memory that a fit will need, estimated before its first step, against what is free."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trigan import distributed
from trigan.cost import uncounted
from trigan.errors import ConfigError
from trigan.free_memory import free_bytes, in_words
from trigan.networks.classifiers.classifier import Classifier
from trigan.networks.gans.gan import Discriminator, ImageGenerator
from trigan.training.players import PlayersModule

#: Images of the smaller forward pass that is measured; discriminators may take them in packs of two or four.
_IMAGES = 4
#: Optimizer states of a weight (Adam's two averages) and its gradient.
_STATES_AND_GRADIENT = 3


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes of one rank, beside the weights and images that are there already.

    Attributes:
        state: gradients and optimizer states.
        generated: what the backward pass of G needs of all generated images of a step, whatever the micro-batches.
        batch: what the backward pass of the largest update needs of a whole batch; micro-batches take their share.
    """

    state: int
    generated: int
    batch: int

    def total(self, accumulate: int) -> int:
        """With so many micro-batches."""
        return self.state + self.generated + self.batch // accumulate


def saved_bytes(network: nn.Module, *inputs: Tensor | None) -> int:
    """Bytes that a forward pass keeps for its backward pass, parameters left out."""
    seen = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    kept: list[Tensor] = []  # so that no other tensor gets the place of one

    def keep(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in seen:
            seen.add(place)
            kept.append(tensor)
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(*inputs)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept)


def bytes_of_an_image(network: nn.Module, image: torch.Size) -> float:
    """By how much `saved_bytes` grows with each image of a batch; 0 for networks of unknown inputs.

    A copy in evaluation mode is measured, so nothing of the network changes.
    """
    if not isinstance(network, ImageGenerator | Discriminator | Classifier):
        return 0.0
    copied = copy.deepcopy(network).eval().requires_grad_(True)
    weight = next(network.parameters())

    def inputs(count: int) -> tuple[Tensor | None, ...]:
        if isinstance(network, ImageGenerator):
            labels = torch.zeros(count, dtype=torch.int64, device=weight.device) if network.classes else None
            return weight.new_zeros(count, network.latent), labels
        images = weight.new_zeros(count, *image)
        return (images, None) if isinstance(network, Discriminator) else (images,)

    few, many = (saved_bytes(copied, *inputs(count)) for count in (_IMAGES, 2 * _IMAGES))
    return (many - few) / _IMAGES


def memory_need(module: PlayersModule, device: torch.device, bf16: bool = False) -> MemoryNeed:
    """An estimate for a step, from two small forward passes of each network.

    An update of G also passes through the networks that judge its images. Views that a loss adds (a gradient penalty,
    an augmented copy) count as far as the update counts their images; networks of other kinds with their weights alone.
    """
    image = next(iter(module.streams.values())).images.shape[1:]
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16), uncounted():
        each = {name: bytes_of_an_image(network, image) for name, network in module.networks.items()}
    ranks, generated, largest = distributed.world_size(), 0.0, 0.0
    for update in module.updates:
        images = update.images / ranks
        if isinstance(module.networks[update.player], ImageGenerator):
            generated = max(generated, each[update.player] * images)
            others = sum(size for name, size in each.items() if name != update.player)
            largest = max(largest, others * images)
        else:
            largest = max(largest, each[update.player] * images)
    sizes = [sum(w.nbytes for w in network.parameters() if w.requires_grad) for network in module.networks.values()]
    return MemoryNeed(_STATES_AND_GRADIENT * sum(sizes), int(generated), int(largest))


def check_memory(module: PlayersModule, device: torch.device, bf16: bool = False) -> None:
    """Refuse a fit that needs more memory than is free on the device of its networks.

    Raises:
        ConfigError: with the least ``trainer.accumulate`` that would fit, if one does.
    """
    free, accumulate = free_bytes(device), module.plan.accumulate
    need, batch, ranks = memory_need(module, device, bf16), module.plan.batch, distributed.world_size()
    here = ranks if device.type == "cpu" else 1  # ranks on CPUs share the machine's memory
    if free is None or here * need.total(accumulate) <= free:
        return
    shares = [count for count in range(accumulate + 1, batch // (2 * ranks) + 1) if batch % (count * ranks) == 0]
    fits = next((count for count in shares if here * need.total(count) <= free), None)
    mend = f"trainer.accumulate={fits} fits"
    if fits is None:
        mend = "no trainer.accumulate fits; take narrower networks, a smaller data.image_size or a smaller batch"
    parts = {"activations": need.batch // accumulate, "generated images": need.generated, "optimizers": need.state}
    told = ", ".join(f"{in_words(here * size)} for {name}" for name, size in parts.items())
    place = "the CPU" if device.type == "cpu" else f"GPU {device.index}"
    raise ConfigError(
        f"trainer.accumulate={accumulate}: a step of {batch} images needs about "
        f"{in_words(here * need.total(accumulate))} ({told}), and {in_words(free)} are free on {place}; {mend}"
    )
