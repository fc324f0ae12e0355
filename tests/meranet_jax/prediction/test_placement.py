"""Events of a user's, placed in a recording whose motion is given as numbers."""

import dataclasses
import types

import numpy as np
import pytest

from meranet_jax.errors import DataError
from meranet_jax.prediction.found_faces import Clock, describe, turn
from meranet_jax.prediction.imported import ImportedEvent
from meranet_jax.prediction.placement import place
from meranet_jax.video import spotting
from meranet_jax.video.candidates import Settings
from meranet_jax.video.faces import Face
from meranet_jax.video.facial_motion import REGIONS
from meranet_jax.video.intervals import Intervals
from meranet_jax.video.measurement import FaceMotion, Measurement
from meranet_jax.video.tracks import Detection, Track

NAMES = [region.name for region in REGIONS]
FRONTAL = np.array([[40.0, 50.0], [100.0, 50.0], [70.0, 80.0], [50, 110], [90, 110]])


def face_motion(identity, times, *, landmarks=FRONTAL, seen=(0.0, np.inf), **moving):
    """A face, of which regions of the brow or the eye move as given, float [N]."""
    detections = [
        Detection(index, time, Face(np.array([20.0, 20, 120, 140]), landmarks, 0.99))
        for index, time in enumerate(times.tolist())
        if index % 10 == 0 and seen[0] <= time <= seen[1]
    ]
    motion = np.zeros((len(times), len(REGIONS)), np.float32)
    for name, values in moving.items():
        motion[:, NAMES.index({"brow": "brow_left_inner"}.get(name, name))] = values
    windows = [
        types.SimpleNamespace(
            first=0, motion=list(motion), shift=list(np.zeros((len(times), 2)))
        )
    ]
    return FaceMotion(Track(identity, detections), windows)


def recording(*, rate=60, seconds=4.0, motions=()):
    """Returns a recording, of which every second frame was measured, and its clock."""
    every = np.arange(round(seconds * rate))
    measured = Measurement(
        every[::2] + 1,
        every[::2] / rate,
        every + 1,
        every / rate,
        [],
        1.0,
        list(motions),
    )
    return measured, Clock(measured)


def given(onset, offset, apex=None, unit="seconds", face=None, label="mine"):
    return ImportedEvent(onset, offset, apex, unit, face, label)


def placed(event, motions):
    measured, clock = recording(motions=motions)
    intervals = {one.track.identity: Intervals(one, measured) for one in motions}
    return place(event, motions, intervals, clock)


TIMES = np.arange(120) / 30
PULSE = 0.08 * np.exp(-(((TIMES - 2.0) / 0.08) ** 2))


def test_an_event_in_seconds_is_described_by_what_moves():
    found = placed(given(1.8, 2.25), [face_motion(1, TIMES, brow=PULSE)])
    event = found.event
    assert (event.onset.frame, event.offset.frame) == (109, 136)
    assert event.apex.time == pytest.approx(2.0, abs=0.04) and not found.exact
    assert event.regions[0] == "brow_left_inner" and event.strength > 0.05
    assert (event.kind, event.origin, event.label) == ("micro", "imported", "mine")
    still = placed(given(3.0, 3.9), [face_motion(1, TIMES, brow=PULSE)]).event
    assert still.kind == "macro" and still.strength < 0.01


def test_frames_are_numbers_of_the_recording():
    found = placed(given(109, 136, 115, "frames"), [face_motion(1, TIMES, brow=PULSE)])
    assert found.exact and found.event.apex.frame == 115
    assert found.event.onset.time == pytest.approx(1.8)
    with pytest.raises(DataError, match="no frame 500. Its frames are 1 to 240"):
        placed(given(109, 500, unit="frames"), [face_motion(1, TIMES)])


def test_an_event_after_the_end_is_refused():
    with pytest.raises(DataError, match=r"last frame of the recording, at 3\.983 s"):
        placed(given(3.0, 4.2), [face_motion(1, TIMES)])
    # A program may count the time for which the last frame is shown.
    assert placed(given(3.0, 4.0), [face_motion(1, TIMES)]).event.offset.frame == 240


