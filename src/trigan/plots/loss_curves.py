"""Loss curves, read from the lines of ``metrics.jsonl``."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

#: One curve: images seen and values, both (N,).
Curve = tuple[np.ndarray, np.ndarray]


def loss_curves(metrics_rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Curve]]:
    """Curves by stage and by name (``discriminator``, or ``classifier, validation``), in order of first appearance."""
    points: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in metrics_rows:
        for key, value in row.items():
            stage, _, rest = key.partition("/")
            split, _, quantity = rest.partition("/")
            if quantity.endswith("loss") and isinstance(value, int | float) and "images" in row:
                player = quantity.removesuffix("loss").rstrip("_").replace("_", " ") or "loss"
                name = player if split == "train" else f"{player}, {split}"
                points.setdefault(stage, {}).setdefault(name, []).append((float(row["images"]), float(value)))
    return {stage: {name: _curve(found) for name, found in curves.items()} for stage, curves in points.items()}


def _curve(points: list[tuple[float, float]]) -> Curve:
    ordered = np.array(sorted(points, key=lambda point: point[0]))
    return ordered[:, 0], ordered[:, 1]
