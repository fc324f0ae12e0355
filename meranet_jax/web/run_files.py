"""Reads files of a run folder for the page: regular ones of a limited size, no links.

Nothing here imports JAX, which the server does without.
"""

import contextlib
import dataclasses
import errno
import json
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from meranet_jax.errors import UserError

# Bytes that files may have. Those of a run of 1,000 folds or 50,000 predictions are
# smaller.
_JSON, _REPORT, _PICTURE, _PREDICTIONS = 8 << 20, 2 << 20, 16 << 20, 8 << 20

# Longest text that is shown of a value, in characters
_LONGEST = 2000

_PNG = b"\x89PNG\r\n\x1a\n"

# Figures of a run, as ``runs.layout.FIGURES`` names them, with their titles
FIGURES = {
    "confusion": "Confusion matrix",
    "spread": "Accuracy of seeds and folds",
    "subjects": "Accuracy by subject",
    "reliability": "Reliability diagram",
    "curves": "Learning curves",
}


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """Files of a run folder that the page shows; see ``runs.layout`` for all.

    All methods raise UserError, with a sentence that names the file and no folder, if
    a file is missing, a link, too large, or has other content.

    Attributes:
      folder: of the run.
    """

    folder: Path

    def config(self) -> dict[str, Any]:
        """Returns ``config.json``."""
        return self._json("config.json")

    def report(self) -> dict[str, Any]:
        """Returns ``report.json``."""
        return self._json("report.json")

    def split(self) -> dict[str, Any]:
        """Returns ``split.json``."""
        return self._json("split.json")

    def calibration(self) -> dict[str, Any]:
        """Returns ``calibration.json``."""
        return self._json("calibration.json")

    def report_text(self) -> str:
        """Returns ``report.md``."""
        return self._read("report.md", _REPORT).decode("utf-8", "replace")

    def picture(self, name: str) -> bytes:
        """Returns a PNG file.

        Args:
          name: one of ``FIGURES``.
        """
        content = self._read(f"{name}.png", _PICTURE)
        if not content.startswith(_PNG):
            raise UserError(f"{name}.png is not a PNG file.")
        return content

    def pictures(self) -> list[str]:
        """Returns the names of ``FIGURES`` whose files can be opened."""
        found = []
        for name in FIGURES:
            with contextlib.suppress(UserError), self._open(f"{name}.png", _PICTURE):
                found.append(name)
        return found

    def predictions(self) -> Path:
        """Returns the path of ``predictions.csv``, a file of a limited size."""
        name = "predictions.csv"
        with self._open(name, _PREDICTIONS):
            return self.folder / name

    def has(self, name: str) -> bool:
        """Returns whether the folder has a file of this name, readable or not."""
        return os.path.lexists(self.folder / name)

    def finished_folds(self) -> int:
        """Returns how many folds have predictions."""
        with contextlib.suppress(OSError):
            return sum(
                (path / "predictions.csv").is_file()
                for path in (self.folder / "folds").iterdir()
            )
        return 0

    def _json(self, name: str) -> dict[str, Any]:
        try:
            value = json.loads(self._read(name, _JSON))
        except (ValueError, RecursionError):
            raise UserError(f"{name} is damaged: it is not JSON.") from None
        if not isinstance(value, dict):
            raise UserError(f"{name} is damaged: it is not a JSON object.")
        return value

    def _read(self, name: str, limit: int) -> bytes:
        with self._open(name, limit) as file:
            try:
                content = file.read(limit + 1)
            except OSError as error:
                raise UserError(f"{name} cannot be read: {error.strerror}.") from None
        if len(content) > limit:  # it has grown
            raise _too_large(name, limit)
        return content

    @contextlib.contextmanager
    def _open(self, name: str, limit: int) -> Iterator[BinaryIO]:
        # A link may lead to any file, and a pipe would be waited for. Windows has
        # neither flag.
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
        flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            descriptor = os.open(self.folder / name, flags)
        except FileNotFoundError:
            raise UserError(f"There is no {name}.") from None
        except OSError as error:
            if error.errno in (errno.ELOOP, getattr(errno, "EMLINK", None)):
                raise UserError(f"{name} is a link, which is not followed.") from None
            raise UserError(f"{name} cannot be read: {error.strerror}.") from None
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise UserError(f"{name} is not a file.")
            if found.st_size > limit:
                raise _too_large(name, limit)
        except BaseException:
            os.close(descriptor)
            raise
        with open(descriptor, "rb") as file:
            yield file


def _too_large(name: str, limit: int) -> UserError:
    return UserError(
        f"{name} is larger than {limit >> 20} MiB, and is not shown. Open it itself."
    )


def text(value: Any) -> str:
    """Returns a value as text that any answer can have, of a limited length."""
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # File names and JSON may have halves of surrogate pairs, which are no text.
    shown = shown.encode("utf-8", "replace").decode()
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "…"


def number(value: Any) -> float | None:
    """Returns a finite number; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer of hundreds of digits
        return None


def count(value: Any) -> int | None:
    """Returns a count; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < 1 << 53 else None
