"""What runs in the fork server of `multiprocessing`, and in the jobs that it forks.

The server imports this file before its first fork, and with it all that jobs need. A fork copies only the thread that
forks, so the server must have one thread: it runs no torch operation, opens no data set and starts no W&B service.
"""

import atexit
import multiprocessing
import os
import pickle
import pkgutil
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from trigan.execution import late_imports
from trigan.execution.supervisor import SINGLE_THREADED, lead_session

#: Environment variable with the modules that the server imports; set only while the server is being started.
PRELOAD_VARIABLE = "TRIGAN_PRELOAD"
#: What keeps a process that has imported everything fit to be forked: without the first, a CUDA check would leave a
#: driver context in the server, which its forks cannot use; without the second, pyarrow starts a thread at import.
_FORKABLE = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}


#: The path of the server, which is started with PYTHONSAFEPATH.
_SAFE_PATH = tuple(sys.path)


def run_job(
    entry: str, arguments: Sequence[str], log: str, variables: Mapping[str, str], folder: str, composed: bytes | None
) -> None:
    """Run one job, ``module:function`` called with the arguments, in a process that the server has forked.

    The job has its own session, log (appended to), environment (``variables`` are added) and working directory.
    """
    lead_session()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # multiprocessing gives the job its parent's path, which has the current folder where that is `python` or a notebook
    sys.path[:] = [entry for entry in sys.path if entry in _SAFE_PATH or Path(entry).absolute() != Path(folder)]
    with open(log, "ab") as output, open(os.devnull, "rb") as nothing:
        for source, number in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(source.fileno(), number)
    os.chdir(folder)
    os.environ.update(variables)  # before torch counts the CUDA devices
    multiprocessing.set_start_method(None, force=True)  # it is "forkserver" here
    sys.argv[:] = ["trigan", *arguments]
    if composed is not None:
        import_module("trigan.runs.run_words").HANDED_OVER.append(pickle.loads(composed))
    module, _, function = entry.partition(":")
    try:
        sys.exit(getattr(import_module(module), function)(list(arguments)))
    finally:
        run_exit_handlers()


def run_exit_handlers() -> None:
    """Wait for threads and run atexit handlers (W&B finishes its run there), which `multiprocessing` leaves out."""
    for run in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined]
        with suppress(Exception):
            run()


def _preload(modules: Sequence[str]) -> None:
    """Prepare this process, the fork server; ``package.*`` is a package and its modules that lack no other package."""
    lead_session()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(2, 1)  # what an import prints is no output of the command
    os.environ.update({**SINGLE_THREADED, **_FORKABLE})
    late_imports.install()
    try:
        for name in modules:
            module = import_module(name.removesuffix(".*"))
            inside = pkgutil.walk_packages(module.__path__, f"{module.__name__}.") if name.endswith(".*") else ()
            for found in inside:
                try:
                    if not found.name.endswith("__main__"):
                        import_module(found.name)
                except ModuleNotFoundError as error:  # of an optional package: trigan.search needs optuna
                    if (error.name or "").partition(".")[0] in ("", name.removesuffix(".*")):
                        raise
    except ImportError as error:  # multiprocessing would ignore it
        raise RuntimeError("the modules of the jobs cannot be imported") from error
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


if PRELOAD_VARIABLE in os.environ:
    _preload(os.environ.pop(PRELOAD_VARIABLE).split())
