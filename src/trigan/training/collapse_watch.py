"""The collapse watch: looks at a generator a few times during its fit, and warns, stops, returns or cures.

A look changes nothing: its latents are a function of the seed, it updates no statistics, and no random number is taken
from elsewhere. What the watch decides is a function of its looks, which are part of every checkpoint.
"""

import copy
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import torch
from torch import Tensor

from trigan import distributed
from trigan.checks import require, require_settings
from trigan.component_ids import component
from trigan.cost import uncounted
from trigan.datasets.inputs import EVALUATION_BATCH, Input
from trigan.datasets.stream import to_float, to_uint8
from trigan.evaluation.generators.collapse import TrainingReference, rounded, sample_signals
from trigan.evaluation.generators.embeddings import random_conv
from trigan.networks.batchnorm import batch_statistics
from trigan.rng import Draws, permutation
from trigan.training.step import TrainingPlan

_log = logging.getLogger(__name__)

#: Most training images that samples are compared with, and the fewest that a watch needs.
REFERENCE_IMAGES, LEAST_IMAGES = 2_000, 30
#: Signal -> whether a low value is bad, what it means, and what to try.
SIGNALS: dict[str, tuple[bool, str, str]] = {
    "coverage": (True, "samples reach few of the training images", "another loss or a gradient penalty"),
    "diversity": (True, "samples are nearly the same image", "a gradient penalty, or architecture=pacgan"),
    "duplicates": (False, "many samples are equal", "a gradient penalty, or architecture=pacgan"),
    "class_diversity": (True, "samples of a class are nearly the same image", "architecture.minibatch_std=4"),
    "class_hits": (True, "a class's samples look like other classes", "more steps, or architecture=projection"),
    "group_share": (True, "a kind of training image is missing among the samples", "a gradient penalty"),
    "copy_distance": (True, "samples are copies of training images", "discriminator_augmentation=diffaugment"),
    "vanishing": (True, "D is always right and gives G no gradient", "loss=non_saturating, or a slower D"),
    "exploding": (False, "D's gradient for G explodes", "a lower learning rate, or a gradient penalty"),
    "not_finite": (False, "a loss or weight is not finite, or a loss has exploded", "a lower learning rate"),
}
#: Both accuracies of D from which on a vanishing gradient is its doing.
_ALWAYS_RIGHT = 0.995

#: (real images float (n, C, S, S), their labels, generated images, labels) -> signals of D.
Critic = Callable[[Tensor, Tensor | None, Tensor, Tensor | None], dict[str, float]]


@component("watch/thresholds@1")
@dataclass(frozen=True)
class Thresholds:
    """Values beyond which a signal is bad (docs/collapse.md has the meaning of each, and how they were found).

    ``duplicates`` and ``exploding`` are bad above, the others below; 0 and .inf switch one off.
    """

    coverage: float = 0.05
    diversity: float = 0.2
    duplicates: float = 0.9
    class_diversity: float = 0.2
    class_hits: float = 0.1
    group_share: float = 0.03
    copy_distance: float = 0.45
    vanishing: float = 0.05
    exploding: float = 100.0

    def __post_init__(self) -> None:
        require_settings(self, " ".join(one.name for one in fields(self)), 0.0)

    def beyond(self, signals: Mapping[str, float]) -> dict[str, float]:
        """The bad signals with their thresholds."""
        limits = {one.name: float(getattr(self, one.name)) for one in fields(self)}
        return {
            name: limits[name]
            for name, value in signals.items()
            if name in limits and (value < limits[name] if SIGNALS[name][0] else value > limits[name])
        }


