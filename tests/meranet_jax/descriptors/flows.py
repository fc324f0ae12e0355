"""Flows for the tests, and slow histograms of their directions."""

import math

import numpy as np


def random_flow(*shape, seed=0):
    """Returns random vectors, float64 [*shape, 2]."""
    return np.random.default_rng(seed).normal(size=(*shape, 2))


def mirror(flow):
    """Returns the flow of mirrored frames, [..., H, W, 2]."""
    return flow[..., ::-1, :] * (-1, 1)


# Bin of a mirrored vector: -180 + 45 k + 22.5 degrees becomes 180 minus this.
MIRRORED = [3, 2, 1, 0, 7, 6, 5, 4]


def slow_bin(x, y):
    """The bin of the direction of a vector, from the definition."""
    degrees = math.degrees(math.atan2(y, x))
    return 0 if degrees == 180 else int((degrees + 180) // 45)


def slow_gradient(image, y, x):
    """Derivatives to the right and downwards: central, and one-sided at borders."""
    height, width = image.shape
    left, right = max(x - 1, 0), min(x + 1, width - 1)
    above, below = max(y - 1, 0), min(y + 1, height - 1)
    return (
        (image[y, right] - image[y, left]) / (right - left),
        (image[below, x] - image[above, x]) / (below - above),
    )


def block_of(y, x, shape, blocks):
    """Row and column of the block of a pixel."""
    return y * blocks[0] // shape[0], x * blocks[1] // shape[1]
