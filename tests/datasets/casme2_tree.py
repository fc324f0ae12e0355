"""An invented CASME II: its folders, names, table and quirks, none of its data.

``python -m tests.datasets.casme2_tree FOLDER`` writes one. Each image carries its
clip's place in ``ROWS`` and its frame's number in its colours, so that ``read_colours``
can tell which frame a resized image was.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import openpyxl

LAYOUTS = ("Cropped", "Cropped-updated", "CASME2_RAW_selected", "CASME2-RAW")
TABLES = ("20140508", "20190701")

# [H, W], the real frames' shape a tenth as large.
_CROPPED, _RAW = (34, 28), (48, 64)

# Colour levels far enough apart to survive JPEG: three channels of eight tell 512.
_LEVELS = 8


@dataclasses.dataclass(frozen=True)
class Row:
    """An invented expression; ``emotions`` by the two tables, ``TABLES``."""

    subject: int
    clip: str
    onset: int
    apex: int | None
    offset: int
    emotions: tuple[str, str]
    action_units: int | str


def _rows() -> tuple[Row, ...]:
    # Interleaved, so that any first few rows hold the paper's three classes.
    emotions = ["disgust", "happiness", "surprise", "others", "disgust"] * 10
    emotions += ["repression"] * 4 + ["happiness"] * 3 + ["sadness", "fear", "surprise"]
    units = (4, "4+L10", 12, "?", "1+2")
    rows = []
    for index, emotion in enumerate(emotions):
        onset = 9 + 7 * index % 32
        length = 44 + 5 * index % 23
        apex = onset + length // 2 + index % 5 - 2
        # The table of 2014 called some of the surprise of 2019 sadness.
        earlier = "sadness" if index in (7, 22, 37) else emotion
        rows.append(
            Row(
                subject=1 + index % 8,
                clip=f"EP{2 + index % 17:02d}_{1 + index // 17:02d}{'f' * (index % 2)}",
                onset=onset,
                apex=None if index == 5 else apex,
                offset=onset + length - 1,
                emotions=(earlier, emotion),
                action_units=units[index % len(units)],
            )
        )
    return tuple(rows)


ROWS = _rows()


def write_tree(
    folder: Path,
    *,
    layout: str = "Cropped",
    table: str = "20190701",
    rows: Sequence[Row] = ROWS,
) -> None:
    """Writes the frames in one layout and the table.

    Args:
      folder: what a user gives as manual_dir.
      layout: one of ``LAYOUTS``.
      table: one of ``TABLES``.
      rows: of ``ROWS``; numbers may be changed, subject and clip not.
    """
    write_table(folder / f"CASME2-coding-{table}.xlsx", table=table, rows=rows)
    write_frames(folder, layout=layout, rows=rows)


def write_table(
    path: Path, *, table: str = "20190701", rows: Sequence[Row] = ROWS
) -> None:
    """Writes the table with the two blank columns and text subjects of the real one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Sheet1"
    sheet.append(
        ["Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None]
        + ["Action Units", "Estimated Emotion"]
    )
    for row in rows:
        apex = "/" if row.apex is None else row.apex
        emotion = row.emotions[TABLES.index(table)]
        sheet.append(
            [f"{row.subject:02d}", row.clip, None, row.onset, apex, row.offset, None]
            + [row.action_units, emotion]
        )
    book.save(path)
    # What a spreadsheet program leaves beside an open table.
    path.with_name(f"~${path.name}").write_bytes(b"\x05owner")


def write_frames(
    folder: Path, *, layout: str = "Cropped", rows: Sequence[Row] = ROWS
) -> None:
    """Writes the frames of ``rows``, with the junk that file managers add."""
    places = {(row.subject, row.clip): place for place, row in enumerate(ROWS)}
    root = folder / ("Cropped-updated/Cropped" if "updated" in layout else layout)
    cropped, whole = "Cropped" in layout, layout == "CASME2-RAW"
    for row in rows:
        clip = root / f"sub{row.subject:02d}" / row.clip
        clip.mkdir(parents=True, exist_ok=True)
        (clip / "Thumbs.db").write_bytes(b"junk")
        (clip / ".DS_Store").write_bytes(b"junk")
        first, last = (1, row.offset + 9) if whole else (row.onset, row.offset)
        for number in range(first, last + 1):
            name = f"{'reg_' * cropped}img{number}.jpg" + ".jpg" * (number == first)
            place = places[row.subject, row.clip]
            image = frame_image(place, number, _CROPPED if cropped else _RAW)
            iio.imwrite(clip / name, image, plugin="pillow", extension=".jpg")
    (root / ".DS_Store").write_bytes(b"junk")


def frame_image(clip: int, number: int, shape: tuple[int, int]) -> np.ndarray:
    """uint8 [H, W, 3]: the clip's place in the upper half, the number below."""
    height, width = shape
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2] = _colour(clip)
    image[height // 2 :] = _colour(number)
    return image


def read_colours(image: np.ndarray) -> tuple[int, int]:
    """The clip's place in ``ROWS`` and the frame's number, from uint8 [H, W, 3]."""
    height, width, _ = image.shape
    return tuple(
        int((image[row, width // 2].astype(int) // 32) @ _LEVELS ** np.arange(3))
        for row in (height // 4, 3 * height // 4)
    )


def _colour(value: int) -> np.ndarray:
    if not 0 <= value < _LEVELS**3:
        raise ValueError(f"{value} does not fit the colours of an image")
    return value // _LEVELS ** np.arange(3) % _LEVELS * 32 + 16


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layout", choices=LAYOUTS, default="Cropped")
    parser.add_argument("--table", choices=TABLES, default="20190701")
    arguments = parser.parse_args()
    write_tree(arguments.folder, layout=arguments.layout, table=arguments.table)
