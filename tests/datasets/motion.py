"""Generated clips in which one part of a texture moves and comes back."""

import cv2
import numpy as np


def moving_clip(
    frames: int, peak: int, *, drift: float = 0.0, size: int = 64
) -> np.ndarray:
    """Returns a clip whose middle moves by two pixels until ``peak``, and back.

    Args:
      frames: number of frames, T.
      peak: index of the frame that has moved most.
      drift: pixels by which the lower half moves in addition, evenly until the end, as
        the chin of a turning head does.
      size: height and width, H and W.

    Returns:
      uint8 [T, H, W, 3].
    """
    noise = np.random.default_rng(3).uniform(0, 255, (size, size)).astype(np.float32)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, 32)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    middle = np.exp(-((x - size / 2) ** 2 + (y - size / 3) ** 2) / (size / 6) ** 2)
    clip = []
    for number in range(frames):
        rise = number / max(peak, 1)
        fall = (frames - 1 - number) / max(frames - 1 - peak, 1)
        amount = 2 * min(rise, fall)
        aside = drift * number / max(frames - 1, 1) * np.clip(2 * y / size - 1, 0, 1)
        moved = cv2.remap(
            texture,
            (x - aside).astype(np.float32),
            (y - amount * middle).astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        )
        clip.append(np.repeat(moved[..., None], 3, axis=-1).astype(np.uint8))
    return np.stack(clip)
