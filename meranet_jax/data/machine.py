"""Memory of this machine."""

import contextlib
import os
from pathlib import Path

# File in which Linux gives the memory limit of a container.
_CONTAINER = Path("/sys/fs/cgroup/memory.max")


def memory_bytes() -> float:
    """Returns the memory of this machine, or of this container, in bytes."""
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # "max": no limit
        return min(pages, int(_CONTAINER.read_text()))
    return pages
