"""TFDS builder of the synthetic data set, which has exact ground truth."""

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
    """Size and difficulty of the synthetic data set.

    Attributes:
      subjects: number of subjects.
      repetitions: number of clips of each emotion of each subject.
      amplitude: minimum and maximum of the displacement at the apex, in pixels at
        112 x 112.
      drift: maximum shift of the head, in pixels at 112 x 112.
      flicker: standard deviation of the relative brightness of a frame.
      noise: standard deviation of the sensor noise, in grey levels from 0 to 255.
      seed: seed of all random numbers.
    """

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


class Builder(shards.StreamingBuilder):
    """Generates the records of the synthetic data set from its seed."""

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {
        "1.1.0": "The frames at onset and apex.",
        "1.0.0": "24 subjects, three emotions.",
    }
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
        current = None
        for subject, emotion, repetition in track(
            keys, "synthetic: clips", console=Console(stderr=True)
        ):
            if current is None or current[0] != subject:
                face_rng = np.random.default_rng((config.seed, subject))
                current = subject, face.draw_face(face_rng)
            key = (config.seed, subject, _EMOTIONS.index(emotion), repetition)
            record = render_clip(
                current[1], emotion, config, np.random.default_rng(key)
            )
            clip_id = f"s{subject + 1:02d}/{emotion}_{repetition + 1}"
            yield (
                clip_id,
                {"clip_id": clip_id, "subject": f"s{subject + 1:02d}"} | record,
            )


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
    numbers = sampling.clip_frame_numbers(
        sampling=config.sampling,
        frames=config.frames,
        window=config.window,
        onset=course.onset,
        apex=course.apex,
        offset=course.offset,
        first=1,
        last=course.last,
    )
    # Onset and apex come last, so that the clip's own frames, whose noise is drawn from
    # the same generator, do not depend on them.
    every_number = np.append(numbers, [course.onset, course.apex])
    shifts, angles = motion.head_motion(every_number, config.drift, rng)

    # A repeated frame is identical, including its noise.
    rendered = {}
    for index, number in enumerate(every_number.tolist()):
        if number not in rendered:
            rendered[number] = _render_frame(
                subject,
                field * np.float32(course.intensity(number)),
                shifts[index],
                angles[index],
                config,
                rng,
            )
    pictures, masks = map(
        np.stack, zip(*(rendered[number] for number in numbers.tolist()), strict=True)
    )
    if config.sampling == "tim":
        pictures = sampling.interpolate(pictures, config.frames)
        masks = masks[
            sampling.uniform_frame_numbers(0, len(masks) - 1, frames=config.frames)
        ]
    return {
        "clip": pictures,
        "onset_frame": rendered[course.onset][0],
        "apex_frame": rendered[course.apex][0],
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
    # The source of each pixel: first the motion of the head is inverted, then that of
    # the expression. Displacements are small and smooth, so the displacement at the
    # pixel itself approximates the inverse.
    step = face.FRAME / config.size
    y, x = (np.mgrid[: config.size, : config.size] + 0.5) * step
    x, y = x - subject.centre[0] - shift[0], y - subject.centre[1] - shift[1]
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
    picture *= 1 + config.flicker * rng.standard_normal()
    picture += config.noise * rng.standard_normal(picture.shape)
    mask = np.hypot(*moved) >= motion.MOTION_THRESHOLD
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8), mask
