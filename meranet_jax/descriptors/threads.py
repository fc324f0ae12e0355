"""Features of many clips, computed in threads."""

import concurrent.futures
from collections.abc import Callable, Sequence

import numpy as np


def map_clips(
    compute: Callable[[int, np.ndarray], np.ndarray],
    clips: Sequence[np.ndarray],
    length: int,
    workers: int,
) -> np.ndarray:
    """Computes the features of several clips in threads.

    Args:
      compute: maps the index of a clip and the clip to its features, [F].
      clips: N clips.
      length: F.
      workers: number of threads, at least 1. The result does not depend on it.

    Returns:
      float32 [N, F].
    """
    result = np.empty((len(clips), length), np.float32)

    def of_clip(index: int) -> None:
        result[index] = compute(index, clips[index])

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(of_clip, range(len(clips))):
            pass  # raises what a clip raised
    return result
