"""Generated copies of CAS(ME)^2 with its folders, names, tables and irregularities.

They contain none of its data. ``python -m tests.datasets.cas_me_2_tree FOLDER`` writes
one. The colours of each image encode its frame number and an index in ``ROWS``, so that
``read_colours`` identifies the frame of a resized image. In the folder of an expression
the index is that of its row; in a long recording, which contains several expressions,
it is ``recording_place``.
"""

import argparse
import dataclasses
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.datasets.tree import (
    CROPPED,
    RAW,
    frame_image,
    read_colours,
    write_clip,
    write_video,
    write_xlsx,
)

__all__ = [
    "RELEASES",
    "MACRO",
    "MICRO",
    "ROWS",
    "SOME",
    "STIMULI",
    "SUBJECTS",
    "TABLES",
    "Row",
    "frame_image",
    "place_of",
    "read_colours",
    "recording_of",
    "recording_place",
    "write_frames",
    "write_table",
    "write_tree",
]

RELEASES = ("selectedpic", "cropped", "rawpic", "rawvideo")

# The updated table has types without "-expression".
TABLES = (
    "CAS(ME)^2code_final.xlsx",
    "CAS(ME)^2code_final(Updated).xlsx",
    "CAS(ME)2code_final.xlsx",
)

# Participants 1 to 22 in this order.
SUBJECTS = (15, 16, *range(19, 28), *range(29, 39), 40)

# Number and title of each stimulus, which form the end of a recording's name.
STIMULI: Mapping[str, tuple[str, str]] = {
    "disgust1": ("0101", "disgustingteeth"),
    "disgust2": ("0102", "muddyfood"),
    "anger1": ("0401", "brokenpromise"),
    "anger2": ("0402", "unfairqueue"),
    "happy1": ("0502", "funnyerrors"),
    "happy2": ("0503", "clumsydog"),
    "happy3": ("0505", "laughingtwins"),
    "happy4": ("0507", "dancingparrot"),
    "happy5": ("0508", "sillyinterview"),
}

# A recording in another subject's folder.
_MISLAID = {"23_0502funnyerrors": "s19"}

_DOUBLE_SUFFIX = 2977  # the frame whose file ends in .jpg.jpg


@dataclasses.dataclass(frozen=True)
class Row:
    """A generated expression; an apex or offset of 0 is missing."""

    subject: int
    clip: str
    onset: int
    apex: int
    offset: int
    action_units: int | str
    emotion: str
    kind: str  # micro or macro
    self_reported: str

    @property
    def participant(self) -> int:
        """Number of the subject in the table."""
        return 1 + SUBJECTS.index(self.subject)

    @property
    def stimulus(self) -> str:
        return self.clip.rpartition("_")[0]


def _recordings(chance: random.Random) -> list[tuple[int, str, int]]:
    """Returns subject, stimulus and number of expressions of each long recording."""
    recordings = []
    for subject in SUBJECTS:
        # Three are required, one of them for its wrong folder; the others are random.
        stimuli = {15: ["disgust1", "anger1"], 23: ["happy1"]}.get(subject, [])
        others = [stimulus for stimulus in STIMULI if stimulus not in stimuli]
        stimuli = stimuli + chance.sample(others, 4 - len(stimuli))
        recordings += [(subject, s, 4) for s in STIMULI if s in stimuli]
    for index in range(0, 85, 17):
        recordings[index] = (*recordings[index][:2], 5)
    return recordings


def _micro(places: Sequence[str], chance: random.Random) -> dict[int, str]:
    """Draws the rows that are micro-expressions, with the emotion of each."""
    micro = {}
    for begins, emotions in {
        "happy": {"positive": 8, "surprise": 5, "others": 9},
        "disgust": {"negative": 11, "surprise": 2, "others": 5},
        "anger": {"negative": 10, "surprise": 2, "others": 5},
    }.items():
        drawn = [emotion for emotion, count in emotions.items() for _ in range(count)]
        held = [i for i, stimulus in enumerate(places) if stimulus.startswith(begins)]
        micro |= dict(zip(chance.sample(held, len(drawn)), drawn, strict=True))
    return micro


def _rows() -> tuple[Row, ...]:
    chance = random.Random(5)
    recordings = _recordings(chance)
    stimuli = [stimulus for _, stimulus, count in recordings for _ in range(count)]
    micro = _micro(stimuli, chance)
    macro = [i for i in range(len(stimuli)) if i not in micro]
    quirky = chance.sample(macro[10:], 44 + 1 + 3)
    no_offset, no_apex, late_apex = set(quirky[:44]), quirky[44], set(quirky[45:])
    units = (4, "4+7", 12, "6+12", "R12", 14, "1+2", "4+9+10", "L14", "12")

    rows = []
    for subject, stimulus, count in recordings:
        free = chance.choice((1, 2, 12, 25, 40))  # some start with an expression
        for place in range(count):
            index = len(rows)
            happy = stimulus.startswith("happy")
            if index in micro:
                length, emotion = chance.randint(9, 17), micro[index]
            else:
                length = int(chance.triangular(18, 61, 26))
                likely = "positive" if happy else "negative"
                emotion = chance.choice((likely, likely, likely, "others", "surprise"))
            # One recording has the length of the real ones.
            if (subject, stimulus, place) == (15, "anger1", count - 1):
                free, length = _DOUBLE_SUFFIX - 6, max(length, 9)
            onset = free
            offset = onset + length - 1
            apex = onset + int(length * chance.uniform(0.25, 0.75))
            if index in late_apex:
                apex = offset + 1 + index % 3
            free = max(apex, offset) + chance.randint(3, 14)
            rows.append(
                Row(
                    subject=subject,
                    clip=f"{stimulus}_{place + 1}",
                    onset=onset,
                    apex=0 if index == no_apex else apex,
                    offset=0 if index in no_offset else offset,
                    action_units=units[index % len(units)],
                    emotion=emotion,
                    kind="micro" if index in micro else "macro",
                    self_reported="happiness" if happy else stimulus[:-1],
                )
            )
    return tuple(rows)


