"""A plugin that reads more than its view, or hides what it took, gets nothing by it: each attack fails."""

import copy
import gc
import json
import pickle
import sys
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from few_steps import composer, small
from reachable import reachable
from torch import Tensor, nn

import trigan
from trigan.config import build as build_module
from trigan.config.compose import RunConfig
from trigan.datasets.sources.cache import cached
from trigan.datasets.sources.digits import Digits
from trigan.datasets.sources.image_source import ItemDecoder
from trigan.datasets.types import DataSpec, TrainingView
from trigan.errors import ConfigError, SealedError, TriganError
from trigan.records.record import read_record
from trigan.runs import run as room
from trigan.strategies.stage_runner import StageRunner
from trigan.strategies.strategy import Outcome

DIGITS = Digits().load()
#: The class of each image, by its pixels; the few digits that occur twice have one class.
CLASS = {image.numpy().tobytes(): int(label) for image, label in zip(DIGITS.images, DIGITS.labels, strict=True)}
LABELS = DIGITS.labels.clone()
del DIGITS


class Constant(nn.Module):
    """A classifier that has learnt nothing; what it does while it is scored is ``then``."""

    def __init__(self, spec: DataSpec, then: Callable[["Constant", Tensor, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(spec.channels * spec.size**2, spec.classes)
        self.register_buffer("seen", torch.zeros(()), persistent=False)
        self.norm = nn.BatchNorm1d(spec.classes, track_running_stats=False)
        self.then = then

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.linear(images.flatten(1))
        return logits if self.then is None else self.then(self, images, logits)


@dataclass
class Plugin:
    """A strategy that does ``attack`` instead of training."""

    attack: Callable[[TrainingView, StageRunner], Any]
    then: Callable[[Constant, Tensor, Tensor], Tensor] | None = None
    found: list[Any] = field(default_factory=list)

    def run(self, view: TrainingView, runner: StageRunner) -> Outcome:
        self.found.append(self.attack(view, runner))
        torch.manual_seed(0)
        return Outcome({"classifier": Constant(view.spec, self.then)}, "last", 0)


def composed(root: Path, *words: str) -> RunConfig:
    return composer().compose(small("strategy=baseline", f"paths.outputs={root}", f"paths.cache={root}/cache", *words))


def run(plugin: Plugin, root: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> dict[str, Any]:
    """The result of a run whose strategy is the plugin."""
    real = RunConfig.build

    def build(config: RunConfig) -> Any:
        built = real(config)
        built.strategy = plugin
        return built

    with monkeypatch.context() as patch:
        patch.setattr(RunConfig, "build", build)
        directory = room.run(composed(root, *words))
    result: dict[str, Any] = read_record(directory / "record.json")["result"]  # type: ignore[assignment]
    return result


# What was seen -------------------------------------------------------------------------------------------------------

TAKE: dict[str, tuple[Callable[[TrainingView], object], str]] = {
    "labelled": (lambda view: view.labelled, "L"),
    "labels": (lambda view: view.labelled.labels, "L"),
    "unlabelled": (lambda view: view.unlabelled, "U"),
    "all training images": (lambda view: view.training_images, "LU"),
    "validation": (lambda view: view.validation, "V"),
    "by getattr": (lambda view: getattr(view, "unlab" + "elled"), "U"),
    "by the class": (lambda view: type(view).unlabelled.fget(view), "U"),  # type: ignore[attr-defined]
    "by the private function": (lambda view: view._take("U"), "U"),
    "sizes alone": (lambda view: (view.sizes, view.spec), ""),
}


@pytest.mark.parametrize("name", TAKE)
def test_the_record_has_what_a_strategy_took(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take, kinds = TAKE[name]
    result = run(Plugin(lambda view, runner: take(view)), tmp_path, monkeypatch, "regime.labels_per_class=20")
    sizes = {"L": 160, "U": 1058, "V": 40, "X": 0}
    assert result["data_used"] == {kind: size if kind in kinds else 0 for kind, size in sizes.items()}
    assert result["labels"] == {"training": result["data_used"]["L"], "selection": result["data_used"]["V"]}
    assert ("validation" in result) == ("V" in kinds)


def test_a_view_cannot_be_changed_or_read_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[TrainingView] = []

    def keep(view: TrainingView, runner: StageRunner) -> None:
        for name in ("_take", "unlabelled", "sizes", "taken"):
            with pytest.raises((SealedError, AttributeError)):
                setattr(view, name, lambda *given: None)
        for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises((SealedError, AttributeError, pickle.PicklingError, TypeError)):
                duplicate(view)
        view.taken["L"] = -1
        kept.append(view)

    def peek(network: Constant, images: Tensor, logits: Tensor) -> Tensor:
        return logits + len(kept[0].unlabelled)

    with pytest.raises(SealedError, match="after the strategy had ended"):
        run(Plugin(keep, peek), tmp_path, monkeypatch)
    assert set(kept[0].taken.values()) == {0}


# Hidden labels and test images ----------------------------------------------------------------------------------------


def frames() -> list[types.FrameType]:
    """The frames of this package that called the caller."""
    found, frame = [], sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        if str(frame.f_globals.get("__name__")).startswith("trigan"):
            found.append(frame)
    return found


def pixels_and_labels(tensors: Iterable[Tensor | np.ndarray]) -> tuple[set[bytes], list[Tensor]]:
    """The images, and the whole storages of integers, behind tensors and arrays."""
    images, numbers = set(), []
    for each in tensors:
        tensor = each if isinstance(each, Tensor) else None
        if tensor is None and each.dtype in (np.int64, np.uint8) and each.size:
            tensor = torch.from_numpy(np.array(each))
        if tensor is None or tensor.dtype not in (torch.uint8, torch.int64) or tensor.is_sparse:
            continue
        whole = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
        if tensor.dtype == torch.int64:
            numbers.append(whole)
        elif len(whole) % 64 == 0:
            images |= {row.numpy().tobytes() for row in whole.view(-1, 64)}
    return images & set(CLASS), numbers


#: What other tests of this process had in memory before the run.
EARLIER: list[Tensor | np.ndarray] = []


def arrays_alive() -> list[Tensor | np.ndarray]:
    """All tensors and arrays that the garbage collector knows."""
    gc.collect()
    return [thing for thing in gc.get_objects() if issubclass(type(thing), Tensor | np.ndarray)]


def everything(view: TrainingView, runner: StageRunner) -> tuple[set[bytes], set[bytes], list[Tensor]]:
    """The view's own images, and all images and integers within reach: of objects, of frames and of the collector."""
    own, _ = pixels_and_labels([view.labelled.images, view.unlabelled])
    earlier = {id(thing) for thing in EARLIER}
    alive = [thing for thing in arrays_alive() if id(thing) not in earlier]
    images, numbers = pixels_and_labels(
        [*reachable([view, runner, *frames(), build_module._FINGERPRINTS], through_frames=True), *alive]
    )
    return own, images, numbers


def test_no_test_image_and_no_hidden_label_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By attributes, closures, runner, frames, caches of modules, the garbage collector, and storages of tensors."""
    global CLASS, LABELS
    kept = CLASS, LABELS.tolist()
    LABELS = torch.empty(0)  # this module's own
    plugin = Plugin(everything)
    EARLIER[:] = arrays_alive()
    try:
        run(plugin, tmp_path, monkeypatch, "regime.unlabelled=700")
    finally:
        CLASS, LABELS = kept[0], torch.tensor(kept[1])
        EARLIER.clear()
    (own, images, numbers) = plugin.found[0]
    assert len(own) > 700
    assert images == own, "an image of the test set, or one that the regime left out, is within reach"
    counts = torch.bincount(LABELS)
    for found in numbers:
        alike = bool(len(found) >= 500 and int(found.min()) >= 0 and int(found.max()) == 9)
        assert not alike, f"{len(found)} integers like labels: {torch.bincount(found)}, of {counts}"


LOAD: dict[str, Callable[[TrainingView, StageRunner], Any]] = {
    "its class": lambda view, runner: Digits().load(),
    "its class, with a cache": lambda view, runner: Digits().load(Path("/nonexistent")),
    "its decoder": lambda view, runner: Digits().read(ItemDecoder()),
    "its cache": lambda view, runner: cached(None, "key", Digits().load),
    "the frame's config": lambda view, runner: next(
        frame.f_locals["composed"] for frame in frames() if "composed" in frame.f_locals
    ).load_data(),
    "the runner's closures": lambda view, runner: next(
        cell.cell_contents.data
        for cell in runner.callbacks.__closure__ or ()  # type: ignore[attr-defined]
        if hasattr(cell.cell_contents, "data")
    ).load(),
    "the library": lambda view, runner: trigan.draw(trigan.data("digits"), trial=0),
}


@pytest.mark.parametrize("name", LOAD)
def test_no_data_set_can_be_loaded_while_a_strategy_trains(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SealedError, match="a data set was loaded while the strategy trained"):
        run(Plugin(LOAD[name]), tmp_path, monkeypatch)
    assert len(Digits().load().labels) == 1797, "it can be loaded again after the error"


def test_labels_are_not_in_memory_while_a_network_is_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forward pass that walks the frames for the labels of the images that it is given."""
    found: list[Any] = []

    def steal(network: Constant, images: Tensor, logits: Tensor) -> Tensor:
        tensors = reachable(frames(), through_frames=True)
        found.append([t for t in tensors if t.dtype in (torch.int64, np.int64) and 100 < len(t.reshape(-1)) < 1797])
        with pytest.raises(SealedError, match="while the networks were scored"):
            Digits().load()
        return logits

    result = run(Plugin(lambda view, runner: view.labelled, steal), tmp_path, monkeypatch)
    assert len(found) > 1
    orders = [one for each in found for one in each if len(torch.as_tensor(one).unique()) <= 10]
    assert not orders
    assert result["test"]["accuracy"] < 0.4


# What is scored -------------------------------------------------------------------------------------------------------


def changes_weights(network: Constant, images: Tensor, logits: Tensor) -> Tensor:
    network.linear.bias.data += 1.0
    return logits


def changes_a_hidden_buffer(network: Constant, images: Tensor, logits: Tensor) -> Tensor:
    network.seen += len(images)
    return logits


def trains(network: Constant, images: Tensor, logits: Tensor) -> Tensor:
    network.train()
    return logits


def normalises_by_the_batch(network: Constant, images: Tensor, logits: Tensor) -> Tensor:
    return network.norm(logits)  # type: ignore[no-any-return]


def adapts_to_what_it_has_seen(network: Constant, images: Tensor, logits: Tensor) -> Tensor:
    memory = vars(network).setdefault("memory", [])
    memory.append(logits.mean(0))
    return logits - torch.stack(memory).mean(0) * 5


def depends_on_the_order(network: Constant, images: Tensor, logits: Tensor) -> Tensor:
    return logits + 5 * torch.eye(10)[torch.arange(len(images)) * 10 // len(images)]


def draws(network: Constant, images: Tensor, logits: Tensor) -> Tensor:
    return logits + torch.randn_like(logits)


SCORED = {
    changes_weights: "network classifier: its linear.bias changed while it was scored",
    changes_a_hidden_buffer: "network classifier: its seen changed while it was scored",
    trains: "network classifier: it left evaluation mode",
    normalises_by_the_batch: r"network classifier: \d+ of 256 images got other outputs",
    adapts_to_what_it_has_seen: r"network classifier: \d+ of 256 images got other outputs",
    depends_on_the_order: r"network classifier: \d+ of 256 images got other outputs",
    draws: r"network classifier: \d+ of 256 images got other outputs",
}


@pytest.mark.parametrize("then", SCORED, ids=lambda then: then.__name__)
def test_a_network_that_is_not_what_it_was_has_no_score(
    then: Callable[[Constant, Tensor, Tensor], Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=SCORED[then]) as caught:
        run(Plugin(lambda view, runner: view.labelled, then), tmp_path, monkeypatch)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("record.json"))


def test_networks_are_put_into_evaluation_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[bool] = []

    def notes(network: Constant, images: Tensor, logits: Tensor) -> Tensor:
        modes.append(network.training)
        return logits

    run(Plugin(lambda view, runner: view.labelled, notes), tmp_path, monkeypatch)
    assert modes
    assert not any(modes)


def test_a_network_that_cannot_leave_training_mode_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Constant, "train", lambda self, mode=True: self)
    with pytest.raises(ConfigError, match="network classifier: its layer itself stays in training mode"):
        run(Plugin(lambda view, runner: None), tmp_path, monkeypatch)


def test_data_that_change_during_the_run_are_not_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(view: TrainingView, runner: StageRunner) -> None:
        real = Digits.listing

        def listing(source: Digits) -> Any:
            items, names = real(source)
            return iter(list(items)[:-1]), names

        monkeypatch.setattr(Digits, "listing", listing)
        monkeypatch.setattr(Digits, "key", lambda source: None)

    with pytest.raises(TriganError, match="has changed since this run began"):
        run(Plugin(change), tmp_path, monkeypatch)


def test_a_diverged_stage_is_in_the_record_whatever_the_strategy_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StageRunner, "status", property(lambda runner: "diverged"))
    assert run(Plugin(lambda view, runner: None), tmp_path, monkeypatch)["status"] == "diverged"


def test_the_result_is_plain_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(Plugin(lambda view, runner: view.unlabelled), tmp_path, monkeypatch)
    assert json.loads(json.dumps(result))["data_used"] == {"L": 0, "U": 1158, "V": 0, "X": 0}
