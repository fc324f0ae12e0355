"""The columns of a data set's annotation tables, and how they are found in a sheet."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from datasets.source.cells import (
    MAX_HEADER_ROWS,
    canonical_subject,
    cell_text,
    normalised_header,
    parse_frame_number,
)

# Headers that people give the columns of any data set, after the data set's own
_EMOTION = ("Estimated Emotion", "Emotion", "Label", "Catego", "Category", "Class")
SYNONYMS: Mapping[str, Sequence[str]] = {
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
OPTIONAL = frozenset({"apex", "offset", "action_units"})
# Words in headers that likely name the apex or the offset
_KEY_WORDS = {"apex": ("apex", "peak"), "offset": ("offset",)}

# Number of rows that decide whether a sheet without a header contains expressions.
_ROWS_TO_INSPECT = 10


@dataclasses.dataclass(frozen=True)
class Erratum:
    """A frame number that is known to be wrong in a published table.

    It is found by its expression and never by the number of its row, since people sort
    tables and delete rows. A table with another value is not changed.

    Attributes:
      subject: canonical name of the subject.
      clip: name of the clip; case is ignored.
      onset: onset of the expression, as in the table.
      field: ``onset``, ``apex`` or ``offset``.
      wrong: the table's value; None if it marks the number as missing.
      right: the correct value.
      source: how it is known, for the user.
    """

    subject: str
    clip: str
    onset: int
    field: str
    wrong: int | None
    right: int
    source: str


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
      zero_is_missing: frame numbers that 0 marks as missing: ``onset``, ``apex`` or
        ``offset``.
      subject_parser: takes all cells of the subject column and returns a function that
        maps a cell to the canonical subject, or to None if the cell is invalid.
      errata: frame numbers that are known to be wrong in published tables.
      only_clip: name of the clip of every row, for tables without such a column.
    """

    headers: Mapping[str, Sequence[str]]
    optional: frozenset[str] = frozenset()
    not_frames: frozenset[str] = frozenset()
    order: tuple[str | None, ...] = ()
    zero_is_missing: frozenset[str] = frozenset()
    subject_parser: Callable[[Sequence[object]], Callable[[object], str | None]] = (
        lambda cells: canonical_subject
    )
    errata: tuple[Erratum, ...] = ()
    only_clip: str = ""


def column_positions(
    header: Sequence[object], columns: Columns
) -> dict[str, int] | None:
    """Returns the position of each field's column; None if the row is not a header."""
    positions = _positions(header, columns)
    # A column of the apex with an unknown header must not be replaced by estimates.
    if positions is None or _unknown_headers(header, positions, columns):
        return None
    return positions


def describe_unknown_headers(header: Sequence[object], columns: Columns) -> list[str]:
    """Returns why a row is not a header, if only an apex or offset is not recognised.

    Returns:
      A sentence on each column that likely has the apex or the offset, with what to do;
      empty if the row is a header, or other columns are missing.
    """
    positions = _positions(header, columns)
    if positions is None:
        return []
    return [
        f"its column {cell_text(header[place])!r} may be that of the {field}: rename "
        f"it to {known_headers(field, columns)[0]}. If it is not, give it a name "
        f"without {' and '.join(map(repr, _KEY_WORDS[field]))}"
        for field, place in _unknown_headers(header, positions, columns)
    ]


def known_headers(field: str, columns: Columns) -> list[str]:
    """Returns the headers by which a field's column is found, the data set's first."""
    found: dict[str, str] = {}
    for name in (*columns.headers.get(field, ()), *SYNONYMS.get(field, ())):
        found.setdefault(normalised_header(name), name)
    return list(found.values())


