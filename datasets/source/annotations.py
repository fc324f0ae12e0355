"""Annotation tables: whatever the spreadsheet, rows of one shape come out.

A table names for each expression its subject, clip, onset, apex, offset and emotion.
Copies differ in file type, headers, blank columns and in how they write a subject, a
number or a missing value; nothing after this module knows of that.
"""

import csv
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import python_calamine

from meranet_jax.errors import DataError

# What stands in a cell of a number that nobody could give.
_MISSING = frozenset({"", "/", "\\", "null", "nan", "none", "remake", "-1"})

# A header may stand below a title or notes, but not below this many rows.
_HEADER_WITHIN = 30

_SUBJECT = re.compile(
    r"(?:(?:subject|sub|s)[\s_-]*)?([0-9]{1,6})(?:\.0+)?", re.IGNORECASE
)
# So many rows tell whether a sheet is one without a header.
_SEEN = 10


@dataclasses.dataclass(frozen=True)
class Annotation:
    """One expression, as one row of the table describes it.

    Attributes:
      table: name of the table's file.
      number: the table's row, counted as a spreadsheet program counts it.
      subject: canonical, ``sub01``.
      clip: name of the clip, as the table writes it.
      onset: number of the expression's first frame.
      apex: number of its strongest frame, None where the table gives none.
      offset: number of its last frame, None where the table gives none.
      emotion: lower case, otherwise as the table writes it.
      action_units: as the table writes them, ``4+L10``.
      beside: what the data set has beyond these, as text by field.
    """

    table: str
    number: int
    subject: str
    clip: str
    onset: int
    apex: int | None
    offset: int | None
    emotion: str
    action_units: str
    beside: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """What does not become a record, and why.

    Attributes:
      table: name of the table's file; None for frames that no row names.
      row: the table's row; None for frames that no row names.
      subject: canonical where it can be read, else as it is written.
      clip: name of the clip.
      reason: a sentence for the user.
    """

    table: str | None
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


@dataclasses.dataclass(frozen=True)
class Columns:
    """Where a data set's tables keep what.

    Attributes:
      headers: for each field its column's headers, any of which will do; compared
        without regard to case, blanks and underscores. Fields that ``Annotation`` has
        not go to ``beside``.
      optional: fields that a table may lack.
      order: the fields by position, for sheets without a header; empty if the data set
        has none such. None stands for a column that is not read.
      zero_is_missing: whether 0 in a cell of a frame's number says that there is none.
      subjects: from all cells of the subjects' column, what makes one of them a
        canonical subject.
    """

    headers: Mapping[str, Sequence[str]]
    optional: frozenset[str] = frozenset()
    order: tuple[str | None, ...] = ()
    zero_is_missing: bool = False
    subjects: Callable[[Sequence[object]], Callable[[object], str | None]] = (
        lambda cells: canonical_subject
    )


def read_table(path: Path, columns: Columns) -> Table:
    """Reads the first sheet of ``path`` that has the columns.

    Raises:
      DataError: if the file cannot be read or no sheet of it has the columns.
    """
    found = []
    for sheet, cells in _sheets(path):
        for index, header in enumerate(cells[:_HEADER_WITHIN]):
            places = _places(header, columns)
            if places is not None:
                return _table(path, sheet, cells, index + 1, places, columns)
        start = _headerless_start(cells, columns)
        if start is not None:
            places = {
                field: place
                for place, field in enumerate(columns.order)
                if field is not None
            }
            return _table(path, sheet, cells, start, places, columns)
        found.append(f"{sheet!r}: {_columns_found(cells)}")
    needed = [
        " or ".join(names)
        for field, names in columns.headers.items()
        if field not in columns.optional
    ]
    raise DataError(
        f"The table {path} lacks columns that are needed.\n"
        f"Found in its sheets: {'; '.join(found) or 'no sheet'}.\n"
        f"Expected in one sheet: {', '.join(needed)}"
        + (f", or {len(columns.order)} columns without a header" * bool(columns.order))
        + ".\nGive the columns these names, or take the table that came with the data "
        "set."
    )


def _places(header: Sequence[object], columns: Columns) -> dict[str, int] | None:
    """The column of each field, None if this row is no header."""
    names = [_normal(cell) for cell in header]
    places = {}
    for field, spellings in columns.headers.items():
        there = [names.index(s) for s in map(_normal, spellings) if s in names]
        if there:
            places[field] = there[0]
        elif field not in columns.optional:
            return None
    return places


