"""Small files, written whole."""

import contextlib
import json
import os
from pathlib import Path


@contextlib.contextmanager
def whole(path: Path):
    """A path to write to that becomes ``path`` when all is written, or nothing."""
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        _to_disk(part)  # else a file of this name may be empty after a loss of power
        os.replace(part, path)
        with contextlib.suppress(OSError):  # which not every file system can
            _to_disk(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value) -> None:
    """Write it whole."""
    with whole(path) as part:
        part.write_text(json.dumps(value, indent=2) + "\n")


def through_json(value):
    """The value as it comes back from a file."""
    return json.loads(json.dumps(value))
