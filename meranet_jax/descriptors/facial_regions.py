"""Regions of a face, placed by five landmarks.

All of this is the choice of this module [C]. Published regions need dozens of landmarks
around brows, eyes, nose and mouth, which the project's detector does not give.

Regions are rectangles on a template face, in coordinates in which the eyes are at
(-0.5, 0) and (0.5, 0) and the middle of the mouth is at (0, 1). They are listed for the
half on the right of the image; the others are their mirror images. The affine
transformation that takes the template's five landmarks nearest to those of a clip
(least squares) places them. A clip without landmarks has the template's: crops of
``--crop=detect`` show faces with level eyes at about these positions.
"""

from collections.abc import Sequence

import numpy as np

from meranet_jax.errors import UserError

# The eye on the left of the image, the other eye, the nose, the left and the right
# corner of the mouth, relative to the width and the height of a crop. Rounded; the
# detector gives positions within about 0.05 of them for crops of a photograph and of
# the generated faces of the benchmark.
TEMPLATE = np.array(
    [[0.35, 0.40], [0.65, 0.40], [0.50, 0.58], [0.37, 0.70], [0.63, 0.70]]
)

# Smallest height and width of a frame in which each region of a face in the template's
# position has a pixel.
MINIMUM_SIZE = 28

# Rectangle of a region: smallest and largest x, smallest and largest y.
Rectangle = tuple[float, float, float, float]

# 18 regions on each side, which do not overlap.
FINE: tuple[Rectangle, ...] = (
    (0.0, 0.3, -0.95, -0.5),  # forehead
    (0.3, 0.6, -0.95, -0.5),
    (0.6, 0.95, -0.95, -0.5),
    (0.0, 0.3, -0.5, -0.2),  # brow: inner, middle, outer part
    (0.3, 0.6, -0.5, -0.2),
    (0.6, 0.95, -0.5, -0.2),
    (0.0, 0.2, -0.2, 0.2),  # root of the nose
    (0.2, 0.5, -0.2, 0.2),  # eye: inner, outer part
    (0.5, 0.8, -0.2, 0.2),
    (0.0, 0.25, 0.2, 0.5),  # nose
    (0.25, 0.55, 0.2, 0.5),  # below the eye
    (0.55, 0.9, 0.2, 0.5),  # cheek bone
    (0.0, 0.3, 0.5, 0.8),  # tip and wing of the nose
    (0.3, 0.75, 0.5, 0.8),  # cheek
    (0.0, 0.25, 0.8, 1.2),  # lips
    (0.25, 0.5, 0.8, 1.2),  # corner of the mouth
    (0.5, 0.8, 0.8, 1.2),  # next to the mouth
    (0.0, 0.5, 1.2, 1.6),  # chin
)

# 6 regions on each side, which do not overlap.
COARSE: tuple[Rectangle, ...] = (
    (0.0, 0.4, -0.6, -0.15),  # inner brow
    (0.4, 0.95, -0.6, -0.15),  # outer brow
    (0.15, 0.85, -0.15, 0.25),  # eye
    (0.0, 0.4, 0.25, 0.75),  # nose and the fold next to it
    (0.4, 0.9, 0.25, 0.75),  # cheek
    (0.0, 0.65, 0.75, 1.25),  # mouth
)


def check_size(settings: object, shape: Sequence[int]) -> None:
    """Checks that each region of a face in the template's position has a pixel.

    Args:
      settings: of the descriptor; not used.
      shape: of the clip, [T, H, W, C].

    Raises:
      UserError: if a frame is too small.
    """
    if min(shape[1:3]) < MINIMUM_SIZE:
        raise UserError(
            f"Regions of the face: a clip has {shape[1]} x {shape[2]} pixels, but they "
            f"need at least {MINIMUM_SIZE} x {MINIMUM_SIZE}. Raise --size."
        )


def masks(
    landmarks: np.ndarray,
    shape: tuple[int, int],
    rectangles: tuple[Rectangle, ...],
) -> np.ndarray:
    """Returns the pixels of each region.

    Args:
      landmarks: float [5, 2], in the order of ``TEMPLATE`` and relative to the frame;
        NaN if there are none.
      shape: height and width of the frame in pixels.
      rectangles: R of them.

    Returns:
      bool [2 R, H, W]: the regions on the right of the image, then their mirror images.
      A region beyond the frame has no pixels.
    """
    x, y = face_coordinates(landmarks, shape)
    return np.stack(
        [
            (left <= side * x) & (side * x < right) & (top <= y) & (y < bottom)
            for side in (1, -1)
            for left, right, top, bottom in rectangles
        ]
    )


def face_coordinates(
    landmarks: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns x and y of each pixel in the coordinates of the regions, [H, W] each.

    Args:
      landmarks: see ``masks``.
      shape: height and width of the frame in pixels.
    """
    if np.isnan(landmarks).any():
        landmarks = TEMPLATE
    eyes, mouth = TEMPLATE[:2], TEMPLATE[3:]
    width = eyes[1, 0] - eyes[0, 0]
    height = mouth[:, 1].mean() - eyes[:, 1].mean()
    positions = (TEMPLATE - eyes.mean(0)) / (width, height)  # [5, 2]
    # (x, y, 1) @ affine is the position in the frame.
    affine, *_ = np.linalg.lstsq(
        np.column_stack([positions, np.ones(5)]), landmarks, rcond=None
    )  # [3, 2]
    rows, columns = shape
    in_frame = np.stack(
        np.meshgrid(
            (np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows
        ),
        -1,
    )  # [H, W, 2], x and y of the centres of pixels
    found = (in_frame - affine[2]) @ np.linalg.inv(affine[:2])
    return found[..., 0], found[..., 1]
