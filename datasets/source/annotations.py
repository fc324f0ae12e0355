"""Reading of annotation tables into rows of a common form.

A table gives the subject, clip, onset, apex, offset and emotion of each expression.
Copies differ in file type and spelling (``cells``) and in their headers (``columns``).

Fingerprints of existing records include the reasons that are raised here for rows that
cannot be read (see ``local_copy.LocalCopy.fingerprint``), so their wording must not
change.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets.source.cells import (
    MAX_HEADER_ROWS,
    canonical_subject,
    cell_text,
    normalised_header,
    parse_frame_number,
    sheets,
)
from datasets.source.columns import (
    OPTIONAL,
    SYNONYMS,
    Columns,
    Erratum,
    column_positions,
    describe_unknown_headers,
    headerless_start,
    known_headers,
    unread_headers,
)
from meranet_jax.errors import DataError


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
      corrections: a sentence on each value that was corrected; see
        ``columns.Erratum``.
      contradictions: a sentence on each pair of cells that contradict each other.
      gap: a sentence on frames of the clip that are not of the expression, since
        numbers are missing in between. Empty if there are none, or there is a table.
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
    corrections: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    contradictions: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    gap: str = dataclasses.field(default="", repr=False)

    @property
    def uncertainty(self) -> str:
        """A sentence on numbers that the table marks as uncertain, empty if none is."""
        if not self.uncertain:
            return ""
        fields = " and ".join(self.uncertain)
        return f"the table marks {fields} with a question mark, which was ignored"

    def left_out(self, reason: str) -> "LeftOut":
        """Returns the report's entry for this row if it does not become a record."""
        return LeftOut(self.table, self.number, self.subject, self.clip, reason)


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
    """The contents of a table: each row is either in ``rows`` or in ``left_out``.

    Attributes:
      path: the file.
      sheet: name of the sheet that was read.
      rows: the rows that can be read.
      left_out: the others.
      other_sheets: names of further sheets that have the columns, and were not read.
      of_folders: whether the rows were made of folders; there is no file then.
      without: a sentence on the apex and on the offset if the data set's tables give it
        and this one has no column of it, or an empty one, by field.
    """

    path: Path
    sheet: str
    rows: tuple[Annotation, ...]
    left_out: tuple[LeftOut, ...]
    other_sheets: tuple[str, ...] = ()
    of_folders: bool = False
    without: Mapping[str, str] = dataclasses.field(default_factory=dict)


class OtherColumnsError(DataError):
    """A table that can be read, but does not have the columns of the data set.

    Attributes:
      unknown: a sentence on columns that only need another header; empty if there are
        none.
    """

    def __init__(self, message: str, unknown: str = ""):
        """Makes the error with its message and ``unknown``."""
        super().__init__(message)
        self.unknown = unknown


def read_table(path: Path, columns: Columns) -> Table:
    """Reads the first sheet of a table that has the required columns.

    Visible sheets are preferred to hidden ones.

    Args:
      path: an .xlsx, .xls or .csv file.
      columns: the columns of the data set's tables.

    Raises:
      OtherColumnsError: if no sheet has the columns.
      DataError: if the file cannot be read, or two of its columns contradict each
        other.
    """
    found, unknown, table, others = [], [], None, []
    for sheet, cells in sheets(path):
        place = _find_rows(cells, columns)
        if place is None:
            found.append(f"{sheet!r}: {_columns_found(cells)}")
            for row in cells[:MAX_HEADER_ROWS]:
                unknown += describe_unknown_headers(row, columns)
        elif table is None or not (table.rows or table.left_out):
            start, positions = place
            _check_repeated(path, cells, start, positions)
            table = _parse_rows(path, sheet, cells, start, positions, columns)
        else:
            others.append(sheet)
    if table is not None:
        return dataclasses.replace(table, other_sheets=tuple(others))
    if unknown:
        raise OtherColumnsError(
            f"A column is not recognised in the table {path}.\n"
            f"Found in its sheets: {'; '.join(found)}.",
            " ".join(dict.fromkeys(unknown)),
        )
    needed = [
        " or ".join(names)
        for field, names in columns.headers.items()
        if field not in columns.optional | OPTIONAL
    ]
    needed.append(
        " or ".join(
            name
            for field in ("apex", "offset")
            for name in columns.headers.get(field, SYNONYMS[field])[:1]
        )
    )
    raise OtherColumnsError(
        f"Required columns are missing in the table {path}.\n"
        f"Found in its sheets: {'; '.join(found) or 'no sheet'}.\n"
        f"Expected in one sheet: {', '.join(needed)}"
        + (f", or {len(columns.order)} columns without a header" * bool(columns.order))
        + ".\nRename the columns, or use the table that came with the data set."
    )


def _find_rows(
    cells: Sequence[Sequence[object]], columns: Columns
) -> tuple[int, dict[str, int]] | None:
    """Returns the index of the first row and the position of each field's column.

    None if the sheet does not have the columns.
    """
    for index, header in enumerate(cells[:MAX_HEADER_ROWS]):
        positions = column_positions(header, columns)
        if positions is not None:
            return index + 1, positions
    start = headerless_start(cells, columns)
    if start is None:
        return None
    return start, {f: n for n, f in enumerate(columns.order) if f is not None}


