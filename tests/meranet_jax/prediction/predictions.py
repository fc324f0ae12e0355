"""Predictions that are made by hand."""

import dataclasses
from pathlib import Path

import numpy as np

from meranet_jax.prediction.results import (
    Event,
    FaceSignals,
    FoundFace,
    Moment,
    Prediction,
    RecogniserDescription,
    Recognition,
)
from meranet_jax.video.facial_motion import REGIONS

NAMES = tuple(region.name for region in REGIONS)
CLASSES = ("disgust", "happiness", "surprise")
RECOGNISER = RecogniserDescription(
    source="casme2-meranet",
    title="MERANet, input onset_apex_flow",
    trained_on=("CASME II",),
    frame_rates=(200.0,),
    models=1,
    coverage=0.9,
    observed_coverage=0.88,
    limits=("It was trained on 26 people in one laboratory.",),
)


def at(time, rate=30.0):
    """The instant of the frame that is shown at a time."""
    return Moment(time, round(time * rate) + 1)


def recognised(*probabilities, reasons=(), plausible=("disgust", "surprise")):
    """A recognition with given probabilities of ``CLASSES``."""
    return Recognition(CLASSES, probabilities, plausible, 16, 12, tuple(reasons))


def event(number, onset, apex, offset, rate=30.0, **changed):
    """A candidate of face 1 that lasts as long as its times say."""
    kind = "micro" if offset - onset <= 0.5 else "macro"
    made = Event(
        number=number,
        face=1,
        onset=at(onset, rate),
        apex=at(apex, rate),
        offset=at(offset, rate),
        kind=kind,
        origin="spotted",
        regions=("brow_left_inner", "mouth_corner_left"),
        strength=0.0421,
        noise=0.0012,
        head_speed=0.05,
        flags=(),
    )
    return dataclasses.replace(made, **changed)


def face(identity, times, events=(), seen=None, **changed):
    """A face whose regions move at the events, on top of some noise.

    Args:
      identity: its number.
      times: of the frames in seconds.
      events: its candidates.
      seen: whether it is seen, bool [N]; None for all frames.
      changed: other attributes.
    """
    seen = np.ones(len(times), bool) if seen is None else np.asarray(seen, bool)
    rng = np.random.default_rng(identity)
    motion = np.abs(rng.normal(0, 0.0015, (len(times), len(NAMES)))) + 0.001
    for one in events:
        width = max(one.duration, 0.05) / 2.5
        pulse = np.exp(-(((times - one.apex.time) / width) ** 2))
        for name in one.regions:
            motion[:, NAMES.index(name)] += (one.strength or 0) * pulse
        if "blink" in one.flags:
            for name in ("eye_left", "eye_right"):
                motion[:, NAMES.index(name)] += 0.06 * pulse
    motion[~seen] = np.nan
    box = np.tile([100.0, 80.0, 220.0, 240.0], (len(times), 1))
    box[~seen] = np.nan
    frames = [round(time * 30) + 1 for time in times]
    first, *_, last = np.flatnonzero(seen)
    made = FoundFace(
        identity=identity,
        first=Moment(float(times[first]), frames[first]),
        last=Moment(float(times[last]), frames[last]),
        eye_distance=58.04,
        problems=(),
        signals=FaceSignals(
            first=int(first),
            confidence=np.where(seen, 0.991, 0.0)[first : last + 1],
            success=seen[first : last + 1],
            box=box[first : last + 1],
            motion=motion[first : last + 1],
            head_speed=np.where(seen, 0.02, np.nan)[first : last + 1],
            regions=NAMES,
        ),
    )
    return dataclasses.replace(made, **changed)


def prediction(events=None, seconds=4.0, faces=None, **changed):
    """A recording of one face, 30 frames a second, with three candidates.

    Args:
      events: the candidates; None for three that differ in what is known of them.
      seconds: length of the recording.
      faces: None for one face that is always seen.
      changed: other attributes.
    """
    times = np.arange(round(seconds * 30) + 1) / 30
    if events is None:
        events = (
            event(
                1,
                0.4,
                0.5,
                0.7,
                recognition=recognised(0.7, 0.2, 0.1),
                flags=("blink",),
            ),
            event(
                2,
                1.5,
                1.7,
                1.9,
                recognition=recognised(
                    0.4, 0.35, 0.25, reasons=("several classes are plausible",)
                ),
            ),
            event(3, 2.4, 3.0, 3.6),
        )
    if faces is None:
        faces = (face(1, times, [one for one in events if one.face == 1]),)
    made = Prediction(
        source=Path("recordings/clip.mp4"),
        frames=len(times),
        duration=float(times[-1]),
        frame_rate=30.0,
        numbers=np.arange(1, len(times) + 1),
        times=times,
        all_numbers=np.arange(1, len(times) + 1),
        all_times=times,
        faces=tuple(faces),
        events=tuple(events),
        recogniser=RECOGNISER,
        notes=("The frame rate is 30 Hz; the recogniser was trained at 200 Hz.",),
    )
    return dataclasses.replace(made, **changed)
