"""What a new user gets wrong, and what a machine does to him: one line, nothing half-written, and it goes on later."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny_data
from few_steps import small

from trigan.commands.main import main
from trigan.tracking import Tracker
from trigan.training.callbacks import CallbackSettings
from trigan.training.fit import FitCallback
from trigan.training.players import PlayersModule


def refusal(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code of ``trigan run`` and its one line."""
    code = main(["run", *words])
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = [line for line in said.err.splitlines() if line.startswith("trigan: ")]
    assert line.startswith("trigan: ")
    return code, line.removeprefix("trigan: ")


def files(directory: Path) -> list[Path]:
    """Everything but the locks, which stay: a lock file that is removed can be held twice."""
    return [path for path in directory.rglob("*") if path.is_file() and path.suffix != ".lock"]


def corrupt(root: Path) -> None:
    victim = tiny_data.folder(root) / "class1" / "003.png"
    victim.write_bytes(victim.read_bytes()[:60])


def archive(path: Path, wrong: int) -> None:
    labels = np.arange(30) % 3
    labels[4] = wrong
    np.savez(path, train_images=tiny_data.images(30, 1), train_labels=labels)


FOLDERS = {
    "missing": (lambda root: None, "does not exist (looked for "),
    "empty": (lambda root: root.mkdir(), "holds no images; root/CLASS/IMAGE.png or root/train/CLASS/IMAGE.png is read"),
    "a file": (lambda root: root.write_text("x"), "is a file; name the folder that holds the data"),
    "one class": (lambda root: tiny_data.folder(root, classes=1), "only one class ('class0')"),
    "2x2": (lambda root: tiny_data.folder(root, size=2), "class0/000.png is 2x2 pixels, and the minimum is 8x8"),
    "corrupt": (corrupt, "class1/003.png is not a readable image"),
    "few": (tiny_data.folder, "labelled training images, but regime.labels_per_class=300 needs 300; lower it"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, expected = FOLDERS[name]
    make(tmp_path / "images")  # type: ignore[operator]
    labels = "300" if name == "few" else "2"
    words = small("data=folder", f"data.root={tmp_path / 'images'}", f"regime.labels_per_class={labels}")
    code, line = refusal([f"paths.outputs={tmp_path / 'out'}", *words], capsys)
    assert code == 2
    assert expected in line
    left = files(tmp_path / "out")
    assert all("cache" in path.parts for path in left), left  # decoded images that can be used again


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (["data=folder"], "data=folder needs a folder: set data.root=FOLDER"),
        (["data=npz"], "data=npz needs a file: set data.root=FILE.npz"),
        (["data=mnist", "data.root=nowhere"], "data.root=nowhere does not exist (looked for "),
        (["data=mnist", "data.root=."], "data.root=. holds no Parquet files (expected train-*.parquet)"),
        (["data.image_size=4"], "data.image_size: 4 must be in 8..512, or null"),
        (["regime.labels_per_class=500"], "labelled training images, but regime.labels_per_class=500 needs 500"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_data_settings(
    data: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, line = refusal(small(*data), capsys)
    assert code == 2
    assert expected in line


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [(-2, "label -2 is out of range"), (12, "class '12' has 1 labelled training images")],
)
def test_labels_out_of_range(wrong: int, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive(tmp_path / "x.npz", wrong)
    words = small("data=npz", f"data.root={tmp_path / 'x.npz'}", "regime.labels_per_class=2")
    code, line = refusal([f"paths.outputs={tmp_path / 'out'}", *words], capsys)
    assert code == 2
    assert expected in line


CONFIDENCE = "{_target_: trigan.samples.filters.ConfidenceFilter}"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["stratgy=joint"], "stratgy: no such setting; nearest: strategy"),
        (
            ["strategy=jiont"],
            "strategy=jiont: no such choice; choices: augment, baseline, features, joint; nearest: joint",
        ),
        (["trial=abc"], "trial=abc: expected an int >= 0"),
        (["data=folder", "data.root="], "data.root=: the value is empty (a shell variable that is not set?); give one"),
        (["paths.outputs="], "paths.outputs=: the value is empty"),
        (
            ["data=folder", "data.root=données"],
            "which has the character é, within the shell's quotes: \"data.root='donn",
        ),
        (["data=folder", "data.root=~/images"], "data.root='~/images'\""),
        (["data=folder", "data.root=run#2"], "which has the character #, "),
        (
            ["data=folder", "data.root=2024"],
            "root=2024: expected a string or null; as text: \"data.source.root='2024'\"",
        ),
        (["+speed=3"], "speed: no such setting (and + adds none)"),
        (["classifier.widht=8"], "classifier.widht: no such setting; nearest: classifier.width"),
        (
            ["strategy=joint", "strategy.objective=conditional"],
            "strategy.objective=conditional needs a label-conditional G and D: set architecture=cgan",
        ),
        (
            ["strategy=features", "loss=wasserstein"],
            "architecture.discriminator_norm=none",
        ),
        (
            ["strategy=augment", "strategy.samples.ratio=inf"],
            "strategy.samples.ratio: expected a finite number, got inf",
        ),
        (
            ["strategy=augment", f"strategy.samples.filters=[{CONFIDENCE}, {CONFIDENCE[:-1]}, threshold: 1.5}}]"],
            "strategy.samples.filters.1.threshold: 1.5 must be a probability in [0, 1]",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_settings(words: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole config, as opposed to the small one of ``tests/small_conf``: refused before any work."""
    code, said = refusal([f"paths.outputs={tmp_path / 'out'}", *words], capsys)
    assert code == 2
    assert line in said
    assert not (tmp_path / "out").exists()


def test_an_output_directory_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("x")
    code, line = refusal([f"paths.outputs={tmp_path / 'out'}", *small("strategy=baseline")], capsys)
    assert code == 3
    assert "cannot write" in line
    assert "a file is where a directory is needed" in line


def limited(outputs: Path, words: Sequence[str], most: int) -> subprocess.CompletedProcess[str]:
    """``trigan run`` in a process that may write no file larger than ``most`` bytes: a disk that fills up."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "trigan", "run", f"paths.outputs={outputs}", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY)),
    )


def test_a_disk_that_fills_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The data are written, the first checkpoint no more; with room again, the same command comes to its end."""
    outputs, words = tmp_path / "out", small("strategy=joint", "classifier.width=32")
    assert main(["run", f"paths.outputs={outputs}", *small("strategy=baseline")]) == 0  # decodes the data
    capsys.readouterr()
    before = set(files(outputs))
    full = limited(outputs, words, 20_000)
    assert full.returncode == 3, full.stderr
    told = [line for line in full.stderr.splitlines() if line.startswith("trigan: ")]
    assert len(told) == 1
    assert "cannot write" in told[0]
    assert "Traceback" not in full.stderr
    left = [path for path in set(files(outputs)) - before if path.stat().st_size >= 20_000]
    assert not left, "a file was left that could not be finished"
    assert main(["run", f"paths.outputs={outputs}", *words]) == 0
    record = Path(capsys.readouterr().out.strip()) / "record.json"
    assert json.loads(record.read_text())["result"]["status"] == "finished"


def interrupt(monkeypatch: pytest.MonkeyPatch, stage: str, number: int) -> None:
    """Send this process a signal in the middle of a stage, as Ctrl-C does."""
    watching = CallbackSettings.build

    class Bell:
        def on_fit_start(self, module: PlayersModule) -> None: ...

        def on_metrics(self, module: PlayersModule, metrics: dict[str, float]) -> None:
            if module.completed_steps == module.plan.steps // 2:
                signal.raise_signal(number)

        def on_fit_end(self) -> None: ...

    def callbacks(watch: CallbackSettings, name: str, directory: Path, tracker: Tracker) -> Sequence[FitCallback]:
        found = list(watching(watch, name, directory, tracker))
        return [*found, Bell()] if name == stage else found

    monkeypatch.setattr(CallbackSettings, "build", callbacks)


STAGES = {
    "teacher": ["strategy=augment"],
    "gan": ["strategy=augment"],
    "classifier": ["strategy=augment"],
    "features' gan": ["strategy=features"],
    "joint": ["strategy=joint"],
}


@pytest.mark.parametrize(
    ("stage", "number"),
    [
        ("teacher", signal.SIGINT),
        ("joint", signal.SIGTERM),
        *(
            pytest.param(stage, number, marks=pytest.mark.slow)
            for stage in STAGES
            for number in (signal.SIGINT, signal.SIGTERM)
            if (stage, number) not in (("teacher", signal.SIGINT), ("joint", signal.SIGTERM))
        ),
    ],
)
def test_an_interrupted_run_goes_on_from_what_was_finished(
    stage: str, number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["run", f"paths.outputs={tmp_path}", *small(*STAGES[stage], steps=20)]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores Ctrl-C
    with monkeypatch.context() as patch:
        interrupt(patch, stage.split()[-1], number)
        try:
            code = main(words)
        except SystemExit as stopped:  # SIGTERM ends the process
            code = int(stopped.code or 0)
        finally:
            signal.signal(signal.SIGINT, before)
    assert code == 128 + number
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    if number == signal.SIGINT:
        assert "the same command continues" in said.err.splitlines()[-1]
    assert not list(tmp_path.rglob("record.json"))
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("manifest.json")}
    assert main(words) == 0
    record = json.loads((Path(capsys.readouterr().out.strip()) / "record.json").read_text())
    assert record["result"]["status"] == "finished"
    folds = 2 if "teacher" in record["result"]["notes"] else 0  # fits that only measure are stored, and no stages
    assert len(list(tmp_path.rglob("manifest.json"))) == len(record["result"]["stages"]) + folds > len(finished)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished, "a finished stage was trained again"
