"""What the attacks share: a planted secret, a pickle that runs code, and a command line that is watched."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from trigan.commands.main import main

SECRET = "planted-secret-4711"
#: Resolvers of OmegaConf and Hydra that build objects, read the environment, or evaluate text; also escaped once.
RESOLVERS = {
    "create": "${oc.create:{_target_: numpy.load, file: evil.npy, allow_pickle: true}}",
    "escaped": r"\${oc.create:{_target_: numpy.load, file: evil.npy, allow_pickle: true}}",
    "environment": "${oc.env:PLANTED}",
    "escaped environment": r"\${oc.env:PLANTED}",
    "nested": "${oc.${oc.decode:env}:PLANTED}",
    "relative": "${.${oc.env:PLANTED}}",
    "decode": "${oc.decode:'1'}",
    "hydra": "${hydra:runtime.cwd}",
}


class Pickled:
    """Writes ``hacked`` into the current folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch hacked",)


@dataclass
class Attack:
    """A folder that strangers' files lie in, and what a command did there."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def write(self, name: str, content: Any) -> Path:
        """A YAML file of this content, or a text as it is."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
        return path

    def refused(self, *words: object) -> str:
        """The one line of a command that is refused and that neither ran nor showed nor wrote anything of strangers."""
        before = self.outside()
        code = main([str(word) for word in words])
        out, err = self.capsys.readouterr()
        self.check(out + err)
        assert code in (2, 3), err
        (line,) = [line for line in err.splitlines() if line.startswith("trigan: ")]
        assert self.outside() == before
        return line

    def outside(self) -> set[Path]:
        """What lies beside the folder."""
        return set(self.folder.parent.rglob("*")) - set(self.folder.rglob("*"))

    def check(self, text: str = "") -> None:
        """No code ran, and the secret is in no text and in no file."""
        assert not (self.folder / "hacked").exists(), "code of a stranger ran"
        assert SECRET not in text
        for path in self.folder.rglob("*"):
            assert not path.is_file() or SECRET.encode() not in path.read_bytes(), f"the secret is in {path}"


def make_attack(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Attack:
    """The folder is the current one, and holds a pickle and a module that run code."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PLANTED", SECRET)
    monkeypatch.syspath_prepend(folder)
    (folder / "evil.py").write_text("import os\nos.system('touch hacked')\n\n\nclass Net: ...\n")
    with (folder / "evil.npy").open("wb") as file:
        np.save(file, np.array([Pickled()], dtype=object), allow_pickle=True)
    return Attack(folder, capsys)
