import os
from pathlib import Path

import pytest

from trigan.cli import allow, crew, places
from trigan.cli.compose import Composer

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _fakes_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake targets pass as trigan's own, and subprocesses find them."""
    monkeypatch.setattr(allow, "ALLOWED", (*allow.ALLOWED, "cli.fakes"))
    monkeypatch.setattr(allow, "FUNCTIONS", (*allow.FUNCTIONS, "cli.fakes"))
    found = os.pathsep.join([str(Path(allow.__file__).parents[2]), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", found)
    for name in ("RANK", "WORLD_SIZE", "TRIGAN_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)


class _NoServer:
    """Stands in for the fork server where a test runs no job."""

    def close(self) -> None: ...


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "ForkLauncher", _NoServer)


@pytest.fixture
def composer() -> Composer:
    return Composer(conf=HERE / "conf")


@pytest.fixture
def small_conf(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole command line, over the small config of the tests."""
    monkeypatch.setattr(places, "conf", lambda: HERE / "conf")
    monkeypatch.setattr(places, "experiments", lambda: HERE / "experiments")
