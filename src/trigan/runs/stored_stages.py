"""The stages stored under an outputs folder, and which of them its runs need."""

from collections.abc import Sequence
from pathlib import Path

from trigan.artifacts.store import InUseError, Store, StoreEntry
from trigan.errors import ConfigError


def run_hashes(outputs: Path) -> set[str]:
    """The hashes of the runs of an outputs folder, finished or not."""
    return {path.parent.name for path in (outputs / "runs").glob("*/config.yaml")}


def remove_stages(
    outputs: Path, hashes: Sequence[str] = (), unused: bool = False
) -> tuple[list[StoreEntry], list[StoreEntry]]:
    """Remove the stages with these first characters of their hashes and, with ``unused``, those that no run needs.

    Returns:
        The stages that were removed, and those that were kept because another process uses them.
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
        try:
            store.remove(entry.digest)
            removed.append(entry)
        except InUseError:
            in_use.append(entry)
    return removed, in_use
