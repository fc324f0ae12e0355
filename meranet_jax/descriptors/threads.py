"""Features of many clips, computed in threads."""

import concurrent.futures
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def features_of_all(
    clips: Sequence[np.ndarray],
    settings: Any,
    workers: int,
    *,
    features: Callable[[np.ndarray, Any], np.ndarray],
) -> np.ndarray:
    """Computes the features of several clips in threads.

    Args:
      clips: N clips.
      settings: of the descriptor, with ``num_features``, F.
      workers: number of threads, at least 1. The result does not depend on it.
      features: maps a clip and the settings to the features of the clip, [F].

    Returns:
      float32 [N, F].
    """

    def compute(index: int, clip: np.ndarray) -> np.ndarray:
        return features(clip, settings)

    return map_clips(compute, clips, settings.num_features, workers)


def features_of_faces(
    clips: Sequence[np.ndarray],
    settings: Any,
    workers: int,
    landmarks: np.ndarray,
    *,
    features: Callable[[np.ndarray, np.ndarray], np.ndarray],
    num_features: int,
) -> np.ndarray:
    """Computes features that depend on landmarks, in threads.

    Args:
      clips: N clips.
      settings: of the descriptor; not used.
      workers: see ``features_of_all``.
      landmarks: of each clip, [N, 5, 2].
      features: maps a clip and its landmarks to the features of the clip, [F].
      num_features: F.

    Returns:
      float32 [N, F].
    """
    del settings  # of the SVM alone

    def compute(index: int, clip: np.ndarray) -> np.ndarray:
        return features(clip, landmarks[index])

    return map_clips(compute, clips, num_features, workers)


def map_clips(
    compute: Callable[[int, np.ndarray], np.ndarray],
    clips: Sequence[np.ndarray],
    num_features: int,
    workers: int,
) -> np.ndarray:
    """Computes the features of several clips in threads.

    Args:
      compute: maps the index of a clip and the clip to its features, [F].
      clips: N clips.
      num_features: F.
      workers: see ``features_of_all``.

    Returns:
      float32 [N, F].
    """
    result = np.empty((len(clips), num_features), np.float32)

    def compute_row(index: int) -> None:
        result[index] = compute(index, clips[index])

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(compute_row, range(len(clips))):
            pass  # raises what a clip raised
    return result
