"""Workers as processes of their own: one killed in the middle of a trial; and a search kept in PostgreSQL."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from few_steps import small
from search_fixtures import ACCURACY, Children, made, points, score, study_of, target

from trigan.search import trial_accounting
from trigan.search.storage import open_storage, open_study
from trigan.search.trial_accounting import Budget
from trigan.search.worker import SearchSettings
from trigan.search.worker_lock import WorkerLock

pytestmark = pytest.mark.slow
TRIALS = 4
PATIENCE = 850


def start(outputs: Path) -> "subprocess.Popen[bytes]":
    tiny = [word for word in small(steps=500) if not word.startswith(("strategy", "logger"))]
    words = [*tiny, "regime.labels_per_class=20", f"paths.outputs={outputs}", "--trials", str(TRIALS)]
    command = [sys.executable, "-m", "trigan", "search", "baseline", "--workers", "1", "--no-prune", *words]
    with (outputs / "said").open("ab") as said:
        return subprocess.Popen(command, stdout=said, stderr=said, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.timeout(900)
def test_one_of_two_workers_is_killed_in_the_middle_of_a_trial(tmp_path: Path) -> None:
    workers = [start(tmp_path), start(tmp_path)]
    until = time.monotonic() + PATIENCE
    victim = f"-{workers[0].pid}-"
    running: list[int] = []
    while not running:
        assert time.monotonic() < until, (tmp_path / "said").read_text()
        time.sleep(0.2)
        for journal in tmp_path.glob("search/baseline-*/journal.log"):
            study = open_study(open_storage(None, journal.parent), journal.parent.name, ACCURACY)
            mine = [t for t in study.trials if victim in t.user_attrs.get("worker", "")]
            running = [t.number for t in mine if t.state.name == "RUNNING" and "run" in t.user_attrs]
    workers[0].send_signal(signal.SIGKILL)
    workers[0].wait()
    assert workers[1].wait(timeout=until - time.monotonic()) == 0, (tmp_path / "said").read_text()
    (folder,) = tmp_path.glob("search/baseline-*")
    trials = open_study(open_storage(None, folder), folder.name, ACCURACY).trials
    done = trial_accounting.counted_trials(trials)
    assert [t.state.name for t in done] == ["COMPLETE"] * TRIALS
    assert trial_accounting.retry_of(running[0]) in [t.user_attrs.get("enqueued_as") for t in done]
    runs = [t.user_attrs["run"] for t in done]
    assert len(set(runs)) == TRIALS, "doubled"
    assert {trials[number].user_attrs["run"] for number in running} <= set(runs), "lost"
    ended = {path.parent.name: path.stat().st_mtime_ns for path in tmp_path.glob("search/runs/*/validation.json")}
    assert set(ended) == set(runs)
    assert json.loads((tmp_path / "search" / "runs" / runs[0] / "validation.json").read_text())["run"] == runs[0]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[str]:
    """A PostgreSQL server of Debian's packages, on a socket of its own."""
    pytest.importorskip("psycopg", reason="psycopg, PostgreSQL's driver, is not installed")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    if not found or os.geteuid() != 0 or shutil.which("runuser") is None:
        pytest.skip("no PostgreSQL of Debian's packages here (apt-get install postgresql), or not root to start it")
    bin = found[-1].parent
    place = Path("/tmp") / f"trigan-postgres-{os.getpid()}"
    place.mkdir(mode=0o700)
    shutil.chown(place, "postgres")

    def ctl(*words: str) -> None:
        subprocess.run(["runuser", "-u", "postgres", "--", *words], check=True, cwd="/", stdout=subprocess.DEVNULL)

    try:
        ctl(str(bin / "initdb"), "-D", str(place / "data"), "--auth=trust", "--no-sync")
        options = f"-k {place} -c listen_addresses= -c fsync=off"
        ctl(str(bin / "pg_ctl"), "-D", str(place / "data"), "-l", str(place / "log"), "-w", "-o", options, "start")
        place.chmod(0o755)
        yield f"postgresql+psycopg://postgres@/postgres?host={place}"
    finally:
        if (place / "data" / "postmaster.pid").exists():
            ctl(str(bin / "pg_ctl"), "-D", str(place / "data"), "-m", "immediate", "stop")
        shutil.rmtree(place)


def test_a_search_in_postgresql(database: str, tmp_path: Path) -> None:
    """Two workers on two machines that share no disk but the database; the first dies, and only its heartbeat tells."""
    aim, rules = target(tmp_path), SearchSettings(Budget(trials=5), ACCURACY, slots=2)
    dead = WorkerLock(tmp_path / "elsewhere").__enter__()
    made(aim, Children(lambda folder, point: None, tmp_path), rules, dead, database)._round()
    assert points(aim, database) == [("RUNNING", None), ("RUNNING", None)]
    with WorkerLock(tmp_path / "search" / "workers") as worker_lock:
        other = made(aim, Children(score, tmp_path), rules, worker_lock, database)
        other._watch.grace = 1.0
        other.run()
    trials = study_of(aim, database).trials
    assert [how for how, _ in points(aim, database)] == ["COMPLETE"] * 5
    assert [t.state.name for t in trials[:2]] == ["FAIL", "FAIL"]
    done = [tuple(t.params.items()) for t in trials if t.state.name == "COMPLETE"]
    assert len(set(done)) == 5
    assert {tuple(t.params.items()) for t in trials[:2]} <= set(done)
    assert not (aim.folder / "journal.log").exists()
