"""What a search goes by: a score on the validation labels, and never one on the test set."""

from dataclasses import dataclass
from typing import Any, Literal

from trigan.config.suggest import suffix
from trigan.errors import ConfigError

#: Scores of a sealed run, and whether more of it is better.
METRICS = {"accuracy": True, "balanced_accuracy": True, "macro_f1": True, "nll": False, "ece": False}


@dataclass(frozen=True)
class Metric:
    """A validation score; ``higher`` is better or lower."""

    name: str
    higher: bool

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        return "maximize" if self.higher else "minimize"

    @property
    def looked_at(self) -> bool:
        """Whether a run's looks at the validation images along the way tell it."""
        return self.name == "accuracy"

    def of(self, sealed: dict[str, Any]) -> float | None:
        """The score of a sealed record; None where it has none (no likelihood without probabilities)."""
        value = sealed["result"]["validation"].get(self.name)
        return None if value is None else float(value)


def metric(text: str) -> Metric:
    """The metric of a name, with or without ``validation/`` in front.

    Raises:
        ConfigError: it is a test score, or no score.
    """
    name = text.replace(".", "/").removeprefix("final/")
    if name.startswith("test"):
        raise ConfigError(
            f"--metric {text}: the test set chooses nothing, and stays sealed in a search; "
            f"a validation score is needed: {', '.join(METRICS)}"
        )
    name = name.removeprefix("validation/")
    if name not in METRICS:
        raise ConfigError(f"--metric {text}: no such score; there are {', '.join(METRICS)}{suffix(name, METRICS)}")
    return Metric(name, METRICS[name])
