"""How action units, speech and swallowing displace the skin of a face."""

from collections.abc import Sequence

import numpy as np
from scipy import special

from datasets.synthetic.wild import expressions
from datasets.synthetic.wild.expressions import Style
from datasets.synthetic.wild_a.face import Face
from datasets.synthetic.wild_a.shape import COARSE, MARGIN

# Muscles of each unit: landmark, direction (x outwards for a pair, y downwards) and
# extent (x, y) in half widths of the face.
_Pull = tuple[str, tuple[float, float], tuple[float, float]]
_UNITS: dict[int, tuple[_Pull, ...]] = {
    1: (
        ("brow_inner", (0.05, -1.0), (0.22, 0.17)),
        ("forehead", (0.0, -0.6), (0.25, 0.25)),
    ),
    2: (
        ("brow_outer", (0.05, -1.0), (0.25, 0.17)),
        ("brow_middle", (0.0, -0.5), (0.2, 0.15)),
    ),
    4: (
        ("brow_inner", (-0.5, 0.85), (0.22, 0.17)),
        ("brow_middle", (-0.25, 0.6), (0.22, 0.15)),
        ("glabella", (0.0, 0.35), (0.14, 0.16)),
    ),
    5: (("lid_upper", (0.0, -1.0), (0.2, 0.07)),),
    6: (
        ("cheek", (0.05, -0.9), (0.28, 0.18)),
        ("lid_lower", (0.0, -0.5), (0.22, 0.09)),
        ("eye_outer", (-0.4, -0.2), (0.14, 0.14)),
    ),
    7: (
        ("lid_lower", (-0.1, -1.0), (0.22, 0.08)),
        ("lid_upper", (0.0, 0.4), (0.2, 0.06)),
    ),
    9: (
        ("nose_side", (0.05, -1.0), (0.13, 0.17)),
        ("nostril", (0.1, -0.8), (0.13, 0.11)),
        ("brow_inner", (-0.2, 0.45), (0.2, 0.14)),
        ("lip_upper_side", (0.0, -0.4), (0.2, 0.12)),
    ),
    10: (
        ("lip_upper_side", (0.05, -1.0), (0.2, 0.13)),
        ("cheek_inner", (0.1, -0.7), (0.17, 0.17)),
        ("nostril", (0.15, -0.35), (0.12, 0.11)),
    ),
    12: (
        ("mouth_corner", (0.75, -0.85), (0.22, 0.18)),
        ("cheek_low", (0.35, -0.6), (0.22, 0.2)),
        ("cheek", (0.05, -0.3), (0.25, 0.18)),
    ),
    14: (
        ("mouth_corner", (0.9, 0.1), (0.15, 0.12)),
        ("cheek_low", (-0.5, 0.0), (0.16, 0.16)),
    ),
    15: (
        ("mouth_corner", (0.1, 1.0), (0.19, 0.15)),
        ("chin_side", (0.0, 0.4), (0.2, 0.16)),
    ),
    17: (
        ("chin", (0.0, -1.0), (0.3, 0.2)),
        ("lip_lower", (0.0, -0.7), (0.3, 0.1)),
    ),
    20: (
        ("mouth_corner", (1.0, 0.2), (0.22, 0.15)),
        ("chin_side", (0.4, 0.2), (0.2, 0.16)),
        ("cheek_low", (0.5, 0.05), (0.2, 0.18)),
    ),
    24: (
        ("lip_upper", (0.0, 0.8), (0.36, 0.07)),
        ("lip_lower", (0.0, -0.8), (0.36, 0.08)),
        ("mouth_corner", (-0.4, 0.0), (0.16, 0.11)),
    ),
    26: (
        ("chin", (0.0, 1.0), (0.42, 0.28)),
        ("lip_lower", (0.0, 0.9), (0.3, 0.12)),
        ("jaw", (0.0, 0.5), (0.3, 0.3)),
    ),
}
# Landmarks of the lips and the jaw, which part at the line between the lips
_UPPER = ("lip_upper", "lip_upper_side")
_LOWER = ("lip_lower", "chin", "chin_side", "jaw")

# Widths in pixels over which motion ends at the line between the lips and at the
# midline of the face
_LIP_EDGE, _MIDDLE = 0.5, 1.5

