"""The stages stored under an outputs folder, and which of them its runs need."""

from collections.abc import Sequence
from pathlib import Path

from trigan.artifacts.store import InUseError, Store, StoreEntry
from trigan.atomic import is_locked
from trigan.errors import ConfigError


def run_hashes(outputs: Path) -> set[str]:
    """The hashes of the runs of an outputs folder, finished or not."""
    return {path.parent.name for path in (outputs / "runs").glob("*/config.yaml")}


def _is_running(outputs: Path, run: str) -> bool:
    """Whether a process computes the run of a hash, as an ordinary run or as one on validation labels alone."""
    return any(is_locked(folder / ".locks" / f"{run}.lock") for folder in (outputs / "runs", outputs / "search/runs"))


def remove_stages(
    outputs: Path, hashes: Sequence[str] = (), unused: bool = False
) -> tuple[list[StoreEntry], list[StoreEntry]]:
    """Remove the stages with these first characters of their hashes and, with ``unused``, those that no run needs.

    Returns:
        The stages that were removed, and those that were kept because another process, or a running run, uses them.
    """
    store = Store(outputs / "artifacts")
    entries, chosen = store.entries(), {}
    for prefix in hashes:
        matches = [entry for entry in entries if entry.digest.startswith(prefix)]
        if len(matches) != 1:
            count = f"{len(matches)} artifacts" if matches else "no artifact"
            raise ConfigError(f"{prefix}: {count} with this hash; `trigan artifacts` lists them")
        chosen[matches[0].digest] = matches[0]
    if unused:
        runs = run_hashes(outputs)
        chosen |= {entry.digest: entry for entry in entries if not runs & set(entry.users)}
    removed, in_use = [], []
    for entry in chosen.values():
        if any(_is_running(outputs, run) for run in entry.users):  # it reads the stage's curves and pictures at its end
            in_use.append(entry)
            continue
        try:
            store.remove(entry.digest)
            removed.append(entry)
        except InUseError:
            in_use.append(entry)
    return removed, in_use
