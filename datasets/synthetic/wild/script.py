"""What happens in a clip: the expression, other movements, light and camera.

A script has no geometry. Renderers turn it into pictures, each with its own faces.
"""

import dataclasses

import numpy as np

from datasets.synthetic.time_course import TimeCourse
from datasets.synthetic.wild import expressions
from datasets.synthetic.wild.expressions import Style

# Movements other than the expression that records describe frame by frame.
DISTRACTORS = (
    "blink",
    "gaze",
    "speech",
    "swallow",
    "turn",
    "shift",
    "light",
    "brightness",
)

# Parts of a movement of speech: the jaw opens, the lips are rounded, the corners of the
# mouth are pulled apart.
SPEECH_PARTS = ("open", "round", "wide")

# Probability that an event is in the recording of a person of usual restlessness. The
# window around the apex contains a part of each event only.
_CHANCES = {"blink": 0.5, "gaze": 0.5, "speech": 0.4, "swallow": 0.2, "turn": 0.5}


@dataclasses.dataclass(frozen=True)
class Camera:
    """Properties of a recording.

    Attributes:
      read_noise: standard deviation of the noise of a black pixel, in grey levels.
      shot_noise: variance that is added for each grey level of brightness.
      flicker: relative amplitude of the light's flicker at 100 Hz.
      phase: of the flicker, in radians.
      readout: time from the exposure of the first row to that of the last in seconds.
      focus: standard deviation of the blur of the lens, in pixels at 112 x 112.
      codec: ``none``, ``jpeg`` or ``video``.
      quality: 0 to 1, of the codec.
      exposure: factor of the brightness.
    """

    read_noise: float
    shot_noise: float
    flicker: float
    phase: float
    readout: float
    focus: float
    codec: str
    quality: float
    exposure: float


@dataclasses.dataclass(frozen=True)
class Script:
    """What happens in a clip, over the frames 1 to ``course.last`` of its recording.

    Arrays over time have one entry for each frame of the recording, N.

    Attributes:
      course: time course of the expression; of nothing if it is neutral.
      amplitude: largest displacement of a point of the face at the apex in pixels at
        112 x 112; 0 if neutral.
      units: intensity of each of ``expressions.UNITS`` on the left and right side of
        the image, float [N, K, 2]: 1 for the strongest at the apex.
      blink: closure of the eyes, 0 to 1, float [N].
      gaze: horizontal and vertical direction of the eyes, -1 to 1, float [N, 2].
      speech: parts of speech, ``SPEECH_PARTS``, in pixels at 112 x 112, float [N, 3].
      swallow: displacement of throat and chin in pixels, float [N].
      head: yaw, pitch, roll in radians, shift right and down in pixels, relative
        change of size; float [N, 6].
      light: unit vector to the light, x to the right, y down, z towards the camera,
        float [N, 3].
      brightness: relative brightness of the light, float [N].
      ambient: share of the light that has no direction, 0 to 1.
      camera: of the recording.
    """

    course: TimeCourse
    amplitude: float
    units: np.ndarray
    blink: np.ndarray
    gaze: np.ndarray
    speech: np.ndarray
    swallow: np.ndarray
    head: np.ndarray
    light: np.ndarray
    brightness: np.ndarray
    ambient: float
    camera: Camera

    def distractors(self) -> np.ndarray:
        """Returns the strength of each of ``DISTRACTORS``, float32 [N, D].

        They are: closure of the eyes from 0 to 1; change of the gaze since the onset,
        0 or more; displacement by speech and by swallowing in pixels; rotation in
        degrees and shift in pixels of the head since the onset; angle in degrees by
        which the direction of the light has changed since then, and relative change of
        its brightness.
        """
        onset = self.course.onset - 1
        moved = self.head - self.head[onset]
        cosine = np.clip((self.light * self.light[onset]).sum(1), -1, 1)
        columns = {
            "blink": self.blink,
            "gaze": np.linalg.norm(self.gaze - self.gaze[onset], axis=1),
            "speech": np.abs(self.speech).max(1),
            "swallow": self.swallow,
            "turn": np.degrees(np.linalg.norm(moved[:, :3], axis=1)),
            "shift": np.linalg.norm(moved[:, 3:5], axis=1),
            "light": np.degrees(np.arccos(cosine)),
            "brightness": self.brightness / self.brightness[onset] - 1,
        }
        return np.stack([columns[name] for name in DISTRACTORS], 1).astype(np.float32)


