"""Histograms of the directions of vectors in regions, and the strain of optical flow.

Directions are those of (x, y), from -180 to 180 degrees, x to the right and y
downwards. Mirrored left to right, bin k becomes bin 3 - k, modulo 8.
"""

from collections.abc import Sequence

import numpy as np

from meranet_jax.descriptors.settings import to_text
from meranet_jax.errors import UserError

# Bins of 45 degrees; the first begins at -180 degrees.
BINS = 8


def directions(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns the bin of the direction of each vector, int64 0..7.

    Args:
      x: component to the right.
      y: component downwards, of the same shape.
    """
    turns = (np.arctan2(y, x) + np.pi) / (2 * np.pi)
    # An angle of 180 degrees is in the bin of -180 degrees.
    return np.floor(turns * BINS).astype(np.int64) % BINS


def direction_histograms(
    x: np.ndarray, y: np.ndarray, regions: np.ndarray, number: int
) -> np.ndarray:
    """Adds up the lengths of vectors by region and direction.

    Args:
      x: component to the right, [..., H, W].
      y: component downwards, of the same shape.
      regions: index of the region of each pixel, int [H, W].
      number: of regions.

    Returns:
      float64 [number, 8]: sums over pixels and all leading axes.
    """
    places = regions * BINS + directions(x, y)
    sums = np.bincount(places.ravel(), np.hypot(x, y).ravel(), number * BINS)
    return sums.reshape(number, BINS)


def check_blocks(title: str, blocks: Sequence[int], shape: Sequence[int]) -> None:
    """Checks that a clip has enough pixels for blocks, and for derivatives.

    Args:
      title: name of the features, for the message.
      blocks: numbers of rows and columns of blocks.
      shape: of the clip, [T, H, W, C].

    Raises:
      UserError: if it has too few.
    """
    minimum = max(*blocks, 2)
    if min(shape[1:3]) < minimum:
        raise UserError(
            f"{title}: a clip has {shape[1]} x {shape[2]} pixels, but --flow_blocks "
            f"{to_text(blocks)} needs at least {minimum} x {minimum}. Raise --size, or "
            "lower --flow_blocks."
        )


def optical_strain(flow: np.ndarray) -> np.ndarray:
    """Computes the magnitude of the optical strain of a flow.

    The formula is that of ``inputs.strain``, which needs JAX:
    sqrt(u_x^2 + v_y^2 + (u_y + v_x)^2 / 2) with central differences.

    Args:
      flow: [..., H, W, 2], (u, v) in pixels; H and W at least 2.

    Returns:
      [..., H, W].
    """
    u_y, u_x = np.gradient(flow[..., 0], axis=(-2, -1))
    v_y, v_x = np.gradient(flow[..., 1], axis=(-2, -1))
    return np.sqrt(u_x**2 + v_y**2 + (u_y + v_x) ** 2 / 2)


def divide(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Returns values / by, and 0 where the divisor is 0."""
    return np.divide(values, by, out=np.zeros_like(values), where=by != 0)


def unit_length(features: np.ndarray) -> np.ndarray:
    """Divides features [F] by their Euclidean norm; zeros stay zeros."""
    return divide(features, np.linalg.norm(features, axis=0, keepdims=True))
