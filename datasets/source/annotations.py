"""Reading of annotation tables into rows of a common form.

A table gives the subject, clip, onset, apex, offset and emotion of each expression.
Copies differ in file type, headers, blank columns, and the spelling of subjects,
numbers and missing values. Only this module deals with these differences.

Fingerprints of existing records include the reasons that are raised here for rows that
cannot be read (see ``local_copy.LocalCopy.fingerprint``), so their wording must not
change.
"""

import csv
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import python_calamine

from meranet_jax.errors import DataError

# Cells, in lower case, that mark a number as missing.
_MISSING = frozenset(
    ["", "/", "\\", "-", "--", "\u2013", "\u2014", "?", "null", "nan", "none", "n/a"]
    + ["n.a.", "na", "<na>", "#n/a", "unknown", "remake", "-1", "-1.0"]
)
# Headers that people give the columns of any data set, after the data set's own
_EMOTION = ("Estimated Emotion", "Emotion", "Label", "Catego", "Category", "Class")
_SYNONYMS: Mapping[str, Sequence[str]] = {
    "subject": ("Subject", "Sub", "Subj", "Subject ID", "Participant", "Person"),
    "clip": ("Filename", "File", "Clip", "Clip name", "Video", "Data", "Sequence"),
    "onset": ("OnsetFrame", "OnsetF", "Onset"),
    "apex": ("ApexFrame", "ApexF", "ApexF1", "Apex"),
    "offset": ("OffsetFrame", "OffsetF", "Offset"),
    "emotion": (*_EMOTION, "Expression"),
    "estimated_emotion": _EMOTION,
    "expression": ("Type", "Expression Type", "Expression"),
    "action_units": ("Action Units", "Action Unit", "AU", "AUs", "FACS"),
}
# Fields that are estimated, or only passed on, where their column is absent; of apex
# and offset one is needed.
_OPTIONAL = frozenset({"apex", "offset", "action_units"})
# Words in headers that likely name the apex or the offset
_KEY_WORDS = {"apex": ("apex", "peak"), "offset": ("offset",)}

# A header may follow a title or notes, but must be among this many first rows.
_MAX_HEADER_ROWS = 30

_SUBJECT = re.compile(
    r"(?:(?:subject|sub|s)[\s_-]*)?([0-9]{1,6})(?:\.0+)?", re.IGNORECASE
)
# Number of rows that decide whether a sheet without a header contains expressions.
_ROWS_TO_INSPECT = 10


@dataclasses.dataclass(frozen=True)
class Annotation:
    """One row of the annotation table, which describes one expression.

    Attributes:
      table: name of the table's file.
      number: row number in the table, from 1 as in a spreadsheet program.
      subject: canonical name of the subject, ``sub01``.
      clip: name of the clip as in the table.
      onset: frame number of the onset.
      apex: frame number of the apex, None if the table does not give it.
      offset: frame number of the offset, None if the table does not give it.
      emotion: emotion as in the table, in lower case.
      action_units: action units as in the table, ``4+L10``.
      extra_fields: text of the data set's additional fields, by field.
      uncertain: names of the frame numbers that the table marks as uncertain, ``59?``.
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
    extra_fields: Mapping[str, str]
    # Not part of fingerprints, which contain the other fields as text
    uncertain: tuple[str, ...] = dataclasses.field(default=(), repr=False)


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A row of the table, or frames without a row, that do not become a record.

    Attributes:
      table: name of the table's file; None for frames without a row.
      row: row number in the table; None for frames without a row.
      subject: canonical name of the subject, or the text of the cell if it is invalid.
      clip: name of the clip.
      reason: why it is left out, for the user.
    """

    table: str | None
    row: int | None
    subject: str
    clip: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Table:
    """The contents of a table: each row is either in ``rows`` or in ``left_out``."""

    path: Path
    sheet: str
    rows: tuple[Annotation, ...]
    left_out: tuple[LeftOut, ...]


