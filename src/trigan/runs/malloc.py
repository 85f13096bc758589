"""The process's heap, kept between steps."""

import ctypes
import platform

#: The C library's names for two settings of its allocator (mallopt(3)), and how many free bytes stay with the process.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _KEPT = -1, -3, 2**30


def keep_freed_memory() -> bool:
    """Keep freed memory for the next step; says whether this C library can (glibc).

    Left alone, glibc gives the activations of a step back to the system and asks for them again in the next: at 32x32
    that is thousands of page faults, a twentieth of a step on a CPU. The process's peak stays the same.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(_M_MMAP_THRESHOLD, _KEPT) and library.mallopt(_M_TRIM_THRESHOLD, _KEPT))
