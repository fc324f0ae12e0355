"""Motion of a face at evenly spaced instants, without what changes slowly."""

import dataclasses

import numpy as np

from meranet_jax.video.facial_motion import REGIONS, Window
from meranet_jax.video.measurement import RATE, FaceMotion, Measurement

# Standard deviation in seconds of the average that is the slow trend
_TREND = 1.0

# Standard deviation in seconds of a low-pass filter that halves the power at 5 Hz
_SMOOTHING = np.sqrt(np.log(2)) / (2 * np.pi * 5.0)

# Samples of the shortest window that is looked at
_SHORTEST = 7


@dataclasses.dataclass(frozen=True)
class Signals:
    """The motion in a window at evenly spaced instants.

    Attributes:
      start: time of the first instant in seconds.
      step: from one to the next.
      motion: smoothed, float [N, R].
      detrended: without what changes slowly, float [N, R].
      head: speed of the head, float [N].
    """

    start: float
    step: float
    motion: np.ndarray
    detrended: np.ndarray
    head: np.ndarray


def of_face(
    face: FaceMotion, measurement: Measurement
) -> tuple[list[Signals], np.ndarray]:
    """Returns the signals of all windows of a face, and the noise of its regions.

    Args:
      face: what was measured of it.
      measurement: what it is part of.

    Returns:
      The signals, and the deviation that each region shows all the time, float [R], in
      distances between the eyes.
    """
    signals = [
        _signals(window, measurement.times)
        for window in face.windows
        if len(window.motion) >= _SHORTEST
    ]
    if not signals:
        return [], np.zeros(len(REGIONS))
    everything = np.concatenate([one.detrended for one in signals])
    middle = np.median(everything, 0)
    return signals, 1.4826 * np.median(np.abs(everything - middle), 0)


def _signals(window: Window, times: np.ndarray) -> Signals:
    """Resamples what was measured in a window, and smooths it."""
    at = times[window.first : window.first + len(window.motion)]
    step = 1 / RATE
    if len(at) > 1:  # of recordings with a lower rate
        step = max(step, float(np.median(np.diff(at))))
    grid = np.arange(at[0], at[-1] + step / 2, step)
    motion = _resampled(np.array(window.motion), at, grid)
    shift = _smooth(_resampled(np.array(window.shift), at, grid), _SMOOTHING / step)
    smooth = _smooth(motion, _SMOOTHING / step)
    head = np.zeros(len(grid))
    if len(grid) > 1:
        head = np.linalg.norm(np.gradient(shift, step, axis=0), axis=1)
    detrended = smooth - _smooth(motion, _TREND / step)
    return Signals(float(at[0]), step, smooth, detrended, head)


def _resampled(values: np.ndarray, at: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Interpolates columns of values [N, C] at other times."""
    return np.stack([np.interp(grid, at, column) for column in values.T], 1)


def _smooth(values: np.ndarray, deviation: float) -> np.ndarray:
    """Averages columns of values [N, C] with weights of a normal distribution.

    Args:
      values: at evenly spaced instants.
      deviation: standard deviation of the weights in samples.
    """
    reach = max(round(4 * deviation), 1)
    places = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (places / deviation) ** 2)
    weights /= weights.sum()
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, weights, "valid") for column in padded.T], 1)