def canonical_subject(value: object) -> str | None:
    """Returns ``sub01`` for 1, 1.0, '01', 'sub01' or 's1'; None for other values."""
    match = _SUBJECT.fullmatch(str(value).strip())
    return f"sub{int(match[1]):02d}" if match else None


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a data set's annotation tables.

    Attributes:
      headers: the data set's own headers of each field's column, in order of
        preference; those that people often use instead are accepted, too. Case, blanks,
        hyphens and underscores are ignored. Fields other than those of ``Annotation``
        become its ``extra_fields``.
      optional: fields whose column may be absent, in addition to the action units and
        one of apex and offset.
      not_frames: headers of times, which are no frame numbers in a table that has all
        of these headers, or the data set's own header of an apex or offset.
      order: fields by position, for sheets without a header; None for a column that is
        not read. Empty if the data set has no such sheets.
      zero_is_missing: whether 0 marks a frame number as missing.
      subject_parser: takes all cells of the subject column and returns a function that
        maps a cell to the canonical subject, or to None if the cell is invalid.
    """

    headers: Mapping[str, Sequence[str]]
    optional: frozenset[str] = frozenset()
    not_frames: frozenset[str] = frozenset()
    order: tuple[str | None, ...] = ()
    zero_is_missing: bool = False
    subject_parser: Callable[[Sequence[object]], Callable[[object], str | None]] = (
        lambda cells: canonical_subject
    )


class OtherColumnsError(DataError):
    """A table that can be read, but does not have the columns of the data set."""


def read_table(path: Path, columns: Columns) -> Table:
    """Reads the first sheet of a table that has the required columns.

    Args:
      path: an .xlsx, .xls or .csv file.
      columns: the columns of the data set's tables.

    Raises:
      OtherColumnsError: if no sheet has the columns.
      DataError: if the file cannot be read.
    """
    found = []
    for sheet, cells in _sheets(path):
        for index, header in enumerate(cells[:_MAX_HEADER_ROWS]):
            positions = _column_positions(header, columns)
            if positions is not None:
                return _parse_rows(path, sheet, cells, index + 1, positions, columns)
        start = _headerless_start(cells, columns)
        if start is not None:
            positions = {
                field: position
                for position, field in enumerate(columns.order)
                if field is not None
            }
            return _parse_rows(path, sheet, cells, start, positions, columns)
        found.append(f"{sheet!r}: {_columns_found(cells)}")
    needed = [
        " or ".join(names)
        for field, names in columns.headers.items()
        if field not in columns.optional | _OPTIONAL
    ]
    needed.append(
        " or ".join(
            name
            for field in ("apex", "offset")
            for name in columns.headers.get(field, _SYNONYMS[field])[:1]
        )
    )
    raise OtherColumnsError(
        f"Required columns are missing in the table {path}.\n"
        f"Found in its sheets: {'; '.join(found) or 'no sheet'}.\n"
        f"Expected in one sheet: {', '.join(needed)}"
        + (f", or {len(columns.order)} columns without a header" * bool(columns.order))
        + ".\nRename the columns, or use the table that came with the data set."
    )


def _column_positions(
    header: Sequence[object], columns: Columns
) -> dict[str, int] | None:
    """Returns the position of each field's column; None if the row is not a header."""
    names = [_normalise(cell) for cell in header]
    times = set(map(_normalise, columns.not_frames))
    own = {
        _normalise(spelling)
        for field in ("apex", "offset")
        for spelling in columns.headers.get(field, ())
    }
    if times <= set(names) or own & set(names):
        names = ["" if name in times else name for name in names]
    positions: dict[str, int] = {}
    # First the data set's own headers, which may be other people's for another field.
    for spellings_of in (columns.headers, _SYNONYMS):
        for field in columns.headers:
            if field in positions:
                continue
            for spelling in map(_normalise, spellings_of.get(field, ())):
                if spelling in names and names.index(spelling) not in (
                    positions.values()
                ):
                    positions[field] = names.index(spelling)
                    break
    absent = columns.headers.keys() - positions
    if absent - columns.optional - _OPTIONAL or not positions.keys() & _KEY_WORDS:
        return None
    # A column of the apex with an unknown header must not be replaced by estimates.
    unused = [name for i, name in enumerate(names) if i not in positions.values()]
    for field in absent & _KEY_WORDS.keys():
        if any(word in name for word in _KEY_WORDS[field] for name in unused):
            return None
    return positions


