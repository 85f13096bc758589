"""SIGTERM interrupts a real study, one of its jobs, or one rank of a run: no failure, and the same command ends it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from small_study import SMALL, STUDY, results, start, start_study, written

from trigan.execution.job import STOP_SIGNALS

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]
#: Long enough to be interrupted after a checkpoint.
FIT = ["data.suggested.steps=300", "trainer.checkpoint_every=20"]
ROWS = STUDY["rows"][:1]


def processes(told: Callable[[Path], bool]) -> list[int]:
    """The processes of which ``/proc/PID`` says so."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if told(folder):
                found.append(int(folder.name))
        except OSError:
            continue  # it has ended, or belongs to another user
    return sorted(found)


def ranks(number: int, outputs: Path) -> list[int]:
    """The processes of this rank that work in the folder of outputs."""

    def told(folder: Path) -> bool:
        words = (folder / "environ").read_bytes().split(b"\0")
        return f"RANK={number}".encode() in words and str(outputs).encode() in (folder / "cmdline").read_bytes()

    return processes(told)


def jobs(outputs: Path) -> list[int]:
    """The processes that write the log of a job."""
    return processes(lambda folder: Path(os.readlink(folder / "fd/1")).is_relative_to(outputs / "logs"))


def after_a_checkpoint(process: subprocess.Popen[bytes], outputs: Path) -> None:
    """Wait until the first checkpoint of a fit is on the disk."""
    until = time.monotonic() + 300
    while not list(outputs.glob("artifacts/.partial/*/checkpoints/*.ckpt.sha256")):
        assert process.poll() is None, "it ended before it could be interrupted"
        assert time.monotonic() < until, "no checkpoint in five minutes"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], tuple[Path, dict[str, bytes]]]:
    """By number of devices, a study and the results of it that nobody interrupted."""
    known: dict[int, tuple[Path, dict[str, bytes]]] = {}

    def made(devices: int) -> tuple[Path, dict[str, bytes]]:
        if devices not in known:
            folder = tmp_path_factory.mktemp("whole")
            fixed = [*SMALL, *FIT, f"trainer.devices={devices}"]
            study = written(folder / "tiny", trials=1, rows=ROWS, fixed=fixed)
            assert start_study(study, folder / "outputs", folder / "log").wait() == 0, (folder / "log").read_text()
            known[devices] = study, results(folder / "outputs")
        return known[devices]

    return made


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("target", ["study", "job", "rank"])
def test_sigterm(
    target: str, devices: int, whole: Callable[[int], tuple[Path, dict[str, bytes]]], tmp_path: Path
) -> None:
    if target == "rank" and devices == 1:
        return
    (study, expected), outputs, log = whole(devices), tmp_path / "outputs", tmp_path / "log"
    process = start_study(study, outputs, log)
    after_a_checkpoint(process, outputs)
    place = {"study": lambda: [process.pid], "job": lambda: jobs(outputs), "rank": lambda: ranks(1, outputs)}
    os.kill(place[target]()[0], signal.SIGTERM)
    assert process.wait(120) == (143 if target == "study" else 1), log.read_text()
    assert not list(outputs.rglob("failure.json")), "it was interrupted, and has not failed"
    assert not jobs(outputs), "no process outlives the study"
    assert start_study(study, outputs, log).wait(300) == 0, log.read_text()
    assert results(outputs) == expected
    said = log.read_text() + "".join(path.read_text() for path in outputs.glob("logs/**/*.log"))
    assert "Traceback" not in said


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("sent", [one for one in STOP_SIGNALS if one is not signal.SIGINT])
def test_a_signal_to_a_rank_of_a_run(number: int, sent: signal.Signals, tmp_path: Path) -> None:
    outputs, log = tmp_path / "outputs", tmp_path / "log"
    words = ["run", *SMALL, *FIT, "trainer.devices=2", f"paths.outputs={outputs}"]
    process = start(words, log)
    after_a_checkpoint(process, outputs)
    os.kill(ranks(number, outputs)[-1], sent)
    assert process.wait(120) == 128 + sent, log.read_text()
    assert not list(outputs.rglob("failure.json"))
    assert not ranks(0, outputs), "no rank outlives the run"
    assert not ranks(1, outputs), "no rank outlives the run"
    assert start(words, log).wait(300) == 0, log.read_text()
    assert "Traceback" not in log.read_text()
