"""Several jobs on one GPU: CUDA's multi-process service lets their kernels run at once, where it is installed."""

import logging
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

_log = logging.getLogger("trigan")
_CONTROL = "nvidia-cuda-mps-control"
#: Where its files are; a job finds the service by the first.
_VARIABLES = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")
#: Seconds that the service may take to start or to end.
_PATIENCE = 20.0


@contextmanager
def multi_process_service() -> Iterator[Mapping[str, str]]:
    """Within it the service runs; what jobs need in their environment to use it, nothing if it is not installed.

    A service that the environment names already is used and left running.
    """
    control = shutil.which(_CONTROL)
    if control is None or _VARIABLES[0] in os.environ:
        yield {}
        return
    with TemporaryDirectory(prefix="trigan-mps-") as folder:
        variables = dict.fromkeys(_VARIABLES, folder)
        if not _tell(control, variables, "-d"):
            yield {}
            return
        try:
            yield variables
        finally:
            _tell(control, variables, text="quit\n")


def _tell(control: str, variables: Mapping[str, str], *words: str, text: str = "") -> bool:
    """Whether the control program did what it was told; a failure costs speed alone, and is logged."""
    log = Path(variables[_VARIABLES[0]]) / "control.log"  # a file: the service keeps its standard output open
    with log.open("w") as output, suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            [control, *words],
            input=text,
            stdout=output,
            stderr=output,
            text=True,
            env={**os.environ, **variables},
            timeout=_PATIENCE,
        )
        if done.returncode == 0:
            return True
    said = log.read_text().strip().splitlines()[-1:]
    _log.warning("%s failed (%s): jobs take turns on the GPU", " ".join([_CONTROL, *words]), *said or ["no answer"])
    return False
