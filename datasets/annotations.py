"""Annotation tables: whatever the spreadsheet, rows of one shape come out.

A table names for each expression its subject, clip, onset, apex, offset and emotion.
Copies differ in file type, headers, blank columns and in how they write a subject, a
number or a missing value; nothing after this module knows of that.
"""

import csv
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import python_calamine

from datasets.errors import DataError

SUFFIXES = (".xlsx", ".xls", ".csv")

# What stands in a cell of a number that nobody could give.
_MISSING = frozenset({"", "/", "\\", "null", "nan", "remake", "-1"})

# A header may stand below a title or notes, but not below this many rows.
_HEADER_WITHIN = 30

_SUBJECT = re.compile(
    r"(?:(?:subject|sub|s)[\s_-]*)?([0-9]{1,6})(?:\.0+)?", re.IGNORECASE
)
_SUBJECT_FOLDER = re.compile(r"s(?:ub)?[0-9]+", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Annotation:
    """One expression, as one row of the table describes it.

    Attributes:
      number: the table's row, counted as a spreadsheet program counts it.
      subject: canonical, ``sub01``.
      clip: name of the clip's folder, as the table writes it.
      onset: number of the expression's first frame.
      apex: number of its strongest frame, None where the table gives none.
      offset: number of its last frame.
      emotion: lower case, otherwise as the table writes it.
      action_units: as the table writes them, ``4+L10``.
    """

    number: int
    subject: str
    clip: str
    onset: int
    apex: int | None
    offset: int
    emotion: str
    action_units: str


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """What does not become a record, and why.

    Attributes:
      row: the table's row; None for a folder that no row names.
      subject: canonical where it can be read, else as it is written.
      clip: name of the clip.
      reason: a sentence for the user.
    """

    row: int | None
    subject: str
    clip: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Table:
    """A table that was read: every row of it is in ``rows`` or in ``left_out``."""

    path: Path
    sheet: str
    rows: tuple[Annotation, ...]
    left_out: tuple[LeftOut, ...]


def canonical_subject(value: object) -> str | None:
    """``sub01`` for 1, 1.0, '01', 'sub01' or 's1'; None if it names no subject."""
    match = _SUBJECT.fullmatch(str(value).strip())
    return f"sub{int(match[1]):02d}" if match else None


def folders_under(root: Path, depth: int) -> Iterator[Path]:
    """``root`` and the folders up to ``depth`` below it, the nearest first.

    Folders of subjects are not entered, since frames and nothing else lie below them,
    nor are those that the archivers of macOS add.
    """
    level, seen = [root], set()
    for _ in range(depth + 1):
        below = []
        for folder in level:
            if (real := folder.resolve()) in seen:
                continue  # a link that leads back
            seen.add(real)
            yield folder
            below += [
                child
                for child in sorted(folder.iterdir())
                if child.is_dir()
                and not child.name.startswith((".", "__MACOSX"))
                and not _SUBJECT_FOLDER.fullmatch(child.name)
            ]
        level = below


def find_tables(manual_dir: Path) -> list[Path]:
    """Every table up to three folders below ``manual_dir``, the nearest first."""
    return [
        path
        for folder in folders_under(manual_dir, depth=3)
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES
        and not path.name.startswith((".", "~$"))  # open in a spreadsheet program
        and path.is_file()
    ]


def read_table(path: Path, headers: Mapping[str, str]) -> Table:
    """Reads the first sheet of ``path`` that has the columns.

    Args:
      path: an .xlsx, .xls or .csv file.
      headers: for each field of ``Annotation`` after ``number`` its column's header;
        compared without regard to case, blanks and underscores.

    Raises:
      DataError: if the file cannot be read or no sheet of it has the columns.
    """
    found = []
    for sheet, cells in _sheets(path):
        for index, header in enumerate(cells[:_HEADER_WITHIN]):
            names = [_normal(cell) for cell in header]
            if all(_normal(name) in names for name in headers.values()):
                columns = {
                    field: names.index(_normal(name)) for field, name in headers.items()
                }
                return _table(path, sheet, cells, index + 1, columns)
        found.append(f"{sheet!r}: {_columns_found(cells)}")
    raise DataError(
        f"The table {path} lacks columns that are needed.\n"
        f"Found in its sheets: {'; '.join(found) or 'no sheet'}.\n"
        f"Expected in one sheet: {', '.join(headers.values())}.\n"
        "Give the columns these names, or take the table that came with the data set."
    )


def _table(
    path: Path,
    sheet: str,
    cells: Sequence[Sequence[object]],
    start: int,
    columns: Mapping[str, int],
) -> Table:
    rows, left_out = [], []
    for number, row in enumerate(cells[start:], start=start + 1):
        if not any(_text(cell) for cell in row):
            continue
        fields = {
            field: row[column] if column < len(row) else ""
            for field, column in columns.items()
        }
        try:
            rows.append(_annotation(number, fields))
        except ValueError as error:
            subject = canonical_subject(fields["subject"]) or _text(fields["subject"])
            left_out.append(LeftOut(number, subject, _text(fields["clip"]), str(error)))
    return Table(path, sheet, tuple(rows), tuple(left_out))


def _annotation(number: int, fields: Mapping[str, object]) -> Annotation:
    subject = canonical_subject(fields["subject"])
    if subject is None:
        raise ValueError(f"subject {_text(fields['subject'])!r} is not a number")
    if not (clip := _text(fields["clip"])):
        raise ValueError("the row names no clip")
    onset, apex, offset = (
        _frame(field, fields[field]) for field in ("onset", "apex", "offset")
    )
    if onset is None or offset is None:
        raise ValueError(f"the {'onset' if onset is None else 'offset'} is missing")
    if offset < onset:
        raise ValueError(f"the offset {offset} lies before the onset {onset}")
    return Annotation(
        number=number,
        subject=subject,
        clip=clip,
        onset=onset,
        apex=apex,
        offset=offset,
        emotion=_text(fields["emotion"]).lower(),
        action_units=_text(fields["action_units"]),
    )


def _frame(field: str, cell: object) -> int | None:
    text = _text(cell)
    if text.lower() in _MISSING:
        return None
    match = re.fullmatch(r"([0-9]{1,9})(?:\.0*)?", text)
    if not match:
        raise ValueError(f"the {field} {text!r} is not a frame number")
    return int(match[1])


def _text(cell: object) -> str:
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)  # a spreadsheet knows no integers: 4 is read as 4.0
    return "" if cell is None else str(cell).strip()


