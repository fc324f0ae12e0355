"""Generated copies of CAS(ME)^3, parts A and C, with the folders, names and tables.

They contain none of its data. ``python -m tests.datasets.casme3_tree FOLDER`` writes
one. The colours of each image encode its frame number and the index of its recording,
so that ``read_colours`` identifies the frame of a resized image.
"""

import argparse
import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path

from tests.datasets.tree import RAW, write_clip, write_xls, write_xlsx

__all__ = ["COUNTS", "ROWS", "ROWS_C", "SOME", "TABLE", "Row", "id_of", "place_of"]

RELEASES = ("Part_A_ME_clip", "part_A")
TABLE = "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"
FIRST_TABLE = "cas(me)3_part_A_ME_label_JpgIndex_v1.xls"

COUNTS = {
    "disgust": 250,
    "surprise": 187,
    "others": 161,
    "fear": 86,
    "anger": 64,
    "sadness": 57,
    "happiness": 55,
}
COUNTS_C = {"negative": 99, "surprise": 30, "others": 20, "positive": 16}
_SPELT = {"sadness": "sad", "happiness": "happy"}


@dataclasses.dataclass(frozen=True)
class Row:
    """A generated expression; ``written`` are numbers in the table that are wrong."""

    subject: int
    clip: str
    onset: int
    apex: int
    offset: int
    emotion: str
    objective_class: str = "4"
    written: tuple[tuple[str, int], ...] = ()

    def cell(self, field: str) -> int:
        """Returns a frame number as in the table."""
        return dict(self.written).get(field, getattr(self, field))


# The known errors of the table, and an expression that is very long
QUIRKS = (
    Row(149, "d", 112, 160, 170, "disgust", written=(("apex", 83),)),
    Row(216, "d", 2647, 2655, 2668, "others", written=(("onset", 3647),)),
    Row(40, "e", 1812, 1830, 1845, "surprise", written=(("offset", 0),)),
    Row(40, "e", 2327, 2350, 2403, "fear", written=(("offset", 0),)),
    Row(216, "e", 1, 1, 20, "sadness", written=(("onset", 0), ("apex", 0))),
    Row(214, "c", 5, 40, 3460, "happiness", ""),
)


