"""Landmark regions + flow: directions of optical flow in regions of the face.

The paper's Table 1 lists a system of 2018 as "CNN + optical flow". This is not that
system: its flow is estimated by a deep network whose weights are not available, and its
regions and features are not public. What is here follows the same idea with the parts
that this project has. Reports name it "landmark regions + flow".

[V] marks what was read in the abstract, [C] the choices of this module:

- [V] Landmarks by a multi-task CNN, optical flow, features of regions, an SVM.
- [C] The five landmarks of the project's detector, which is such a CNN (MTCNN), in the
  onset frame. They place 12 regions (``facial_regions``); without a face the regions
  have fixed positions.
- [C] The flow from the onset to the apex frame by ``--flow_method`` (DIS by default),
  without the motion of the head.
- [C] In each region a histogram of 8 directions, weighted by the length of the vectors
  and divided by the number of pixels; then the vector of all 96 features is divided by
  its Euclidean norm.
- [C] An SVM with the kernel exp(-gamma |x - y|^2); ``svm`` describes standardisation
  and the choice of C and gamma.
"""

import dataclasses

import numpy as np

from meranet_jax.descriptors import facial_regions, flow_histograms
from meranet_jax.descriptors.facial_regions import COARSE
from meranet_jax.descriptors.flow_histograms import BINS
from meranet_jax.descriptors.settings import KernelSvmSettings

# 12 regions x 8 bins.
NUM_FEATURES = 2 * len(COARSE) * BINS


@dataclasses.dataclass(frozen=True)
class LandmarkFlowSettings(KernelSvmSettings):
    """Settings of landmark regions + flow with an RBF SVM.

    Raises:
      UserError: if a value is out of its range.
    """


def features(flow: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Computes the histograms of the regions of a face.

    Args:
      flow: from the onset to the apex frame, [H, W, 2], (u, v) in pixels.
      landmarks: of the onset frame; see ``facial_regions.masks``.

    Returns:
      float64 [96]: 8 bins of each of the 12 regions of ``facial_regions.masks``. The
      norm is one, or zero if nothing moves.
    """
    flow = np.asarray(flow, np.float64)
    masks = facial_regions.masks(landmarks, flow.shape[:2], COARSE)
    places = flow_histograms.directions(flow[..., 0], flow[..., 1])
    lengths = np.hypot(flow[..., 0], flow[..., 1])
    sums = np.stack([np.bincount(places[m], lengths[m], BINS) for m in masks])
    means = flow_histograms.divide(sums, masks.sum((1, 2))[:, None])  # [12, 8]
    return flow_histograms.unit_length(means.ravel())
