"""How an expression becomes a clip of fixed size, and the record that holds it."""

import dataclasses
from typing import Literal

import numpy as np
import tensorflow_datasets as tfds

from datasets.errors import DataError

Sampling = Literal["apex", "uniform", "tim"]


@dataclasses.dataclass(kw_only=True)
class ClipConfig(tfds.core.BuilderConfig):
    """How a recording becomes a clip of fixed size (section 4.2 of the paper).

    Attributes:
      sampling: which frames make a clip. ``apex``: evenly spaced over a window around
        the apex, the paper's. ``uniform``: the nearest to evenly spaced instants
        between onset and offset. ``tim``: as many, interpolated between all frames
        from onset to offset by the temporal interpolation model.
      frames: frames in a clip, T.
      window: consecutive frames around the apex that the kept ones are drawn from.
        32 is the paper's temporal depth for CASME and CASME II.
      size: height and width of a clip in pixels, H = W.
    """

    sampling: Sampling = "apex"
    frames: int = 16
    window: int = 32
    size: int = 112

    def __post_init__(self):
        """Raises DataError for values that no clip can have."""
        if self.sampling not in ("apex", "uniform", "tim"):
            raise DataError(
                f"--sampling={self.sampling} is none of apex, uniform, tim."
            )
        for field, least, most in (("frames", 1, 512), ("size", 16, 1024)):
            if not least <= (value := getattr(self, field)) <= most:
                raise DataError(f"--{field}={value} must be from {least} to {most}.")
        if self.sampling == "apex" and not self.frames <= self.window <= 4096:
            raise DataError(
                f"--window={self.window}: {self.frames} frames cannot be drawn from "
                f"it; choose one from {self.frames} to 4096."
            )

    def shape_name(self) -> str:
        """The clip's form in a few letters, ``apex32-16x112``."""
        window = self.window if self.sampling == "apex" else ""
        return f"{self.sampling}{window}-{self.frames}x{self.size}"

    def full_name(self) -> str:
        """A name that tells this configuration from every other of its data set."""
        return self.shape_name()


def clip_numbers(
    config: ClipConfig, *, onset: int, apex: int, offset: int, first: int, last: int
) -> np.ndarray:
    """The numbers of the frames that a clip is made of.

    Args:
      config: how a clip is made.
      onset: number of the expression's first frame.
      apex: number of its strongest frame.
      offset: number of its last frame.
      first: number of the first frame that there is.
      last: number of the last.

    Returns:
      int64, ascending; as many as the clip has frames, or for ``tim`` all of the
      expression's, for ``interpolate``.
    """
    if config.sampling == "apex":
        return window_numbers(
            apex, first, last, window=config.window, frames=config.frames
        )
    onset, offset = max(onset, first), min(offset, last)
    if config.sampling == "tim":
        return np.arange(onset, offset + 1)
    return uniform_numbers(onset, offset, frames=config.frames)


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


def record_features(
    config: ClipConfig, emotions: tuple[str, ...], **beside
) -> tfds.features.FeaturesDict:
    """The features of a record, protocol-neutral: every emotion of the data set.

    Args:
      config: gives the clip's shape.
      emotions: the data set's own emotions, as its table names them.
      **beside: what the data set has beyond the common features.
    """
    clip_shape = (config.frames, config.size, config.size, 3)  # [T, H, W, C]
    return tfds.features.FeaturesDict(
        {
            "clip": tfds.features.Tensor(
                shape=clip_shape, dtype=np.uint8, encoding="bytes"
            ),
            "clip_id": tfds.features.Text(),
            "subject": tfds.features.Text(),
            "emotion": tfds.features.ClassLabel(names=list(emotions)),
            "onset": tfds.features.Scalar(np.int32),
            "apex": tfds.features.Scalar(np.int32),
            "offset": tfds.features.Scalar(np.int32),
            "apex_estimated": tfds.features.Scalar(np.bool_),
            **beside,
        }
    )
