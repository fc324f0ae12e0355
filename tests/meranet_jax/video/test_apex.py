"""Search for the apex: the frame in which a part of the face has moved most."""

import numpy as np
import pytest

from meranet_jax.video import apex
from tests.datasets.motion import moving_clip


@pytest.mark.parametrize(("frames", "peak"), [(40, 12), (40, 28), (9, 4)])
@pytest.mark.parametrize("drift", [0.0, 3.0])
def test_apex_is_found_although_the_head_moves(frames, peak, drift):
    clip = moving_clip(frames, peak, drift=drift)
    assert abs(apex.spot(iter(clip)) - peak) <= 2


def test_clip_without_motion_has_its_apex_at_the_onset():
    frame = moving_clip(1, 0)[0]
    assert apex.spot([frame] * 12) == apex.spot([frame]) == 0
    assert apex.spot([np.zeros((32, 32, 3), np.uint8)] * 3) == 0


def test_no_frame_is_refused():
    with pytest.raises(ValueError, match="no frame"):
        apex.spot([])
