"""The record that every data set's builder writes, and the window around the apex."""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds


@dataclasses.dataclass(kw_only=True)
class ClipConfig(tfds.core.BuilderConfig):
    """How a recording becomes a clip of fixed size (section 4.2 of the paper).

    Attributes:
      frames: frames kept in a clip, T.
      window: consecutive frames around the apex that the kept ones are drawn from.
        32 is the paper's temporal depth for CASME and CASME II.
      size: height and width of a clip in pixels, H = W.
    """

    frames: int = 16
    window: int = 32
    size: int = 112


def window_numbers(
    apex: int, first: int, last: int, *, window: int, frames: int
) -> np.ndarray:
    """The numbers of the frames that make a clip.

    ``frames`` numbers, evenly spaced over a window of ``window`` frames that starts
    ``window // 2`` frames before the apex; with the paper's 32 and 16 every second
    one, the apex among them. Where the window reaches beyond the recording its edge
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
    offsets = np.arange(frames) * window // frames - window // 2
    return np.clip(apex + offsets, first, last)


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
                shape=clip_shape, dtype=np.uint8, encoding="zlib"
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
