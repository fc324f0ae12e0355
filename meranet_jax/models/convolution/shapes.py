"""Sizes and options of 3-D convolutions."""

import dataclasses
from collections.abc import Sequence

Triple = tuple[int, int, int]
# Number of zeros before and after each of T, H and W.
Pads = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a convolution that all forms share.

    Attributes:
      strides: along T, H and W.
      pads: number of zeros before and after each of T, H and W.
      precision: that of ``jax.lax.conv_general_dilated``, for accelerators.
      threads: number of threads on each device, used by ``native`` only; None for the
        default.
    """

    strides: Triple
    pads: Pads
    precision: str | None = None
    threads: int | None = None


def output_size(
    size: Sequence[int], kernel_size: Sequence[int], strides: Triple, pads: Pads
) -> Triple:
    """Returns the size of a convolution's output along T, H and W.

    Args:
      size: of the input, along T, H and W.
      kernel_size: of the kernel.
      strides: along T, H and W.
      pads: number of zeros before and after each of T, H and W.

    Raises:
      ValueError: if the kernel is larger than the padded input.
    """
    t, h, w = (
        (n + before + after - k) // s + 1
        for n, k, s, (before, after) in zip(
            size, kernel_size, strides, pads, strict=True
        )
    )
    if min(t, h, w) < 1:
        raise ValueError(
            f"a kernel of {tuple(kernel_size)} is larger than its input of "
            f"{tuple(size)} with padding {pads}"
        )
    return t, h, w
