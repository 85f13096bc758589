"""The finished debug runs that tests use: each kind of classifier, with and without a generator, 1 and 3 channels."""

from pathlib import Path

RUNS = {
    "joint": ["strategy=joint"],
    "conditional": ["strategy=augment", "architecture=cgan"],
    "several": [
        "strategy=augment",
        "architecture=cgan",
        "strategy.generators=2",
        "strategy/filter=none",
        "strategy/schedule=pretrain",
        "strategy.samples.ratio=1",
    ],
    "spectral": [
        "strategy=features",
        "strategy.probe=knn",
        "architecture.discriminator_norm=spectral",
        "data.image_size=14",
        "data.channels=3",
    ],
    # one label per class leaves nothing to calibrate on: its scores are no probabilities
    "pixels": ["strategy=features", "strategy.backbone=pixels", "strategy.probe=knn", "regime.labels_per_class=1"],
}


def run_words(name: str, outputs: Path) -> list[str]:
    """The overrides of a run in ``RUNS``, small and short."""
    small = ["classifier.width=4", "architecture.width=4", "logger=none", "callbacks=quiet"]
    return ["debug=fast", "debug.max_steps=6", f"paths.outputs={outputs}/debug", *small, *RUNS[name]]
