"""`wandb agent` end to end: a sweep registered at the stand-in of the server, and the runs that the agent starts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from offline import COMMAND
from wandb_server import WandbServer


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_agent_drives_trigan_run(tmp_path: Path, wandb_server: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    monkeypatch.chdir(tmp_path)  # W&B's command writes where it is
    fixed = ["debug=fast", "debug.max_steps=2", "callbacks=quiet", "logger=wandb", f"paths.outputs={tmp_path}/debug"]
    config = {
        "method": "grid",
        "metric": {"name": "final/test/accuracy", "goal": "maximize"},
        "parameters": {"trial": {"values": [0, 1, 2, 3, 4]}, "classifier.width": {"value": 4}},
        "command": [sys.executable, "-m", "trigan", "run", *fixed, "${args_no_hyphens}"],
    }
    for name in ("WANDB_ENTITY", "WANDB_PROJECT", "WANDB_DIR", "WANDB_SWEEP_ID"):
        monkeypatch.delenv(name, raising=False)  # W&B sets the first two for agents of this very process
    sweep = wandb.sweep(config, project="trigan", entity="me")
    command = [str(COMMAND), "agent", f"me/trigan/{sweep}"]
    done = subprocess.run(command, timeout=1700, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert wandb_server.unknown == []
    assert [started["trial"] for started in wandb_server.sweeps[sweep].started.values()] == [0, 1, 2, 3, 4]
    assert set(wandb_server.runs) == set(wandb_server.sweeps[sweep].started)
    directories = {path.parent.name: path for path in (tmp_path / "debug" / "runs").glob("*/record.json")}
    assert len(directories) == 5, "each run has a directory of its own"
    by_wandb_id = {}
    for path in directories.values():
        record = json.loads(path.read_text())
        by_wandb_id[record["provenance"]["wandb_id"]] = record
    for name, arguments in wandb_server.sweeps[sweep].started.items():
        run, record = wandb_server.runs[name], by_wandb_id[name]
        assert (run.state, run.told["sweep"]) == ("finished", sweep)
        assert record["config"]["trial"] == run.config["trial"] == arguments["trial"]
        assert record["config"]["classifier"]["width"] == 4
        assert run.summary["final/test/accuracy"] == record["result"]["test"]["accuracy"]
        assert run.summary["status"] == "finished"
        images = [row["images"] for row in run.history]
        assert images == sorted(images)
        assert images