def _normal(header: object) -> str:
    return re.sub(r"[\s_]+", "", _text(header)).lower()


def _columns_found(cells: Sequence[Sequence[object]]) -> str:
    for row in cells:
        names = [text for cell in row if (text := _text(cell))]
        names = [name for name in names if not name.lower().startswith("unnamed")]
        if names:
            return ", ".join(names)
    return "nothing"


def _sheets(path: Path) -> Iterator[tuple[str, list[list[object]]]]:
    """The sheets by name, each as rows of cells from its first row and column on."""
    if path.suffix.lower() == ".csv":
        yield "csv", _csv_cells(path)
        return
    try:
        # From the content, not the name: an .xls may be an .xlsx renamed.
        with path.open("rb") as file:
            workbook = python_calamine.CalamineWorkbook.from_filelike(file)
            for name in workbook.sheet_names:
                sheet = workbook.get_sheet_by_name(name)
                yield name, sheet.to_python(skip_empty_area=False)
    except python_calamine.CalamineError as error:
        raise DataError(
            f"The table {path} cannot be read: {error}.\n"
            "Open it in a spreadsheet program and save it as .xlsx without a password."
        ) from error


def _csv_cells(path: Path) -> list[list[object]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            # Spreadsheet programs write what their user's country is used to.
            delimiter = max(",;\t", key=first.count)
            return list(csv.reader(file, delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"The table {path} cannot be read: {error}.\n"
            "Save it as comma-separated text in UTF-8."
        ) from error
