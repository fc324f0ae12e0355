"""TFDS builder of the synthetic data set, which has exact ground truth."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from rich.console import Console
from rich.progress import track

from datasets import clip_record, shards
from datasets.parallel import parallel_map
from datasets.synthetic import face, motion, photograph, sketch, varied
from datasets.synthetic.rendering import SyntheticConfig, render_clip
from datasets.synthetic.time_course import FRAME_RATE
from datasets.synthetic.wild import expressions, records, script
from datasets.synthetic.wild.records import WildConfig
from datasets.synthetic.wild_a import face as face_a
from datasets.synthetic.wild_a import render as render_a
from datasets.synthetic.wild_b import draw_face as draw_face_b
from datasets.synthetic.wild_b import render as render_b

__all__ = ["Builder", "SyntheticConfig", "draw_subject", "render", "render_clip"]

Config = SyntheticConfig | WildConfig


@dataclasses.dataclass(frozen=True)
class _Kind:
    """A kind of faces.

    Attributes:
      prefix: first letter of its subjects' names, which differs between kinds; that of
        the benchmark is in its configurations.
      draw: returns a subject, given a random number generator.
      render: returns a record, given a subject, an emotion, the configuration and a
        random number generator; see ``rendering.render_clip``.
      emotions: all emotions of its clips.
    """

    prefix: str
    draw: Callable[[np.random.Generator], Any]
    render: Callable[[Any, str, Any, np.random.Generator], dict]
    emotions: tuple[str, ...] = tuple(motion.EMOTIONS)


def _wild(draw_face: Callable, render: records.Render) -> _Kind:
    return _Kind(
        "",
        functools.partial(records.draw_subject, draw_face),
        functools.partial(records.make, render),
        expressions.EMOTIONS,
    )


_KINDS = {
    "drawn": _Kind("s", face.draw_face, render_clip),
    "varied": _Kind("v", varied.draw_face, varied.render_clip),
    "photograph": _Kind("p", lambda rng: photograph.load_face(), render_clip),
    "sketch": _Kind("k", sketch.draw_face, sketch.render_clip),
    "wild_a": _wild(face_a.draw_face, render_a.render),
    "wild_b": _wild(draw_face_b, render_b),
}

# Amplitudes of the configurations that evaluate weights on other faces.
_AMPLITUDES = {"": (1.0, 3.0), "_small": (0.5, 1.5), "_subtle": (0.2, 0.6)}


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
        SyntheticConfig(
            name="varied",
            description="Faces, motion and noise vary beyond nature, for pre-training.",
            faces="varied",
            subjects=240,
            repetitions=3,
            amplitude=(0.15, 3.0),
            drift=2.5,
            flicker=0.03,
            noise=6.0,
        ),
        *(
            SyntheticConfig(
                name=f"photo{suffix}",
                description=f"Warps of a photograph by {least} to {most} pixels.",
                faces="photograph",
                subjects=1,
                repetitions=20,
                amplitude=(least, most),
            )
            for suffix, (least, most) in _AMPLITUDES.items()
        ),
        *(
            SyntheticConfig(
                name=f"sketch{suffix}",
                description=f"Faces of another program, motion of {least} to {most}.",
                faces="sketch",
                subjects=20,
                repetitions=2,
                amplitude=(least, most),
            )
            for suffix, (least, most) in _AMPLITUDES.items()
        ),
        WildConfig(
            name="wild",
            description="The benchmark: subtle expressions among other movements.",
        ),
        WildConfig(
            name="wild_small",
            description="The first ten subjects of wild.",
            subjects=10,
        ),
        WildConfig(
            name="wild_dev",
            description="Other subjects than those of wild, to choose settings on.",
            prefix="d",
            subjects=40,
            seed=1,
        ),
        WildConfig(
            name="wild_b",
            description="The benchmark with the second renderer, and other subjects.",
            faces="wild_b",
            prefix="b",
            subjects=20,
            seed=2,
        ),
        WildConfig(
            name="wild_b_training",
            description="More subjects of the second renderer, for pre-training.",
            faces="wild_b",
            prefix="t",
            subjects=100,
            seed=3,
        ),
    ]
    builder_config: Config

    # Number of threads that render; None uses one per core. It does not affect the
    # records.
    workers: int | None = None

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        about = {k: v for k, v in dataclasses.asdict(config).items() if k != "version"}
        if isinstance(config, WildConfig):
            extra = records.features(config.frames, config.size)
            about["action_units"] = list(expressions.UNITS)
            about["distractors"] = list(script.DISTRACTORS)
        else:
            shape = (config.frames, config.size, config.size)
            mask = tfds.features.Tensor(shape=shape, dtype=np.bool_, encoding="zlib")
            amplitude = tfds.features.Scalar(np.float32)
            extra = {"motion_mask": mask, "amplitude": amplitude}
        return self.dataset_info_from_configs(
            features=clip_record.record_features(
                config, _KINDS[config.faces].emotions, **extra
            ),
            metadata=tfds.core.MetadataDict(about | {"frame_rates": [FRAME_RATE]}),
        )

    def _split_generators(self, dl_manager):
        del dl_manager  # nothing is downloaded
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[str, dict]]:
        config = self.builder_config
        plans = [config.clips(number) for number in range(config.subjects)]
        subjects = parallel_map(
            functools.partial(draw_subject, config),
            range(config.subjects),
            self.workers,
        )
        clips = (
            (place, subject, number, emotion, repetition)
            for number, (subject, plan) in enumerate(zip(subjects, plans, strict=True))
            for place, (emotion, repetition) in enumerate(plan, 1)
        )
        prefix = _KINDS[config.faces].prefix
        if isinstance(config, WildConfig):
            prefix = config.prefix
        digits = max(2, len(str(config.subjects)))
        for (place, number, emotion, repetition), record in track(
            parallel_map(
                lambda clip: ((clip[0], *clip[2:]), render(config, *clip[1:])),
                clips,
                self.workers,
            ),
            "synthetic: clips",
            total=sum(map(len, plans)),
            console=Console(stderr=True),
        ):
            subject = f"{prefix}{number + 1:0{digits}d}"
            clip = f"{emotion}_{repetition + 1}"
            if isinstance(config, WildConfig):  # ids must not reveal the emotion
                clip = f"{place:02d}"
            clip_id = f"{subject}/{clip}"
            yield clip_id, {"clip_id": clip_id, "subject": subject} | record


def draw_subject(config: Config, number: int) -> Any:
    """Returns a subject of a configuration, by its number from 0."""
    return _KINDS[config.faces].draw(np.random.default_rng((config.seed, number)))


def render(
    config: Config, subject: Any, number: int, emotion: str, repetition: int
) -> dict:
    """Renders a clip of the data set.

    Args:
      config: the configuration.
      subject: what ``draw_subject`` returned for ``number``.
      number: number of the subject, from 0.
      emotion: emotion of a clip of the subject.
      repetition: number of the clip among those of the subject and the emotion, from 0.

    Returns:
      The features of the record except ``clip_id`` and ``subject``.
    """
    rng = np.random.default_rng(config.key(number, emotion, repetition))
    return _KINDS[config.faces].render(subject, emotion, config, rng)
