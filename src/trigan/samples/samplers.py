"""Samplers: where a sample set comes from. Image i is a function of (sampler, seed, i), whatever the portions.

A generator of any kind (a GAN, a mixture, one per class, a diffusion model), and real images or noise as controls.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trigan.checks import require, require_at_least
from trigan.component_ids import component
from trigan.datasets.inputs import Input, network_batches
from trigan.datasets.stream import to_uint8
from trigan.datasets.types import LabelledImages
from trigan.evaluation.robustness.attacks import Ball, cross_entropy, pgd
from trigan.networks.gans.gan import ImageGenerator
from trigan.rng import Draws, permutation


class Sampler(ABC):
    """A numbered list of images for each seed.

    Attributes:
        conditional: whether an image is drawn for a label; else it comes without one.
        size: number of images in the list; None: it has no end.
        passes: forward passes of a network for an image.
    """

    conditional: bool = True
    size: int | None = None
    passes: int = 1

    @abstractmethod
    def sample(self, indices: Tensor, labels: Tensor | None, seed: int) -> Tensor:
        """The images with these numbers.

        Args:
            indices: int64 (n,), from 0 on and below ``size``.
            labels: int64 (n,) if the sampler is conditional, else None.
            seed: of the whole list.

        Returns:
            uint8 (n, C, S, S) on the CPU.
        """

    def candidates(self, start: int, labels: Tensor, seed: int) -> Input:
        """The images from number ``start``, one for each of the ``labels`` (n,), fewer where the list ends."""
        stop = start + len(labels) if self.size is None else min(start + len(labels), self.size)
        indices = torch.arange(start, max(start, stop))
        conditions = labels[: len(indices)] if self.conditional else None
        return Input(self.sample(indices, conditions, seed), conditions)

    def first(self, count: int, labels: Tensor, seed: int) -> Input:
        """The first ``count`` images; a conditional sampler takes ``labels`` (n,), n >= 1, in turn."""
        return self.candidates(0, labels[torch.arange(count) % len(labels)], seed)


@dataclass(frozen=True)
class LatentTransform:
    """Narrows the latent distribution: truncated to |z_i| <= ``truncation``, then times ``scale``; None and 1 keep z.

    Brock et al. 2019 (arXiv 1809.11096, section 3.1) truncate by redrawing numbers outside the bound. Here the
    distribution is the same, but sample i stays a function of its own z: a number of rank Phi(z) in N(0, 1) becomes
    that of the same rank in the truncated normal, sqrt(2) erfinv(erf(t / sqrt 2) erf(z / sqrt 2)). Ravuri & Vinyals
    2019 (arXiv 1905.10887) measure the effect on a classifier.
    """

    truncation: float | None = None
    scale: float = 1.0

    def __post_init__(self) -> None:
        positive = self.truncation is None or self.truncation > 0.0
        require(positive, "truncation", self.truncation, "a number above 0, or null")
        require(0.0 <= self.scale < math.inf, "scale", self.scale, "a number of 0 or more")

    def __call__(self, z: Tensor) -> Tensor:
        """Latents (N, d) ~ N(0, 1) -> the same shape; the transform is monotonic."""
        if self.truncation is not None:
            bound, root = self.truncation, math.sqrt(2.0)
            inner = torch.erf(z.double() / root) * math.erf(bound / root)  # single precision would lose the tails
            z = (torch.erfinv(inner) * root).clamp(-bound, bound).to(z.dtype)
        return z if self.scale == 1.0 else z * self.scale


#: The distribution of latents in training.
UNCHANGED_LATENTS = LatentTransform()


def latents(seed: int, indices: Tensor, size: int) -> Tensor:
    """Latents of the seed with the numbers ``indices`` (n,), N(0, 1), float32 (n, size), on the CPU."""
    return Draws.of_indices(seed, indices).normal("latents", size)


@dataclass(frozen=True)
class GeneratorSampler(Sampler):
    """Samples of a generator in evaluation mode.

    The latents by which a `GeneratorMixture` selects a member are not transformed.
    """

    network: ImageGenerator
    latent_transform: LatentTransform = UNCHANGED_LATENTS

    @property
    def conditional(self) -> bool:  # type: ignore[override]
        """Whether the generator takes labels."""
        return bool(self.network.classes)

    @property
    def passes(self) -> int:  # type: ignore[override]
        """Forward passes for an image."""
        return self.network.passes

    @torch.no_grad()
    def sample(self, indices: Tensor, labels: Tensor | None, seed: int) -> Tensor:
        """See `Sampler.sample`."""
        network, images = self.network, []
        if (labels is None) == self.conditional:
            raise ValueError("a conditional generator needs labels, and only a conditional one takes them")
        parameter = next(network.parameters())
        transformed = network.latent - network.selector_dims
        for begin in range(0, len(indices), network.block):
            rows = slice(begin, begin + network.block)
            z = latents(seed, indices[rows], network.latent)
            z = torch.cat([self.latent_transform(z[:, :transformed]), z[:, transformed:]], dim=1)
            y = None if labels is None else labels[rows].to(parameter.device)
            images.append(to_uint8(network(z.to(parameter.device, parameter.dtype), y)).cpu())
        return torch.cat(images)


@dataclass(frozen=True)
class UnlabelledSampler(Sampler):
    """Control: real unlabelled images (N, C, S, S), each once, in an order fixed by the seed, without labels."""

    images: Tensor

    conditional = False

    @property
    def size(self) -> int:  # type: ignore[override]
        """N."""
        return len(self.images)

    def sample(self, indices: Tensor, labels: Tensor | None, seed: int) -> Tensor:
        """See `Sampler.sample`."""
        return self.images[permutation(len(self.images), seed, "unlabelled")[indices]]


@dataclass(frozen=True)
class LabelledSampler(Sampler):
    """Control: the labelled images again, drawn with replacement within the requested class."""

    real: LabelledImages

    def sample(self, indices: Tensor, labels: Tensor | None, seed: int) -> Tensor:
        """See `Sampler.sample`."""
        if labels is None:
            raise ValueError("labelled images are drawn for labels")
        random = Draws.of_indices(seed, indices).uniform("labelled", dtype=torch.float64)
        rows = torch.empty_like(labels)
        for label in set(labels.tolist()):
            members, requested = (self.real.labels == label).nonzero().squeeze(1), labels == label
            rows[requested] = members[(random[requested] * len(members)).long()]
        return self.real.images[rows]


@component("sample_attack/pgd@1")
@dataclass(frozen=True)
class SampleAttack:
    """The attack of `AdversarialSampler`: ``steps`` of PGD, L-inf of size ``eps`` for pixels in [0, 1]."""

    eps: float = 0.1
    steps: int = 10

    def __post_init__(self) -> None:
        require(self.eps > 0.0, "strategy.attack.eps", self.eps, "above 0")
        require_at_least("strategy.attack.steps", self.steps, 1)


@dataclass(frozen=True)
class AdversarialSampler(LabelledSampler):
    """Labelled images, drawn as `LabelledSampler` does, after PGD of L-inf on ``classifier`` from a random start.

    Xie et al. 2020 (1911.09665) train on such images beside the real ones; theirs are attacks on C itself.
    """

    classifier: nn.Module
    attack: SampleAttack

    def sample(self, indices: Tensor, labels: Tensor | None, seed: int) -> Tensor:
        """See `Sampler.sample`."""
        images, ball, found, start = super().sample(indices, labels, seed), Ball("linf", self.attack.eps), [], 0
        assert labels is not None
        for batch in network_batches(self.classifier, images):
            rows = slice(start, start + len(batch))
            begin = ball.random_start(batch, Draws.of_indices(seed, indices[rows].to(batch.device)))
            loss = cross_entropy(labels[rows].to(batch.device))
            found.append(to_uint8(pgd(self.classifier, batch, loss, ball, self.attack.steps, begin)).cpu())
            start = rows.stop
        return torch.cat(found) if found else images


@dataclass(frozen=True)
class NoiseSampler(Sampler):
    """Control: uniform noise of ``shape`` (C, S, S), for any label."""

    shape: tuple[int, int, int]

    def sample(self, indices: Tensor, labels: Tensor | None, seed: int) -> Tensor:
        """See `Sampler.sample`."""
        return Draws.of_indices(seed, indices).integers("noise", 256, *self.shape).to(torch.uint8)
