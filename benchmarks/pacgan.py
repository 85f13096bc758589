"""PacGAN's ring and grid (Lin et al. 2018, 1712.04086), in small: how many modes a GAN keeps, with and without packs.

Data, score, loss and betas are the paper's: 8 Gaussians on the unit circle (sd 0.01), or 25 on a grid (sd 0.05); of
2,500 samples those within 3 sd of a mode are of high quality, and a mode counts if it has one of them. The networks are
a third as wide (G 4 x 128, D 3 maxout layers of 64 with 5 pieces), and fits have 6,000 steps with a rate of 2e-4 in the
place of 400,000 with 1e-4. D is `trigan.networks.gans.pacgan.PackedDiscriminator`. Takes a quarter of an hour of one
core.

    python benchmarks/pacgan.py benchmarks/results/pacgan.json
"""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trigan.losses.gan_losses import non_saturating
from trigan.networks.gans.pacgan import PackedDiscriminator

TRIALS, STEPS, BATCH, SAMPLES, PACKS = 5, 6_000, 100, 2_500, (1, 2, 4)
#: Modes, high-quality samples in %, and reverse KL that the paper prints (10 trials).
PUBLISHED = {
    "ring": {1: (6.3, 98.2, 0.45), 2: (7.9, 95.6, 0.07), 4: (7.8, 95.9, 0.07)},
    "grid": {1: (17.3, 94.8, 0.70), 2: (23.8, 91.3, 0.13), 4: (24.8, 93.6, 0.04)},
}


def ring() -> tuple[Tensor, float]:
    """The means (8, 2) and the standard deviation."""
    angles = torch.arange(8) * (math.pi / 4)
    return torch.stack([angles.cos(), angles.sin()], dim=1), 0.01


def grid() -> tuple[Tensor, float]:
    """The means (25, 2) and the standard deviation."""
    steps = torch.arange(-4.0, 5.0, 2.0)
    return torch.cartesian_prod(steps, steps), 0.05


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


def score(points: Tensor, centres: Tensor, deviation: float) -> dict[str, float]:
    """Modes, share of high quality in %, and the reverse KL of the histogram of modes against the uniform one."""
    distance, nearest = torch.cdist(points, centres).min(1)
    good = distance <= 3 * deviation
    counts = nearest[good].bincount(minlength=len(centres))
    share = counts[counts > 0] / counts.sum().clamp_min(1)
    kl = float((share * (share * len(centres)).log()).sum()) if len(share) else math.inf
    quality = round(100 * float(good.float().mean()), 1)
    return {"modes": int((counts > 0).sum()), "high_quality": quality, "kl": round(kl, 3)}


def fit(centres: Tensor, deviation: float, images: int, trial: int) -> dict[str, float]:
    """Train one GAN with packs of ``images``; its score."""
    torch.manual_seed(trial)
    loss, generator, discriminator = non_saturating(), make_generator(), PackedDiscriminator(Logit(images), images)
    for module in (*generator.modules(), *discriminator.modules()):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02)
    of_g, of_d = (torch.optim.Adam(one.parameters(), 2e-4, (0.8, 0.999)) for one in (generator, discriminator))
    for _ in range(STEPS):
        real = centres[torch.randint(len(centres), (BATCH * images,))]
        real = real + deviation * torch.randn_like(real)
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
        return score(generator.eval()(torch.randn(SAMPLES, 2)), centres, deviation)


def main(target: Path) -> None:
    """All sets, packs and trials, written to ``target`` after each trial."""
    torch.set_num_threads(1)
    began = time.process_time()
    rows: dict[str, Any] = {}
    for name, (centres, deviation) in {"ring": ring(), "grid": grid()}.items():
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