_SPEECH: tuple[tuple[_Pull, ...], ...] = (
    (
        ("chin", (0.0, 1.0), (0.4, 0.28)),
        ("lip_lower", (0.0, 0.9), (0.3, 0.12)),
        ("lip_upper", (0.0, -0.25), (0.3, 0.09)),
        ("jaw", (0.0, 0.45), (0.3, 0.3)),
    ),
    (
        ("mouth_corner", (-1.0, 0.0), (0.22, 0.18)),
        ("lip_upper", (0.0, -0.3), (0.25, 0.1)),
        ("lip_lower", (0.0, 0.3), (0.25, 0.1)),
    ),
    (("mouth_corner", (1.0, 0.1), (0.22, 0.18)),),
)
_SWALLOW: tuple[_Pull, ...] = (
    ("throat", (0.0, -1.0), (0.3, 0.25)),
    ("chin", (0.0, -0.5), (0.4, 0.22)),
    ("lip_lower", (0.0, -0.35), (0.3, 0.1)),
)


def unit_fields(face: Face, style: Style) -> np.ndarray:
    """Returns the displacement by each action unit of each side at intensity 1.

    Returns:
      float32 [K, 2, D, D, 2], (x, y); K of ``expressions.UNITS``. With both sides, the
      largest displacement by each unit is 1.
    """
    fields = np.zeros((len(_UNITS), 2, COARSE, COARSE, 2), np.float32)
    for index, unit in enumerate(expressions.UNITS):
        for side in range(2):
            fields[index, side] = _field(
                face,
                _UNITS[unit],
                sides=(side,),
                turn=style.turns[index],
                reach=style.reaches[index],
            )
    return fields / _largest(fields.sum(1))[:, None, None, None, None]


def other_fields(face: Face) -> np.ndarray:
    """Returns displacements by the parts of speech and swallowing, of one pixel.

    Returns:
      float32 [4, D, D, 2], (x, y) in pixels.
    """
    fields = np.stack([_field(face, pulls, (0, 1)) for pulls in (*_SPEECH, _SWALLOW)])
    return fields / _largest(fields)[:, None, None, None]


def _largest(fields: np.ndarray) -> np.ndarray:
    """Returns the largest length in each of some fields [N, D, D, 2], float32 [N]."""
    return np.linalg.norm(fields, axis=-1).max((1, 2))


def _field(
    face: Face,
    pulls: Sequence[_Pull],
    sides: Sequence[int],
    turn: float = 0.0,
    reach: float = 1.0,
) -> np.ndarray:
    """Returns the sum of the pulls of muscles, float32 [D, D, 2].

    Args:
      face: has the landmarks.
      pulls: the muscles.
      sides: 0 for the left side of the image, 1 for the right one.
      turn: rotation of the direction in radians, mirrored on the left side.
      reach: factor of the extent.
    """
    y, x = np.mgrid[:COARSE, :COARSE].astype(np.float32) + np.float32(0.5 - MARGIN)
    field = np.zeros((COARSE, COARSE, 2), np.float32)
    cos, sin = np.cos(turn), np.sin(turn)
    below = special.expit((y - face.mouth[1]) / _LIP_EDGE)
    for landmark, (right, down), extent in pulls:
        middle = landmark in face.landmarks  # on the midline, so not a pair
        for side in sides:
            outwards = (-1, 1)[side]
            name = landmark if middle else f"{landmark}_{('left', 'right')[side]}"
            px, py = face.landmarks[name]
            rx, ry = (reach * face.radius * part for part in extent)
            r = ((x - px) / rx) ** 2 + ((y - py) / ry) ** 2
            # Flatter than a Gaussian in the middle, and it ends.
            fades = np.clip(1 - r / 9, 0, None) ** 4
            # A muscle moves its side of the face, and its lip.
            fades = fades * special.expit(outwards * (x - face.centre[0]) / _MIDDLE)
            if landmark in _LOWER:
                fades = fades * below
            elif landmark in _UPPER:
                fades = fades * (1 - below)
            vector = cos * right - sin * down, sin * right + cos * down
            field[..., 0] += outwards * vector[0] * fades
            field[..., 1] += vector[1] * fades
    return field
