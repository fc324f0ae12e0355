"""Search for brief facial motion, from what was measured of a face.

No training is needed. A candidate is a rise and fall of the motion of some region of
the face that is larger than a fixed threshold, and than the motion that the face shows
all the time in this recording. Most candidates in recordings of people are no
micro-expressions.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from meranet_jax.video import motion_signals
from meranet_jax.video.facial_motion import EYES, REGIONS, part
from meranet_jax.video.measurement import FaceMotion, Measurement
from meranet_jax.video.motion_signals import Signals

Kind = Literal["micro", "macro"]
Flag = Literal["blink", "head motion", "mouth only"]

# Longest micro-expression, from onset to offset in seconds.
LONGEST_MICRO = 0.5

# Seconds by which differences of times may be wrong
_ROUNDING = 1e-6

# Thresholds in distances between the eyes. Published ones are in pixels of a crop that
# is about two such distances wide, 256 pixels.
_PIXEL = 1 / 128


@dataclasses.dataclass(frozen=True)
class Settings:
    """Thresholds of the search; lengths in distances between the eyes.

    Attributes:
      least_motion: above the smallest motion in the window.
      least_rise: above the smallest motion within a second, by part of the face.
      least_detrended: above the slow trend.
      least_alone: rise of a region that moves while no other does, except those that
        share pixels with it. Noise and jumps of compression move one place, where the
        skin has no texture.
      noise: multiple of the deviation that the region shows all the time, which a rise
        must exceed, too.
      edge: share of the rise at which onset and offset are set.
      least_valley: depth that a valley which divides an interval has at least.
      least_length: of an interval, in seconds.
      head_speed: of the head, in distances between the eyes a second, above which its
        motion is flagged.
      blink: motion of an eye, which must also be larger than that of the brows.
    """

    least_motion: float = 1.4 * _PIXEL
    least_rise: tuple[tuple[str, float], ...] = (
        ("brow", 1.8 * _PIXEL),
        ("mouth", 1.85 * _PIXEL),
        ("nose", 2.1 * _PIXEL),
    )
    least_detrended: float = 0.8 * _PIXEL
    least_alone: float = 3 * _PIXEL
    noise: float = 4.0
    edge: float = 0.33
    least_valley: float = 0.7 * _PIXEL
    least_length: float = 0.1
    head_speed: float = 0.8
    blink: float = 4 * _PIXEL


@dataclasses.dataclass(frozen=True)
class Candidate:
    """An interval in which a face moves briefly.

    Attributes:
      onset, apex, offset: in seconds after the first frame of the recording.
      regions: names of the regions that move, strongest first.
      strength: largest rise of a region above its motion before and after, in
        distances between the eyes.
      noise: deviation that this region shows all the time, in the same unit.
      head_speed: of the head, in distances between the eyes a second.
      flags: what else happens, which may be the reason for the motion.
    """

    onset: float
    apex: float
    offset: float
    regions: tuple[str, ...]
    strength: float
    noise: float
    head_speed: float
    flags: tuple[Flag, ...]

    @property
    def kind(self) -> Kind:
        """Whether it is as short as a micro-expression."""
        return kind_of(self.offset - self.onset)


def kind_of(duration: float) -> Kind:
    """Returns the kind of an interval of so many seconds from onset to offset."""
    return "micro" if duration <= LONGEST_MICRO + _ROUNDING else "macro"


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search has found, in ascending order of onsets.

    Attributes:
      candidates: the intervals in which the face moves briefly.
      blinks: brief motion of the brows and nothing else, while an eye blinks.
    """

    candidates: tuple[Candidate, ...]
    blinks: tuple[Candidate, ...]


@dataclasses.dataclass(frozen=True)
class _Rise:
    """Rise and fall of one region, in samples of its window."""

    first: int
    peak: int
    last: int
    region: int
    height: float


# Seconds before and after in which the smallest motion is looked for
_NEAR = 0.5

# Runs of samples that are less than this apart are one.
_JOINED = 3

# Depth of a valley that divides a run, as a share of the lower peak next to it
_VALLEY = 0.33

# Overlap of two intervals, as a share of the shorter one, of the same expression.
_SAME = 0.34

_MEASURED = [i for i, region in enumerate(REGIONS) if region.part != "eye"]
_BROWS = [i for i, region in enumerate(REGIONS) if region.part == "brow"]

# The squares of the lips share pixels.
_PLACES = [
    "lips" if region.name.startswith("lip_") else region.name for region in REGIONS
]


def spot(
    face: FaceMotion, measurement: Measurement, settings: Settings = Settings()
) -> list[Candidate]:
    """Returns the candidates of a face; see ``search``."""
    return list(search(face, measurement, settings).candidates)


def search(
    face: FaceMotion, measurement: Measurement, settings: Settings = Settings()
) -> Found:
    """Finds the intervals in which a face moves briefly.

    Args:
      face: what was measured of it.
      measurement: what it is part of.
      settings: thresholds.
    """
    signals, noise = motion_signals.of_face(face, measurement)
    found = [
        candidate
        for one in signals
        for candidate, rises in _of_window(one, noise, settings)
        if candidate.offset - candidate.onset >= settings.least_length - _ROUNDING
        and (_is_blink(candidate) or _is_facial_motion(candidate, rises, settings))
    ]
    # Together, since one window may show the blink and the other one not
    kept = _merged(found)
    return Found(
        tuple(one for one in kept if not _is_blink(one)),
        tuple(one for one in kept if _is_blink(one)),
    )


