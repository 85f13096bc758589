"""The pool: jobs that raise, exit, hang or are killed end alone; Ctrl-C ends all; forks and new interpreters alike."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from trigan.errors import TriganError
from trigan.execution import pool
from trigan.execution.job import Job, JobResult, log_name
from trigan.execution.launchers import ExecLauncher, ForkLauncher, Launcher
from trigan.execution.pool import Interrupted, LocalEngine, cores
from trigan.execution.progress import JobProgress, ProgressBar, duration


def forked() -> Launcher:
    return ForkLauncher(words=(), entry="fakes:job", preload=("fakes",))


def executed() -> Launcher:
    return ExecLauncher((sys.executable, "-m", "fakes"))


@pytest.fixture(params=[forked, executed], ids=["fork", "exec"])
def launcher(request: pytest.FixtureRequest) -> Iterator[Launcher]:
    made = request.param()
    yield made
    made.end_all()
    if isinstance(made, ForkLauncher):
        made.close()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.02)


def test_no_job_ends_another(launcher: Launcher, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [
        Job("fine", ("ok", "hello")),
        Job("raises", ("raise",)),
        Job("exits", ("exit", "3")),
        Job("killed", ("kill",)),
        Job("hangs", ("hang", str(tmp_path / "hang"))),
        Job("deaf", ("deaf", str(tmp_path / "deaf"))),
        Job("last", ("ok", "a", "b")),
    ]
    ended = LocalEngine(2, 2 / 60, launcher, grace=0.5).run(jobs, tmp_path / "logs")
    codes = {one.job.name: one.code for one in ended}
    assert codes == {"fine": 0, "raises": 1, "exits": 3, "killed": -9, "hangs": 124, "deaf": 124, "last": 0}
    assert (tmp_path / "logs" / "fine.log").read_text() == "said hello group True\n"
    assert (tmp_path / "logs" / "last.log").read_text() == "said a b group True\n"
    reasons = {one.job.name: str(one.failure) for one in ended if not one.ok}
    assert reasons["raises"] == "exit 1: RuntimeError: boom"
    assert reasons["killed"] == "killed by SIGKILL"
    assert reasons["hangs"] == "timed out"
    assert not any(alive(int((tmp_path / name).read_text())) for name in ("hang", "deaf"))
    assert "2/7 done, 5 failed in" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_children_first(launcher: Launcher, tmp_path: Path, number: int) -> None:
    jobs = [Job("a", ("hang", str(tmp_path / "a"))), Job("b", ("deaf", str(tmp_path / "b"))), Job("c", ("ok",))]

    def interrupt() -> None:
        wait_for(lambda: (tmp_path / "a").exists() and (cores() == 1 or (tmp_path / "b").exists()))
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(Interrupted, match="stopped with 0 of 3 done; the same command continues from there") as caught:
        LocalEngine(2, launcher=launcher, grace=1).run(jobs, tmp_path / "logs")
    assert caught.value.exit_code == 128 + number
    for name in ("a", "b"):
        if (tmp_path / name).exists():
            pid = int((tmp_path / name).read_text())
            wait_for(lambda pid=pid: not alive(pid))  # type: ignore[misc]


@pytest.mark.parametrize(
    "launcher", ["ForkLauncher((), 'fakes:job', ('fakes',))", "ExecLauncher((sys.executable, '-m', 'fakes'))"]
)
def test_jobs_end_with_a_pool_that_is_killed(launcher: str, tmp_path: Path) -> None:
    """The script has no ``if __name__ == "__main__"``: a job that imported it would start a pool of its own."""
    pid = tmp_path / "pid"
    (tmp_path / "script.py").write_text(
        "import sys; from pathlib import Path; from trigan.execution.job import Job\n"
        "from trigan.execution.launchers import *; from trigan.execution.pool import *\n"
        f"job = Job('a', ('hang', {str(pid)!r}))\n"
        f"LocalEngine(1, None, {launcher}).run([job], Path({str(tmp_path)!r}))\n"
    )
    parent = subprocess.Popen([sys.executable, str(tmp_path / "script.py")], stderr=subprocess.DEVNULL)
    wait_for(lambda: pid.exists() and pid.read_text() != "")
    parent.kill()
    parent.wait()
    wait_for(lambda: not alive(int(pid.read_text())))


def test_the_server_says_how_many_threads_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = ForkLauncher((), "fakes:job", ("fakes",))
    assert alone.threads() == 1
    alone.close()
    (tmp_path / "threaded.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    accompanied = ForkLauncher((), "fakes:job", ("threaded",))
    assert accompanied.threads() == 2
    accompanied.close()
    broken = ForkLauncher((), "fakes:job", ("no_such_module",))
    with pytest.raises(TriganError, match="could not start"):
        broken.threads()
    broken.close()


def test_the_server_imports_trigan_without_the_optional_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("optuna", "onnx", "onnxruntime", "onnxscript", "timm", "kornia", "wandb_workspaces"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('not installed', name={name!r})\n")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "__init__.py").touch()
    (tmp_path / "own" / "broken.py").write_text("import own.missing\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    plain = ForkLauncher()  # as `trigan study` starts it
    assert plain.threads() == 1
    plain.close()
    broken = ForkLauncher((), "fakes:job", ("own.*",))
    with pytest.raises(TriganError, match="could not start"):
        broken.threads()
    broken.close()


def test_a_server_that_dies_is_an_error(tmp_path: Path) -> None:
    fork = ForkLauncher((), "fakes:job", ("fakes",))
    fork.threads()
    fork.start(Job("a", ("hang", str(tmp_path / "pid"))), tmp_path / "a.log")
    wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    os.kill(fork._server, signal.SIGKILL)
    wait_for(lambda: not alive(fork._server))
    with pytest.raises(TriganError, match="the server process of the pool ended"):
        fork.ended()
    fork.close()
    wait_for(lambda: not alive(int((tmp_path / "pid").read_text())))


def test_never_more_workers_than_cores(launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 0

    class Watch(JobProgress):
        def started(self, job: Job) -> None:
            nonlocal most
            super().started(job)
            most = max(most, len(self.running))

    monkeypatch.setattr(pool, "JobProgress", Watch)
    LocalEngine(999, launcher=launcher).run([Job(str(i), ("ok",)) for i in range(cores() + 2)], tmp_path)
    assert most == cores()


def test_each_job_has_a_log_of_its_own(tmp_path: Path) -> None:
    assert log_name("a, b, trial 0") == "a, b, trial 0.log"
    names = ["a_b", "a/b", "a/" * 150, "a_" * 150, "\u00e9" * 200, "x" * 300, "x" * 301]
    logs = [log_name(name) for name in names]
    assert len(set(logs)) == len(names)
    for log in logs:
        (tmp_path / log).touch()
    assert len(list(tmp_path.iterdir())) == len(names)


def test_the_bar_shows_names_as_they_are() -> None:
    said = io.StringIO()
    console = Console(file=said, force_terminal=True, width=200, color_system=None)
    job = Job("layers=[conv1] [/b]", ())
    with JobProgress(2, 1, console) as progress:
        progress.started(job)
        progress.refresh()
        progress._bar.refresh()
        assert "running layers=[conv1] [/b]" in said.getvalue()
        progress.ended(JobResult(job, 1, 1.0, Path("none.log")))
        progress.refresh()
        progress._bar.refresh()
    assert "1 failed" in said.getvalue()
    assert "layers=[conv1] [/b]: FAILED (exit 1); log: none.log" in said.getvalue()


def test_without_a_terminal_there_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    said, now = io.StringIO(), [0.0]
    console = Console(file=said, width=20)
    monkeypatch.setattr("trigan.execution.progress.time", SimpleNamespace(monotonic=lambda: now[0]))
    with ProgressBar("sampling", 300, console=console) as bar:
        for second in (5.0, 10.0, 15.0):
            now[0] = second
            bar.advance(50)
    assert said.getvalue() == "sampling: 100 of 300; about 20 s left\n"
    with ProgressBar("sampling", None, quiet=True, console=console) as bar:
        now[0] = 100.0
        bar.advance(50)
    assert said.getvalue().count("\n") == 1
    said.truncate(said.seek(0))
    with JobProgress(2, 1, console) as progress:
        progress.started(Job("a", ()))
        for second in range(101, 190):  # the pool refreshes it at every poll
            now[0] = float(second)
            progress.refresh()
        progress.ended(JobResult(Job("a", ()), 0, 90.0, Path("none.log")))
    running = "0/2 done; running a"
    assert said.getvalue().splitlines() == [
        running,
        running,
        "1/2 done; a: 1 min 30 s; about 1 min 30 s left",
        "1/2 done in 1 min 29 s",
    ]


def test_time_left(tmp_path: Path) -> None:
    progress = JobProgress(10, 2, Console(file=io.StringIO()))
    assert progress.state() == []
    for index in range(4):
        job = Job(str(index), ())
        progress.started(job)
        progress.ended(JobResult(job, 0, 30.0, tmp_path))
    assert progress.state() == ["about 1 min 30 s left"]  # six jobs of 30 s, two at a time
    progress.started(Job("e", ()))
    progress.started(Job("f", ()))  # under way: half done on average
    assert progress.state() == ["about 1 min 15 s left", "running e, f"]
    assert (duration(3599), duration(7500)) == ("59 min 59 s", "2 h 5 min")
