"""How much memory and how many cores this machine has."""

import contextlib
import os
from pathlib import Path

# Where Linux says how much memory a container may have.
_CONTAINER = Path("/sys/fs/cgroup/memory.max")


def memory_bytes() -> float:
    """Bytes of memory that this machine, or the container we are in, has."""
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # "max" is no number
        return min(pages, int(_CONTAINER.read_text()))
    return pages


def cores() -> int:
    """Counts the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
