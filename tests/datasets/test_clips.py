import numpy as np
import pytest

from datasets.clips import window_numbers


def numbers(apex, first, last, window=32, frames=16):
    return window_numbers(apex, first, last, window=window, frames=frames).tolist()


def test_every_second_frame_around_the_apex():
    found = numbers(100, 1, 200)
    assert found == list(range(84, 116, 2))
    assert 100 in found


def test_every_frame_where_the_window_is_no_longer():
    assert numbers(50, 1, 99, window=16) == list(range(42, 58))


def test_edges_are_repeated():
    assert numbers(50, 46, 57) == [46] * 7 + [48, 50, 52, 54, 56] + [57] * 4
    assert numbers(7, 7, 7) == [7] * 16


@pytest.mark.parametrize(("window", "frames"), [(32, 10), (24, 16), (17, 17)])
def test_other_windows_are_spread_evenly(window, frames):
    found = np.diff(numbers(500, 1, 999, window, frames))
    assert found.max() - found.min() <= 1
    assert abs(found.sum() - window * (frames - 1) / frames) < 1


def test_what_is_no_window():
    with pytest.raises(ValueError, match="empty recording"):
        numbers(5, 6, 5)
    with pytest.raises(ValueError, match="17 frames.*window of 16"):
        numbers(5, 1, 9, window=16, frames=17)
