"""MDMO: the mean vector of the main direction of optical flow in regions of the face.

Y.-J. Liu, J.-K. Zhang, W.-J. Yan, S.-J. Wang, G. Zhao and X. Fu, "A main directional
mean optical flow feature for spontaneous micro-expression recognition", IEEE
Transactions on Affective Computing 7(4), 2016, 299-310.

This is not MDMO as published, whose 36 regions are said to need dense landmarks.
Reports name it "MDMO, five landmarks". [M] marks what is known second hand and is not
verified, [C] the choices of this module:

- [M] 36 regions; in each the largest of 8 bins of direction, by the number of vectors,
  and the mean of the vectors in it; the mean over the frames; 72 features; an SVM with
  a polynomial kernel.
- [C] The regions, which ``facial_regions`` places by five landmarks. These are detected
  in the onset frame; without a face the regions have fixed positions.
- [C] The flow from the onset frame to each frame of the clip, without the motion of the
  head.
- [C] The mean vector as (u, v) in pixels, not as length and angle, of which the angle
  has no mean over frames. Pixels without flow are not counted. A region without flow
  has zeros.
- [C] The kernel is (gamma x y + 1)^3; ``svm`` describes standardisation and the choice
  of C and gamma.
"""

import dataclasses

import numpy as np

from meranet_jax.descriptors import facial_regions, flow_histograms
from meranet_jax.descriptors.facial_regions import FINE
from meranet_jax.descriptors.flow_histograms import BINS
from meranet_jax.descriptors.settings import KernelSvmSettings

# 36 regions x 2 components.
NUM_FEATURES = 2 * len(FINE) * 2


@dataclasses.dataclass(frozen=True)
class MdmoSettings(KernelSvmSettings):
    """Settings of MDMO with a polynomial SVM.

    Raises:
      UserError: if a value is out of its range.
    """


def features(flow: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Computes the MDMO features of a clip.

    Args:
      flow: from the onset frame to each frame, [T, H, W, 2], (u, v) in pixels.
      landmarks: of the onset frame; see ``facial_regions.masks``.

    Returns:
      float64 [72]: (u, v) of each of the 36 regions of ``facial_regions.masks``.
    """
    flow = np.asarray(flow, np.float64)
    masks = facial_regions.masks(landmarks, flow.shape[1:3], FINE)
    return np.stack([_main_vector(flow[:, mask]) for mask in masks]).ravel()


def _main_vector(vectors: np.ndarray) -> np.ndarray:
    """Returns the mean over frames of the mean vector of the main direction.

    Args:
      vectors: of one region, [T, P, 2].

    Returns:
      [2]; of directions with equal numbers of vectors the main one is that with the
      largest sum of lengths.
    """
    frames = np.arange(len(vectors))
    u, v = vectors[..., 0], vectors[..., 1]  # [T, P]
    places = (frames[:, None] * BINS + flow_histograms.directions(u, v)).ravel()
    counts, lengths, sums_u, sums_v = (
        np.bincount(places, weights.ravel(), len(frames) * BINS).reshape(-1, BINS)
        for weights in (vectors.any(-1), np.hypot(u, v), u, v)
    )  # [T, 8] each
    # A fraction below 1 decides between equal numbers.
    fractions = lengths / (1 + lengths.sum(-1, keepdims=True))
    main = (counts + fractions).argmax(-1)
    sums = np.stack([sums_u[frames, main], sums_v[frames, main]], -1)  # [T, 2]
    return flow_histograms.divide(sums, counts[frames, main][:, None]).mean(0)
