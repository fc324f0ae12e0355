"""LBP-TOP: histograms of local binary patterns on three orthogonal planes.

G. Zhao and M. Pietikäinen, "Dynamic texture recognition using local binary patterns
with an application to facial expressions", IEEE TPAMI 29(6), 2007, 915-928. It is the
baseline of most micro-expression data sets and of MEGC 2019.

[V] marks what was read in public code, [C] what this module chose where sources are
silent or differ:

- [V] 8 neighbours, bilinear interpolation, 59 uniform patterns; radii 1, 1 and 4 along
  X, Y and T (a public experiment on the labels of MEGC 2019,
  github.com/hp1023/micro-exprssion). Pixels whose neighbourhood leaves the volume have
  no code.
- [C] The default radii are those of that experiment. All three planes have codes at
  the same pixels: R_X pixels are left out on the left and the right, R_Y at the top
  and the bottom, and R_T frames at the start and the end.
- [C] Codes are computed on the clip and the blocks divide the pixels that have one, so
  neighbourhoods cross the borders between blocks. (That experiment cuts the clip into
  blocks first.)
- [C] Each histogram sums to one.
- [C] Grey is round(0.299 R + 0.587 G + 0.114 B), the luma of ITU-R BT.601.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from meranet_jax.descriptors.blocks import clip_block_indices
from meranet_jax.descriptors.settings import SvmSettings, check_counts
from meranet_jax.errors import UserError

NEIGHBOURS = 8
# Codes of 8 neighbours: 58 uniform patterns, and one for all the others.
BINS = NEIGHBOURS * (NEIGHBOURS - 1) + 3
# Rows and columns of each plane, as axes of [T, H, W].
PLANES = {"XY": (1, 2), "XT": (0, 2), "YT": (0, 1)}

# Positions of neighbours are multiples of 1 / _UNIT of a pixel, as in scikit-image, so
# that interpolation is exact in integers: equal pixels then compare as equal, and a
# mirrored clip has exactly the mirrored codes.
_UNIT = 100_000


@dataclasses.dataclass(frozen=True)
class LbpTopSettings(SvmSettings):
    """Settings of LBP-TOP with a linear SVM.

    Raises:
      UserError: if a value is out of its range.
    """

    lbp_blocks: tuple[int, int, int] = (5, 5, 1)
    """Blocks of a clip: rows, columns, time segments. Each has 3 x 59 features."""
    lbp_radius: tuple[int, int, int] = (1, 1, 4)
    """Distance of the neighbours along X and Y in pixels and along T in frames. A clip
    needs more than 2 T frames."""

    def __post_init__(self):
        """Raises UserError for values out of range."""
        super().__post_init__()
        for field in ("lbp_blocks", "lbp_radius"):
            check_counts(self, field, 3)

    @property
    def num_features(self) -> int:
        """Length of a feature vector: blocks x 3 planes x 59 bins."""
        return math.prod(self.lbp_blocks) * len(PLANES) * BINS


def check_size(settings: LbpTopSettings, shape: Sequence[int]) -> None:
    """Checks that a clip has enough pixels and frames for the blocks and radii.

    Args:
      settings: blocks and radii.
      shape: of the clip, T, H and W; further axes are ignored.

    Raises:
      UserError: if it has too few.
    """
    rows, columns, segments = settings.lbp_blocks
    for flag, what, size, r, blocks in zip(
        ("frames", "size", "size"),
        ("frames", "rows", "columns"),
        shape[:3],
        settings.lbp_radius[::-1],  # T, Y, X
        (segments, rows, columns),
        strict=True,
    ):
        if size - 2 * r < blocks:
            raise UserError(
                f"LBP-TOP: a clip has {size} {what}, but {blocks} blocks and a radius "
                f"of {r} need at least {blocks + 2 * r}. Raise --{flag}, or lower "
                "--lbp_blocks or --lbp_radius."
            )


def features(clip: np.ndarray, settings: LbpTopSettings) -> np.ndarray:
    """Computes the LBP-TOP histograms of a clip.

    A constant added to all pixels, or a positive factor, changes nothing as long as no
    value is clipped. Other monotone changes of grey leave the comparisons with the
    four neighbours on the axes as they are, but not always those with the four that
    are interpolated.

    Args:
      clip: uint8 [T, H, W, 3], RGB, or [T, H, W], grey.
      settings: blocks and radii.

    Returns:
      float32 [F], F = rows x columns x segments x 3 planes x 59 bins, in this order;
      the planes are XY, XT, YT. Each block has one histogram per plane, which sums
      to one.

    Raises:
      UserError: if the clip is too small for the settings.
    """
    grey = to_grey(clip)
    check_size(settings, grey.shape)
    radius = settings.lbp_radius[::-1]  # T, Y, X
    inner = [size - 2 * r for size, r in zip(grey.shape, radius, strict=True)]
    block = clip_block_indices(inner, settings.lbp_blocks)
    total = math.prod(settings.lbp_blocks)
    histograms = np.stack(
        [
            np.bincount(
                (block * BINS + codes(grey, plane, settings.lbp_radius)).ravel(),
                minlength=total * BINS,
            ).reshape(total, BINS)
            for plane in PLANES
        ],
        axis=1,
    )  # [blocks, 3, 59]
    return (histograms / histograms.sum(-1, keepdims=True)).astype(np.float32).ravel()


def to_grey(clip: np.ndarray) -> np.ndarray:
    """Converts a clip to grey: round(0.299 R + 0.587 G + 0.114 B).

    Args:
      clip: uint8 [T, H, W, 3], RGB, or [T, H, W], which is returned as it is.

    Returns:
      uint8 [T, H, W].

    Raises:
      ValueError: if the clip has another shape or type.
    """
    clip = np.asarray(clip)
    if clip.dtype != np.uint8 or not (
        clip.ndim == 3 or (clip.ndim == 4 and clip.shape[-1] == 3)
    ):
        raise ValueError(
            "expected a clip uint8 [T, H, W, 3] or [T, H, W], found "
            f"{clip.dtype} {list(clip.shape)}"
        )
    if clip.ndim == 3:
        return clip
    weighted = clip @ np.array([299, 587, 114], np.int32)  # [T, H, W]
    return ((weighted + 500) // 1000).astype(np.uint8)


def codes(grey: np.ndarray, plane: str, radius: tuple[int, int, int]) -> np.ndarray:
    """Computes the uniform LBP codes on all slices of one plane.

    Neighbour i lies at the angle 45 degrees x i on an ellipse around the pixel, from
    the direction of increasing columns towards decreasing rows; its bit is 1 if it is
    at least as bright as the pixel. The codes are scikit-image's ``nri_uniform``.

    Args:
      grey: uint8 [T, H, W].
      plane: XY (rows Y, columns X), XT (rows T, columns X) or YT (rows T, columns Y).
      radius: R_X, R_Y, R_T.

    Returns:
      uint8 [T - 2 R_T, H - 2 R_Y, W - 2 R_X], 0..58: the codes of the pixels whose
      neighbourhoods on all three planes lie within the clip.
    """
    margin = radius[::-1]  # T, Y, X
    row_axis, column_axis = PLANES[plane]
    signed = grey.astype(np.int16)

    def shifted(row: int, column: int) -> np.ndarray:
        offset = [0, 0, 0]
        offset[row_axis], offset[column_axis] = row, column
        return signed[
            tuple(
                slice(m + o, size - m + o)
                for m, o, size in zip(margin, offset, grey.shape, strict=True)
            )
        ]

    centre = shifted(0, 0)
    bits = np.zeros(centre.shape, np.uint8)
    for i in range(NEIGHBOURS):
        angle = 2 * math.pi * i / NEIGHBOURS
        # Position in 1 / _UNIT of a pixel: pixels before it, and the rest.
        row, above_row = divmod(
            round(-margin[row_axis] * math.sin(angle) * _UNIT), _UNIT
        )
        column, above_column = divmod(
            round(margin[column_axis] * math.cos(angle) * _UNIT), _UNIT
        )
        # The weighted sum of differences from the pixel, below 255 x _UNIT^2 in size.
        difference = 0
        for r, row_weight in ((row, _UNIT - above_row), (row + 1, above_row)):
            for c, column_weight in (
                (column, _UNIT - above_column),
                (column + 1, above_column),
            ):
                weight = row_weight * column_weight
                if weight == _UNIT**2:  # on a pixel: needs no interpolation
                    difference = shifted(r, c) - centre
                elif weight and (r, c) != (0, 0):
                    difference = difference + (shifted(r, c) - centre) * np.int64(
                        weight
                    )
        bits |= np.asarray(difference >= 0, np.uint8) << i
    return _UNIFORM[bits]


def _uniform_codes() -> np.ndarray:
    """Returns the code of each pattern of 8 bits, uint8 [256].

    A pattern is uniform if its ones are one run around the circle. 0: no ones; 1 + 8
    (n - 1) + (-start mod 8): a run of n from bit ``start``; 57: all ones; 58: others.
    """
    table = np.full(2**NEIGHBOURS, BINS - 1, np.uint8)
    table[0], table[-1] = 0, BINS - 2
    for ones in range(1, NEIGHBOURS):
        for start in range(NEIGHBOURS):
            pattern = sum(1 << (start + k) % NEIGHBOURS for k in range(ones))
            table[pattern] = 1 + NEIGHBOURS * (ones - 1) + -start % NEIGHBOURS
    return table


_UNIFORM = _uniform_codes()
