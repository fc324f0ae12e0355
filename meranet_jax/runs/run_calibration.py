"""The calibration of a run, from its test predictions: ``calibration.json``.

A run stores no predictions of its validation parts, and these would be worse: the
checkpoint was chosen on them. It is therefore calibrated on its test predictions,
pooled over folds and seeds. Under a subject-disjoint protocol each of these was made by
weights that were not trained on the person, as that of a new person is, which is what a
conformal set needs.

The results of the run stay as they are. They are computed from the predictions as the
recogniser made them, and a temperature does not change which class is the most
probable. Only the calibrated probabilities of the clips that it was calibrated on would
look better than those of new people. What is reported of them is therefore measured
with each person calibrated on all others.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from meranet_jax import files, version
from meranet_jax.errors import UserError
from meranet_jax.evaluation import calibration, metrics, predictions
from meranet_jax.evaluation.calibration import Calibration
from meranet_jax.evaluation.predictions import Predictions
from meranet_jax.runs.formatters import count
from meranet_jax.runs.reader import Run

# Probability that a set does not have the true class
DEFAULT_MISS = 0.1

_MADE_FROM = (
    "test predictions of all folds and seeds, pooled; a run stores no predictions of "
    "its validation parts"
)

# Where it holds
LIMITS = (
    "It holds for people and recordings like these, and does not carry over to other "
    "cameras or people."
)


def calibrate(run: Run, predicted: Predictions, miss: float = DEFAULT_MISS) -> dict:
    """Calibrates a finished run and writes ``calibration.json``.

    Args:
      run: the run.
      predicted: the predictions in its ``predictions.csv``.
      miss: probability that a set does not have the true class, between 0 and 1.

    Returns:
      The content of the file.

    Raises:
      UserError: if ``miss`` is not between 0 and 1.
      OSError: if the file cannot be written.
    """
    made = _make(
        run.layout.predictions,
        predicted,
        miss,
        _MADE_FROM,
        new_people=run.config.protocol != "holdout",
    )
    files.write_json(run.layout.calibration, made)
    return made


def calibrate_on(
    run: Run, dataset: str, miss: float = DEFAULT_MISS
) -> tuple[Path, dict]:
    """Calibrates a run on its predictions for another data set.

    Args:
      run: a run that was evaluated on the data set; see ``cross_dataset``.
      dataset: the value of ``--dataset``.
      miss: probability that a set does not have the true class, between 0 and 1.

    Returns:
      The file ``calibration.json`` in the folder of the evaluation, and its content.

    Raises:
      UserError: if ``miss`` is not between 0 and 1, or the data set does not have all
        classes of the run.
      OSError: if the file cannot be written.
    """
    paths = run.layout.cross(dataset)
    predicted = predictions.read(paths.predictions)
    if predicted.classes != tuple(run.classes):
        missing = [name for name in run.classes if name not in predicted.classes]
        raise UserError(
            f"--calibrate: {dataset} has no clip of {missing[0]}, so that sets of "
            "plausible classes cannot be calibrated on it."
        )
    made_from = f"predictions of all models for {dataset}"
    made = _make(paths.predictions, predicted, miss, made_from, new_people=True)
    files.write_json(paths.calibration, made)
    return paths.calibration, made


def calibrate_if_missing(run: Run, predicted: Predictions) -> None:
    """Calibrates a run that has just been finished, unless there is only one person.

    A calibration with these predictions is kept, whatever its ``miss``. Another one is
    made again, with the same ``miss``.

    Args:
      run: the run, whose ``predictions.csv`` is written.
      predicted: the predictions of all folds.

    Raises:
      OSError: if the file cannot be written.
    """
    if len(set(predicted.subjects.tolist())) < 2:
        return
    miss = DEFAULT_MISS
    try:
        saved, digest = _parse(run.layout.calibration, run.classes, _again(run))
        if digest == _digest(run.layout.predictions):
            return
        miss = saved.miss
    except (FileNotFoundError, UserError):
        pass
    calibrate(run, predicted, miss)


def read_calibration(run: Run) -> Calibration | None:
    """Reads the calibration of a run.

    Args:
      run: a run.

    Returns:
      The calibration; None if there is none.

    Raises:
      UserError: if the file is damaged, or was made from other predictions than those
        of the run.
    """
    file = run.layout.calibration
    try:
        found, digest = _parse(file, run.classes, _again(run))
    except FileNotFoundError:
        return None
    try:
        current = _digest(run.layout.predictions)
    except OSError as error:
        raise UserError(
            f"Cannot read {run.layout.predictions}, from which {file.name} was made: "
            f"{error.strerror}. Start the train.py command of the run again."
        ) from error
    if digest != current:
        raise UserError(
            f"{file} was made from other predictions than those that "
            f"{run.layout.predictions.name} has now. {_again(run)}"
        )
    return found


def read_of_weights(file: Path, classes: Collection[str]) -> Calibration | None:
    """Reads the calibration of a weights file.

    Args:
      file: a copy of ``calibration.json``.
      classes: of the weights.

    Returns:
      The calibration; None if there is no file.

    Raises:
      UserError: if it is damaged, or has other classes.
    """
    try:
        found, _ = _parse(file, classes, "Copy it again, or delete it.")
    except FileNotFoundError:
        return None
    return found


def describe(made: dict) -> str:
    """Formats a calibration for a terminal.

    Args:
      made: the result of ``calibrate``.
    """
    found = Calibration(**made["calibration"])
    wanted = 1 - found.miss
    lines = [
        f"Calibrated on {made['made_from'].partition(';')[0]}: "
        f"{count(found.clips, 'prediction')} of {_people(found.subjects)}.",
        f"temperature: {found.temperature:.3f}",
    ]
    names = {"nll": "negative log-likelihood", "ece": "expected calibration error"}
    for key, name in names.items():
        before, after = (made["reliability"][key][when] for when in ("before", "after"))
        text = "not measured" if after is None else f"{after:.3f}"
        lines.append(f"{name}: {before:.3f} before, {text} after")
    if found.coverage is None:
        lines.append(
            "sets: not measured, since this needs at least two people, of whom one is "
            "left out"
        )
    else:
        lines.append(
            f"sets: have the true class of {found.coverage:.3f} of the clips of a "
            f"person ({wanted:g} wanted), and {found.set_size:.2f} of "
            f"{len(found.classes)} classes on average"
        )
        lines.append(
            "The values after calibration, and those of the sets, are measured with "
            "each person calibrated on all others."
        )
    if found.subjects < (needed := made["people_needed"]):
        lines.append(
            f"note: a set has all classes, since there are too few people: a coverage "
            f"of {wanted:g} needs at least {needed}"
        )
    if not found.new_people:
        lines.append(
            "note: the recogniser may have been trained on the same people, since the "
            "split is not subject-disjoint. On new people it is less accurate, and the "
            "sets have their class less often. Calibrate a run with --protocol=loso, "
            "kfold or holdout_subject"
        )
    lines.append(LIMITS)
    return "\n".join(lines)


def _people(number: int) -> str:
    return "1 person" if number == 1 else f"{number} people"


def _make(
    file: Path,
    predicted: Predictions,
    miss: float,
    made_from: str,
    *,
    new_people: bool,
) -> dict:
    """Returns the content of ``calibration.json``.

    Args:
      file: the predictions.
      predicted: their content.
      miss: see ``calibrate``.
      made_from: what they are, for people.
      new_people: see ``Calibration``.
    """
    found = dataclasses.replace(
        calibration.calibrate(predicted, miss), new_people=new_people
    )
    by_others = calibration.calibrate_by_others(predicted)
    return {
        "version": version.__version__,
        "made_from": made_from,
        "predictions": {"file": file.name, "blake2b": _digest(file)},
        "calibration": dataclasses.asdict(found),
        "people_needed": calibration.people_needed(miss),
        # Before it, and with each person calibrated on all others
        "reliability": {
            name: {
                "before": measure(predicted.probabilities, predicted.truth),
                "after": None
                if by_others is None
                else measure(by_others, predicted.truth),
            }
            for name, measure in {"nll": calibration.log_loss, "ece": _ece}.items()
        },
        "limits": LIMITS,
    }


def _ece(probabilities: np.ndarray, truth: np.ndarray) -> float:
    return metrics.calibration(probabilities, truth)["ece"]


def _digest(predictions: Path) -> str:
    return hashlib.blake2b(predictions.read_bytes(), digest_size=16).hexdigest()


def _parse(file: Path, of_run: Collection[str], advice: str) -> tuple[Calibration, str]:
    """Reads a calibration, and the digest of the predictions that it was made from.

    Args:
      file: the calibration.
      of_run: names of the classes that it must have.
      advice: what to do if it is damaged.

    Raises:
      FileNotFoundError: if there is none.
      UserError: if it is damaged.
    """
    try:
        saved = json.loads(file.read_text())
        values = saved["calibration"]
        classes = tuple(values["classes"])
        found = Calibration(**(values | {"classes": classes}))
        digest = saved["predictions"]["blake2b"]
        if not isinstance(digest, str):
            raise ValueError(f"its digest of the predictions is {digest!r}")
        if classes != tuple(of_run):
            raise ValueError(f"its classes are {', '.join(map(str, classes))}")
        _check(found)
    except FileNotFoundError:
        raise
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{file} is damaged ({type(error).__name__}: {error}). {advice}"
        ) from error
    return found, digest


def _check(found: Calibration) -> None:
    """Raises ValueError unless the values of a calibration are possible."""
    classes = len(found.classes)
    possible: dict[str, bool] = {
        "temperature": _is_number(found.temperature) and found.temperature > 0,
        "miss": _is_number(found.miss) and 0 < found.miss < 1,
        "threshold": _is_number(found.threshold) and 0 <= found.threshold <= 1,
        "subjects": _is_count(found.subjects),
        "clips": _is_count(found.clips),
        "coverage": found.coverage is None
        or (_is_number(found.coverage) and 0 <= found.coverage <= 1),
        "set_size": found.set_size is None
        or (_is_number(found.set_size) and 0 <= found.set_size <= classes),
        "new_people": isinstance(found.new_people, bool),
    }
    for name, fits in possible.items():
        if not fits:
            raise ValueError(f"{name} is {getattr(found, name)!r}")


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _again(run: Run) -> str:
    return f"Make it again: python eval.py --run={run.path} --calibrate"
