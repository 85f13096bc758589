"""Improved-GAN's MNIST setting in a loop of its own, as a yardstick for `strategy=joint` at the same number of images.

    python benchmarks/improved_gan.py FOLDER [--trial 0] [--steps 6000] [--out benchmarks/results/improved_gan.json]

Salimans et al. 2016 (1606.03498) printed 0.93 % errors with 100 labels after 300 epochs, and no curve. This is their
setting in plain torch: perceptrons for G and C with weight norm, scales that begin where a first batch puts them,
Gaussian noise, batches of 100, Adam .003 (.5, .999). Nothing of trigan is in it but the trial's images and labels, so
that a run of trigan's with the same trial has the same hundred. Test error is looked at along the way and chooses
nothing; it is printed for the last weights and for their running averages at two rates (the paper's code has 1e-4,
which 6,000 steps are too few for).
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trigan.config.compose import Composer
from trigan.datasets.splits.draw_split import make_split
from trigan.datasets.types import LabelledImages

BATCH, LATENT, PIXELS = 100, 100, 784
HIDDEN = (1000, 500, 250, 250, 250)
INPUT_NOISE, HIDDEN_NOISE = 0.3, 0.5
AVERAGES = (1e-3, 1e-4)
LOOKS = (300, 900, 1800, 3000, 4200, 5100, 6000)


class WeightNorm(nn.Module):
    """(N, in) -> (N, out), each row of the weights of length ``scale``."""

    def __init__(self, inputs: int, outputs: int, std: float, learn_scale: bool) -> None:
        super().__init__()
        self.direction = nn.Parameter(std * torch.randn(outputs, inputs))
        self.scale = nn.Parameter(torch.ones(outputs, 1), requires_grad=learn_scale)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.direction * (self.scale / self.direction.norm(dim=1, keepdim=True)), self.bias)

    @torch.no_grad()
    def settle(self, x: Tensor) -> None:
        """Scales and biases that give the outputs for ``x`` mean 0 and variance 1."""
        found = self(x)
        std = found.std(0, unbiased=False) + 1e-6
        self.scale.div_(std[:, None])
        self.bias.copy_(-found.mean(0) / std)


class Classifier(nn.Module):
    """Pixels (N, 784) in [0, 1] -> logits (N, 10) and the last hidden layer (N, 250)."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (PIXELS, *HIDDEN[:-1])
        self.hidden = nn.ModuleList(WeightNorm(i, o, 0.1, False) for i, o in zip(inputs, HIDDEN, strict=True))
        self.head = WeightNorm(HIDDEN[-1], 10, 0.1, True)

    def forward(self, x: Tensor, settle: bool = False) -> tuple[Tensor, Tensor]:
        x, embedding = self._noisy(x, INPUT_NOISE), x
        for layer in self.hidden:
            if settle:
                layer.settle(x)
            embedding = F.relu(layer(x))
            x = self._noisy(embedding, HIDDEN_NOISE)
        if settle:
            self.head.settle(x)
        return self.head(x), embedding

    def _noisy(self, x: Tensor, std: float) -> Tensor:
        return x + std * torch.randn_like(x) if self.training else x


def generator() -> nn.Module:
    """Uniform noise (N, 100) -> pixels (N, 784) in [0, 1]."""
    layers: list[nn.Module] = []
    for inputs in (LATENT, 500):
        dense = nn.Linear(inputs, 500, bias=False)
        nn.init.normal_(dense.weight, 0.0, 0.05)
        layers += [dense, nn.BatchNorm1d(500), nn.Softplus()]
    return nn.Sequential(*layers, WeightNorm(500, PIXELS, 0.05, True), nn.Sigmoid())


def true_or_fake(real: Tensor, fake: Tensor) -> Tensor:
    """With Z the sum of exp(logits) and D = Z / (Z + 1): half of -E log D(x_u) - E log (1 - D(G(z)))."""
    log_real, log_fake = real.logsumexp(1), fake.logsumexp(1)
    return 0.5 * (F.softplus(log_real) - log_real).mean() + 0.5 * F.softplus(log_fake).mean()


@torch.no_grad()
def error(state: dict[str, Tensor], pixels: Tensor, labels: Tensor) -> float:
    """Errors of a classifier with these weights, in percent."""
    network = Classifier()
    network.load_state_dict(state)
    network.eval()
    return round(100.0 * (network(pixels)[0].argmax(1) != labels).float().mean().item(), 2)


def train(
    labelled: LabelledImages, unlabelled: Tensor, test: LabelledImages, steps: int, seed: int
) -> list[dict[str, float]]:
    """The curve: images seen (labelled ones, as trigan counts them) and test errors in percent."""
    torch.manual_seed(seed)
    x, y, u, t = flat(labelled.images), labelled.labels, flat(unlabelled), flat(test.images)
    g, c = generator(), Classifier()
    with torch.no_grad():
        c(x, settle=True)
    moved = [p for p in c.parameters() if p.requires_grad]
    players = [torch.optim.Adam(ps, lr=0.003, betas=(0.5, 0.999)) for ps in (moved, list(g.parameters()))]
    averages = {rate: {k: v.clone() for k, v in c.state_dict().items()} for rate in AVERAGES}
    curve, started = [], time.time()
    for step in range(1, steps + 1):
        rows, first, second = (torch.randint(len(of), (BATCH,)) for of in (x, u, u))
        with torch.no_grad():
            fake = g(torch.rand(BATCH, LATENT))
        loss = F.cross_entropy(c(x[rows])[0], y[rows]) + true_or_fake(c(u[first])[0], c(fake)[0])
        move(players[0], loss)
        for rate, average in averages.items():
            for name, value in c.state_dict().items():
                average[name].lerp_(value, rate)
        given = c(g(torch.rand(BATCH, LATENT)))[1].mean(0)
        with torch.no_grad():
            wanted = c(u[second])[1].mean(0)
        move(players[1], (given - wanted).square().mean())
        if step in LOOKS or step % 3000 == 0 or step == steps:
            errors = {f"average {rate:g}": error(state, t, test.labels) for rate, state in averages.items()}
            found = {"images": step * BATCH, "last": error(c.state_dict(), t, test.labels), **errors}
            curve.append(found)
            print(found, f"{time.time() - started:.0f} s", flush=True)
    return curve


def move(player: torch.optim.Optimizer, loss: Tensor) -> None:
    player.zero_grad()
    loss.backward()
    player.step()


def flat(images: Tensor) -> Tensor:
    """uint8 (N, 1, 28, 28) -> float (N, 784) in [0, 1]."""
    return images.flatten(1).float() / 255.0


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", metavar="FOLDER", help="holds MNIST's train-*.parquet and test-*.parquet")
    parser.add_argument("--trial", type=int, default=0)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/improved_gan.json"))
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    settings = ["data=mnist", f"data.root={given.root}", "regime.labels_per_class=10", "regime.validation=none"]
    composed = Composer().compose([*settings, "logger=none", f"trial={given.trial}"])
    drawn = make_split(composed.load_data(), composed.build().regime, given.trial)
    view, test = drawn.view, drawn.test.open("no candidates: a yardstick beside the table")
    curve = train(view.labelled, view.training_images, test, given.steps, given.trial)
    command = f"python benchmarks/improved_gan.py FOLDER --trial {given.trial} --steps {given.steps}"
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({"command": command, "torch": torch.__version__, "errors": curve}, indent=1) + "\n")


if __name__ == "__main__":
    main()
