"""The contact sheet: onset, apex and offset of some clips of each emotion."""

import collections
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from datasets.source.examples import Example
from meranet_jax.errors import DataError
from meranet_jax.video import faces
from meranet_jax.video.frames import resize

# Clips of each emotion, and the height of a line of text.
_SHEET_CLIPS, _TEXT = 4, 16


class Sheet:
    """The contact sheet: a row for each emotion, some clips of it, of other subjects.

    Only so many clips as are shown are kept.
    """

    def __init__(self):
        self._clips = collections.defaultdict(dict)

    def wants(self, example: Example) -> bool:
        """Whether there is place for a clip and none of its subject yet."""
        clips = self._clips[example.row.emotion]
        return (
            example.record is not None
            and len(clips) < _SHEET_CLIPS
            and example.row.subject not in clips
        )

    def add(self, example: Example, tiles: np.ndarray) -> None:
        """Takes a clip, if it is still wanted."""
        if self.wants(example):
            clips = self._clips[example.row.emotion]
            clips[example.row.subject] = (example.clip_id, tiles)

    def draw(self) -> Image.Image | None:
        """The picture; None if there is no clip to show."""
        rows = {emotion: clips for emotion, clips in self._clips.items() if clips}
        if not rows:
            return None
        height, width, _ = next(iter(next(iter(rows.values())).values()))[1].shape
        gap = _TEXT // 2
        sheet = Image.new(
            "RGB",
            (
                gap + _SHEET_CLIPS * (width + gap),
                2 * _TEXT + len(rows) * (2 * _TEXT + height + gap),
            ),
            "white",
        )
        draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=0.75 * _TEXT)
        draw.text((gap, 2), "onset, apex and offset of each clip", "black", font)
        for row, (emotion, clips) in enumerate(sorted(rows.items())):
            top = 2 * _TEXT + row * (2 * _TEXT + height + gap)
            draw.text((gap, top), emotion, "black", font)
            for column, (clip_id, tiles) in enumerate(clips.values()):
                left = gap + column * (width + gap)
                draw.text((left, top + _TEXT), clip_id, "dimgray", font)
                sheet.paste(Image.fromarray(tiles), (left, top + 2 * _TEXT))
        return sheet


def tiles(example: Example, size: int) -> np.ndarray | None:
    """Onset, apex and offset beside each other, [H, 3 W, 3], as records show them."""
    if example.record is None:
        return None
    expression = example.expression
    face = faces.Square.from_array(example.record["face"])
    numbers = [
        expression.run.nearest(number)
        for number in (expression.onset, expression.apex, expression.offset)
    ]
    try:
        images = {
            number: resize(image if face is None else face.cut(image), size)
            for number, image in expression.run.frames(numbers)
        }
    except DataError:  # the onset or the offset is damaged, and reported
        return None
    return np.concatenate([images[number] for number in numbers], axis=1)


def check_path(path: Path) -> None:
    """Raises DataError, before anything is read, if the sheet could not be written."""
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise DataError(f"--sheet={path}: name a picture, such as sheet.png.")
    if not path.parent.is_dir():
        raise DataError(f"--sheet={path}: {path.parent} is not a folder.")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise DataError(f"--sheet={path} cannot be written.")