ROWS = _rows()
MICRO = tuple(row for row in ROWS if row.kind == "micro")
MACRO = tuple(row for row in ROWS if row.kind == "macro")
SOME = ROWS[:65]  # four subjects, with both kinds of every emotion

_PLACES = {(row.subject, row.clip): place for place, row in enumerate(ROWS)}


def place_of(row: Row) -> int:
    """Returns the index that ``read_colours`` decodes in the row's own folder."""
    return _PLACES[row.subject, row.clip]


def recording_of(row: Row) -> str:
    """Returns the name of the long recording that contains the expression."""
    return f"{row.subject}_{''.join(STIMULI[row.stimulus])}"


def recording_place(row: Row) -> int:
    """Returns the index that ``read_colours`` decodes in the row's long recording."""
    return _PLACES[row.subject, f"{row.stimulus}_1"]


def write_tree(
    folder: Path,
    *,
    release: str = "selectedpic",
    table: str = TABLES[0],
    rows: Sequence[Row] = ROWS,
    absent: int = 0,
) -> None:
    """Writes the frames in one release and the table.

    Args:
      folder: folder that a user would give as manual_dir.
      release: one of ``RELEASES``.
      table: one of ``TABLES``.
      rows: rows of ``ROWS`` with the same subject and clip; numbers and emotion may
        differ.
      absent: number of last rows without a cropped folder.
    """
    write_table(folder, table=table, rows=rows)
    write_frames(folder, release=release, rows=rows, absent=absent)


def write_table(
    folder: Path, *, table: str = TABLES[0], rows: Sequence[Row] = ROWS
) -> None:
    """Writes the table, which has no header, and two sheets that explain names."""
    ending = "" if "Updated" in table else "-expression"
    cells = [
        [row.participant, row.clip, row.onset, row.apex, row.offset, row.action_units]
        + [row.emotion, row.kind + ending, row.self_reported]
        for row in rows
    ]
    participants = [[s, f"s{s}", number] for number, s in enumerate(SUBJECTS, start=1)]
    stimuli = [[number, stimulus] for stimulus, (number, _) in STIMULI.items()]
    write_xlsx(
        folder / table,
        cells,
        "CASFEcode_final",
        others={"naming rule1": participants, "naming rule2": stimuli},
    )


def write_frames(
    folder: Path,
    *,
    release: str = "selectedpic",
    rows: Sequence[Row] = ROWS,
    absent: int = 0,
) -> None:
    """Writes the frames of ``rows``, with the hidden files that file managers add."""
    root = folder / release
    if release in ("rawpic", "rawvideo"):
        _write_recordings(root, rows)
        return
    cropped = release == "cropped"
    for row in rows[: len(rows) - absent] if cropped else rows:
        subject = f"{'s' * (not cropped)}{row.subject}"
        names = {n: _name(n) for n in range(row.onset, (row.offset or _end(row)) + 1)}
        shape = CROPPED if cropped else RAW
        write_clip(root / subject / row.clip, place_of(row), names, shape)


def _write_recordings(root: Path, rows: Sequence[Row]) -> None:
    recordings = {}
    for row in rows:
        place, name = recording_place(row), recording_of(row)
        _, last = recordings.get(name, (place, 0))
        recordings[name] = place, max(last, _end(row) + 12)
    for name, (place, last) in recordings.items():
        subject = f"s{name.partition('_')[0]}"
        numbers = range(1, last + 1)
        if root.name == "rawvideo":
            images = [frame_image(place, number, RAW) for number in numbers]
            write_video(root / subject / f"{name}.avi", images, fps=30)
        else:
            path = root / _MISLAID.get(name, subject) / name
            write_clip(path, place, {n: _name(n) for n in numbers}, RAW)


def _end(row: Row) -> int:
    """Returns the last frame of the expression, also if the offset is missing."""
    return max(row.offset or row.apex + 8, row.apex)


def _name(number: int) -> str:
    return f"img{number:03d}.jpg" + ".jpg" * (number == _DOUBLE_SUFFIX)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--release", choices=RELEASES, default="selectedpic")
    parser.add_argument("--table", choices=TABLES, default=TABLES[0])
    parser.add_argument("--absent", type=int, default=0)
    arguments = parser.parse_args()
    write_tree(
        arguments.folder,
        release=arguments.release,
        table=arguments.table,
        absent=arguments.absent,
    )
