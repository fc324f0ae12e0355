"""Which frames of a clip a recording at a lower frame rate would have shown.

The slower recording consists of frames of the clip: those nearest to the instants at
which it has frames, chosen as ``video.sampling.sampled`` chooses them. Each frame of
the slower clip is the frame of that recording that is nearest in time to the frame that
it replaces; of two that are equally near, the earlier.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from meranet_jax.config import TrainConfig
from meranet_jax.video import sampling

# Farther from the apex than any frame of a recording
_FAR = 2**31

# Less than any difference of two times, in seconds
TINY = 1e-9


@dataclasses.dataclass(frozen=True)
class Timing:
    """When the frames of a record were recorded, in seconds after its onset.

    Attributes:
      frame_rate: of the recording in Hz.
      frames: of each frame of the clip, ascending, float64 [T].
      apex: of the apex.
    """

    frame_rate: float
    frames: np.ndarray
    apex: float

    @property
    def spacing(self) -> float:
        """The longest time between two frames of the clip."""
        return float(np.diff(self.frames).max(initial=0.0))


@dataclasses.dataclass(frozen=True)
class Shown:
    """Which frames of a clip replace its frames at a lower frame rate.

    Attributes:
      kept: indices of the frames of the slower recording, ascending.
      clip: index of the frame that replaces each frame of the clip, [T].
      apex: index of the frame that replaces the apex frame.
      apex_shift: its distance from the apex in seconds.
    """

    kept: np.ndarray
    clip: np.ndarray
    apex: int
    apex_shift: float


class _Instant(NamedTuple):
    """When a frame is shown: its number among those of the clip, and its time."""

    number: int
    time: float


def timing(
    config: TrainConfig, frame_rate: float, onset: int, apex: int, offset: int
) -> Timing:
    """Returns when the frames of a clip were recorded.

    Args:
      config: of its data set alone: ``sampling``, ``frames``, ``window``, ``rate``.
      frame_rate: of the recording in Hz.
      onset: frame number of the onset.
      apex: frame number of the apex.
      offset: frame number of the offset.
    """
    if config.sampling == "apex":
        step = 1.0 if config.rate is None else frame_rate / config.rate
        numbers = sampling.window_frame_numbers(
            apex, -_FAR, _FAR, window=config.window, frames=config.frames, step=step
        )
    elif config.sampling == "uniform":
        numbers = sampling.uniform_frame_numbers(onset, offset, frames=config.frames)
    elif config.frames == 1:
        numbers = np.array([(onset + offset) / 2])
    else:
        numbers = np.linspace(onset, offset, config.frames)
    return Timing(
        frame_rate, (numbers - onset) / frame_rate, (apex - onset) / frame_rate
    )


def slow_down(
    times: Timing, rate: float, phase: float, *, from_onset: bool
) -> Shown | None:
    """Chooses the frames that a recording at a lower frame rate would have shown.

    Args:
      times: of the record.
      rate: in Hz.
      phase: time of a frame of the slower recording after the first frame of the clip
        or the onset, in times between two of its frames, 0 to 1.
      from_onset: whether it is counted from the onset.

    Returns:
      The frames; None if the slower recording has none in the clip.
    """
    # A short clip repeats frames.
    instants, indices = np.unique(times.frames, return_index=True)
    half = times.spacing / 2
    start = (0.0 if from_onset else instants[0]) + phase / rate
    # The first instant of the slower recording that a frame of the clip is near to
    start += math.ceil((instants[0] - half - start) * rate - TINY) / rate
    frames = (
        _Instant(number, float(instant - start))
        for number, instant in enumerate(instants)
    )
    chosen = [frame.number for frame in sampling.sampled(frames, rate)]
    if not chosen:
        return None
    kept = indices[chosen]

    def nearest(wanted: np.ndarray) -> np.ndarray:
        distances = abs(times.frames[kept][None] - wanted[:, None])
        return kept[np.argmin(np.round(distances, 9), 1)]

    apex = int(nearest(np.array([times.apex]))[0])
    shift = abs(float(times.frames[apex]) - times.apex)
    return Shown(kept, nearest(times.frames), apex, shift)
