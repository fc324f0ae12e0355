"""Draws clouds of points: each point is spread over the pixels around it."""

import dataclasses

import numpy as np
from scipy import sparse

# Share of a pixel that samples must cover for a surface to be opaque. It is below 1
# since the sum of the splats varies a little.
_OPAQUE = 0.94


@dataclasses.dataclass(frozen=True)
class Cloud:
    """Samples of a surface, in head coordinates.

    Attributes:
      position: float32 [N, 3].
      normal: unit vectors, float32 [N, 3].
      colour: reflectance, 0 to 255, float32 [N, 3].
      opacity: 0 to 1, float32 [N].
      area: of the surface that each sample stands for, in square pixels of a 112 x 112
        frame, float32 [N].
    """

    position: np.ndarray
    normal: np.ndarray
    colour: np.ndarray
    opacity: np.ndarray
    area: np.ndarray

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
            area=self.area[chosen],
        )


def make_cloud(
    position: np.ndarray,
    normal: np.ndarray,
    colour: np.ndarray,
    opacity: np.ndarray,
    share: np.ndarray | float = 1.0,
) -> Cloud:
    """Returns the cloud of a grid of samples without transparent ones.

    Args:
      position: [H, W, 3].
      normal: that for shading, [H, W, 3].
      colour: [H, W, 3].
      opacity: [H, W].
      share: how many samples of the grid each of those that are drawn stands for.
    """
    down, across = np.gradient(position, axis=(0, 1))
    patch = np.cross(across, down)
    # Each sample covers the same area of the frame as the surface, even where the
    # normal for shading is not that of the surface.
    curved = np.linalg.norm(patch, axis=-1)
    seen = np.abs(patch[..., 2]) / np.maximum(curved, 1e-9)
    area = curved * (seen + 0.05) / (np.abs(normal[..., 2]) + 0.05) * share
    shown = opacity.reshape(-1) > 0.004
    arrays = (position, normal, colour)
    flat = [a.reshape(-1, 3)[shown].astype(np.float32) for a in arrays]
    scalars = [a.reshape(-1)[shown].astype(np.float32) for a in (opacity, area)]
    return Cloud(*flat, *scalars)


def splat(
    places: np.ndarray, values: np.ndarray, size: int
) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Adds the values of points to the pixels around them.

    The weights are quadratic B-splines of 3 x 3 pixels: sub-pixel shifts change them
    smoothly, and from one point a pixel their sum is nearly constant.

    Args:
      places: position (x, y) of each point in pixels; pixel centres are integers,
        float32 [N, 2].
      values: float32 [N, C].
      size: height and width of the picture.

    Returns:
      The weighted sums in the part of the picture that has points, float32 [H, W, C];
      the rows and columns of that part.
    """
    x, y = np.ascontiguousarray(places.T)
    inside = (x > 0.5) & (x < size - 1.5) & (y > 0.5) & (y < size - 1.5)
    if not inside.all():
        x, y, values = x[inside], y[inside], values[inside]
    if not len(x):
        empty = slice(0, 0)
        return np.zeros((0, 0, values.shape[1]), np.float32), (empty, empty)
    column, row = np.floor(x + 0.5), np.floor(y + 0.5)
    wx, wy = _weights(x - column), _weights(y - row)
    left, top = int(column.min()) - 1, int(row.min()) - 1
    width, height = int(column.max()) + 2 - left, int(row.max()) + 2 - top
    spread = (wy[:, :, None] * wx[:, None, :]).reshape(-1)
    first = (row.astype(np.int32) - top) * width + (column.astype(np.int32) - left)
    steps = np.array([dy * width + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    pixels = (first[:, None] + steps.astype(np.int32)).reshape(-1)
    ends = np.arange(0, len(pixels) + 1, 9, dtype=np.int32)
    matrix = sparse.csc_array(
        (spread, pixels, ends), shape=(height * width, len(x)), copy=False
    )
    sums = (matrix @ values).reshape(height, width, -1)
    return sums, (slice(top, top + height), slice(left, left + width))


def _weights(f: np.ndarray) -> np.ndarray:
    """Returns the weights of the pixels before, at and after points, [N, 3]."""
    return np.stack([0.5 * (0.5 - f) ** 2, 0.75 - f * f, 0.5 * (0.5 + f) ** 2], 1)


def draw_layer(
    picture: np.ndarray,
    scale: float,
    cloud: Cloud,
    places: np.ndarray,
    colour: np.ndarray,
    facing: np.ndarray,
    *,
    elastic: bool = False,
) -> np.ndarray:
    """Draws a cloud over a picture, in place.

    Args:
      picture: float32 [S, S, C].
      scale: pixels of the picture per pixel of a 112 x 112 frame.
      cloud: the samples.
      places: of the samples in the picture, float32 [N, 2].
      colour: values of the samples, float32 [N, C].
      facing: z of their normals, or another factor of their area, float32 [N].
      elastic: if the layer stays opaque where it is stretched.

    Returns:
      The picture, float32 [S, S, C].
    """
    # The area that each sample covers in the picture
    weights = cloud.opacity * cloud.area * np.maximum(facing, 0)
    weights *= np.float32(scale**2)
    values = np.empty((len(colour), colour.shape[1] + 1), np.float32)
    np.multiply(colour, weights[:, None], out=values[:, :-1])
    values[:, -1] = weights
    sums, part = splat(places, values, len(picture))
    covered = sums[..., -1:]
    alpha = np.minimum(covered / np.float32(_OPAQUE), 1)
    if elastic:
        free = 1 - alpha
        alpha = 1 - free * free * np.sqrt(free)
    mean = sums[..., :-1] / np.maximum(covered, 1e-6)
    below = picture[part]
    mean -= below
    mean *= alpha
    below += mean
    return picture
