"""Figures of generators at full size: peak memory and seconds of 50,000 x 50,000 images, and the published case.

    python benchmarks/generators.py memory [FIGURE ...]
    python benchmarks/generators.py published

`memory` measures all figures, or those that are named, each in its own process; seconds depend on what else runs.

`published`: 10,000 draws of N(0, I) in 1,000 dimensions each, k = 5, for which the authors print precision .477, recall
.471, density 1.056 and coverage .974 (Naeem et al. 2020, github.com/clovaai/generative-evaluation-prdc, README). With
`prdc` installed its figures for the same numbers are beside ours. Results: benchmarks/results/generators.json.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from trigan.evaluation.generators.distributions import frechet_distance, kernel_distance
from trigan.evaluation.generators.manifold import manifold_figures
from trigan.evaluation.generators.memorisation import copying_figures, feature_likelihood_divergence

IMAGES, DIMENSIONS = 50_000, 256
RESULTS = Path(__file__).parent / "results" / "generators.json"


def normal(seed: int, images: int, dims: int) -> torch.Tensor:
    """Features N(0, I), float32."""
    return torch.randn(images, dims, generator=torch.Generator().manual_seed(seed))


def peak_megabytes() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


Figure = Callable[[torch.Tensor, torch.Tensor], object]
FIGURES: dict[str, Figure] = {
    "fid": frechet_distance,
    "kid": kernel_distance,
    "precision, recall, density, coverage": manifold_figures,
    "authenticity, copies, duplicates": copying_figures,
    "fld": lambda real, fake: feature_likelihood_divergence(real, normal(2, 10_000, DIMENSIONS), fake),
}


def cost(name: str) -> dict[str, float]:
    """Seconds of a figure and the peak of memory of this process, which has measured no other."""
    torch.set_num_threads(1)
    real, fake = normal(0, IMAGES, DIMENSIONS), normal(1, IMAGES, DIMENSIONS)
    began = time.perf_counter()
    FIGURES[name](real, fake)
    return {"seconds": round(time.perf_counter() - began, 1), "peak_mb": round(peak_megabytes())}


def memory(names: Sequence[str], kept: Mapping[str, Any]) -> dict[str, Any]:
    """The cost of the figures of these names, beside those that were measured before."""
    found = dict(kept)
    for name in names or FIGURES:
        with get_context("spawn").Pool(1) as process:
            found[name] = process.apply(cost, (name,))
        print(name, found[name], flush=True)
    return {"images": IMAGES, "dimensions": DIMENSIONS, "figures": found}


def published() -> dict[str, Any]:
    """Ours, the published ones, and those of the authors' package if it is installed."""
    real, fake = (normal(seed, 10_000, 1000).double() for seed in (0, 1))
    found: dict[str, Any] = {"ours": manifold_figures(real, fake, 5, 5)}
    found["published"] = {"precision": 0.477, "recall": 0.471, "density": 1.056, "coverage": 0.974}
    try:
        from prdc import compute_prdc
    except ModuleNotFoundError:
        return found
    theirs = compute_prdc(real.numpy(), fake.numpy(), nearest_k=5)
    return {**found, "prdc": {name: float(value) for name, value in theirs.items()}}


if __name__ == "__main__":
    torch.set_num_threads(1)
    kind, *words = sys.argv[1:]
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    result = memory(words, kept.get("memory", {}).get("figures", {})) if kind == "memory" else published()
    RESULTS.write_text(json.dumps({**kept, kind: result}, indent=2, sort_keys=True) + "\n")
    print(json.dumps(result, indent=2))
