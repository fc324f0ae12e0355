"""Reading of the events that a user has found (``--events=FILE``).

A table has the columns ``onset`` and ``offset`` and may have ``apex``, all in seconds
after the first frame; or ``onset_frame``, ``offset_frame`` and ``apex_frame``, numbers
of frames. If it has both, they must be of the same frames. ``face`` and ``label`` are
optional, and other columns are not read, so that ``events.csv`` of a prediction can be
edited and given again. Projects of BORIS, the tables that it exports and files of ELAN
are read, too.
"""

import collections
import contextlib
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from meranet_jax import files
from meranet_jax.errors import DataError
from meranet_jax.prediction import boris_events, elan_events, imported
from meranet_jax.prediction.exports import cells
from meranet_jax.prediction.imported import ImportedEvent, Unit

__all__ = ["ImportedEvent", "read"]

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}

_TIMES = ("onset", "offset", "apex")
_COLUMNS = (*_TIMES, *(f"{name}_frame" for name in _TIMES), "face", "label")

# Columns by which the table of a prediction is recognised
_OWN = {"number", "origin", "onset", "onset_frame"}

_FORM = (
    "Expected a CSV file in UTF-8 with the columns onset and offset in seconds, or "
    "onset_frame and offset_frame, a project of BORIS (.boris) or a file of ELAN "
    "(.eaf); see docs/video.md."
)

# Rows in which the header of a table of BORIS is looked for
_LATEST_HEADER = 40


def read(path: Path, recording: Path) -> list[ImportedEvent]:
    """Reads events from a file.

    Args:
      path: a table, a project of BORIS (``.boris``) or a file of ELAN (``.eaf``).
      recording: the video or folder of frames. Of the observations of a project, the
        one whose media have its name is read.

    Returns:
      At least one event. Those of a table are in its order, others by onset.

    Raises:
      DataError: if the file cannot be used; the message names the place and says what
        to do.
      OSError: if the file cannot be opened.
    """
    if not path.exists():
        raise DataError(f"There is no file {path}. {_FORM}")
    if path.is_dir():
        raise DataError(f"{path} is a folder. {_FORM}")
    size = path.stat().st_size
    if size > imported.LARGEST_FILE:
        raise DataError(
            f"{path.name} has {size:,} bytes, more than a list of events. {_FORM}"
        )
    if not size:
        raise DataError(f"{path.name} is empty. {_FORM}")
    suffix = path.suffix.lower()
    if suffix == ".boris":
        events = boris_events.read_project(path, recording)
    elif suffix == ".eaf":
        events = elan_events.read(path, recording)
    else:
        events = _read_table(path, recording)
    if not events:
        raise DataError(f"{path.name} has no events. {_FORM}")
    return events


def _read_table(path: Path, recording: Path) -> list[ImportedEvent]:
    text = files.read_table(path, _FORM)
    try:
        header, delimiter, first = _find_header(text, path)
        reader = _reader(text, delimiter)
        numbered = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise DataError(
            f"{path.name} cannot be read as CSV: {error}. {_FORM}"
        ) from error
    rows = list(_named(numbered[first + 1 :], header, delimiter, path))
    if not rows:
        raise DataError(f"{path.name} has a header but no events. {_FORM}")
    if boris_events.is_table(header):
        return boris_events.read_table(rows, recording, path)
    return _events(rows, path)


def _events(
    rows: Sequence[tuple[int, Mapping[str, str]]], path: Path
) -> list[ImportedEvent]:
    """Returns the events of a table with columns of this project."""
    columns = set(rows[0][1])
    unit, suffix = _unit(columns, path)
    own = columns >= _OWN
    events = []
    for line, row in rows:
        where = f"{path.name}, line {line}"
        values = {
            name: imported.number(row[name + suffix], name + suffix, where, unit)
            for name in ("onset", "offset")
        }
        apex = row.get("apex" + suffix, "")
        label = row.get("label", "")
        frames = {
            name: int(imported.number(text, f"{name}_frame", where, "frames"))
            for name in _TIMES
            if unit == "seconds" and (text := row.get(f"{name}_frame", ""))
        }
        event = ImportedEvent(
            values["onset"],
            values["offset"],
            imported.number(apex, "apex" + suffix, where, unit) if apex else None,
            unit,
            _face(row.get("face", ""), where),
            cells.unprotected(label) if own else label,
            frames,
        )
        events.append(imported.checked(event, where))
    return events


