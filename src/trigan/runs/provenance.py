"""Where a result comes from: what may differ between two runs of one config, and is kept beside its numbers."""

import importlib.metadata
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from trigan import __version__
from trigan.config.compose import RunConfig
from trigan.strategies.stage_runner import StageRunner
from trigan.tracking import Tracker
from trigan.tracking.wandb_tracker import WandbTracker

_PACKAGES = (
    *("torch", "pytorch-lightning", "hydra-core", "omegaconf", "wandb", "torchmetrics", "numpy", "scikit-learn"),
)
#: What a result is made of, within the source tree.
_SOURCES = ("src", "conf", "pyproject.toml")


def provenance(composed: RunConfig, runner: StageRunner, tracker: Tracker, started: float) -> dict[str, Any]:
    """``seconds`` are this process's; ``training_seconds`` what the training of all stages took, whoever did it."""
    return {
        "seconds": round(time.time() - started, 3),
        "training_seconds": training_seconds(runner),
        "peak_memory_mb": round(peak_memory() / 2**20, 1),
        "device": torch.cuda.get_device_name() if composed.config["trainer"]["accelerator"] == "gpu" else "cpu",
        "host": platform.node(),
        "versions": {"trigan": __version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in _PACKAGES},
        "commit": source_commit(),
        "wandb_id": tracker.id if isinstance(tracker, WandbTracker) else None,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "overrides": list(composed.overrides),
    }


def training_seconds(runner: StageRunner) -> float | None:
    """Training seconds of all stages, reused or not, over all their attempts; None where one has kept none."""
    each = [trained.seconds for trained in {t.digest: t for t in runner.trained_stages}.values()]
    known = [seconds for seconds in each if seconds is not None]
    return round(sum(known), 3) if len(known) == len(each) else None


def peak_memory() -> int:
    """The most bytes that this process has held."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def source_commit() -> str | None:
    """The commit of the source that runs."""
    return commit_of(Path(__file__).resolve().parents[3])


def commit_of(root: Path) -> str | None:
    """The commit of trigan's own source tree ``root``, with ``+changes`` behind it where files differ from it.

    None where there is no such tree, as in a wheel, which may well lie inside somebody else's.
    """
    if not (root / ".git").exists() or not (root / "src" / "trigan").is_dir():
        return None
    head, changes = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain", "--", *_SOURCES)
    if head is None or changes is None:
        return None
    return f"{head}+changes" if changes else head


def _git(root: Path, *arguments: str) -> str | None:
    """What git says, asked without a lock (others may be at work in the tree); None where it says nothing sound."""
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
