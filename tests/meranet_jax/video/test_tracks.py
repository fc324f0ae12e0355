"""Faces keep their identity while they move, cross, vanish and return."""

import numpy as np
import pytest

from meranet_jax.video.faces import Face
from meranet_jax.video.tracks import Tracker


def face(x, y=100.0, side=80.0):
    """Returns a face whose box has its middle at x and y."""
    half = side / 2
    eyes = np.array([[x - side / 4, y - side / 8], [x + side / 4, y - side / 8]])
    points = [eyes[0] + (eyes[1] - eyes[0]) / 2 + (0, side / 5)]
    points += [(x - side / 5, y + side / 4), (x + side / 5, y + side / 4)]
    box = np.array([x - half, y - half, x + half, y + half])
    return Face(box, np.array([*eyes, *points]), 1.0)


def test_two_faces_that_change_places_in_the_list():
    tracker = Tracker()
    for sample in range(10):
        faces = [face(100 + 3 * sample), face(400 - 3 * sample)]
        seen = tracker.add(sample, sample / 3, faces[:: 1 if sample % 2 else -1])
        assert len(seen) == 2
    one, other = sorted(tracker.tracks, key=lambda t: t.detections[0].face.box[0])
    assert [s.face.box[0] for s in one.detections] == [60 + 3 * n for n in range(10)]
    assert [s.face.box[0] for s in other.detections] == [360 - 3 * n for n in range(10)]
    assert {t.identity for t in tracker.tracks} == {1, 2}


def test_a_face_that_returns_soon_at_the_same_place_is_the_same():
    tracker = Tracker()
    tracker.add(0, 0.0, [face(100)])
    assert tracker.add(10, 0.33, []) == []
    (track,) = tracker.add(20, 0.67, [face(104)])
    assert track.identity == 1 and [s.sample for s in track.detections] == [0, 20]


@pytest.mark.parametrize(("x", "time"), [(300, 0.67), (104, 5.0)])
def test_another_place_or_a_long_time_make_another_face(x, time):
    tracker = Tracker()
    tracker.add(0, 0.0, [face(100)])
    (track,) = tracker.add(20, time, [face(x)])
    assert track.identity == 2
