import threading
import time

import pytest

from datasets import DataError
from datasets.parallel import parallel_map


def test_map_is_concurrent_ordered_and_bounded():
    requested, barrier = [], threading.Barrier(3, timeout=10)

    def items():
        for item in range(50):
            requested.append(item)
            yield item

    def work(item):
        if item < 3:
            barrier.wait()  # fails unless three threads run concurrently
        time.sleep(0.002 * (item % 3))
        return item * item

    results = parallel_map(work, items(), 3)
    assert next(results) == 0
    assert len(requested) == 2 * 3 + 1
    assert list(results) == [n * n for n in range(1, 50)]


def test_exception_is_raised_and_pending_items_are_cancelled():
    started, over = [], threading.Event()

    def work(item):
        started.append(item)
        if item == 0:
            raise ValueError("zero")
        over.wait(1)  # running calls finish, pending ones are cancelled

    with pytest.raises(ValueError, match="zero"):
        list(parallel_map(work, range(1000), 2))
    # There are two threads; one may have started another item in time.
    assert 0 in started and set(started) <= {0, 1, 2}


@pytest.mark.parametrize("workers", [0, -3])
def test_number_of_threads_must_be_positive(workers):
    with pytest.raises(DataError, match=f"--workers={workers} must be at least 1"):
        list(parallel_map(abs, [1], workers))
