"""Generated copies of SMIC with its folders, names and irregularities.

They contain none of its data. ``python -m tests.datasets.smic_tree FOLDER`` writes one.
The colours of each image encode its frame number and an index in ``CLIPS`` of its
camera, so that ``read_colours`` identifies the frame of a resized image.
"""

import argparse
import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path

from tests.datasets.tree import CROPPED, RAW, write_clip

__all__ = ["CAMERAS", "CLIPS", "COUNTS", "RELEASES", "Clip", "id_of", "write_tree"]

CAMERAS = ("HS", "VIS", "NIR")
RELEASES = ("cropped", "raw")

# Subjects and numbers of clips of each camera; those of NIR are invented.
_SUBJECTS = {
    "HS": (1, 2, 3, 4, 5, 6, 8, 9, 11, 12, 13, 14, 15, 18, 19, 20),
    "VIS": (11, 12, 13, 14, 15, 18, 19, 20),
}
_SUBJECTS["NIR"] = _SUBJECTS["VIS"]
COUNTS = {
    "HS": {"negative": 70, "positive": 51, "surprise": 43},
    "VIS": {"negative": 23, "positive": 28, "surprise": 20},
    "NIR": {"negative": 23, "positive": 28, "surprise": 20},
}
_SHORT = {"negative": "ne", "positive": "po", "surprise": "sur"}

# Numbers that are missing in clips of HS, after their first frame: from, and how many
_GAPS = {
    "s3_po_08": (9, 5),
    "s3_ne_16": (14, 40),
    "s3_sur_01": (6, 2),
    "s3_sur_05": (4, 1),
}


@dataclasses.dataclass(frozen=True)
class Clip:
    """A generated clip; ``numbers`` are those of its frames."""

    subject: int
    name: str
    emotion: str
    numbers: tuple[int, ...]


def _clips(camera: str) -> tuple[Clip, ...]:
    chance = random.Random(7)
    subjects = _SUBJECTS[camera]
    clips = []
    for emotion, count in COUNTS[camera].items():
        # One or more of each subject, and many of subject 3, as in the real copies
        drawn = [*subjects, *chance.choices(subjects, k=count)][:count]
        if camera == "HS":
            drawn[16:33] = [3] * 17
        numbers = dict.fromkeys(subjects, 0)
        for subject in drawn:
            numbers[subject] += 1
            name = f"s{subject}_{_SHORT[emotion]}_{numbers[subject]:02d}"
            length = chance.randint(20, 40) if camera == "HS" else chance.randint(4, 13)
            first = chance.randint(90_000, 250_000)
            frames = list(range(first, first + length))
            if camera == "HS" and name in _GAPS:
                place, missing = _GAPS[name]
                frames[place:] = [n + missing for n in frames[place:]]
            clips.append(Clip(subject, name, emotion, tuple(frames)))
    return tuple(clips)


CLIPS = {camera: _clips(camera) for camera in CAMERAS}


def id_of(clip: Clip) -> str:
    """Returns the clip id in the records."""
    return f"sub{clip.subject:02d}/{clip.name}"


def write_tree(
    folder: Path,
    *,
    release: str = "cropped",
    camera: str = "HS",
    clips: Sequence[Clip] | None = None,
    empty: Sequence[str] = (),
) -> None:
    """Writes the clips of a camera, and two of other motion of the first subject.

    One of these has the name of the first clip.

    Args:
      folder: folder that a user would give as manual_dir.
      release: one of ``RELEASES``.
      camera: one of ``CAMERAS``.
      clips: clips of ``CLIPS[camera]``; None writes all.
      empty: names of clips whose folder is empty.
    """
    root = folder / f"SMIC_all_{release}" / camera
    shape = CROPPED if release == "cropped" else RAW
    prefix = ("reg_" if release == "cropped" else "") + "image" * (camera != "NIR")
    clips = CLIPS[camera] if clips is None else clips
    for clip in clips:
        numbers = () if clip.name in empty else clip.numbers
        names = {number: f"{prefix}{number}.bmp" for number in numbers}
        place = root / f"s{clip.subject}" / "micro" / clip.emotion / clip.name
        write_clip(place, CLIPS[camera].index(clip), names, shape)
    first = f"s{clips[0].subject}"
    names = {number: f"{prefix}{number}.bmp" for number in range(501, 520)}
    for name in (f"{first}_non_micro_01", clips[0].name):
        write_clip(root / first / "non_micro" / name, 500, names, shape)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--release", choices=RELEASES, default="cropped")
    parser.add_argument("--camera", choices=CAMERAS, default="HS")
    arguments = parser.parse_args()
    write_tree(arguments.folder, release=arguments.release, camera=arguments.camera)
