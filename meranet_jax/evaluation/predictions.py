"""Predicted class probabilities of test clips, and their file, ``predictions.csv``.

All reported metrics are computed from this file.
"""

import csv
import dataclasses
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from meranet_jax.errors import UserError

_COLUMNS = ("clip", "dataset", "subject", "seed", "fold", "truth", "prediction")
# Prefix of the probability column of each class.
PROBABILITY = "p_"


@dataclasses.dataclass(frozen=True)
class Predictions:
    """N predictions of C classes, one for each test clip and seed.

    Attributes:
      classes: the C class names.
      clips: str [N], clip ids.
      datasets: str [N], the data set of each clip.
      subjects: str [N], the subject of each clip.
      seeds: int [N], the seed of each prediction.
      folds: str [N], the name of the fold in which the clip was tested.
      truth: int [N], the true classes as indices into ``classes``.
      probabilities: float32 [N, C], the predicted class probabilities.
    """

    classes: tuple[str, ...]
    clips: np.ndarray
    datasets: np.ndarray
    subjects: np.ndarray
    seeds: np.ndarray
    folds: np.ndarray
    truth: np.ndarray
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each prediction, int [N]."""
        return self.probabilities.argmax(-1)

    @property
    def correct(self) -> np.ndarray:
        """Whether each prediction equals the true class, bool [N]."""
        return self.predicted == self.truth

    def select(self, index: np.ndarray) -> "Predictions":
        """Returns a subset of the predictions.

        Args:
          index: a mask, bool [N], or indices, int [M].
        """
        arrays = vars(self).items()
        return Predictions(**{k: v if k == "classes" else v[index] for k, v in arrays})

    def with_classes(self, classes: tuple[str, ...]) -> "Predictions":
        """Returns the same predictions with the classes in another order.

        Args:
          classes: a permutation of ``self.classes``.
        """
        order = [self.classes.index(name) for name in classes]
        number = np.argsort(order)
        return dataclasses.replace(
            self,
            classes=classes,
            truth=number[self.truth],
            probabilities=self.probabilities[:, order],
        )


def concatenate(parts: Iterable[Predictions]) -> Predictions:
    """Concatenates predictions that have the same classes in the same order."""
    parts = list(parts)
    columns = {
        name: np.concatenate([vars(part)[name] for part in parts])
        for name in vars(parts[0])
        if name != "classes"
    }
    return Predictions(classes=parts[0].classes, **columns)


def write(predictions: Predictions, path: Path) -> None:
    """Writes predictions as CSV; ``read`` restores every bit of the probabilities."""
    classes = predictions.classes
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*_COLUMNS, *(PROBABILITY + name for name in classes)])
        for index, row in enumerate(predictions.probabilities):
            writer.writerow(
                [
                    predictions.clips[index],
                    predictions.datasets[index],
                    predictions.subjects[index],
                    predictions.seeds[index],
                    predictions.folds[index],
                    classes[predictions.truth[index]],
                    classes[row.argmax()],
                    *(repr(float(p)) for p in row),
                ]
            )


def read(path: Path) -> Predictions:
    """Reads a file that ``write`` wrote.

    Raises:
      UserError: if the file is missing, damaged, or was not written by ``write``.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            text = file.read()
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = tuple(reader.fieldnames or ())
        rows = list(reader)
        classes = tuple(
            name.removeprefix(PROBABILITY)
            for name in columns[len(_COLUMNS) :]
            if name.startswith(PROBABILITY)
        )
        if columns != (*_COLUMNS, *(PROBABILITY + name for name in classes)):
            raise ValueError(f"its columns are {', '.join(columns) or 'none'}")
        if not rows or not classes:
            raise ValueError("it has no predictions")
        if any(None in row or None in row.values() for row in rows):
            raise ValueError("a line has too few or too many values")
        if not text.endswith("\n"):
            raise ValueError("its last line is truncated")
        unknown = {row["truth"] for row in rows} - set(classes)
        if unknown:
            raise ValueError(f"{min(unknown)!r} is not one of {', '.join(classes)}")
        probabilities = np.array(
            [[float(row[PROBABILITY + name]) for name in classes] for row in rows]
        )
        # Rounding may put a mean slightly above 1. NaN fails both comparisons.
        if not ((probabilities >= 0) & (probabilities < 1.001)).all():
            raise ValueError("a probability is not between 0 and 1")
        clips, datasets, subjects = (
            np.array([row[name] for row in rows]) for name in _COLUMNS[:3]
        )
        predictions = Predictions(
            classes,
            clips,
            datasets,
            subjects,
            np.array([int(row["seed"]) for row in rows], np.int64),
            np.array([row["fold"] for row in rows]),
            np.array([classes.index(row["truth"]) for row in rows]),
            probabilities.astype(np.float32),
        )
        names = [row["prediction"] for row in rows]
        if names != [classes[index] for index in predictions.predicted]:
            raise ValueError("a prediction is not the most probable class")
    except (OSError, ValueError, OverflowError, csv.Error) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
    return predictions
