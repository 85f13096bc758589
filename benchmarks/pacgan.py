"""PacGAN's ring and grid (Lin et al. 2018, 1712.04086), in small: how many modes a GAN keeps, with and without packs.

Data, score, loss and betas are the paper's: 8 Gaussians on the unit circle (sd 0.01), or 25 on a grid (sd 0.05); of
2,500 samples those within 3 sd of a mode are of high quality, and a mode counts if it has one of them. The networks are
a third as wide (G 4 x 128, D 3 maxout layers of 64 with 5 pieces), and fits have 6,000 steps with a rate of 2e-4 in the
place of 400,000 with 1e-4. D is `trigan.networks.gans.pacgan.PackedDiscriminator`. Takes a quarter of an hour of one
core.

    python benchmarks/pacgan.py benchmarks/results/pacgan.json
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from modes import grid, real_points, ring, score
from torch import Tensor, nn

from trigan.losses.gan_losses import non_saturating
from trigan.networks.gans.pacgan import PackedDiscriminator

TRIALS, STEPS, BATCH, SAMPLES, PACKS = 5, 6_000, 100, 2_500, (1, 2, 4)
#: Means and standard deviation.
SETS = {"ring": (ring(), 0.01), "grid": (grid(4.0), 0.05)}
#: Modes, share of high-quality samples, and reverse KL that the paper prints (10 trials).
PUBLISHED = {
    "ring": {1: (6.3, 0.982, 0.45), 2: (7.9, 0.956, 0.07), 4: (7.8, 0.959, 0.07)},
    "grid": {1: (17.3, 0.948, 0.70), 2: (23.8, 0.913, 0.13), 4: (24.8, 0.936, 0.04)},
}


class Maxout(nn.Module):
    """The largest of 5 linear maps, unit by unit (Goodfellow et al. 2013)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, 5 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs) -> (N, outputs)."""
        return self.linear(x).unflatten(1, (5, -1)).max(dim=1).values


class Logit(nn.Sequential):
    """D of a pack: (N, 2 * images) -> logits (N,)."""

    def __init__(self, images: int) -> None:
        super().__init__(Maxout(2 * images, 64), Maxout(64, 64), Maxout(64, 64), nn.Linear(64, 1))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        logits: Tensor = super().forward(x)
        return logits.squeeze(1)


def make_generator() -> nn.Sequential:
    """G: (N, 2) -> (N, 2)."""
    layers: list[nn.Module] = []
    for inputs in (2, 128, 128, 128):
        layers += [nn.Linear(inputs, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, 2))


def fit(centres: Tensor, deviation: float, images: int, trial: int) -> dict[str, float]:
    """Train one GAN with packs of ``images``; its score."""
    torch.manual_seed(trial)
    loss, generator, discriminator = non_saturating(), make_generator(), PackedDiscriminator(Logit(images), images)
    for module in (*generator.modules(), *discriminator.modules()):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02)
    of_g, of_d = (torch.optim.Adam(one.parameters(), 2e-4, (0.8, 0.999)) for one in (generator, discriminator))
    for _ in range(STEPS):
        real = real_points(centres, deviation, BATCH * images)
        fake = generator(torch.randn(BATCH * images, 2))
        of_d.zero_grad()
        loss.discriminator_loss(discriminator(real), discriminator(fake.detach())).backward()
        of_d.step()
        discriminator.requires_grad_(False)
        of_g.zero_grad()
        loss.generator_loss(discriminator(fake)).backward()
        of_g.step()
        discriminator.requires_grad_(True)
    with torch.no_grad():
        return score(generator.eval()(torch.randn(SAMPLES, 2)), centres, deviation, 1)


def main(target: Path) -> None:
    """All sets, packs and trials, written to ``target`` after each trial."""
    torch.set_num_threads(1)
    began = time.process_time()
    rows: dict[str, Any] = {}
    for name, (centres, deviation) in SETS.items():
        for images in PACKS:
            trials: list[dict[str, float]] = []
            for trial in range(TRIALS):
                trials.append(fit(centres, deviation, images, trial))
                means = {key: round(sum(one[key] for one in trials) / len(trials), 3) for key in trials[0]}
                published = dict(zip(means, PUBLISHED[name][images], strict=True))
                rows[f"{name}, pack of {images}"] = {"mean": means, "published": published, "trials": trials}
                spent = round(time.process_time() - began)
                content = {"command": f"python benchmarks/pacgan.py {target}", "cpu_seconds": spent, "rows": rows}
                target.write_text(json.dumps(content, indent=1) + "\n")
            print(f"{name}, pack of {images}: {means} (published {published})", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
