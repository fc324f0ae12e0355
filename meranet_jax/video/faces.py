"""Face crops: one square for all frames of a clip, rotated so that the eyes are level.

All frames share one crop, since a box that jumps by a pixel between frames would look
like the motion that is to be recognised.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from meranet_jax.errors import DataError
from meranet_jax.video import mtcnn, sampling

# Default margin on each side of the detector's box, which ends at the hairline, the
# chin and the cheeks, relative to its longer side.
MARGIN = 0.1

# Number of a clip's frames in which the face is detected.
_DETECTION_FRAMES = 5

# Longest side in pixels to which frames are resized for detection; the faces of these
# data sets fill most of the frame.
_DETECTION_SIZE = 640

# Minimum intersection over union of two boxes of the same face.
_MIN_OVERLAP = 0.5

# Minimum one of the box of a face that is meant, which may have moved.
_LEAST_OVERLAP = 0.2


@dataclasses.dataclass(frozen=True)
class Face:
    """A face detected in an image.

    Attributes:
      box: float64 [4], left, top, right and bottom in pixels.
      landmarks: float64 [5, 2], x and y in pixels of the eye on the left of the image,
        the other eye, the nose, the left and the right corner of the mouth.
      score: detection score from 0 to 1.
    """

    box: np.ndarray
    landmarks: np.ndarray
    score: float

    @property
    def eyes(self) -> np.ndarray:
        """The landmarks of the eyes, [2, 2]."""
        return self.landmarks[:2]


@dataclasses.dataclass(frozen=True)
class FaceCrop:
    """A rotated square of a frame that contains the face.

    Attributes:
      x: horizontal position of the centre, in pixels from the frame's left edge.
      y: vertical position of the centre, in pixels from the frame's top edge.
      side: length of a side in pixels.
      angle: angle of the line through the eyes, clockwise from horizontal, in degrees.
    """

    x: float
    y: float
    side: float
    angle: float

    def as_array(self) -> np.ndarray:
        """Returns float32 [4]: x, y, side, angle, as the record stores them."""
        return np.array(dataclasses.astuple(self), np.float32)

    @classmethod
    def from_array(cls, values: np.ndarray) -> "FaceCrop | None":
        """Reads the crop of a record; None if its frames were not cropped."""
        return cls(*map(float, values)) if values[2] > 0 else None

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Crops an image and rotates it so that the eyes are level.

        Pixels beyond the frame repeat its edge.

        Args:
          image: uint8 [H, W, 3].

        Returns:
          uint8 [side, side, 3], with the side rounded.
        """
        side = max(round(self.side), 1)
        step = self.side / side
        cos, sin = np.cos(np.radians(self.angle)), np.sin(np.radians(self.angle))
        rotation = step * np.array([[cos, -sin], [sin, cos]])
        # Coordinates refer to pixel centres, so the crop's centre is (side - 1) / 2.
        centre = np.array([self.x - 0.5, self.y - 0.5])
        start = centre - rotation @ np.full(2, (side - 1) / 2)
        return cv2.warpAffine(
            image,
            np.column_stack([rotation, start]),
            (side, side),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )


def detect(image: np.ndarray) -> list[Face]:
    """Detects the faces in uint8 [H, W, 3], largest first."""
    height, width = image.shape[:2]
    scale = _DETECTION_SIZE / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    image = cv2.resize(image, size, interpolation=method)
    boxes, landmarks, scores = mtcnn.detect(image)
    faces = [
        Face(box / scale, points / scale, float(score))
        for box, points, score in zip(boxes, landmarks, scores, strict=True)
    ]
    return sorted(faces, key=lambda face: -_area(face.box))


def looked_at(numbers: Sequence[int]) -> list[int]:
    """Returns those of a clip's frames in which its face is detected, evenly spaced."""
    places = sampling.uniform_frame_numbers(
        0, len(numbers) - 1, frames=min(_DETECTION_FRAMES, len(numbers))
    )
    return [numbers[place] for place in places.tolist()]


def locate_face(images: Mapping[int, np.ndarray], margin: float) -> FaceCrop:
    """Returns one face crop for a clip, computed from some of its frames.

    Args:
      images: frames by number, uint8 [H, W, 3] each.
      margin: see ``crop_of``.

    Raises:
      DataError: see ``crop_of``.
    """
    return crop_of({number: choose(image) for number, image in images.items()}, margin)


def choose(image: np.ndarray, near: np.ndarray | None = None) -> Face | None:
    """Returns the largest face of an image; None if there is no face.

    Args:
      image: uint8 [H, W, 3].
      near: box [4] of the face that is meant, where there can be others: the face that
        overlaps most with it is returned, and None if none does by a fifth.
    """
    faces = detect(image)
    if near is None:
        return next(iter(faces), None)
    overlaps = [intersection_over_union(face.box, near) for face in faces]
    if max(overlaps, default=0.0) < _LEAST_OVERLAP:
        return None
    return faces[int(np.argmax(overlaps))]


def crop_of(chosen: Mapping[int, Face | None], margin: float) -> FaceCrop:
    """Returns one face crop for a clip.

    The crop is the median over the faces; those that disagree with the median box are
    ignored.

    Args:
      chosen: the face in some of the clip's frames by their numbers; None where there
        is no face.
      margin: added on each side, relative to the longer side of the face's box.

    Raises:
      DataError: if fewer than half of the frames show a face, or if fewer than half
        agree on its position.
    """
    found = [face for face in chosen.values() if face is not None]
    numbers = ", ".join(map(str, chosen))
    if 2 * len(found) < len(chosen) or not found:
        raise DataError(
            f"a face was found in only {len(found)} of {len(chosen)} frames ({numbers})"
        )
    boxes = np.stack([face.box for face in found])
    median = np.median(boxes, axis=0)
    agreeing = [
        face
        for face in found
        if intersection_over_union(face.box, median) >= _MIN_OVERLAP
    ]
    if 2 * len(agreeing) < len(chosen):
        raise DataError(f"the faces in frames {numbers} are in different places")
    return _median_crop(agreeing, margin)


def intersection_over_union(one: np.ndarray, other: np.ndarray) -> float:
    """Returns the intersection over union of two boxes [4]."""
    corners = np.concatenate(
        [np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])]
    )
    shared = _area(corners)
    return shared / max(_area(one) + _area(other) - shared, 1e-9)


def _median_crop(faces: Sequence[Face], margin: float) -> FaceCrop:
    left, top, right, bottom = np.median([face.box for face in faces], axis=0)
    (x0, y0), (x1, y1) = np.median([face.eyes for face in faces], axis=0)
    return FaceCrop(
        x=float(left + right) / 2,
        y=float(top + bottom) / 2,
        side=float(max(right - left, bottom - top)) * (1 + 2 * margin),
        angle=float(np.degrees(np.arctan2(y1 - y0, x1 - x0))),
    )


def _area(box: np.ndarray) -> float:
    return float(np.prod(np.maximum(box[2:] - box[:2], 0)))
