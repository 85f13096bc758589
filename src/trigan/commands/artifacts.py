"""``trigan artifacts``: the stored stages, listed or removed."""

import time
from pathlib import Path

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from trigan.artifacts.store import InUseError, Store, StoreEntry
from trigan.commands.arguments import Parser
from trigan.runs.stored_stages import remove_stages, run_hashes


def main(arguments: list[str]) -> int:
    """List the stored stages, or remove some; 3 if a stage named for removal is in use."""
    parser = Parser(prog="trigan artifacts", description="The trained stages and sample sets that runs share.")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="the folder of runs and artifacts")
    unused_help = "remove the stages that no run in outputs/runs needs"
    parser.add_argument("--remove-unused", action="store_true", help=unused_help)
    hashes_help = "remove these stages (the first characters are enough)"
    parser.add_argument("--remove", nargs="+", metavar="HASH", default=[], help=hashes_help)
    options = parser.parse_args(arguments)
    if options.remove_unused or options.remove:
        removed, in_use = remove_stages(options.outputs, options.remove, options.remove_unused)
        kept = f"; kept {len(in_use)} in use by another process" if in_use else ""
        print(f"removed {len(removed)} artifacts, {_size(removed)}{kept}")
        refused = any(entry.digest.startswith(tuple(options.remove)) for entry in in_use)
        return InUseError.exit_code if refused else 0
    entries = Store(options.outputs / "artifacts").entries()
    if not entries:
        print(f"no artifacts under {options.outputs / 'artifacts'}")
        return 0
    Console(soft_wrap=True).print(_table(entries, run_hashes(options.outputs)))
    print(f"{len(entries)} artifacts, {_size(entries)}")
    return 0


def _table(entries: list[StoreEntry], runs: set[str]) -> Table:
    table = Table("hash", "kind", "size", "age", "users", box=None, pad_edge=False)
    for entry in entries:
        kind = entry.kind if entry.state == "ready" else f"{entry.kind} ({entry.state})".strip()
        users = " ".join(user[:8] for user in entry.users if user in runs) or "-"
        table.add_row(entry.digest[:12], kind, _size([entry]), _age(time.time() - entry.created), users)
    return table


def _size(entries: list[StoreEntry]) -> str:
    return decimal(sum(entry.bytes for entry in entries))


def _age(seconds: float) -> str:
    """A duration in its largest unit: ``3 h``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
