"""A run that is stopped in the middle of a stage and started again ends with the bytes of one that never stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from trigan.config.compose import compose
from trigan.records.record import read_record
from trigan.runs.run import run
from trigan.tracking import Tracker
from trigan.training.callbacks import CallbackSettings
from trigan.training.fit import FitCallback
from trigan.training.players import PlayersModule

from ..training.tiny import Recorder

SMALL = [
    "logger=none",
    "callbacks=quiet",
    "architecture.width=8",
    "architecture.latent=8",
    "classifier.width=8",
    "regime.labels_per_class=4",
    "regime.unlabelled=200",
    "trainer.checkpoint_every=5",
]
ROWS = {
    "gan, in augment": (["strategy=augment", "strategy.label_threshold=0.0", "strategy.samples.filters=[]"], "gan"),
    "gan, in features": (["strategy=features", "strategy.probe.penalties=[0.01]"], "gan"),
    "joint": (["strategy=joint"], "joint"),
    "joint, chosen": (["strategy=joint", "regime.validation=large"], "joint"),
    "joint of three": (["strategy=joint", "strategy.objective=conditional", "architecture=cgan"], "joint"),
    "classifier": (["strategy=baseline"], "classifier"),
    "classifier, chosen": (["strategy=baseline", "regime.validation=large"], "classifier"),
    "new head after LDAM-DRW": (
        [
            "strategy=baseline",
            "recipe/criterion=ldam",
            "balance=effective_number",
            "balance.start=0.5",
            "strategy.head=refit",
            "strategy.head.length=1.0",
        ],
        "classifier-head",
    ),
    "classifier, after its teacher": (
        ["strategy=baseline", "strategy.unlabelled=self_training", "strategy.unlabelled.threshold=0.0"],
        "classifier",
    ),
}


def _overrides(name: str, root: Path, *more: str) -> list[str]:
    return [f"paths.outputs={root}", *SMALL, *ROWS[name][0], *more]


def _results(directory: Path) -> tuple[str, bytes, bytes]:
    """The canonical result, the curves and the scores."""
    result = json.dumps(read_record(directory / "record.json")["result"], sort_keys=True)
    return result, (directory / "metrics.jsonl").read_bytes(), (directory / "predictions.npz").read_bytes()


def _interrupt(monkeypatch: pytest.MonkeyPatch, stage: str, step: int) -> None:
    """Raise an error in the middle of a stage."""

    def explode(module: PlayersModule, metrics: dict[str, float]) -> None:
        if module.completed_steps == step:
            raise RuntimeError("power cut")

    def callbacks(watch: CallbackSettings, name: str, directory: Path, tracker: Tracker) -> Sequence[FitCallback]:
        found = list(watching(watch, name, directory, tracker))
        return [*found, Recorder(explode)] if name == stage else found

    watching = CallbackSettings.build
    monkeypatch.setattr(CallbackSettings, "build", callbacks)


#: One of each kind of stage in `make test`, the others in `make test-all`.
QUICK = ("gan, in augment", "joint, chosen", "classifier, chosen")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in ROWS])
def test_a_stopped_and_resumed_run_gives_the_same_bytes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _results(run(compose(_overrides(name, tmp_path / "whole", "debug=fast"))))
    again = compose(_overrides(name, tmp_path / "again", "debug=fast"))
    with monkeypatch.context() as patch:
        _interrupt(patch, ROWS[name][1], 13)
        with pytest.raises(RuntimeError, match="power cut"):
            run(again)
    assert list((tmp_path / "again").rglob("step-000000010.ckpt")), "it was stopped before its first checkpoint"
    assert not list((tmp_path / "again").rglob("record.json"))
    assert _results(run(again)) == whole
    result = json.loads(whole[0])
    assert (result["rule"] == "val") == ("chosen" in name)
    assert result["status"] == "finished"


def test_the_same_config_gives_the_same_bytes(tmp_path: Path) -> None:
    """Nothing is shared between the two: neither store nor record."""
    name = "gan, in features"
    one, two = (_results(run(compose(_overrides(name, tmp_path / place, "debug=fast")))) for place in ("one", "two"))
    assert one == two
    other = json.loads(_results(run(compose(_overrides(name, tmp_path / "one", "debug=fast", "trial=1"))))[0])
    assert other["weights"] != json.loads(one[0])["weights"]


def _kill_in_the_middle(words: list[str], root: Path, environment: dict[str, str], checkpoints: int) -> None:
    """Start ``trigan run`` as a process of its own, and end it with SIGKILL once so many checkpoints were written."""
    process = subprocess.Popen(
        [sys.executable, "-m", "trigan", "run", *words], env=environment, stderr=subprocess.PIPE, start_new_session=True
    )
    seen: set[str] = set()
    until = time.monotonic() + 120
    try:
        while len(seen) < checkpoints and time.monotonic() < until:
            assert process.poll() is None, process.stderr.read().decode() if process.stderr else ""
            seen |= {path.name for path in root.rglob("step-*.ckpt")}
            time.sleep(0.005)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert len(seen) >= checkpoints


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("joint, chosen", ["recipe.steps=100"]),
        pytest.param("gan, in augment", ["strategy.gan.steps=400"], marks=pytest.mark.slow),
        pytest.param("classifier, chosen", ["recipe.steps=400"], marks=pytest.mark.slow),
    ],
)
def test_a_killed_and_resumed_run_gives_the_same_bytes(name: str, more: list[str], tmp_path: Path) -> None:
    kept: dict[str, Any] = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")}
    environment = {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    words = _overrides(name, tmp_path / "killed", *more)
    _kill_in_the_middle(words, tmp_path / "killed", environment, 2)
    assert not list((tmp_path / "killed").rglob("record.json"))
    finished = _results(run(compose(words)))
    assert finished == _results(run(compose(_overrides(name, tmp_path / "whole", *more))))
