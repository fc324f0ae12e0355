"""Candidates of the search for brief facial motion, and its thresholds."""

import dataclasses
from typing import Literal

Kind = Literal["micro", "macro"]
Flag = Literal["blink", "head motion", "mouth only"]

# Longest micro-expression, from onset to offset in seconds.
LONGEST_MICRO = 0.5

# Seconds by which differences of times may be wrong
ROUNDING = 1e-6

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
    return "micro" if duration <= LONGEST_MICRO + ROUNDING else "macro"


def is_motion(strength: float, noise: float, settings: Settings = Settings()) -> bool:
    """Returns whether a rise is motion, and not noise.

    Args:
      strength: of the rise, see ``Candidate``.
      noise: likewise.
      settings: thresholds.
    """
    return strength > max(settings.least_detrended, settings.noise * noise)
