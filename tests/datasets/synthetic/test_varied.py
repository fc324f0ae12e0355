"""Faces and motion for pre-training."""

import dataclasses

import numpy as np
import pytest

from datasets.synthetic import face, time_course, varied
from datasets.synthetic.synthetic_dataset_builder import Builder, draw_subject

CONFIG = Builder.builder_configs["varied"]


@pytest.fixture(scope="module")
def subjects():
    return [draw_subject(CONFIG, number) for number in range(20)]


def field_of(subject, emotion, seed, amplitude=1.0):
    rng = np.random.default_rng(seed)
    return varied.displacement(subject, emotion, amplitude, rng)


def test_faces_vary_more_than_the_drawn_ones(subjects):
    drawn = [draw_subject(Builder.builder_configs["medium"], n) for n in range(20)]

    def spread(faces, measure):
        values = [measure(one) for one in faces]
        return max(values) - min(values)

    def sharpness(one):
        inside = one.image[100:300, 100:300].mean(-1)
        return np.log(np.abs(np.diff(inside)).mean() / inside.std())

    def eye_height(one):
        return (one.landmarks["eye_left"][1] - one.centre[1]) / one.radius

    def mean_colour(one):
        return one.image[150:250, 150:250].mean()

    for measure in (lambda one: one.radius, sharpness, eye_height, mean_colour):
        assert spread(subjects, measure) > 1.3 * spread(drawn, measure)
    grey = [np.ptp(one.image, -1).max() for one in subjects]
    assert min(grey) < 60 < 120 < max(grey)  # some have hardly any colour


def test_faces_are_cropped_from_above_the_hair_to_below_the_hairline(subjects):
    height = [subject.landmarks["eye_left"][1] for subject in subjects]
    radius = [subject.radius for subject in subjects]
    # Crops of real faces begin at the hairline, drawn ones above the hair.
    assert min(height) < 36 and max(height) > 54
    assert min(radius) < 27 and max(radius) > 43


def test_landmarks_are_on_the_face(subjects):
    for subject in subjects:
        points = np.array(list(subject.landmarks.values()))
        assert np.all((points > -8) & (points < face.FRAME + 8))
        # Upright coordinates of the left eye are the mirror image of the right one's.
        inverse = np.linalg.inv(subject.units)
        left, right = (
            inverse @ (np.array(subject.landmarks[f"eye_{side}"]) - subject.centre)
            for side in ("left", "right")
        )
        np.testing.assert_allclose(left, right * [-1, 1], atol=1e-9)


@pytest.mark.parametrize(
    ("emotion", "moves"),
    [
        ("disgust", {"nostril_left": (0, -1), "brow_inner_right": (-0.5, 0.9)}),
        ("happiness", {"mouth_corner_left": (-0.8, -0.8), "cheek_right": (0, -0.8)}),
        ("surprise", {"brow_inner_left": (0, -1), "chin": (0, 1)}),
    ],
)
def test_each_emotion_still_moves_its_action_units(subjects, emotion, moves):
    cosines = {landmark: [] for landmark in moves}
    for seed, subject in enumerate(subjects):
        field = field_of(subject, emotion, seed)
        assert np.linalg.norm(field, axis=-1).max() == pytest.approx(1.0)
        for landmark, direction in moves.items():
            x, y = np.clip(np.array(subject.landmarks[landmark]), 0, 111).astype(int)
            expected = subject.units @ direction
            cosine = field[y, x] @ expected / np.linalg.norm(expected)
            cosines[landmark].append(cosine / max(np.linalg.norm(field[y, x]), 1e-9))
    for values in cosines.values():
        assert np.median(values) > 0.9


def test_motion_may_be_of_one_side_only(subjects):
    shares = []
    for seed in range(60):
        subject = subjects[seed % len(subjects)]
        field = field_of(subject, "happiness", seed)
        length = np.linalg.norm(field, axis=-1)
        left = length[:, : round(subject.centre[0])].sum()
        shares.append(left / length.sum())
    assert min(shares) < 0.2 and max(shares) > 0.8
    assert 0.3 < np.median(shares) < 0.7


def test_clips_differ_in_noise_amplitude_and_time_course(subjects):
    tiny = dataclasses.replace(CONFIG, size=28)
    records = [
        varied.render_clip(subjects[0], "surprise", tiny, np.random.default_rng(seed))
        for seed in range(30)
    ]
    amplitudes = np.array([record["amplitude"] for record in records])
    assert 0.15 <= amplitudes.min() < 0.35 and 1.5 < amplitudes.max() <= 3
    assert np.median(amplitudes) < 1.2  # log-uniform: the geometric mean is 0.67
    rises = [record["apex"] - record["onset"] for record in records]
    assert min(rises) < 8 and max(rises) > 24
    for record in records:
        assert record["clip"].shape == (16, 28, 28, 3)
        assert (record["apex_frame"] == record["clip"][8]).all()
    again = varied.render_clip(subjects[0], "surprise", tiny, np.random.default_rng(0))
    assert (again["clip"] == records[0]["clip"]).all()


def test_some_clips_are_compressed():
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    compressed = varied._compressed(picture, 50)
    assert compressed.shape == picture.shape and compressed.dtype == np.uint8
    assert 2 < np.abs(compressed.astype(int) - picture).mean() < 60


def test_time_courses_are_in_order():
    rng = np.random.default_rng(0)
    for _ in range(200):
        course = varied.draw_time_course(rng)
        assert 1 < course.onset < course.apex < course.offset <= course.last
        assert course.intensity(course.apex) == 1
        assert isinstance(course, time_course.TimeCourse)
