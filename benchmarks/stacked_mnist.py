"""Stacked MNIST (Metz et al. 2017, 1611.02163): how many of 1,000 modes a GAN paints, in small.

An image has three digits of MNIST as its channels, and their labels name its mode. As in PacGAN's table (Lin et al.
2018, 1712.04086): 26,000 samples; a classifier of single digits names each sample's mode; a mode counts with one
sample, and the reverse KL is that of the modes' shares to equal shares. In small: 25,600 images of 16 x 16 pixels from
MNIST's training images (the paper: 128,000 of 28 x 28 from all), GANs of width 16 with 64 images in each of 4,000
steps (the paper: 100,000 steps), G and D updated in turn, and two trials. The classifier is trained on 50,000 training
images of single digits; its accuracy on the other 10,000 is in the file. Takes about half an hour of one core.

    python benchmarks/stacked_mnist.py FOLDER benchmarks/results/stacked_mnist.json

FOLDER has MNIST's train-*.parquet and test-*.parquet.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trigan.config.compose import compose
from trigan.datasets.inputs import Input
from trigan.datasets.types import DataSpec
from trigan.samples.samplers import GeneratorSampler
from trigan.training.fit import TrainerSettings, fit
from trigan.training.stage import StageContext

TRIALS, STEPS, SIZE, STACKS, SAMPLES, TRAIN = 2, 4_000, 16, 25_600, 26_000, 50_000
COMMON = ["strategy=features", "data.suggested.width=16", f"strategy.gan.steps={STEPS}"]
#: Settings of each row, and what was published in full length: modes, reverse KL, and the paper.
ROWS: dict[str, tuple[list[str], tuple[float, float, str] | None]] = {
    "DCGAN": (["architecture=dcgan", "loss=non_saturating"], (99.0, 3.40, "1712.04086")),
    "PacGAN, 2 images": (
        ["architecture=pacgan", "architecture.images=2", "loss=non_saturating"],
        (1000, 0.06, "1712.04086"),
    ),
    "SNGAN, hinge": (["architecture=sngan", "loss=hinge"], None),
    "R3GAN, paired, R1 + R2": (
        ["architecture=r3gan", "loss=relativistic_paired", "loss.regularizers=[r1,r2]"],
        (1000, 0.0781, "2501.05441"),
    ),
}


def classifier_of(images: Tensor, labels: Tensor) -> tuple[nn.Module, float]:
    """A classifier of single digits, and its accuracy on the images from ``TRAIN`` on."""
    stage = (
        compose(["strategy=baseline", "recipe.steps=2000", "augmentation=none", "selection.rule=last"])
        .build()
        .strategy.classifier
    )
    context = StageContext(DataSpec(1, SIZE, 10), 0, TrainerSettings())
    inputs = {"labelled": Input(images[:TRAIN], labels[:TRAIN])}
    module = stage.build(context, inputs)
    fit(module, TrainerSettings())
    network = stage.finish(module, inputs)["classifier"].eval()
    accuracy = float((digits_of(network, images[TRAIN:]) == labels[TRAIN:]).float().mean())
    if accuracy < 0.97:
        raise SystemExit(f"the classifier has {100 * accuracy:.1f} %: too few to name modes")
    return network, accuracy


def digits_of(network: nn.Module, images: Tensor) -> Tensor:
    """Labels (N,) of uint8 images (N, 1, S, S)."""
    with torch.no_grad():
        return torch.cat([network(part.float() / 127.5 - 1.0).argmax(1) for part in images.split(1000)])


def score(samples: Tensor, network: nn.Module) -> dict[str, float]:
    """Modes of the samples (N, 3, S, S), and the reverse KL of their shares to equal shares."""
    hundreds, tens, ones = (digits_of(network, samples[:, channel : channel + 1]) for channel in range(3))
    share = (100 * hundreds + 10 * tens + ones).bincount(minlength=1000).double() / len(samples)
    share = share[share > 0]
    return {"modes": len(share), "kl": round(float((share * (share * 1000).log()).sum()), 4)}


def gan_samples(words: list[str], real: Tensor, trial: int) -> Tensor:
    """Samples, uint8 (N, 3, S, S), of a GAN that is trained on ``real``."""
    stage = compose([*COMMON, *words]).build().strategy.gan
    inputs = {"real": Input(real)}
    module = stage.build(StageContext(DataSpec(3, SIZE, 10), trial, TrainerSettings()), inputs)
    fit(module, TrainerSettings())
    sampler = GeneratorSampler(stage.finish(module, inputs)["generator"])
    return sampler.first(SAMPLES, torch.zeros(1, dtype=torch.long), trial).images


def main(root: str, target: Path) -> None:
    """All rows and trials, written to ``target`` after each of them."""
    torch.set_num_threads(1)
    began = time.process_time()
    data = compose(["data=mnist", f"data.root={root}", f"data.image_size={SIZE}"]).load_data()
    training = data.official_test.logical_not()
    images, labels = data.images[training], torch.as_tensor(data.labels)[training]
    network, accuracy = classifier_of(images, labels)
    rows: dict[str, Any] = {}
    for name, (words, published) in ROWS.items():
        trials: list[dict[str, float]] = []
        for trial in range(TRIALS):
            chosen = torch.randint(len(images), (3, STACKS), generator=torch.Generator().manual_seed(trial))
            real = torch.cat([images[one] for one in chosen], dim=1)
            trials.append(score(gan_samples(words, real, trial), network))
            rows[name] = {"settings": words, "trials": trials, "published": published, "real": score(real, network)}
            content = {
                "command": f"python benchmarks/stacked_mnist.py FOLDER {target}",
                "cpu_seconds": round(time.process_time() - began),
                "classifier_accuracy": round(accuracy, 4),
                "settings": [*COMMON, f"{STACKS} images of {SIZE} x {SIZE}"],
                "rows": rows,
            }
            target.write_text(json.dumps(content, indent=1) + "\n")
        print(f"{name}: {trials} (published {published})", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
