"""Atomic writing of small files, JSON, text of tables, checks of zip archives."""

import contextlib
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from meranet_jax.errors import DataError

# First bytes of files that spreadsheet programs write, or others that are no text
_OTHER_FORMATS = {
    b"PK": "an Excel workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"\x1f\x8b": "compressed",
}
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Replaces a file atomically.

    The body of the ``with`` statement writes to the temporary path that it receives,
    in the folder of ``path``. If the body raises, ``path`` stays as it was.

    Args:
      path: the file to replace or create.

    Yields:
      The temporary path, which is renamed to ``path`` at the end.
    """
    part = temporary_path(path)
    try:
        yield part
        # Without this, the file may be empty after a power failure.
        _fsync(part)
        os.replace(part, path)
        # Not every file system can synchronise a folder.
        with contextlib.suppress(OSError):
            _fsync(path.parent)
    except OSError as error:
        # For messages: a full disk names no file, and a temporary name says nothing.
        if error.filename in (None, str(part)):
            error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def temporary_path(path: Path) -> Path:
    """Returns the path that ``atomic_write`` writes to before it renames it."""
    return path.with_name(f".{path.name}.part")


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Writes a value to a JSON file atomically."""
    with atomic_write(path) as part:
        part.write_text(json.dumps(value, indent=2) + "\n")


def check_archive(archive: zipfile.ZipFile, size: int) -> list[zipfile.ZipInfo]:
    """Checks the members of a zip archive before any of them is read.

    Args:
      archive: opened for reading.
      size: of its file in bytes.

    Returns:
      The members.

    Raises:
      ValueError: if two members have the same name, one is compressed, or they are
        larger than the file.
    """
    members = archive.infolist()
    if len({member.filename for member in members}) < len(members):
        raise ValueError("its archive has two members of the same name")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("its archive is compressed")
    if sum(member.file_size for member in members) > size:
        raise ValueError("its archive has members that are larger than the file")
    return members


def json_round_trip(value: Any) -> Any:
    """Returns a value as it is read back from a JSON file.

    Tuples become lists, and the keys of dictionaries become strings.
    """
    return json.loads(json.dumps(value))


def read_table(path: Path, expected: str) -> str:
    """Reads the text of a CSV file, in UTF-8 or with a mark of UTF-16.

    Args:
      path: of the file.
      expected: what the file should be, a sentence for messages.

    Raises:
      DataError: if it is no text, or empty.
      OSError: if it cannot be read.
    """
    content = path.read_bytes()
    for start, what in _OTHER_FORMATS.items():
        if content.startswith(start):
            raise DataError(
                f"{path} is {what}. Save it as a CSV file in UTF-8. {expected}"
            )
    # Spreadsheet programs write a mark at the beginning of UTF-8, too.
    encoding = "utf-16" if content.startswith(_UTF_16) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line}: it is not text in UTF-8 or UTF-16. Save the file as "
            "a CSV file in UTF-8."
        ) from error
    if not text.strip():
        raise DataError(f"{path} is empty. {expected}")
    if "\0" in text:
        raise DataError(f"{path} is not a text file. {expected}")
    return text
