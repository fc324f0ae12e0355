"""Draws clouds of points: each point is spread over the pixels around it."""

import dataclasses

import numpy as np
from scipy import sparse


@dataclasses.dataclass(frozen=True)
class Cloud:
    """Samples of a surface, in head coordinates.

    Attributes:
      position: float32 [N, 3].
      normal: unit vectors, float32 [N, 3].
      colour: reflectance, 0 to 255, float32 [N, 3].
      opacity: 0 to 1, float32 [N].
      density: samples per pixel of a 112 x 112 frame in each direction, at least.
    """

    position: np.ndarray
    normal: np.ndarray
    colour: np.ndarray
    opacity: np.ndarray
    density: float

    def __len__(self) -> int:
        return len(self.position)

    def where(self, chosen: np.ndarray) -> "Cloud":
        """Returns the samples that a mask chooses."""
        return dataclasses.replace(
            self,
            position=self.position[chosen],
            normal=self.normal[chosen],
            colour=self.colour[chosen],
            opacity=self.opacity[chosen],
        )


def make_cloud(
    position: np.ndarray,
    normal: np.ndarray,
    colour: np.ndarray,
    opacity: np.ndarray,
    density: float,
) -> Cloud:
    """Returns the cloud of a grid of samples, [H, W, ...], without transparent ones."""
    shown = opacity.reshape(-1) > 0.004
    arrays = (position, normal, colour)
    flat = [a.reshape(-1, 3)[shown].astype(np.float32) for a in arrays]
    return Cloud(*flat, opacity.reshape(-1)[shown].astype(np.float32), density)


def splat(places: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Adds the values of points to the pixels around them.

    The weights are quadratic B-splines of 3 x 3 pixels: sub-pixel shifts change them
    smoothly, and at the density of our clouds their sum is nearly constant.

    Args:
      places: position (x, y) of each point in pixels; pixel centres are integers,
        float32 [N, 2].
      values: float32 [N, C].
      size: height and width of the picture.

    Returns:
      The weighted sums, float32 [size, size, C].
    """
    inside = ((places > 0.5) & (places < size - 1.5)).all(1)
    if not inside.all():
        places, values = places[inside], values[inside]
    nearest = np.floor(places + 0.5)
    f = places - nearest
    # [3, N, 2]
    weights = np.stack([0.5 * (0.5 - f) ** 2, 0.75 - f * f, 0.5 * (0.5 + f) ** 2])
    wx, wy = weights[..., 0].T, weights[..., 1].T
    spread = (wy[:, :, None] * wx[:, None, :]).reshape(-1)
    at = nearest.astype(np.int32)
    first = at[:, 1] * size + at[:, 0]
    steps = np.array([dy * size + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    pixels = (first[:, None] + steps.astype(np.int32)).reshape(-1)
    ends = np.arange(0, len(pixels) + 1, 9, dtype=np.int32)
    matrix = sparse.csc_array(
        (spread, pixels, ends), shape=(size * size, len(places)), copy=False
    )
    return (matrix @ values).reshape(size, size, -1)
