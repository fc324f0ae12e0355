import threading
import time

import pytest

from datasets.parallel import in_parallel


def test_threads_work_side_by_side_in_order_and_not_far_ahead():
    started, waited = [], threading.Barrier(3, timeout=10)

    def work(item):
        started.append(item)
        if item < 3:
            waited.wait()  # fails unless three run at once
        time.sleep(0.002 * (item % 3))
        return item * item

    results = in_parallel(work, range(50), 3)
    assert next(results) == 0
    assert len(started) <= 3 * 3 + 1
    assert list(results) == [n * n for n in range(1, 50)]


def test_what_a_thread_raises_reaches_the_caller_and_ends_the_rest():
    done = []

    def work(item):
        if item == 2:
            raise ValueError("two")
        done.append(item)

    with pytest.raises(ValueError, match="two"):
        list(in_parallel(work, range(1000), 2))
    assert len(done) < 20
