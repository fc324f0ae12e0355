"""What moves: action units, their course in time, and the head beneath them."""

import dataclasses

import numpy as np

from datasets.synthetic.face import FRAME, Face

# Action units after FACS: landmark, direction (x outwards for a pair, y downwards),
# and how far the motion reaches, in half widths of the face.
ACTION_UNITS = {
    1: [("brow_inner", (0.0, -1.0), 0.20)],
    2: [("brow_outer", (0.0, -1.0), 0.20)],
    4: [("brow_inner", (-0.5, 0.9), 0.20), ("brow_outer", (-0.2, 0.6), 0.18)],
    6: [("cheek", (0.0, -0.8), 0.24), ("lid_lower", (0.0, -0.5), 0.14)],
    9: [("nostril", (0.0, -1.0), 0.17), ("nose_bridge", (0.0, -0.7), 0.16)],
    12: [("mouth_corner", (0.8, -0.8), 0.22)],
    26: [("chin", (0.0, 1.0), 0.36), ("lip_lower", (0.0, 0.9), 0.22)],
}

# The units of each emotion.
EMOTIONS = {"disgust": (9, 4), "happiness": (12, 6), "surprise": (1, 2, 26)}

# A point counts as moved from a quarter of a pixel on.
MOVED = 0.25


@dataclasses.dataclass(frozen=True)
class Course:
    """When a recording's expression rises and falls; frames are numbered from 1.

    Attributes:
      onset: the last neutral frame.
      apex: the frame of the greatest motion.
      offset: the first neutral frame again.
      last: the recording's last frame.
      rise: how the rise bends: 1 is a half cosine, more is a later start.
      fall: likewise.
    """

    onset: int
    apex: int
    offset: int
    last: int
    rise: float
    fall: float

    def intensity(self, number: int) -> float:
        """0 while neutral, 1 at the apex."""
        if number <= self.onset or number >= self.offset:
            return 0.0
        if number <= self.apex:
            part = ((number - self.onset) / (self.apex - self.onset)) ** self.rise
        else:
            part = ((self.offset - number) / (self.offset - self.apex)) ** self.fall
        return float(np.sin(np.pi / 2 * part) ** 2)


def draw_course(rng: np.random.Generator) -> Course:
    """Lengths as a camera of 200 frames a second sees them: 20 to 60 frames."""
    onset = 1 + int(rng.integers(4, 17))
    apex = onset + int(rng.integers(8, 25))
    offset = apex + int(rng.integers(12, 37))
    last = offset + int(rng.integers(4, 17))
    rise, fall = rng.uniform(0.7, 1.4, 2)
    return Course(onset, apex, offset, last, float(rise), float(fall))


def displacement(
    face: Face, emotion: str, amplitude: float, rng: np.random.Generator
) -> np.ndarray:
    """Where each pixel of the face moves at the apex.

    Args:
      face: whose landmarks the motion starts from.
      emotion: one of ``EMOTIONS``.
      amplitude: the longest displacement in pixels.
      rng: draws the strength of each unit and the difference between the sides.

    Returns:
      float32 [FRAME, FRAME, 2], (x, y) in pixels.
    """
    y, x = np.mgrid[:FRAME, :FRAME].astype(np.float32) + 0.5
    field = np.zeros((FRAME, FRAME, 2), np.float32)
    sides = dict(zip(("left", "right"), rng.uniform(0.8, 1.2, 2), strict=True))
    for unit in EMOTIONS[emotion]:
        strength = rng.uniform(0.75, 1.25)
        for landmark, direction, reach in ACTION_UNITS[unit]:
            for side, outwards in (("left", -1), ("right", 1)):
                name = f"{landmark}_{side}"
                share = strength * sides[side]
                if landmark in face.landmarks:  # in the middle: one point, not two
                    name, share = landmark, strength / 2
                px, py = face.landmarks[name]
                width = 2 * (reach * face.radius) ** 2
                fades = np.exp(-((x - px) ** 2 + (y - py) ** 2) / width)
                vector = np.array([direction[0] * outwards, direction[1]])
                field += (share * fades)[..., None] * vector.astype(np.float32)
    length = np.linalg.norm(field, axis=-1).max()
    return field * np.float32(amplitude / length)


def head_path(
    numbers: np.ndarray, drift: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A slow sway of the whole head.

    Args:
      numbers: frame numbers [T].
      drift: the largest shift in pixels.
      rng: draws periods, phases and directions.

    Returns:
      Shifts [T, 2] in pixels and angles [T] in radians.
    """
    period = rng.uniform(80, 200, 3)
    phase = rng.uniform(0, 2 * np.pi, 3)
    extent = rng.uniform(0.3, 1, 3) * drift * np.array([1, 1, 0.006])
    sway = extent * np.sin(2 * np.pi * numbers[:, None] / period + phase)
    return sway[:, :2], sway[:, 2]