class Intervals:
    """Describes intervals of a face that were not searched for, but are known."""

    def __init__(
        self,
        face: FaceMotion,
        measurement: Measurement,
        settings: Settings = Settings(),
    ):
        """Smooths what was measured, once for all intervals.

        Args:
          face: what was measured of the face.
          measurement: what it is part of.
          settings: thresholds.
        """
        self._signals, self._noise = motion_signals.of_face(face, measurement)
        self._settings = settings

    def describe(self, onset: float, offset: float) -> Candidate | None:
        """Describes an interval.

        Args:
          onset: in seconds after the first frame of the recording.
          offset: likewise.

        Returns:
          The interval with its apex, and all that moves in it more than noise does, or
          else the region that moves most. None if the motion in it was not measured.
          An interval that the search has found has the same strength as there, unless
          a region that it does not name rises more. If no region rises and falls, the
          strength is the range of the motion in the interval.
        """
        shared = [
            min(offset, one.start + (len(one.motion) - 1) * one.step)
            - max(onset, one.start)
            for one in self._signals
        ]
        most = max(shared, default=0.0)
        if most <= 0:
            return None
        # Of the windows that have most of it, the one in which it is strongest, as
        # that one of equal candidates is kept
        described = [
            self._describe(onset, offset, one)
            for one, part in zip(self._signals, shared, strict=True)
            if part >= most - one.step
        ]
        return max(described, key=lambda candidate: candidate.strength)

    def _describe(self, onset: float, offset: float, signals: Signals) -> Candidate:
        """Describes an interval by the motion in a window."""
        last_sample = len(signals.motion) - 1
        first, last = (
            int(np.clip(round((time - signals.start) / signals.step), 0, last_sample))
            for time in (onset, offset)
        )
        near = max(round(_NEAR / signals.step), 1)
        rises, moving = [], []
        for region in _MEASURED:
            motion = signals.motion[:, region]
            run = motion[first : last + 1]
            peak = first + int(run.argmax())
            before = motion[max(min(first, peak - near), 0) : peak + 1].min()
            after = motion[peak : max(last, peak + near) + 1].min()
            height = float(motion[peak] - max(before, after))
            noise = float(self._noise[region])
            if not is_motion(height, noise, self._settings):
                height = float(run.max() - run.min())
            rises.append(_Rise(first, peak, last, region, height))
            if is_motion(height, noise, self._settings):
                moving.append(rises[-1])
        group = moving or [max(rises, key=lambda rise: rise.height)]
        found = _candidate(group, signals, self._noise, self._settings)
        return dataclasses.replace(found, onset=onset, offset=offset)


def is_motion(strength: float, noise: float, settings: Settings = Settings()) -> bool:
    """Returns whether a rise is motion, and not noise.

    Args:
      strength: of the rise, see ``Candidate``.
      noise: likewise.
      settings: thresholds.
    """
    return strength > max(settings.least_detrended, settings.noise * noise)


def _is_blink(candidate: Candidate) -> bool:
    """Returns whether a blink explains all that moves, since it moves the brows, too.

    What lasts longer than a micro-expression is no blink, but may contain one.
    """
    return (
        "blink" in candidate.flags
        and candidate.kind == "micro"
        and all(part(name) == "brow" for name in candidate.regions)
    )


def _is_facial_motion(
    candidate: Candidate, rises: Sequence[_Rise], settings: Settings
) -> bool:
    """Returns whether several places move, or one moves far, without a blink's help."""
    if "blink" in candidate.flags and candidate.kind == "micro":
        rises = [rise for rise in rises if REGIONS[rise.region].part != "brow"]
    several = len({_PLACES[rise.region] for rise in rises}) > 1
    return several or any(rise.height > settings.least_alone for rise in rises)


def _of_window(
    signals: Signals, noise: np.ndarray, settings: Settings
) -> list[tuple[Candidate, list[_Rise]]]:
    """Returns the candidates in one window, each with the rises that it consists of."""
    rises: list[_Rise] = []
    least = dict(settings.least_rise)
    for region in _MEASURED:
        motion = signals.motion[:, region]
        floor = settings.noise * noise[region]
        near = max(round(_NEAR / signals.step), 1)
        moving = (
            (motion - motion.min() > max(settings.least_motion, floor))
            & (
                motion - _least_within(motion, near)
                > max(least[REGIONS[region].part], floor)
            )
            & (signals.detrended[:, region] > max(settings.least_detrended, 0))
        )
        for first, last in _runs(moving):
            rises += [
                rise
                for rise in _rises(motion, first, last, region, near, settings)
                if is_motion(rise.height, noise[region], settings)
            ]
    groups = _grouped(rises)
    return [(_candidate(group, signals, noise, settings), group) for group in groups]


def _rises(
    motion: np.ndarray,
    first: int,
    last: int,
    region: int,
    near: int,
    settings: Settings,
) -> list[_Rise]:
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
    return [_Rise(onset, peak, offset, region, height)]


def _candidate(
    group: Sequence[_Rise], signals: Signals, noise: np.ndarray, settings: Settings
) -> Candidate:
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


def _merged(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Keeps the strongest of candidates that windows which overlap both have."""
    kept: list[Candidate] = []
    for one in sorted(candidates, key=lambda found: -found.strength):
        if all(
            _overlap(one.onset, one.offset, k.onset, k.offset) <= _SAME for k in kept
        ):
            kept.append(one)
    return sorted(kept, key=lambda found: (found.onset, found.offset))


def _grouped(rises: Sequence[_Rise]) -> list[list[_Rise]]:
    """Groups the rises of regions that move together, strongest first."""
    groups: list[list[_Rise]] = []
    for rise in sorted(rises, key=lambda r: -r.height):
        for group in groups:
            strongest = group[0]
            if _overlap(rise.first, rise.last, strongest.first, strongest.last) > _SAME:
                group.append(rise)
                break
        else:
            groups.append([rise])
    return groups


def _overlap(first: float, last: float, other_first: float, other_last: float) -> float:
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
