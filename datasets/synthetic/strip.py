"""Draws examples of the data set: ``python -m datasets.synthetic.strip FILE.png``."""

from collections.abc import Iterator
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import tyro
from PIL import Image, ImageDraw, ImageFont

from datasets.prepare import Options, configuration
from datasets.synthetic import motion
from datasets.synthetic.synthetic_dataset_builder import Config, draw_subject, render
from datasets.synthetic.wild import expressions, script
from datasets.synthetic.wild.records import WildConfig

# Factor by which differences between frames are magnified.
_GAIN = 4

# Width in pixels of the text next to the clips of the benchmark, before enlargement.
_TEXT = 132

# Strength of a distractor, in the units of the records, from which the text names it
_NAMED_FROM = {
    "blink": 0.1,
    "gaze": 0.2,
    "speech": 0.1,
    "swallow": 0.1,
    "turn": 0.5,
    "shift": 0.3,
    "light": 3.0,
    "brightness": 0.01,
}


def main(
    file: tyro.conf.Positional[Path],
    /,
    config: str = "medium",
    subjects: int = 2,
    scale: int = 2,
) -> None:
    """Draw a picture with one row for each emotion of some subjects.

    From left to right: five frames of the clip, with the apex in the middle; the
    magnified difference between the apex and the first frame, grey where nothing
    changed; the motion mask at the apex.

    A row of the benchmark (wild) is one clip of a subject: the frames at onset and
    apex; their magnified difference; how far the expression moves each point, from
    black to white for 1 pixel; and what happens.

    Raises:
      DataError: if there is no such configuration.

    Args:
      file: image file to write; the suffix determines the format.
      config: name of a configuration: medium, hard, photo, wild...
      subjects: number of subjects; a configuration may have fewer.
      scale: factor by which frames are enlarged.
    """
    settings = configuration(f"synthetic/{config}", Options())
    rows = []
    for number in range(min(subjects, settings.subjects)):
        draw = _wild_rows if isinstance(settings, WildConfig) else _rows
        rows += draw(settings, number, scale)
    iio.imwrite(file, np.concatenate(rows))
    print(f"{len(rows)} clips of {config} in {file}")


def _rows(settings: Config, number: int, scale: int) -> Iterator[np.ndarray]:
    """Yields a row for each emotion of a subject, uint8 [H, W, 3]."""
    apex = settings.frames // 2
    subject = draw_subject(settings, number)
    for emotion in motion.EMOTIONS:
        record = render(settings, subject, number, emotion, repetition=0)
        clip = record["clip"]
        shown = [clip[i] for i in (0, apex // 2, apex, (apex + settings.frames) // 2)]
        mask = np.repeat(record["motion_mask"][apex][..., None], 3, -1) * 255
        tiles = [*shown, clip[-1], _change(clip[0], clip[apex]), mask]
        yield _enlarge(np.concatenate([t.astype(np.uint8) for t in tiles], 1), scale)


def _wild_rows(settings: WildConfig, number: int, scale: int) -> Iterator[np.ndarray]:
    """Yields a row for a clip of a subject, which differs between subjects."""
    subject = draw_subject(settings, number)
    clips = settings.clips(number)
    emotion, repetition = clips[number % len(clips)]
    record = render(settings, subject, number, emotion, repetition)
    onset, apex = record["onset_frame"], record["apex_frame"]
    moved = np.linalg.norm(record["displacement"], axis=-1)
    shown = np.clip(255 * moved, 0, 255).astype(np.uint8)[..., None].repeat(3, -1)
    row = _enlarge(np.concatenate([onset, apex, _change(onset, apex), shown], 1), scale)
    text = Image.new("RGB", (_TEXT * scale, len(row)), "white")
    ImageDraw.Draw(text).multiline_text(
        (4 * scale, 4 * scale),
        _describe(record),
        fill="black",
        font=ImageFont.load_default(size=9 * scale),
    )
    yield np.concatenate([row, np.asarray(text)], 1)


def _change(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the magnified difference of two frames, uint8 [H, W, 3]."""
    change = _GAIN * (second.astype(int) - first) + 128
    return np.clip(change, 0, 255).astype(np.uint8)


def _enlarge(picture: np.ndarray, scale: int) -> np.ndarray:
    return picture.repeat(scale, 0).repeat(scale, 1)


def _describe(record: dict) -> str:
    """Describes what happens in a clip, in some lines."""
    at_apex = len(record["clip"]) // 2
    lines = [record["emotion"]]
    if record["amplitude"]:
        strengths = record["action_units"][at_apex]
        units = [
            str(unit)
            for unit, strength in zip(expressions.UNITS, strengths, strict=True)
            if strength.max() > 0.05
        ]
        lines += [f"AU {' + '.join(units)}", f"{record['amplitude']:.2f} pixels"]
    others = np.abs(record["distractors"]).max(0)
    found = [
        name
        for name, strength in zip(script.DISTRACTORS, others, strict=True)
        if strength >= _NAMED_FROM[name]
    ]
    return "\n".join([*lines, *found])


if __name__ == "__main__":
    tyro.cli(main, use_underscores=True)
