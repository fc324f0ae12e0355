"""Motion of the regions of a face, in one window of frames after another.

The face is compared with the first frame of its window by optical flow. The motion of
the head is that of the nose; the crop follows it, and what remains is subtracted. The
regions and their values are those of Y. He, "Research on Micro-Expression Spotting
Method Based on Optical Flow Features" (ACM Multimedia 2021), as far as five landmarks
allow. That method uses the flow of G. Farnebäck; DIS needs half its time. Numbers are
in distances between the eyes, so that they do not depend on the size of the face.
"""

import dataclasses
import threading

import cv2
import numpy as np

from meranet_jax.video.faces import Face

# Side in pixels of the crop that flow is computed in, and the distance between the eyes
# in it. The eyes are level; their middle is at ``_EYES``.
_SIDE = 256
EYE_DISTANCE = 116.0
_EYES = (128.0, 92.0)

# Side of a region in pixels of the crop.
_REGION = 20

# The crop follows the head by steps of more than this, in pixels, so many times.
_LEAST_SHIFT, _MOST_SHIFTS = 1.0, 3

# Shares of the vectors of a region, strongest first, whose mean is its motion.
_STRONGEST_OF_NOSE, _STRONGEST = 0.7, 0.2


@dataclasses.dataclass(frozen=True)
class Region:
    """A square region of the face.

    Attributes:
      name: what it is called in files.
      part: ``brow``, ``nose``, ``mouth``, or ``eye``, whose motion is that of blinks
        and of the gaze, and no expression.
      landmark: index of the landmark that it lies at; -1 for the middle of the mouth.
      offset: of its centre from there, to the right and downwards in distances between
        the eyes.
    """

    name: str
    part: str
    landmark: int
    offset: tuple[float, float]


REGIONS = (
    Region("brow_left_outer", "brow", 0, (-0.28, -0.30)),
    Region("brow_left_middle", "brow", 0, (0.0, -0.36)),
    Region("brow_left_inner", "brow", 0, (0.26, -0.32)),
    Region("brow_right_inner", "brow", 1, (-0.26, -0.32)),
    Region("brow_right_middle", "brow", 1, (0.0, -0.36)),
    Region("brow_right_outer", "brow", 1, (0.28, -0.30)),
    Region("nostril_left", "nose", 2, (-0.24, 0.08)),
    Region("nostril_right", "nose", 2, (0.24, 0.08)),
    Region("mouth_corner_left", "mouth", 3, (0.0, 0.0)),
    Region("mouth_corner_right", "mouth", 4, (0.0, 0.0)),
    Region("lip_upper", "mouth", -1, (0.0, -0.12)),
    Region("lip_centre", "mouth", -1, (0.0, 0.02)),
    Region("lip_lower", "mouth", -1, (0.0, 0.18)),
    Region("eye_left", "eye", 0, (0.0, 0.0)),
    Region("eye_right", "eye", 1, (0.0, 0.0)),
)
_PARTS = {region.name: region.part for region in REGIONS}

# Indices of the regions of the eyes
EYES = [i for i, region in enumerate(REGIONS) if region.part == "eye"]

# Objects of OpenCV, of which threads cannot share one
_local = threading.local()

_NOSE = Region("nose", "nose", 2, (0.0, -0.05))


def part(name: str) -> str:
    """Returns the part of the face that one of ``REGIONS`` belongs to, by its name."""
    return _PARTS[name]


