"""The memory of trainings on CPUs: keep what a step frees for the next one.

glibc returns large freed blocks to the kernel, which then clears each page again when the next step needs it. A step of
a network with large feature maps spends up to a third of its CPU time on that. Results do not depend on it.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Of malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_NEVER = -1
# Where glibc's own adjustment, which a call of mallopt ends, arrives in a process that uses large blocks.
_DEFAULT_MMAP_MAX = 65536
_LARGEST_MMAP_THRESHOLD = 32 << 20
_VARIABLES = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let this process keep the memory that it frees while the block runs; after it, the kernel receives what is free.

    Only for glibc, the C library of most Linux systems; elsewhere, and where environment variables such as
    `MALLOC_MMAP_MAX_` set up glibc's allocator, nothing changes.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        libc.mallopt(_M_MMAP_MAX, _DEFAULT_MMAP_MAX)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        libc.mallopt(_M_TRIM_THRESHOLD, 2 * _LARGEST_MMAP_THRESHOLD)
        libc.malloc_trim(0)


def _glibc() -> Any:
    """Return the C library if it is glibc with the allocator's default settings, else None."""
    if sys.platform != "linux" or any(name in os.environ for name in _VARIABLES):
        return None
    if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return None
    libc = ctypes.CDLL(None)
    return libc if all(hasattr(libc, name) for name in ("gnu_get_libc_version", "mallopt", "malloc_trim")) else None
