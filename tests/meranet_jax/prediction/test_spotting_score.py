"""Scores of spotted candidates, on motion and answers that are given as numbers."""

import types
from pathlib import Path

import numpy as np
import pytest

from meranet_jax.prediction import predicting, spotting_score
from meranet_jax.prediction.results import Recognition
from meranet_jax.prediction.spotting_score import Score
from meranet_jax.video.measurement import FaceMotion, Measurement
from tests.meranet_jax.prediction import predictions
from tests.meranet_jax.prediction.predictions import NAMES, event

MEGC3 = ("negative", "positive", "surprise")


def true(kind, onset, offset, label=""):
    return types.SimpleNamespace(kind=kind, label=label, onset=onset, offset=offset)


def opened(*intervals, first=1, frame_rate=30.0, seconds=6.0):
    return types.SimpleNamespace(
        source=Path("x"),
        rate=None,
        first=first,
        frame_rate=frame_rate,
        seconds=seconds,
        intervals=intervals,
    )


def rise_and_fall(times, onset, apex, offset):
    """A pulse of 6 / 128 of the distance between the eyes."""
    shape = np.interp(times, [onset, apex, offset], [0, 1, 0])
    return 6 / 128 * np.sin(np.pi / 2 * shape) ** 2


@pytest.fixture
def measured(monkeypatch):
    """Replaces the measurement of a recording of 6 s at 200 Hz.

    A brow moves from 2 to 2.4 s, the mouth from 0.8 to 1.2 s, and both from 3.5 to 5 s.
    """
    times = np.arange(180) / 30
    motion = np.zeros((180, len(NAMES)))
    brow, lip = NAMES.index("brow_left_inner"), NAMES.index("lip_lower")
    motion[:, brow] += rise_and_fall(times, 2.0, 2.15, 2.4)
    motion[:, lip] += rise_and_fall(times, 0.8, 0.95, 1.2)
    for region in (brow, lip):
        motion[:, region] += rise_and_fall(times, 3.5, 4.2, 5.0)
    window = types.SimpleNamespace(
        first=0, motion=list(motion), shift=list(np.zeros((180, 2)))
    )
    all_times, numbers = np.arange(1200) / 200, np.arange(1, 1201)
    found = Measurement(
        np.arange(180), times, numbers, all_times, [], 1.0, [FaceMotion(None, [window])]
    )
    monkeypatch.setattr(spotting_score, "open_stream", lambda source, rate: None)
    monkeypatch.setattr(spotting_score, "measure", lambda *_, **__: found)


def test_candidates_are_compared_with_expressions_in_frames_of_the_recording(measured):
    def at(time):
        return 1000 + round(200 * time)

    scored = spotting_score.score(
        opened(
            true("micro", at(2.05), at(2.32)),
            true("micro", at(3.0), at(3.2)),
            true("macro", at(3.7), at(4.8)),
            first=1000,
            frame_rate=200.0,
        ),
        None,
    )
    score = scored.score
    assert (score.micro.true, score.micro.found, score.micro.matched) == (2, 2, 1)
    # The mouth alone is flagged.
    assert (score.unflagged.found, score.unflagged.matched) == (1, 1)
    assert (score.macro.true, score.macro.found, score.macro.matched) == (1, 1, 1)
    assert score.micro.false_alarms_per_minute == pytest.approx(10)
    assert (scored.frames, scored.analysed, scored.faces) == (1200, 180, 1)
    assert score.strs is None and score.recognised == 0


def test_intervals_are_numbered_from_the_first_frame(measured):
    # The same times, if the recording began at 1
    score = spotting_score.score(
        opened(true("micro", 411, 465), first=1000, frame_rate=200.0), None
    ).score
    assert score.micro.matched == 0
    score = spotting_score.score(
        opened(true("micro", 411, 465), first=1, frame_rate=200.0), None
    ).score
    assert score.micro.matched == 1


def recognised(*probabilities, reasons=()):
    return Recognition(MEGC3, probabilities, None, 16, 16, tuple(reasons))


def test_answers_of_matched_candidates_are_counted(monkeypatch):
    answers = [
        ("happiness", recognised(0.1, 0.8, 0.1)),  # right
        ("disgust", recognised(0.2, 0.7, 0.1, reasons=["unlike"])),  # no answer
        ("surprise", recognised(0.8, 0.1, 0.1)),  # wrong
        ("disgust", None),  # its clip could not be cut
        ("others", recognised(0.8, 0.1, 0.1)),  # no class
    ]
    events = [
        event(n, n + 0.0, n + 0.1, n + 0.3, recognition=recognition)
        for n, (_, recognition) in enumerate(answers, 1)
    ]
    # A false alarm is not recognition's.
    false = event(9, 9.0, 9.1, 9.3, recognition=recognised(0.8, 0.1, 0.1))
    found = predictions.prediction([*events, false], seconds=10)
    monkeypatch.setattr(predicting, "predict", lambda *_, **__: found)
    intervals = [
        true("micro", one.onset.frame, one.offset.frame, label)
        for one, (label, _) in zip(events, answers, strict=True)
    ]
    recogniser = types.SimpleNamespace(classes=MEGC3)
    score = spotting_score.score(opened(*intervals, seconds=10), recogniser).score
    assert (score.micro.true, score.micro.found, score.micro.matched) == (5, 6, 5)
    assert (score.right, score.no_answer, score.wrong) == (1, 2, 1)
    assert score.pairs == {
        ("positive", "positive"): 1,
        ("negative", "positive"): 1,
        ("surprise", "negative"): 1,
        ("negative", "-"): 1,
    }
    # F1: negative 0, positive 2 / (2 + 1), surprise 0
    assert score.recognition_f1 == pytest.approx(2 / 9)
    assert score.strs == pytest.approx(10 / 11 * 2 / 9)
    both = score + score
    assert both.recognised == 8 and both.micro.minutes == pytest.approx(1 / 3)
    assert both.recognition_f1 == pytest.approx(2 / 9)


def test_emotions_are_classes_themselves_or_of_megc_2019():
    assert spotting_score.class_of("disgust", ("disgust", "happiness")) == "disgust"
    assert spotting_score.class_of("disgust", MEGC3) == "negative"
    assert spotting_score.class_of("others", MEGC3) is None
    assert spotting_score.class_of("", MEGC3) is None
    assert spotting_score.class_of("fear", ("disgust", "happiness")) is None
    assert Score().recognition_f1 is None
