"""Where a result comes from: what may differ between two runs of one configuration and is stored beside its numbers."""

import importlib.metadata
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from trigan.runs.trained_run import TrainedRun
from trigan.version import __version__

_PACKAGES = ("torch", "pytorch-lightning", "hydra-core", "omegaconf", "wandb", "torchmetrics", "numpy", "scikit-learn")
#: The source tree of this file, if it has one, and the parts of it that a result depends on.
_ROOT, _SOURCES = Path(__file__).resolve().parents[3], ("src", "conf", "pyproject.toml")


def provenance(trained: TrainedRun) -> dict[str, Any]:
    """The record's ``provenance``.

    ``seconds`` are those of this process; ``training_seconds`` is the training time of all stages over all attempts,
    reused stages included, and None if one of them did not store it.
    """
    known = [stage.seconds for stage in trained.stages if stage.seconds is not None]
    gpu = trained.run_config.config["trainer"]["accelerator"] == "gpu"
    return {
        "seconds": round(time.time() - trained.started, 3),
        "training_seconds": round(sum(known), 3) if len(known) == len(trained.stages) else None,
        "peak_memory_mb": round(peak_memory() / 2**20, 1),
        "device": torch.cuda.get_device_name() if gpu else "cpu",
        "host": platform.node(),
        "versions": {"trigan": __version__, "python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in _PACKAGES},
        "commit": source_commit(),
        "wandb_id": trained.tracker.id,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(trained.started)),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "overrides": list(trained.run_config.overrides),
    }


def peak_memory() -> int:
    """The peak resident memory of this process in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def source_commit(root: Path = _ROOT) -> str | None:
    """The commit of trigan's source tree at ``root``, followed by ``+changes`` if its files differ from the commit.

    None if ``root`` is not such a tree, for example the site-packages of another project's repository.
    """
    if not (root / ".git").exists() or not (root / "src" / "trigan").is_dir():
        return None
    head, changes = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain", "--", *_SOURCES)
    return f"{head}+changes" if head and changes else head if changes is not None else None


def _git(root: Path, *arguments: str) -> str | None:
    """The output of git, which takes no lock on the repository; None if git fails."""
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
