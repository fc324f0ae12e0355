"""Warps of scikit-image's astronaut."""

import dataclasses
import sys

import numpy as np
import pytest

from datasets import DataError
from datasets.synthetic import face, motion, photograph
from datasets.synthetic.synthetic_dataset_builder import (
    Builder,
    draw_subject,
    render,
)
from meranet_jax.video import mtcnn
from tests.datasets import astronaut

CONFIG = Builder.builder_configs["photo"]
STILL = dataclasses.replace(CONFIG, drift=0.0, flicker=0.0, noise=0.0)


def in_photograph(point):
    """Returns the position in the photograph of one in the frame."""
    scale = photograph._SIDE / face.FRAME
    return np.array(point) * scale + photograph._CENTRE - photograph._SIDE / 2


def test_landmarks_agree_with_other_annotations():
    subject = photograph.load_face()
    marks = {name: in_photograph(at) for name, at in subject.landmarks.items()}
    assert set(marks) == set(face.draw_face(np.random.default_rng(0)).landmarks)
    eyes = [marks["eye_left"], marks["eye_right"]]
    np.testing.assert_allclose(eyes, astronaut.EYES, atol=2)
    left, top, right, bottom = astronaut.BOX
    for x, y in marks.values():
        assert left < x < right and top < y < bottom
    # The detector's five landmarks: eyes, nose and corners of the mouth.
    image = np.rint(subject.image).astype(np.uint8)  # [396, 396, 3]
    _, (found,), _ = mtcnn.detect(image)
    found = found / face.SUPERSAMPLING - face.MARGIN
    for name, index in (("eye_left", 0), ("eye_right", 1)):
        np.testing.assert_allclose(subject.landmarks[name], found[index], atol=2)
    for name, index in (("mouth_corner_left", 3), ("mouth_corner_right", 4)):
        np.testing.assert_allclose(subject.landmarks[name], found[index], atol=4)


def test_the_image_is_the_crop_of_the_photograph():
    from skimage import data

    image = photograph.load_face().image
    assert image.shape == (396, 396, 3) and 0 <= image.min() < image.max() <= 255
    # The mean colour around a place is that of the photograph there.
    x, y = in_photograph((40.0, 70.0))
    there = data.astronaut()[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4]
    middle = (np.array([40.0, 70.0]) + face.MARGIN) * face.SUPERSAMPLING
    column, row = middle.astype(int)
    here = image[row - 10 : row + 11, column - 10 : column + 11]
    np.testing.assert_allclose(here.mean((0, 1)), there.mean((0, 1)), atol=4)


@pytest.mark.parametrize("emotion", motion.EMOTIONS)
def test_changes_are_where_the_face_moves(emotion):
    record = render(STILL, draw_subject(STILL, 0), 0, emotion, 0)
    change = np.abs(record["apex_frame"].astype(int) - record["onset_frame"]).max(-1)
    mask = record["motion_mask"][8]
    assert 0.05 < mask.mean() < 0.5
    assert change[mask].mean() > 10 * change[~mask].mean()


def test_amplitudes_and_number_of_clips():
    for name, least, most in (
        ("photo", 1, 3),
        ("photo_small", 0.5, 1.5),
        ("photo_subtle", 0.2, 0.6),
    ):
        config = Builder.builder_configs[name]
        assert (config.subjects, config.repetitions) == (1, 20)
        assert (config.drift, config.noise) == (1.0, 2.0)
        tiny = dataclasses.replace(config, size=16, frames=2, window=2)
        subject = draw_subject(tiny, 0)
        amplitudes = [
            render(tiny, subject, 0, "surprise", repetition)["amplitude"]
            for repetition in range(20)
        ]
        assert least <= min(amplitudes) < least + (most - least) / 4
        assert most - (most - least) / 4 < max(amplitudes) <= most


def test_error_without_scikit_image(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(DataError, match="scikit-image, which is not installed"):
        photograph.load_face()
