"""The command ``trigan``: the first word chooses, the chosen file does the rest. Imports nothing heavy by itself."""

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper

from trigan import __version__
from trigan.config.suggest import nearest_hint
from trigan.errors import TriganError

#: Each command: the function that takes its arguments and gives the exit code, and its line in the help.
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("trigan.commands.run:main", "compose one run (or several with -m), train, evaluate, write the record"),
    "study": ("trigan.commands.study:main", "run a whole table of experiments/ and print it"),
    "search": (
        "trigan.commands.search:main",
        "search good settings of strategies on validation labels, many workers",
    ),
    "wandb-sweep": (
        "trigan.commands.search:wandb_sweep_main",
        "a search space as a W&B sweep, for agents on many machines",
    ),
    "table": ("trigan.commands.table:main", "the table of a study's finished jobs, in any format, from disk or W&B"),
    "verdict": ("trigan.commands.verdict:main", "does a GAN help on these images? a small fixed study and one page"),
    "compare": ("trigan.commands.table:compare_main", "a table over records that are there already"),
    "report": ("trigan.commands.report:main", "a study as one HTML page: table, pictures, the runs behind each number"),
    "wandb-report": ("trigan.commands.report:wandb_report_main", "a study as a W&B Report, over its runs there"),
    "data": ("trigan.commands.data:main", "data check: classes, duplicates, unreadable files, what the regime gives"),
    "splits": (
        "trigan.commands.external:splits_main",
        "write the split of a run as a file for other programs; check such a file",
    ),
    "submit": (
        "trigan.commands.external:submit_main",
        "take in another program's predictions for a split, as a row of a study",
    ),
    "artifacts": (
        "trigan.commands.artifacts:main",
        "list the stored stages with size, age and users; remove the unused",
    ),
    "predict": ("trigan.commands.predict:main", "classify new images with a finished run, to CSV"),
    "sample": ("trigan.commands.sample:main", "draw labelled images from a finished run's generator"),
    "export": ("trigan.commands.export:main", "write a finished run's networks as safetensors and ONNX"),
}

_EXAMPLES = """\
examples:
  trigan run                                               the default run: a classifier alone on the embedded digits
  trigan run strategy=joint regime.labels_per_class=10     the three-player game with ten labels per class
  trigan run -m strategy=baseline,joint trial=0,1,2        six runs, each a process of its own
  trigan study demo                                        all strategies with their controls, and the table
  trigan COMMAND --help                                    what a command takes

tab completion:  eval "$(trigan --shell-completion install=bash)"   (also zsh; fish: | source)
"""

#: Flag and environment variable that ask for tracebacks.
TRACEBACK_FLAG, TRACEBACK_VARIABLE = "--traceback", "TRIGAN_TRACEBACK"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code: 0 done, 1 trigan's fault, 2 to 5 the user's to mend, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    if TRACEBACK_FLAG in words:
        words.remove(TRACEBACK_FLAG)
        os.environ[TRACEBACK_VARIABLE] = "1"
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")  # a terminal of Latin-1 has no dagger
    try:
        try:
            with _messages_on_stderr():
                return _told(words)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        # the reader of a pipe went away (`| head`); what is left in the buffer has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141


class _StderrHandler(logging.Handler):
    """Writes each message as a plain line to what is standard error at that moment: a progress bar replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        print(self.format(record), file=sys.stderr, flush=True)


@contextmanager
def _messages_on_stderr() -> Iterator[None]:
    """Show the messages of trigan's loggers; of ranks other than 0, warnings and errors only."""
    root, trigan, handler = logging.getLogger(), logging.getLogger("trigan"), _StderrHandler()
    before = trigan.level
    trigan.setLevel(logging.WARNING if int(os.environ.get("RANK", "0")) > 0 else logging.INFO)
    handler.setLevel(logging.INFO)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        trigan.setLevel(before)


def _told(words: list[str]) -> int:
    """Dispatch, with errors as one line."""
    try:
        return _dispatch(words)
    except TriganError as error:
        if os.environ.get(TRACEBACK_VARIABLE, "0") not in ("", "0"):
            traceback.print_exc()
        print(f"trigan: {' '.join(str(error).split())}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("trigan: interrupted; the same command goes on from what was finished", file=sys.stderr)
        return 130


def usage() -> str:
    """The text of ``trigan --help``."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    question = "Does a GAN help my classifier, on my data, with my label budget, and which way is best?"
    return "\n".join(["usage: trigan COMMAND ...", "", question, "", "commands:", *lines, "", _EXAMPLES])


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage(), flush=True)
        return 0 if words else 2
    name, rest = words[0], words[1:]
    if name == "--version":
        print(f"trigan {__version__}")
        return 0
    if name in ("-sc", "--shell-completion"):
        return _command("trigan.commands.completion:main")(rest)
    if name not in COMMANDS:
        mend = f"settings follow a command: trigan run {name}" if "=" in name else f"commands: {', '.join(COMMANDS)}"
        raise TriganError(f"{name}: no such command{nearest_hint(name, COMMANDS)}; {mend}")
    return _command(COMMANDS[name][0])(rest)


def _command(where: str) -> Callable[[list[str]], int]:
    module, _, function = where.partition(":")
    found: Callable[[list[str]], int] = getattr(import_module(module), function)
    return found
