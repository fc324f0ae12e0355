"""The CSV file with the predictions of another program, as it is written."""

import collections
import contextlib
import csv
import dataclasses
import io
from pathlib import Path
from typing import NoReturn

from meranet_jax import files
from meranet_jax.errors import UserError
from meranet_jax.evaluation.predictions import PROBABILITY

# Columns with a meaning, in addition to the probabilities.
COLUMNS = ("clip", "dataset", "subject", "seed", "fold", "truth", "prediction")

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}

_FORM = (
    "Expected a CSV file with the columns clip and prediction: a header, and a line "
    "for each clip; see docs/protocols.md."
)

# Seeds are below this, as those of a run.
_MAX_SEED = 2**32


@dataclasses.dataclass(frozen=True)
class PredictionFile:
    """The content of a CSV file with a column ``clip``.

    Attributes:
      path: of the file.
      columns: the names in its header.
      rows: the values of each line by column.
      lines: the number of each line in the file.
      seeds: the seed of each line.
    """

    path: Path
    columns: tuple[str, ...]
    rows: list[dict[str, str]]
    lines: list[int]
    seeds: list[int]

    def fail(self, row: int, problem: str) -> NoReturn:
        """Raises UserError for a row."""
        raise UserError(f"{self.path}, line {self.lines[row]}: {problem}")


def read(path: Path) -> PredictionFile:
    """Reads a CSV file with predictions, separated by commas, semicolons or tabs.

    Raises:
      UserError: if it is no such file, or a line is incomplete or has no valid seed.
      OSError: if it cannot be opened.
    """
    text = files.read_table(path, _FORM)
    try:
        header, delimiter = _find_header(text, path)
        reader = _reader(text, delimiter)
        numbered = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise UserError(f"{path} cannot be read as CSV: {error}. {_FORM}") from error
    used = [name for name in header if name in COLUMNS or name.startswith(PROBABILITY)]
    if repeated := [name for name, n in collections.Counter(used).items() if n > 1]:
        raise UserError(f"{path} has several columns named {repeated[0]}. Keep one.")
    rows, lines = [], []
    for line, row in numbered[1:]:
        if len(row) != len(header):
            raise UserError(
                f"{path}, line {line}: expected {len(header)} values separated by "
                f"{_DELIMITERS[delimiter]}, one for each column of the header, found "
                f"{len(row)}. Complete the line, or put values that "
                "contain a separator into quotation marks."
            )
        rows.append(dict(zip(header, row, strict=True)))
        lines.append(line)
    if not rows:
        raise UserError(f"{path} has a header but no predictions. {_FORM}")
    seeds = []
    for line, row in zip(lines, rows, strict=True):
        seed = row.get("seed", "0")
        # int accepts more, such as 1_0, and refuses thousands of digits.
        digits = seed.isascii() and seed.isdigit() and len(seed) < 20
        if not (digits and int(seed) < _MAX_SEED):
            raise UserError(
                f"{path}, line {line}: the seed {seed[:20]!r} is not an integer "
                f"from 0 to {_MAX_SEED - 1}. Give the seed of each prediction, or "
                "leave out the column if there is one seed only."
            )
        seeds.append(int(seed))
    return PredictionFile(path, header, rows, lines, seeds)


def _reader(text: str, delimiter: str):
    return csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter,
        skipinitialspace=True,
        strict=True,
    )


def _find_header(text: str, path: Path) -> tuple[tuple[str, ...], str]:
    """Returns the column names and the delimiter with which one of them is ``clip``."""
    found: dict[tuple[str, ...], str] = {}
    for delimiter in _DELIMITERS:
        # Quotation marks of another delimiter can be misplaced for this one.
        with contextlib.suppress(csv.Error):
            header = tuple(next((row for row in _reader(text, delimiter) if row), ()))
            if "clip" in header:
                found.setdefault(header, delimiter)
    if not found:
        first = text.strip().splitlines()[0]
        raise UserError(
            f"{path} has no column clip; its first line is {first[:200]!r}. {_FORM}"
        )
    if len(found) > 1:
        raise UserError(
            f"{path}: its header can be read with "
            f"{' or '.join(_DELIMITERS[d] for d in found.values())} as separators. "
            "Use commas, and none in the names of columns."
        )
    return next(iter(found.items()))
