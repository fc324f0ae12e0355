import numpy as np
import pytest

from meranet_jax.inputs import rgb


def test_normalise_by_clip_and_channel():
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 256, (2, 4, 6, 6, 3)).astype(np.uint8)
    clips[1, ..., 2] = 77  # a channel without variation
    normal = np.asarray(rgb.normalise(clips))
    assert normal.mean((1, 2, 3)) == pytest.approx(np.zeros((2, 3)), abs=1e-5)
    expected = np.ones((2, 3))
    expected[1, 2] = 0
    assert normal.std((1, 2, 3)) == pytest.approx(expected, abs=1e-5)
