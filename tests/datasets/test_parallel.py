import threading
import time

import pytest

from datasets import DataError
from datasets.parallel import in_parallel


def test_threads_work_side_by_side_in_order_and_not_far_ahead():
    asked_for, waited = [], threading.Barrier(3, timeout=10)

    def items():
        for item in range(50):
            asked_for.append(item)
            yield item

    def work(item):
        if item < 3:
            waited.wait()  # fails unless three run at once
        time.sleep(0.002 * (item % 3))
        return item * item

    results = in_parallel(work, items(), 3)
    assert next(results) == 0
    assert len(asked_for) == 2 * 3 + 1
    assert list(results) == [n * n for n in range(1, 50)]


def test_what_a_thread_raises_reaches_the_caller_and_ends_the_rest():
    started, over = [], threading.Event()

    def work(item):
        started.append(item)
        if item == 0:
            raise ValueError("zero")
        over.wait(1)  # those under way are waited for, those that wait are not begun

    with pytest.raises(ValueError, match="zero"):
        list(in_parallel(work, range(1000), 2))
    # Two threads; the one that was let go may have taken another in time.
    assert 0 in started and set(started) <= {0, 1, 2}


@pytest.mark.parametrize("workers", [0, -3])
def test_no_threads_are_no_way_to_work(workers):
    with pytest.raises(DataError, match=f"--workers={workers} must be at least 1"):
        list(in_parallel(abs, [1], workers))
