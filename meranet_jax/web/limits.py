"""Limits of what one recording may cost the machine."""

import dataclasses
import os

# Bytes of memory that the process of a recording may take at most
_MOST_MEMORY = 12_000_000_000


def _memory() -> int:
    """Returns three quarters of the memory of this machine, or fewer bytes."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # of Windows
        return _MOST_MEMORY
    return min(_MOST_MEMORY, memory * 3 // 4)


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits of uploads, and of the process that analyses a recording.

    Attributes:
      upload: size of a recording in bytes.
      recordings: number of recordings that are kept at a time.
      seconds: of the analysis of one recording, as a clock shows them.
      memory: of that process in bytes, where the system supports such a limit.
      export: seconds in which the files of a recording must be written.
      free: bytes of the disk that uploads leave free.
    """

    upload: int = 4_000_000_000
    recordings: int = 200
    seconds: float = 4 * 3600.0
    memory: int = dataclasses.field(default_factory=_memory)
    export: float = 300.0
    free: int = 1 << 30