def _headerless_start(
    cells: Sequence[Sequence[object]], columns: Columns
) -> int | None:
    """Returns the index of the first expression of a sheet without a header.

    None if the sheet has a header, or does not contain expressions: most of its first
    rows must start with a subject and have numbers in the columns of the onset and the
    offset. Other rows are reported like any row that cannot be read.
    """
    known = {
        _normalise(spelling)
        for spellings in (*columns.headers.values(), *_SYNONYMS.values())
        for spelling in spellings
    }
    has_header = any(
        sum(_normalise(cell) in known for cell in row) >= 2
        for row in cells[:_MAX_HEADER_ROWS]
    )
    if not columns.order or has_header:
        return None
    onset, offset = columns.order.index("onset"), columns.order.index("offset")

    def is_expression(row: Sequence[object]) -> bool:
        """Returns whether a row has a subject, an onset and an offset."""
        try:
            parse_frame_number(_text(row[onset]))
            parse_frame_number(_text(row[offset]))
        except (ValueError, IndexError):
            return False
        return canonical_subject(_text(row[0])) is not None

    # A title has fewer cells than an expression and does not start with a subject.
    rows = [
        index
        for index, row in enumerate(cells)
        if sum(map(bool, map(_text, row))) >= 4
        or (row and canonical_subject(_text(row[0])) is not None)
    ][:_ROWS_TO_INSPECT]
    if rows and 2 * sum(is_expression(cells[index]) for index in rows) > len(rows):
        return rows[0]
    return None


def _parse_rows(
    path: Path,
    sheet: str,
    cells: Sequence[Sequence[object]],
    start: int,
    positions: Mapping[str, int],
    columns: Columns,
) -> Table:
    rows, left_out = [], []
    column = positions["subject"]
    parse_subject = columns.subject_parser(
        [row[column] for row in cells[start:] if column < len(row)]
    )
    for number, row in enumerate(cells[start:], start=start + 1):
        if not any(_text(cell) for cell in row):
            continue
        fields = {
            field: row[position] if position < len(row) else ""
            for field, position in positions.items()
        }
        try:
            subject = parse_subject(fields["subject"])
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
    cells = {field: fields.pop(field, "") for field in ("onset", "apex", "offset")}
    onset, apex, offset = (
        _frame(field, cell, columns.zero_is_missing) for field, cell in cells.items()
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
        extra_fields={field: _text(cell) for field, cell in fields.items()},
        uncertain=tuple(
            field
            for field, cell in cells.items()
            if re.fullmatch(r"\?.*[0-9].*|[0-9].*\?", _text(cell))
        ),
    )


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


def _frame(field: str, cell: object, zero_is_missing: bool) -> int | None:
    try:
        number = parse_frame_number(_text(cell))
    except ValueError as error:
        raise ValueError(f"the {field} {error}") from None
    return None if number == 0 and zero_is_missing else number


def _text(cell: object) -> str:
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)  # spreadsheets have no integers: 4 is read as 4.0
    return "" if cell is None else str(cell).strip()


def _normalise(header: object) -> str:
    return re.sub(r"[\s_-]+", "", _text(header)).lower()


def _columns_found(cells: Sequence[Sequence[object]]) -> str:
    """Returns the cells of the first row that is not empty, for an error message."""
    for row in cells:
        names = [text for cell in row if (text := _text(cell))]
        names = [name for name in names if not name.lower().startswith("unnamed")]
        if names:
            return ", ".join(names)
    return "nothing"


def _sheets(path: Path) -> Iterator[tuple[str, list[list[object]]]]:
    """Yields the name of each sheet and its rows, from the first row and column."""
    if path.suffix.lower() == ".csv":
        yield "csv", _csv_cells(path)
        return
    try:
        # By content, not by suffix: an .xls may be a renamed .xlsx.
        with path.open("rb") as file:
            workbook = python_calamine.CalamineWorkbook.from_filelike(file)
            for name in workbook.sheet_names:
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
        with path.open(encoding="utf-8-sig", newline="") as file:
            # The delimiter depends on the locale of the spreadsheet program. A title
            # may contain one of these characters too, but fewer than the rows do.
            start = "".join(file.readline() for _ in range(_MAX_HEADER_ROWS))
            delimiter = max(",;\t", key=start.count)
            file.seek(0)
            return list(csv.reader(file, delimiter=delimiter))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"The table {path} cannot be read: {error}.\n"
            "Save it as comma-separated text in UTF-8."
        ) from error


def is_number(text: str) -> bool:
    """Returns whether a cell of an emotion is a number: 3, 3.0 or -1."""
    return bool(re.fullmatch(r"-?[0-9]+(\.[0-9]*)?", text))


def row_label(row: Annotation, tables: Sequence[Table]) -> str:
    """Returns ``row 12``, with the name of the table if there are several tables."""
    return f"row {row.number}" + (f" of {row.table}" if len(tables) > 1 else "")
