"""What tests of several rooms share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb
from wandb_server import WandbServer


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
