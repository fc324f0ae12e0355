"""Cells of a spreadsheet or a text file: reading a file, and parsing what cells hold.

Copies differ in file type, locale, and the spelling of subjects, numbers and missing
values.
"""

import codecs
import csv
import re
from collections.abc import Iterator
from pathlib import Path

import python_calamine

from meranet_jax.errors import DataError

# Cells, in lower case, that mark a number as missing.
_MISSING = frozenset(
    ["", "/", "\\", "-", "--", "\u2013", "\u2014", "?", "null", "nan", "none", "n/a"]
    + ["n.a.", "na", "<na>", "#n/a", "unknown", "remake", "-1", "-1.0"]
)
# A header may follow a title or notes, but must be among this many first rows.
MAX_HEADER_ROWS = 30

_SUBJECT = re.compile(
    r"(?:(?:subject|spno\.?|sub|s)[\s_-]*)?([0-9]{1,6})(?:\.0+)?", re.IGNORECASE
)


def sheets(path: Path) -> Iterator[tuple[str, list[list[object]]]]:
    """Yields the name of each sheet and its rows, from the first row and column."""
    if path.suffix.lower() == ".csv":
        yield "csv", _csv_cells(path)
        return
    try:
        # By content, not by suffix: an .xls may be a renamed .xlsx.
        with path.open("rb") as file:
            workbook = python_calamine.CalamineWorkbook.from_filelike(file)
            # Hidden sheets often contain earlier labels.
            hidden = {
                sheet.name
                for sheet in workbook.sheets_metadata
                if sheet.visible != python_calamine.SheetVisibleEnum.Visible
            }
            for name in sorted(workbook.sheet_names, key=lambda name: name in hidden):
                sheet = workbook.get_sheet_by_name(name)
                yield name, sheet.to_python(skip_empty_area=False)
    except BaseException as error:
        # On some damaged files the library panics; PanicException is not an Exception.
        panics = type(error).__name__ == "PanicException"
        if not panics and not isinstance(error, python_calamine.CalamineError):
            raise
        raise DataError(
            f"The table {path} cannot be read: {error}.\n"
            "Open it in a spreadsheet program and save it as .xlsx without a password."
        ) from error


def _csv_cells(path: Path) -> list[list[object]]:
    try:
        with path.open("rb") as file:
            marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
            encoding = "utf-16" if file.read(2) in marks else "utf-8-sig"
        with path.open(encoding=encoding, newline="") as file:
            # The delimiter depends on the locale of the spreadsheet program. A title
            # may contain one of these characters too, but fewer than the rows do.
            start = "".join(file.readline() for _ in range(MAX_HEADER_ROWS))
            delimiter = max(",;\t", key=start.count)
            file.seek(0)
            try:
                return list(csv.reader(file, delimiter=delimiter, strict=True))
            except csv.Error as error:
                # An open quote would hide all rows after it. Others are only unusual.
                if "unexpected end of data" in str(error):
                    raise
            file.seek(0)
            return list(csv.reader(file, delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"The table {path} cannot be read: {error}.\n"
            "Save it as comma-separated text in UTF-8."
        ) from error


def cell_text(cell: object) -> str:
    """Returns the text of a cell without blanks around it, 4 for 4.0."""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)  # spreadsheets have no integers: 4 is read as 4.0
    return "" if cell is None else str(cell).strip()


def normalised_header(header: object) -> str:
    """Returns a header in lower case without blanks, hyphens and underscores."""
    return re.sub(r"[\s_-]+", "", cell_text(header)).lower()


def canonical_subject(value: object) -> str | None:
    """Returns ``sub01`` for 1, 1.0, '01', 'sub01', 's1' or 'spNO.1'; else None."""
    match = _SUBJECT.fullmatch(str(value).strip())
    return f"sub{int(match[1]):02d}" if match else None


def parse_frame_number(text: str) -> int | None:
    """Parses a cell with a frame number; None if the cell marks it as missing.

    A question mark before or after the number marks it as uncertain.

    Raises:
      ValueError: if the cell is neither an integer nor a marker of a missing number.
    """
    if text.lower() in _MISSING:
        return None
    match = re.fullmatch(r"(?:\?\s*)?([0-9]{1,9})(?:\.0*)?(?:\s*\?)?", text)
    if not match:
        raise ValueError(f"{text!r} is not a frame number")
    return int(match[1])


def is_number(text: str) -> bool:
    """Returns whether a cell of an emotion is a number: 3, 3.0 or -1."""
    return bool(re.fullmatch(r"-?[0-9]+(\.[0-9]*)?", text))
