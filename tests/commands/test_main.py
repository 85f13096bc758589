"""The command line as a user meets it."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from record_makers import make_record

from trigan.commands import main as room
from trigan.commands.main import COMMANDS, main
from trigan.config.compose import RunConfig
from trigan.records.record import write_record

pytestmark = pytest.mark.usefixtures("small_conf")


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_help_is_light_and_lists_the_commands() -> None:
    code = "import sys; from trigan.commands.main import main; main(['--help'])\n"
    code += "print(sorted(m for m in sys.modules if m in ('torch', 'hydra', 'pytorch_lightning', 'numpy', 'rich')))"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.monotonic() - started < 2  # 0.05 s on an idle machine
    *page, heavy = done.stdout.splitlines()
    assert heavy == "[]"
    for name, (_, text) in COMMANDS.items():
        assert any(line.split() and line.split()[0] == name and line.endswith(text) for line in page)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["stduy"], "trigan: stduy: no such command; nearest: study; commands: "),
        (["trial=3"], "trigan: trial=3: no such command; settings follow a command: trigan run trial=3"),
        (["run", "trail=3"], "trigan: trail: no such setting; nearest: trial"),
        (["run", "--fource"], "trigan: --fource: no such option; nearest: --force; `trigan run --help` lists them"),
        (["run", "-m", "--workers", "0"], "trigan: --workers: 0: expected an int >= 1; see `trigan run --help`"),
        (["run", "--timeout", "5"], "trigan: --timeout: applies only with --multirun; this is one run"),
        (["run", "--cfg", "job", "--package", "stratgy"], "trigan: --package stratgy: no such node; nearest: strategy"),
        (["data", "chekc"], "trigan: trigan data: expected `trigan data check"),
        (["study", "nowhere"], "trigan: nowhere: no such study"),
        (["--shell-completion", "install=tcsh"], "trigan: --shell-completion: expected install=SHELL"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_line_and_exit_2(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert error_line(capsys).startswith(line)


@pytest.mark.parametrize("words", [["--version"], ["compare", "--help"]], ids=" ".join)
def test_a_reader_that_goes_away_is_no_error(words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "trigan", *words]
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    done = subprocess.run(command, env=buffered, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_terminal_that_lacks_a_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    page = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(page, encoding="latin-1"))
    monkeypatch.setattr(room, "_dispatch", lambda words: print("\u2020 \u00b1") or 0)
    assert main([]) == 0
    assert page.getvalue() == b"? \xb1\n"


@pytest.mark.usefixtures("no_server")
@pytest.mark.parametrize("words", [["run", "-m", "trial=0,1"], ["run", "trainer=ddp_cpu"]], ids=" ".join)
def test_an_output_folder_that_is_a_file(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main([*words, f"paths.outputs={tmp_path / 'file'}"]) == 3
    assert f"cannot write {tmp_path / 'file'}/logs: a file is where a directory is needed" in capsys.readouterr().err


def test_traceback_on_request(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIGAN_TRACEBACK", "1")
    assert main(["run", "trial=abc"]) == 2
    text = capsys.readouterr().err
    assert "Traceback" in text
    assert text.splitlines()[-1] == "trigan: trial=abc: expected an int >= 0"


def test_run_hands_over_what_was_composed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[tuple[RunConfig, bool]] = []
    import trigan.runs.run

    def fake(composed: RunConfig, force: bool = False, validation_only: bool = False) -> Path:
        seen.append((composed, force))
        return tmp_path

    write_record(tmp_path / "record.json", make_record(0.9))
    monkeypatch.setattr(trigan.runs.run, "run", fake)
    assert main(["run", "trial=3", "--force", "architecture=large"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}\n"
    ((composed, force),) = seen
    assert force
    assert composed.trial == 3
    assert composed.choices["architecture"] == "large"


@pytest.mark.parametrize(("rank", "size"), [("0", "2"), ("1", "2"), ("0", "1"), ("3", "")])
def test_a_diverged_run_says_so_whatever_another_program_left_in_the_environment(
    rank: str, size: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import trigan.runs.run

    write_record(tmp_path / "record.json", make_record(0.1, status="diverged"))
    monkeypatch.setattr(trigan.runs.run, "run", lambda composed, force, validation_only: tmp_path)
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", size)
    assert main(["run", "trial=3"]) == 5
    told = capsys.readouterr()
    assert told.out == f"{tmp_path}\n"
    assert told.err.splitlines()[-1].startswith("trigan: the run diverged")


def test_ctrl_c_is_one_line_and_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import trigan.runs.run

    def interrupted(composed: Any, force: bool = False, validation_only: bool = False) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(trigan.runs.run, "run", interrupted)
    assert main(["run"]) == 130
    assert "the same command continues" in error_line(capsys)


def test_run_help_shows_groups_settings_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--help"]) == 0
    page = capsys.readouterr().out
    assert "architecture  large, [small]" in page
    assert "debug         fast" in page
    assert "architecture.width=8" in page
    assert "trigan run -m" in page
    assert main(["run", "architecture=large", "trial=7", "--help"]) == 0
    page = capsys.readouterr().out
    assert "architecture  [large], small" in page
    assert "trial=7 " in page


def test_cfg_and_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--cfg", "job", "--resolve", "--package", "strategy", "architecture=large", "debug=null"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("# @package strategy")
    assert "width: 16" in page
    assert main(["run", "--cfg", "hydra"]) == 0
    assert capsys.readouterr().out.startswith("hydra:")
    assert main(["run", "--info", "searchpath"]) == 0
    assert "command-line" not in capsys.readouterr().out
    assert main(["run", "trial=7", "--cfg", "job"]) == 0
    assert "trial: 7" in capsys.readouterr().out
