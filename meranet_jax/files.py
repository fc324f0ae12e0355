"""Atomic writing of small files, JSON, and checks of zip archives."""

import contextlib
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


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
