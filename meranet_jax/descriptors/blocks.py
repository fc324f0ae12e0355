"""Division of frames and clips into blocks."""

from collections.abc import Sequence

import numpy as np


def block_indices(shape: Sequence[int], blocks: Sequence[int]) -> np.ndarray:
    """Returns the block of each element, counted in the order of the axes.

    The sizes of blocks along an axis differ by at most one.

    Args:
      shape: of the array.
      blocks: number of blocks along each axis.

    Returns:
      int64 [*shape].
    """
    along_axes = [
        np.arange(size) * parts // size
        for size, parts in zip(shape, blocks, strict=True)
    ]
    return np.ravel_multi_index(np.ix_(*along_axes), tuple(blocks))


def clip_block_indices(shape: Sequence[int], blocks: Sequence[int]) -> np.ndarray:
    """Returns the block of each voxel of a clip.

    Args:
      shape: T, H and W.
      blocks: numbers of rows, columns and time segments, in whose order blocks are
        counted.

    Returns:
      int64 [T, H, W].
    """
    frames, height, width = shape
    return np.moveaxis(block_indices((height, width, frames), blocks), -1, 0)
