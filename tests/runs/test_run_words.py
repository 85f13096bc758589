"""A run from words: in this process, in another thread, and as one process per rank."""

import signal
import threading
from pathlib import Path

import pytest
from few_steps import small

from trigan.errors import ConfigError
from trigan.execution import ranks
from trigan.runs.run_words import RankFailedError, run_words


def in_thread(words: list[str]) -> Path:
    directories: list[Path] = []
    thread = threading.Thread(target=lambda: directories.append(run_words(words)))
    thread.start()
    thread.join()
    (directory,) = directories
    return directory


@pytest.mark.parametrize("devices", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_in_another_thread(devices: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Where no signal handler can be installed; nothing goes to standard output, from no rank."""
    words = small("strategy=baseline", f"paths.outputs={tmp_path}", "trainer=ddp_cpu", f"trainer.devices={devices}")
    before = signal.getsignal(signal.SIGTERM)
    directory = in_thread(words)
    assert directory.parent == tmp_path / "runs"
    assert (directory / "record.json").is_file()
    assert capfd.readouterr().out == ""
    assert signal.getsignal(signal.SIGTERM) == before
    assert run_words(words) == directory


def test_a_rank_that_fails_gives_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[list[str], int, Path]] = []

    def start(arguments: list[str], devices: int, logs: Path) -> int:
        calls.append((arguments, devices, logs))
        return 5

    monkeypatch.setattr(ranks, "start", start)
    words = ["trainer=ddp_cpu", f"paths.outputs={tmp_path}"]
    with pytest.raises(RankFailedError) as caught:
        run_words(words, force=True, validation_only=True, config_dir=tmp_path)
    assert caught.value.exit_code == 5
    options = ["--config-dir", str(tmp_path), "--force", "--validation-only"]
    assert calls == [(["run", *options, *words], 2, tmp_path / "logs")]


def test_a_mistake_is_one_line_before_any_work() -> None:
    with pytest.raises(ConfigError, match="trail: no such setting; nearest: trial"):
        run_words(["trail=3"])
