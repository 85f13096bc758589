"""Which classifiers of a fit are kept: the last one or the best on validation labels, and snapshots during the fit."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trigan.checks import require
from trigan.component_ids import component
from trigan.datasets.inputs import Input, image_batches
from trigan.errors import ConfigError
from trigan.training.balance import mean_recall

#: What a classifier is selected by.
SelectionMetric = Literal["accuracy", "balanced_accuracy"]


@component("selection/candidates@1")
@dataclass(frozen=True)
class Selection:
    """Which classifier of a fit is kept.

    ``rule``: ``last``; ``val``: the best of ``candidates`` evenly spaced classifiers on validation labels, by
    ``metric``; ``auto``: ``val`` if there are validation labels. ``snapshots`` (1 or more, or None): copies of C for a
    curve of error over training, drawn on ``held_out`` training images or, if ``curve`` says so, on the ``test`` set.
    """

    rule: Literal["auto", "last", "val"] = "auto"
    candidates: int = 10
    snapshots: int | None = None
    curve: Literal["held_out", "test"] = "held_out"
    metric: SelectionMetric = "accuracy"

    def __post_init__(self) -> None:
        require(self.candidates >= 1, "candidates", self.candidates, "at least 1")
        expected = f"one of {', '.join(get_args(SelectionMetric))}"
        require(self.metric in get_args(SelectionMetric), "metric", self.metric, expected)
        require(self.snapshots is None or self.snapshots >= 1, "snapshots", self.snapshots, "at least 1, or null")

    def resolve(self, validation: bool) -> Literal["last", "val"]:
        """``rule`` with ``auto`` resolved; ``validation`` says whether there are validation labels."""
        if self.rule == "val" and not validation:
            raise ConfigError(
                "selection.rule=val: this regime has no validation labels; take selection.rule=last or "
                "regime.validation=large"
            )
        return "val" if self.rule == "val" or (self.rule == "auto" and validation) else "last"


def evenly_spaced_steps(steps: int, count: int) -> list[int]:
    """``count`` steps of a fit, including the last of its ``steps``; some are equal if ``count`` exceeds ``steps``."""
    return [round(steps * (k + 1) / count) for k in range(count)]


class Selector(nn.Module):
    """The best classifier so far (of equals the later), with its score in ``accuracy``.

    It is saved in checkpoints, so a resumed fit selects the same one.
    """

    accuracy: Tensor
    step: Tensor

    def __init__(self, network: nn.Module, validation: Input, steps: int, selection: Selection) -> None:
        super().__init__()
        self.best = copy.deepcopy(network).requires_grad_(False)
        self.register_buffer("accuracy", torch.tensor(-1.0, dtype=torch.float64))
        self.register_buffer("step", torch.tensor(0))
        self.due_steps = set(evenly_spaced_steps(steps, selection.candidates))
        self.metric = selection.metric
        self.latest: dict[str, float] = {}
        self._validation = validation

    @torch.no_grad()
    def record(self, candidate: nn.Module, step: int) -> None:
        """Keep ``candidate`` if its accuracy (or ``metric``) on validation images is at least the best so far.

        ``latest`` has the scores of this candidate, for curves.
        """
        logits, labels = _logits(candidate, self._validation), self._validation.known_labels
        score = int((logits.argmax(1) == labels).sum()) / len(labels)
        self.latest = {"validation/accuracy": score, "validation/nll": float(F.cross_entropy(logits.float(), labels))}
        if self.metric == "balanced_accuracy":
            score = self.latest["validation/balanced_accuracy"] = mean_recall(logits, labels)
        if score >= float(self.accuracy):
            self.best.load_state_dict(candidate.state_dict())
            self.accuracy.fill_(score)
            self.step.fill_(step)


class Snapshots(nn.Module):
    """Copies of C during a fit, for a curve of error over training, computed after the weights are frozen.

    The copy of each step in ``due`` replaces one of ``networks``; ``images``, int64 (n,), is the number of images seen
    before each copy (0: not yet taken). Copies are saved in checkpoints, so a resumed fit keeps them. A copy is never
    selected, and its cost is not counted, because it is for evaluation alone.
    """

    images: Tensor

    def __init__(self, networks: Sequence[nn.Module], due: Sequence[int] = (), batch: int = 0) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks).requires_grad_(False)
        self.register_buffer("images", torch.zeros(len(networks), dtype=torch.int64))
        self.due_steps, self._batch = tuple(due), batch

    @torch.no_grad()
    def record(self, network: nn.Module, step: int) -> None:
        """Keep ``network`` as the one after ``step`` steps; ``step`` is one of ``due_steps``."""
        index = self.due_steps.index(step)
        self.networks[index].load_state_dict(network.state_dict())
        self.images[index] = step * self._batch

    def map_networks(self, part: Callable[[Any], nn.Module]) -> "Snapshots":
        """Snapshots of a part of each network."""
        mapped = Snapshots([part(network) for network in self.networks])
        mapped.images.copy_(self.images)
        return mapped

    def by_images_seen(self) -> dict[int, nn.Module]:
        """Number of images seen -> the copy taken after them, in evaluation mode."""
        pairs = zip(self.images.tolist(), self.networks, strict=True)
        return {images: network.eval() for images, network in pairs if images}


def accuracy(network: nn.Module, data: Input) -> float:
    """Share of ``data`` that a network in evaluation mode classifies correctly."""
    return int((_logits(network, data).argmax(1) == data.known_labels).sum()) / len(data)


@torch.no_grad()
def _logits(network: nn.Module, data: Input) -> Tensor:
    """Logits (N, K) of a network in evaluation mode, on the CPU."""
    parameter = next(network.parameters())
    batches = image_batches(data.images, parameter.device, parameter.dtype)
    return torch.cat([network(images).cpu() for images in batches])
