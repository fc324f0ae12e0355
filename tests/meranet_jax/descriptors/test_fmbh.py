"""FMBH against a slow second implementation, and by hand."""

import math

import numpy as np
import pytest

from meranet_jax.descriptors import fmbh, specifications
from meranet_jax.descriptors.fmbh import FmbhSettings
from meranet_jax.errors import UserError
from tests.meranet_jax.descriptors.flows import (
    MIRRORED,
    block_of,
    mirror,
    random_flow,
    slow_bin,
    slow_gradient,
)

SMALL = FmbhSettings(flow_blocks=(2, 3))
SEPARATE = FmbhSettings(flow_blocks=(2, 3), fmbh_separate=True)


def slow(flow, blocks):
    """Histograms of u and of v from the definition, [2, rows, columns, 8]."""
    frames, *shape = flow.shape[:3]
    histograms = np.zeros((2, *blocks, 8))
    for t, y, x, component in np.ndindex(flow.shape):
        right, down = slow_gradient(flow[t, ..., component], y, x)
        block = block_of(y, x, shape, blocks)
        length = math.sqrt(right**2 + down**2)
        histograms[(component, *block, slow_bin(right, down))] += length / frames
    return histograms


def unit(values):
    return values.ravel() / np.linalg.norm(values)


def test_there_are_200_features_and_400_of_mbh():
    flow = random_flow(2, 56, 56)
    for settings, length in (
        (FmbhSettings(), 200),  # 5 x 5 blocks x 8 bins
        (FmbhSettings(fmbh_separate=True), 400),  # twice
    ):
        assert settings.num_features == length
        assert fmbh.features(flow, settings).shape == (length,)


def test_equals_a_slow_implementation():
    flow = random_flow(3, 13, 17)
    expected = slow(flow, (2, 3))
    np.testing.assert_allclose(fmbh.features(flow, SMALL), unit(expected.sum(0)))
    np.testing.assert_allclose(fmbh.features(flow, SEPARATE), unit(expected))


def test_a_constant_flow_has_no_motion_boundary():
    constant = np.zeros((4, 12, 15, 2)) + (0.7, -1.3)
    assert not fmbh.features(constant, SMALL).any()
    flow = random_flow(4, 12, 15)
    np.testing.assert_allclose(
        fmbh.features(flow + constant, SMALL), fmbh.features(flow, SMALL), atol=1e-12
    )


def test_an_example_by_hand():
    """u grows to the right by 3 a pixel, v upwards by 4: a stretched surface."""
    y, x = np.mgrid[:4, :4]
    flow = np.stack([3.0 * x, -4.0 * y], -1)[None]
    settings = FmbhSettings(flow_blocks=(1, 1), fmbh_separate=True)
    found = fmbh.features(flow, settings).reshape(2, 8)
    expected = np.zeros((2, 8))
    # The gradient of u is (3, 0) at 16 pixels, at 0 degrees: bin 4. That of v is
    # (0, -4), at -90 degrees: bin 2.
    expected[0, 4], expected[1, 2] = 48, 64
    np.testing.assert_allclose(found, expected / 80)  # 48^2 + 64^2 = 80^2
    fused = fmbh.features(flow, FmbhSettings(flow_blocks=(1, 1)))
    np.testing.assert_allclose(fused, expected.sum(0) / 80)


def test_time_is_averaged():
    flow = random_flow(1, 12, 15)
    still = np.zeros_like(flow)
    other = random_flow(1, 12, 15, seed=1)
    several = np.concatenate([still, other, flow, flow])
    expected = (slow(other, (2, 3)) + 2 * slow(flow, (2, 3))).sum(0)
    np.testing.assert_allclose(fmbh.features(several, SMALL), unit(expected))


def test_a_mirrored_clip_has_mirrored_features():
    flow = random_flow(3, 12, 15)
    plain = fmbh.features(flow, SEPARATE).reshape(2, 2, 3, 8)
    mirrored = fmbh.features(mirror(flow), SEPARATE).reshape(2, 2, 3, 8)
    # u changes its sign and its place: its gradient is mirrored top to bottom.
    np.testing.assert_allclose(mirrored[0], plain[0, :, ::-1, ::-1])
    np.testing.assert_allclose(mirrored[1], plain[1][:, ::-1, MIRRORED])


def test_features_of_all_clips_are_those_of_each():
    clips = random_flow(4, 2, 12, 15).astype(np.float32)
    found = specifications.FMBH.features(list(clips), SEPARATE, 2)
    assert found.shape == (4, 96) and found.dtype == np.float32
    expected = [fmbh.features(clip, SEPARATE) for clip in clips]
    np.testing.assert_array_equal(found, np.float32(expected))


def test_refusals():
    with pytest.raises(UserError, match="FMBH: a clip has 4 x 4 pixels.*--size"):
        fmbh.check_size(FmbhSettings(), (16, 4, 4, 2))
    with pytest.raises(UserError, match="--flow_blocks 0 1"):
        FmbhSettings(flow_blocks=(0, 1))
