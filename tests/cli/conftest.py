import os
from pathlib import Path

import pytest

from trigan.config import allow_list, locations
from trigan.config.compose import Composer
from trigan.execution import workers

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _fakes_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake targets pass as trigan's own, and subprocesses find them."""
    monkeypatch.setattr(allow_list, "ALLOWED", (*allow_list.ALLOWED, "cli.fakes"))
    monkeypatch.setattr(allow_list, "FUNCTIONS", (*allow_list.FUNCTIONS, "cli.fakes"))
    found = os.pathsep.join(
        [str(Path(allow_list.__file__).parents[2]), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    )
    monkeypatch.setenv("PYTHONPATH", found)
    for name in ("RANK", "WORLD_SIZE", "TRIGAN_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)


class _NoServer:
    """Stands in for the fork server where a test runs no job."""

    def threads(self) -> int:
        return 0

    def close(self) -> None: ...


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "ForkLauncher", _NoServer)


@pytest.fixture
def composer() -> Composer:
    return Composer(conf=HERE / "conf")


@pytest.fixture
def small_conf(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole command line, over the small config of the tests."""
    monkeypatch.setattr(locations, "conf", lambda: HERE / "conf")
    monkeypatch.setattr(locations, "experiments", lambda: HERE / "experiments")


#: Finished debug runs that are used: each kind of classifier, with and without a generator, 1 and 3 channels.
RUNS = {
    "joint": ["strategy=joint"],
    "conditional": ["strategy=augment", "architecture=cgan"],
    "several": [
        "strategy=augment",
        "architecture=cgan",
        "strategy.generators=2",
        "strategy/filter=none",
        "strategy/schedule=pretrain",
        "strategy.samples.ratio=1",
    ],
    "spectral": [
        "strategy=features",
        "strategy.probe=knn",
        "architecture.discriminator_norm=spectral",
        "data.image_size=14",
        "data.channels=3",
    ],
    # one label per class leaves nothing to calibrate on: its scores are no probabilities
    "pixels": ["strategy=features", "strategy.trunk=pixels", "strategy.probe=knn", "regime.labels_per_class=1"],
}


def run_words(name: str, outputs: Path) -> list[str]:
    """The overrides of a run in ``RUNS``, small and short."""
    small = ["classifier.width=4", "architecture.width=4", "logger=none", "callbacks=quiet"]
    return ["debug=fast", "debug.max_steps=6", f"paths.outputs={outputs}/debug", *small, *RUNS[name]]


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
