"""Engines: which one a command line names, what is refused, and what a task does on its node."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

from trigan.commands.main import main
from trigan.config.settings import Resources
from trigan.errors import ConfigError, TriganError
from trigan.execution import cluster_node, engines
from trigan.execution.batch import engine
from trigan.execution.cluster_node import ClusterTask
from trigan.execution.engines import EngineChoice, split
from trigan.execution.job import Job
from trigan.execution.pool import LocalEngine
from trigan.records import failure


class Pretended(Launcher):
    """A launcher of somebody else's that calls the task in this process."""

    refuses = False
    loses: tuple[int, ...] = ()

    def __init__(self, tasks_per_node: int, nodes: int, gpus_per_node: Any, cpus_per_task: Any, partition: Any) -> None:
        self.asked = (gpus_per_node, cpus_per_task, partition)

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.task, self.config, self.loader = task_function, config, hydra_context.config_loader

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        if self.refuses:
            raise RuntimeError("sbatch: error: invalid partition specified")
        found = []
        for number, words in enumerate(job_overrides):
            if number in self.loses:
                raise RuntimeError(f"job {number} has not produced any output")
            composed = self.loader.load_sweep_config(self.config, list(words))
            one: Any = JobReturn(status=JobStatus.COMPLETED)
            one.return_value = self.task(composed)
            found.append(one)
        Pretended.last = self.asked  # type: ignore[attr-defined]
        return found


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> EngineChoice:
    """An engine `pretended`, whose tasks run the fake jobs."""
    settings = dict.fromkeys(("gpus_per_node", "cpus_per_task", "partition"))
    target = {"_target_": "hydra_plugins.pretended.Pretended", "tasks_per_node": 1, "nodes": 1}
    ConfigStore.instance().store(group="hydra/launcher", name="pretended", node={**target, **settings})
    monkeypatch.setitem(engines.ENGINES, "pretended", ("", ""))
    monkeypatch.setattr(cluster_node, "COMMAND", (sys.executable, "-m", "fakes"))
    monkeypatch.setitem(Plugins.instance().class_name_to_class, str(target["_target_"]), Pretended)
    return EngineChoice("pretended")


def jobs_in(folder: Path, *kinds: str) -> list[Job]:
    return [Job(f"{n}/{kind}", (kind, str(folder / kind)), folder / kind) for n, kind in enumerate(kinds)]


