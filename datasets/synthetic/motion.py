"""Motion of the synthetic faces: action units and motion of the head."""

import numpy as np

from datasets.synthetic.face import FRAME, Face
from datasets.synthetic.time_course import TimeCourse

# Action units of FACS: landmark, direction (x outwards for a pair, y downwards), and
# standard deviation of the Gaussian region that moves, in half widths of the face.
ACTION_UNITS = {
    1: [("brow_inner", (0.0, -1.0), 0.20)],
    2: [("brow_outer", (0.0, -1.0), 0.20)],
    4: [("brow_inner", (-0.5, 0.9), 0.20), ("brow_outer", (-0.2, 0.6), 0.18)],
    6: [("cheek", (0.0, -0.8), 0.24), ("lid_lower", (0.0, -0.5), 0.14)],
    9: [("nostril", (0.0, -1.0), 0.17), ("nose_bridge", (0.0, -0.7), 0.16)],
    12: [("mouth_corner", (0.8, -0.8), 0.22)],
    26: [("chin", (0.0, 1.0), 0.36), ("lip_lower", (0.0, 0.9), 0.22)],
}

# Action units of each emotion.
EMOTIONS = {"disgust": (9, 4), "happiness": (12, 6), "surprise": (1, 2, 26)}

# Minimum displacement in pixels for the motion mask.
MOTION_THRESHOLD = 0.25


def draw_time_course(rng: np.random.Generator) -> TimeCourse:
    """Draws a random time course of 20 to 60 frames."""
    onset = 1 + int(rng.integers(4, 17))
    apex = onset + int(rng.integers(8, 25))
    offset = apex + int(rng.integers(12, 37))
    last = offset + int(rng.integers(4, 17))
    rise, fall = rng.uniform(0.7, 1.4, 2)
    return TimeCourse(onset, apex, offset, last, float(rise), float(fall))


def displacement(
    face: Face, emotion: str, amplitude: float, rng: np.random.Generator
) -> np.ndarray:
    """Returns the displacement of each pixel of the face at the apex.

    Args:
      face: the face whose landmarks move.
      emotion: one of ``EMOTIONS``.
      amplitude: maximum displacement in pixels.
      rng: draws the strength of each action unit and the asymmetry of the sides.

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
                if landmark in face.landmarks:  # on the midline, so not a pair
                    name, share = landmark, strength / 2
                px, py = face.landmarks[name]
                width = 2 * (reach * face.radius) ** 2
                fades = np.exp(-((x - px) ** 2 + (y - py) ** 2) / width)
                vector = np.array([direction[0] * outwards, direction[1]])
                field += (share * fades)[..., None] * vector.astype(np.float32)
    length = np.linalg.norm(field, axis=-1).max()
    return field * np.float32(amplitude / length)


def head_motion(
    numbers: np.ndarray, drift: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a slow, rigid motion of the head.

    Args:
      numbers: frame numbers [T].
      drift: maximum shift in pixels.
      rng: draws periods, phases and directions.

    Returns:
      Shifts [T, 2] in pixels and angles [T] in radians.
    """
    period = rng.uniform(80, 200, 3)
    phase = rng.uniform(0, 2 * np.pi, 3)
    extent = rng.uniform(0.3, 1, 3) * drift * np.array([1, 1, 0.006])
    sway = extent * np.sin(2 * np.pi * numbers[:, None] / period + phase)
    return sway[:, :2], sway[:, 2]
