"""Ranks: their variables, the end of one is the end of all, signals are passed on."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from trigan.commands.main import main
from trigan.execution import ranks

SAY = """
import json, os, sys
names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
told = {"arguments": sys.argv[2:], **{name: os.environ[name] for name in names}}
json.dump(told, open(f"{sys.argv[1]}/{os.environ['RANK']}", "w"))
print("hello from", os.environ["RANK"])
"""
FAIL = """
import os, pathlib, sys, time
if os.environ["RANK"] == "1":
    sys.exit(5)
pathlib.Path(sys.argv[1], "pid").write_text(str(os.getpid()))
time.sleep(600)
"""
WAIT = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGINT, lambda n, f: sys.exit(130))
signal.signal(signal.SIGTERM, lambda n, f: sys.exit(143))
pathlib.Path(sys.argv[1], "up" + os.environ["RANK"]).touch()
time.sleep(600)
"""


def command(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_each_rank_has_torchruns_variables(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert ranks.start([str(tmp_path), "trial=1"], 3, tmp_path / "logs", command(SAY)) == 0
    told = [json.loads((tmp_path / str(rank)).read_text()) for rank in range(3)]
    assert [one["RANK"] for one in told] == [one["LOCAL_RANK"] for one in told] == ["0", "1", "2"]
    assert {(one["WORLD_SIZE"], one["MASTER_ADDR"], tuple(one["arguments"])) for one in told} == {
        ("3", "127.0.0.1", ("trial=1",))
    }
    assert len({one["MASTER_PORT"] for one in told}) == 1
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", int(told[0]["MASTER_PORT"])))
    assert capfd.readouterr().out == "hello from 0\n"
    assert list((tmp_path / "logs").iterdir()) == []


STOPPED = """
import os, signal, sys, time
if os.environ["RANK"] == "1":
    time.sleep(1)
    sys.exit(143)
sys.exit(1)
"""


def test_where_one_was_stopped_another_that_fails_of_it_does_not_count(tmp_path: Path) -> None:
    assert ranks.start([], 2, tmp_path / "logs", command(STOPPED)) == 143


def test_one_that_dies_ends_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    started = time.monotonic()
    assert ranks.start([str(tmp_path)], 2, tmp_path / "logs", command(FAIL)) == 5
    assert time.monotonic() - started < 10
    (log,) = (tmp_path / "logs").iterdir()
    assert caplog.messages == [f"trigan: rank 1 ended with exit code 5; its log: {log}"]
    if (tmp_path / "pid").exists():
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_killed_rank_gives_128_and_its_signal(tmp_path: Path) -> None:
    code = (
        "import os, signal, time; os.environ['RANK'] == '1' and os.kill(os.getpid(), signal.SIGKILL); time.sleep(600)"
    )
    assert ranks.start([], 2, tmp_path, command(code)) == 137


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_are_passed_on(tmp_path: Path, number: int, code: int) -> None:
    parent = (
        "import sys; from pathlib import Path; from trigan.execution import ranks\n"
        f"sys.exit(ranks.start([{str(tmp_path)!r}], 2, Path({str(tmp_path / 'logs')!r}), {command(WAIT)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", parent])
    until = time.monotonic() + 20
    while not all((tmp_path / f"up{rank}").exists() for rank in (0, 1)):
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(timeout=20) == code


@pytest.mark.usefixtures("small_conf")
def test_run_starts_ranks_only_where_none_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[list[str], int]] = []

    def record(arguments: list[str], devices: int, logs: Path) -> int:
        calls.append((arguments, devices))
        return 7

    monkeypatch.setattr(ranks, "start", record)
    assert main(["run", "trainer=ddp_cpu", "trial=1", "--force"]) == 7
    assert calls == [(["run", "--force", "trainer=ddp_cpu", "trial=1"], 2)]
    assert main(["run", "trainer=ddp_cpu", "trail=1"]) == 2  # a mistake is told once, before any rank
    assert len(calls) == 1
    import trigan.runs.run

    def fake(composed: Any, force: bool = False, validation_only: bool = False) -> Path:
        return tmp_path

    monkeypatch.setattr(trigan.runs.run, "run", fake)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["run", "trainer=ddp_cpu"]) == 0
    assert len(calls) == 1
