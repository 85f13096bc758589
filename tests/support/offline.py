"""W&B's offline runs, read back with its own command."""

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

COMMAND = Path(sys.executable).with_name("wandb")


@functools.cache
def inspect(directory: Path, *options: str) -> str:
    """What lies in a finished run, read once: W&B's command takes half a second to start."""
    said = subprocess.run(
        [COMMAND, "leet", "inspect", "--json", *options, directory], capture_output=True, text=True, check=True
    )
    return said.stdout


def runs(directory: Path) -> list[Path]:
    return sorted((directory / "wandb").glob("offline-run-*"))


def records(run: Path, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in inspect(run).splitlines()]
    return [record[kind] for record in found if record["type"] == kind]


def history(run: Path) -> list[dict[str, Any]]:
    return [record["item"] for record in records(run, "history")]
