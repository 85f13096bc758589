"""A stage: one fit, described by a frozen dataclass, from named inputs to networks that can be evaluated."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from trigan import distributed
from trigan.datasets.host_images import HostImages, TensorRows
from trigan.datasets.inputs import Input, Inputs
from trigan.datasets.stream import BatchStream
from trigan.datasets.types import DataSpec
from trigan.errors import ConfigError
from trigan.free_memory import free_bytes, in_words
from trigan.networks.classifiers.pretrained import load_pretrained_weights
from trigan.networks.foreign_layers import check_training_pass, with_our_layers
from trigan.rng import hash64
from trigan.training.fit import TrainerSettings
from trigan.training.players import PlayersModule
from trigan.training.step import TrainingPlan

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class StageContext:
    """What a stage is built with besides its own settings; ``max_steps`` shortens the fits of a debug run."""

    spec: DataSpec
    seed: int
    settings: TrainerSettings
    max_steps: int | None = None

    def plan(self, steps: int, batch: int) -> TrainingPlan:
        """The length of a fit."""
        self._check_shares("batch", batch)
        steps = steps if self.max_steps is None else min(steps, self.max_steps)
        every = min(100, max(1, steps // 20))
        return TrainingPlan(steps, batch, self.settings.accumulate, log_every=every, seed=self.seed)

    def stream(
        self, name: str, data: Input, batch: int, weights: Tensor | None = None, weights_from: int = 0
    ) -> BatchStream:
        """An endless stream of batches of ``data``, in an order that depends on the seed and the stream's name."""
        self._check_shares(f"batch of {name} images", batch)
        seed = hash64(self.seed, name)
        device = self.settings.device
        return BatchStream(
            self._placed(data.images, name), data.labels, batch, seed, weights, device, data.parts, weights_from
        )

    def _placed(self, images: Tensor, name: str) -> Tensor:
        """The images as a stream takes them: to be copied to the device, or to stay on the host.

        Raises:
            ConfigError: they are larger than what is free on a GPU.
        """
        device = self.settings.device
        if device.type == "cpu" or isinstance(images, HostImages):
            return images
        if self.settings.images == "host":
            return HostImages(TensorRows(images), images.shape[1:])
        if (free := free_bytes(device)) is not None and images.nbytes > free:
            raise ConfigError(
                f"trainer.images=device: the {name} images have {in_words(images.nbytes)}, and {in_words(free)} are "
                f"free on GPU {device.index}; set trainer.images=host, which copies each batch to the GPU"
            )
        return images

    def _check_shares(self, setting: str, batch: int) -> None:
        """Raise a ConfigError unless ranks and micro-batches get equal shares of the batch, of at least two images."""
        shares = distributed.world_size() * self.settings.accumulate
        split = f"{distributed.world_size()} processes x trainer.accumulate={self.settings.accumulate} micro-batches"
        if batch % shares:
            raise ConfigError(f"{setting}: {batch} cannot be split evenly into {split}; take a multiple of {shares}")
        if batch < 2 * shares:
            raise ConfigError(
                f"{setting}: {batch} leaves {split} one image each, and batch norm needs two; "
                f"take at least {2 * shares}"
            )

    def build_network(self, name: str, build: Callable[[], N]) -> N:
        """``build()`` with initial weights that depend on the seed and the player's name alone.

        torch's batch norm and dropout are replaced by trigan's; see `trigan.networks.foreign_layers`.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(hash64(self.seed, "weights", name))
            network = with_our_layers(name, build())
            load_pretrained_weights(network)
        if name == "classifier":
            shape = (2, self.spec.channels, self.spec.size, self.spec.size)
            check_training_pass(name, network, torch.linspace(-1.0, 1.0, math.prod(shape)).view(shape))
        return network.to(self.settings.device, self.settings.dtype)


class Stage(Protocol):
    """A frozen dataclass that describes one fit."""

    @property
    def kind(self) -> str:
        """One word for logs and manifests: gan, joint, classifier."""

    def build(self, context: StageContext, inputs: Inputs) -> PlayersModule:
        """The module to fit, at its first step."""

    def finish(self, module: PlayersModule, inputs: Inputs) -> dict[str, nn.Module]:
        """The networks to keep, in evaluation mode, with batch-norm statistics from `trigan.training.recalibration`."""

    def skeleton(self, spec: DataSpec) -> dict[str, nn.Module]:
        """Networks of the same shapes as those of `finish`, to load weights into."""
