"""Bi-WOOF: directions of optical flow, weighted by its length and by its strain.

S.-T. Liong, J. See, K. Wong and R. C.-W. Phan, "Less is more: micro-expression
recognition from video using apex frame", Signal Processing: Image Communication 62,
2018, 82-92.

[V] marks what was read in public code, [C] what this module chose where sources are
silent or differ:

- [V] The flow from the onset to the apex frame; 5 x 5 blocks; in each a histogram of 8
  directions from -180 degrees, weighted by the length of the vectors, which sums to
  one; this histogram times the sum of the optical strain in the block; the vector of
  all 200 features has a Euclidean norm of one; a linear SVM.
- [C] The estimation of the flow, which ``inputs.optical_flow`` describes. The motion of
  the head is removed from it.
- [C] Strain by central differences, and one-sided ones at the borders of the frame. All
  pixels take part; no region of the face, such as the eyes, is masked.
- [C] Blocks differ by at most one pixel in height and width. A block without flow has
  zeros.
- [C] Standardisation and the choice of the SVM's C, which ``svm`` describes.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from meranet_jax.descriptors import flow_histograms
from meranet_jax.descriptors.blocks import block_indices
from meranet_jax.descriptors.flow_histograms import BINS
from meranet_jax.descriptors.settings import SvmSettings, check_counts

_TITLE = "Bi-WOOF"


@dataclasses.dataclass(frozen=True)
class BiWoofSettings(SvmSettings):
    """Settings of Bi-WOOF with a linear SVM.

    Raises:
      UserError: if a value is out of its range.
    """

    flow_blocks: tuple[int, int] = (5, 5)
    """Blocks of a frame: rows, columns."""

    def __post_init__(self):
        """Raises UserError for values out of range."""
        super().__post_init__()
        check_counts(self, "flow_blocks", 2)

    @property
    def num_features(self) -> int:
        """Length of a feature vector: blocks x 8 bins."""
        return math.prod(self.flow_blocks) * BINS


def check_size(settings: BiWoofSettings, shape: Sequence[int]) -> None:
    """Raises UserError if clips [T, H, W, C] have too few pixels for the blocks."""
    flow_histograms.check_blocks(_TITLE, settings.flow_blocks, shape)


def features(flow: np.ndarray, settings: BiWoofSettings) -> np.ndarray:
    """Computes the Bi-WOOF features of a flow.

    Args:
      flow: from the onset to the apex frame, [H, W, 2], (u, v) in pixels.
      settings: numbers of blocks.

    Returns:
      float64 [F], F = rows x columns x 8 bins, in this order. The norm is one, or zero
      if nothing moves.

    Raises:
      UserError: if there are too few pixels for the blocks.
    """
    flow = np.asarray(flow, np.float64)
    check_size(settings, (1, *flow.shape))
    histograms = block_histograms(flow, settings)
    blocks = block_indices(flow.shape[:2], settings.flow_blocks)
    strain = flow_histograms.optical_strain(flow)
    weights = np.bincount(blocks.ravel(), strain.ravel(), len(histograms))
    return flow_histograms.unit_length((histograms * weights[:, None]).ravel())


def block_histograms(flow: np.ndarray, settings: BiWoofSettings) -> np.ndarray:
    """Returns the histogram of each block before it is weighted by the strain.

    Args:
      flow: float64 [H, W, 2].
      settings: numbers of blocks.

    Returns:
      float64 [blocks, 8]; rows sum to one, or to zero if nothing moves in the block.
    """
    blocks = block_indices(flow.shape[:2], settings.flow_blocks)
    number = math.prod(settings.flow_blocks)
    sums = flow_histograms.direction_histograms(
        flow[..., 0], flow[..., 1], blocks, number
    )
    return flow_histograms.divide(sums, sums.sum(-1, keepdims=True))
