"""How an expression becomes a clip of fixed size, and the record that holds it."""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds

from meranet_jax.errors import DataError
from meranet_jax.video.sampling import Sampling


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
