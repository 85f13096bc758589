"""Each strategy runs end to end in a few seconds: composed, trained, evaluated, recorded."""

from pathlib import Path

import pytest

import trigan

SHORT = (
    "debug=fast",
    "debug.max_steps=2",
    "logger=none",
    "callbacks=quiet",
    "classifier.width=4",
    "architecture.width=4",
)


@pytest.mark.parametrize("strategy", ["baseline", "augment", "features", "joint"])
def test_a_strategy_runs_end_to_end(strategy: str, tmp_path: Path) -> None:
    run = trigan.run(f"strategy={strategy}", f"paths.outputs={tmp_path}", *SHORT)
    assert run.record["tags"]["strategy"] == strategy
    assert 0 <= run.accuracy <= 1
    assert trigan.load(run.directory).accuracy == run.accuracy
