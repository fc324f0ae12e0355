"""Videos of minutes: what happens in them is where it is said to be."""

import csv
import subprocess
import sys

import numpy as np
import pytest

from datasets import DataError
from datasets.synthetic import long_video
from datasets.synthetic.long_video import LongVideoConfig, draw_events
from meranet_jax.video import stream


def test_events_are_as_many_and_as_far_apart_as_asked():
    config = LongVideoConfig(seconds=120, expressions=10, blinks=15, speech=3)
    events = draw_events(config, np.random.default_rng(0))
    for kind, number in (("expression", 20), ("blink", 30), ("speech", 6)):
        of_kind = [event for event in events if event.kind == kind]
        assert len(of_kind) == number
        onsets = np.array([event.onset for event in of_kind])
        assert np.diff(onsets).min() >= 2 and onsets[0] >= 1 and onsets[-1] <= 119
    assert all(event.onset < event.apex < event.offset for event in events)
    assert {e.label for e in events if e.kind == "expression"} == {
        "disgust",
        "happiness",
        "surprise",
    }


@pytest.mark.parametrize("rate", [25, 30, 200])
def test_frames_of_an_event_are_those_that_show_it(rate):
    for event in draw_events(LongVideoConfig(seconds=60), np.random.default_rng(1)):
        first, last = event.frames(rate)
        times = np.arange(round(60 * rate)) / rate
        shown = np.flatnonzero([event.intensity(time) > 0 for time in times]) + 1
        assert (first, last) == (shown[0], shown[-1])
        assert event.intensity(event.apex) == 1


def test_frames_differ_only_where_the_face_moves(tmp_path):
    path = tmp_path / "x.mp4"
    config = LongVideoConfig(
        seconds=4, rate=10, expressions=15, noise=0, flicker=0, drift=0
    )
    (event,) = long_video.render(path, config)
    pictures = [frame.read() for frame in stream.open_stream(path).frames()]
    assert len(pictures) == 40 and pictures[0].shape == (480, 640, 3)
    changed = [np.abs(p.astype(int) - pictures[0]).max() > 30 for p in pictures]
    first, last = event.frames(config.rate)
    strong = [n for n in range(40) if event.amplitude * event.intensity(n / 10) > 0.5]
    assert strong and all(changed[n] for n in strong)
    assert not any(changed[n] for n in range(40) if not first <= n + 1 <= last)


def test_the_program_writes_the_video_and_what_happens_in_it(tmp_path):
    command = [sys.executable, "-m", "datasets.synthetic.long_video"]
    flags = ["--seconds=4", "--rate=5", "--expressions=15", "--noise=0"]
    done = subprocess.run(
        [*command, str(tmp_path / "x.mp4"), *flags], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "x.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["kind"] == "expression" and 1 <= float(row["onset"]) <= 3
    refused = subprocess.run(
        [*command, str(tmp_path / "x.avi")], capture_output=True, text=True
    )
    assert refused.returncode == 1 and "must end with .mp4" in refused.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.csv", "x.mp4"]


def test_invalid_values_are_refused():
    with pytest.raises(DataError, match="at least 4 seconds and 5 to 1000 frames"):
        LongVideoConfig(seconds=1)
    with pytest.raises(DataError, match="for 60 seconds; set at most 29"):
        draw_events(LongVideoConfig(blinks=100), np.random.default_rng(0))
    draw_events(LongVideoConfig(blinks=29), np.random.default_rng(0))
    for values, message in (
        ({"seconds": float("inf")}, "at least 4 seconds"),
        ({"blinks": -1}, "--blinks=-1 must be 0 or a positive number"),
        ({"noise": float("nan")}, "--noise=nan must be"),
        ({"amplitude": (2.0, 1.0)}, "--amplitude 2 1"),
    ):
        with pytest.raises(DataError, match=message):
            LongVideoConfig(**values)
