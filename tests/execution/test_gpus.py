"""GPUs are handed out among jobs that run side by side; no GPU is needed to see that."""

import sys
from pathlib import Path

import pytest

from trigan.config.compose import Composer
from trigan.config.settings import AUTO_JOBS_PER_GPU, Resources
from trigan.errors import ConfigError
from trigan.execution import pool
from trigan.execution.gpu_sharing import multi_process_service
from trigan.execution.job import Job
from trigan.execution.launchers import ExecLauncher, ForkLauncher
from trigan.execution.pool import GPU_VARIABLE, GpuSlots, LocalEngine, cores, visible_gpus
from trigan.runs.run import _tell_devices


def job(name: str, gpus: int = 1) -> Job:
    return Job(name, (), resources=Resources(gpus, gpus > 0))


def test_each_job_gets_the_least_used() -> None:
    slots = GpuSlots(["4", "5", "7"])
    assert slots.allocate(job("a")) == {GPU_VARIABLE: "4"}
    assert slots.allocate(job("b", 2)) == {GPU_VARIABLE: "5,7"}
    assert slots.allocate(job("on the CPU", 0)) == {}
    assert slots.allocate(job("c")) == {GPU_VARIABLE: "4"}, "with more workers than GPUs, jobs share them evenly"
    slots.release(job("b", 2))
    assert slots.allocate(job("d", 2)) == {GPU_VARIABLE: "5,7"}
    slots.release(job("a"))
    slots.release(job("c"))
    assert slots.allocate(job("e")) == {GPU_VARIABLE: "4"}


def test_jobs_that_share_a_gpu() -> None:
    shared = [Job(name, (), resources=Resources(1, True, 1, 4)) for name in "abc"]
    assert GpuSlots("01").workers(shared) == 8
    assert GpuSlots("01").workers([*shared, job("alone")]) == 2, "as many as every job allows"
    composer = Composer(check_devices=False)
    alone = composer.compose(["trainer=gpu"])
    for trainer, said, found in (("gpu", "4", 4), ("gpu", "auto", AUTO_JOBS_PER_GPU), ("cpu", "4", 1)):
        composed = composer.compose([f"trainer={trainer}", f"runtime.jobs_per_device={said}"])
        assert composed.resources.jobs_per_gpu == found
        assert composed.run_hash("data") == alone.run_hash("data"), "no change in any record"
    with pytest.raises(ConfigError, match=r"runtime.jobs_per_device"):
        composer.compose(["runtime.jobs_per_device=0"])


