"""Atomic writing of small files, and JSON."""

import contextlib
import json
import os
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
        if error.filename == str(part):  # for messages: the temporary name says nothing
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


def json_round_trip(value: Any) -> Any:
    """Returns a value as it is read back from a JSON file.

    Tuples become lists, and the keys of dictionaries become strings.
    """
    return json.loads(json.dumps(value))
