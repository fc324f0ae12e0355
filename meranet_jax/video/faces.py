"""Where the face is in a clip: one square for all its frames, eyes level.

One square and not one a frame, since a box that jumps by a pixel would look like the
motion that is to be recognised.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from meranet_jax.errors import DataError
from meranet_jax.video import mtcnn

# Around the detector's box, which ends at hairline, chin and cheeks.
MARGIN = 0.1

# Frames are looked at with this longest side; faces fill those of these data sets.
_LOOKED_AT = 640

# How much two boxes must share (intersection over union) to be of one face.
_SAME = 0.5


@dataclasses.dataclass(frozen=True)
class Face:
    """A face that was found in an image.

    Attributes:
      box: float64 [4], left, top, right and bottom in pixels.
      eyes: float64 [2, 2], x and y of the one on the left of the image, then of the
        other.
      score: the detector's, from 0 to 1.
    """

    box: np.ndarray
    eyes: np.ndarray
    score: float


@dataclasses.dataclass(frozen=True)
class Square:
    """The part of a frame that becomes a clip.

    Attributes:
      x: its centre, in pixels from the frame's left edge.
      y: the same from its top edge.
      side: in pixels.
      angle: from level to the line through the eyes, clockwise, in degrees.
    """

    x: float
    y: float
    side: float
    angle: float

    def as_array(self) -> np.ndarray:
        """float32 [4]: x, y, side, angle."""
        return np.array(dataclasses.astuple(self), np.float32)

    @classmethod
    def from_array(cls, values: np.ndarray) -> "Square | None":
        """The square of a record; None of one whose frames were taken whole."""
        return cls(*map(float, values)) if values[2] > 0 else None

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The square out of uint8 [H, W, 3], turned so that the eyes are level.

        Beyond the frame its edge is repeated.

        Returns:
          uint8 [side, side, 3]
        """
        side = max(round(self.side), 1)
        step = self.side / side
        cos, sin = np.cos(np.radians(self.angle)), np.sin(np.radians(self.angle))
        turn = step * np.array([[cos, -sin], [sin, cos]])
        # Pixels are their centres here, so the middle of the square is (side - 1) / 2.
        middle = np.array([self.x - 0.5, self.y - 0.5])
        start = middle - turn @ np.full(2, (side - 1) / 2)
        return cv2.warpAffine(
            image,
            np.column_stack([turn, start]),
            (side, side),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )


def detect(image: np.ndarray) -> list[Face]:
    """The faces in uint8 [H, W, 3], the largest first."""
    height, width = image.shape[:2]
    scale = _LOOKED_AT / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    image = cv2.resize(image, size, interpolation=method)
    boxes, landmarks, scores = mtcnn.detect(image)
    faces = [
        Face(box / scale, eyes / scale, float(score))
        for box, eyes, score in zip(boxes, landmarks[:, :2], scores, strict=True)
    ]
    return sorted(faces, key=lambda face: -_area(face.box))


def locate(images: Mapping[int, np.ndarray], margin: float) -> Square:
    """The one square for a clip, from some of its frames.

    The largest face of each frame; the median of those that agree.

    Args:
      images: frames by number, uint8 [H, W, 3] each.
      margin: what is added on each side, as a share of the face's longer side.

    Raises:
      DataError: if there is no face in half of the frames or they do not agree.
    """
    found = {number: faces[0] for number, i in images.items() if (faces := detect(i))}
    looked_at = ", ".join(map(str, images))
    if 2 * len(found) < len(images) or not found:
        raise DataError(
            f"a face was found in {len(found)} of its frames {looked_at}, which are "
            f"{len(images)}"
        )
    boxes = np.stack([face.box for face in found.values()])
    middle = np.median(boxes, axis=0)
    agreeing = [f for f in found.values() if overlap(f.box, middle) >= _SAME]
    if 2 * len(agreeing) < len(images):
        raise DataError(
            f"the faces in its frames {looked_at} stand in different places"
        )
    return _square(agreeing, margin)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes [4]."""
    corners = np.concatenate(
        [np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])]
    )
    shared = _area(corners)
    return shared / max(_area(one) + _area(other) - shared, 1e-9)


def _square(faces: Sequence[Face], margin: float) -> Square:
    left, top, right, bottom = np.median([face.box for face in faces], axis=0)
    (x0, y0), (x1, y1) = np.median([face.eyes for face in faces], axis=0)
    return Square(
        x=float(left + right) / 2,
        y=float(top + bottom) / 2,
        side=float(max(right - left, bottom - top)) * (1 + 2 * margin),
        angle=float(np.degrees(np.arctan2(y1 - y0, x1 - x0))),
    )


def _area(box: np.ndarray) -> float:
    return float(np.prod(np.maximum(box[2:] - box[:2], 0)))
