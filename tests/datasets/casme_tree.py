"""An invented CASME: its folders, names, tables and quirks, none of its data.

``python -m tests.datasets.casme_tree FOLDER`` writes one. Each image carries its
clip's place, ``place_of``, and its frame's number in its colours, so that
``read_colours`` can tell which frame a resized image was.

There are two generations of the annotations: ``ROWS`` came in the tables of sections A
and B, ``CROPPED_ROWS`` with the cropped frames. The latter gives each expression a
folder and an offset of its own, lacks four and calls a few others by another emotion.
"""

import argparse
import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path

from tests.datasets.tree import (
    CROPPED,
    RAW,
    frame_image,
    read_colours,
    write_clip,
    write_csv,
    write_video,
    write_xls,
    write_xlsx,
)

__all__ = [
    "CROPPED_ROWS",
    "LAYOUTS",
    "ROWS",
    "SOME",
    "TABLES",
    "Row",
    "frame_image",
    "place_of",
    "read_colours",
    "write_frames",
    "write_table",
    "write_tree",
]

LAYOUTS = ("raw", "video", "CASME_raw_selected", "Cropped")

# The files of each table.
TABLES = {
    "sections": (
        "CASME_A/Section A/Section A.xls",
        "CASME_B/Section B/Section B.xls",
    ),
    "merged-xlsx": ("casme.xlsx",),
    "merged-csv": ("CASME.csv",),
}

_FPS = 60
_MISSING = "\\"
_SPELT = {"contempt": "comtempt"}  # as the table has it


@dataclasses.dataclass(frozen=True)
class Row:
    """An invented expression; ``None`` where the table has a backslash."""

    subject: int
    clip: str
    onset: int
    apex: int
    apex2: int | None
    offset: int | None
    emotion: str
    action_units: int | str


def _rows() -> tuple[Row, ...]:
    chance = random.Random(3)
    # Every emotion among the first, and both sections, so that a few rows are enough.
    first = ["tense", "disgust", "repression", "surprise", "happiness", "sadness"]
    first += ["fear", "contempt"]
    emotions = ["tense"] * 70 + ["disgust"] * 45 + ["repression"] * 39
    emotions += ["surprise"] * 20 + ["happiness"] * 8 + ["sadness"] * 5
    emotions += ["fear", "contempt"]
    chance.shuffle(emotions)
    emotions = first + emotions
    later = range(24, len(emotions))
    without_offset = set(chance.sample(later, 21))
    without_second = {5, 12, *chance.sample(later, 61)}
    odd = {30: "EP171", 31: "EP10", 70: "EP12_11_1"}
    doubles = {40: 0, 90: 13, 141: 22, 180: 35}  # a second expression by its first
    without_offset -= {*doubles, *doubles.values()}
    free = (i for i in later if i not in doubles and i not in doubles.values())
    without_offset.update(i for i in free if len(without_offset) < 21)

    rows = []
    for index, emotion in enumerate(emotions):
        # Sections A and B in turn; four of the subjects have most of the rows.
        subject = chance.choice((1, 2, 3, 4, 4, 5, 6, 7, 7, 7)) if index % 2 else 0
        subject = subject or chance.choice((8, 9, *range(10, 20), 12, 12, 15, 15, 15))
        clip = odd.get(index, f"EP{1 + index % 19:02d}_{1 + index // 19}")
        # Few begin where the recording does, or where numbers have three digits.
        onset = {3: 1, 4: 2, 7: 95}.get(index % 24) or chance.randint(4, 60)
        if index in doubles:
            before = rows[doubles[index]]
            subject, clip = before.subject, before.clip
            onset = before.onset + 60
        length = chance.randint(9, 45)
        apex = onset + int(length * chance.uniform(0.2, 0.6))
        offset = onset + length - 1
        second = min(apex + chance.randint(1, 4), offset)
        units = (4, "4+9", "L14", 12, "1+2", "R10", "14", "4+7+10", 2, "10?")
        rows.append(
            Row(
                subject=subject,
                clip=clip,
                onset=onset,
                apex=apex,
                apex2=None if index in without_second else second,
                offset=None if index in without_offset else offset,
                emotion=emotion,
                action_units=units[index % len(units)],
            )
        )
    return tuple(rows)


def _cropped_rows(rows: Sequence[Row]) -> tuple[Row, ...]:
    changes = {("disgust", "repression"): 3, ("surprise", "happiness"): 1}
    changes |= {(e, None): 1 for e in ("disgust", "surprise", "sadness", "contempt")}
    emotions = [row.emotion for row in rows]
    for (old, new), count in changes.items():
        for _ in range(count):
            last = max(i for i, emotion in enumerate(emotions) if emotion == old)
            emotions[last] = new
    cropped, seen = [], set()
    for row, emotion in zip(rows, emotions, strict=True):
        clip = f"{row.clip}_1" if (row.subject, row.clip) in seen else row.clip
        seen.add((row.subject, row.clip))
        if emotion is not None:
            cropped.append(
                dataclasses.replace(row, clip=clip, offset=_end(row), emotion=emotion)
            )
    return tuple(cropped)


