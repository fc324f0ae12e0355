"""The time course of an expression, and which frames of it a clip has."""

import dataclasses

import numpy as np

from datasets import clip_record
from meranet_jax.video import sampling

# Frames per second (Hz), as in CASME II
FRAME_RATE = 200.0


@dataclasses.dataclass(frozen=True)
class TimeCourse:
    """Time course of an expression in its recording; frames are numbered from 1.

    Attributes:
      onset: last neutral frame before the expression.
      apex: frame of maximum motion.
      offset: first neutral frame after the expression.
      last: last frame of the recording.
      rise: exponent of the rise: 1 is a half cosine; a larger value rises later.
      fall: exponent of the fall, in the same way backwards in time.
    """

    onset: int
    apex: int
    offset: int
    last: int
    rise: float
    fall: float

    def intensity(self, number: int) -> float:
        """Returns the intensity at a frame: 0 if neutral, 1 at the apex."""
        if number <= self.onset or number >= self.offset:
            return 0.0
        if number <= self.apex:
            part = ((number - self.onset) / (self.apex - self.onset)) ** self.rise
        else:
            part = ((self.offset - number) / (self.offset - self.apex)) ** self.fall
        return float(np.sin(np.pi / 2 * part) ** 2)


def frame_numbers(course: TimeCourse, config: clip_record.ClipConfig) -> np.ndarray:
    """Returns the numbers of the frames of a record, in the order of rendering.

    Onset and apex come last, so that the clip's own frames, whose noise is drawn one
    after the other from the same generator, do not depend on them.

    Returns:
      int64 [N + 2]: the N numbers of ``sampling.clip_frame_numbers``, onset and apex.
    """
    numbers = sampling.clip_frame_numbers(
        sampling=config.sampling,
        frames=config.frames,
        window=config.window,
        onset=course.onset,
        apex=course.apex,
        offset=course.offset,
        first=1,
        last=course.last,
        step=config.step(FRAME_RATE),
    )
    return np.append(numbers, [course.onset, course.apex])
