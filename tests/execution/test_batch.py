"""What a second call does with what the first one left: finished, failed, stopped and stale jobs."""

import json
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from record_makers import make_record

from trigan.commands.main import main
from trigan.config.compose import Composer
from trigan.execution.batch import BatchSummary, run_batch
from trigan.execution.job import TIMED_OUT, Job, JobResult
from trigan.execution.launchers import ForkLauncher
from trigan.execution.pool import LocalEngine
from trigan.records import failure
from trigan.records.failure import Failure
from trigan.records.record import write_record
from trigan.version import PROTOCOL_VERSION


@dataclass
class Fake:
    """An engine whose jobs end as told, with their records and marks as the pool leaves them."""

    codes: dict[str, int]
    ran: list[str] = field(default_factory=list)

    def run(self, jobs: Sequence[Job], logs: Path) -> list[JobResult]:
        found = []
        for job in jobs:
            self.ran.append(job.name)
            code = self.codes.get(job.name, 0)
            assert job.directory is not None
            if code == 0:
                job.directory.mkdir(parents=True, exist_ok=True)
                (job.directory / "record.json").touch()
            found.append(JobResult(job, abs(code) if code == -99 else code, 1.0, logs / "none", no_record=bool(code)))
            found[-1].mark()
        return found


def jobs_in(folder: Path, names: str) -> list[Job]:
    return [Job(name, (), folder / name) for name in names.split()]


def test_a_second_call_runs_what_is_missing_and_retry_what_failed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    codes = {"raised": 1, "killed": -9, "late": TIMED_OUT, "preempted": 143, "hung up": -signal.SIGHUP}
    jobs = jobs_in(tmp_path, "fine raised killed late preempted")
    first = Fake(codes)
    summary = run_batch(first, jobs, tmp_path, retry=False)
    assert first.ran == ["fine", "raised", "killed", "late", "preempted"]
    assert summary.code == 1
    assert summary.line() == (
        "5 jobs: 1 done, 3 failed (1 exit 1, 1 killed by SIGKILL, 1 timed out), "
        "1 stopped from outside (the same command runs them again)"
    )
    assert f"failed: killed (killed by SIGKILL); log: {tmp_path}/none" in caplog.messages
    assert f"stopped: preempted (killed by SIGTERM); log: {tmp_path}/none" in caplog.messages

    caplog.clear()
    second = Fake({})
    summary = run_batch(second, jobs, tmp_path, retry=False)
    assert second.ran == ["preempted"]
    assert (
        summary.line()
        == "5 jobs: 1 done, 1 found finished, 3 skipped because they failed before (--retry runs them again)"
    )
    assert summary.code == 1
    assert caplog.messages == [
        "skipped because they failed before (--retry runs them again): "
        "raised (exit 1); killed (killed by SIGKILL); late (timed out)"
    ]

    third = Fake({"late": -signal.SIGTERM})
    assert run_batch(third, jobs, tmp_path, retry=True).line().startswith("5 jobs: 2 done, 2 found finished, 1 stopped")
    fourth = Fake({})
    assert run_batch(fourth, jobs, tmp_path, retry=False).code == 0, "what was retried is missing, no longer failed"
    assert fourth.ran == ["late"]


def test_jobs_of_one_run_are_one_job(tmp_path: Path) -> None:
    engine = Fake({})
    twice = [Job("a", (), tmp_path / "run"), Job("b", (), tmp_path / "run")]
    assert run_batch(engine, twice, tmp_path, retry=False).line() == "1 jobs: 1 done"
    assert len(engine.ran) == 1


