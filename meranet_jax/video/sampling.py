"""Which frames of a recording make a clip (section 4.2 of the paper)."""

from typing import Literal

import numpy as np

# apex: evenly spaced over a window around the apex. uniform: the nearest to evenly
# spaced instants between onset and offset. tim: as many, interpolated.
Sampling = Literal["apex", "uniform", "tim"]


def clip_numbers(
    *,
    sampling: Sampling,
    frames: int,
    window: int,
    onset: int,
    apex: int,
    offset: int,
    first: int,
    last: int,
) -> np.ndarray:
    """The numbers of the frames that a clip is made of.

    Args:
      sampling: which frames make a clip; see ``Sampling``.
      frames: frames of the clip.
      window: frames around the apex that they are drawn from, for ``apex``.
      onset: number of the expression's first frame.
      apex: number of its strongest frame.
      offset: number of its last frame.
      first: number of the first frame that there is.
      last: number of the last.

    Returns:
      int64, ascending; as many as the clip has frames, or for ``tim`` all of the
      expression's, for ``interpolate``.
    """
    if sampling == "apex":
        return window_numbers(apex, first, last, window=window, frames=frames)
    onset, offset = max(onset, first), min(offset, last)
    if sampling == "tim":
        return np.arange(onset, offset + 1)
    return uniform_numbers(onset, offset, frames=frames)


def window_numbers(
    apex: int, first: int, last: int, *, window: int, frames: int
) -> np.ndarray:
    """The numbers of the frames that make a clip around the apex.

    ``frames`` numbers, evenly spaced over a window of ``window`` frames about the apex,
    which is always one of them; with the paper's 32 and 16 every second frame from 16
    before it on. Where the window reaches beyond the recording its edge
    frame is repeated (section 4.2).

    Args:
      apex: number of the apex frame.
      first: number of the recording's first frame.
      last: number of its last frame.
      window: length of the window in frames.
      frames: how many of them to keep.

    Returns:
      int64 [frames], ascending, each within ``first..last``.

    Raises:
      ValueError: if there is no recording or fewer frames in the window than are kept.
    """
    if last < first:
        raise ValueError(f"an empty recording: first frame {first}, last frame {last}")
    if not 0 < frames <= window:
        raise ValueError(f"{frames} frames cannot be drawn from a window of {window}")
    offsets = (np.arange(frames) - frames // 2) * window // frames
    return np.clip(apex + offsets, first, last)


def uniform_numbers(first: int, last: int, *, frames: int) -> np.ndarray:
    """The frames nearest to ``frames`` instants spread evenly from first to last.

    Both ends are among them, of one frame the middle; frames of a recording that has
    fewer are repeated.

    Returns:
      int64 [frames], ascending.
    """
    return np.rint(_instants(first, last, frames)).astype(np.int64)


def _instants(first: int, last: int, frames: int) -> np.ndarray:
    if frames == 1:
        return np.array([(first + last) / 2])
    return np.linspace(first, last, frames)


def interpolation_matrix(length: int, frames: int) -> np.ndarray:
    """The temporal interpolation model (TIM) as a matrix.

    Zhou, Zhao and Pietikäinen (CVPR 2011) embed a sequence of ``length`` images on the
    curve F(t) with F_k(t) = sin(pi k t + pi (length - k) / (2 length)) for k = 1 ..
    length - 1, of which the eigenvectors of a path graph's Laplacian are the values at
    t = 1 / length, ..., 1; they find the linear map from curve to images by a singular
    value decomposition and read off images at any t. Those eigenvectors together with
    the constant are the basis of the cosine transform DCT-II, and the map is exact, so
    what TIM computes is the sequence's cosine series at other instants. As such it
    needs no decomposition and holds also where frames depend linearly on each other,
    say because two are equal, where the model as published has no inverse.

    Args:
      length: images in the sequence.
      frames: images wanted, at instants spread evenly from the first to the last, or
        one in the middle.

    Returns:
      float64 [frames, length]; its product with the sequence is the clip. Rows sum to
      one. With ``frames == length`` it is the identity.
    """
    # Places of images on the curve, in images, counted from the middle of the first.
    there = np.arange(length)
    wanted = _instants(0, length - 1, frames)
    k = np.arange(1, length)[:, None]
    basis, wanted_basis = (
        np.cos(np.pi * k * (places + 0.5) / length) for places in (there, wanted)
    )
    return 1 / length + 2 / length * wanted_basis.T @ basis


def interpolate(images: np.ndarray, frames: int) -> np.ndarray:
    """uint8 [N, H, W, 3] to [frames, H, W, 3] by the temporal interpolation model.

    Values beyond 0 to 255, where the cosine series swings over, are cut.
    """
    matrix = interpolation_matrix(len(images), frames).astype(np.float32)
    clip = np.tensordot(matrix, images.astype(np.float32), axes=1)
    return np.rint(np.clip(clip, 0, 255)).astype(np.uint8)
