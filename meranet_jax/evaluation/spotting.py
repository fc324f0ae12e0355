"""Metrics of spotting, as the Micro-Expression Grand Challenge computes them.

An interval that was found is right if it matches an annotated one: their intersection
is at least half of their union, and each matches one other at most. Counts are pooled
over all recordings before F1 is computed.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

# Least intersection over union of two intervals that match
LEAST_OVERLAP = 0.5

# First and last frame of an interval, both included
Interval = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class SpottingCounts:
    """Counts over one or several recordings.

    Attributes:
      true: number of annotated intervals.
      found: number of intervals that were found.
      matched: number of those that match an annotated one.
      minutes: length of the recordings.
    """

    true: int = 0
    found: int = 0
    matched: int = 0
    minutes: float = 0.0

    def __add__(self, other: "SpottingCounts") -> "SpottingCounts":
        """Returns the counts over the recordings of both."""
        return SpottingCounts(
            self.true + other.true,
            self.found + other.found,
            self.matched + other.matched,
            self.minutes + other.minutes,
        )

    @property
    def precision(self) -> float:
        """Share of the found intervals that match; 0 if none was found."""
        return self.matched / self.found if self.found else 0.0

    @property
    def recall(self) -> float:
        """Share of the annotated intervals that were found; 0 if there is none."""
        return self.matched / self.true if self.true else 0.0

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); 0 if there are no intervals at all."""
        total = self.true + self.found
        return 2 * self.matched / total if total else 0.0

    @property
    def false_alarms_per_minute(self) -> float:
        """Found intervals without a match, per minute of recording."""
        return (self.found - self.matched) / self.minutes if self.minutes else 0.0


def intersection_over_union(one: Interval, other: Interval) -> float:
    """Returns the overlap of two intervals of frames, whose ends are included."""
    shared = min(one[1], other[1]) - max(one[0], other[0]) + 1
    lengths = (one[1] - one[0] + 1) + (other[1] - other[0] + 1)
    return max(shared, 0.0) / (lengths - max(shared, 0.0))


def match(
    true: Sequence[Interval],
    found: Sequence[Interval],
    least: float = LEAST_OVERLAP,
) -> list[tuple[int, int]]:
    """Returns as many pairs of an annotated and a found interval as possible.

    Args:
      true: annotated intervals of one recording.
      found: intervals that were found in it.
      least: intersection over union of a pair.

    Returns:
      Indices in ``true`` and ``found``, in ascending order; each occurs once at most.
    """
    if not true or not found:
        return []
    overlap = np.array(
        [[intersection_over_union(one, other) for other in found] for one in true]
    )
    pairs = overlap >= least
    # The number of pairs counts before their overlap does.
    rows, columns = linear_sum_assignment(
        pairs * (1 + overlap / (1 + min(overlap.shape))), maximize=True
    )
    return [
        (row, column)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        if pairs[row, column]
    ]


def count(
    true: Sequence[Interval], found: Sequence[Interval], minutes: float
) -> SpottingCounts:
    """Counts the intervals of one recording.

    Args:
      true: annotated intervals.
      found: intervals that were found.
      minutes: length of the recording.
    """
    return SpottingCounts(len(true), len(found), len(match(true, found)), minutes)


def strs(spotting_f1: float, recognition_f1: float) -> float:
    """Returns the spot-then-recognise score (STRS), the product of both F1."""
    return spotting_f1 * recognition_f1