def test_how_a_job_ended() -> None:
    def ended(code: int, no_record: bool = False) -> JobResult:
        return JobResult(Job("a", ()), code, 1.0, Path("none"), no_record)

    said = {code: (ended(code).outcome, ended(code).how) for code in (0, 3, 124, -9, 137, -15, 143, 130, 129, 250)}
    assert said == {
        0: ("done", "exit 0 without a record"),
        3: ("failed", "exit 3"),
        124: ("failed", "timed out"),
        -9: ("failed", "killed by SIGKILL"),
        137: ("failed", "killed by SIGKILL"),
        -15: ("stopped", "killed by SIGTERM"),
        143: ("stopped", "killed by SIGTERM"),
        130: ("stopped", "killed by SIGINT"),
        129: ("stopped", "killed by SIGHUP"),
        250: ("failed", "exit 250"),
    }
    assert ended(0, no_record=True).outcome == "failed"
    assert (
        BatchSummary(ended=(ended(0, no_record=True),)).line() == "1 jobs: 0 done, 1 failed (1 exit 0 without a record)"
    )


def test_a_mark(tmp_path: Path) -> None:
    assert failure.read(tmp_path) is None
    failure.write(tmp_path, Failure("exit 2", "trigan: no", "a.log"))
    found = failure.read(tmp_path)
    assert found is not None
    assert str(found) == "exit 2: trigan: no"
    assert found.ended.endswith("+00:00")
    (tmp_path / failure.FAILURE_NAME).write_text("{")
    assert failure.read(tmp_path) == Failure("failed")
    failure.remove(tmp_path)
    failure.remove(tmp_path)
    assert failure.read(tmp_path) is None


def test_a_run_marks_itself_and_the_next_attempt_takes_the_mark_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trigan.config.compose import compose
    from trigan.runs import run as run_module

    words = ["debug=fast", "debug.max_steps=2", f"paths.outputs={tmp_path}", "logger=none", "callbacks=quiet"]
    composed = compose(words)

    def refuse(*given: Any) -> None:
        raise RuntimeError("no\nspace")

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "finish_run", refuse)
        with pytest.raises(RuntimeError):
            run_module.run(composed)
    (mark,) = tmp_path.rglob(failure.FAILURE_NAME)
    assert str(failure.read(mark.parent)) == "RuntimeError: no space"
    directory = run_module.run(composed)
    assert directory == mark.parent
    assert not mark.exists()


