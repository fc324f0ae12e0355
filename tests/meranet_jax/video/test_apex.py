"""Search for the apex: the frame in which a part of the face has moved most."""

import numpy as np
import pytest

from meranet_jax.video import apex
from tests.datasets.motion import moving_clip


@pytest.mark.parametrize("drift", [0.0, 3.0])
@pytest.mark.parametrize("frames", [*range(9, 15), 40])
def test_apex_is_found_although_the_head_moves(frames, drift):
    # Every peak of short clips, and those of a long one that are near its ends
    peaks = range(1, frames - 1) if frames < 40 else (1, 2, 12, 28, 36, 37, 38)
    for peak in peaks:
        found = apex.spot(iter(moving_clip(frames, peak, drift=drift)))
        assert 0 < found < frames - 1 and abs(found - peak) <= 2


def test_clips_that_do_not_show_the_apex_have_none():
    for frames in range(1, 9):
        assert apex.spot(moving_clip(frames, frames // 2)) is None
    assert apex.spot([moving_clip(1, 0)[0]] * 12) is None
    assert apex.spot([np.zeros((32, 32, 3), np.uint8)] * 9) is None


def test_no_frame_is_refused():
    with pytest.raises(ValueError, match="no frame"):
        apex.spot([])