def draw_camera(rng: np.random.Generator) -> Camera:
    """Draws the camera of a person's recordings."""
    codec = str(rng.choice(["none", "jpeg", "video"], p=[0.3, 0.4, 0.3]))
    return Camera(
        read_noise=float(rng.uniform(0.7, 2.0)),
        shot_noise=float(rng.uniform(0.01, 0.06)),
        flicker=float(rng.choice([0, rng.uniform(0.002, 0.015)], p=[0.5, 0.5])),
        phase=float(rng.uniform(0, 2 * np.pi)),
        readout=float(rng.uniform(0, 0.004)),
        focus=float(rng.uniform(0.3, 0.7)),
        codec=codec,
        quality=float(rng.uniform(0, 1)),
        exposure=float(rng.uniform(0.85, 1.1)),
    )


def draw(
    rng: np.random.Generator,
    style: Style,
    camera: Camera,
    emotion: str,
    amplitude: tuple[float, float],
) -> Script:
    """Draws what happens in a clip.

    Args:
      rng: the random numbers of the clip.
      style: of the person.
      camera: of the person's recordings; the phase of the flicker is drawn again.
      emotion: one of ``expressions.EMOTIONS``.
      amplitude: minimum and maximum of the amplitude in pixels at 112 x 112.
    """
    course = _draw_time_course(rng, style.speed)
    numbers = np.arange(1, course.last + 1)
    units = np.zeros((course.last, len(expressions.UNITS), 2))
    largest = 0.0
    if emotion != expressions.NEUTRAL:
        low, high = amplitude
        largest = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        largest = float(np.clip(largest * style.amplitude, low, high))
        display = expressions.draw_display(rng, style, emotion)
        for unit, strengths in display.items():
            # Units begin and end at slightly different speeds.
            own = dataclasses.replace(
                course,
                rise=course.rise * float(np.exp(rng.normal(0, 0.15))),
                fall=course.fall * float(np.exp(rng.normal(0, 0.15))),
            )
            intensity = np.array([own.intensity(n) for n in numbers.tolist()])
            units[:, expressions.UNITS.index(unit)] = intensity[:, None] * strengths

    # The same chances for all emotions, so that other movements say nothing about it
    events = {
        name: rng.random() < min(0.9, chance * style.restless)
        for name, chance in _CHANCES.items()
    }
    middle = rng.uniform(course.onset, course.offset)  # of an event
    return Script(
        course=course,
        amplitude=largest,
        units=units,
        blink=_draw_blink(rng, numbers) if events["blink"] else 0.0 * numbers,
        gaze=_draw_gaze(rng, numbers, shifts=events["gaze"]),
        speech=_draw_speech(rng, numbers)
        if events["speech"]
        else np.zeros((len(numbers), 3)),
        swallow=rng.uniform(0.3, 1.2) * _bump(numbers, middle, rng.uniform(25, 60))
        if events["swallow"]
        else 0.0 * numbers,
        head=_draw_head(rng, numbers, turns=events["turn"]),
        light=_draw_light(rng, numbers),
        brightness=1 + rng.uniform(0, 0.03) * _wave(rng, numbers, (80, 300)),
        ambient=float(rng.uniform(0.45, 0.8)),
        camera=dataclasses.replace(camera, phase=float(rng.uniform(0, 2 * np.pi))),
    )


def _draw_time_course(rng: np.random.Generator, speed: float) -> TimeCourse:
    """Draws a time course of about 80 to 500 ms, and some frames around it."""
    onset = 1 + int(rng.integers(4, 17))
    rise = int(np.clip(speed * np.exp(rng.uniform(np.log(8), np.log(40))), 6, 60))
    fall = int(np.clip(speed * np.exp(rng.uniform(np.log(10), np.log(60))), 8, 80))
    apex = onset + rise
    offset = apex + fall
    last = offset + int(rng.integers(4, 17))
    rise_power, fall_power = np.exp(rng.normal(0, 0.25, 2))
    return TimeCourse(onset, apex, offset, last, float(rise_power), float(fall_power))


