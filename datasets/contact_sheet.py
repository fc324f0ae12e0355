"""A contact sheet with the onset, apex and offset of some clips of each emotion."""

import collections
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from datasets.source.examples import Example
from meranet_jax.errors import DataError
from meranet_jax.video import faces
from meranet_jax.video.images import resize

# Number of clips of each emotion, and height of a line of text in pixels.
_CLIPS_PER_EMOTION, _TEXT_HEIGHT = 4, 16


class ContactSheet:
    """Collects clips for a picture with one row for each emotion.

    Each row shows some clips of different subjects; only these are kept in memory.
    """

    def __init__(self):
        self._clips = collections.defaultdict(dict)

    def wants(self, example: Example) -> bool:
        """Returns whether a clip would be shown: there is space, and a new subject."""
        clips = self._clips[example.row.emotion]
        return (
            example.record is not None
            and len(clips) < _CLIPS_PER_EMOTION
            and example.row.subject not in clips
        )

    def add(self, example: Example, tiles: np.ndarray) -> None:
        """Adds the key frames of a clip, if it is wanted.

        Args:
          example: the expression.
          tiles: uint8 [H, 3 W, 3], as ``key_frames`` returns them.
        """
        if self.wants(example):
            clips = self._clips[example.row.emotion]
            clips[example.row.subject] = (example.clip_id, tiles)

    def draw(self) -> Image.Image | None:
        """Draws the picture; None if no clip was added."""
        rows = {emotion: clips for emotion, clips in self._clips.items() if clips}
        if not rows:
            return None
        height, width, _ = next(iter(next(iter(rows.values())).values()))[1].shape
        gap = _TEXT_HEIGHT // 2
        sheet = Image.new(
            "RGB",
            (
                gap + _CLIPS_PER_EMOTION * (width + gap),
                2 * _TEXT_HEIGHT + len(rows) * (2 * _TEXT_HEIGHT + height + gap),
            ),
            "white",
        )
        draw, font = (
            ImageDraw.Draw(sheet),
            ImageFont.load_default(size=0.75 * _TEXT_HEIGHT),
        )
        draw.text((gap, 2), "onset, apex and offset of each clip", "black", font)
        for row, (emotion, clips) in enumerate(sorted(rows.items())):
            top = 2 * _TEXT_HEIGHT + row * (2 * _TEXT_HEIGHT + height + gap)
            draw.text((gap, top), emotion, "black", font)
            for column, (clip_id, tiles) in enumerate(clips.values()):
                left = gap + column * (width + gap)
                draw.text((left, top + _TEXT_HEIGHT), clip_id, "dimgray", font)
                sheet.paste(Image.fromarray(tiles), (left, top + 2 * _TEXT_HEIGHT))
        return sheet


def key_frames(example: Example, size: int) -> np.ndarray | None:
    """Returns onset, apex and offset side by side, cropped as in the record.

    Args:
      example: the expression.
      size: height and width of a frame in pixels.

    Returns:
      uint8 [size, 3 size, 3]; None if there is no record or a frame is damaged.
    """
    if example.record is None:
        return None
    expression = example.expression
    crop = faces.FaceCrop.from_array(example.record["face"])
    numbers = [
        expression.run.nearest(number)
        for number in (expression.onset, expression.apex, expression.offset)
    ]
    try:
        images = {
            number: resize(image if crop is None else crop.apply(image), size)
            for number, image in expression.run.read(numbers)
        }
    except DataError:  # the onset or the offset is damaged, which the check reports
        return None
    return np.concatenate([images[number] for number in numbers], axis=1)


def check_path(path: Path) -> None:
    """Checks that a contact sheet can be written, before anything is read.

    Raises:
      DataError: if the format is unknown or the folder does not exist or is read-only.
    """
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise DataError(f"--sheet={path} must be an image file, such as sheet.png.")
    if not path.parent.is_dir():
        raise DataError(f"--sheet={path}: {path.parent} is not a folder.")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise DataError(f"--sheet={path} cannot be written.")
