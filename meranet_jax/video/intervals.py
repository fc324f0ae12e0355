"""Describes the motion in known intervals of a recording."""

import dataclasses

import numpy as np

from meranet_jax.video import motion_signals, rises
from meranet_jax.video.candidates import Candidate, Settings, is_motion
from meranet_jax.video.measurement import FaceMotion, Measurement
from meranet_jax.video.motion_signals import Signals


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
        near = max(round(rises.NEAR_SECONDS / signals.step), 1)
        found, moving = [], []
        for region in rises.SEARCHED:
            motion = signals.motion[:, region]
            run = motion[first : last + 1]
            peak = first + int(run.argmax())
            before = motion[max(min(first, peak - near), 0) : peak + 1].min()
            after = motion[peak : max(last, peak + near) + 1].min()
            height = float(motion[peak] - max(before, after))
            noise = float(self._noise[region])
            if not is_motion(height, noise, self._settings):
                height = float(run.max() - run.min())
            found.append(rises.Rise(first, peak, last, region, height))
            if is_motion(height, noise, self._settings):
                moving.append(found[-1])
        group = moving or [max(found, key=lambda rise: rise.height)]
        candidate = rises.candidate(group, signals, self._noise, self._settings)
        return dataclasses.replace(candidate, onset=onset, offset=offset)