def test_the_face_of_an_event():
    first = face_motion(1, TIMES, seen=(0.0, 1.5))
    second = face_motion(2, TIMES, seen=(1.0, 2.5))
    both = [first, second]
    assert placed(given(0.1, 0.3), both).event.face == 1
    assert placed(given(1.2, 1.4, face=2), both).event.face == 2
    with pytest.raises(DataError, match="can be one of the faces 1, 2. Say which"):
        placed(given(1.2, 1.4), both)
    with pytest.raises(DataError, match="of face 3, but .* looked at are: 1, 2"):
        placed(given(1.2, 1.4, face=3), both)
    # Also a face that is named must have been seen.
    for face in (None, 1):
        nobody = placed(given(3.5, 3.7, face=face), both)
        assert nobody.face is None and nobody.event.face == 0
        assert nobody.event.reasons == ("no face was seen at that time",)


def test_times_and_frames_must_agree():
    motions = [face_motion(1, TIMES)]
    agreed = dataclasses.replace(given(1.0, 1.2), frames={"onset": 61, "offset": 73})
    assert placed(agreed, motions).event.onset.frame == 61
    edited = dataclasses.replace(agreed, frames={"onset": 61, "offset": 90})
    with pytest.raises(DataError, match="is frame 73, but offset_frame is 90. Correct"):
        placed(edited, motions)


def test_the_strength_of_an_interval_is_that_of_the_search():
    measured, _ = recording()
    rising = np.where(TIMES > 2.0, PULSE * 0.7 + 0.024, PULSE)  # ends higher
    face = face_motion(1, TIMES, brow=rising)
    (found,) = spotting.spot(face, measured)
    again = Intervals(face, measured).describe(found.onset, found.offset)
    assert again.strength == pytest.approx(found.strength)
    assert again.strength < 0.9 * rising.max()
    # Without a fall it is the range in the interval.
    lasting = face_motion(1, TIMES, brow=0.08 * (TIMES > 1.0))
    held = Intervals(lasting, measured).describe(0.5, 2.5)
    assert held.strength == pytest.approx(0.08, abs=0.005)


def test_thresholds_say_what_moves():
    measured, _ = recording()
    weak = face_motion(1, TIMES, brow=PULSE / 8)
    found = Intervals(weak, measured).describe(1.8, 2.25)
    insensitive = dataclasses.replace(Settings(), least_detrended=0.05)
    assert found.regions == ("brow_left_inner",)
    # Without any motion, the region that moves most is named all the same.
    still = Intervals(weak, measured, insensitive).describe(1.8, 2.25)
    assert still.regions == ("brow_left_inner",) and still.strength < 0.05
    assert Intervals(weak, measured).describe(20.0, 21.0) is None


def test_eyes_that_blink_where_a_window_begins_do_not_move_afterwards():
    measured, clock = recording()
    blinks = face_motion(1, TIMES, eye_left=0.08 * (TIMES > 0.2))
    moved = describe(blinks, measured, clock).signals.motion[:, NAMES.index("eye_left")]
    np.testing.assert_allclose(moved, 0.08 * (TIMES <= 0.2), atol=1e-6)


def test_problems_of_faces():
    measured, clock = recording()
    assert describe(face_motion(1, TIMES), measured, clock).problems == ()
    small = face_motion(1, TIMES, landmarks=FRONTAL * 0.4)
    turned = FRONTAL + [[0, 0], [0, 0], [25, 0], [0, 0], [0, 0]]
    away = face_motion(1, TIMES, landmarks=turned)
    assert describe(small, measured, clock).problems == ("too small",)
    assert describe(away, measured, clock).problems == ("turned away",)
    assert turn(FRONTAL) == 0 and turn(turned) == pytest.approx(25 / 60)
    shaken = face_motion(1, TIMES)
    for index, shift in enumerate(shaken.windows[0].shift):
        shift[0] = 0.08 * (index % 4 < 2)
    assert describe(shaken, measured, clock).problems == ("shaking",)


def test_signals_begin_with_the_first_frame_that_shows_the_face():
    measured, clock = recording()
    late = face_motion(1, TIMES, seen=(1.0, 2.0))
    late.windows[0].first, late.windows[0].motion = 30, late.windows[0].motion[:31]
    late.windows[0].shift = late.windows[0].shift[:31]
    found = describe(late, measured, clock)
    assert found.signals.first == 30 and len(found.signals.success) == 31
    assert found.first.time == 1.0 and found.last.time == 2.0
    padded = found.signals.padded(len(measured.times))
    assert padded.success.sum() == 31 and not padded.success[:30].any()
    assert np.isnan(padded.motion[0]).all() and np.isfinite(padded.motion[40]).all()
