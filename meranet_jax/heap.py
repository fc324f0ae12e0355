"""Memory of the C library's allocator."""

import ctypes
import platform


def give_back() -> None:
    """Returns free memory to the system, with glibc.

    A large array cannot use free memory in many small pieces, so that the process would
    grow by the array's size.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
