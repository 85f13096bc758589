"""What a search optimizes: a score on the validation labels, never one on the test set."""

from dataclasses import dataclass
from typing import Literal

from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError

#: Scores of a validation-only run, and whether higher is better.
VALIDATION_METRICS = {"accuracy": True, "balanced_accuracy": True, "macro_f1": True, "nll": False, "ece": False}


@dataclass(frozen=True)
class ValidationMetric:
    """A validation score."""

    name: str
    higher_is_better: bool

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """The direction of optimization, as Optuna and W&B name it."""
        return "maximize" if self.higher_is_better else "minimize"

    @property
    def has_validation_curve(self) -> bool:
        """Whether the validations during training give this score."""
        return self.name == "accuracy"


def parse_metric(text: str) -> ValidationMetric:
    """The metric of a name, with or without ``validation/`` in front; a ConfigError for a test score, or no score."""
    name = text.replace(".", "/").removeprefix("final/").removeprefix("validation/")
    known = ", ".join(VALIDATION_METRICS)
    if name.startswith("test"):
        raise ConfigError(
            f"--metric {text}: a search selects by a validation score, never by the test set; choose one of {known}"
        )
    if name not in VALIDATION_METRICS:
        hint = nearest_hint(name, VALIDATION_METRICS)
        raise ConfigError(f"--metric {text}: no such score; there are {known}{hint}")
    return ValidationMetric(name, VALIDATION_METRICS[name])