def _check_repeated(
    path: Path,
    cells: Sequence[Sequence[object]],
    start: int,
    positions: Mapping[str, int],
) -> None:
    """Raises DataError if another column has a field's header and other contents."""
    header = cells[start - 1] if start else ()
    for field, position in positions.items():
        if position >= len(header) or not cell_text(header[position]):
            continue
        name = normalised_header(header[position])
        for other, cell in enumerate(header):
            if other == position or normalised_header(cell) != name:
                continue
            for number, row in enumerate(cells[start:], start + 1):
                pair = [
                    cell_text(row[at]) if at < len(row) else ""
                    for at in (position, other)
                ]
                if pair[1] and _comparable(pair[0]) != _comparable(pair[1]):
                    raise DataError(
                        f"The table {path} has two columns "
                        f"{cell_text(header[position])!r} with other contents: row "
                        f"{number} has {pair[0]!r} and {pair[1]!r}. Rename or delete "
                        f"the one that is not the {field}."
                    )


def _comparable(text: str) -> str:
    """Returns a text in which ``01`` and ``1.0`` are 1, and case does not matter."""
    return canonical_subject(text) or text.casefold()


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
        if not any(cell_text(cell) for cell in row):
            continue
        fields = {
            field: row[position] if position < len(row) else ""
            for field, position in positions.items()
        }
        try:
            subject = parse_subject(fields["subject"])
            rows.append(_annotation(path.name, number, subject, fields, columns))
        except ValueError as error:
            subject = subject or cell_text(fields["subject"])
            clip = cell_text(fields.get("clip", columns.only_clip))
            left_out.append(LeftOut(path.name, number, subject, clip, str(error)))
    without = {}
    for field in ("apex", "offset"):
        if field in columns.headers and field not in positions:
            unread = unread_headers(cells, start, positions)
            without[field] = (
                f"{path.name} has no column of the {field} that was recognised: none "
                f"is called {', '.join(known_headers(field, columns))}. Its columns "
                f"that were not read: {', '.join(unread) or 'none'}"
            )
        elif len(rows) > 1 and all(getattr(row, field) is None for row in rows):
            if field in positions:
                without[field] = (
                    f"the column of the {field} in {path.name} gives none in any of "
                    f"{len(rows)} rows"
                )
    return Table(path, sheet, tuple(rows), tuple(left_out), without=without)


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
        raise ValueError(f"subject {cell_text(written)!r} is none of this data set's")
    if not (clip := cell_text(fields.pop("clip", columns.only_clip))):
        raise ValueError("the row names no clip")
    cells = {field: fields.pop(field, "") for field in ("onset", "apex", "offset")}
    numbers = {
        field: _frame(field, cell, columns.zero_is_missing)
        for field, cell in cells.items()
    }
    numbers, corrections = _corrected(subject, clip, numbers, cells, columns.errata)
    onset, apex, offset = numbers.values()
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
        emotion=cell_text(fields.pop("emotion", "")).lower(),
        action_units=cell_text(fields.pop("action_units", "")),
        extra_fields={field: cell_text(cell) for field, cell in fields.items()},
        uncertain=tuple(
            field
            for field, cell in cells.items()
            if re.fullmatch(r"\?.*[0-9].*|[0-9].*\?", cell_text(cell))
        ),
        corrections=corrections,
    )


def _corrected(
    subject: str,
    clip: str,
    numbers: Mapping[str, int | None],
    cells: Mapping[str, object],
    errata: Sequence[Erratum],
) -> tuple[dict[str, int | None], tuple[str, ...]]:
    """Returns the frame numbers without known errors, and a sentence on each error.

    A sentence has the text of the cell, which says how a number is missing: ``0``.
    """
    corrected, sentences = dict(numbers), []
    for erratum in errata:
        key = (erratum.subject, erratum.clip.casefold(), erratum.onset)
        wrong = numbers[erratum.field]
        if (subject, clip.casefold(), numbers["onset"]) == key and (
            wrong == erratum.wrong
        ):
            corrected[erratum.field] = erratum.right
            found = cell_text(cells[erratum.field]) or "missing"
            sentences.append(
                f"the {erratum.field} is {found} in the table, a known error; "
                f"{erratum.right} was used ({erratum.source})"
            )
    return corrected, tuple(sentences)


def _frame(field: str, cell: object, zero_is_missing: frozenset[str]) -> int | None:
    try:
        number = parse_frame_number(cell_text(cell))
    except ValueError as error:
        raise ValueError(f"the {field} {error}") from None
    return None if number == 0 and field in zero_is_missing else number


def _columns_found(cells: Sequence[Sequence[object]]) -> str:
    """Returns the cells of the first row that is not empty, for an error message."""
    for row in cells:
        names = [text for cell in row if (text := cell_text(cell))]
        names = [name for name in names if not name.lower().startswith("unnamed")]
        if names:
            return ", ".join(names)
    return "nothing"


def of_folders(tables: Sequence[Table]) -> bool:
    """Returns whether the rows were made of folders, since there is no table."""
    return any(table.of_folders for table in tables)


def row_label(row: Annotation, tables: Sequence[Table]) -> str:
    """Returns ``row 12``, with the name of the table if there are several tables.

    Without a table, it is ``folder 12``.
    """
    if of_folders(tables):
        return f"folder {row.number}"
    return f"row {row.number}" + (f" of {row.table}" if len(tables) > 1 else "")


def entry_label(number: int, table: str, from_folders: bool) -> str:
    """Returns ``row 12 of casme.xls`` for a row that is left out.

    Args:
      number: ``LeftOut.row``.
      table: ``LeftOut.table``.
      from_folders: whether the rows were made of folders. It is ``folder 12 in
        HS/s1/micro/negative`` then.
    """
    if from_folders:
        return f"folder {number} in {table}"
    return f"row {number} of {table}"
