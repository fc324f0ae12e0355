"""Generated copies of 4DME's micro-expressions with folders, names, table and quirks.

They contain none of its data: all rows are invented. ``python -m
tests.datasets.fourdme_tree FOLDER`` writes a copy. The grey levels of each image encode
the index of its clip in ``ROWS`` and its frame number, see ``tree.read_greys``.
"""

import argparse
import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path

from tests.datasets.tree import CROPPED, RAW, write_clip, write_xlsx

RELEASES = ("gray_micro", "gray_micro_crop")
TABLE = "4DME_Labelling_Micro_release v1.xlsx"

# Published numbers of expressions. Labels are spelt as in the table.
EMOTIONS = {
    "Negative": 127,
    "Positive": 34,
    "Others": 31,
    "Surprise": 29,
    "Surprise+Positive": 14,
    "Surprise+Negative": 8,
    "Positive+Repression": 8,
    "Negative+Repression": 7,
    "Repression": 6,
    "Surprise+Repression": 3,
}
_SINGLE = ("Positive", "Negative", "Surprise", "Repression", "Others")
# The columns of single action units
UNITS = (1, 2, 4, 7, 12, 14, 45)
_UNITS_OF_CLIPS = (("AU4+7", (4, 7)), ("AU12", (12,)), ("AUR1+R2", (1, 2)))
_UNITS_OF_CLIPS += (("AU4(k)+L7", (7,)), ("AU2+12(k)+45", (2, 12, 45)))


@dataclasses.dataclass(frozen=True)
class Row:
    """A generated expression.

    Attributes:
      subject: number of the subject.
      clip: name of the clip.
      onset: frame number of the onset.
      apex: frame number of the apex; None if it is missing.
      offset: frame number of the offset.
      emotion: label as in the table.
      marked: emotions with a 1 in their column.
      action_units: text of the action units.
      units: action units with a 1 in their column.
      eye_blink: cell of that column.
    """

    subject: int
    clip: str
    onset: int
    apex: int | None
    offset: int
    emotion: str
    marked: tuple[str, ...]
    action_units: str
    units: tuple[int, ...]
    eye_blink: int


def _rows() -> tuple[Row, ...]:
    chance = random.Random(3)
    # One of each label, then the others at random
    others = [emotion for emotion, n in EMOTIONS.items() for _ in range(n - 1)]
    chance.shuffle(others)
    labels = [*EMOTIONS, *others]
    rows = []
    for index, emotion in enumerate(labels):
        subject = 1 + index % 20
        length = chance.randint(8, 14) + 22 * (index < 4)
        onset = chance.randint(1, 60_000)
        text, units = _UNITS_OF_CLIPS[index % len(_UNITS_OF_CLIPS)]
        rows.append(
            Row(
                subject=subject,
                clip=f"S{subject:02d}_{1 + index % 9:03d}_{1 + index // 20:02d}_1",
                onset=onset,
                apex=onset + length // 2,
                offset=onset + length - 1,
                emotion=emotion,
                marked=tuple(emotion.split("+")),
                action_units=text,
                units=units,
                eye_blink=index % 2,
            )
        )
    return tuple(rows)


ROWS = _rows()

_PLACES = {row.clip: place for place, row in enumerate(ROWS)}


def place_of(row: Row) -> int:
    """Returns the index that ``read_greys`` decodes."""
    return _PLACES[row.clip]


def id_of(row: Row) -> str:
    """Returns the clip id in the records."""
    return f"sub{row.subject:02d}/{row.clip}"


def write_tree(
    folder: Path,
    *,
    release: str = RELEASES[0],
    rows: Sequence[Row] = ROWS,
    left_out: Sequence[str] = (),
) -> None:
    """Writes the frames in one release and the table.

    Args:
      folder: folder that a user would give as manual_dir.
      release: one of ``RELEASES``.
      rows: rows of ``ROWS`` with the same clip; other values may differ.
      left_out: headers of columns that the table lacks.
    """
    write_table(folder / TABLE, rows, left_out=left_out)
    write_frames(folder / release, rows)


def write_table(
    path: Path, rows: Sequence[Row] = ROWS, *, left_out: Sequence[str] = ()
) -> None:
    """Writes the table."""
    header = ["sub_ID", "fold_name", "Emotion", "Onset", "Apex", "Offset", "AUs"]
    header += ["eye blink", *_SINGLE, *(f"AU{number}" for number in UNITS)]
    cells: list[list[object]] = [list(header)]
    for row in rows:
        labels = [int(emotion in row.marked) for emotion in _SINGLE]
        units = [int(number in row.units) for number in UNITS]
        cells.append(
            [f"S{row.subject:02d}", row.clip, row.emotion, row.onset, row.apex]
            + [row.offset, row.action_units, row.eye_blink, *labels, *units]
        )
    kept = [place for place, name in enumerate(header) if name not in left_out]
    write_xlsx(path, [[line[place] for place in kept] for line in cells])


def write_frames(root: Path, rows: Sequence[Row] = ROWS) -> None:
    """Writes the frames from onset to offset."""
    shape = CROPPED if "crop" in root.name else RAW
    for row in rows:
        numbers = range(row.onset, row.offset + 1)
        names = {n: f"Frame_{n:09d}.jpg" for n in numbers}
        folder = root / f"S{row.subject:02d}" / row.clip
        write_clip(folder, place_of(row), names, shape, grey=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--release", choices=RELEASES, default=RELEASES[0])
    arguments = parser.parse_args()
    write_tree(arguments.folder, release=arguments.release)
