"""Sampling over a plain loop, the Fréchet term over scipy's sqrtm, and precision, recall, density, coverage over naive.

    python benchmarks/figures.py [--rounds 9] [--quick]

The references are what one writes first: latents of torch.randn in batches of 256 through the generator; Heusel et
al.'s formula with ``scipy.linalg.sqrtm``, means and covariances on both sides; whole float64 distance matrices from
``scipy.spatial.distance.cdist``, sorted for the radii. Both sides of a figure must agree, else the run ends.
"""

import functools
from typing import Any

import numpy as np
import scipy.linalg
import torch
from paired import Row, Size, compare, cpu_seconds, interleave, run_part
from scipy.spatial.distance import cdist
from torch import Tensor

from trigan.config.compose import Composer
from trigan.datasets.stream import to_uint8
from trigan.datasets.types import DataSpec
from trigan.evaluation.generators.distributions import frechet_distance
from trigan.evaluation.generators.manifold import manifold_figures
from trigan.samples.samplers import GeneratorSampler

SAMPLES, IMAGES = 2048, 2000


def features(seed: int, images: int, dimensions: int) -> Tensor:
    """Correlated features of unequal scales, float32."""
    source = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dimensions, dimensions, generator=torch.Generator().manual_seed(9)) / dimensions**0.5
    return torch.randn(images, dimensions, generator=source) @ mixing


def frechet_by_sqrtm(real: Tensor, fake: Tensor) -> float:
    """Heusel et al.'s formula with the root of a matrix product."""
    (m, s), (n, t) = (
        (one.mean(0), np.cov(one, rowvar=False)) for one in (real.double().numpy(), fake.double().numpy())
    )
    root = scipy.linalg.sqrtm(s @ t)
    return float(((m - n) ** 2).sum() + np.trace(s) + np.trace(t) - 2 * np.trace(root).real)


def naive_manifold(real: Tensor, fake: Tensor) -> dict[str, float]:
    """Three whole distance matrices, every row sorted."""
    x, y = real.double().numpy(), fake.double().numpy()
    own_real, own_fake, across = np.sort(cdist(x, x), 1), np.sort(cdist(y, y), 1), cdist(y, x)
    small, large, of_fake = own_real[:, 3], own_real[:, 5], own_fake[:, 3]
    return {
        "precision": float((across < small).any(1).mean()),
        "recall": float((across < of_fake[:, None]).any(0).mean()),
        "density": float((across < large).sum() / (5 * len(y))),
        "coverage": float((across.min(0) < large).mean()),
    }


def agree(ours: Any, reference: Any) -> None:
    """End the benchmark if both sides do not compute the same."""
    ours, reference = (one if isinstance(one, dict) else {"figure": one} for one in (ours, reference))
    for name, value in reference.items():
        if abs(ours[name] - value) > 1e-6 * max(1.0, abs(value)):
            raise SystemExit(f"{name}: {ours[name]} here, {value} in the reference")


def of_figures(size: Size) -> list[Row]:
    """The Fréchet term at two widths, and the four figures."""
    rows = []
    for dimensions in (size.of(256, 16), size.of(512, 32)):
        real, fake = (features(seed, size.of(IMAGES, 100), dimensions) for seed in (0, 1))
        rows.append(_pair(f"Fréchet term, {dimensions} features, over sqrtm", frechet_distance, frechet_by_sqrtm,
                          (real, fake), size, "< 1"))  # fmt: skip
    real, fake = (features(seed, size.of(IMAGES, 100), 64) for seed in (0, 1))
    name = f"PRDC, {len(real)} images, over naive"
    return [*rows, _pair(name, manifold_figures, naive_manifold, (real, fake), size, "< 1")]


def _pair(name: str, ours: Any, reference: Any, given: tuple[Tensor, Tensor], size: Size, aim: str) -> Row:
    agree(ours(*given), reference(*given))
    ways = {"ours": functools.partial(ours, *given), "reference": functools.partial(reference, *given)}
    found = interleave({key: functools.partial(cpu_seconds, way) for key, way in ways.items()}, size.rounds)
    return compare(name, found["ours"], found["reference"], aim)


def sampling(size: Size) -> Row:
    """Samples of the default generator at 32x32, numbered and independent of the portions, over a plain loop."""
    architecture = Composer().compose(["strategy=features", "logger=none"]).build().strategy.gan.architecture
    generator, count = architecture.generator(DataSpec(3, 32, 10)).eval(), size.of(SAMPLES, 64)
    sampler = GeneratorSampler(generator)

    @torch.no_grad()
    def plain() -> None:
        for start in range(0, count, 256):
            to_uint8(generator(torch.randn(min(256, count - start), generator.latent)))

    def ours() -> None:
        sampler.sample(torch.arange(count), None, 0)

    found = interleave({"ours": lambda: cpu_seconds(ours), "plain": lambda: cpu_seconds(plain)}, size.rounds)
    return compare(f"sampling, {count} of 32x32, over a plain loop", found["ours"], found["plain"], "<= 1.1")


def measure(size: Size) -> list[Row]:
    """All rows."""
    return [sampling(size), *of_figures(size)]


if __name__ == "__main__":
    run_part(__doc__, "figures", measure)
