"""``trigan artifacts``: what the store of stages holds, and room made in it."""

import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from trigan.artifacts.store import InUseError, Store, StoreEntry
from trigan.commands.arguments import Parser
from trigan.errors import ConfigError


def main(arguments: list[str]) -> int:
    """List the stored stages, or remove those that no finished run needs."""
    parser = Parser(prog="trigan artifacts", description="The trained stages and sample sets that runs share.")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="the folder of runs and artifacts")
    parser.add_argument(
        "--remove-unused", action="store_true", help="remove the stages that no run in outputs/runs needs"
    )
    parser.add_argument(
        "--remove", nargs="+", metavar="HASH", default=[], help="remove these (the first characters do)"
    )
    options = parser.parse_args(arguments)
    store = Store(options.outputs / "artifacts")
    entries = store.entries()
    runs = {path.parent.name for path in (options.outputs / "runs").glob("*/config.yaml")}
    if options.remove_unused or options.remove:
        named = {entry.digest: entry for entry in (_named(prefix, entries) for prefix in options.remove)}
        unused = {entry.digest: entry for entry in store.unused(runs)} if options.remove_unused else {}
        kept = _remove(store, list({**named, **unused}.values()))
        return InUseError.exit_code if kept & named.keys() else 0
    if not entries:
        print(f"no artifacts under {options.outputs / 'artifacts'}")
        return 0
    Console(soft_wrap=True).print(_table(entries, runs, time.time()))
    print(f"{len(entries)} artifacts, {size(sum(entry.bytes for entry in entries))}")
    return 0


def _table(entries: list[StoreEntry], runs: set[str], now: float) -> Table:
    table = Table("hash", "kind", "size", "age", "users", box=None, pad_edge=False)
    for entry in entries:
        users = [user for user in entry.users if user in runs]
        kind = entry.kind if entry.state == "ready" else f"{entry.kind} ({entry.state})".strip()
        table.add_row(
            entry.digest[:12], kind, size(entry.bytes), age(now - entry.created), " ".join(u[:8] for u in users) or "-"
        )
    return table


def _named(prefix: str, entries: list[StoreEntry]) -> StoreEntry:
    found = [entry for entry in entries if entry.digest.startswith(prefix)]
    if len(found) != 1:
        what = "no artifact" if not found else f"{len(found)} artifacts"
        raise ConfigError(f"{prefix}: {what} with this hash; `trigan artifacts` lists them")
    return found[0]


def _remove(store: Store, entries: list[StoreEntry]) -> set[str]:
    """Remove what no process holds, say so, and give the hashes of what was kept."""
    kept = set()
    for entry in entries:
        try:
            store.remove(entry.digest)
        except InUseError:
            kept.add(entry.digest)
    gone = [entry for entry in entries if entry.digest not in kept]
    held = f"; kept {len(kept)} in use by another process" if kept else ""
    print(f"removed {len(gone)} artifacts, {size(sum(entry.bytes for entry in gone))}{held}")
    return kept


def size(count: int) -> str:
    """Bytes in words: ``1.5 MB``."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def age(seconds: float) -> str:
    """A duration in its largest unit: ``3 h``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