@pytest.mark.parametrize("works", [True, False])
def test_the_service_that_shares_a_gpu(
    works: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Started for the pool, told to jobs, and ended; without it, or where it fails, jobs take turns."""
    told = tmp_path / "told"
    control = tmp_path / "nvidia-cuda-mps-control"
    answer = "exit 0" if works else "echo no GPU here; exit 1"
    control.write_text(f'#!/bin/sh\necho "$* $(cat) $CUDA_MPS_PIPE_DIRECTORY" >> {told}\n{answer}\n')
    control.chmod(0o755)
    monkeypatch.delenv("CUDA_MPS_PIPE_DIRECTORY", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    slots, sharing = GpuSlots("0"), Job("a", (), resources=Resources(1, True, 1, 2))
    with slots.shared([job("alone")]):
        assert not told.exists()
    with slots.shared([sharing]):
        assert ("CUDA_MPS_PIPE_DIRECTORY" in slots.allocate(sharing)) == works
    told.unlink()
    with multi_process_service() as variables:
        assert set(variables) == ({"CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"} if works else set())
        folder = variables.get("CUDA_MPS_PIPE_DIRECTORY", "")
        monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", "/somebody/elses")
        with multi_process_service() as again:
            assert again == {}
        monkeypatch.delenv("CUDA_MPS_PIPE_DIRECTORY")
    lines = told.read_text().splitlines()
    if works:
        assert lines == [f"-d  {folder}", f" quit {folder}"]
        assert not Path(folder).exists()
    else:
        assert len(lines) == 1
        assert "nvidia-cuda-mps-control -d failed (no GPU here): jobs take turns" in caplog.text
    monkeypatch.setenv("PATH", "/nowhere")
    with multi_process_service() as variables:
        assert variables == {}


def test_how_many_fit() -> None:
    four = GpuSlots("0123")
    assert four.workers([job("a"), job("b", 2)]) == 2
    assert four.workers([job("a", 0)]) is None
    assert GpuSlots(()).allocate(job("a")) == {}
    with pytest.raises(ConfigError, match=r"^wide: trainer.devices=5, and 4 GPUs are visible$"):
        four.workers([job("a"), job("wide", 5)])


@pytest.mark.parametrize(
    ("said", "found"), [("2, 3", ("2", "3")), ("", ()), ("-1", ()), ("MIG-a,GPU-b", ("MIG-a", "GPU-b"))]
)
def test_only_what_is_visible_is_handed_out(said: str, found: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GPU_VARIABLE, said)
    assert visible_gpus() == found


@pytest.mark.parametrize("forks", [True, False])
def test_jobs_see_their_gpus_alone(forks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GPU_VARIABLE, "0,6")
    monkeypatch.setattr(pool, "cores", lambda: 2)
    made = ForkLauncher((), "fakes:job", ("fakes",)) if forks else ExecLauncher((sys.executable, "-m", "fakes"))
    jobs = [Job(name, ("finish", str(tmp_path / name)), tmp_path / name, Resources(1, True)) for name in "abcd"]
    assert all(one.ok for one in LocalEngine(2, launcher=made).run(jobs, tmp_path / "logs"))
    if isinstance(made, ForkLauncher):
        made.close()
    seen = [(tmp_path / name / "record.json").read_text() for name in "abcd"]
    assert seen[:2] == ["0", "6"]
    assert set(seen) == {"0", "6"}


def test_never_more_threads_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "cores", lambda: 8)

    def at_once(workers: int | None, needs: Resources) -> int:
        return LocalEngine(workers).at_once([Job(str(n), (), resources=needs) for n in range(9)], GpuSlots(()))

    needs = (Resources(), Resources(2), Resources(2, threads=2), Resources(16))
    assert [at_once(None, each) for each in needs] == [8, 4, 2, 1]
    assert at_once(3, Resources(4)) == 2


def test_a_runs_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Composer().compose(["trainer=ddp_cpu", "runtime.threads=3"]).resources == Resources(2, False, 3)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"torch finds no GPU here; take trainer=auto, .*, or trainer=cpu"):
        Composer().compose(["trainer=gpu"])
    elsewhere = Composer(check_devices=False).compose(["trainer=ddp", "trainer.devices=4"])
    assert elsewhere.resources == Resources(4, True, 1)


@pytest.mark.parametrize(("gpus", "devices", "taken"), [(0, 1, "cpu"), (1, 1, "gpu"), (1, 2, "cpu"), (4, 2, "gpu")])
def test_auto_takes_gpus_where_there_are_enough(
    gpus: int, devices: int, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    composed = Composer().compose([f"trainer.devices={devices}"])
    assert composed.resources == Resources(devices, taken == "gpu")
    assert composed.config["trainer"]["accelerator"] == taken
    on_the_cpu = Composer().compose(["trainer=cpu"])
    assert composed.run_hash("data") == on_the_cpu.run_hash("data")
    if 0 < gpus < devices:
        with pytest.raises(ConfigError, match=r"trainer.devices=2: torch finds 1 GPUs here; give at most 1"):
            Composer().compose(["trainer=gpu", f"trainer.devices={devices}"])


def test_auto_stays_open_for_another_machine() -> None:
    elsewhere = Composer(check_devices=False).compose([])
    assert elsewhere.config["trainer"]["accelerator"] == "auto"
    assert elsewhere.resources == Resources()


def test_each_trial_of_a_search_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "cores", lambda: 16)
    trials, gpus = [job(name) for name in "abc"], GpuSlots("01")
    assert [pool.jobs_at_once(workers, trials, gpus) for workers in (None, 1, 4)] == [2, 1, 4]
    assert [gpus.allocate(one)[GPU_VARIABLE] for one in trials] == ["0", "1", "0"]


def test_a_containers_quota_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    loky = pytest.importorskip("joblib.externals.loky.backend.context")
    monkeypatch.setattr(loky, "_cpu_count_cgroup", lambda available: 1)
    assert cores() == 1


@pytest.mark.parametrize(
    ("gpus", "words", "told"),
    [
        (0, [], "trainer=auto: one CPU core"),
        (0, ["runtime.threads=2", "trainer.devices=2"], "trainer=auto: 4 CPU cores"),
        (2, [], "trainer=auto: GPU 5 (a card)"),
        (2, ["trainer=gpu"], ""),
        (2, ["trainer=cpu"], ""),
    ],
)
def test_a_run_says_what_auto_took(
    gpus: int, words: list[str], told: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(GPU_VARIABLE, "5,7")
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "a card")
    monkeypatch.setattr("trigan.runs.run.cores", lambda: 3)
    caplog.set_level("INFO", "trigan")
    _tell_devices(Composer().compose(words))
    assert [one for one in caplog.messages if one.startswith("trainer=auto")] == ([told] if told else [])
    assert ("4 threads share 3 CPU cores" in caplog.text) == (told == "trainer=auto: 4 CPU cores")
