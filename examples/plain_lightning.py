"""trigan's networks and losses in a LightningModule of your own, without trigan's runs, configs or store.

python examples/plain_lightning.py [steps]
"""

import sys

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

import trigan
from trigan.datasets.types import DataSpec
from trigan.losses.gan_losses import hinge_discriminator, hinge_generator
from trigan.networks.gans.dcgan import DCGAN


class HingeGAN(pl.LightningModule):
    """A DCGAN with the hinge loss; one update of D, then one of G."""

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        self.automatic_optimization = False
        architecture = DCGAN(width=16, latent=64, discriminator_norm="spectral")
        self.generator, self.discriminator = architecture.generator(spec), architecture.discriminator(spec)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        players = (self.discriminator, 4e-4), (self.generator, 1e-4)
        return [torch.optim.Adam(player.parameters(), lr=rate, betas=(0.0, 0.9)) for player, rate in players]

    def training_step(self, real: Tensor, index: int) -> None:
        for_discriminator, for_generator = self.optimizers()
        fake = self.generator(torch.randn(len(real), self.generator.latent), None)
        loss = hinge_discriminator(self.discriminator(real, None), self.discriminator(fake.detach(), None))
        for_discriminator.zero_grad()
        self.manual_backward(loss)
        for_discriminator.step()
        for_generator.zero_grad()
        self.manual_backward(hinge_generator(self.discriminator(fake, None)))
        for_generator.step()


if __name__ == "__main__":
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    digits = trigan.data("digits")
    images = digits.images.float() / 127.5 - 1  # (1797, 1, 8, 8) in [-1, 1]
    module = HingeGAN(DataSpec(channels=1, size=8, classes=10))
    trainer = pl.Trainer(max_steps=2 * steps, logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.fit(module, DataLoader(images, batch_size=64, shuffle=True, drop_last=True))
    print(module.generator.eval()(torch.randn(4, module.generator.latent), None).shape)
