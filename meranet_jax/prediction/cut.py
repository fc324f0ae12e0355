"""The clip of a candidate as it was cut, or why it was not."""

import dataclasses
from collections.abc import Collection, Mapping

import cv2
import numpy as np

from meranet_jax.inputs.registry import APEX_FRAME, CLIP, ONSET_FRAME
from meranet_jax.video.images import resize


@dataclasses.dataclass(frozen=True)
class Cut:
    """The clip of a candidate.

    Attributes:
      index: of the candidate among those that were asked for.
      features: ``clip`` uint8 [T, H, W, 3], ``onset_frame`` and ``apex_frame`` uint8
        [H, W, 3], as in the records of data sets.
      apex: its time in seconds, refined at the recording's own frame rate.
      clip_frames: index of each frame that the clip is made from among all frames of
        the recording; more than T with ``tim``.
      clip_times: of the T frames of the clip in seconds.
      onset_frame, apex_frame: indices as in ``clip_frames``.
      side: of the face crop in pixels of the recording.
      large: the crop of each frame as the recording shows it, as JPEG, by the index of
        the frame; empty if it was not asked for.
    """

    index: int
    features: Mapping[str, np.ndarray]
    apex: float
    clip_frames: tuple[int, ...]
    clip_times: tuple[float, ...]
    onset_frame: int
    apex_frame: int
    side: float
    large: Mapping[int, bytes] = dataclasses.field(default_factory=dict)

    def pictures(self, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns pictures for people, in the recording's resolution where it is kept.

        Args:
          side: height and width in pixels.

        Returns:
          The frames of the clip, uint8 [T, side, side, 3], and those at onset and apex.
        """
        clip, frames = self.features[CLIP], self.clip_frames
        if len(frames) == len(clip):
            pairs = zip(frames, clip, strict=True)
            shown = [self._picture(frame, small, side) for frame, small in pairs]
        else:  # interpolated between frames
            shown = [resize(small, side) for small in clip]
        onset = self._picture(self.onset_frame, self.features[ONSET_FRAME], side)
        apex = self._picture(self.apex_frame, self.features[APEX_FRAME], side)
        return np.stack(shown), onset, apex

    def _picture(self, frame: int, small: np.ndarray, side: int) -> np.ndarray:
        if frame not in self.large:
            return resize(small, side)
        encoded = np.frombuffer(self.large[frame], np.uint8)
        picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
        return resize(np.ascontiguousarray(picture[..., ::-1]), side)

    def distinct(self, features: Collection[str]) -> tuple[int, int]:
        """Returns how many frames the recording gives to an input, and how many it has.

        Args:
          features: that the input is computed from.
        """
        frames: list[int] = []
        if CLIP in features:
            frames += self.clip_frames
        else:
            frames += [self.onset_frame] if ONSET_FRAME in features else []
            frames += [self.apex_frame] if APEX_FRAME in features else []
        return len(set(frames)), len(frames)


@dataclasses.dataclass(frozen=True)
class NotCut:
    """A candidate without a clip.

    Attributes:
      index: see ``Cut``.
      reason: why, for people.
    """

    index: int
    reason: str
