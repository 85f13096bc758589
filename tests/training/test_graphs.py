"""Steps whose number is on the device, and their CUDA graphs: the same fits as without."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.ranks import STAGES, is_quick, module_of
from trigan.errors import ConfigError
from trigan.training.fit import FitCallback, TrainerSettings, fit
from trigan.training.players import PlayersModule

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DOUBLE = TrainerSettings(precision="64-true")
ON_GPU = replace(DOUBLE, accelerator="gpu")
#: What a graph cannot hold: shapes that depend on values.
REFUSED = ("co_teaching",)


class Logged(FitCallback):
    def __init__(self, stop: int) -> None:
        self.rows: list[dict[str, float]] = []
        self.graphs, self.stop = 0, stop

    def on_metrics(self, module: PlayersModule, metrics: dict[str, float]) -> None:
        if module.completed_steps == self.stop:
            raise RuntimeError("power cut")
        self.rows.append(metrics)
        self.graphs = max(self.graphs, 0 if module.graphs is None else len(module.graphs))


def ended(
    name: str, settings: TrainerSettings, on_device: bool = False, checkpoints: Path | None = None, stop: int = -1
) -> tuple[dict[str, Any], Logged]:
    """All that a fit ends with: state, counters; and what it logged, every four steps. ``stop``: an error then."""
    module, _ = module_of(STAGES[name](), settings)
    module.plan = replace(module.plan, log_every=4)
    if on_device:
        module.use_graphs(capture=False)
    logged = Logged(stop)
    result = fit(module, settings, checkpoints, [logged])
    counters = {"images": module.images, "flops": module.flops, "counts": dict(module.classifier_counts)}
    state = {key: value.cpu() for key, value in module.state_dict().items()}
    return {"step": result.step, **counters, "state": state}, logged


def assert_equal_fits(
    found: tuple[dict[str, Any], Logged], expected: tuple[dict[str, Any], Logged], tolerance: float = 1e-8
) -> None:
    state, other = found[0].pop("state"), expected[0].pop("state")
    assert found[0] == expected[0]
    torch.testing.assert_close(state, other, rtol=100 * tolerance, atol=tolerance)
    assert [set(row) for row in found[1].rows] == [set(row) for row in expected[1].rows]
    for row, same in zip(found[1].rows, expected[1].rows, strict=True):
        assert row == pytest.approx(same, rel=1e-4, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if is_quick(name) else pytest.mark.slow) for name in sorted(STAGES)]
)
def test_a_step_on_the_device_is_the_same_step(name: str) -> None:
    """Without a GPU: the code that would be captured, run as it is."""
    assert_equal_fits(ended(name, DOUBLE, on_device=True), ended(name, DOUBLE))


@pytest.mark.parametrize(
    "settings", [replace(DOUBLE, checkpoint_every=1), pytest.param(replace(ON_GPU, graph=True), marks=GPU)]
)
def test_a_resumed_fit_is_the_same_fit(settings: TrainerSettings, tmp_path: Path) -> None:
    settings, on_device = replace(settings, checkpoint_every=1), not settings.graph
    whole, _ = ended("regularised", settings, on_device)
    with pytest.raises(RuntimeError, match="power cut"):
        ended("regularised", settings, on_device, tmp_path, stop=6)
    again, logged = ended("regularised", settings, on_device, tmp_path)
    assert len(logged.rows) == 1, "from the checkpoint after four of six steps"
    assert all(torch.equal(value, again["state"][name]) for name, value in whole["state"].items())
    assert [again[name] for name in ("step", "images", "flops")] == [
        whole[name] for name in ("step", "images", "flops")
    ]


def test_a_fit_is_resumed_with_steps_on_the_device_or_without(tmp_path: Path) -> None:
    settings = replace(DOUBLE, checkpoint_every=1)
    whole = ended("regularised", settings)
    with pytest.raises(RuntimeError, match="power cut"):
        ended("regularised", settings, True, tmp_path, stop=6)
    again = ended("regularised", settings, False, tmp_path)
    whole[1].rows[:1] = []
    assert_equal_fits(again, whole)


@GPU
@pytest.mark.parametrize("name", sorted(set(STAGES) - set(REFUSED)))
def test_a_replayed_step_is_the_same_step(name: str) -> None:
    graph = ended(name, replace(ON_GPU, graph=True))
    assert graph[1].graphs > 0
    assert_equal_fits(graph, ended(name, ON_GPU), tolerance=1e-6)  # learning rates are single there


@GPU
@pytest.mark.parametrize("name", REFUSED)
def test_a_step_with_shapes_that_depend_on_values_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"trainer.graph=true: .* set trainer.graph=false"):
        ended(name, replace(ON_GPU, graph=True))


def test_graphs_and_tf32_need_a_gpu() -> None:
    for settings in ({"graph": True}, {"precision": "tf32"}):
        with pytest.raises(ConfigError, match="needs a GPU; set trainer=gpu"):
            TrainerSettings(**settings)
    with pytest.raises(ConfigError, match=r"set trainer.devices=1, not 2"):
        TrainerSettings(graph=True, devices=2, accelerator="gpu")


@pytest.mark.slow
def test_compiled_networks_are_the_same_networks() -> None:
    """On the CPU; compiles two networks, which takes most of a minute."""
    assert_equal_fits(ended("dcgan", replace(DOUBLE, compile=True)), ended("dcgan", DOUBLE), tolerance=1e-6)
