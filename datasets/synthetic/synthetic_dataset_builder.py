"""Micro-expressions with known truth, generated from a seed."""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds
from rich.console import Console
from rich.progress import track
from scipy import ndimage

from datasets import clip_record, shards
from datasets.synthetic import face, motion
from meranet_jax.video import sampling

_EMOTIONS = tuple(motion.EMOTIONS)


@dataclasses.dataclass(kw_only=True)
class SyntheticConfig(clip_record.ClipConfig):
    """How many clips there are and how hard they are.

    Attributes:
      subjects: how many faces.
      repetitions: clips of each emotion of each subject.
      amplitude: the least and the greatest displacement at the apex, in pixels at
        112 x 112.
      drift: how far the head sways, in the same pixels.
      flicker: standard deviation of the brightness from frame to frame, as a share.
      noise: standard deviation of the sensor's noise, in grey levels of 255.
      seed: everything is drawn from it.
    """

    subjects: int = 24
    repetitions: int = 8
    amplitude: tuple[float, float] = (1.0, 3.0)
    drift: float = 1.0
    flicker: float = 0.01
    noise: float = 2.0
    seed: int = 0

    def full_name(self) -> str:
        return f"{self.name}-{self.shape_name()}"


class Builder(shards.StreamedBuilder):
    """TFDS builder of the synthetic data set."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "24 subjects, three emotions."}
    BUILDER_CONFIGS = [
        SyntheticConfig(name="medium", description="Motion of 1 to 3 pixels."),
        SyntheticConfig(
            name="easy",
            description="Motion of 2 to 3 pixels, a still head and little noise.",
            amplitude=(2.0, 3.0),
            drift=0.5,
            flicker=0.005,
            noise=1.0,
        ),
        SyntheticConfig(
            name="hard",
            description="Motion of half a pixel to 1.5, a restless head, more noise.",
            amplitude=(0.5, 1.5),
            drift=2.0,
            flicker=0.02,
            noise=4.0,
        ),
    ]
    builder_config: SyntheticConfig

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        shape = (config.frames, config.size, config.size)
        return self.dataset_info_from_configs(
            features=clip_record.record_features(
                config,
                _EMOTIONS,
                motion_mask=tfds.features.Tensor(
                    shape=shape, dtype=np.bool_, encoding="zlib"
                ),
                amplitude=tfds.features.Scalar(np.float32),
            ),
            metadata=tfds.core.MetadataDict(
                {k: v for k, v in dataclasses.asdict(config).items() if k != "version"}
            ),
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # nothing is downloaded
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        config = self.builder_config
        keys = [
            (subject, emotion, repetition)
            for subject in range(config.subjects)
            for emotion in _EMOTIONS
            for repetition in range(config.repetitions)
        ]
        drawn = None
        for subject, emotion, repetition in track(
            keys, "synthetic: clips", console=Console(stderr=True)
        ):
            if drawn is None or drawn[0] != subject:
                face_rng = np.random.default_rng((config.seed, subject))
                drawn = subject, face.draw(face_rng)
            key = (config.seed, subject, _EMOTIONS.index(emotion), repetition)
            record = make_clip(drawn[1], emotion, config, np.random.default_rng(key))
            clip_id = f"s{subject + 1:02d}/{emotion}_{repetition + 1}"
            yield (
                clip_id,
                {"clip_id": clip_id, "subject": f"s{subject + 1:02d}"} | record,
            )


def make_clip(
    subject: face.Face, emotion: str, config: SyntheticConfig, rng: np.random.Generator
) -> dict:
    """Film one expression of a subject.

    Args:
      subject: who is filmed.
      emotion: which expression, one of ``motion.EMOTIONS``.
      config: the clip's shape and difficulty.
      rng: draws everything else.

    Returns:
      The record's features but for those that name the clip. ``motion_mask`` [T, H, W]
      is true where a point of the face is displaced by ``motion.MOVED`` pixels at
      112 x 112 or more.
    """
    course = motion.draw_course(rng)
    amplitude = float(rng.uniform(*config.amplitude))
    field = motion.displacement(subject, emotion, amplitude, rng)
    numbers = sampling.clip_numbers(
        sampling=config.sampling,
        frames=config.frames,
        window=config.window,
        onset=course.onset,
        apex=course.apex,
        offset=course.offset,
        first=1,
        last=course.last,
    )
    shifts, angles = motion.head_path(numbers, config.drift, rng)

    # An edge frame that is repeated is the same picture, noise and all.
    filmed = {}
    for index, number in enumerate(numbers):
        if number not in filmed:
            filmed[number] = _film(
                subject,
                field * np.float32(course.intensity(number)),
                shifts[index],
                angles[index],
                config,
                rng,
            )
    pictures, masks = map(
        np.stack, zip(*(filmed[number] for number in numbers), strict=True)
    )
    if config.sampling == "tim":
        pictures = sampling.interpolate(pictures, config.frames)
        masks = masks[sampling.uniform_numbers(0, len(masks) - 1, frames=config.frames)]
    return {
        "clip": pictures,
        "motion_mask": masks,
        "emotion": emotion,
        "onset": course.onset,
        "apex": course.apex,
        "offset": course.offset,
        "apex_estimated": False,
        "amplitude": amplitude,
    }


def _film(subject, field, shift, angle, config, rng) -> tuple[np.ndarray, np.ndarray]:
    """One frame [H, W, 3] uint8 and where the face has moved in it, [H, W] bool."""
    # Where each pixel of the frame looks: back through the head's sway to the face at
    # rest, then back through the expression. Displacements are small and smooth, so
    # the field at the place itself serves as that of its inverse.
    step = face.FRAME / config.size
    y, x = (np.mgrid[: config.size, : config.size] + 0.5) * step
    x, y = x - subject.centre[0] - shift[0], y - subject.centre[1] - shift[1]
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = cos * x + sin * y + subject.centre[0], cos * y - sin * x + subject.centre[1]
    moved = [
        ndimage.map_coordinates(field[..., i], (y - 0.5, x - 0.5), order=1)
        for i in range(2)
    ]
    drawn = [
        (position - displacement + face.MARGIN) * face.FINENESS - 0.5
        for position, displacement in ((y, moved[1]), (x, moved[0]))
    ]
    picture = np.stack(
        [
            ndimage.map_coordinates(
                subject.drawing[..., channel], drawn, order=1, mode="nearest"
            )
            for channel in range(3)
        ],
        -1,
    )
    picture *= 1 + config.flicker * rng.standard_normal()
    picture += config.noise * rng.standard_normal(picture.shape)
    mask = np.hypot(*moved) >= motion.MOVED
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8), mask
