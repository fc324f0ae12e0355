"""Draws examples of the data set: ``python -m datasets.synthetic.strip FILE.png``."""

from pathlib import Path
from typing import Literal

import imageio.v3 as iio
import numpy as np
import tyro

from datasets.synthetic import face, motion
from datasets.synthetic.synthetic_dataset_builder import Builder, render_clip

# Factor by which differences between frames are magnified.
_GAIN = 4


def main(
    file: tyro.conf.Positional[Path],
    /,
    config: Literal["easy", "medium", "hard"] = "medium",
    subjects: int = 2,
    scale: int = 2,
) -> None:
    """Draw a picture with one row for each emotion of some subjects.

    From left to right: five frames of the clip, with the apex in the middle; the
    magnified difference between the apex and the first frame, grey where nothing
    changed; the motion mask at the apex.

    Args:
      file: image file to write; the suffix determines the format.
      config: difficulty of the clips.
      subjects: number of subjects.
      scale: factor by which frames are enlarged.
    """
    settings = Builder.builder_configs[config]
    apex = settings.frames // 2
    rows = []
    for subject in range(subjects):
        person = face.draw_face(np.random.default_rng((settings.seed, subject)))
        for index, emotion in enumerate(motion.EMOTIONS):
            rng = np.random.default_rng((settings.seed, subject, index, 0))
            record = render_clip(person, emotion, settings, rng)
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
