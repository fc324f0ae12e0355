"""Draws examples of the data set: ``python -m datasets.synthetic.strip FILE.png``."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import tyro

from datasets.prepare import Options, configuration
from datasets.synthetic import motion
from datasets.synthetic.synthetic_dataset_builder import draw_subject, render

# Factor by which differences between frames are magnified.
_GAIN = 4


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

    Raises:
      DataError: if there is no such configuration.

    Args:
      file: image file to write; the suffix determines the format.
      config: name of a configuration: medium, hard, photo...
      subjects: number of subjects; a configuration may have fewer.
      scale: factor by which frames are enlarged.
    """
    settings = configuration(f"synthetic/{config}", Options())
    apex = settings.frames // 2
    rows = []
    for number in range(min(subjects, settings.subjects)):
        subject = draw_subject(settings, number)
        for emotion in motion.EMOTIONS:
            record = render(settings, subject, number, emotion, repetition=0)
            clip = record["clip"]
            shown = [
                clip[i] for i in (0, apex // 2, apex, (apex + settings.frames) // 2)
            ]
            change = _GAIN * (clip[apex].astype(int) - clip[0]) + 128
            mask = np.repeat(record["motion_mask"][apex][..., None], 3, -1) * 255
            tiles = [*shown, clip[-1], np.clip(change, 0, 255), mask]
            rows.append(np.concatenate([tile.astype(np.uint8) for tile in tiles], 1))
    picture = np.concatenate(rows).repeat(scale, 0).repeat(scale, 1)
    iio.imwrite(file, picture)
    print(f"{len(rows)} clips of {config} in {file}")


if __name__ == "__main__":
    tyro.cli(main, use_underscores=True)
