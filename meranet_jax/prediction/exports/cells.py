"""Cells of tables: numbers with fixed decimal places, and text that is no formula.

Numbers have a fixed number of decimal places: times 4 (0.1 ms), lengths on the face 5
(in distances between the eyes), probabilities and confidences 4, pixels 1. A value that
is missing is an empty cell. CSV files are UTF-8 and follow RFC 4180; several names in a
cell are separated by semicolons.

A spreadsheet program would compute a cell that begins with ``=``, ``+``, ``-`` or
``@``, and a label of the user's or the name of a class may do so. Such text has an
apostrophe in front of it, which spreadsheet programs take as a mark of text. Text that
begins with an apostrophe gets a second one, so that ``events_file`` restores both.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from meranet_jax import files

# Decimal places of times in seconds, of lengths in distances between the eyes, of
# probabilities and of pixels
TIME, LENGTH, PROBABILITY, PIXEL = 4, 5, 4, 1

# First characters of text that a spreadsheet program may take as a formula, and the
# mark that protects it
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_TEXT_MARK = "'"


def protected(text: str) -> str:
    """Returns text that a spreadsheet program does not take as a formula."""
    return _TEXT_MARK + text if text.startswith((*_FORMULA, _TEXT_MARK)) else text


def unprotected(text: str) -> str:
    """Returns the text of which ``protected`` made this."""
    rest = text.removeprefix(_TEXT_MARK)
    return rest if rest.startswith((*_FORMULA, _TEXT_MARK)) else text


def joined(names: Iterable[str]) -> str:
    """Returns several names in one cell."""
    return protected("; ".join(names))


def text(value: float | None, digits: int) -> str:
    """Formats a number; an empty text for None and NaN."""
    shown = rounded(value, digits)
    return "" if shown is None else f"{shown:.{digits}f}"


def rounded(value: float | None, digits: int) -> float | None:
    """Rounds a number; None for what JSON cannot express. There is no -0.0."""
    if value is None or not np.isfinite(value):
        return None
    return round(float(value), digits) + 0.0


def one_line(text: str) -> str:
    """Replaces tabs and line breaks by spaces."""
    return " ".join(text.split())


def write_csv(path: Path, rows: Iterable[Sequence[str]]) -> None:
    """Writes rows, the header first, atomically; raises OSError if it cannot."""
    with (
        files.atomic_write(path) as part,
        part.open("w", encoding="utf-8", newline="") as file,
    ):
        csv.writer(file).writerows(rows)
