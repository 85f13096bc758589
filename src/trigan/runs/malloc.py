"""Settings of the C library's memory allocator."""

import ctypes
import platform

#: Parameters of mallopt(3), and how many freed bytes stay with the process.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _KEPT_BYTES = -1, -3, 2**30


def keep_freed_memory() -> bool:
    """Keep freed memory in the process for the next training step; whether the C library, glibc alone, accepts it.

    By default glibc returns the activations of a step to the system and requests them again in the next step: at
    32x32 pixels that is thousands of page faults, a twentieth of a step's time on a CPU. Peak memory does not change.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES) and library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES))
