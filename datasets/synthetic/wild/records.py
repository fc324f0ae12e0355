"""The record of a clip: its pictures and the truth about them."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import tensorflow_datasets as tfds

from datasets import clip_record
from datasets.synthetic import time_course
from datasets.synthetic.wild import camera, expressions, script
from datasets.synthetic.wild.script import Camera, Script
from meranet_jax.video import sampling

# Minimum displacement in pixels at 112 x 112 for the motion mask.
MOTION_THRESHOLD = 0.1


Faces = Literal["wild_a", "wild_b"]

# Number of subjects whose clips together have the proportions of the emotions
GROUP = 10


@dataclasses.dataclass(kw_only=True)
class WildConfig(clip_record.ClipConfig):
    """Size and difficulty of the benchmark.

    Attributes:
      faces: the renderer.
      prefix: first letter of the names of the subjects.
      subjects: number of subjects. Those of a smaller number are the first of a larger.
      clips_per_subject: minimum and maximum.
      amplitude: minimum and maximum of the displacement at the apex, in pixels at
        112 x 112.
      seed: seed of all random numbers.
    """

    faces: Faces = "wild_a"
    prefix: str = "w"
    subjects: int = 60
    clips_per_subject: tuple[int, int] = (6, 26)
    amplitude: tuple[float, float] = (0.2, 1.0)
    seed: int = 0

    def full_name(self) -> str:
        """Returns the name of this configuration's folder of records."""
        return f"{self.name}-{self.shape_name()}"

    def clips(self, number: int) -> list[tuple[str, int]]:
        """Returns emotion and repetition, from 0, of each clip of a subject.

        Each group of ``GROUP`` subjects has the proportions of the emotions, so that
        configurations of different size have the same.
        """
        group, place = divmod(number, GROUP)
        # Keys are padded with zeros, so none may be a key of a subject or of a clip.
        rng = np.random.default_rng((self.seed, group, len(expressions.EMOTIONS) + 1))
        emotions = expressions.draw_emotions(rng, GROUP, self.clips_per_subject)[place]
        return [
            (emotion, emotions[:index].count(emotion))
            for index, emotion in enumerate(emotions)
        ]

    def key(self, number: int, emotion: str, repetition: int) -> tuple[int, ...]:
        """Returns the key of the random numbers of a clip.

        Args:
          number: of the subject, from 0.
          emotion: one of ``expressions.EMOTIONS``.
          repetition: of the emotion, from 0.
        """
        place = expressions.EMOTIONS.index(emotion)
        return self.seed, number, 1 + place, repetition


@dataclasses.dataclass(frozen=True)
class Rendered:
    """What a renderer makes of M frames of a script.

    Attributes:
      pictures: float32 [M, H, W, 3], 0 to 255, before the camera's noise, flicker,
        exposure and compression.
      lengths: length of the displacement by the expression alone of the point of the
        face that each pixel shows, in pixels at 112 x 112; 0 outside the face, float32
        [M, H, W].
      displacement: displacement (x, y) from onset to apex by the expression alone, of
        the point that each pixel of the frame at onset shows, in pixels at 112 x 112,
        float32 [H, W, 2].
    """

    pictures: np.ndarray
    lengths: np.ndarray
    displacement: np.ndarray


# Renders frames, given a face, the style of its person, a script, the numbers of the
# frames in ascending order (int [M], from 1), and the height and width of the frames.
Render = Callable[[Any, expressions.Style, Script, np.ndarray, int], Rendered]


@dataclasses.dataclass(frozen=True)
class Subject:
    """A person: a face that a renderer has drawn, a style, and a camera."""

    face: Any
    style: expressions.Style
    camera: Camera


def draw_subject(
    draw_face: Callable[[np.random.Generator], Any], rng: np.random.Generator
) -> Subject:
    """Draws a person.

    Args:
      draw_face: draws the face.
      rng: the random numbers of the person.
    """
    style, own_camera = expressions.draw_style(rng), script.draw_camera(rng)
    return Subject(draw_face(rng), style, own_camera)


def features(frames: int, size: int) -> dict:
    """Returns the TFDS features of a record in addition to the common ones.

    Args:
      frames: number of frames of the clip, T.
      size: height and width of the clip.
    """

    def tensor(*shape: int, dtype: Any = np.float32) -> tfds.features.Tensor:
        return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="zlib")

    return {
        "motion_mask": tensor(frames, size, size, dtype=np.bool_),
        "displacement": tensor(size, size, 2),
        "action_units": tensor(frames, len(expressions.UNITS), 2),
        "distractors": tensor(frames, len(script.DISTRACTORS)),
        "amplitude": tfds.features.Scalar(np.float32),
    }


def make(
    render: Render,
    subject: Subject,
    emotion: str,
    config: WildConfig,
    rng: np.random.Generator,
) -> dict:
    """Renders and records a clip.

    Args:
      render: the renderer.
      subject: the person.
      emotion: one of ``expressions.EMOTIONS``.
      config: shape and amplitude of the clip.
      rng: the random numbers of the clip.

    Returns:
      The features of the record except ``clip_id`` and ``subject``; see ``features``.
      ``motion_mask``, bool [T, H, W], is true where the expression displaces the face
      by at least ``MOTION_THRESHOLD``. ``displacement``, float32 [H, W, 2], is
      ``Rendered.displacement``. ``action_units``, float32 [T, K, 2], and
      ``distractors``, float32 [T, D], are those of the script at the frames of the
      clip. ``amplitude`` is the largest length in ``displacement``.
    """
    clip_script = script.draw(
        rng, subject.style, subject.camera, emotion, config.amplitude
    )
    course = clip_script.course
    numbers = time_course.frame_numbers(course, config)
    chosen = np.unique(numbers)
    rendered = render(subject.face, subject.style, clip_script, chosen, config.size)
    pictures = camera.record(
        rendered.pictures,
        chosen,
        clip_script.camera,
        key_frame=course.onset,
        seed=int(rng.integers(2**32)),
    )
    masks = rendered.lengths >= MOTION_THRESHOLD
    place = np.searchsorted(chosen, numbers)
    onset, apex = place[-2:]
    clip, shown = pictures[place[:-2]], place[:-2]
    if config.sampling == "tim":
        clip = sampling.interpolate(clip, config.frames)
        last = len(shown) - 1
        shown = shown[sampling.uniform_frame_numbers(0, last, frames=config.frames)]
    at = chosen[shown] - 1
    return {
        "clip": clip,
        "onset_frame": pictures[onset],
        "apex_frame": pictures[apex],
        "motion_mask": masks[shown],
        "displacement": rendered.displacement,
        "action_units": clip_script.units[at].astype(np.float32),
        "distractors": clip_script.distractors()[at],
        "emotion": emotion,
        "onset": course.onset,
        "apex": course.apex,
        "offset": course.offset,
        "apex_estimated": False,
        # What is visible of it at this size
        "amplitude": float(np.linalg.norm(rendered.displacement, axis=-1).max()),
    }
