"""What docs/ tells a newcomer to type is typed here: every file of `extending.md`, every command of both pages."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trigan.commands.main import main
from trigan.config.compose import Composer
from trigan.studies.plan import StudyPlan
from trigan.studies.verdict.verdict_study import VerdictRuns

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections(page: str) -> dict[str, list[tuple[str, str]]]:
    """Heading -> (language, text) of its blocks."""
    parts = re.split(r"^## ", (DOCS / page).read_text(), flags=re.MULTILINE)[1:]
    return {part.splitlines()[0]: BLOCK.findall(part) for part in parts}


EXTENDING, TUTORIAL = sections("extending.md"), sections("tutorial.md")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of a newcomer's, with images of two classes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    draw = np.random.Generator(np.random.PCG64(0))
    for kind, shade in (("cat", 60), ("dog", 190)):
        folder = tmp_path / "MY_IMAGES" / kind
        folder.mkdir(parents=True)
        for i in range(20):
            Image.fromarray(draw.integers(shade - 50, shade + 50, (40, 36, 3), dtype=np.uint8)).save(
                folder / f"{i}.png"
            )
    return tmp_path


@pytest.mark.parametrize("heading", EXTENDING)
def test_the_examples_of_extending(heading: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = EXTENDING[heading]
    for language, text in blocks:
        if language != "sh":
            path = place / text.splitlines()[0].removeprefix("# ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            if path.parent.name == "my_study":  # its rows use the strategy of the section before
                test_the_examples_of_extending("A strategy", place, capsys)
    commands = [shlex.split(text) for language, text in blocks if language == "sh"]
    assert commands
    for words in commands:
        assert main(words[1:]) == 0, capsys.readouterr().err


def test_the_commands_of_the_tutorial(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def until_the_first_job(self: VerdictRuns, minutes: float, *others: object) -> Path:
        assert minutes == 60
        StudyPlan(Composer(), self.study, self.overrides).first()
        return place / "verdict.md"

    monkeypatch.setattr(VerdictRuns, "plan", lambda self, *given: "what it is about to do")
    monkeypatch.setattr(VerdictRuns, "run", until_the_first_job)  # the rest is a study's
    monkeypatch.setattr(VerdictRuns, "terminal_text", lambda self, *given: "the answer")
    seen = []
    for words in (
        shlex.split(text)[1:] for blocks in TUTORIAL.values() for language, text in blocks if language == "sh"
    ):
        seen.append(words[0])
        more = ["debug=fast"] if words[0] == "run" else []
        assert main([*words, *more]) == 0, capsys.readouterr().err
    assert seen == ["data", "run", "verdict"]
    assert "regime default, trial 0: 10 labelled (5 of each class)" in capsys.readouterr().out
