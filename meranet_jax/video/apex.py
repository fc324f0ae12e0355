"""Search for the apex of an expression within its clip.

The apex is the frame in which the face is farthest from where it was at the onset. The
displacement of each pixel since the onset is estimated by optical flow. What the clip
ends with is not the expression, which has faded by then, but a motion of the head or of
the light: it is assumed to grow evenly from onset to offset, and subtracted.
"""

from collections.abc import Iterable

import cv2
import numpy as np

# Frames over which displacements are averaged, so that noise in one decides nothing.
_SMOOTHED = 5

# Last frames whose median displacement is that at the offset
_LAST = 3


def spot(frames: Iterable[np.ndarray]) -> int:
    """Returns the index of the frame in which the face has moved most.

    Args:
      frames: uint8 [H, W, 3] from onset to offset, all cropped alike. They are read
        one after another.

    Returns:
      An index from 0. 0 only if nothing moves, or there is one frame.

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
    last = np.median(fields[-_LAST:], axis=0) if fields else 0
    displacements = [0.0]
    for number, field in enumerate(fields, start=1):
        own = field - number / len(fields) * last
        displacements.append(float(np.hypot(own[..., 0], own[..., 1]).mean()))
    half = min(_SMOOTHED // 2, (len(displacements) - 1) // 2)
    padded = np.pad(displacements, half, mode="edge")
    smoothed = np.convolve(padded, np.full(2 * half + 1, 1 / (2 * half + 1)), "valid")
    return int(smoothed.argmax()) if max(displacements) > 0 else 0
