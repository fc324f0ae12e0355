"""Cores that this process may use."""

import math
import os
from pathlib import Path

# Microseconds of processor time in a period, and the period: in one file with version 2
# of Linux's control groups, in two with version 1
_CGROUP = Path("/sys/fs/cgroup")
_FILES = (
    ("cpu.max",),
    ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"),
)


def count() -> int:
    """Counts the cores that this process may use.

    These are the cores of its affinity mask (``taskset``, Slurm), and no more than the
    processor time of its container (``docker run --cpus``), rounded up. A limit of a
    group of processes outside of a container (systemd's ``CPUQuota``) is not seen.
    """
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return min(cores, _quota() or cores)


def _quota() -> int | None:
    """Returns the number of cores that the container may use; None if unlimited."""
    for names in _FILES:
        try:
            texts = [(_CGROUP / name).read_text() for name in names]
            quota, period = map(int, " ".join(texts).split())
        except (OSError, ValueError):  # no such file, or "max"
            continue
        if quota > 0 and period > 0:  # -1 with version 1: unlimited
            return math.ceil(quota / period)
    return None
