"""FMBH: fused histograms of motion boundaries, the spatial differential of the flow.

H. Lu, K. Kpalma and J. Ronsin, "Motion descriptors for micro-expression recognition",
Signal Processing: Image Communication 67, 2018, 108-117. There is no public code.

[V] marks what was read in the abstract, [C] what this module chose:

- [V] Horizontal and vertical components of the differential of optical flow are
  combined, after the motion boundary histograms (MBH) of N. Dalal, B. Triggs and C.
  Schmid, ECCV 2006; the protocol is leave-one-subject-out.
- [C] The flow from the onset frame to each frame of the clip, without the motion of the
  head. Its gradients are central differences, and one-sided at the borders.
- [C] For u and for v a histogram of 8 directions of the gradient, weighted by its
  length, in each of 5 x 5 blocks. The two are added, so that there are 200 features.
  With ``fmbh_separate`` they are concatenated, which is MBH with 400 features.
- [C] The mean over the frames; then the vector is divided by its Euclidean norm.
- [C] A linear SVM; ``svm`` describes standardisation and the choice of C.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from meranet_jax.descriptors import flow_histograms
from meranet_jax.descriptors.blocks import block_indices
from meranet_jax.descriptors.flow_histograms import BINS
from meranet_jax.descriptors.settings import SvmSettings, check_counts

_TITLE = "FMBH"


@dataclasses.dataclass(frozen=True)
class FmbhSettings(SvmSettings):
    """Settings of FMBH with a linear SVM.

    Raises:
      UserError: if a value is out of its range.
    """

    flow_blocks: tuple[int, int] = (5, 5)
    """Blocks of a frame: rows, columns."""
    fmbh_separate: bool = False
    """Concatenate the histograms of the horizontal and the vertical component of the
    flow, as motion boundary histograms (MBH) do, instead of adding them."""

    def __post_init__(self):
        """Raises UserError for values out of range."""
        super().__post_init__()
        check_counts(self, "flow_blocks", 2)

    @property
    def num_features(self) -> int:
        """Length of a feature vector: blocks x 8 bins, twice if they are separate."""
        return math.prod(self.flow_blocks) * BINS * (2 if self.fmbh_separate else 1)


def check_size(settings: FmbhSettings, shape: Sequence[int]) -> None:
    """Raises UserError if clips [T, H, W, C] have too few pixels for the blocks."""
    flow_histograms.check_blocks(_TITLE, settings.flow_blocks, shape)


def features(flow: np.ndarray, settings: FmbhSettings) -> np.ndarray:
    """Computes the FMBH features of a clip.

    A motion that is the same at all pixels has no motion boundary and changes nothing.

    Args:
      flow: from the onset frame to each frame, [T, H, W, 2], (u, v) in pixels.
      settings: numbers of blocks; whether components are separate.

    Returns:
      float64 [F]: rows x columns x 8 bins, in this order; those of v follow those of u
      if they are separate. The norm is one, or zero if there is no motion boundary.

    Raises:
      UserError: if there are too few pixels for the blocks.
    """
    flow = np.asarray(flow, np.float64)
    check_size(settings, flow.shape)
    blocks = block_indices(flow.shape[1:3], settings.flow_blocks)
    number = math.prod(settings.flow_blocks)
    histograms = []
    for component in (flow[..., 0], flow[..., 1]):
        down, right = np.gradient(component, axis=(-2, -1))
        histograms.append(
            flow_histograms.direction_histograms(right, down, blocks, number)
        )
    stacked = np.stack(histograms) / len(flow)  # [2, blocks, 8]
    fused = stacked if settings.fmbh_separate else stacked.sum(0)
    return flow_histograms.unit_length(fused.ravel())
