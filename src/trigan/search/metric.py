"""What a search optimizes: a score on the validation labels, never one on the test set."""

from dataclasses import dataclass
from typing import Literal

from trigan.config.suggest import nearest_hint
from trigan.errors import ConfigError
from trigan.scores import METRICS


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
    known = ", ".join(METRICS)
    if name.startswith("test"):
        raise ConfigError(
            f"--metric {text}: a search selects by a validation score, never by the test set; choose one of {known}"
        )
    if name not in METRICS:
        hint = nearest_hint(name, METRICS)
        raise ConfigError(f"--metric {text}: no such score; there are {known}{hint}")
    return ValidationMetric(name, METRICS[name].sign > 0)
