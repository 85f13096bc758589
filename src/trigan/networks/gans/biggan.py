"""BigGAN (Brock, Donahue & Simonyan 2018, 1809.11096) in small, with and without labels."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trigan.checks import require_at_least
from trigan.component_ids import component
from trigan.errors import ConfigError
from trigan.networks.gans.gan import Discriminator, Generator, require_labels
from trigan.networks.gans.residual import ProjectionHead, ResidualBackbone, ResidualUpsampler
from trigan.networks.gans.sngan import ResidualNorm, check_residual, classes_of
from trigan.networks.shapes import ImageSpec, map_sizes
from trigan.networks.weight_norm import apply_spectral_norm


class EmbeddedInput(nn.Module):
    """z (N, latent) and y (N,) -> z with the label's embedding (N, latent + code)."""

    def __init__(self, classes: int, code: int) -> None:
        super().__init__()
        self.label = nn.Embedding(classes, code)

    def forward(self, z: Tensor, y: Tensor | None) -> Tensor:
        """The hidden vector."""
        return torch.cat([z, self.label(require_labels(y))], dim=1)


@component("architecture/biggan_small@1")
@dataclass(frozen=True)
class BigGANSmall:
    """SNGAN's blocks with a split latent, one embedding of the label for all batch norms of G, and self-attention.

    z is cut into equal parts: the first is projected to the smallest map, and each of the others, with the label's
    embedding, gives the weights of one block's batch norms. G and D have spectral norm (G's embedding has none, as in
    the authors' code) and orthogonal initial weights. D adds the label by projection. Without labels the batch norms
    depend on z alone. The paper's networks have 64 to 96 channels at the level of the image, batches of 2048.

    Attributes:
        width: channels at half the image's size, >= 1; the level of the image has half as many.
        latent: length of z, at least one number for each part.
        max_multiplier: channels stop growing at ``width * max_multiplier``, >= 1.
        discriminator_norm: ``spectral`` or ``none``, of D alone.
        conditional: whether G and D take labels.
        label_embedding_dim: length of the label's embedding, >= 1.
        attention: self-attention is on the largest map of at most so many pixels a side, >= 8.
    """

    width: int = 32
    latent: int = 64
    max_multiplier: int = 8
    discriminator_norm: ResidualNorm = "spectral"
    conditional: bool = True
    label_embedding_dim: int = 64
    attention: int = 16

    def __post_init__(self) -> None:
        check_residual(self.width, self.latent, self.max_multiplier, self.discriminator_norm)
        require_at_least("architecture.label_embedding_dim", self.label_embedding_dim, 1)
        require_at_least("architecture.attention", self.attention, 8)

    def generator(self, spec: ImageSpec) -> Generator:
        """A new generator of images of shape ``spec``."""
        classes = classes_of("biggan_small", spec, self.conditional)
        code = self.label_embedding_dim if classes else 0
        parts = self._parts(spec)
        body = ResidualUpsampler(spec, self.width, self.max_multiplier, parts, code, self.attention)
        network = Generator(EmbeddedInput(classes, code) if classes else None, body, self.latent, classes)
        _initialize(network)
        apply_spectral_norm(network, embeddings=False)
        return network

    def discriminator(self, spec: ImageSpec) -> Discriminator:
        """A new discriminator of images of shape ``spec``."""
        classes = classes_of("biggan_small", spec, self.conditional)
        backbone = ResidualBackbone(spec, self.width, self.max_multiplier, self.attention)
        network = Discriminator(backbone, ProjectionHead(backbone.channels, classes))
        _initialize(network)
        if self.discriminator_norm == "spectral":
            apply_spectral_norm(network)
        return network

    def _parts(self, spec: ImageSpec) -> list[int]:
        """The lengths of the latent's parts, one more than blocks, as equal as can be."""
        count = len(map_sizes(spec.size))
        if self.latent < count:
            raise ConfigError(
                f"architecture.latent={self.latent}: biggan_small cuts the latent into {count} parts for images of "
                f"{spec.size} pixels; set architecture.latent to at least {count}"
            )
        return [len(part) for part in torch.arange(self.latent).tensor_split(count)]


def _initialize(network: nn.Module) -> None:
    """Orthogonal weights, biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
            nn.init.orthogonal_(module.weight)
            if not isinstance(module, nn.Embedding) and module.bias is not None:
                nn.init.zeros_(module.bias)
