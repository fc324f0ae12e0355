"""Memory of the allocator."""

import platform
import subprocess
import sys

import pytest

# Frees pieces between others that are kept, so that the allocator keeps them.
_PROGRAM = """
import re
from pathlib import Path

import numpy as np

from meranet_jax import heap


def resident():
    text = Path("/proc/self/status").read_text()
    return int(re.search(r"VmRSS:\\s+(\\d+) kB", text)[1]) / 1e3


pieces = [np.ones(100_000, np.uint8) for _ in range(2000)]
kept = pieces[::20]
del pieces
before = resident()
heap.give_back()
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_free_memory_between_pieces_that_are_kept_is_given_back():
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) > 100  # MB, of 190
