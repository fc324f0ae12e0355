"""How action units, speech and swallowing displace the points of a face.

Each movement is a sum of Gaussian fields around landmarks, on each side of the face.
The directions follow the definitions of FACS; extents and proportions are ours.
"""

from typing import NamedTuple

import numpy as np

from datasets.synthetic.wild.expressions import UNITS, Style
from datasets.synthetic.wild_b.shape import Shape, tangent_depth
from datasets.synthetic.wild_b.splatting import Cloud


class Pull(NamedTuple):
    """A displacement around a landmark, in pixels for an intensity of 1.

    Attributes:
      place: name of the landmark, see ``Shape.landmarks``.
      out: displacement away from the middle of the face.
      down: displacement downwards.
      across: standard deviation of the field in x.
      along: the same in y.
      part: ``skin``; ``upper`` or ``lower`` for the points above or below the line
        between the lips only; ``press`` for motion towards that line, by ``down``;
        ``lid`` for the upper lid only, more at its edge.
      front: displacement towards the camera.
    """

    place: str
    out: float
    down: float
    across: float
    along: float
    part: str = "skin"
    front: float = 0.0


_PULLS: dict[int, tuple[Pull, ...]] = {
    1: (
        Pull("brow_inner", 0.1, -1.0, 5.0, 4.5),
        Pull("forehead", 0.0, -0.45, 7.0, 6.0),
    ),
    2: (
        Pull("brow_outer", 0.05, -1.0, 5.5, 4.5),
        Pull("brow_middle", 0.0, -0.4, 5.0, 6.0),
    ),
    4: (
        Pull("brow_inner", -0.55, 0.75, 5.0, 4.5),
        Pull("brow_middle", -0.15, 0.4, 6.0, 4.0),
        Pull("glabella", 0.0, 0.25, 4.0, 4.0),
    ),
    5: (
        Pull("lid_upper", 0.0, -1.0, 7.0, 5.0, "lid"),
        Pull("lid_upper", 0.0, -0.2, 5.5, 2.5),
    ),
    6: (
        Pull("cheek", 0.15, -0.9, 7.0, 5.5, front=0.3),
        Pull("lid_lower", 0.0, -0.4, 5.5, 2.5),
        Pull("eye_outer", -0.45, 0.1, 3.5, 4.0),
    ),
    7: (
        Pull("lid_lower", -0.2, -1.0, 5.5, 2.4),
        Pull("lid_upper", 0.0, 0.35, 7.0, 5.0, "lid"),
    ),
    9: (
        Pull("nose_side", 0.1, -0.9, 3.5, 5.0),
        Pull("nostril", 0.2, -0.75, 3.2, 3.0),
        Pull("glabella", 0.0, 0.45, 6.0, 3.5),
        Pull("lip_upper", 0.0, -0.35, 5.0, 2.5, "upper"),
    ),
    10: (
        Pull("lip_upper", 0.1, -1.0, 4.5, 3.5, "upper"),
        Pull("fold", 0.2, -0.6, 4.5, 5.0),
        Pull("nostril", 0.15, -0.35, 3.0, 2.5),
    ),
    12: (
        Pull("corner", 0.7, -0.75, 5.0, 4.5),
        Pull("fold", 0.3, -0.4, 5.0, 5.0),
        Pull("cheek", 0.1, -0.3, 7.0, 6.0, front=0.3),
    ),
    14: (
        Pull("corner", 0.85, 0.05, 3.6, 3.4, front=-0.5),
        Pull("mouth_side", -0.7, 0.0, 3.6, 5.0, front=-0.4),
    ),
    15: (
        Pull("corner", 0.15, 1.0, 4.5, 4.5),
        Pull("chin_side", 0.1, 0.35, 5.0, 5.0),
    ),
    17: (
        Pull("chin", 0.0, -1.0, 7.5, 5.5, front=0.3),
        Pull("lips", 0.0, -0.45, 8.0, 3.5),
    ),
    20: (
        Pull("corner", 1.0, 0.15, 5.5, 5.0),
        Pull("chin_side", 0.4, 0.1, 6.0, 6.0),
    ),
    24: (
        Pull("lips", 0.0, 1.0, 9.0, 4.5, "press"),
        Pull("corner", -0.3, 0.0, 4.0, 3.0),
    ),
    26: (Pull("chin", 0.0, 1.0, 22.0, 16.0, "lower"),),
}

