"""Configuration of clips, and the features of the records that contain them."""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds

from meranet_jax.errors import DataError
from meranet_jax.video.sampling import Sampling


@dataclasses.dataclass(kw_only=True)
class ClipConfig(tfds.core.BuilderConfig):
    """How an expression is converted to a clip of fixed size (section 4.2).

    Attributes:
      sampling: how frames are selected. ``apex`` selects evenly spaced frames of a
        window around the apex, as in the paper; ``uniform`` selects the frames nearest
        to evenly spaced instants between onset and offset; ``tim`` interpolates at
        these instants with the temporal interpolation model.
      frames: number of frames in a clip, T.
      window: length in frames of the window around the apex; used by ``apex`` only. 32
        is the paper's temporal depth for CASME and CASME II.
      size: height and width of a clip in pixels, H = W.
      rate: frame rate in Hz to which recordings are resampled before the window is
        taken, by the frame nearest in time; None keeps theirs. For ``apex`` only.

    Raises:
      DataError: if a value is out of range.
    """

    sampling: Sampling = "apex"
    frames: int = 16
    window: int = 32
    size: int = 112
    rate: float | None = None

    def __post_init__(self):
        if self.sampling not in ("apex", "uniform", "tim"):
            raise DataError(
                f"--sampling={self.sampling} must be one of apex, uniform, tim."
            )
        for field, least, most in (("frames", 1, 512), ("size", 16, 1024)):
            if not least <= (value := getattr(self, field)) <= most:
                raise DataError(f"--{field}={value} must be from {least} to {most}.")
        if self.sampling == "apex" and not self.frames <= self.window <= 4096:
            raise DataError(
                f"--window={self.window}: {self.frames} frames cannot be drawn from "
                f"it; choose --window from {self.frames} to 4096, or fewer --frames."
            )

        if self.rate is not None:
            if not 1 <= self.rate <= 10_000:  # also refuses NaN
                raise DataError(f"--rate={self.rate} must be from 1 to 10000 Hz.")
            if self.sampling != "apex":
                raise DataError(
                    f"--rate={self.rate:g} applies to --sampling=apex: "
                    f"--sampling={self.sampling} takes {self.frames} frames from onset "
                    "to offset, whatever the frame rate. Leave out --rate."
                )

    def step(self, frame_rate: float | None) -> float:
        """Returns the length of a frame of the window in frames of a recording.

        Args:
          frame_rate: of the recording in Hz; None if it is unknown.

        Raises:
          DataError: if it is needed but unknown.
        """
        if self.rate is None:
            return 1.0
        if frame_rate is None:
            raise DataError(
                f"its frame rate is unknown, so that --rate={self.rate:g} cannot be "
                "applied; state frame_rate in the specification of the data set"
            )
        return frame_rate / self.rate

    def shape_name(self) -> str:
        """Returns a short name of the sampling and the shape, ``apex32-16x112``."""
        window = self.window if self.sampling == "apex" else ""
        name = f"{self.sampling}{window}-{self.frames}x{self.size}"
        return name if self.rate is None else f"{name}-{self.rate:g}hz"

    def full_name(self) -> str:
        """Returns a name that is unique among the data set's configurations."""
        return self.shape_name()


def record_features(
    config: ClipConfig, emotions: tuple[str, ...], **extra_features
) -> tfds.features.FeaturesDict:
    """Returns the TFDS features of a data set's records.

    Records include all emotions of the data set, whichever classes a protocol uses.
    ``clip`` is uint8 [T, H, W, 3]. ``onset_frame`` and ``apex_frame``, uint8 [H, W, 3],
    are the frames with the numbers ``onset`` and ``apex``, cropped and resized as the
    frames of the clip are; the clip itself may contain neither.

    Args:
      config: configuration that determines the clip's shape.
      emotions: emotions of the data set, as in its table.
      **extra_features: features in addition to the common ones, by name.
    """
    frame_shape = (config.size, config.size, 3)  # [H, W, C]

    def images(shape: tuple[int, ...]) -> tfds.features.Tensor:
        return tfds.features.Tensor(shape=shape, dtype=np.uint8, encoding="bytes")

    return tfds.features.FeaturesDict(
        {
            "clip": images((config.frames, *frame_shape)),  # [T, H, W, C]
            "onset_frame": images(frame_shape),
            "apex_frame": images(frame_shape),
            "clip_id": tfds.features.Text(),
            "subject": tfds.features.Text(),
            "emotion": tfds.features.ClassLabel(names=list(emotions)),
            "onset": tfds.features.Scalar(np.int32),
            "apex": tfds.features.Scalar(np.int32),
            "offset": tfds.features.Scalar(np.int32),
            "apex_estimated": tfds.features.Scalar(np.bool_),
            **extra_features,
        }
    )