def test_a_line_names_its_engine() -> None:
    assert split(["trial=1"]) == (EngineChoice(), ["trial=1"])
    assert split(["hydra/launcher=trigan", "trial=1"]) == (EngineChoice(), ["trial=1"])
    assert isinstance(engine(EngineChoice(), 1, None), LocalEngine)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["hydra/launcher=joblib"],
            "hydra/launcher=joblib: not an engine of trigan's; engines: trigan, submitit_slurm",
        ),
        (["hydra/launcher=submitit_slrum"], "nearest: submitit_slurm"),
        (["hydra/launcher=absent"], "hydra/launcher=absent: not installed; pip install 'trigan[absent]'"),
        (["hydra.launcher.partition=long"], "the engine trigan is set by --workers and --timeout"),
        (["hydra.sweep.dir=x"], "Hydra's own settings have no effect here"),
        (
            ["hydra/launcher=pretended", "hydra.launcher.partitoin=a"],
            "no such setting of pretended; nearest: hydra.lau",
        ),
        (["hydra/launcher=pretended", "--workers", "2"], "how many jobs run at a time is up to pretended"),
        (["hydra/launcher=pretended", "hydra.launcher.tasks_per_node=2"], "starts one process for each device itself"),
        (["hydra/launcher=pretended", "hydra.launcher.nodes=2"], "hydra.launcher.nodes=2: a run is on one node; leave"),
        (["hydra/launcher=pretended", "hydra.launcher.gpus_per_node=1"], "trainer.devices is 1; leave it out"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("small_conf", "pretended", "no_server")
def test_what_would_be_wrong_is_one_line(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(engines.ENGINES, "absent", ("hydra_plugins.no_such_launcher", "absent"))
    assert main(["run", "-m", "trial=0,1", f"paths.outputs={tmp_path}", *words]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said
    assert not list(tmp_path.rglob("*.json"))


def test_jobs_through_another_launcher(
    pretended: EngineChoice, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = jobs_in(tmp_path / "runs", "finish", "exit", "raise", "kill", "terminate")
    jobs[1] = Job("1/exit", ("exit", "4"), tmp_path / "runs" / "exit", Resources(2, True, 2))
    with engine(EngineChoice("pretended", ("hydra.launcher.partition=short",)), None, None) as chosen:
        ended = chosen.run(jobs, tmp_path / "logs")
    assert [one.code for one in ended] == [0, 4, 1, -9, -15]
    assert [one.outcome for one in ended] == ["done", "failed", "failed", "failed", "stopped"]
    assert Pretended.last == (2, 4, "short")  # type: ignore[attr-defined]
    marks = {job.name: failure.read(job.directory) for job in jobs if job.directory}
    assert {name: str(mark) for name, mark in marks.items() if mark} == {
        "1/exit": "exit 4",
        "2/raise": "exit 1: RuntimeError: boom",
        "3/kill": "killed by SIGKILL",
    }
    assert len(list(tmp_path.glob("logs/.engine/*/jobs.json"))) == 1
    caplog.clear()
    with engine(pretended, None, None) as chosen, monkeypatch.context() as patch:
        patch.setattr(Pretended, "loses", (1,))
        lost = chosen.run(jobs_in(tmp_path / "more", "finish", "ok"), tmp_path / "logs")
        assert [one.outcome for one in lost] == ["done", "stopped"], "what a lost job has left tells what became of it"
        assert "RuntimeError: job 1 has not produced any output" in caplog.text
        patch.setattr(Pretended, "refuses", True)
        with pytest.raises(TriganError, match=r"^pretended: RuntimeError: sbatch: error: invalid partition"):
            chosen.run(jobs_in(tmp_path / "none", "finish"), tmp_path / "other")


def task(folder: Path, job: Job, seconds: float | None = None) -> ClusterTask:
    return ClusterTask.of([job], folder / "logs", folder / "jobs.json", seconds)


@pytest.mark.usefixtures("pretended")
def test_a_task_that_is_ended_ends_its_job(tmp_path: Path) -> None:
    """As submitit's handler does at SIGUSR2: by an exception in the main thread. The job then leaves no mark."""
    job = Job("a", ("hang", str(tmp_path / "pid")), tmp_path / "run")

    def preempt() -> None:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.02)
        os.killpg(int((tmp_path / "pid").read_text()), signal.SIGUSR2)  # Slurm signals the whole step
        os.kill(os.getpid(), signal.SIGUSR2)

    def leave(number: int, frame: Any) -> None:
        raise SystemExit(255)

    before = signal.signal(signal.SIGUSR2, leave)
    threading.Thread(target=preempt, daemon=True).start()
    try:
        with pytest.raises(SystemExit):
            task(tmp_path, job)(SimpleNamespace(job=0))
    finally:
        signal.signal(signal.SIGUSR2, before)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert failure.read(tmp_path / "run") is None


@pytest.mark.usefixtures("pretended")
def test_a_task_keeps_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_node, "GRACE", 0.2)
    job = Job("a", ("deaf", str(tmp_path / "pid")), tmp_path / "run")
    assert task(tmp_path, job, 1.0)(SimpleNamespace(job=0)) == 124
    assert str(failure.read(tmp_path / "run")) == "timed out"


@pytest.mark.usefixtures("pretended")
def test_a_task_stays_until_slurm_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    sleep = time.sleep
    monkeypatch.setattr(cluster_node.time, "sleep", lambda seconds: waited.append(seconds) or sleep(0.01))
    assert task(tmp_path, Job("a", ("terminate",), tmp_path / "run"))(SimpleNamespace(job=0)) == -signal.SIGTERM
    assert waited[-1] == cluster_node.REQUEUE_WAIT


APPLICATION = """
import os, sys
import hydra
from omegaconf import DictConfig

@hydra.main(version_base=None, config_path=None)
def main(cfg: DictConfig) -> None:
    print("job", cfg.x, os.getpgid(0) == os.getpid(), os.environ["OMP_NUM_THREADS"])
    if cfg.x == 2:
        sys.exit(3)

main()
"""


def test_the_launcher_serves_any_application(tmp_path: Path) -> None:
    """A job that exits ends no other, and the sweep's exit code says so: Hydra's own launcher does neither."""
    (tmp_path / "app.py").write_text(APPLICATION)
    words = ["-m", "hydra/launcher=trigan", "hydra.launcher.workers=2", "hydra.sweep.dir=out", "+x=1,2,3"]
    done = subprocess.run([sys.executable, "app.py", *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "JobFailed: 1: exit 3" in done.stderr
    said = [(tmp_path / "out" / "logs" / f"{n}.log").read_text().splitlines()[0] for n in range(3)]
    assert said == ["job 1 True 1", "job 2 True 1", "job 3 True 1"]
    assert (tmp_path / "out" / "2" / ".hydra" / "overrides.yaml").read_text() == "- +x=3\n"


def test_marks_of_configs_are_checked_before_the_queue_is_asked(pretended: EngineChoice) -> None:
    with pytest.raises(ConfigError, match=r"hydra.launcher.cpus: no such setting of pretended"):
        engine(EngineChoice("pretended", ("hydra.launcher.cpus=1",)), None, None)
