"""Faces drawn by the second program."""

import dataclasses

import numpy as np
import pytest

from datasets.synthetic import motion, sketch
from datasets.synthetic.synthetic_dataset_builder import (
    Builder,
    draw_subject,
    render,
)

CONFIG = Builder.builder_configs["sketch"]
STILL = dataclasses.replace(CONFIG, drift=0.0, flicker=0.0, noise=0.0)


@pytest.fixture(scope="module")
def faces():
    return [draw_subject(CONFIG, number) for number in range(6)]


def test_faces_differ(faces):
    for one in faces:
        assert one.image.shape == (544, 544, 3)
        assert 0 <= one.image.min() < one.image.max() <= 255
    for i in range(6):
        for j in range(i):
            difference = faces[i].image[::8, ::8] - faces[j].image[::8, ::8]
            assert np.abs(difference).mean() > 10  # grey levels


def test_eyes_are_dark_in_the_middle_and_bright_around_it(faces):
    for one in faces:
        for side in ("left", "right"):
            inner, outer = (
                one.points[f"eye_{end}_{side}"] for end in ("inner", "outer")
            )
            row = round((inner[1] + sketch._MARGIN) * sketch._RESOLUTION)
            columns = (np.linspace(inner[0], outer[0], 9) + sketch._MARGIN) * 4
            profile = one.image[row, columns.astype(int)].mean(-1)
            assert profile[4] < 90 < 170 < max(profile[1:8])


@pytest.mark.parametrize(
    ("emotion", "moves"),
    [
        ("disgust", {"nose_wing_left": (0, -1), "brow_inner_right": (-1, 1)}),
        ("happiness", {"mouth_corner_left": (-1, -1), "cheek_right": (0, -1)}),
        ("surprise", {"brow_outer_left": (0, -1), "chin": (0, 1)}),
    ],
)
def test_each_emotion_moves_its_control_points(faces, emotion, moves):
    for seed, one in enumerate(faces):
        field = sketch.displacement(one, emotion, 2.0, np.random.default_rng(seed))
        length = np.linalg.norm(field, axis=-1)
        assert length.max() == pytest.approx(2.0)
        for point, direction in moves.items():
            x, y = one.points[point]
            dx, dy = field[int(y), int(x)]
            assert np.hypot(dx, dy) > 0.4
            if direction[0]:
                assert np.sign(dx) == direction[0]
            assert np.sign(dy) == direction[1]
        for point in ("eye_outer_left", "temple_right", "hair_middle"):
            x, y = one.points[point]
            assert length[int(y), int(x)] < 0.4
        assert length[0].max() < 0.2 and length[:, [0, -1]].max() < 0.2


@pytest.mark.parametrize("emotion", motion.EMOTIONS)
def test_changes_are_where_the_face_moves(faces, emotion):
    record = render(STILL, faces[0], 0, emotion, 0)
    change = np.abs(record["apex_frame"].astype(int) - record["onset_frame"]).max(-1)
    mask = record["motion_mask"][8]
    assert 0.03 < mask.mean() < 0.6
    # Thin-plate splines also move what is far from the control points, a little.
    assert change[mask].mean() > 5 * change[~mask].mean()
    assert (record["onset_frame"] != record["apex_frame"]).any()


def test_motion_has_the_size_that_the_record_states(faces):
    """A pattern whose brightness is its position shows how far it moved."""
    ramp = np.arange(544, dtype=np.float32)[:, None, None] / sketch._RESOLUTION
    one = dataclasses.replace(
        faces[0], image=np.broadcast_to(ramp, (544, 544, 3)).copy()
    )
    config = dataclasses.replace(STILL, amplitude=(3.0, 3.0))
    record = render(config, one, 0, "surprise", 0)
    moved = record["onset_frame"].astype(float) - record["apex_frame"]
    assert moved.max() == pytest.approx(3, abs=1)  # downwards, in whole grey levels


def test_head_motion_is_not_in_the_motion_mask(faces):
    config = dataclasses.replace(STILL, drift=2.0, amplitude=(0.0, 0.0))
    record = render(config, faces[0], 0, "happiness", 0)
    assert not record["motion_mask"].any()
    assert (record["clip"][0] != record["clip"][-1]).any()
