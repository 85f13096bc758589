"""Memory that is free for this process: of a GPU, or of the machine and its container."""

from pathlib import Path

import torch

#: Where Linux tells of memory: of the machine in kB, and of the container (cgroup, version 2) in bytes.
_MACHINE, _CONTAINER = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def free_bytes(device: torch.device) -> int | None:
    """Bytes that this process can still take on ``device``; None where the system does not tell (no Linux)."""
    if device.type == "cuda":
        (free, total), taken = torch.cuda.mem_get_info(device), torch.cuda.memory_allocated(device)
        share = torch.cuda.get_per_process_memory_fraction(device)  # of a job beside others
        return int(min(free + torch.cuda.memory_reserved(device) - taken, share * total - taken))
    try:
        machine = dict(line.split(":", 1) for line in _MACHINE.read_text().splitlines())
        free = 1024 * int(machine["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return None
    limit = _free_in_container()
    return free if limit is None else min(free, limit)


def _free_in_container() -> int | None:
    """The container's limit without what it uses, where pages of files that can be dropped are no use."""
    try:
        limit, used = (int((_CONTAINER / f"memory.{name}").read_text()) for name in ("max", "current"))
        fields = dict(line.split() for line in (_CONTAINER / "memory.stat").read_text().splitlines())
        return limit - used + int(fields["inactive_file"])
    except (OSError, KeyError, ValueError):  # no cgroup, or no limit ("max")
        return None


def in_words(size: float) -> str:
    """Bytes as ``1.5 GB`` or ``20 MB``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