def _headerless_start(
    cells: Sequence[Sequence[object]], columns: Columns
) -> int | None:
    """Where the expressions of a sheet without a header begin; None if it is no such.

    Its first rows tell, most of which begin with a subject and hold numbers where
    frames' numbers belong; one of them may be odd, and is then reported like any other.
    """
    if not columns.order:
        return None
    onset, offset = columns.order.index("onset"), columns.order.index("offset")

    def is_expression(row: Sequence[object]) -> bool:
        try:
            frame_number(_text(row[onset])), frame_number(_text(row[offset]))
        except (ValueError, IndexError):
            return False
        return canonical_subject(_text(row[0])) is not None

    # A title has fewer cells than an expression needs, and no subject.
    rows = [
        index
        for index, row in enumerate(cells)
        if sum(map(bool, map(_text, row))) >= 4
        or (row and canonical_subject(_text(row[0])) is not None)
    ][:_SEEN]
    if rows and 2 * sum(is_expression(cells[index]) for index in rows) > len(rows):
        return rows[0]
    return None


def _table(
    path: Path,
    sheet: str,
    cells: Sequence[Sequence[object]],
    start: int,
    places: Mapping[str, int],
    columns: Columns,
) -> Table:
    rows, left_out = [], []
    place = places["subject"]
    subject_of = columns.subjects([r[place] for r in cells[start:] if place < len(r)])
    for number, row in enumerate(cells[start:], start=start + 1):
        if not any(_text(cell) for cell in row):
            continue
        fields = {
            field: row[place] if place < len(row) else ""
            for field, place in places.items()
        }
        try:
            subject = subject_of(fields["subject"])
            rows.append(_annotation(path.name, number, subject, fields, columns))
        except ValueError as error:
            subject = subject or _text(fields["subject"])
            clip = _text(fields["clip"])
            left_out.append(LeftOut(path.name, number, subject, clip, str(error)))
    return Table(path, sheet, tuple(rows), tuple(left_out))


def _annotation(
    table: str,
    number: int,
    subject: str | None,
    fields: Mapping[str, object],
    columns: Columns,
) -> Annotation:
    fields = dict(fields)
    written = fields.pop("subject")
    if subject is None:
        raise ValueError(f"subject {_text(written)!r} is none of this data set's")
    if not (clip := _text(fields.pop("clip"))):
        raise ValueError("the row names no clip")
    onset, apex, offset = (
        _frame(field, fields.pop(field), columns.zero_is_missing)
        for field in ("onset", "apex", "offset")
    )
    if onset is None:
        raise ValueError("the onset is missing")
    if offset is None and apex is None:
        raise ValueError("both the apex and the offset are missing")
    if offset is not None and offset < onset:
        raise ValueError(f"the offset {offset} lies before the onset {onset}")
    return Annotation(
        table=table,
        number=number,
        subject=subject,
        clip=clip,
        onset=onset,
        apex=apex,
        offset=offset,
        emotion=_text(fields.pop("emotion", "")).lower(),
        action_units=_text(fields.pop("action_units", "")),
        beside={field: _text(cell) for field, cell in fields.items()},
    )


def frame_number(text: str) -> int | None:
    """The number that a cell gives, None where it gives none.

    Raises:
      ValueError: if it is neither a number nor a sign that one is missing.
    """
    if text.lower() in _MISSING:
        return None
    match = re.fullmatch(r"([0-9]{1,9})(?:\.0*)?", text)
    if not match:
        raise ValueError(f"{text!r} is not a frame number")
    return int(match[1])


def _frame(field: str, cell: object, zero_is_missing: bool) -> int | None:
    try:
        number = frame_number(_text(cell))
    except ValueError as error:
        raise ValueError(f"the {field} {error}") from None
    return None if number == 0 and zero_is_missing else number


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
    except BaseException as error:
        # Of some damaged files the library panics, which is no Exception.
        panics = type(error).__name__ == "PanicException"
        if not panics and not isinstance(error, python_calamine.CalamineError):
            raise
        raise DataError(
            f"The table {path} cannot be read: {error}.\n"
            "Open it in a spreadsheet program and save it as .xlsx without a password."
        ) from error


def _csv_cells(path: Path) -> list[list[object]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            # Spreadsheet programs write what their user's country is used to. A title
            # may hold one of these too, but no more of them than all the rows.
            start = "".join(file.readline() for _ in range(_HEADER_WITHIN))
            delimiter = max(",;\t", key=start.count)
            file.seek(0)
            return list(csv.reader(file, delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"The table {path} cannot be read: {error}.\n"
            "Save it as comma-separated text in UTF-8."
        ) from error


def where(row: Annotation, tables: Sequence[Table]) -> str:
    """The row as a user finds it: ``row 12``, with its table if there are several."""
    return f"row {row.number}" + (f" of {row.table}" if len(tables) > 1 else "")
