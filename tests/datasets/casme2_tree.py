"""Generated copies of CASME II with its folders, names, table and irregularities.

They contain none of its data. ``python -m tests.datasets.casme2_tree FOLDER`` writes
one. Its clips of MEGC 2019 are as many as the real ones, by class and subject. The
colours of each image encode the index of its clip in ``ROWS`` and its frame
number, so that ``read_colours`` identifies the frame of a resized image.
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
    write_xlsx,
)

__all__ = [
    "BRIEF",
    "MEGC",
    "RELEASES",
    "ROWS",
    "SHORT",
    "SOME",
    "TABLES",
    "Row",
    "frame_image",
    "read_colours",
    "write_frames",
    "write_table",
    "write_tree",
]

RELEASES = (
    "Cropped",
    "Cropped-updated",
    "CASME2_RAW_selected",
    "CASME2-RAW",
    "CASME2_Compressed video",
)

# File of each table; all but the first contain the emotions of 2019.
TABLES = {
    "20140508": "CASME2-coding-20140508.xlsx",
    "20190701": "CASME2-coding-20190701.xlsx",
    "updated": "CASME2-coding-updated.xlsx",
    "csv": "CASME2-coding-20190701.csv",
}

_ROOTS = {
    "Cropped-updated": "Cropped-updated/Cropped",
    "CASME2_Compressed video": "CASME2_Compressed video/CASME2_compressed",
}
_FULL_RECORDINGS = (
    "CASME2-RAW",
    "CASME2_Compressed video",
)  # recordings numbered from 1

# Emotions of the clips of MEGC 2019, by the table of 2014, and subjects without them
_MEGC_EMOTIONS = ("disgust", "happiness", "repression", "surprise")
_WITHOUT = (10, 18)

_OBJECTIVE = {
    "happiness": 1,
    "surprise": 2,
    "disgust": 4,
    "sadness": 5,
    "fear": 6,
    "repression": 7,
    "others": 7,
}


@dataclasses.dataclass(frozen=True)
class Row:
    """A generated expression; ``emotions`` are those of the tables of 2014 and 2019."""

    subject: int
    clip: str
    onset: int
    apex: int | None
    offset: int
    emotions: tuple[str, str]
    action_units: int | str


def _first_rows() -> list[Row]:
    # Interleaved, so that the first few rows include the paper's three classes.
    emotions = ["disgust", "happiness", "surprise", "others", "disgust"] * 10
    emotions += ["repression"] * 4 + ["happiness"] * 3 + ["sadness", "fear", "surprise"]
    units = (4, "4+L10", 12, "?", "1+2")
    rows = []
    for index, emotion in enumerate(emotions):
        onset = 9 + 7 * index % 32
        length = 44 + 5 * index % 23
        apex = onset + length // 2 + index % 5 - 2
        # The table of 2014 labels some of the surprise of 2019 as sadness.
        earlier = "sadness" if index in (7, 22, 37) else emotion
        rows.append(
            Row(
                subject=1 + index % 8,
                clip=_clip(index),
                onset=onset,
                apex=None if index == 5 else apex,
                offset=onset + length - 1,
                emotions=(earlier, emotion),
                action_units=units[index % len(units)],
            )
        )
    return rows


def _other_rows(start: int) -> list[Row]:
    """Returns rows that complete the real numbers of emotions, subjects and lengths.

    Subjects 9 to 26 have one or more rows, a few of them many. Those that have clips in
    MEGC 2019 have a row of its emotions.
    """
    chance = random.Random(2)
    emotions = ["others"] * 89 + ["disgust"] * 43 + ["repression"] * 23
    emotions += ["happiness"] * 19 + ["surprise"] * 17 + ["sadness"] * 3 + ["fear"]
    chance.shuffle(emotions)
    used = [emotion for emotion in emotions if emotion in _MEGC_EMOTIONS]
    others = [emotion for emotion in emotions if emotion not in _MEGC_EMOTIONS]
    subjects = [*range(9, 27)]
    emotions = [(others if s in _WITHOUT else used).pop() for s in subjects]
    rest = used + others
    chance.shuffle(rest)
    for emotion in rest:
        weights = [1 + 9 * (s % 8 == 1) for s in range(26)]
        if emotion in _MEGC_EMOTIONS:
            weights = [0 if s + 1 in _WITHOUT else w for s, w in enumerate(weights)]
        subjects += chance.choices(range(1, 27), weights)
    emotions += rest
    units = (4, "4+7", "R12+15", 14, "L2", "4+9+17", "?", 1, "12")
    rows = []
    for index, (subject, emotion) in enumerate(zip(subjects, emotions, strict=True)):
        length = {0: 24, 1: 141}.get(index, int(chance.triangular(24, 141, 50)))
        # Some start at the start of the recording.
        onset = 1 + index // 4 % 3 if index % 16 == 3 else chance.randint(5, 40)
        offset = onset + length - 1
        apex = onset + int(length * chance.uniform(0.25, 0.75))
        # Five have their apex at the onset or the offset, with that of _as_in_megc.
        if index % 40 == 10 and index > 10:
            apex = offset if emotion in _MEGC_EMOTIONS else onset
        rows.append(
            Row(
                subject=subject,
                clip=_clip(start + index),
                onset=onset,
                apex=apex,
                offset=offset,
                emotions=(emotion, emotion),
                action_units=units[index % len(units)],
            )
        )
    return rows


def _clip(index: int) -> str:
    return f"EP{2 + index % 17:02d}_{1 + index // 17:02d}{'f' * (index % 2)}"


def _as_in_megc(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Returns rows with the clips that the rule of MEGC 2019 leaves out by their ids.

    Three clips of subject 24 have other emotions in 2014, a disgust clip has no apex,
    and another has it at the onset. Otherwise the rows are the same.
    """
    names = iter(["EP07_01", "EP07_04f", "EP10_03"])
    changed, at_onset = [], False
    for row in rows:
        if row.emotions[0] != row.emotions[1]:
            row = dataclasses.replace(row, subject=24, clip=next(names))
        elif row.apex is None:
            row = dataclasses.replace(row, subject=4, clip="EP12_01f")
        elif row.emotions[0] == "disgust" and row.subject > 8 and not at_onset:
            at_onset = True
            row = dataclasses.replace(row, subject=5, clip="EP09_05f", apex=row.onset)
        changed.append(row)
    return tuple(changed)