class Window:
    """The motion of a face since the first frame of a window.

    Attributes:
      first: index of that frame among the frames that are analysed.
      motion: for each frame so far, the displacement of each of ``REGIONS`` in
        distances between the eyes.
      shift: for each frame, how far the head has moved, to the right and downwards, in
        distances between the eyes.
    """

    def __init__(self, first: int, grey: np.ndarray, face: Face):
        """Takes the frame with which all others are compared.

        Args:
          first: index of the frame.
          grey: the frame, uint8 [H, W].
          face: in the frame.
        """
        self.first = first
        self._matrix = _crop_matrix(face)
        landmarks = face.landmarks @ self._matrix[:, :2].T + self._matrix[:, 2]
        self._places = [_square(landmarks, region) for region in REGIONS]
        self._nose = _square(landmarks, _NOSE)
        self._head = np.zeros(2)  # shift of the crop in its pixels
        self._reference: np.ndarray | None = _crop(grey, self._matrix, self._head)
        self.motion: list[np.ndarray] = [np.zeros(len(REGIONS), np.float32)]
        self.shift: list[np.ndarray] = [np.zeros(2, np.float32)]

    def finish(self) -> None:
        """Frees what only further frames need, for recordings of hours."""
        self._reference = None

    def add(self, grey: np.ndarray) -> None:
        """Adds the next frame, uint8 [H, W]; not after ``finish``."""
        for attempt in range(_MOST_SHIFTS + 1):
            crop = _crop(grey, self._matrix, self._head)
            flow = _flow().calc(self._reference, crop, None)
            rest = _strongest(flow[self._nose].reshape(-1, 2), _STRONGEST_OF_NOSE)
            if np.hypot(*rest) <= _LEAST_SHIFT or attempt == _MOST_SHIFTS:
                break
            self._head = self._head + rest
        lengths = [np.linalg.norm(flow[p] - rest, axis=-1) for p in self._places]
        motion = [_mean_of_largest(values, _STRONGEST) for values in lengths]
        self.motion.append(np.array(motion, np.float32) / EYE_DISTANCE)
        self.shift.append(((self._head + rest) / EYE_DISTANCE).astype(np.float32))


def _flow() -> cv2.DISOpticalFlow:
    """Returns this thread's estimator of optical flow."""
    if not hasattr(_local, "flow"):
        preset = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
        _local.flow = cv2.DISOpticalFlow_create(preset)
    return _local.flow


def _crop_matrix(face: Face) -> np.ndarray:
    """Returns the map from the frame to the crop, float64 [2, 3], for ``x, y, 1``."""
    one, other = face.eyes
    along = other - one
    scale = EYE_DISTANCE / max(float(np.hypot(*along)), 1e-6)
    angle = np.arctan2(along[1], along[0])
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    rotation = np.array([[cos, sin], [-sin, cos]])
    return np.column_stack([rotation, np.array(_EYES) - rotation @ face.eyes.mean(0)])


def _crop(grey: np.ndarray, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Returns uint8 [_SIDE, _SIDE], moved with the head by ``shift`` in its pixels."""
    matrix = matrix.copy()
    reduced = int(1 / max(float(np.hypot(*matrix[0, :2])), 1e-6))
    if reduced > 1:  # else pixels between those that are looked up would be lost
        height, width = grey.shape
        size = (max(width // reduced, 1), max(height // reduced, 1))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        matrix[:, 0] *= width / size[0]
        matrix[:, 1] *= height / size[1]
    matrix[:, 2] -= shift
    return cv2.warpAffine(
        grey,
        matrix,
        (_SIDE, _SIDE),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _square(landmarks: np.ndarray, region: Region) -> tuple[slice, slice]:
    """Returns the rows and columns of a region, given landmarks [5, 2] in the crop."""
    if region.landmark == -1:
        centre = landmarks[3:].mean(0)
    else:
        centre = landmarks[region.landmark]
    x, y = np.rint(centre + EYE_DISTANCE * np.array(region.offset)).astype(int)
    half = _REGION // 2
    # Within the crop: the landmarks of a face that is turned may lie outside.
    x, y = (int(np.clip(at, half, _SIDE - half)) for at in (x, y))
    return slice(y - half, y + half), slice(x - half, x + half)


def _strongest(vectors: np.ndarray, share: float) -> np.ndarray:
    """Returns the mean of the longest of vectors [N, 2]."""
    lengths = np.hypot(vectors[:, 0], vectors[:, 1])
    number = max(round(share * len(vectors)), 1)
    return vectors[np.argpartition(lengths, -number)[-number:]].mean(0)


def _mean_of_largest(values: np.ndarray, share: float) -> float:
    number = max(round(share * values.size), 1)
    return float(np.partition(values, -number, axis=None)[-number:].mean())
