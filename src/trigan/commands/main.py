"""The command ``trigan``: its first word chooses the function that runs. Nothing heavy is imported here."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pkgutil import resolve_name

from trigan.commands.arguments import help_text
from trigan.config.suggest import nearest_hint
from trigan.errors import TriganError, printable
from trigan.version import __version__

#: Each command: the function that takes its arguments and returns the exit code, and its line in the help.
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run:main", "compose one run (or several with -m), train, evaluate, write the record"),
    "study": ("study:main", "run a study of experiments/ and print its table"),
    "audit": ("study:audit_main", "what differs in C's training between a study's rows, and what it declares"),
    "search": ("search:main", "search good settings of strategies on validation labels, many workers"),
    "wandb-sweep": ("search:wandb_sweep_main", "a search space as a W&B sweep, for agents on many machines"),
    "table": ("table:main", "the table of a study's finished jobs, in any format, from disk or W&B"),
    "verdict": ("verdict:main", "does a GAN help on these images? a small fixed study and one page"),
    "compare": ("table:compare_main", "a table over existing records"),
    "report": ("report:main", "a study as one HTML page: table, pictures, the runs behind each number"),
    "wandb-report": ("report:wandb_report_main", "a study as a W&B Report over its W&B runs"),
    "data": ("data:main", "data check: classes, duplicates, unreadable files, what the regime gives"),
    "splits": ("external:splits_main", "write the split of a run as a file for other programs; check such a file"),
    "submit": ("external:submit_main", "add another program's predictions for a split as a row of a study"),
    "artifacts": ("artifacts:main", "list the stored stages with size, age and users; remove the unused"),
    "metrics": ("metrics:main", "how good and how new generated images are: FID, KID, precision, copies, ..."),
    "predict": ("finished:predict", "classify new images with a finished run, to CSV"),
    "sample": ("finished:sample", "draw labelled images from a finished run's generator"),
    "export": ("finished:export", "write a finished run's networks as safetensors and ONNX"),
}


#: The flag and the environment variable that turn on tracebacks.
TRACEBACK_FLAG, TRACEBACK_VARIABLE = "--traceback", "TRIGAN_TRACEBACK"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 a failed job or check, 2 to 5 an error, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    if TRACEBACK_FLAG in words:
        words.remove(TRACEBACK_FLAG)
        os.environ[TRACEBACK_VARIABLE] = "1"
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")  # a Latin-1 terminal has no dagger
    try:
        try:
            with _messages_on_stderr():
                return _dispatch(words)
        except TriganError as error:
            _show_traceback()
            _print_error(str(error))
            return error.exit_code
        except BrokenPipeError:
            raise
        except (MemoryError, RuntimeError, OSError, ValueError) as error:
            if not (text := _of_the_machine(error)):
                raise
            _show_traceback()
            _print_error(text)
            return 3
        except KeyboardInterrupt:
            print("trigan: interrupted; the same command continues from what was finished", file=sys.stderr)
            return 130
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader of the pipe has ended (`| head`): drop the rest
        return 141


def _of_the_machine(error: Exception) -> str:
    """One line for missing memory, paths that cannot be opened and ranks that ended; empty for any other error."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "allocate memory" in text or "OutOfMemory" in repr(error):
        shared = ", or runtime.jobs_per_device where jobs share the GPU" if "CUDA" in text else ""
        return f"out of memory ({text[:120]}); lower batch, width or data.image_size{shared}"
    if "gloo" in text and ("closed by peer" in text or "reset by peer" in text or "Broken pipe" in text):
        return "another process of this run has ended, and with it this one; its own message says why"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{str(error.filename)[:120]}: {error.strerror}; name another file or folder"
    return f"{text}: a path has a character that no file name can have" if "null byte" in text else ""


def _show_traceback() -> None:
    if os.environ.get(TRACEBACK_VARIABLE, "0") not in ("", "0"):
        traceback.print_exc()


def _print_error(text: str) -> None:
    print(f"trigan: {printable(' '.join(text.split()))}", file=sys.stderr)


class _StderrHandler(logging.Handler):
    """Writes each message as a line to the current standard error, which a progress bar replaces while it is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        print(printable(self.format(record), "\n\t"), file=sys.stderr, flush=True)


@contextmanager
def _messages_on_stderr() -> Iterator[None]:
    """Show the messages of trigan's loggers; of ranks other than 0, warnings and errors only."""
    trigan = logging.getLogger("trigan")
    handler = _StderrHandler()
    before = trigan.level
    trigan.setLevel(logging.WARNING if int(os.environ.get("RANK") or 0) > 0 else logging.INFO)
    trigan.addHandler(handler)
    try:
        yield
    finally:
        trigan.removeHandler(handler)
        trigan.setLevel(before)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        width = max(map(len, COMMANDS))
        lines = [f"  {name:{width}}  {text}" for name, (_, text) in COMMANDS.items()]
        print(help_text("trigan").format(commands="\n".join(lines)), flush=True)
        return 0 if words else 2
    name, rest = words[0], words[1:]
    if name == "--version":
        print(f"trigan {__version__}")
        return 0
    if name in ("-sc", "--shell-completion"):
        return int(resolve_name("trigan.commands.completion:main")(rest))
    if name not in COMMANDS:
        mend = f"settings follow a command: trigan run {name}" if "=" in name else f"commands: {', '.join(COMMANDS)}"
        raise TriganError(f"{name}: no such command{nearest_hint(name, COMMANDS)}; {mend}")
    resolve_name("trigan.execution.late_imports:install")()
    return int(resolve_name(f"trigan.commands.{COMMANDS[name][0]}")(rest))
