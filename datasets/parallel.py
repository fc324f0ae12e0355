"""Work on all cores, in order."""

import collections
import concurrent.futures
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from meranet_jax.errors import DataError

_In, _Out = TypeVar("_In"), TypeVar("_Out")


def in_parallel(
    function: Callable[[_In], _Out], items: Iterable[_In], workers: int | None
) -> Iterator[_Out]:
    """``map`` by several threads, in order, with no more under way than need be.

    Threads and not processes: decoders let go of the interpreter while they work, and
    nothing has to be copied between processes or imported in each.
    """
    check_workers(workers)
    workers = workers or _cores()
    waiting: collections.deque = collections.deque()
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also when the one who asked is interrupted
        pool.shutdown(wait=True, cancel_futures=True)


def check_workers(workers: int | None) -> None:
    """Raises DataError for a number of threads with which nothing can be done."""
    if workers is not None and workers < 1:
        raise DataError(f"--workers={workers} must be at least 1.")


def _cores() -> int:
    """Those that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
