"""Recordings for spotting: generated videos, and sets of them."""

import numpy as np
import pytest

from datasets import DataError, spotting_recordings
from datasets.synthetic import long_video, spotting_sets
from datasets.synthetic.long_video import LongVideoConfig, TrueEvent


def test_the_truth_of_a_video_is_its_expressions(tmp_path, monkeypatch):
    events = (
        TrueEvent("expression", "disgust", 1.0, 1.1, 1.2, 2.0),
        TrueEvent("blink", "", 1.5, 1.6, 1.7, 4.0),
        TrueEvent("expression", "surprise", 2.01, 2.1, 2.21, 1.0),
    )
    monkeypatch.setattr(long_video, "render", lambda path, config: events)
    recording = spotting_recordings.of_video("a", LongVideoConfig(seconds=6, seed=3))
    assert (recording.group, recording.name, recording.labelled) == ("a", "seed3", True)
    opened = recording.open(tmp_path)
    assert opened.source.parent == tmp_path and opened.rate is None
    assert (opened.first, opened.frame_rate, opened.seconds) == (1, 30, 6)
    # Frame n is shown at (n - 1) / 30 s; nothing moves at onset and offset.
    found = [(one.kind, one.label, one.onset, one.offset) for one in opened.intervals]
    assert found == [("micro", "disgust", 32, 36), ("micro", "surprise", 62, 67)]


def test_sets_can_be_chosen_and_shortened():
    listed = spotting_recordings.generated(["still", "wild"], minutes=0.1, seeds=2)
    names = [(one.group, one.name, one.labelled) for one in listed.recordings]
    assert names == [
        ("still", "seed0", False),
        ("still", "seed1", False),
        ("wild", "seed0", True),
        ("wild", "seed1", True),
    ]
    assert listed.notes == ("4 videos of 0.4 minutes together, 720 frames",)
    assert len({one.settings for one in listed.recordings}) == 4
    # A whole set has the length and number of its own.
    (_, config), *others = spotting_sets.videos(["still"])
    assert config.seconds == 600 and not others
    assert {name for name, _ in spotting_sets.videos()} == set(spotting_sets.SETS)


def test_every_set_can_be_drawn_at_its_own_length_and_a_short_one():
    for minutes in (None, 0.1):
        for name, config in spotting_sets.videos(minutes=minutes):
            events = long_video.draw_events(config, np.random.default_rng(config.seed))
            expressions = [one for one in events if one.kind == "expression"]
            nothing = ("still", "nothing", "compressed_nothing")
            assert bool(expressions) == (name not in nothing)
            blinks = any(one.kind == "blink" for one in events)
            assert blinks == (name in ("still", "wild"))
            assert all(one.offset - one.onset <= 0.5 for one in expressions)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"names": ["drawn"]}, "--sets drawn: name each set once. The sets are drawn_"),
        ({"names": ["wild", "wild"]}, "name each set once"),
        ({"minutes": 0.01}, "--minutes=0.01 is the length of each video: give at"),
        ({"minutes": float("nan")}, "--minutes=nan"),
        ({"seeds": 0}, "--seeds=0 must be at least 1"),
    ],
)
def test_invalid_values_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        spotting_recordings.generated(**values)
