"""Landmark regions + flow against a slow second implementation, and by hand."""

import math

import numpy as np

from meranet_jax.descriptors import facial_regions, landmark_flow, specifications
from meranet_jax.descriptors.facial_regions import COARSE, TEMPLATE
from meranet_jax.descriptors.landmark_flow import LandmarkFlowSettings
from tests.meranet_jax.descriptors.flows import (
    MIRRORED,
    mirror,
    random_flow,
    slow_bin,
)
from tests.meranet_jax.descriptors.test_facial_regions import mirror as mirror_face

MOVED = TEMPLATE + np.random.default_rng(0).normal(size=(5, 2)) * 0.02


def slow(flow, landmarks):
    """The features from the definition, one vector at a time."""
    masks = facial_regions.masks(landmarks, flow.shape[:2], COARSE)
    histograms = np.zeros((len(masks), 8))
    for region, mask in enumerate(masks):
        for u, v in flow[mask]:
            histograms[region, slow_bin(u, v)] += math.sqrt(u * u + v * v) / mask.sum()
    return histograms.ravel() / math.sqrt((histograms**2).sum())


def test_there_are_96_features():
    assert landmark_flow.NUM_FEATURES == 96  # 12 regions x 8 bins
    assert landmark_flow.features(random_flow(56, 56), TEMPLATE).shape == (96,)


def test_equals_a_slow_implementation():
    flow = random_flow(60, 60)
    np.testing.assert_allclose(
        landmark_flow.features(flow, MOVED), slow(flow, MOVED), rtol=1e-6
    )


def test_an_example_by_hand():
    """The right inner brow rises by 3 pixels, half of the left one by 8 to the left."""
    masks = facial_regions.masks(TEMPLATE, (60, 60), COARSE)
    right, left = masks[0], masks[6]
    rows = np.flatnonzero(left.any(1))
    half = left.copy()
    half[rows[len(rows) // 2] :] = False
    assert 2 * half.sum() == left.sum()
    flow = np.zeros((60, 60, 2))
    flow[right] = (0, -3)  # -90 degrees: bin 2
    flow[half] = (-8, 0)  # 180 degrees: bin 0
    expected = np.zeros((12, 8))
    expected[0, 2], expected[6, 0] = 3, 4  # 8 x half of the pixels
    found = landmark_flow.features(flow, TEMPLATE)
    np.testing.assert_allclose(found, expected.ravel() / 5)


def test_a_mirrored_clip_has_mirrored_features():
    flow = random_flow(60, 60)
    plain = landmark_flow.features(flow, MOVED).reshape(2, 6, 8)
    mirrored = landmark_flow.features(mirror(flow), mirror_face(MOVED))
    np.testing.assert_allclose(
        mirrored.reshape(2, 6, 8), plain[::-1, :, MIRRORED], rtol=1e-6
    )


def test_a_clip_without_flow_is_zero():
    assert not landmark_flow.features(np.zeros((60, 60, 2)), TEMPLATE).any()


def test_a_face_beyond_the_frame_has_empty_regions():
    found = landmark_flow.features(random_flow(60, 60), TEMPLATE + (0, 0.5))
    mouth = found.reshape(2, 6, 8)[:, -1]
    assert np.isfinite(found).all() and not mouth.any() and found.any()


def test_features_of_all_clips_take_the_landmarks_of_each_clip():
    clips = random_flow(3, 1, 40, 40).astype(np.float32)
    landmarks = np.stack([TEMPLATE, MOVED, np.full((5, 2), np.nan)])
    settings = LandmarkFlowSettings()
    found = specifications.LANDMARK_FLOW.features(list(clips), settings, 2, landmarks)
    assert found.shape == (3, 96) and found.dtype == np.float32
    expected = [
        landmark_flow.features(clip[0], points)
        for clip, points in zip(clips, landmarks, strict=True)
    ]
    np.testing.assert_array_equal(found, np.float32(expected))
