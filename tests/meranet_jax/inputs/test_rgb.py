import numpy as np
import pytest

from meranet_jax.inputs import augmentation, rgb


def test_normalise_by_clip_and_channel():
    rng = np.random.default_rng(0)
    clips = rng.integers(0, 256, (2, 4, 6, 6, 3)).astype(np.uint8)
    clips[1, ..., 2] = 77  # a channel without variation
    normal = np.asarray(rgb.normalise(clips))
    assert normal.mean((1, 2, 3)) == pytest.approx(np.zeros((2, 3)), abs=1e-5)
    expected = np.ones((2, 3))
    expected[1, 2] = 0
    assert normal.std((1, 2, 3)) == pytest.approx(expected, abs=1e-5)


def test_flip_mirrors_all_frames_of_a_clip():
    clips = np.random.default_rng(0).normal(size=(2, 4, 5, 6, 3))
    flipped = np.asarray(augmentation.flip(clips, np.array([True, False])))
    np.testing.assert_array_equal(flipped[0], clips[0, :, :, ::-1].astype("float32"))
    np.testing.assert_array_equal(flipped[1], clips[1].astype("float32"))
