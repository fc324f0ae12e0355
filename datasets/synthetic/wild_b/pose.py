"""Rotations of the head and the eyes."""

import numpy as np

_GAZE = np.radians([24.0, 16.0])  # rotation of the eyes for a gaze of 1


def head_rotation(head: np.ndarray) -> np.ndarray:
    """Returns the rotation of a head, float32 [3, 3].

    Args:
      head: yaw, pitch and roll, and what follows them in ``Script.head``. Positive yaw
        turns the nose to the right of the image, positive pitch turns it downwards,
        positive roll turns the head clockwise.
    """
    yaw, pitch, roll = head[:3].tolist()
    return (_about_z(roll) @ _about_x(pitch) @ _about_y(yaw)).astype(np.float32)


def eye_rotation(gaze: np.ndarray) -> np.ndarray:
    """Returns the rotation of eyes that look right and down by -1 to 1, [3, 3]."""
    right, down = (_GAZE * gaze).tolist()
    return (_about_x(down) @ _about_y(right)).astype(np.float32)


def products(vectors: np.ndarray, ways: np.ndarray) -> np.ndarray:
    """Returns the products of vectors, [N, 3], with others, [C, 3]: float32 [C, N].

    A library for matrices could round differently with another number of threads.
    """
    x, y, z = vectors.T
    return np.stack([a * x + b * y + c * z for a, b, c in ways])


def _about_x(angle: float) -> np.ndarray:
    """Returns the rotation that turns what is in front downwards."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, s], [0, -s, c]])


def _about_y(angle: float) -> np.ndarray:
    """Returns the rotation that turns what is in front to the right."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _about_z(angle: float) -> np.ndarray:
    """Returns the rotation that turns the top to the right."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