SOME = tuple(_first_rows())  # eight subjects, with every emotion and a missing apex
ROWS = _as_in_megc([*SOME, *_other_rows(60)])


def _brief(row: Row) -> Row:
    """Returns the row with its first 20 frames, with the apex among them."""
    apex = None if row.apex is None else row.onset + 1 + (row.apex - row.onset) % 19
    return dataclasses.replace(row, apex=apex, offset=row.onset + 19)


BRIEF = tuple(map(_brief, SOME))  # not too short for training


def _short(row: Row) -> Row:
    """Returns the row with a fifth of its frames from onset to offset."""
    apex = row.apex
    if apex is not None and apex > row.onset:
        apex = row.onset + max(1, (apex - row.onset) // 5)
    return dataclasses.replace(
        row, apex=apex, offset=row.onset + (row.offset - row.onset) // 5
    )


SHORT = tuple(map(_short, ROWS))  # complete, for tests that read every frame


def _shortest(row: Row) -> Row:
    """Returns the row with three frames; the second is the apex unless the first is."""
    apex = row.apex
    if apex is not None and apex > row.onset:
        apex = row.onset + 1
    return dataclasses.replace(row, apex=apex, offset=row.onset + 2)


MEGC = tuple(map(_shortest, ROWS))

_PLACES = {
    (row.subject, row.clip): place
    for rows in (SOME, ROWS)
    for place, row in enumerate(rows)
}


def id_of(row: Row) -> str:
    """Returns the clip id in the records, for a clip with a single expression."""
    return f"sub{row.subject:02d}/{row.clip}"


def write_tree(
    folder: Path,
    *,
    release: str = "Cropped",
    table: str = "20190701",
    rows: Sequence[Row] = ROWS,
) -> None:
    """Writes the frames in one release and the table.

    Args:
      folder: folder that a user would give as manual_dir.
      release: one of ``RELEASES``.
      table: one of ``TABLES``.
      rows: rows of ``ROWS``, with the same subject and clip; numbers may differ.
    """
    write_table(folder / TABLES[table], table=table, rows=rows)
    write_frames(folder, release=release, rows=rows)


def write_table(
    path: Path, *, table: str = "20190701", rows: Sequence[Row] = ROWS
) -> None:
    """Writes the table with the two blank columns and text subjects of the real one.

    The updated table has one additional column and no blank ones.
    """
    header = ["Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame"]
    header += [None, "Action Units", "Objective Classes", "Estimated Emotion"]
    cells = [header]
    for row in rows:
        apex = "/" if row.apex is None else row.apex
        emotion = row.emotions[table != "20140508"]
        # A test may use an emotion that does not exist.
        units = [row.action_units, _OBJECTIVE.get(emotion, 7), emotion]
        frames = [None, row.onset, apex, row.offset, None]
        cells.append([f"{row.subject:02d}", row.clip, *frames, *units])
    left_out = (2, 6) if table == "updated" else (8,)
    cells = [[v for c, v in enumerate(row) if c not in left_out] for row in cells]
    (write_csv if path.suffix == ".csv" else write_xlsx)(path, cells)


def write_frames(
    folder: Path, *, release: str = "Cropped", rows: Sequence[Row] = ROWS
) -> None:
    """Writes the frames of ``rows``, with the hidden files that file managers add."""
    root = folder / _ROOTS.get(release, release)
    numbers = {}  # by clip; a test may have two rows of a clip
    for row in rows:
        full_recording = release in _FULL_RECORDINGS
        first, last = (1, row.offset + 9) if full_recording else (row.onset, row.offset)
        clip = numbers.setdefault((row.subject, row.clip), set())
        clip.update(range(first, last + 1))
    for (subject, name), clip in numbers.items():
        path = root / f"sub{subject:02d}" / name
        place = _PLACES[subject, name]
        if "video" in release:
            images = [frame_image(place, number, RAW) for number in sorted(clip)]
            write_video(path.with_name(f"{name}.avi"), images, fps=200)
            continue
        cropped = "Cropped" in release
        names = {n: f"{'reg_' * cropped}img{n}.jpg" for n in sorted(clip)}
        if names:
            names[min(clip)] += ".jpg"
        write_clip(path, place, names, CROPPED if cropped else RAW)
    root.mkdir(parents=True, exist_ok=True)
    (root / ".DS_Store").write_bytes(b"junk")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--release", choices=RELEASES, default="Cropped")
    parser.add_argument("--table", choices=TABLES, default="20190701")
    arguments = parser.parse_args()
    write_tree(arguments.folder, release=arguments.release, table=arguments.table)
