"""The size of the machine's memory, which the files and networks that a process may load depend on."""

from __future__ import annotations

import os


def machine_memory_bytes() -> int | None:
    """Return the size of the machine's memory, whether in use or not; None if the system does not report it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None
