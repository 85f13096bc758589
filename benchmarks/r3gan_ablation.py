"""R3GAN's ablation in small (Huang et al. 2024, 2501.05441): which loss and penalties keep all modes of a ring.

Eight Gaussians on the unit circle (sd 0.05); G and D are MLPs on points of the plane. Rows: the paired loss without
penalties, with R1, with R1 and R2, and the non-saturating loss with R1, and with R1 and R2. A mode counts if at least
20 of 2,500 samples lie within 3 sd of it; "high quality" is the share within 3 sd of any mode. Takes 2 minutes of one
core.

    python benchmarks/r3gan_ablation.py benchmarks/results/r3gan_ablation.json
"""

import json
import sys
import time
from pathlib import Path

import torch
from modes import real_points, ring, score
from torch import Tensor, nn

from trigan.losses.gan_losses import AdversarialLoss, non_saturating, relativistic_paired
from trigan.losses.regularizers import zero_centred_penalty

DEVIATION, TRIALS, STEPS, BATCH, LATENT, GAMMA, SAMPLES = 0.05, 5, 2_000, 128, 8, 0.1, 2_500
#: Fewest samples of a mode that counts.
LEAST = 20
ROWS: dict[str, tuple[AdversarialLoss, bool, bool]] = {
    "paired": (relativistic_paired(), False, False),
    "paired + R1": (relativistic_paired(), True, False),
    "paired + R1 + R2": (relativistic_paired(), True, True),
    "non-saturating + R1": (non_saturating(), True, False),
    "non-saturating + R1 + R2": (non_saturating(), True, True),
}


def mlp(inputs: int, outputs: int) -> nn.Sequential:
    """Three hidden layers of 64 units."""
    layers: list[nn.Module] = []
    for width in (inputs, 64, 64):
        layers += [nn.Linear(width, 64), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Linear(64, outputs))


def fit(loss: AdversarialLoss, r1: bool, r2: bool, trial: int) -> dict[str, float]:
    """Train one GAN; its score."""
    torch.manual_seed(trial)
    generator, discriminator = mlp(LATENT, 2), mlp(2, 1)
    of_g, of_d = (torch.optim.Adam(one.parameters(), 1e-3, (0.0, 0.99)) for one in (generator, discriminator))
    for _ in range(STEPS):
        update((generator, discriminator), (of_g, of_d), loss, (r1, r2), real_points(ring(), DEVIATION, BATCH))
    with torch.no_grad():
        return score(generator(torch.randn(SAMPLES, LATENT)), ring(), DEVIATION, LEAST)


def update(
    players: tuple[nn.Module, nn.Module],
    optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer],
    loss: AdversarialLoss,
    penalties: tuple[bool, bool],
    points: Tensor,
) -> None:
    """One update of D and one of G, each (G, D), on real ``points`` (N, 2), with R1 and R2 or without."""
    (generator, discriminator), (of_g, of_d), (r1, r2) = players, optimizers, penalties
    real = points.requires_grad_()
    fake = generator(torch.randn(len(points), LATENT))
    seen = fake.detach().requires_grad_()
    real_logits, fake_logits = discriminator(real)[:, 0], discriminator(seen)[:, 0]
    objective = loss.discriminator_loss(real_logits, fake_logits)
    if r1:
        objective = objective + GAMMA * zero_centred_penalty(real_logits, real)
    if r2:
        objective = objective + GAMMA * zero_centred_penalty(fake_logits, seen)
    of_d.zero_grad()
    objective.backward()
    of_d.step()
    discriminator.requires_grad_(False)
    logits = (discriminator(fake)[:, 0],)
    of_g.zero_grad()
    loss.generator_loss(*((discriminator(real.detach())[:, 0], *logits) if loss.pairs else logits)).backward()
    discriminator.requires_grad_(True)
    of_g.step()


def main(target: Path) -> None:
    """All rows and trials, written to ``target``."""
    torch.set_num_threads(1)
    began, rows = time.process_time(), {}
    settings = {"steps": STEPS, "batch": BATCH, "gamma": GAMMA, "deviation": DEVIATION, "samples": SAMPLES}
    command = f"python benchmarks/r3gan_ablation.py {target}"
    for name, (loss, r1, r2) in ROWS.items():
        trials = [fit(loss, r1, r2, trial) for trial in range(TRIALS)]
        means = {key: round(sum(one[key] for one in trials) / TRIALS, 4) for key in trials[0]}
        rows[name] = {"mean": means, "trials": trials}
        print(name, means, [one["modes"] for one in trials], flush=True)
        spent = round(time.process_time() - began)
        content = {"command": command, "cpu_seconds": spent, "settings": settings, "rows": rows}
        target.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
