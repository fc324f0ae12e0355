"""Memory of the C library's allocator."""

import ctypes
import platform


def give_back() -> None:
    """Returns free memory to the system, with glibc.

    Free memory in many small pieces is of no use to the next large array, which is
    added to the process's memory.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
