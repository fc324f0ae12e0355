"""Search for the apex of an expression within its clip.

The apex is the frame in which the face is farthest from where it was at the onset. The
displacement of each pixel since the onset is estimated by optical flow. What the clip
ends with is not the expression, which has faded by then, but a motion of the head or of
the light: it is assumed to grow evenly from onset to offset, and subtracted.
"""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

# Frames over which displacements are averaged, so that noise in one decides nothing.
_SMOOTHED = 5

# Last frames of which the one that has moved least is that at the offset: an expression
# may still fade in the others.
_LAST = 3

# Of fewer frames, the average over some of them says no more than the middle does.
SHORTEST = 9


def spot(frames: Iterable[np.ndarray]) -> int | None:
    """Returns the index of the frame in which the face has moved most.

    Args:
      frames: uint8 [H, W, 3] from onset to offset, all cropped alike. They are read
        one after another.

    Returns:
      An index from 0, neither that of the onset nor that of the offset. None if there
      are fewer than ``SHORTEST`` frames, or nothing moves.

    Raises:
      ValueError: if there is no frame.
    """
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    first, fields = None, []
    for frame in frames:
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        if first is None:
            first = grey
            continue
        field = flow.calc(first, grey, None)
        field -= np.median(field, axis=(0, 1))  # of the head
        fields.append(field[::2, ::2])  # a quarter of the memory
    if first is None:
        raise ValueError("there is no frame")
    if 1 + len(fields) < SHORTEST or not np.any(fields):
        return None
    drift = _drift(fields)
    displacements = [0.0]
    for number, field in enumerate(fields, start=1):
        own = field - number * drift
        displacements.append(float(np.hypot(own[..., 0], own[..., 1]).mean()))
    padded = np.pad(displacements, _SMOOTHED // 2, mode="edge")
    smoothed = np.convolve(padded, np.full(_SMOOTHED, 1 / _SMOOTHED), "valid")
    return 1 + int(smoothed[1:-1].argmax())


def _drift(fields: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the motion of each pixel from frame to frame that is no expression.

    Args:
      fields: displacements [H, W, 2] of the second and each later frame.

    Returns:
      [H, W, 2], in pixels.
    """
    first = len(fields) - _LAST
    rates = np.stack(
        [field / number for number, field in enumerate(fields[first:], start=first + 1)]
    )  # [3, H, W, 2]
    least = np.hypot(rates[..., 0], rates[..., 1]).argmin(axis=0)  # [H, W]
    return np.take_along_axis(rates, least[None, ..., None], axis=0)[0]
