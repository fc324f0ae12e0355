"""Predictions of another program: reading of their CSV file, and checks of its content.

Labels, subjects and data sets are never taken from the file.
"""

import collections
import contextlib
import csv
import dataclasses
import difflib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np

from meranet_jax.errors import UserError
from meranet_jax.evaluation.predictions import PROBABILITY, Predictions

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}

# First bytes of files that spreadsheet programs write in place of a CSV file in UTF-8.
_OTHER_FORMATS = {
    b"PK": "an Excel workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
}

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


@dataclasses.dataclass(frozen=True)
class Reference:
    """Classes, labels and subjects of N clips, with which predictions are compared.

    Attributes:
      source: where they are from, for messages.
      classes: the C class names.
      clips: str [N], clip ids.
      datasets: str [N], the data set of each clip.
      subjects: str [N], the subject of each clip.
      truth: int [N], the true classes as indices into ``classes``.
      left_out: the reason for each other clip of the data sets, by its id.
      unrecorded: number of clips of the data sets that have no record.
    """

    source: str
    classes: tuple[str, ...]
    clips: Sequence[str]
    datasets: Sequence[str]
    subjects: Sequence[str]
    truth: Sequence[int]
    left_out: Mapping[str, str]
    unrecorded: int = 0


@dataclasses.dataclass(frozen=True)
class Matched:
    """Predictions of another program with the labels of the reference.

    Attributes:
      predictions: in the order of the file. Without probabilities in the file, the
        predicted class has probability 1; without folds, their names are empty.
      has_probabilities: whether the file has probabilities.
      has_folds: whether the file has folds.
      notes: what in the file was not used.
    """

    predictions: Predictions
    has_probabilities: bool
    has_folds: bool
    notes: tuple[str, ...]


