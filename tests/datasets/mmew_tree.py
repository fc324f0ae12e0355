"""Generated copies of MMEW with its folders, names, table and irregularities.

They contain none of its data: all rows are invented. ``python -m
tests.datasets.mmew_tree FOLDER`` writes a copy. The colours of each image encode the
index of its clip in ``ROWS`` and its frame number, see ``tree.read_colours``.
"""

import argparse
import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path

from tests.datasets.tree import write_clip, write_xlsx

TABLE = "MMEW_Micro_Exp.xlsx"
SHAPE = (30, 30)  # square, as the faces of MMEW

# Published numbers of expressions
EMOTIONS = {
    "surprise": 89,
    "disgust": 72,
    "others": 66,
    "happiness": 36,
    "fear": 16,
    "sadness": 13,
    "anger": 8,
}
# Numbers of clips whose apex and offset are wrong, by subject
_WRONG = {4: 9, 13: 7}


@dataclasses.dataclass(frozen=True)
class Row:
    """A generated expression.

    Attributes:
      subject: number of the subject.
      clip: name of the clip.
      frames: number of files, which count from 1.
      apex: frame number of the apex, as in the table; None if it is missing.
      offset: frame number of the offset, as in the table.
      emotion: label as in the table.
      action_units: action units, a number if there is one.
      remarks: text of that column.
    """

    subject: int
    clip: str
    frames: int
    apex: int | None
    offset: int
    emotion: str
    action_units: int | str
    remarks: str | None


def _rows() -> tuple[Row, ...]:
    chance = random.Random(7)
    labels = [emotion for emotion, number in EMOTIONS.items() for _ in range(number)]
    chance.shuffle(labels)
    units = (4, "4+7", "L14", 12, "1+2")
    rows = []
    for index, emotion in enumerate(labels):
        subject = 1 + index % 30  # ten clips each
        sample = 1 + index // 30
        frames = chance.randint(9, 14)
        if index < 4:
            frames += 30
        apex, offset = frames // 2, frames
        if sample <= _WRONG.get(subject, 0):
            offset = frames + 40 + index % 5
            # Beyond the last file, or within the files
            apex = frames + 5 if sample % 2 else apex
        kind = 1 + list(EMOTIONS).index(emotion)
        rows.append(
            Row(
                subject=subject,
                clip=f"S{subject:02d}-{kind:02d}-{sample:03d}",
                frames=frames,
                apex=apex,
                offset=offset,
                emotion=emotion,
                action_units=units[index % len(units)],
                remarks="glasses" if index % 9 == 0 else None,
            )
        )
    return tuple(rows)


ROWS = _rows()
WRONG = tuple(row for row in ROWS if row.offset > row.frames)

_PLACES = {row.clip: place for place, row in enumerate(ROWS)}


def place_of(row: Row) -> int:
    """Returns the index that ``read_colours`` decodes."""
    return _PLACES[row.clip]


def id_of(row: Row) -> str:
    """Returns the clip id in the records."""
    return f"sub{row.subject:02d}/{row.clip}"


def folder_of(root: Path, row: Row, *, others: str = "others") -> Path:
    """Returns the folder of a clip, in that of its emotion."""
    return root / (others if row.emotion == "others" else row.emotion) / row.clip


def write_tree(
    folder: Path, *, rows: Sequence[Row] = ROWS, others: str = "others"
) -> None:
    """Writes the frames and the table.

    Args:
      folder: folder that a user would give as manual_dir.
      rows: rows of ``ROWS`` with the same clip; other values may differ.
      others: name of the folder of the label ``others``.
    """
    write_table(folder / TABLE, rows)
    write_frames(folder / "MMEW_Final/Micro_Expression", rows, others=others)


def write_table(path: Path, rows: Sequence[Row] = ROWS) -> None:
    """Writes the table."""
    cells: list[list[object]] = [
        ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame"]
        + ["Action Units", "Estimated Emotion", "remarks"]
    ]
    cells += [
        [row.subject, row.clip, 1, row.apex, row.offset, row.action_units]
        + [row.emotion, row.remarks]
        for row in rows
    ]
    write_xlsx(path, cells)


def write_frames(
    root: Path, rows: Sequence[Row] = ROWS, *, others: str = "others"
) -> None:
    """Writes the frames, and a macro-expression, which is a single image."""
    for row in rows:
        names = {n: f"{n}.jpg" for n in range(1, row.frames + 1)}
        write_clip(folder_of(root, row, others=others), place_of(row), names, SHAPE)
    macro = root.with_name("Macro_Expression") / "S01/happiness"
    write_clip(macro, 511, {1: "S01-01-001.jpg"}, SHAPE)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--others", default="others")
    arguments = parser.parse_args()
    write_tree(arguments.folder, others=arguments.others)