def _smooth_step(t: np.ndarray) -> np.ndarray:
    """Returns 0 below 0 and 1 above 1, with a smooth transition."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def _bump(numbers: np.ndarray, middle: float, length: float) -> np.ndarray:
    """Returns a smooth pulse of height 1 around a frame, ``length`` frames wide."""
    return np.cos(np.pi / 2 * np.clip((numbers - middle) / (length / 2), -1, 1)) ** 2


def _wave(
    rng: np.random.Generator, numbers: np.ndarray, periods: tuple[float, float]
) -> np.ndarray:
    """Returns a smooth random function of time, about -1 to 1, float [N]."""
    total = np.zeros(len(numbers))
    for weight in (0.6, 0.4):
        period = np.exp(rng.uniform(*np.log(periods)))
        total += weight * np.sin(
            2 * np.pi * numbers / period + rng.uniform(0, 2 * np.pi)
        )
    return total


def _draw_blink(rng: np.random.Generator, numbers: np.ndarray) -> np.ndarray:
    """Draws a blink, sometimes an incomplete one: closes in 50 to 100 ms."""
    starts = rng.uniform(-20, numbers[-1])
    closing, closed, opening = (
        rng.uniform(10, 20),
        rng.uniform(2, 10),
        rng.uniform(20, 45),
    )
    depth = 1.0 if rng.random() < 0.7 else rng.uniform(0.15, 0.6)
    t = numbers - starts
    shut = _smooth_step(t / closing) - _smooth_step((t - closing - closed) / opening)
    return depth * shut


def _draw_gaze(
    rng: np.random.Generator, numbers: np.ndarray, *, shifts: bool
) -> np.ndarray:
    """Draws the direction of the eyes; a saccade takes 20 to 50 ms."""
    gaze = np.broadcast_to(rng.normal(0, 0.2, 2), (len(numbers), 2)).copy()
    if shifts:
        for _ in range(rng.integers(1, 3)):
            at, length = rng.uniform(0, numbers[-1]), rng.uniform(4, 10)
            step = _smooth_step((numbers - at) / length)
            gaze += step[:, None] * rng.normal(0, [0.5, 0.3])
    return np.clip(gaze, -1, 1)


def _draw_speech(rng: np.random.Generator, numbers: np.ndarray) -> np.ndarray:
    """Draws movements of the mouth like those of speech: 3 to 8 changes a second."""
    envelope = _smooth_step((numbers - rng.uniform(-30, numbers[-1])) / 10)
    size = rng.uniform(0.3, 1.6)
    parts = np.stack([_wave(rng, numbers, (25, 70)) for _ in SPEECH_PARTS], 1)
    parts[:, 0] = np.abs(parts[:, 0])  # the jaw opens only
    return size * envelope[:, None] * parts * [1.0, 0.5, 0.5]


def _draw_head(
    rng: np.random.Generator, numbers: np.ndarray, *, turns: bool
) -> np.ndarray:
    """Draws the motion of the head: a pose, a slow sway, and sometimes a turn."""
    pose = rng.normal(0, np.radians([5, 3, 2]))
    head = np.zeros((len(numbers), 6))
    head[:, :3] = pose
    scales = (*np.radians([0.4, 0.4, 0.3]), 0.4, 0.4, 0.003)
    for column, scale in enumerate(scales):
        extent = rng.uniform(0.2, 1) * scale
        head[:, column] += extent * _wave(rng, numbers, (80, 300))
    if turns:
        at, length = rng.uniform(-20, numbers[-1]), rng.uniform(30, 120)
        step = _smooth_step((numbers - at) / length)[:, None]
        extents = np.radians([4.0, 3.0, 2.0]) * rng.normal(0, 1, 3)
        head[:, :3] += step * extents
        head[:, 3:5] += step * rng.normal(0, 0.7, 2)
    return head


def _draw_light(rng: np.random.Generator, numbers: np.ndarray) -> np.ndarray:
    """Draws the direction of the light, which moves by some degrees."""
    side, height = rng.uniform(-0.9, 0.9), rng.uniform(-0.9, 0.2)
    moves = rng.uniform(0, 0.12, 2)
    light = np.stack(
        [
            side + moves[0] * _wave(rng, numbers, (60, 250)),
            height + moves[1] * _wave(rng, numbers, (60, 250)),
            np.ones(len(numbers)),
        ],
        1,
    )
    return light / np.linalg.norm(light, axis=1, keepdims=True)