@component("watch/collapse@1")
@dataclass(frozen=True)
class CollapseWatch:
    """When a generator is looked at, when a look is an alarm, and what an alarm does.

    Attributes:
        action: ``warn``: nothing but a line and an entry in the record. ``stop``: end the fit with the weights of the
            last healthy look, or with the present ones if there was none. ``rollback``: go on from these with the rest
            of the steps, and so with other images and latents, at learning rates times ``rate``; a warning if there
            were none. ``cure``: change D's loss from the next step, by ``cure``. None:
            no looks.
        looks: most looks in a fit, evenly spaced; the last is at its end.
        least_steps: fewest steps between two looks.
        images: samples of a look, and at most as many training images beside them.
        patience: a signal is an alarm after so many bad looks in a row.
        start: share of the fit before which nothing is an alarm, since every G begins badly.
        rate: factor on all learning rates at each rollback, and at each return from values that are not finite.
        cure: ``diffaugment``: DiffAugment on all images of D; ``penalty``: R1 of weight ``penalty``, which doubles at
            each further alarm.
        penalty: see ``cure``.
        limit: most rollbacks, or cures, of a fit; further alarms are warnings.
        thresholds: of the signals.
    """

    action: Literal["warn", "stop", "rollback", "cure"] | None = "warn"
    looks: int = 10
    least_steps: int = 100
    images: int = 300
    patience: int = 2
    start: float = 0.3
    rate: float = 0.5
    cure: Literal["diffaugment", "penalty"] = "diffaugment"
    penalty: float = 1.0
    limit: int = 5
    thresholds: Thresholds = field(default_factory=Thresholds)

    def __post_init__(self) -> None:
        require_settings(self, "looks least_steps patience limit", 1)
        require_settings(self, "images", LEAST_IMAGES)
        require(0.0 <= self.start <= 1.0, "start", self.start, "in [0, 1]")
        require(0.0 < self.rate <= 1.0, "rate", self.rate, "above 0, at most 1")
        require(self.penalty > 0.0, "penalty", self.penalty, "above 0")

    def due_steps(self, plan: TrainingPlan) -> frozenset[int]:
        """Steps after which G is looked at: multiples of ``log_every``."""
        apart = max(plan.steps / self.looks, self.least_steps)
        logged = [*range(plan.log_every, plan.steps, plan.log_every), plan.steps]
        before = [0, *logged[:-1]]
        return frozenset(now for now, last in zip(logged, before, strict=True) if now // apart > last // apart)


class WatchState:
    """A watch of one fit. ``looks`` and ``events`` are plain data; `state_dict` is part of every checkpoint.

    Each look is ``{"step": ..., SIGNAL: value}``, each event has ``step``, ``images``, ``signal``, ``value``,
    ``threshold`` and ``action``, and the step it returned ``to``, if it did.
    """

    def __init__(
        self, settings: CollapseWatch, plan: TrainingPlan, real: Input, groups: int, critic: Critic | None
    ) -> None:
        self.settings, self._plan, self._critic = settings, plan, critic
        chosen = permutation(len(real), plan.seed, "watch")[:REFERENCE_IMAGES]
        self._real = Input(real.images[chosen], None if real.labels is None else real.labels[chosen])
        self._groups, self._samples = groups, min(settings.images, len(real))
        enough = self._samples >= LEAST_IMAGES and settings.action is not None
        self.due_steps = settings.due_steps(plan) if enough else frozenset[int]()
        self._reference: TrainingReference | None = None
        self.looks: list[dict[str, float]] = []
        self.events: list[dict[str, Any]] = []
        self.bad: dict[str, int] = {}
        self.rollbacks = self.cures = 0
        self.healthy: dict[str, Any] | None = None
        self.ended = False

    @property
    def counted(self) -> bool:
        """Whether looks count as operations: those that change nothing do not."""
        return self.settings.action != "warn"

    @property
    def rate(self) -> float:
        """The present factor on the learning rates."""
        return float(self.settings.rate**self.rollbacks)

    def cured_by(self, cure: str) -> int:
        """How often D's loss was changed by ``cure``; 0: not yet."""
        return self.cures if self.settings.action == "cure" and self.settings.cure == cure else 0

    def signals(self, generator: Any) -> dict[str, float]:
        """The signals of one look at a generator; ``not_finite`` alone if its samples are not finite."""
        images, labels = self._draw(generator)
        if not bool(images.isfinite().all()):
            return {"not_finite": 1.0}
        embedding = random_conv()
        if self._reference is None:
            known = self._real.labels.cpu() if generator.classes and self._real.labels is not None else None
            with uncounted():  # once a process, so that a resumed fit counts the same
                features = embedding(self._real.images.cpu())
                self._reference = TrainingReference.of(features, self._samples, self._groups, known)
        pixels = to_uint8(images).cpu()
        found = sample_signals(self._reference, embedding(pixels), None if labels is None else labels.cpu())
        if self._critic is not None:
            n = self._samples
            real = to_float(self._real.images[:n].to(images.device)).to(images.dtype)
            known = None if self._real.labels is None or labels is None else self._real.labels[:n].to(images.device)
            found |= self._critic(real, known, images, labels)
            found |= self.against_earlier(found)
        return rounded(found)

    @torch.no_grad()
    def _draw(self, generator: Any) -> tuple[Tensor, Tensor | None]:
        """The samples of every look: the same latents, with the labels in turn."""
        weights, n = next(generator.parameters()), self._samples
        z = Draws.of_rows(self._plan.seed, 0, n).normal("watch", generator.latent).to(weights.device, weights.dtype)
        labels = (torch.arange(n) % generator.classes).to(weights.device) if generator.classes else None
        parts = -(-n // EVALUATION_BATCH)
        given = labels.tensor_split(parts) if labels is not None else [None] * parts
        with batch_statistics(generator):
            images = torch.cat([generator(*pair) for pair in zip(z.tensor_split(parts), given, strict=True)])
        return images, labels

    def against_earlier(self, found: Mapping[str, float]) -> dict[str, float]:
        """The gradient of this look over the largest and the median earlier one: ``vanishing`` and ``exploding``."""
        earlier = sorted(look["gradient"] for look in self.looks if look.get("gradient", 0.0) > 0.0)
        right = min(found["real_accuracy"], found["fake_accuracy"]) >= _ALWAYS_RIGHT
        if not earlier:
            return {"vanishing": 1.0, "exploding": 1.0}
        vanishing = found["gradient"] / earlier[-1] if right else 1.0
        return {"vanishing": vanishing, "exploding": found["gradient"] / earlier[len(earlier) // 2]}

    def judge(self, signals: dict[str, float], step: int) -> list[dict[str, Any]]:
        """Note a look after ``step`` steps, and return the alarms that it raises."""
        self.looks.append({"step": step, **signals})
        beyond = self.settings.thresholds.beyond(signals)
        if step < self.settings.start * self._plan.steps:
            return []
        self.bad = {name: self.bad.get(name, 0) + 1 for name in beyond}
        return [
            {"step": step, "signal": name, "value": signals[name], "threshold": beyond[name]}
            for name, count in self.bad.items()
            if count == self.settings.patience
        ]

    def healthy_look(self, signals: Mapping[str, float], step: int) -> bool:
        """Whether a look from ``start`` on has no bad signal, so that its weights are worth keeping."""
        late = step >= self.settings.start * self._plan.steps
        return late and "not_finite" not in signals and not self.settings.thresholds.beyond(signals)

    def action_now(self) -> str:
        """What an alarm does now: the action, or ``warn`` once the limit is reached or nothing can be raised."""
        action, settings = self.settings.action or "warn", self.settings
        spent = {"rollback": self.rollbacks, "cure": self.cures}.get(action, 0)
        most = 1 if action == "cure" and settings.cure == "diffaugment" else settings.limit
        return "warn" if spent >= most else action

    def note(self, alarms: list[dict[str, Any]], action: str, to: int | None = None) -> None:
        """Add events, with one line on the terminal each."""
        for alarm in alarms:
            images = alarm["step"] * self._plan.batch
            self.events.append({**alarm, "images": images, "action": action, **({} if to is None else {"to": to})})
            if distributed.rank() == 0:
                _log.warning("%s", event_line(self.events[-1], self._plan.steps))
        if alarms and action != "warn":
            self.bad = {}

    @property
    def metrics(self) -> dict[str, float]:
        """Of the newest look, as they are logged: ``watch/SIGNAL`` and ``watch/alarms``, the events so far."""
        signals = {f"watch/{name}": value for name, value in self.looks[-1].items() if name != "step"}
        return {**signals, "watch/alarms": float(len(self.events))}

    def state_dict(self) -> dict[str, Any]:
        """Plain data and tensors."""
        names = ("looks", "events", "bad", "rollbacks", "cures", "healthy", "ended")
        return {name: copy.deepcopy(getattr(self, name)) for name in names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What `state_dict` gave."""
        for name, value in state.items():
            setattr(self, name, copy.deepcopy(value))


def event_line(event: Mapping[str, Any], steps: int) -> str:
    """An event in one line: step, signal, value, threshold, meaning, and what was done or may be tried."""
    low, meaning, mend = SIGNALS[event["signal"]]
    value = event["value"]
    limit = f" ({'below' if low else 'above'} {event['threshold']:g})" if math.isfinite(event["threshold"]) else ""
    to = event.get("to")
    done = {
        "warn": f"try {mend}; strategy.gan.watch.action=rollback acts by itself",
        "stop": "the fit ends" + (f" with the weights of step {to}" if to is not None else " with these weights"),
        "rollback": f"back to the weights of step {to}, at a lower learning rate",
        "cure": "D's loss is changed from here" + (f", on the weights of step {to}" if to is not None else ""),
    }[event["action"]]
    return (
        f"collapse watch, step {event['step']} of {steps}: {event['signal']} is {value:.3g}{limit}: {meaning}; {done}"
    )