def _end(row: Row) -> int:
    return row.apex + 9 if row.offset is None else row.offset


ROWS = _rows()
CROPPED_ROWS = _cropped_rows(ROWS)
SOME = ROWS[:24]  # nothing but second apexes is missing; no clip is named twice

# A recording of several expressions has one place, that of the first.
_CLIPS = dict.fromkeys((row.subject, row.clip) for row in (*ROWS, *CROPPED_ROWS))
_PLACES = {clip: place for place, clip in enumerate(_CLIPS)}


def place_of(row: Row) -> int:
    """What ``read_colours`` tells of the images of a row's clip."""
    return _PLACES[row.subject, row.clip]


def write_tree(
    folder: Path,
    *,
    layout: str = "raw",
    table: str = "sections",
    rows: Sequence[Row] = ROWS,
) -> None:
    """Writes the frames in one layout and the table.

    Args:
      folder: what a user gives as manual_dir.
      layout: one of ``LAYOUTS``.
      table: one of ``TABLES``.
      rows: of ``ROWS``, or of ``CROPPED_ROWS`` as they go with the cropped frames;
        numbers and emotion may be changed, subject and clip not.
    """
    write_table(folder, table=table, rows=rows)
    write_frames(folder, layout=layout, rows=rows)


def write_table(
    folder: Path, *, table: str = "sections", rows: Sequence[Row] = ROWS
) -> None:
    """Writes the table's files; none for a section without rows."""
    files = TABLES[table]
    sections = [rows]
    if table == "sections":
        sections = [[r for r in rows if (r.subject > 7) == b] for b in (False, True)]
    for name, section in zip(files, sections, strict=True):
        if section:
            path = folder / name
            write = {".xls": write_xls, ".xlsx": write_xlsx, ".csv": write_csv}
            write[path.suffix](path, _cells(section))


def _cells(rows: Sequence[Row]) -> list[list[object]]:
    header = ["Subject", "Filename", None, "OnsetF", "ApexF1", "ApexF2", "OffsetF"]
    cells = [[*header, None, "Onset", "Total", "AU", "Emotion"]]
    for row in rows:
        frames = [row.onset, row.apex, row.apex2, row.offset]
        # Milliseconds, from the first frame to the apex and to the last.
        spans = [
            None if end is None else round((end - row.onset + 1) * 1000 / _FPS)
            for end in (row.apex, row.offset)
        ]
        frames, spans = (
            [_MISSING if value is None else value for value in values]
            for values in (frames, spans)
        )
        emotion = _SPELT.get(row.emotion, row.emotion)
        cells.append(
            [row.subject, row.clip, None, *frames]
            + [None, *spans, row.action_units, emotion]
        )
    return cells


def write_frames(
    folder: Path, *, layout: str = "raw", rows: Sequence[Row] = ROWS
) -> None:
    """Writes the frames of ``rows``, with the junk that file managers add."""
    whole = layout in ("raw", "video")
    numbers = {}  # by clip, since a recording may hold two expressions
    for row in rows:
        first, last = (1, _end(row) + 12) if whole else (row.onset, _end(row))
        clip = numbers.setdefault((row.subject, row.clip), set())
        clip.update(range(first, last + 1))
    for (subject, name), clip in numbers.items():
        section = "A" if subject <= 7 else "B"
        root = f"CASME_{section}/Section {section}" if whole else layout
        path = folder / root / f"sub{subject:02d}" / name
        place = _PLACES[subject, name]
        if layout == "video":
            images = [frame_image(place, number, RAW) for number in sorted(clip)]
            write_video(path.with_name(f"{name}.avi"), images, fps=_FPS)
            continue
        stem = f"{name}-"
        if layout == "Cropped":
            stem = f"reg_{name}-"
        elif layout == "raw" and place % 3 == 0:
            stem = "img"
        digits = 1 if section == "A" else 3
        names = {n: f"{stem}{n:0{digits}d}.jpg" for n in sorted(clip)}
        write_clip(path, place, names, CROPPED if layout == "Cropped" else RAW)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layout", choices=LAYOUTS, default="raw")
    parser.add_argument("--table", choices=TABLES, default="sections")
    arguments = parser.parse_args()
    write_tree(
        arguments.folder,
        layout=arguments.layout,
        table=arguments.table,
        rows=CROPPED_ROWS if arguments.layout == "Cropped" else ROWS,
    )
