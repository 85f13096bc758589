"""What tests of several rooms share: fake targets, a small configuration, finished runs, records, a W&B server."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import wandb
from finished_runs import RUNS, run_words
from record_makers import make_record, make_records
from wandb_server import WandbServer

from trigan.config import allow_list, locations
from trigan.config.compose import Composer
from trigan.execution import pool
from trigan.records.record import Record

SMALL_CONF = Path(__file__).parent / "small_conf"


@pytest.fixture(autouse=True)
def _fakes_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake targets pass as trigan's own, and subprocesses find them."""
    monkeypatch.setattr(allow_list, "ALLOWED_MODULES", (*allow_list.ALLOWED_MODULES, "fakes"))
    monkeypatch.setattr(allow_list, "FUNCTION_MODULES", (*allow_list.FUNCTION_MODULES, "fakes"))
    found = os.pathsep.join(
        [
            str(Path(allow_list.__file__).parents[2]),
            str(SMALL_CONF.parent / "support"),
            os.environ.get("PYTHONPATH", ""),
        ]
    )
    monkeypatch.setenv("PYTHONPATH", found)
    for name in ("RANK", "WORLD_SIZE", "TRIGAN_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """A command with ``hydra.verbose=true`` changes the level of all loggers of the process."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


class _NoServer:
    """Stands in for the fork server where a test runs no job."""

    def threads(self) -> int:
        return 0

    def close(self) -> None: ...


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "ForkLauncher", _NoServer)


@pytest.fixture
def composer() -> Composer:
    return Composer(conf=SMALL_CONF)


@pytest.fixture
def small_conf(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole command line, over the small config of the tests."""
    monkeypatch.setattr(locations, "conf", lambda: SMALL_CONF)
    monkeypatch.setattr(locations, "experiments", lambda: SMALL_CONF.parent / "no_experiments")


@pytest.fixture(scope="session")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of outputs of the runs in ``RUNS``, shared by all workers of a test session."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "used-runs"


@pytest.fixture(scope="session")
def runs(outputs: Path) -> dict[str, Path]:
    """Directories of the runs in ``RUNS``; one worker makes each, the others find it finished."""
    from trigan.config.compose import compose
    from trigan.runs.run import run

    return {name: run(compose(run_words(name, outputs))) for name in RUNS}


@pytest.fixture
def record() -> Callable[..., Record]:
    """`make_record`."""
    return make_record


@pytest.fixture
def records() -> Callable[..., list[Record]]:
    """`make_records`."""
    return make_records


@pytest.fixture
def logged_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, no settings, an empty home; and what W&B is told through the environment is undone."""
    home = tmp_path / "home"
    home.mkdir()
    ours = ["WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_ERROR_REPORTING", "NETRC"]
    for name in [name for name in os.environ if name.startswith("WANDB_")] + ours:
        monkeypatch.setenv(name, "")  # so that what the test leaves there is taken away afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    wandb.teardown()


@pytest.fixture
def wandb_server(logged_out: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """The stand-in of W&B's server, with this process and its children logged in to it."""
    import wandb

    with WandbServer() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", server.key)
        monkeypatch.setenv("WANDB__FILE_STREAM_TRANSMIT_INTERVAL", "1")  # instead of 15 seconds
        yield server
        wandb.teardown()
