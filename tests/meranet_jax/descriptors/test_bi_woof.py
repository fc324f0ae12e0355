"""Bi-WOOF against a slow second implementation, and by hand."""

import math

import numpy as np
import pytest

from meranet_jax.descriptors import bi_woof, specifications
from meranet_jax.descriptors.bi_woof import BiWoofSettings
from meranet_jax.errors import UserError
from tests.meranet_jax.descriptors.flows import (
    MIRRORED,
    block_of,
    mirror,
    random_flow,
    slow_bin,
    slow_gradient,
)

SMALL = BiWoofSettings(flow_blocks=(2, 3))


def slow(flow, blocks):
    """The features from the definition, one pixel at a time."""
    shape = flow.shape[:2]
    histograms = np.zeros((*blocks, 8))
    strains = np.zeros(blocks)
    for y, x in np.ndindex(shape):
        u, v = flow[y, x]
        block = block_of(y, x, shape, blocks)
        histograms[(*block, slow_bin(u, v))] += math.sqrt(u * u + v * v)
        u_x, u_y = slow_gradient(flow[..., 0], y, x)
        v_x, v_y = slow_gradient(flow[..., 1], y, x)
        strains[block] += math.sqrt(u_x**2 + v_y**2 + (u_y + v_x) ** 2 / 2)
    for block in np.ndindex(blocks):
        histograms[block] *= strains[block] / histograms[block].sum()
    return histograms.ravel() / math.sqrt((histograms**2).sum())


def test_there_are_200_features():
    settings = BiWoofSettings()
    assert settings.num_features == 200  # 5 x 5 blocks x 8 bins
    assert bi_woof.features(random_flow(112, 112), settings).shape == (200,)
    assert SMALL.num_features == 48  # 2 x 3 x 8


@pytest.mark.parametrize("shape", [(12, 15), (13, 17)])
def test_equals_a_slow_implementation(shape):
    flow = random_flow(*shape)
    np.testing.assert_allclose(bi_woof.features(flow, SMALL), slow(flow, (2, 3)))


def test_each_histogram_sums_to_one_before_it_is_weighted():
    sums = bi_woof.block_histograms(random_flow(13, 17), SMALL).sum(-1)
    np.testing.assert_allclose(sums, np.ones(6))


def test_an_example_by_hand():
    """2 x 4 pixels in two blocks; the right one is stretched to the right."""
    flow = np.zeros((2, 4, 2))
    flow[:, :2, 1] = 3  # down, 90 degrees: bin 6
    flow[:, 2:, 1] = 3
    flow[:, 3, 0] = 3  # down and right, 45 degrees: bin 5
    # u_x by column: 0, 0, 3 / 2, 3; other derivatives are 0. Strain of the left block
    # 0, of the right one 2 x (1.5 + 3) = 9.
    # Right histogram: bin 6 has 2 x 3, bin 5 has 2 x 3 sqrt(2).
    found = bi_woof.features(flow, BiWoofSettings(flow_blocks=(1, 2))).reshape(2, 8)
    expected = np.zeros((2, 8))
    expected[1, 6], expected[1, 5] = 1, math.sqrt(2)
    np.testing.assert_allclose(found, expected / math.sqrt(3), atol=1e-12)


def test_a_mirrored_clip_has_mirrored_features():
    flow = random_flow(12, 15)
    plain = bi_woof.features(flow, SMALL).reshape(2, 3, 8)
    mirrored = bi_woof.features(mirror(flow), SMALL).reshape(2, 3, 8)
    np.testing.assert_allclose(mirrored, plain[:, ::-1, MIRRORED])


def test_the_strength_of_the_flow_does_not_matter():
    flow = random_flow(12, 15)
    np.testing.assert_allclose(
        bi_woof.features(flow * 7, SMALL), bi_woof.features(flow, SMALL)
    )


def test_blocks_without_strain_or_flow_are_zero():
    flow = np.zeros((12, 15, 2))
    assert not bi_woof.features(flow, SMALL).any()
    assert not bi_woof.features(flow + (1, 2), SMALL).any()  # the same everywhere
    flow[7:, 11:] = random_flow(5, 4)
    found = bi_woof.features(flow, SMALL).reshape(2, 3, 8)
    assert found[1, 2].any() and not found[0].any() and not found[1, :2].any()


@pytest.mark.parametrize("workers", [1, 3])
def test_features_of_all_clips_are_those_of_each(workers):
    clips = random_flow(4, 1, 12, 15).astype(np.float32)
    found = specifications.BI_WOOF.features(list(clips), SMALL, workers)
    assert found.shape == (4, 48) and found.dtype == np.float32
    expected = [bi_woof.features(clip[0], SMALL) for clip in clips]
    np.testing.assert_array_equal(found, np.float32(expected))


def test_frames_that_are_too_small_are_refused():
    with pytest.raises(UserError, match="4 x 4 pixels, but --flow_blocks 5 5 needs.*5"):
        bi_woof.check_size(BiWoofSettings(), (1, 4, 4, 2))
    with pytest.raises(UserError, match="Raise --size"):
        bi_woof.features(np.zeros((1, 1, 2)), BiWoofSettings(flow_blocks=(1, 1)))


@pytest.mark.parametrize("blocks", [(5,), (5, 0), (2, 2, 2)])
def test_settings_out_of_range_are_refused(blocks):
    with pytest.raises(UserError, match="--flow_blocks .*two integers of at least 1"):
        BiWoofSettings(flow_blocks=blocks)
