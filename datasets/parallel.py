"""A parallel map over threads that preserves order."""

import collections
import concurrent.futures
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from meranet_jax import cores
from meranet_jax.errors import DataError

_In, _Out = TypeVar("_In"), TypeVar("_Out")


def parallel_map(
    function: Callable[[_In], _Out], items: Iterable[_In], workers: int | None
) -> Iterator[_Out]:
    """Applies a function to items in several threads and yields the results in order.

    At most two items per thread are read ahead, which bounds memory. Threads are used
    instead of processes since decoders release the interpreter lock, and nothing has to
    be copied between processes or imported in each.

    Args:
      function: applied to each item; an exception that it raises is raised here.
      items: read lazily.
      workers: number of threads; None uses one per core.

    Raises:
      DataError: if ``workers`` is less than 1.
    """
    check_workers(workers)
    workers = workers or cores.count()
    pending: collections.deque = collections.deque()
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:  # also if the caller is interrupted
        pool.shutdown(wait=True, cancel_futures=True)


def check_workers(workers: int | None) -> None:
    """Raises DataError if the number of threads is less than 1."""
    if workers is not None and workers < 1:
        raise DataError(f"--workers={workers} must be at least 1.")
