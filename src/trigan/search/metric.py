"""What a search goes by: a score on the validation labels, and never one on the test set."""

from dataclasses import dataclass
from typing import Any, Literal

from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError

#: Scores of a validation-only run, and whether more of it is better.
VALIDATION_METRICS = {"accuracy": True, "balanced_accuracy": True, "macro_f1": True, "nll": False, "ece": False}


@dataclass(frozen=True)
class ValidationMetric:
    """A validation score; ``higher_is_better``, or else lower is."""

    name: str
    higher_is_better: bool

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        return "maximize" if self.higher_is_better else "minimize"

    @property
    def has_validation_curve(self) -> bool:
        """Whether a run's looks at the validation images along the way tell it."""
        return self.name == "accuracy"

    def from_record(self, sealed: dict[str, Any]) -> float | None:
        """The score of a validation record; None where it has none (no likelihood without probabilities)."""
        value = sealed["result"]["validation"].get(self.name)
        return None if value is None else float(value)


def parse_metric(text: str) -> ValidationMetric:
    """The metric of a name, with or without ``validation/`` in front.

    Raises:
        ConfigError: it is a test score, or no score.
    """
    name = text.replace(".", "/").removeprefix("final/")
    if name.startswith("test"):
        raise ConfigError(
            f"--metric {text}: the test set chooses nothing, and stays sealed in a search; "
            f"a validation score is needed: {', '.join(VALIDATION_METRICS)}"
        )
    name = name.removeprefix("validation/")
    if name not in VALIDATION_METRICS:
        raise ConfigError(
            f"--metric {text}: no such score; there are {', '.join(VALIDATION_METRICS)}{nearest_hint(name, VALIDATION_METRICS)}"
        )
    return ValidationMetric(name, VALIDATION_METRICS[name])
