"""Selection of the frames of a recording that form a clip (section 4.2)."""

from collections.abc import Iterable, Iterator
from typing import Literal, Protocol, TypeVar

import numpy as np

# apex: evenly spaced frames of a window around the apex. uniform: the frames nearest to
# evenly spaced instants between onset and offset. tim: evenly spaced instants between
# onset and offset, interpolated with the temporal interpolation model.
Sampling = Literal["apex", "uniform", "tim"]


def clip_frame_numbers(
    *,
    sampling: Sampling,
    frames: int,
    window: int,
    onset: int,
    apex: int,
    offset: int,
    first: int,
    last: int,
    step: float = 1.0,
) -> np.ndarray:
    """Returns the numbers of the frames that a clip is made from.

    Args:
      sampling: sampling method; see ``Sampling``.
      frames: number of frames in the clip.
      window: length in frames of the window around the apex; used by ``apex`` only.
      onset: frame number of the onset.
      apex: frame number of the apex.
      offset: frame number of the offset.
      first: number of the first frame on disk.
      last: number of the last frame on disk.
      step: length of a frame of the window in frames of the recording, if the recording
        is resampled to another frame rate; used by ``apex`` only.

    Returns:
      int64 [frames], ascending. For ``tim``, all frame numbers from onset to offset,
      [length], which ``interpolate`` reduces to ``frames``.
    """
    if sampling == "apex":
        return window_frame_numbers(
            apex, first, last, window=window, frames=frames, step=step
        )
    onset, offset = max(onset, first), min(offset, last)
    if sampling == "tim":
        return np.arange(onset, offset + 1)
    return uniform_frame_numbers(onset, offset, frames=frames)


def window_frame_numbers(
    apex: int, first: int, last: int, *, window: int, frames: int, step: float = 1.0
) -> np.ndarray:
    """Returns evenly spaced frame numbers in a window around the apex.

    The apex is always among them. With the paper's window of 32 frames and 16 frames a
    clip, these are every second frame, starting 16 frames before the apex. Where the
    window extends beyond the recording, the edge frame is repeated (section 4.2).

    Args:
      apex: frame number of the apex.
      first: number of the recording's first frame.
      last: number of the recording's last frame.
      window: length of the window in frames.
      frames: number of frames to select from it.
      step: length of a frame of the window in frames of the recording. The frame of
        the recording that is nearest in time is selected, and none is interpolated.

    Returns:
      int64 [frames], ascending, each within ``first..last``.

    Raises:
      ValueError: if ``last < first`` or ``frames`` is not in ``1..window``.
    """
    if last < first:
        raise ValueError(f"an empty recording: first frame {first}, last frame {last}")
    if not 0 < frames <= window:
        raise ValueError(f"{frames} frames cannot be drawn from a window of {window}")
    offsets = (np.arange(frames) - frames // 2) * window // frames
    # Halves away from zero, so that the window stays symmetric.
    numbers = apex + np.trunc(offsets * step + np.copysign(0.5, offsets))
    return np.clip(numbers.astype(np.int64), first, last)


def uniform_frame_numbers(first: int, last: int, *, frames: int) -> np.ndarray:
    """Returns the frame numbers nearest to evenly spaced instants.

    The first and the last number are included; a single frame is the middle one. If the
    recording has fewer than ``frames`` frames, some are repeated.

    Returns:
      int64 [frames], ascending.
    """
    return np.rint(_instants(first, last, frames)).astype(np.int64)


def _instants(first: int, last: int, frames: int) -> np.ndarray:
    if frames == 1:
        return np.array([(first + last) / 2])
    return np.linspace(first, last, frames)


class Timed(Protocol):
    """What has a time.

    Attributes:
      time: in seconds after the first.
    """

    @property
    def time(self) -> float: ...


_Timed = TypeVar("_Timed", bound=Timed)


def sampled(frames: Iterable[_Timed], rate: float) -> Iterator[_Timed]:
    """Yields about ``rate`` frames a second, and all where there are fewer.

    Args:
      frames: in the order in which they are shown.
      rate: in Hz.
    """
    wanted = before = 0.0
    for frame in frames:
        # The next frame would be farther from the instant that is wanted.
        if frame.time + (frame.time - before) / 2 >= wanted:
            yield frame
            # After a gap, or at a lower rate, the next instant is counted from here.
            wanted = max(wanted + 1 / rate, frame.time + 0.5 / rate)
        before = frame.time


def nearest_index(values: np.ndarray, wanted: float, *, later: bool = False) -> int:
    """Returns the index of the value nearest to a number, of values that ascend.

    Args:
      values: in ascending order.
      wanted: the number.
      later: whether the larger of two that are equally near is returned.
    """
    after = int(np.searchsorted(values, wanted))
    choices = [i for i in (after - 1, after) if 0 <= i < len(values)]
    if later:
        choices.reverse()
    # Whatever the rounding of times
    return min(choices, key=lambda i: round(abs(values[i] - wanted), 7))


def interpolation_matrix(length: int, frames: int) -> np.ndarray:
    """Returns the temporal interpolation model (TIM) as a matrix.

    Zhou, Zhao and Pietikäinen (CVPR 2011) embed a sequence of ``length`` images on the
    curve F(t) with F_k(t) = sin(pi k t + pi (length - k) / (2 length)) for k = 1 ..
    length - 1. Its values at t = 1 / length, ..., 1 are the eigenvectors of the
    Laplacian of a path graph. They compute the linear map from the curve to the images
    with a singular value decomposition and evaluate it at any t. Together with the
    constant vector, these eigenvectors are the basis of the discrete cosine transform
    (DCT-II), and the map is exact; therefore TIM evaluates the cosine series of the
    sequence at other instants. This form needs no decomposition. It is also defined for
    linearly dependent frames (for example two equal ones), for which the published
    model has no inverse.

    Args:
      length: number of images in the sequence.
      frames: number of images to interpolate, at evenly spaced instants from the first
        image to the last; a single one is in the middle.

    Returns:
      float64 [frames, length]; its product with the sequence is the clip. Each row sums
      to one. If ``frames == length``, it is the identity.
    """
    # Instants on the curve, in images, counted from the middle of the first image.
    known = np.arange(length)
    wanted = _instants(0, length - 1, frames)
    k = np.arange(1, length)[:, None]
    basis, wanted_basis = (
        np.cos(np.pi * k * (instants + 0.5) / length) for instants in (known, wanted)
    )
    return 1 / length + 2 / length * wanted_basis.T @ basis


def interpolate(images: np.ndarray, frames: int) -> np.ndarray:
    """Resamples a sequence in time with the temporal interpolation model.

    Values outside of 0 to 255, where the cosine series overshoots, are clipped.

    Args:
      images: uint8 [N, H, W, 3].
      frames: number of images to interpolate.

    Returns:
      uint8 [frames, H, W, 3].
    """
    matrix = interpolation_matrix(len(images), frames).astype(np.float32)
    clip = np.tensordot(matrix, images.astype(np.float32), axes=1)
    return np.rint(np.clip(clip, 0, 255)).astype(np.uint8)
