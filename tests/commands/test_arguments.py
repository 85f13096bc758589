"""What the commands' arguments share."""

import shlex
import subprocess

import pytest

from trigan.execution.job import shell_line

WORDS = [
    "plain",
    "row='two words'",
    "it's",
    "$HOME",
    "a`b`",
    '"',
    "back\\slash",
    "'\"$x",
    "!1",
    "",
    "strategy.layers=[a,b]",
]


@pytest.mark.parametrize("word", WORDS)
def test_a_shell_reads_back_what_was_written(word: str) -> None:
    assert shlex.split(shell_line(["run", word])) == ["run", word]
    said = subprocess.run(["sh", "-c", f"printf %s {shell_line([word])}"], capture_output=True, text=True, check=True)
    assert said.stdout == word


def test_single_quotes_stand_in_double_ones() -> None:
    assert shell_line(["row='joint: it is'"]) == "\"row='joint: it is'\""
