"""Faces of short videos, from the file to the candidates."""

import dataclasses

import imageio.v3 as iio
import numpy as np
import pytest

from datasets.synthetic import long_video
from meranet_jax.evaluation import spotting as metrics
from meranet_jax.video import measurement, spotting, stream
from tests.datasets.astronaut import filmed
from tests.meranet_jax.video.test_video_file import grey, write

CONFIG = long_video.LongVideoConfig(
    seconds=6, faces="photograph", expressions=20, amplitude=(2.0, 2.5), noise=0
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A video with two expressions: what happens in it, and what was measured."""
    path = tmp_path_factory.mktemp("video") / "x.mp4"
    events = long_video.render(path, dataclasses.replace(CONFIG, seed=3))
    return events, measurement.measure(stream.open_stream(path), threads=2)


def test_expressions_are_found_where_they_are(measured):
    events, found = measured
    assert len(events) == 2 and len(found.faces) == 1
    candidates = spotting.spot(found.faces[0], found)
    true = [event.frames(CONFIG.rate) for event in events]
    spotted = [
        (c.onset * CONFIG.rate + 1, c.offset * CONFIG.rate + 1) for c in candidates
    ]
    assert len(candidates) == 2 and len(metrics.match(true, spotted)) == 2
    for candidate, event in zip(candidates, events, strict=True):
        assert candidate.apex == pytest.approx(event.apex, abs=0.07)
        assert candidate.kind == "micro" and candidate.strength > candidate.noise


def test_every_frame_is_counted(measured):
    _, found = measured
    assert len(found.all_numbers) == 180 and found.all_times[-1] == pytest.approx(
        179 / 30
    )
    assert found.numbers.tolist() == list(range(1, 181)) and found.damaged == []
    windows = found.faces[0].windows
    assert [(w.first, len(w.motion)) for w in windows] == [(0, 180), (100, 80)]


def test_the_result_does_not_depend_on_the_number_of_threads(tmp_path):
    path = tmp_path / "x.mp4"
    pictures = []
    for n in range(24):  # two faces, so that two windows are measured at once
        left, _, _ = filmed(place=(160 + n % 5, 240))
        right, _, _ = filmed(place=(480 - n % 7, 240))
        pictures.append(np.concatenate([left[:, :320], right[:, 320:]], 1))
    write(path, pictures, codec="libx264")
    one, four = (
        measurement.measure(stream.open_stream(path), threads=n) for n in (1, 4)
    )
    assert len(one.faces) == len(four.faces) == 2
    for alone, together in zip(one.faces, four.faces, strict=True):
        for a, b in zip(alone.windows, together.windows, strict=True):
            np.testing.assert_array_equal(a.motion, b.motion)
            np.testing.assert_array_equal(a.shift, b.shift)


def test_a_gap_begins_another_window(tmp_path):
    face, empty = filmed()[0], np.full((480, 640, 3), 110, np.uint8)
    path = tmp_path / "x.mp4"
    pictures = [face] * 25 + [empty] * 20 + [face] * 16
    write(path, pictures, codec="libx264", g="1")
    (found,) = measurement.measure(stream.open_stream(path), threads=1).faces
    assert [s.sample for s in found.track.detections] == [0, 10, 20, 50, 60]
    assert [(w.first, len(w.motion)) for w in found.windows] == [(0, 21), (50, 11)]


def test_a_recording_without_a_face(tmp_path):
    write(tmp_path / "x.mp4", [grey(100)] * 12)
    found = measurement.measure(stream.open_stream(tmp_path / "x.mp4"), threads=1)
    assert found.faces == [] and len(found.all_numbers) == 12


def test_a_recording_of_one_frame(tmp_path):
    write(tmp_path / "x.mp4", [filmed()[0]], codec="libx264")
    found = measurement.measure(stream.open_stream(tmp_path / "x.mp4"), threads=1)
    (face,) = found.faces
    assert len(found.all_numbers) == 1 and spotting.spot(face, found) == []


def test_an_image_that_cannot_be_read_is_left_out(tmp_path):
    picture = filmed()[0]
    for number in range(1, 13):
        iio.imwrite(tmp_path / f"img{number}.jpg", picture)
    (tmp_path / "img5.jpg").write_bytes(b"no image")
    found = measurement.measure(stream.open_stream(tmp_path, 30), threads=1)
    assert found.damaged == [5] and len(found.all_numbers) == 12
    assert found.numbers.tolist() == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12]


def test_at_a_low_rate_a_face_keeps_its_identity(tmp_path):
    picture = filmed()[0]
    for number in range(1, 9):
        iio.imwrite(tmp_path / f"img{number}.jpg", picture)
    (face,) = measurement.measure(stream.open_stream(tmp_path, 2), threads=1).faces
    assert len(face.track.detections) == 8
