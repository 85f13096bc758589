"""Encoder of images into the latents that a generator made them from."""

from torch import Tensor, nn

from trigan.networks.gans.gan import Backbone


class Encoder(nn.Module):
    """A normal distribution of latents for each image: (N, C, S, S) -> mean and log standard deviation, (N, latent).

    On the body of a discriminator stands one linear layer.
    """

    def __init__(self, backbone: Backbone, latent: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.parameters_of_latents = nn.Linear(backbone.num_features, 2 * latent)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation."""
        mean, log_deviation = self.parameters_of_latents(self.backbone(images).flatten(1)).chunk(2, dim=1)
        return mean, log_deviation
