"""Shell completion: our command words, and Hydra's groups, choices and settings after `run`."""

import shutil
import subprocess

import pytest

from trigan.commands.completion import candidates
from trigan.commands.main import COMMANDS, main

pytestmark = pytest.mark.usefixtures("small_conf")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("trigan r", ["run", "report"]),
        ("trigan ", list(COMMANDS)),
        ("trigan run arch", ["architecture.", "architecture="]),
        ("trigan run architecture=", ["architecture=large", "architecture=small"]),
        ("trigan run architecture=l", ["architecture=large"]),
        ("trigan run trial=1 strategy.st", ["strategy.steps="]),
        ("trigan run -m strategy=one stu", ["study="]),
        ("trigan table demo ", []),
        ("trigan data c", ["check"]),
        ("/usr/bin/trigan run hyd", []),
    ],
)
def test_candidates(line: str, found: list[str]) -> None:
    assert candidates(line) == found


def test_query_reads_comp_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", "trigan run data=")
    assert main(["-sc", "query=bash"]) == 0
    assert capsys.readouterr().out == "data=plain data=rooted\n"
    assert main(["--shell-completion", "query=fish"]) == 0
    assert capsys.readouterr().out == "data=plain\ndata=rooted\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_install_writes_a_script_for_trigan(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--shell-completion", f"install={shell}"]) == 0
    script = capsys.readouterr().out
    assert "trigan" in script
    program = shutil.which(shell)
    if program:
        subprocess.run([program, "-n"], input=script, text=True, check=True)
