"""Configuration of the synthetic data set, and rendering of its clips."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from scipy import ndimage

from datasets import clip_record
from datasets.synthetic import face, motion, time_course
from meranet_jax.video import sampling

Faces = Literal["drawn", "varied", "photograph", "sketch"]


@dataclasses.dataclass(kw_only=True)
class SyntheticConfig(clip_record.ClipConfig):
    """Size and difficulty of the synthetic data set.

    Attributes:
      faces: how faces are made: ``drawn`` by ``face``, ``varied`` beyond nature by
        ``varied``, warped from a ``photograph``, or drawn by ``sketch``.
      subjects: number of subjects.
      repetitions: number of clips of each emotion of each subject.
      amplitude: minimum and maximum of the displacement at the apex, in pixels at
        112 x 112.
      drift: maximum shift of the head, in pixels at 112 x 112.
      flicker: standard deviation of the relative brightness of a frame.
      noise: standard deviation of the sensor noise, in grey levels from 0 to 255.
      seed: seed of all random numbers.

    For ``varied`` faces, drift, flicker and noise are the maxima of what is drawn for
    each clip.
    """

    faces: Faces = "drawn"
    subjects: int = 24
    repetitions: int = 8
    amplitude: tuple[float, float] = (1.0, 3.0)
    drift: float = 1.0
    flicker: float = 0.01
    noise: float = 2.0
    seed: int = 0

    def full_name(self) -> str:
        """Returns the name of this configuration's folder of records."""
        return f"{self.name}-{self.shape_name()}"

    def clips(self, number: int) -> list[tuple[str, int]]:
        """Returns emotion and repetition, from 0, of each clip of a subject."""
        del number  # they are the same for all
        return [
            (emotion, repetition)
            for emotion in motion.EMOTIONS
            for repetition in range(self.repetitions)
        ]

    def key(self, number: int, emotion: str, repetition: int) -> tuple[int, ...]:
        """Returns the key of the random numbers of a clip.

        Args:
          number: of the subject, from 0.
          emotion: one of ``motion.EMOTIONS``.
          repetition: of the emotion, from 0.
        """
        return self.seed, number, list(motion.EMOTIONS).index(emotion), repetition


def render_clip(
    subject: face.Face, emotion: str, config: SyntheticConfig, rng: np.random.Generator
) -> dict:
    """Renders a clip of one expression of a subject.

    Args:
      subject: the face of the subject.
      emotion: one of ``motion.EMOTIONS``.
      config: shape and difficulty of the clip.
      rng: draws everything else.

    Returns:
      The features of the record except ``clip_id`` and ``subject``. ``clip`` is uint8
      [T, H, W, 3], ``onset_frame`` and ``apex_frame`` are uint8 [H, W, 3];
      ``motion_mask``, bool [T, H, W], is true where the face is displaced by at least
      ``motion.MOTION_THRESHOLD`` pixels at 112 x 112.
    """
    course = motion.draw_time_course(rng)
    amplitude = float(rng.uniform(*config.amplitude))
    field = motion.displacement(subject, emotion, amplitude, rng)
    numbers = time_course.frame_numbers(course, config)
    shifts, angles = motion.head_motion(numbers, config.drift, rng)
    frames = {}
    for number, shift, angle in zip(numbers.tolist(), shifts, angles, strict=True):
        if number not in frames:  # a repeated frame is identical, including its noise
            displaced = field * np.float32(course.intensity(number))
            frames[number] = _render_frame(
                subject, displaced, shift, angle, config, rng
            )
    return make_record(emotion, course, amplitude, frames, config)


def make_record(
    emotion: str,
    course: time_course.TimeCourse,
    amplitude: float,
    frames: Mapping[int, tuple[np.ndarray, np.ndarray]],
    config: SyntheticConfig,
) -> dict:
    """Returns the features of a record except ``clip_id`` and ``subject``.

    Args:
      emotion: one of ``motion.EMOTIONS``.
      course: time course of the expression.
      amplitude: maximum displacement at the apex in pixels at 112 x 112.
      frames: picture, uint8 [H, W, 3], and motion mask, bool [H, W], by the numbers of
        ``time_course.frame_numbers``.
      config: shape of the clip.
    """
    numbers = time_course.frame_numbers(course, config)[:-2].tolist()
    pictures, masks = map(
        np.stack, zip(*(frames[number] for number in numbers), strict=True)
    )
    if config.sampling == "tim":
        pictures = sampling.interpolate(pictures, config.frames)
        masks = masks[
            sampling.uniform_frame_numbers(0, len(masks) - 1, frames=config.frames)
        ]
    return {
        "clip": pictures,
        "onset_frame": frames[course.onset][0],
        "apex_frame": frames[course.apex][0],
        "motion_mask": masks,
        "emotion": emotion,
        "onset": course.onset,
        "apex": course.apex,
        "offset": course.offset,
        "apex_estimated": False,
        "amplitude": amplitude,
    }


def _render_frame(
    subject, field, shift, angle, config, rng
) -> tuple[np.ndarray, np.ndarray]:
    """Renders one frame, uint8 [H, W, 3], and its motion mask, bool [H, W]."""
    picture, mask = warp(subject, field, shift, angle, config.size)
    picture *= 1 + config.flicker * rng.standard_normal()
    picture += config.noise * rng.standard_normal(picture.shape)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8), mask


def warp(
    subject: face.Face,
    field: np.ndarray,
    shift: Sequence[float],
    angle: float,
    size: int,
    *,
    zoom: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Warps the image of a subject to one frame.

    Args:
      subject: the face.
      field: displacement of the face, float32 [FRAME, FRAME, 2].
      shift: shift of the head, x and y in pixels at 112 x 112.
      angle: rotation of the head about the face's centre in radians.
      size: height and width of the frame.
      zoom: factor by which the head is enlarged; None for 1.

    Returns:
      The picture, float32 [size, size, 3], and the motion mask, bool [size, size].
    """
    # The source of each pixel: first the motion of the head is inverted, then that of
    # the expression. Displacements are small and smooth, so the displacement at the
    # pixel itself approximates the inverse.
    step = face.FRAME / size
    y, x = (np.mgrid[:size, :size] + 0.5) * step
    x, y = x - subject.centre[0] - shift[0], y - subject.centre[1] - shift[1]
    if zoom is not None:
        x, y = x / zoom, y / zoom
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = cos * x + sin * y + subject.centre[0], cos * y - sin * x + subject.centre[1]
    moved = [
        ndimage.map_coordinates(field[..., i], (y - 0.5, x - 0.5), order=1)
        for i in range(2)
    ]
    coordinates = [
        (position - displacement + face.MARGIN) * face.SUPERSAMPLING - 0.5
        for position, displacement in ((y, moved[1]), (x, moved[0]))
    ]
    picture = np.stack(
        [
            ndimage.map_coordinates(
                subject.image[..., channel], coordinates, order=1, mode="nearest"
            )
            for channel in range(3)
        ],
        -1,
    )
    return picture, np.hypot(*moved) >= motion.MOTION_THRESHOLD
