"""A picture of the synthetic data: ``python -m datasets.synthetic.strip FILE.png``."""

from pathlib import Path
from typing import Literal

import imageio.v3 as iio
import numpy as np
import tyro

from datasets.synthetic import face, motion
from datasets.synthetic.synthetic_dataset_builder import Builder, make_clip

# What a difference between two frames is multiplied by to be seen.
_GAIN = 4


def main(
    file: tyro.conf.Positional[Path],
    /,
    config: Literal["easy", "medium", "hard"] = "medium",
    subjects: int = 2,
    scale: int = 2,
) -> None:
    """Draw a row for each emotion of some subjects.

    From left to right: five frames of the clip, the apex among them; what changed from
    the first frame to the apex, magnified, grey where nothing did; the motion mask at
    the apex.

    Args:
      file: where to write the picture; its suffix gives the format.
      config: how hard the clips are.
      subjects: how many faces.
      scale: pixels of the picture for a pixel of a frame.
    """
    chosen = Builder.builder_configs[config]
    apex = chosen.frames // 2
    rows = []
    for subject in range(subjects):
        person = face.draw(np.random.default_rng((chosen.seed, subject)))
        for index, emotion in enumerate(motion.EMOTIONS):
            rng = np.random.default_rng((chosen.seed, subject, index, 0))
            record = make_clip(person, emotion, chosen, rng)
            clip = record["clip"]
            shown = [clip[i] for i in (0, apex // 2, apex, (apex + chosen.frames) // 2)]
            change = _GAIN * (clip[apex].astype(int) - clip[0]) + 128
            mask = np.repeat(record["motion_mask"][apex][..., None], 3, -1) * 255
            tiles = [*shown, clip[-1], np.clip(change, 0, 255), mask]
            rows.append(np.concatenate([tile.astype(np.uint8) for tile in tiles], 1))
    picture = np.concatenate(rows).repeat(scale, 0).repeat(scale, 1)
    iio.imwrite(file, picture)
    print(f"{len(rows)} clips of {config} in {file}")


if __name__ == "__main__":
    tyro.cli(main, use_underscores=True)
