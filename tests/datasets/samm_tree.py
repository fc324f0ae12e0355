"""Generated copies of SAMM with its folders, names, table and irregularities.

They contain none of its data: all rows are invented, except the numbers of the two rows
whose apex is known to be wrong. ``python -m tests.datasets.samm_tree FOLDER`` writes a
copy. The grey levels of each image encode the index of its clip in ``ROWS`` and its
frame number, see ``tree.read_greys``.
"""

import argparse
import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path

from tests.datasets.tree import CROPPED, RAW, write_clip, write_xlsx

RELEASES = ("SAMM_CROP", "SAMM")
TABLES = ("SAMM_Micro_FACS_Codes_v2.xlsx", "SAMM_20181215_Micro_FACS_Codes.xlsx")

# Published numbers of expressions. Labels are spelt as in the table.
EMOTIONS = {
    "Anger": 57,
    "Happiness": 26,
    "Other": 26,
    "Surprise": 15,
    "Contempt": 12,
    "Disgust": 9,
    "Fear": 8,
    "Sadness": 6,
}
_OBJECTIVE_CLASSES = {7: 84, 1: 24, 3: 20, 2: 13, 4: 8, 6: 7, 5: 3}
SUBJECTS = tuple(s for s in range(6, 38) if s not in (8, 27, 29))

_HEADER = ("Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame")
_HEADER += ("Offset Frame", "Duration", "Micro", "Action Units", "Estimated Emotion")
_HEADER += ("Objective Classes", "Notes")


@dataclasses.dataclass(frozen=True)
class Row:
    """A generated expression.

    Attributes:
      subject: number of the subject.
      clip: name of the clip.
      onset: frame number of the onset.
      apex: frame number of the apex, as in the table; -1 if it is missing.
      offset: frame number of the offset.
      emotion: label as in the table.
      action_units: action units, a number if there is one.
      objective_class: class of the action units; None is an empty cell.
      right_apex: the right apex, if the table's is wrong.
    """

    subject: int
    clip: str
    onset: int
    apex: int
    offset: int
    emotion: str
    action_units: int | str
    objective_class: int | None
    right_apex: int | None = None


def _rows() -> tuple[Row, ...]:
    chance = random.Random(11)
    others = ["Other"] * 4  # subject 25 has no other label
    labels = [e for e, n in EMOTIONS.items() for _ in range(n - 4 * (e == "Other"))]
    chance.shuffle(labels)
    classes = [c for c, n in _OBJECTIVE_CLASSES.items() for _ in range(n)]
    chance.shuffle(classes)
    # Each subject once, then subjects at random
    without = [s for s in SUBJECTS if s != 25]
    drawn = without + chance.choices(without, k=len(labels) - len(without))
    pairs = [*zip(drawn, labels, strict=True), *((25, label) for label in others)]
    units = (4, "4+7", "L14", 12, "1+2", "R12A", "9+10")
    rows = []
    for index, (subject, emotion) in enumerate(pairs):
        # The shortest and the longest are those of the real ones; most are shorter, so
        # that tests are fast.
        length = {0: 30, 1: 101}.get(index, chance.randint(8, 16))
        onset = chance.randint(9, 9000)
        rows.append(
            Row(
                subject=subject,
                clip=f"{subject:03d}_{1 + index % 7}_{index}",
                onset=onset,
                apex=onset + length // 2,
                offset=onset + length - 1,
                emotion=emotion,
                action_units=units[index % len(units)],
                objective_class=classes[index],
            )
        )
    for index, numbers in (
        (without.index(28), ("028_4_1", 1071, 1143, 1134, 1113)),
        (without.index(32), ("032_3_1", 4896, 1930, 4970, 4930)),
    ):
        clip, onset, apex, offset, right = numbers
        rows[index] = dataclasses.replace(
            rows[index],
            clip=clip,
            onset=onset,
            apex=apex,
            offset=offset,
            right_apex=right,
        )
    return tuple(rows)


ROWS = _rows()
WRONG = tuple(row for row in ROWS if row.right_apex is not None)

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
    table: str = TABLES[0],
    rows: Sequence[Row] = ROWS,
) -> None:
    """Writes the frames in one release and the table.

    Args:
      folder: folder that a user would give as manual_dir.
      release: one of ``RELEASES``.
      table: one of ``TABLES``.
      rows: rows of ``ROWS`` with the same clip; other values may differ.
    """
    write_table(folder / table, rows)
    write_frames(folder / release, rows)


def write_table(path: Path, rows: Sequence[Row] = ROWS) -> None:
    """Writes the table, whose header is in row 14."""
    cells: list[list[object]] = [["Codes of generated expressions"]]
    cells += [[None, f"Remark {n} on the columns below."] for n in range(1, 13)]
    cells.append(list(_HEADER))
    for row in rows:
        numbers = [float(n) for n in (row.onset, row.apex, row.offset)]
        duration = float(row.offset - row.onset + 1)
        cells.append(
            [f"{row.subject:03d}", row.clip, 1 + row.subject % 7, *numbers, duration]
            + ["Micro", row.action_units, row.emotion, row.objective_class]
            + ["a note" if row.subject == 6 else None]
        )
    write_xlsx(path, cells, "MICRO_ONLY")


def write_frames(root: Path, rows: Sequence[Row] = ROWS) -> None:
    """Writes the frames from onset to offset, with four or five digits by clip."""
    shape = RAW if root.name == "SAMM" else CROPPED
    for row in rows:
        digits = 4 if place_of(row) % 3 == 2 else 5
        numbers = range(row.onset, row.offset + 1)
        names = {n: f"{row.subject:03d}_{n:0{digits}d}.jpg" for n in numbers}
        folder = root / f"{row.subject:03d}" / row.clip
        write_clip(folder, place_of(row), names, shape, grey=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--release", choices=RELEASES, default=RELEASES[0])
    parser.add_argument("--table", choices=TABLES, default=TABLES[0])
    arguments = parser.parse_args()
    write_tree(arguments.folder, release=arguments.release, table=arguments.table)
