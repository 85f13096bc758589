"""The arguments that name a finished run, for the commands that use one."""

import argparse
from pathlib import Path

import torch

from trigan.commands.arguments import Parser
from trigan.errors import ConfigError
from trigan.execution.progress import warn
from trigan.runs.finished_run import FinishedRun, find_run, open_run


def add_run_arguments(parser: Parser) -> None:
    """The arguments that name a run: RUN, --outputs, --device, --allow."""
    parser.add_argument("run", metavar="RUN", help="a run's directory, or the first characters of its hash")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="the folder of runs (default: outputs)")
    parser.add_argument("--device", default="cpu", help="where to compute: cpu (default), cuda, cuda:1")
    parser.add_argument(
        "--allow", metavar="MODULE", action="append", default=[], help="a module of your own that the run is built from"
    )


def open_from_arguments(options: argparse.Namespace) -> FinishedRun:
    """The run that the arguments of :func:`add_run_arguments` name; says so on standard error if it diverged.

    Raises:
        ConfigError: no such run, or its config names what is not on the allow-list.
        ArtifactError: it isn't finished, or its files are damaged.
    """
    device = _device(options.device)
    finished = open_run(find_run(options.run, options.outputs), options.allow, device)
    if finished.record["result"]["status"] == "diverged":
        warn(f"run {finished.run[:12]} diverged in training; what it has are the last healthy weights")
    return finished


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"--device {name}: no such device; give cpu, cuda or cuda:1") from error
    if device.type not in ("cpu", "cuda") or (
        device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()
    ):
        raise ConfigError(f"--device {name}: torch sees no such device here; take cpu")
    return device