def unread_headers(
    cells: Sequence[Sequence[object]], start: int, positions: Mapping[str, int]
) -> list[str]:
    """Returns the headers of columns that have contents and are not read.

    Args:
      cells: all rows of the sheet.
      start: index of the row after the header.
      positions: position of each field's column.

    Returns:
      The headers in the order of the columns; ``column D without a header`` for a
      blank one.
    """
    read = set(positions.values())
    width = max(map(len, cells[start - 1 :]), default=0)
    found = []
    for place in range(width):
        if place in read:
            continue
        header, *contents = (
            cell_text(row[place]) if place < len(row) else ""
            for row in cells[start - 1 :]
        )
        if header or any(contents):
            found.append(header or f"column {_letters(place)} without a header")
    return found


def _letters(place: int) -> str:
    """Returns the name of a column in spreadsheet programs: A, B, ..., Z, AA."""
    high, low = divmod(place, 26)
    return (_letters(high - 1) if high else "") + chr(ord("A") + low)


def _unknown_headers(
    header: Sequence[object], positions: Mapping[str, int], columns: Columns
) -> list[tuple[str, int]]:
    """Returns absent fields and the positions of columns that likely have them."""
    return [
        (field, place)
        for field in sorted((columns.headers.keys() - positions) & _KEY_WORDS.keys())
        for place, name in enumerate(_names(header, columns))
        if place not in positions.values()
        and any(word in name for word in _KEY_WORDS[field])
    ]


def _positions(header: Sequence[object], columns: Columns) -> dict[str, int] | None:
    """Returns ``column_positions``, also if a column likely has an absent field."""
    names = _names(header, columns)
    positions: dict[str, int] = {}
    # First the data set's own headers, which may be other people's for another field.
    for spellings_of in (columns.headers, SYNONYMS):
        for field in columns.headers:
            if field in positions:
                continue
            for spelling in map(normalised_header, spellings_of.get(field, ())):
                if spelling in names and names.index(spelling) not in (
                    positions.values()
                ):
                    positions[field] = names.index(spelling)
                    break
    absent = columns.headers.keys() - positions
    if absent - columns.optional - OPTIONAL or not positions.keys() & _KEY_WORDS:
        return None
    return positions


def _names(header: Sequence[object], columns: Columns) -> list[str]:
    """Returns the normalised headers, empty for times that are no frame numbers."""
    names = [normalised_header(cell) for cell in header]
    times = set(map(normalised_header, columns.not_frames))
    own = {
        normalised_header(spelling)
        for field in ("apex", "offset")
        for spelling in columns.headers.get(field, ())
    }
    if times <= set(names) or own & set(names):
        return ["" if name in times else name for name in names]
    return names


def headerless_start(cells: Sequence[Sequence[object]], columns: Columns) -> int | None:
    """Returns the index of the first expression of a sheet without a header.

    None if the sheet has a header, or does not contain expressions: most of its first
    rows must start with a subject and have numbers in the columns of the onset and the
    offset. Other rows are reported like any row that cannot be read.
    """
    known = {
        normalised_header(spelling)
        for spellings in (*columns.headers.values(), *SYNONYMS.values())
        for spelling in spellings
    }
    has_header = any(
        sum(normalised_header(cell) in known for cell in row) >= 2
        for row in cells[:MAX_HEADER_ROWS]
    )
    if not columns.order or has_header:
        return None
    onset, offset = columns.order.index("onset"), columns.order.index("offset")

    def is_expression(row: Sequence[object]) -> bool:
        """Returns whether a row has a subject, an onset and an offset."""
        try:
            parse_frame_number(cell_text(row[onset]))
            parse_frame_number(cell_text(row[offset]))
        except (ValueError, IndexError):
            return False
        return canonical_subject(cell_text(row[0])) is not None

    # A title has fewer cells than an expression and does not start with a subject.
    rows = [
        index
        for index, row in enumerate(cells)
        if sum(map(bool, map(cell_text, row))) >= 4
        or (row and canonical_subject(cell_text(row[0])) is not None)
    ][:_ROWS_TO_INSPECT]
    if rows and 2 * sum(is_expression(cells[index]) for index in rows) > len(rows):
        return rows[0]
    return None
