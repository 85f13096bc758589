"""Modules in the current folder, where a stranger's study may lie, are imported by no process of trigan's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from trigan.execution.job import Job
from trigan.execution.launchers import ExecLauncher
from trigan.execution.pool import LocalEngine

SMALL = ("debug=fast", "debug.max_steps=2", "logger=none", "callbacks=quiet", "classifier.width=8", "paths.outputs=out")
#: Modules that trigan or its libraries import: early, late, from the standard library and from other packages.
NAMES = (
    "colorsys",
    "sklearn",
    "torch",
    "hydra",
    "yaml",
    "wandb",
    "pandas",
    "matplotlib",
    "json",
    "filelock",
    "logging",
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with modules that leave a mark and a study."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'hacked')!r}, 'a').write('{name} ')\n")
    study = {"trials": 1, "rows": [{"name": "bare", "set": ["strategy=baseline"]}]}
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "study.yaml").write_text(yaml.safe_dump(study))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(one for one in sys.path if one and Path(one) != tmp_path))
    return tmp_path


def trigan(*words: str) -> subprocess.CompletedProcess[str]:
    """The console script, which is started with the interpreter's own path."""
    script = "import sys; del sys.path[0]; from trigan.commands.main import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=250)


@pytest.mark.parametrize(
    "words",
    [
        ("study", "./one", *SMALL),
        pytest.param(("run", "-m", "trial=0,1", *SMALL), marks=pytest.mark.slow),
        pytest.param(("run", "trainer.devices=2", *SMALL), marks=pytest.mark.slow),
    ],
)
def test_the_current_folder_is_not_searched(words: tuple[str, ...], here: Path) -> None:
    done = trigan(*words)
    assert not (here / "hacked").exists(), (here / "hacked").read_text()
    assert done.returncode == 0, done.stderr
    assert list(here.glob("out/**/record.json"))


@pytest.mark.slow
def test_jobs_that_are_new_interpreters(here: Path) -> None:
    engine = LocalEngine(1, launcher=ExecLauncher())
    (result,) = engine.run([Job("bare", SMALL)], here / "logs")
    assert not (here / "hacked").exists(), (here / "hacked").read_text()
    assert result.ok, result.failure


def test_python_m_does_not_search_it_either(here: Path) -> None:
    for name in ("json", "logging"):  # `python -m` imports these before any line of trigan
        (here / f"{name}.py").unlink()
    done = subprocess.run([sys.executable, "-m", "trigan", "run", "--cfg", "job"], capture_output=True, text=True)
    assert not (here / "hacked").exists(), (here / "hacked").read_text()
    assert done.returncode == 0, done.stderr


def test_a_module_of_ones_own_is_found_where_the_user_says(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        (here / f"{name}.py").unlink()
    (here / "mine.py").write_text(
        "from dataclasses import dataclass\n\nfrom trigan.networks.classifiers.cnn import SmallCNN\n\n\n"
        "@dataclass(frozen=True)\nclass Mine(SmallCNN): ...\n"
    )
    words = ("run", "-m", *SMALL, "runtime.allow=[mine]", "classifier._target_=mine.Mine")
    done = trigan(*words)
    assert done.returncode == 2
    assert "classifier._target_=mine.Mine: cannot be found (No module named 'mine'); the current folder" in done.stderr
    monkeypatch.setenv("PYTHONPATH", f".{os.pathsep}{os.environ['PYTHONPATH']}")
    done = trigan(*words)
    assert done.returncode == 0, done.stderr
