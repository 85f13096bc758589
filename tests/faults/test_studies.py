"""A study that is killed again and again ends with the results of one that was not; two at once train each GAN once."""

import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from small_study import STUDY, results, start_study, written

from trigan.records.record import read_record

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3000)]
#: Attempts that are killed before the last one is left alone.
KILLS = 10


def finished(outputs: Path) -> dict[str, int]:
    """When each record was written: a run that is computed again writes another."""
    return {path.parent.name: path.stat().st_mtime_ns for path in outputs.glob("runs/*/record.json")}


def test_kill_9_at_random_moments(tmp_path: Path) -> None:
    study = written(tmp_path / "tiny")
    started = time.monotonic()
    assert start_study(study, tmp_path / "whole", tmp_path / "whole.log").wait() == 0
    whole, seconds = results(tmp_path / "whole"), time.monotonic() - started
    assert len(whole) == 6
    seen: dict[str, int] = {}
    draw = random.Random(0)
    for _ in range(KILLS):
        attempt = start_study(study, tmp_path / "killed", tmp_path / "killed.log")
        try:
            attempt.wait(draw.uniform(0.1, 0.6) * seconds)
        except subprocess.TimeoutExpired:
            attempt.send_signal(signal.SIGKILL)
        attempt.wait()
        now = finished(tmp_path / "killed")
        assert seen.items() <= now.items(), "what had ended was computed again"
        seen = now
    assert start_study(study, tmp_path / "killed", tmp_path / "killed.log").wait() == 0
    assert results(tmp_path / "killed") == whole
    assert seen.items() <= finished(tmp_path / "killed").items()
    assert not list((tmp_path / "killed").rglob("failure.json")), "a killed study's jobs are missing, not failed"


def test_two_studies_at_once_train_each_gan_once(tmp_path: Path) -> None:
    rows = STUDY["rows"]
    told = [setting for setting in STUDY["fixed"] if setting != "callbacks=quiet"]
    one = written(tmp_path / "one", rows=[rows[1]], fixed=told)
    two = written(tmp_path / "two", rows=[rows[2]], fixed=told)
    both = [start_study(study, tmp_path / "outputs", tmp_path / f"{study.parent.name}.log") for study in (one, two)]
    assert [study.wait() for study in both] == [0, 0]
    said = "\n".join(path.read_text() for path in (tmp_path / "outputs" / "logs").glob("*/*.log"))
    records = [read_record(path) for path in (tmp_path / "outputs").glob("runs/*/record.json")]
    assert len(records) == 4
    stages = [stage for record in records for stage in record["result"]["stages"] if stage["kind"] == "gan"]
    assert (len(stages), len({stage["hash"] for stage in stages})) == (4, 2), "each GAN serves two runs"
    assert len(re.findall("gan: step 150 of 150", said)) == 2, said  # whichever strategy trained it