# Parts of speech, in the order of ``script.SPEECH_PARTS``
_SPEECH = (
    (Pull("chin", 0.0, 1.0, 22.0, 16.0, "lower"),),
    (
        Pull("corner", -1.0, 0.0, 5.5, 5.0, front=0.6),
        Pull("lips", 0.0, 0.0, 8.0, 5.0, front=1.0),
    ),
    (Pull("corner", 1.0, 0.05, 5.5, 5.0),),
)
_SWALLOW = (Pull("chin", 0.0, -0.4, 8.0, 6.0),)

# Distance over which one side of the face passes into the other
_MIDDLE = 1.2


def basis(
    shape: Shape, style: Style, cloud: Cloud, lid: np.ndarray, units: list[int]
) -> np.ndarray:
    """Returns the displacements of points by action units of a person.

    Args:
      shape: of the head.
      style: turns the directions and changes the extents; the turns are mirrored.
      cloud: the points, N.
      lid: 0 at the upper crease of the lid to 1 at its edge; 0 elsewhere, float [N].
      units: the units, of ``UNITS``.

    Returns:
      The displacement by each unit at an intensity of 1 on the left and the right side
      of the image, float32 [2 * len(units), N, 3].
    """
    fields = []
    for unit in units:
        k = UNITS.index(unit)
        turn, reach = float(style.turns[k]), float(style.reaches[k])
        for side in (-1, 1):
            fields.append(_field(shape, cloud, lid, _PULLS[unit], side, turn, reach))
    return np.stack(fields)


def speech_basis(shape: Shape, cloud: Cloud, lid: np.ndarray) -> np.ndarray:
    """Returns the displacements by the parts of speech, float32 [3, N, 3]."""
    return np.stack([_both(shape, cloud, lid, pulls) for pulls in _SPEECH])


def swallow_basis(shape: Shape, cloud: Cloud, lid: np.ndarray) -> np.ndarray:
    """Returns the displacements of a face that swallows, float32 [N, 3]."""
    return _both(shape, cloud, lid, _SWALLOW)


def _both(
    shape: Shape, cloud: Cloud, lid: np.ndarray, pulls: tuple[Pull, ...]
) -> np.ndarray:
    left, right = (_field(shape, cloud, lid, pulls, side, 0.0, 1.0) for side in (-1, 1))
    return left + right


def _field(
    shape: Shape,
    cloud: Cloud,
    lid: np.ndarray,
    pulls: tuple[Pull, ...],
    side: int,
    turn: float,
    reach: float,
) -> np.ndarray:
    """Returns the displacement by a movement on one side, float32 [N, 3]."""
    x, y, _ = cloud.position.T
    x = side * x  # positive on the side that moves
    own = 1 / (1 + np.exp(-np.clip(x / _MIDDLE, -30, 30)))
    below, press = _lip_sides(shape, x, y)
    weights = {
        "skin": 1.0,
        "upper": 1 - below,
        "lower": below,
        "press": press,
        "lid": lid,
    }
    cos, sin = np.cos(turn), np.sin(turn)
    marks = shape.landmarks()
    total = np.zeros((len(x), 3))
    for pull in pulls:
        px, py = marks[pull.place]
        across, along = reach * pull.across, reach * pull.along
        field = np.exp(-(((x - px) / across) ** 2 + ((y - py) / along) ** 2) / 2)
        field = field * own * weights[pull.part]
        out = cos * pull.out - sin * pull.down
        down = sin * pull.out + cos * pull.down
        total += field[:, None] * [side * out, down, pull.front]
    # The skin slides over the head. The edge of the lid does so over the eye.
    total[:, 2] += tangent_depth(cloud.normal, total[:, :2])
    return total.astype(np.float32)


def _lip_sides(
    shape: Shape, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what is below the line between the lips, and the way to that line.

    The first is a step within the mouth and smooth outside of it, from 0 to 1. The
    second is the direction to the line, -1 to 1, which is 0 on it.
    """
    from_line = y - shape.lip_line(x)
    half = shape.mouth[0]
    width = 0.02 + 0.45 * np.maximum(np.abs(x) - half + 0.5, 0)
    below = 1 / (1 + np.exp(-np.clip(from_line / width, -30, 30)))
    return below, -np.tanh(from_line / 2.5)