def read(path: Path) -> PredictionFile:
    """Reads a CSV file with predictions, separated by commas, semicolons or tabs.

    Raises:
      UserError: if it is no such file, or a line is incomplete or has no valid seed.
      OSError: if it cannot be opened.
    """
    text = _decode(path)
    try:
        header, delimiter = _find_header(text, path)
        reader = _reader(text, delimiter)
        numbered = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise UserError(f"{path} cannot be read as CSV: {error}. {_FORM}") from error
    used = [name for name in header if name in _USED or name.startswith(PROBABILITY)]
    if repeated := [name for name, n in collections.Counter(used).items() if n > 1]:
        raise UserError(f"{path} has several columns named {repeated[0]}. Keep one.")
    rows, lines = [], []
    for line, row in numbered[1:]:
        if len(row) != len(header):
            raise UserError(
                f"{path}, line {line}: it has {_count(len(row), 'value')}, the header "
                f"{_count(len(header), 'column')}, separated by "
                f"{_DELIMITERS[delimiter]}. Complete the line, or put values that "
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


# Columns with a meaning, in addition to the probabilities.
_USED = ("clip", "dataset", "subject", "seed", "fold", "truth", "prediction")


def _decode(path: Path) -> str:
    content = path.read_bytes()
    for start, what in _OTHER_FORMATS.items():
        if content.startswith(start):
            raise UserError(
                f"{path} is {what}. Save it as a CSV file in UTF-8. {_FORM}"
            )
    try:
        text = content.decode("utf-8-sig")  # Excel writes a byte order mark
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(
            f"{path}, line {line}: it is not text in UTF-8. Save the file as a CSV "
            "file in UTF-8."
        ) from error
    if not text.strip():
        raise UserError(f"{path} is empty. {_FORM}")
    if "\0" in text:
        raise UserError(f"{path} is not a text file. {_FORM}")
    return text


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


def match(
    file: PredictionFile,
    reference: Reference,
    tested: Mapping[int, Mapping[str, str]] | None = None,
) -> Matched:
    """Gives the predictions of a file the labels of their clips.

    Args:
      file: the predictions.
      reference: the labels. Predictions of clips that it leaves out are not used.
      tested: for each seed the clips that must be predicted, with the names of their
        folds; None for all clips of the reference.

    Returns:
      One prediction for each of these clips and each seed in the file.

    Raises:
      UserError: if a clip is missing, unknown or predicted twice, the file contradicts
        the reference, or a prediction is not one of the classes.
    """
    probabilities = _probability_columns(file, reference)
    used = {*_USED, *probabilities}
    notes = []
    if ignored := [name or "(unnamed)" for name in file.columns if name not in used]:
        notes.append(f"columns that are not used: {', '.join(ignored)}")
    rows = _rows_of_clips(file, reference, notes)
    _check_complete(file, rows, reference, tested)
    index_of = {clip: index for index, clip in enumerate(reference.clips)}
    index = [index_of[file.rows[row]["clip"]] for row in rows]
    _check_agreement(file, rows, reference, index)
    has_folds = "fold" in file.columns
    folds = [file.rows[row].get("fold", "") for row in rows]
    if tested is not None:
        of_split = [tested[file.seeds[r]][file.rows[r]["clip"]] for r in rows]
        if has_folds:
            _check_folds(file, rows, folds, of_split)
        folds, has_folds = of_split, True
    elif has_folds and not all(folds):
        file.fail(
            rows[folds.index("")], "the fold is empty. Fill in or leave out the column."
        )
    matched = Predictions(
        classes=reference.classes,
        clips=np.array(reference.clips)[index],
        datasets=np.array(reference.datasets)[index],
        subjects=np.array(reference.subjects)[index],
        seeds=np.array([file.seeds[row] for row in rows], np.int64),
        folds=np.array(folds),
        truth=np.array(reference.truth, int)[index],
        probabilities=_probabilities(file, rows, reference.classes, probabilities),
    )
    return Matched(matched, bool(probabilities), has_folds, tuple(notes))


def _probability_columns(file: PredictionFile, reference: Reference) -> list[str]:
    """Returns the columns of the probabilities of all classes; none if there are none.

    Raises:
      UserError: if only some classes have a column, or nothing is predicted.
    """
    classes = ", ".join(reference.classes)
    columns = [PROBABILITY + name for name in reference.classes]
    missing = [column for column in columns if column not in file.columns]
    if len(missing) == len(columns):
        columns = []
    elif missing:
        raise UserError(
            f"{file.path} has no column {missing[0]}, but probabilities of other "
            f"classes. The classes are {classes} (--classes). Give the probabilities "
            "of all of them, or of none."
        )
    if not columns and "prediction" not in file.columns:
        raise UserError(
            f"{file.path} has no column prediction; its columns are "
            f"{', '.join(name or '(unnamed)' for name in file.columns)}. Add one with "
            f"the predicted class of each clip: {classes}."
        )
    return columns


def _rows_of_clips(
    file: PredictionFile, reference: Reference, notes: list[str]
) -> list[int]:
    """Returns the rows of clips of the reference; adds a note on the others.

    Raises:
      UserError: if a clip does not exist, or is predicted twice for a seed.
    """
    known = set(reference.clips)
    first: dict[tuple[int, str], int] = {}
    unknown: dict[str, int] = {}
    rows: list[int] = []
    ignored: collections.Counter[str] = collections.Counter()
    for row, values in enumerate(file.rows):
        clip = values["clip"]
        other = first.setdefault((file.seeds[row], clip), row)
        if other != row:
            file.fail(
                row,
                f"the clip {clip} of seed {file.seeds[row]} is in line "
                f"{file.lines[other]}, too. Give one prediction for each clip and "
                "seed; several models can have a seed each.",
            )
        if clip in known:
            rows.append(row)
        elif clip in reference.left_out:
            ignored[reference.left_out[clip]] += 1
        else:
            unknown.setdefault(clip, row)
    if unknown:
        clip, row = next(iter(unknown.items()))
        valid = [*reference.clips, *reference.left_out]
        near = difflib.get_close_matches(clip, valid, n=1) or valid[:1]
        unrecorded = ""
        if reference.unrecorded:
            unrecorded = (
                f" {_count(reference.unrecorded, 'clip')} of the copy cannot be "
                "scored, since there is no record of them; python -m datasets.prepare "
                "lists them."
            )
        file.fail(
            row,
            f"there is no clip {clip!r} in {reference.source} "
            f"({_count(len(unknown), 'unknown clip')} in the file). Its ids are such "
            f"as {near[0]!r}. Check the data set and the ids.{unrecorded}",
        )
    for reason, count in ignored.items():
        notes.append(
            f"{_count(count, 'prediction')} not scored, since the clip is left out: "
            f"{reason}"
        )
    return rows


def _check_complete(
    file: PredictionFile,
    rows: Sequence[int],
    reference: Reference,
    tested: Mapping[int, Mapping[str, str]] | None,
) -> None:
    """Raises UserError unless exactly the tested clips are predicted for each seed."""
    found: dict[int, set[str]] = {seed: set() for seed in file.seeds}
    for row in rows:
        found[file.seeds[row]].add(file.rows[row]["clip"])
    for seed, clips in found.items():
        if tested is None:
            expected, what = set(reference.clips), reference.source
            remedy = (
                "Predict all of them. If they are the test clips of a split only, name "
                "it: --split=RUN/split.json."
            )
        else:
            expected, what = set(tested[seed]), "the test parts of the split"
            remedy = "Predict exactly these clips."
        if missing := sorted(expected - clips):
            raise UserError(
                f"{file.path}: {len(missing)} of {_count(len(expected), 'clip')} of "
                f"{what} {'has' if len(missing) == 1 else 'have'} no prediction for "
                f"seed {seed}: {_some(missing)}. {remedy}"
            )
        if others := sorted(clips - expected):
            raise UserError(
                f"{file.path}: {_count(len(others), 'clip')} with a prediction for "
                f"seed {seed} {'is' if len(others) == 1 else 'are'} not in {what}: "
                f"{_some(others)}. {remedy}"
            )


def _check_agreement(
    file: PredictionFile,
    rows: Sequence[int],
    reference: Reference,
    index: Sequence[int],
) -> None:
    """Raises UserError if the file contradicts labels, subjects or data sets."""
    truth = [reference.classes[label] for label in reference.truth]
    columns = {
        "truth": truth,
        "subject": reference.subjects,
        "dataset": reference.datasets,
    }
    for name, values in columns.items():
        if name not in file.columns:
            continue
        for row, clip in zip(rows, index, strict=True):
            if (given := file.rows[row][name]) != values[clip]:
                file.fail(
                    row,
                    f"the {name} of {reference.clips[clip]} is {given!r} in the file "
                    f"and {values[clip]!r} in {reference.source}. Check the data "
                    "set, --classes and --label; if the column has another meaning, "
                    "leave it out, since it is not needed.",
                )


def _check_folds(
    file: PredictionFile,
    rows: Sequence[int],
    folds: Sequence[str],
    of_split: Sequence[str],
) -> None:
    """Raises UserError unless the folds of the file are those of the split.

    Their names may differ.
    """
    names: tuple[dict, dict] = ({}, {})
    for row, given, expected in zip(rows, folds, of_split, strict=True):
        seed = file.seeds[row]
        one = names[0].setdefault((seed, given), expected)
        other = names[1].setdefault((seed, expected), given)
        if (one, other) != (expected, given):
            file.fail(
                row,
                f"the fold {given!r} of {file.rows[row]['clip']} is not that of the "
                f"split, {expected!r}: other clips of one of them are in another fold. "
                "Correct or leave out the column.",
            )


def _probabilities(
    file: PredictionFile,
    rows: Sequence[int],
    classes: tuple[str, ...],
    columns: Sequence[str],
) -> np.ndarray:
    """Returns the probabilities, float32 [N, C], with the predicted class as maximum.

    Raises:
      UserError: if a prediction is not a class or not the most probable one, or a value
        is not a probability.
    """
    result = np.zeros((len(rows), len(classes)), np.float32)
    for place, row in enumerate(rows):
        chosen = None
        if "prediction" in file.columns:
            chosen = _class_index(file, row, classes)
        if not columns:
            result[place, chosen] = 1
            continue
        exact = np.array([_probability(file, row, column) for column in columns])
        # Each may be rounded to two decimals.
        if abs(exact.sum() - 1) > 0.005 * len(classes) + 1e-6:
            file.fail(
                row,
                f"the probabilities of {', '.join(classes)} have the sum "
                f"{exact.sum():.3f}, not 1. Give probabilities of exactly these "
                "classes, or leave out these columns and give the prediction only.",
            )
        best = np.flatnonzero(exact == exact.max())
        if chosen is None and len(best) > 1:
            file.fail(
                row,
                f"{' and '.join(classes[i] for i in best)} are equally probable. Add a "
                "column prediction that names the predicted class.",
            )
        if chosen is None:
            chosen = best[0]
        if chosen not in best:
            file.fail(
                row,
                f"the prediction is {classes[chosen]}, but {classes[best[0]]} is more "
                f"probable ({exact[best[0]]:g}, not {exact[chosen]:g}). Correct the "
                "one or the other, or leave out the probabilities.",
            )
        result[place] = exact
        # Classes can be equally probable, also after rounding to float32. The maximum
        # is kept, since the calibration error is computed from it.
        others = (result[place] >= result[place, chosen]) & (
            np.arange(len(classes)) != chosen
        )
        result[place, others] = np.nextafter(result[place, chosen], np.float32(0))
    return result


def _class_index(file: PredictionFile, row: int, classes: tuple[str, ...]) -> int:
    name = file.rows[row]["prediction"]
    if name in classes:
        return classes.index(name)
    near = difflib.get_close_matches(name.strip().lower(), classes, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    file.fail(
        row,
        f"the prediction {name!r} is not one of the classes {', '.join(classes)}."
        f"{hint} Write the names of these classes, or choose others with --classes.",
    )


def _probability(file: PredictionFile, row: int, column: str) -> float:
    text = file.rows[row][column]
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    # Rounding may put a mean slightly above 1. NaN fails both comparisons.
    if not 0 <= value < 1.001:
        file.fail(
            row,
            f"{column} is {text!r}, not a probability from 0 to 1 (with a decimal "
            "point). Give probabilities, not logits, or leave out these columns.",
        )
    return value


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
