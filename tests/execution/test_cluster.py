"""The same study by each engine gives the same results; a job that Slurm pre-empts goes on where it was."""

import importlib.util
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import slurm_cluster as slurm
from record_makers import canonical_result_bytes
from study_fixture import write_study

from trigan.records.record import read_record

STUDY = {
    "title": "tiny",
    "trials": 2,
    "fixed": [
        *("regime.labels_per_class=5", "architecture.width=4", "logger=none", "callbacks=quiet"),
        *("data.suggested.steps=40", "data.suggested.gan_steps=400", "trainer.checkpoint_every=50"),
    ],
    "rows": [
        {"name": "baseline", "set": ["strategy=baseline", "classifier.width=4"]},
        {"name": "augment", "set": ["strategy=augment", "classifier.width=4"]},
        {"name": "two processes", "set": ["strategy=baseline", "classifier.width=6", "trainer=ddp_cpu"]},
    ],
}
JOBS = 6


pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def needs(package: str, extra: str) -> pytest.MarkDecorator:
    found = importlib.util.find_spec(f"hydra_plugins.{package}") is not None
    return pytest.mark.skipif(not found, reason=f"not installed: pip install 'trigan[{extra}]'")


def start(folder: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    """``trigan study`` in the background."""
    path = write_study(folder / "tiny", STUDY)
    command = [sys.executable, "-m", "trigan", "study", str(path), f"paths.outputs={folder}/outputs", *words]
    found = os.pathsep.join(filter(None, sys.path))  # nodes must find what this process finds
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": found, **variables}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(study: subprocess.Popen[str]) -> str:
    """What it said, once it has ended well; one that takes too long is ended."""
    try:
        out, err = study.communicate(timeout=800)
    except subprocess.TimeoutExpired:
        study.terminate()
        out, err = study.communicate(timeout=60)
    assert study.returncode == 0, err
    return out + err


def results(folder: Path) -> dict[str, bytes]:
    paths = sorted(folder.glob("outputs/runs/*/record.json"))
    return {path.parent.name: canonical_result_bytes(read_record(path)) for path in paths}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The results of the study as processes of this machine."""
    folder = tmp_path_factory.mktemp("local")
    finish(start(folder))
    found = results(folder)
    assert len(found) == JOBS
    return found


@needs("hydra_submitit_launcher", "slurm")
def test_slurm_with_a_job_that_is_preempted(local: dict[str, bytes], tmp_path: Path) -> None:
    reason = slurm.missing()
    if reason:
        pytest.skip(f"no Slurm: {reason}")
    with ExitStack() as stack:
        try:
            variables = stack.enter_context(slurm.running(tmp_path / "slurm"))
        except RuntimeError as error:  # of the start alone: what goes wrong after it is a failure
            pytest.skip(str(error))
        study = start(tmp_path, "hydra/launcher=submitit_slurm", **variables)
        job = _caught_in_the_middle(tmp_path, study, variables)
        slurm.said(["scancel", "--signal=USR2", job], variables)
        said = finish(study)
    assert f"{JOBS} jobs: {JOBS} done" in said
    assert results(tmp_path) == local
    (messages,) = tmp_path.glob(f"outputs/logs/tiny/.engine/*/.submitit/{job}/{job}_0_log.err")
    assert "DUE TO JOB REQUEUE" in messages.read_text()


def _caught_in_the_middle(folder: Path, study: subprocess.Popen[str], variables: dict[str, str]) -> str:
    """The Slurm job whose GAN has just left a checkpoint."""
    until = time.monotonic() + 600
    while time.monotonic() < until and study.poll() is None:
        if list(folder.glob("outputs/artifacts/**/step-*.ckpt")):
            lines = slurm.said(["squeue", "-h", "-t", "R", "-o", "%A %F_%K"], variables).split()
            for name in lines[1::2]:
                number = int(re.sub(r".*_", "", name))
                if number in (2, 3):  # the augment row's
                    return name
        time.sleep(0.05)
    raise AssertionError(study.communicate()[1] if study.poll() is not None else "no job was seen at work")


@needs("hydra_ray_launcher", "ray")
def test_ray(local: dict[str, bytes], tmp_path: Path) -> None:
    alone = ("+hydra.launcher.ray.init.num_cpus=2", "+hydra.launcher.ray.init.include_dashboard=false")
    said = finish(start(tmp_path, "hydra/launcher=ray", *alone))
    assert f"{JOBS} jobs: {JOBS} done" in said
    assert results(tmp_path) == local