@pytest.mark.usefixtures("small_conf", "no_server")
def test_multirun_finds_what_is_finished_and_names_what_is_stale(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    composer: Composer,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    words = ["run", "-m", "trial=0,1,2", f"paths.outputs={tmp_path}"]
    first = composer.compose(["trial=0", words[3]])
    ran: list[str] = []

    def run_jobs(self: LocalEngine, jobs: Sequence[Job], logs: Path) -> list[JobResult]:
        ran.extend(job.name for job in jobs)
        return [JobResult(job, 0, 1.0, tmp_path / "none") for job in jobs]

    monkeypatch.setattr(LocalEngine, "run", run_jobs)
    for protocol in (None, 1):
        place = tmp_path / "runs" / first.run_hash("abc", protocol)
        place.mkdir(parents=True)
        (place / "record.json").write_text(json.dumps(make_record(0.5, 0)))
    assert main(words) == 0
    out = capsys.readouterr()
    assert ran == ["1_trial=1", "2_trial=2"]
    assert out.out.startswith(" 50.00 %  0_trial=0  ")
    assert "3 jobs: 2 done, 1 found finished" in (out.err + caplog.text)
    assert f"under another protocol version (1 of version 1; this is {PROTOCOL_VERSION})" in caplog.text
    ran.clear()
    assert main([*words, "--force"]) == 0
    assert len(ran) == 3
    assert main(["run", "--retry"]) == 2


#: How each kind of job behaves, and how that ends; `None` marks one that is done.
KINDS = {
    "finish": None,
    "ok": "exit 0 without a record",
    "raise": "exit 1",
    "exit": "exit 7",
    "kill": "killed by SIGKILL",
    "greedy": "exit 1",
    "terminate": None,
    "hang": "timed out",
}


def faulty_jobs(count: int, folder: Path) -> list[Job]:
    """Jobs of all kinds, of which every second one is sound; two hang, for each takes its whole time."""
    others = [kind for kind in KINDS if kind not in ("finish", "hang")]
    kinds = ["hang", "hang", *(others[i // 2 % len(others)] if i % 2 else "finish" for i in range(count - 2))]
    words = {"exit": ("7",), "hang": (str(folder.parent / "pid"),)}
    return [
        Job(f"{number} {kind}", (kind, *words.get(kind, (str(folder / str(number)),))), folder / str(number))
        for number, kind in enumerate(kinds)
    ]


@pytest.mark.parametrize("count", [16, pytest.param(200, marks=pytest.mark.slow)])
def test_every_outcome_is_in_the_summary(count: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    jobs = faulty_jobs(count, tmp_path / "runs")
    launcher = ForkLauncher(words=(), entry="fakes:job", preload=("fakes",))
    engine = LocalEngine(2, 2 / 60, launcher, grace=0.5)
    summary = run_batch(engine, jobs, tmp_path / "logs", retry=False)
    kinds = Counter(job.name.split()[1] for job in jobs)
    assert sum(kinds.values()) == count
    assert summary.code == 1
    outcomes = Counter(one.outcome for one in summary.ended)
    assert outcomes == {
        "done": kinds["finish"],
        "stopped": kinds["terminate"],
        "failed": count - kinds["finish"] - kinds["terminate"],
    }
    for job in jobs:
        said = KINDS[job.name.split()[1]]
        assert job.directory is not None
        mark = failure.read(job.directory)
        assert (mark.reason if mark else None) == said, job.name
        assert mark is None or job.name.split()[1] != "greedy" or mark.message == "MemoryError"
        assert (mark is None) or Path(mark.log).is_file()
    assert f"{kinds['kill']} killed by SIGKILL" in summary.line()
    assert f"{kinds['raise'] + kinds['greedy']} exit 1" in summary.line()
    assert "2 timed out" in summary.line()
    caplog.clear()
    again = run_batch(engine, jobs, tmp_path / "logs", retry=False)
    launcher.close()
    assert len(again.ended) == kinds["terminate"], "what was stopped from outside is missing, all else is known"
    assert again.found == kinds["finish"]
    assert f"and {outcomes['failed'] - 5} more" in caplog.text


@pytest.mark.parametrize(
    ("code", "record", "outcome"),
    [(5, True, "done"), (5, False, "failed"), (75, False, "stopped"), (143, False, "stopped"), (1, False, "failed")],
)
def test_a_diverged_run_is_done_and_a_full_disk_stops_one(
    code: int, record: bool, outcome: str, tmp_path: Path
) -> None:
    result = JobResult(Job("a", (), tmp_path / "a"), code, 1.0, tmp_path / "log", no_record=not record)
    assert result.outcome == outcome
    result.mark()
    assert (failure.read(tmp_path / "a") is not None) == (outcome == "failed")
    other = JobResult(Job("not a run", ()), code, 1.0, tmp_path / "log")
    assert other.outcome == ("stopped" if code == 143 else "failed"), "other programs give these codes other meanings"


def test_diverged_runs_are_counted(tmp_path: Path) -> None:
    jobs = [Job(name, (), tmp_path / name) for name in ("a", "b", "c")]
    for job, status in zip(jobs, ("diverged", "finished"), strict=False):
        record = {**make_record(0.5, status=status), "run": job.name}
        write_record(tmp_path / job.name / "record.json", record)

    def run(due: Sequence[Job], logs: Path) -> list[JobResult]:
        write_record(tmp_path / "c" / "record.json", {**make_record(0.5, status="diverged"), "run": "c"})
        return [JobResult(job, 5, 1.0, tmp_path / "log") for job in due]

    summary = run_batch(SimpleNamespace(run=run), jobs, tmp_path / "logs", retry=False)
    assert summary.code == 0
    assert summary.line() == "3 jobs: 1 done, 2 found finished, 2 of 3 diverged"
