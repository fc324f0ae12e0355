"""Generated copies of CASME with its folders, names, tables and irregularities.

They contain none of its data. ``python -m tests.datasets.casme_tree FOLDER`` writes
one. The colours of each image encode the index of its clip, ``place_of``, and its frame
number, so that ``read_colours`` identifies the frame of a resized image.

There are two generations of the annotations: ``ROWS`` is in the tables of sections A
and B, ``CROPPED_ROWS`` came with the cropped frames. The latter has a folder and an
offset for each expression; four expressions are missing, and a few have other emotions.
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
    "RELEASES",
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

RELEASES = ("raw", "video", "CASME_raw_selected", "Cropped")

# Files of each table.
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
_SPELT = {"contempt": "comtempt"}  # spelling in the table


@dataclasses.dataclass(frozen=True)
class Row:
    """A generated expression; None where the table has a backslash."""

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
    # The first rows include every emotion and both sections.
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
    seconds = {40: 0, 90: 13, 141: 22, 180: 35}  # second expression: first of its clip
    without_offset -= {*seconds, *seconds.values()}
    free = (i for i in later if i not in seconds and i not in seconds.values())
    without_offset.update(i for i in free if len(without_offset) < 21)

    rows = []
    for index, emotion in enumerate(emotions):
        # Alternately sections A and B; four of the subjects have most of the rows.
        subject = chance.choice((1, 2, 3, 4, 4, 5, 6, 7, 7, 7)) if index % 2 else 0
        subject = subject or chance.choice((8, 9, *range(10, 20), 12, 12, 15, 15, 15))
        clip = odd.get(index, f"EP{1 + index % 19:02d}_{1 + index // 19}")
        # A few start at the start of the recording, or have numbers of three digits.
        onset = {3: 1, 4: 2, 7: 95}.get(index % 24) or chance.randint(4, 60)
        if index in seconds:
            before = rows[seconds[index]]
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
SOME = ROWS[:24]  # only second apexes are missing; no clip has two expressions

# A recording of several expressions has one index, that of the first.
_CLIPS = dict.fromkeys((row.subject, row.clip) for row in (*ROWS, *CROPPED_ROWS))
_PLACES = {clip: place for place, clip in enumerate(_CLIPS)}


def place_of(row: Row) -> int:
    """Returns the index that ``read_colours`` decodes from the images of a clip."""
    return _PLACES[row.subject, row.clip]


def write_tree(
    folder: Path,
    *,
    release: str = "raw",
    table: str = "sections",
    rows: Sequence[Row] = ROWS,
) -> None:
    """Writes the frames in one release and the table.

    Args:
      folder: folder that a user would give as manual_dir.
      release: one of ``RELEASES``.
      table: one of ``TABLES``.
      rows: rows of ``ROWS``, or of ``CROPPED_ROWS`` for the cropped frames, with the
        same subject and clip; numbers and emotion may differ.
    """
    write_table(folder, table=table, rows=rows)
    write_frames(folder, release=release, rows=rows)


def write_table(
    folder: Path, *, table: str = "sections", rows: Sequence[Row] = ROWS
) -> None:
    """Writes the files of the table, except those of sections without rows."""
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
    folder: Path, *, release: str = "raw", rows: Sequence[Row] = ROWS
) -> None:
    """Writes the frames of ``rows``, with the hidden files that file managers add."""
    full_recording = release in ("raw", "video")
    numbers = {}  # by clip, since a recording may contain two expressions
    for row in rows:
        first, last = (1, _end(row) + 12) if full_recording else (row.onset, _end(row))
        clip = numbers.setdefault((row.subject, row.clip), set())
        clip.update(range(first, last + 1))
    for (subject, name), clip in numbers.items():
        section = "A" if subject <= 7 else "B"
        root = f"CASME_{section}/Section {section}" if full_recording else release
        path = folder / root / f"sub{subject:02d}" / name
        place = _PLACES[subject, name]
        if release == "video":
            images = [frame_image(place, number, RAW) for number in sorted(clip)]
            write_video(path.with_name(f"{name}.avi"), images, fps=_FPS)
            continue
        stem = f"{name}-"
        if release == "Cropped":
            stem = f"reg_{name}-"
        elif release == "raw" and place % 3 == 0:
            stem = "img"
        digits = 1 if section == "A" else 3
        names = {n: f"{stem}{n:0{digits}d}.jpg" for n in sorted(clip)}
        write_clip(path, place, names, CROPPED if release == "Cropped" else RAW)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--release", choices=RELEASES, default="raw")
    parser.add_argument("--table", choices=TABLES, default="sections")
    arguments = parser.parse_args()
    write_tree(
        arguments.folder,
        release=arguments.release,
        table=arguments.table,
        rows=CROPPED_ROWS if arguments.release == "Cropped" else ROWS,
    )
