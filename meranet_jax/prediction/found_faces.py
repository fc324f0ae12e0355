"""What was measured of each face, frame by frame, and what makes it unreliable."""

import numpy as np

from meranet_jax.prediction.results import FaceSignals, FoundFace, Moment, Problem
from meranet_jax.video import sampling
from meranet_jax.video.candidates import Settings
from meranet_jax.video.facial_motion import EYES, REGIONS
from meranet_jax.video.measurement import FaceMotion, Measurement

# Distance between the eyes in pixels below which a face is too small: a motion of a
# hundredth of it, as of a weak expression, is a third of a pixel.
SMALLEST = 32.0

# How far the nose is from the middle of the eyes, in distances between the eyes, when
# a face is turned away: about 25 degrees.
_TURNED = 0.25

# Share of the detections, or of the frames, that show it, from which a trouble is said
# of the whole recording.
_MOSTLY = 0.5
_OFTEN_MOVING = 0.25


class Clock:
    """The frames of a recording by their times."""

    def __init__(self, measurement: Measurement):
        """Takes the times of all frames."""
        self._times = measurement.all_times
        self._numbers = measurement.all_numbers

    @property
    def step(self) -> float:
        """The usual time between two frames in seconds; 0 if there is only one."""
        return float(np.median(np.diff(self._times))) if len(self._times) > 1 else 0.0

    @property
    def first(self) -> Moment:
        """The first frame."""
        return self.at(0)

    @property
    def last(self) -> Moment:
        """The last frame."""
        return self.at(-1)

    def moment(self, time: float) -> Moment:
        """Returns the frame that is nearest to a time in seconds, and its time."""
        return self.at(sampling.nearest_index(self._times, time))

    def at(self, index: int) -> Moment:
        """Returns the frame with an index among all frames."""
        return Moment(float(self._times[index]), int(self._numbers[index]))

    def of_frame(self, number: int) -> Moment | None:
        """Returns the frame with a number; None if there is none."""
        index = int(np.searchsorted(self._numbers, number))
        if index == len(self._numbers) or self._numbers[index] != number:
            return None
        return self.at(index)


def describe(face: FaceMotion, measurement: Measurement, clock: Clock) -> FoundFace:
    """Describes a face with what was measured of it.

    Args:
      face: what was measured of it.
      measurement: what it is part of.
      clock: of the recording.
    """
    detections = face.track.detections
    eyes = np.array([d.face.eyes for d in detections])  # [D, 2, 2]
    distances = np.linalg.norm(eyes[:, 1] - eyes[:, 0], axis=-1) * measurement.scale
    signals = _signals(face, measurement)
    problems: list[Problem] = []
    # In the pictures that were measured, which are smaller than those of large videos
    if np.median(distances) < SMALLEST * measurement.scale:
        problems.append("too small")
    if np.mean([turn(d.face.landmarks) > _TURNED for d in detections]) > _MOSTLY:
        problems.append("turned away")
    speed = signals.head_speed[np.isfinite(signals.head_speed)]
    if len(speed) and np.mean(speed > Settings().head_speed) > _OFTEN_MOVING:
        problems.append("shaking")
    return FoundFace(
        identity=face.track.identity,
        first=clock.moment(detections[0].time),
        last=clock.moment(detections[-1].time),
        eye_distance=float(np.median(distances)),
        problems=tuple(problems),
        signals=signals,
    )


def turn(landmarks: np.ndarray) -> float:
    """Returns how far the nose is from the middle of the eyes, along the line of both.

    Args:
      landmarks: [5, 2], see ``faces.Face``.

    Returns:
      0 or more, in distances between the eyes.
    """
    one, other = landmarks[:2]
    along = other - one
    length = max(float(np.hypot(*along)), 1e-6)
    return abs(float((landmarks[2] - (one + other) / 2) @ along)) / length**2


def box_at(face: FaceMotion, time: float) -> np.ndarray:
    """Returns the box [4] of the detection that is nearest to a time in seconds."""
    nearest = min(face.track.detections, key=lambda d: abs(d.time - time))
    return nearest.face.box


def _signals(face: FaceMotion, measurement: Measurement) -> FaceSignals:
    """Combines what the windows of a face, which overlap, have measured."""
    samples = np.array([d.sample for d in face.track.detections])
    start = int(samples[0])
    ends = [w.first + len(w.motion) for w in face.windows]
    frames = max(int(samples[-1]) + 1, *ends, 0) - start
    confidence = np.zeros(frames)
    box = np.full((frames, 4), np.nan)
    seen = np.zeros(frames, bool)
    total = np.zeros((frames, len(REGIONS)))
    speed, count = np.zeros(frames), np.zeros(frames)
    for window in face.windows:
        motion = np.array(window.motion, np.float64)
        part = slice(window.first - start, window.first - start + len(motion))
        seen[part] = True
        still = motion.min(0)
        # Eyes are open most of the time, but may blink where the window begins.
        still[EYES] = np.median(motion[:, EYES], 0)
        total[part] += np.abs(motion - still)
        if len(motion) > 1:
            times = measurement.times[window.first : window.first + len(motion)]
            moved = np.gradient(np.array(window.shift, np.float64), times, axis=0)
            speed[part] += np.linalg.norm(moved, axis=1)
        count[part] += 1
    seen[samples - start] = True
    scores = np.array([d.face.score for d in face.track.detections])
    boxes = np.array([d.face.box for d in face.track.detections]) * measurement.scale
    index = np.flatnonzero(seen)
    # Between two detections, which are at most half a second apart
    for side in range(4):
        box[index, side] = np.interp(index, samples - start, boxes[:, side])
    nearest = np.interp(index, samples - start, np.arange(len(samples)))
    confidence[index] = scores[np.rint(nearest).astype(int)]
    measured = np.where(count, count, np.nan)
    return FaceSignals(
        first=start,
        confidence=confidence,
        success=seen,
        box=box,
        motion=total / measured[:, None],
        head_speed=speed / measured,
        regions=tuple(region.name for region in REGIONS),
    )
