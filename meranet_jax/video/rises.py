"""Rises and falls of the motion of the regions of a face."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from meranet_jax.video.candidates import Candidate, Flag, Settings, is_motion
from meranet_jax.video.facial_motion import EYES, REGIONS
from meranet_jax.video.motion_signals import Signals

# Seconds before and after in which the smallest motion is looked for
NEAR_SECONDS = 0.5

# Runs of samples that are less than this apart are one.
_JOINED = 3

# Depth of a valley that divides a run, as a share of the lower peak next to it
_VALLEY = 0.33

# Overlap of two intervals, as a share of the shorter one, of the same expression
LEAST_OVERLAP = 0.34

# Regions that are searched: an eye moves most in blinks.
SEARCHED = [i for i, region in enumerate(REGIONS) if region.part != "eye"]
_BROWS = [i for i, region in enumerate(REGIONS) if region.part == "brow"]


@dataclasses.dataclass(frozen=True)
class Rise:
    """Rise and fall of one region.

    Attributes:
      first, peak, last: samples of the window.
      region: index of the region in ``REGIONS``.
      height: above the higher of the motion before and after, in distances between
        the eyes. In a known interval without a rise it is the range of the motion.
    """

    first: int
    peak: int
    last: int
    region: int
    height: float


def of_window(
    signals: Signals, noise: np.ndarray, settings: Settings
) -> list[list[Rise]]:
    """Returns the rises in one window, in groups of regions that move together.

    Args:
      signals: what moves in the window.
      noise: deviation that each region shows all the time, float [R].
      settings: thresholds.
    """
    found: list[Rise] = []
    least = dict(settings.least_rise)
    for region in SEARCHED:
        motion = signals.motion[:, region]
        floor = settings.noise * noise[region]
        near = max(round(NEAR_SECONDS / signals.step), 1)
        moving = (
            (motion - motion.min() > max(settings.least_motion, floor))
            & (
                motion - _least_within(motion, near)
                > max(least[REGIONS[region].part], floor)
            )
            & (signals.detrended[:, region] > max(settings.least_detrended, 0))
        )
        for first, last in _runs(moving):
            found += [
                rise
                for rise in _rises(motion, first, last, region, near, settings)
                if is_motion(rise.height, noise[region], settings)
            ]
    return _grouped(found)


def _rises(
    motion: np.ndarray,
    first: int,
    last: int,
    region: int,
    near: int,
    settings: Settings,
) -> list[Rise]:
    """Returns the rises in a run of samples, which deep valleys divide."""
    run = motion[first : last + 1]
    lower_peak = np.minimum(
        np.maximum.accumulate(run), np.maximum.accumulate(run[::-1])[::-1]
    )
    depth = lower_peak - run
    valley = int(depth.argmax())
    if depth[valley] > max(settings.least_valley, _VALLEY * lower_peak[valley]):
        at = first + valley
        return [
            *_rises(motion, first, at - 1, region, near, settings),
            *_rises(motion, at + 1, last, region, near, settings),
        ]
    peak = first + int(run.argmax())
    start = max(peak - near, 0)
    end = min(peak + near, len(motion) - 1)
    left = start + int(motion[start : peak + 1].argmin())
    right = peak + int(motion[peak : end + 1].argmin())
    low = motion[left] + settings.edge * (motion[peak] - motion[left])
    high = motion[right] + settings.edge * (motion[peak] - motion[right])
    onset = peak
    while onset > left and motion[onset] > low:
        onset -= 1
    offset = peak
    while offset < right and motion[offset] > high:
        offset += 1
    height = float(motion[peak] - max(motion[left], motion[right]))
    if height < settings.least_detrended:  # a shoulder of another rise
        return []
    return [Rise(onset, peak, offset, region, height)]


def candidate(
    group: Sequence[Rise], signals: Signals, noise: np.ndarray, settings: Settings
) -> Candidate:
    """Describes rises of regions that move together as one candidate.

    Args:
      group: the rises, at least one.
      signals: what moves in their window.
      noise: deviation that each region shows all the time, float [R].
      settings: thresholds.
    """
    ordered = sorted(group, key=lambda rise: -rise.height)
    strongest = ordered[0]
    first = int(np.median([rise.first for rise in group]))
    last = int(np.median([rise.last for rise in group]))
    first, last = min(first, strongest.peak), max(last, strongest.peak)
    moved = sorted({rise.region for rise in group})
    summed = signals.motion[first : last + 1, moved].sum(1)
    speed = float(signals.head[first : last + 1].max())
    moved_by = np.ptp(signals.motion[first : last + 1], axis=0)  # [R]
    flags: list[Flag] = []
    # A brow that moves takes the skin above the eye along, but less far than itself.
    if float(moved_by[EYES].max()) > max(settings.blink, float(moved_by[_BROWS].max())):
        flags.append("blink")
    if speed > settings.head_speed:
        flags.append("head motion")
    if all(REGIONS[region].part == "mouth" for region in moved):
        flags.append("mouth only")
    return Candidate(
        signals.start + first * signals.step,
        signals.start + (first + int(summed.argmax())) * signals.step,
        signals.start + last * signals.step,
        tuple(dict.fromkeys(REGIONS[rise.region].name for rise in ordered)),
        strongest.height,
        float(noise[strongest.region]),
        speed,
        tuple(flags),
    )


def _grouped(rises: Sequence[Rise]) -> list[list[Rise]]:
    """Groups the rises of regions that move together, strongest first."""
    groups: list[list[Rise]] = []
    for rise in sorted(rises, key=lambda r: -r.height):
        for group in groups:
            strongest = group[0]
            if (
                overlap(rise.first, rise.last, strongest.first, strongest.last)
                > LEAST_OVERLAP
            ):
                group.append(rise)
                break
        else:
            groups.append([rise])
    return groups


def overlap(first: float, last: float, other_first: float, other_last: float) -> float:
    """Returns the overlap of two intervals as a share of the shorter one."""
    shared = min(last, other_last) - max(first, other_first)
    return max(shared, 0) / max(min(last - first, other_last - other_first), 1e-9)


def _runs(moving: np.ndarray) -> list[tuple[int, int]]:
    """Returns the first and last index of each run of true values, joined if close."""
    runs: list[tuple[int, int]] = []
    for index in np.flatnonzero(moving).tolist():
        if runs and index - runs[-1][1] <= _JOINED:
            runs[-1] = (runs[-1][0], index)
        else:
            runs.append((index, index))
    return runs


def _least_within(values: np.ndarray, near: int) -> np.ndarray:
    """Returns for each value the smallest of those at most ``near`` samples away."""
    padded = np.pad(values, near, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * near + 1).min(1)