def _unit(columns: set[str], path: Path) -> tuple[Unit, str]:
    """Returns the unit of the times of a table, and how the columns end."""
    units: dict[Unit, str] = {"seconds": "", "frames": "_frame"}
    for unit, suffix in units.items():
        if {"onset" + suffix, "offset" + suffix} <= columns:
            other = "apex" if unit == "frames" else "apex_frame"
            if other in columns and "apex" + suffix not in columns:
                raise DataError(
                    f"{path.name} has a column {other}, but its onsets are in {unit}. "
                    f"Call the column of the apex apex{suffix}, in {unit}."
                )
            return unit, suffix
    used = sorted(columns & set(_COLUMNS))
    missing = "offset" if "onset" in columns else "onset"
    raise DataError(
        f"{path.name} has no column {missing}, or its times are in different units; of "
        f"the columns that are read it has {', '.join(used) or 'none'}. {_FORM}"
    )


def _face(text: str, where: str) -> int | None:
    """Reads the number of a face; None if there is none."""
    if not text:
        return None
    digits = text.lower().removeprefix("face").strip()
    if digits == "0":  # as files of predictions have it where no face was seen
        return None
    if not (digits.isascii() and digits.isdigit() and 0 < int(digits[:9]) < 10**6):
        raise DataError(
            f"{where}: the face is {text[:40]!r}. Expected the number of a face, from "
            "1, or nothing."
        )
    return int(digits)


def _named(
    numbered: Sequence[tuple[int, Sequence[str]]],
    header: Sequence[str],
    delimiter: str,
    path: Path,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields rows that are not blank, with the number of their line."""
    for line, row in numbered:
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) != len(header):
            advice = "Complete the line."
            if len(cells) > len(header):
                advice = (
                    f"Put a value that contains {_DELIMITERS[delimiter]} into "
                    "quotation marks; use a point as the decimal separator."
                )
            raise DataError(
                f"{path.name}, line {line}: expected {len(header)} values separated by "
                f"{_DELIMITERS[delimiter]}, one for each column of the header, found "
                f"{len(cells)}. {advice}"
            )
        yield line, dict(zip(header, cells, strict=True))


def _find_header(text: str, path: Path) -> tuple[list[str], str, int]:
    """Returns the names of the columns, what separates them, and the header's row.

    Rows above the header are those of older versions of BORIS.
    """
    best: tuple[int, list[str], str, int] | None = None
    for delimiter in _DELIMITERS:
        # Quotation marks of another delimiter can be misplaced for this one.
        with contextlib.suppress(csv.Error):
            for index, row in enumerate(_reader(text, delimiter)):
                names = [cell.strip() for cell in row]
                lower = [name.lower() for name in names]
                known = sum(name in _COLUMNS for name in lower)
                if boris_events.is_table(names):
                    found = (len(names), names, delimiter, index)
                elif known and not any(map(_is_number, names)):
                    found = (known, lower, delimiter, index)
                else:
                    found = None
                if found and (best is None or found[0] > best[0]):
                    best = found
                if found or index >= _LATEST_HEADER:
                    break
    if best is None:
        first = text.strip().splitlines()[0]
        raise DataError(
            f"{path.name} has no column onset; its first line is {first[:200]!r}. "
            f"{_FORM}"
        )
    _, header, delimiter, index = best
    for name, count in collections.Counter(header).items():
        if count > 1 and (name in _COLUMNS or boris_events.is_table(header) and name):
            raise DataError(f"{path.name} has {count} columns named {name}. Keep one.")
    return header, delimiter, index


def _is_number(text: str) -> bool:
    with contextlib.suppress(ValueError):
        float(text)
        return True
    return False


def _reader(text: str, delimiter: str):
    return csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        skipinitialspace=True,
        strict=True,
    )
