"""Which of a fit's classifiers is taken: the last one, or the best of a few on counted validation labels."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from trigan.components import component
from trigan.data.inputs import Input, image_batches
from trigan.errors import ConfigError
from trigan.training.range_checks import require

#: Makes a network ready for evaluation.
Recalibrate = Callable[[nn.Module], object]


@component("selection/candidates@1")
@dataclass(frozen=True)
class Selection:
    """``rule``: ``last``, ``val`` (best of ``candidates`` evenly spaced ones), or ``auto``: val where there is V.

    ``snapshots`` (1 or more, or None) of C are kept beside the one that is taken, for a curve of test error; nothing
    chooses among them.
    """

    rule: Literal["auto", "last", "val"] = "auto"
    candidates: int = 10
    snapshots: int | None = None

    def __post_init__(self) -> None:
        require(self.candidates >= 1, "candidates", self.candidates, "at least 1")
        require(self.snapshots is None or self.snapshots >= 1, "snapshots", self.snapshots, "at least 1, or null")

    def resolve(self, validation: bool) -> Literal["last", "val"]:
        """The rule that holds, given whether there are validation labels."""
        if self.rule == "val" and not validation:
            raise ConfigError(
                "selection.rule=val: this regime has no validation labels; take selection.rule=last or "
                "regime.validation=large"
            )
        return "val" if self.rule == "val" or (self.rule == "auto" and validation) else "last"


class Selector(nn.Module):
    """The best classifier so far, ties to the later; part of a checkpoint, so that a resumed fit chooses alike."""

    accuracy: Tensor
    step: Tensor

    def __init__(self, network: nn.Module, validation: Input, steps: int, candidates: int) -> None:
        super().__init__()
        self.best = copy.deepcopy(network).requires_grad_(False)
        self.register_buffer("accuracy", torch.tensor(-1.0, dtype=torch.float64))
        self.register_buffer("step", torch.tensor(0))
        self.due_steps = {round(steps * (k + 1) / candidates) for k in range(candidates)}
        self._validation = validation

    @torch.no_grad()
    def update(self, network: nn.Module, recalibrate: Recalibrate, step: int) -> None:
        """Take ``network``, recalibrated for evaluation, if it is as accurate on V as the best so far."""
        candidate = copy.deepcopy(network)
        recalibrate(candidate)
        score = accuracy(candidate, self._validation)
        if score >= float(self.accuracy):
            self.best.load_state_dict(candidate.state_dict())
            self.accuracy.fill_(score)
            self.step.fill_(step)


@torch.no_grad()
def accuracy(network: nn.Module, data: Input) -> float:
    """Share of ``data`` that a network in evaluation mode classifies rightly."""
    parameter = next(network.parameters())
    batches = image_batches(data.images, parameter.device, parameter.dtype)
    predicted = torch.cat([network(images).argmax(1).cpu() for images in batches])
    return int((predicted == data.known_labels).sum()) / len(data)
