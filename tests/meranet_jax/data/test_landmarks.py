"""Landmarks of the astronaut, a public-domain photograph."""

import importlib.util

import numpy as np
import pytest

from meranet_jax.data import landmarks
from meranet_jax.errors import UserError
from meranet_jax.video import faces
from tests.datasets.astronaut import filmed
from tests.meranet_jax.data.test_clip_store import load_input, rows_of


@pytest.fixture(scope="module")
def crop():
    """The face of the astronaut, cropped as --crop=detect crops it."""
    image = filmed()[0]
    return faces.locate_face({0: image}, faces.MARGIN).apply(image)


def test_landmarks_are_relative_to_the_frame(crop):
    empty = np.full((60, 80, 3), 90, np.uint8)
    wide = np.concatenate([crop, np.full_like(crop, 90)], 1)
    found = landmarks.detect_all([crop, empty, wide], 2)
    assert found.shape == (3, 5, 2) and np.isnan(found[1]).all()
    left, right, nose, *mouth = found[0]
    assert left[0] < nose[0] < right[0] and left[1] < nose[1] < mouth[0][1]
    np.testing.assert_allclose(left[1], right[1], atol=0.02)  # eyes are level
    np.testing.assert_allclose(found[2] * (2, 1), found[0], atol=0.05)
    assert landmarks.detect_all([], 1).shape == (0, 5, 2)


def test_landmarks_do_not_depend_on_the_number_of_threads(crop):
    frames = [crop, crop[::-1], crop[:, ::-1]]
    one, three = (landmarks.detect_all(frames, workers) for workers in (1, 3))
    np.testing.assert_array_equal(one, three)


def test_missing_detector_is_reported(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"need the package cv2.*\[video\]"):
        landmarks.detect_all([], 1)


def test_references_are_the_recorded_onset_frames(records, clips):
    assert clips.references is None
    loaded = load_input(records, "raw_onset_apex_flow", leave_out=("s01/surprise_2",))
    rows = rows_of(records)
    assert loaded.references.shape == (35, 32, 32, 3)  # clips are 16 x 16
    for index in (0, 34):
        onset = rows[loaded.clip_ids[index]]["onset_frame"]
        np.testing.assert_array_equal(loaded.references[index], onset)