def _rows() -> tuple[Row, ...]:
    chance = random.Random(11)
    emotions = [e for e, count in COUNTS.items() for _ in range(count)]
    for row in QUIRKS:
        emotions.remove(row.emotion)
    chance.shuffle(emotions)
    # 94 subjects, of which the quirks have four
    others = [s for s in range(1, 95) if s != 40][:90]
    rows: list[Row] = []
    for index, emotion in enumerate(emotions):
        subject, clip = others[index % 90], "abcdefghijklm"[index // 180]
        # Two expressions in most recordings
        onset = 20 + 60 * (index // 90 % 2) + chance.randint(0, 9)
        length = chance.randint(6, 14)
        # 55 apexes equal the onset, of which spNO.216/e has one
        apex = onset if index < 54 else onset + chance.randint(1, length - 1)
        rows.append(
            Row(subject, clip, onset, apex, onset + length - 1, emotion, str(index % 8))
        )
    # Clip j of two subjects, which the table spells J
    for subject in (11, 14):
        rows.append(dataclasses.replace(rows[subject - 1], clip="j"))
        del rows[subject - 1]
        rows.insert(subject - 1, rows.pop())
    return (*rows, *QUIRKS)


def _rows_c() -> tuple[Row, ...]:
    chance = random.Random(13)
    emotions = [e for e, count in COUNTS_C.items() for _ in range(count)]
    chance.shuffle(emotions)
    rows = []
    for index, emotion in enumerate(emotions):
        onset = 10 + 40 * (index // 30) + chance.randint(0, 9)
        rows.append(Row(1 + index % 30, "a", onset, 0, onset + 14, emotion))
    return tuple(rows)


ROWS = _rows()
ROWS_C = _rows_c()
# Without the very long one, which has thousands of frames
SOME = (*ROWS[:16], *QUIRKS[:-1])

_PLACES = {
    clip: place
    for place, clip in enumerate(dict.fromkeys((r.subject, r.clip) for r in ROWS))
}


def place_of(row: Row) -> int:
    """Returns the index that ``read_colours`` decodes from a row's recording."""
    return _PLACES.get((row.subject, row.clip), row.subject)


def id_of(row: Row) -> str:
    """Returns the clip id in the records of part A."""
    return f"sub{row.subject:02d}/{row.clip}_{row.onset}"


def missing(row: Row) -> set[int]:
    """Returns numbers that have no file in the recording of a row of part A."""
    start = 100 if row.onset < 100 else 1000
    return {start, start + 1, start + 2, start + 3, 2000}


def write_table(
    folder: Path, *, rows: Sequence[Row] = ROWS, table: str = TABLE
) -> None:
    """Writes the table of part A, in which all cells are text."""
    header = ["Subject", "Filename", "Onset", "Apex", "Offset", "AU"]
    cells = [[*header, "Objective class", "emotion"]]
    for index, row in enumerate(rows):
        emotion = _SPELT.get(row.emotion, row.emotion)
        if emotion == "others" and index % 50 == 0:
            emotion = "Others"
        numbers = [str(row.cell(field)) for field in ("onset", "apex", "offset")]
        name = "J" if row.clip == "j" else row.clip
        subject = f"{'spNo' if index % 9 == 0 else 'spNO'}.{row.subject}"
        cells.append([subject, name, *numbers, "4+7", row.objective_class, emotion])
    write = write_xls if table.endswith(".xls") else write_xlsx
    write(folder / table, cells, "label")


def write_frames(
    folder: Path, *, release: str = RELEASES[0], rows: Sequence[Row] = ROWS
) -> None:
    """Writes the frames of part A; long recordings have images of depth, too."""
    if release == "Part_A_ME_clip":
        root = folder / release / "frame"
        for row in rows:
            # The folder of one expression has the table's wrong onset.
            name = f"spNO.{row.subject}_{row.clip}_{row.cell('onset')}"
            numbers = set(range(row.onset, row.offset + 1)) - missing(row)
            names = {n: f"{n}.jpg" for n in sorted(numbers)}
            write_clip(root / name, place_of(row), names, RAW)
            write_clip(
                folder / release / "depth" / name, 511, {row.onset: "1.jpg"}, RAW
            )
        return
    for subject, clip in dict.fromkeys((row.subject, row.clip) for row in rows):
        own = [r for r in rows if (r.subject, r.clip) == (subject, clip)]
        # Around each expression; nobody needs the rest of a recording
        numbers = {
            n for r in own for n in range(max(1, r.onset - 20), r.offset + 21)
        }.difference(*map(missing, own))
        names = {n: f"{n}.jpg" for n in sorted(numbers)}
        place = folder / "part_A" / f"spNO.{subject}" / clip
        write_clip(place / "color", place_of(own[0]), names, RAW)
        write_clip(place / "depth", 511, {1: "1.jpg"}, RAW)


def write_tree(
    folder: Path, *, release: str = RELEASES[0], rows: Sequence[Row] = ROWS
) -> None:
    """Writes the table and the frames of part A in one release."""
    write_table(folder, rows=rows)
    write_frames(folder, release=release, rows=rows)


def write_tree_c(folder: Path, rows: Sequence[Row] = ROWS_C) -> None:
    """Writes the table of part C, which has no clip and no apex, and its recordings."""
    cells: list[list[object]] = [["sub", "count", "onset", "offset", "au", "emotion"]]
    cells += [[r.subject, 1, r.onset, r.offset, "4", r.emotion] for r in rows]
    write_xlsx(folder / "CAS(ME)3_part_C_ME.xlsx", cells, "mockCrimeME")
    for subject in {row.subject for row in rows}:
        last = max(r.offset for r in rows if r.subject == subject)
        names = {n: f"{n}.jpg" for n in range(1, last + 9) if n != 17}
        place = folder / "part_C" / f"{subject:02d}" / "a"
        write_clip(place / "color", subject, names, RAW)
        write_clip(place / "depth", 511, {1: "1.jpg"}, RAW)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--release", choices=(*RELEASES, "part_C"), default=RELEASES[0])
    arguments = parser.parse_args()
    if arguments.release == "part_C":
        write_tree_c(arguments.folder)
    else:
        write_tree(arguments.folder, release=arguments.release)
