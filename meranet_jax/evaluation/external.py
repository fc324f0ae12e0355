"""Predictions of another program: checks of their content, and their labels.

Labels, subjects and data sets are never taken from the file.
"""

import collections
import dataclasses
import difflib
from collections.abc import Mapping, Sequence

import numpy as np

from meranet_jax.errors import UserError
from meranet_jax.evaluation.prediction_file import COLUMNS, PredictionFile
from meranet_jax.evaluation.predictions import PROBABILITY, Predictions


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
    used = {*COLUMNS, *probabilities}
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
