"""``trigan study NAME --jobs-file FILE``: the jobs that are to do as lines for ``sbatch --array`` or any queue."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from trigan.atomic import write_bytes
from trigan.execution.shell import shell_line
from trigan.records import failure
from trigan.studies.jobs import StudyJob, StudyJobs


def write_job_list(jobs: StudyJobs, extra: Sequence[str], file: Path, retry: bool) -> None:
    """Write one command a line, each good for any machine that shares this folder, and say how to run them.

    A line is idempotent and goes on from where an earlier attempt ended: a queue may run it as often as it likes.

    Args:
        extra: what goes before every job's settings.
        retry: list what failed before, too.
    """
    missing = list({cell.hash: cell for cell in jobs.runnable if not cell.done}.values())
    failed = [cell for cell in missing if failure.read(cell.record_path.parent)]
    listed = missing if retry else [cell for cell in missing if cell not in failed]
    write_bytes(file, "".join(f"{_line(cell, extra)}\n" for cell in listed).encode())
    print(f"{len(listed)} of {len(jobs)} jobs written to {file}, one a line", file=sys.stderr)
    if len(listed) < len(missing):
        left_out = len(missing) - len(listed)
        print(f"left out, having failed before: {left_out} (--retry lists them, too)", file=sys.stderr)
    if jobs.waiting:
        print(
            f"not in it: {len(jobs.waiting)} jobs that are given the compute of others; once those are done, the same "
            "command lists them",
            file=sys.stderr,
        )
    if listed:
        print(_how_to(file, len(listed)))


def _line(cell: StudyJob, extra: Sequence[str]) -> str:
    return shell_line([*_command(), "run", *extra, *cell.arguments])


def _command() -> list[str]:
    """How this trigan is called from anywhere, without an activated environment."""
    script = Path(sys.executable).with_name("trigan")
    return [str(script)] if script.exists() else [sys.executable, "-m", "trigan"]


def _how_to(file: Path, count: int) -> str:
    """Ready lines; each job is read from the list by its number."""
    name = shlex.quote(str(file))
    pick = f'eval "exec $(sed -n "${{SLURM_ARRAY_TASK_ID}}p" {name})"'
    return (
        "from this folder:\n"
        f"  sbatch --array=1-{count} --requeue --cpus-per-task=1 --wrap={shlex.quote(pick)}   # Slurm\n"
        f"  xargs -d '\\n' -n 1 -P 2 sh -c < {name}   # two at a time, here"
    )
