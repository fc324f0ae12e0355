"""What was predicted of each test clip, and the file that keeps it.

``predictions.csv`` is what every reported number is computed from.
"""

import csv
import dataclasses
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from meranet_jax.errors import UserError

_COLUMNS = ("clip", "dataset", "subject", "seed", "fold", "truth", "prediction")
_PROBABILITY = "p_"


@dataclasses.dataclass(frozen=True)
class Predictions:
    """N predictions; a clip has one for each seed whose test parts it stands in.

    Attributes:
      classes: C names.
      clips: N clip ids.
      datasets: N names, the data set of each clip.
      subjects: N names.
      seeds: int [N].
      folds: N names.
      truth: int [N], indices into ``classes``.
      probabilities: float32 [N, C].
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
        """int [N], the likeliest class."""
        return self.probabilities.argmax(-1)

    @property
    def right(self) -> np.ndarray:
        """bool [N]."""
        return self.predicted == self.truth

    def where(self, chosen: np.ndarray) -> "Predictions":
        """Those that ``chosen``, a mask or indices, names."""
        arrays = vars(self).items()
        return Predictions(**{k: v if k == "classes" else v[chosen] for k, v in arrays})

    def with_classes(self, classes: tuple[str, ...]) -> "Predictions":
        """The same with the same classes in another order."""
        order = [self.classes.index(name) for name in classes]
        number = np.argsort(order)
        return dataclasses.replace(
            self,
            classes=classes,
            truth=number[self.truth],
            probabilities=self.probabilities[:, order],
        )


def concatenate(parts: Iterable[Predictions]) -> Predictions:
    """All of some, which have the same classes."""
    parts = list(parts)
    columns = {
        name: np.concatenate([vars(part)[name] for part in parts])
        for name in vars(parts[0])
        if name != "classes"
    }
    return Predictions(classes=parts[0].classes, **columns)


def write(predictions: Predictions, path: Path) -> None:
    """Write them as a table; probabilities come back with every bit."""
    classes = predictions.classes
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*_COLUMNS, *(_PROBABILITY + name for name in classes)])
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
    """What ``write`` wrote.

    Raises:
      UserError: if there is no such file, or it is not one that ``write`` writes.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            text = file.read()
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        names = tuple(reader.fieldnames or ())
        rows = list(reader)
        classes = tuple(
            name.removeprefix(_PROBABILITY)
            for name in names[len(_COLUMNS) :]
            if name.startswith(_PROBABILITY)
        )
        if names != (*_COLUMNS, *(_PROBABILITY + name for name in classes)):
            raise ValueError(f"its columns are {', '.join(names) or 'none'}")
        if not rows or not classes:
            raise ValueError("it holds no prediction")
        if any(None in row or None in row.values() for row in rows):
            raise ValueError("a line has too few or too many values")
        if not text.endswith("\n"):
            raise ValueError("its last line is cut off")
        strangers = {row["truth"] for row in rows} - set(classes)
        if strangers:
            raise ValueError(f"{min(strangers)!r} is none of {', '.join(classes)}")
        probabilities = np.array(
            [[float(row[_PROBABILITY + name]) for name in classes] for row in rows]
        )
        # A mean of ones may be a rounding above one; NaN fails both comparisons.
        if not ((probabilities >= 0) & (probabilities < 1.001)).all():
            raise ValueError("a probability is not between 0 and 1")
        predictions = Predictions(
            classes,
            *(np.array([row[name] for row in rows]) for name in _COLUMNS[:3]),
            np.array([int(row["seed"]) for row in rows], np.int64),
            np.array([row["fold"] for row in rows]),
            np.array([classes.index(row["truth"]) for row in rows]),
            probabilities.astype(np.float32),
        )
        said = [row["prediction"] for row in rows]
        if said != [classes[index] for index in predictions.predicted]:
            raise ValueError("a prediction is not the likeliest class")
    except (OSError, ValueError, OverflowError, csv.Error) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
    return predictions
