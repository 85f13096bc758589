"""What tests of several rooms share."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def logged_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, no settings, an empty home; and what W&B is told through the environment is undone."""
    wandb = pytest.importorskip("wandb")
    home = tmp_path / "home"
    home.mkdir()
    ours = ["WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_ERROR_REPORTING", "NETRC"]
    for name in [name for name in os.environ if name.startswith("WANDB_")] + ours:
        monkeypatch.setenv(name, "")  # so that what the test leaves there is taken away afterwards
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    wandb.teardown()
