"""MDMO against a slow second implementation, and by hand."""

import numpy as np
import pytest

from meranet_jax.descriptors import facial_regions, mdmo, specifications
from meranet_jax.descriptors.facial_regions import FINE, TEMPLATE
from meranet_jax.descriptors.mdmo import MdmoSettings
from meranet_jax.errors import UserError
from tests.meranet_jax.descriptors.flows import mirror, random_flow, slow_bin
from tests.meranet_jax.descriptors.test_facial_regions import mirror as mirror_face

MOVED = TEMPLATE + np.random.default_rng(0).normal(size=(5, 2)) * 0.02


def number_and_length(vectors):
    return len(vectors), sum(np.hypot(*vector) for vector in vectors)


def slow(flow, landmarks):
    """The features from the definition, one vector at a time."""
    masks = facial_regions.masks(landmarks, flow.shape[1:3], FINE)
    features = []
    for mask in masks:
        means = []
        for frame in flow:
            of_bins = [[] for _ in range(8)]
            for vector in frame[mask]:
                if vector.any():
                    of_bins[slow_bin(*vector)].append(vector)
            main = max(of_bins, key=number_and_length)
            means.append(np.mean(main, 0) if main else np.zeros(2))
        features.append(np.mean(means, 0))
    return np.concatenate(features)


def test_there_are_72_features():
    assert mdmo.NUM_FEATURES == 72  # 36 regions x 2 components
    assert mdmo.features(random_flow(2, 56, 56), TEMPLATE).shape == (72,)


@pytest.mark.parametrize("landmarks", [MOVED, np.full((5, 2), np.nan)])
def test_equals_a_slow_implementation(landmarks):
    flow = random_flow(3, 40, 40)
    flow[1, :20] = 0
    np.testing.assert_allclose(
        mdmo.features(flow, landmarks), slow(flow, landmarks), atol=1e-12
    )


def test_an_example_by_hand():
    # Bins: (1, 1) 5, (3, 1) 4 and (2, 1) 4, (-9, 0) 0, none
    first = np.array([[3, 1], [-9, 0], [2, 1], [0, 0], [0, 0], [0, 0]], float)
    # Two bins with one vector each, of which (0, -4) is longer
    second = np.zeros((6, 2))
    second[:2] = (1, 1), (0, -4)
    found = mdmo._main_vector(np.stack([first, second]))
    np.testing.assert_allclose(found, (np.array([2.5, 1]) + (0, -4)) / 2)


def test_features_are_those_of_the_regions():
    """Only the right mouth corner moves, in the second of two frames."""
    masks = facial_regions.masks(TEMPLATE, (60, 60), FINE)
    corner = FINE.index((0.25, 0.5, 0.8, 1.2))
    flow = np.zeros((2, 60, 60, 2))
    flow[1, masks[corner]] = (4, -2)
    expected = np.zeros((36, 2))
    expected[corner] = (2, -1)
    found = mdmo.features(flow, TEMPLATE).reshape(36, 2)
    np.testing.assert_allclose(found, expected)


def test_a_mirrored_clip_has_mirrored_features():
    flow = random_flow(3, 60, 60)
    plain = mdmo.features(flow, MOVED).reshape(2, 18, 2)
    mirrored = mdmo.features(mirror(flow), mirror_face(MOVED)).reshape(2, 18, 2)
    np.testing.assert_allclose(mirrored, plain[::-1] * (-1, 1))


def test_features_of_all_clips_take_the_landmarks_of_each_clip():
    clips = random_flow(3, 2, 40, 40).astype(np.float32)
    landmarks = np.stack([TEMPLATE, MOVED, np.full((5, 2), np.nan)])
    found = specifications.MDMO.features(list(clips), MdmoSettings(), 2, landmarks)
    assert found.shape == (3, 72) and found.dtype == np.float32
    expected = [mdmo.features(*pair) for pair in zip(clips, landmarks, strict=True)]
    np.testing.assert_array_equal(found, np.float32(expected))


def test_values_of_gamma():
    assert MdmoSettings().gammas == (1 / 16, 1 / 4, 1, 4, 16)
    assert MdmoSettings(svm_gamma_exponents=(-1, 0)).gammas == (0.5,)
    for exponents in [(1, 0), (0,), (-31, 0)]:
        with pytest.raises(UserError, match="--svm_gamma_exponents"):
            MdmoSettings(svm_gamma_exponents=exponents)
