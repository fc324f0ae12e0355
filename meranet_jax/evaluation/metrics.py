"""From predictions to the numbers that the field reports, each with its uncertainty.

Every number comes from counts over all clips, divided once; none is an average of
averages.
"""

from collections.abc import Callable

import numpy as np
from scipy import stats

# Replicates of the bootstrap; its two ends then move by a few thousandths from draw to
# draw, less than a clip is worth in any data set of this field.
_REPLICATES = 5000
# Those of which percentiles still say something.
_LEAST = 200


def confusion_matrix(
    truth: np.ndarray, prediction: np.ndarray, num_classes: int
) -> np.ndarray:
    """int64 [num_classes, num_classes]: rows are the truth, columns the prediction."""
    matrix = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(matrix, (truth, prediction), 1)
    return matrix


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """The share of clips that are right; [..., C, C] -> [...]."""
    return _hits(confusion).sum(-1) / confusion.sum((-2, -1))


def uf1(confusion: np.ndarray) -> np.ndarray:
    """Unweighted F1 of MEGC 2019; [..., C, C] -> [...].

    F1_c = 2 TP_c / (2 TP_c + FP_c + FN_c), averaged over the classes that have a clip.
    """
    return _mean(f1(confusion), confusion.sum(-1) > 0)


def uar(confusion: np.ndarray) -> np.ndarray:
    """Unweighted average recall (balanced accuracy); [..., C, C] -> [...].

    TP_c / N_c, averaged over the classes that have a clip.
    """
    clips = confusion.sum(-1)
    return _mean(_hits(confusion) / np.maximum(clips, 1), clips > 0)


def f1(confusion: np.ndarray) -> np.ndarray:
    """F1 of each class, 0 where it has neither clip nor prediction; -> [..., C]."""
    both = confusion.sum(-1) + confusion.sum(-2)
    return 2 * _hits(confusion) / np.maximum(both, 1)


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """F1 averaged over the classes that have a clip or a prediction; -> [...].

    scikit-learn's. It is UF1 unless a class without a clip is predicted.
    """
    return _mean(f1(confusion), confusion.sum(-1) + confusion.sum(-2) > 0)


def weighted_f1(confusion: np.ndarray) -> np.ndarray:
    """F1 averaged over the classes by their clips; [..., C, C] -> [...]."""
    clips = confusion.sum(-1)
    return (f1(confusion) * clips).sum(-1) / clips.sum(-1)


# What is reported of a confusion matrix, by the name it has in a report.
STATISTICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "accuracy": accuracy,
    "uf1": uf1,
    "uar": uar,
    "macro_f1": macro_f1,
    "weighted_f1": weighted_f1,
}


def scores(confusion: np.ndarray, classes: tuple[str, ...]) -> dict:
    """All statistics of a confusion matrix, and how many clips stand behind them.

    Args:
      confusion: [C, C], rows are the truth.
      classes: C names.

    Returns:
      A dictionary that JSON can hold: ``clips``, ``correct``, those of ``STATISTICS``,
      ``accuracy_interval`` (Wilson's), ``by_class`` and ``confusion``.

    Raises:
      ValueError: if there is no clip.
    """
    total, correct = int(confusion.sum()), int(np.trace(confusion))
    if total == 0:
        raise ValueError("no clips to score")
    by_class = {}
    for index, name in enumerate(classes):
        clips, predicted = int(confusion[index].sum()), int(confusion[:, index].sum())
        known = clips + predicted > 0
        by_class[name] = {
            "clips": clips,
            "recall": int(confusion[index, index]) / clips if clips else None,
            "f1": float(f1(confusion)[index]) if known else None,
        }
    return {
        "clips": total,
        "correct": correct,
        **{name: float(function(confusion)) for name, function in STATISTICS.items()},
        "accuracy_interval": wilson_interval(correct, total),
        "by_class": by_class,
        "confusion": confusion.tolist(),
    }


def wilson_interval(correct: int, total: int) -> list[float]:
    """95 % interval of a share: [low, high]. Wilson's, which holds for few clips."""
    interval = stats.binomtest(correct, total).proportion_ci(method="wilson")
    return [float(interval.low), float(interval.high)]


def bootstrap_interval(
    confusions: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]
) -> list[float] | None:
    """95 % interval of a statistic: percentiles of a bootstrap over subjects.

    Clips of one subject are alike, so subjects are drawn with replacement and not
    clips; all of a subject's clips come with it. The draws are the same each time.

    Args:
      confusions: int [S, ..., C, C], one matrix for each subject (and each seed, run or
        the like that is drawn with it).
      statistic: of matrices [..., C, C] summed over subjects -> [...]; it is averaged
        over what is left of the middle axes.

    Returns:
      [low, high]; None if there is but one subject, of whom nothing can be drawn, or
      if nearly every draw lacks a class.

    Raises:
      ValueError: if there is no clip.
    """
    return _percentiles(confusions, statistic)


def bootstrap_difference(
    first: np.ndarray,
    second: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
) -> list[float] | None:
    """95 % interval of how much a statistic of ``first`` is above that of ``second``.

    As ``bootstrap_interval``, with the same subjects drawn for both.

    Args:
      first: int [S, ..., C, C], as there.
      second: likewise, of the same clips.
      statistic: as there.
    """
    both = np.stack([first, second], -3)

    def difference(sums):
        return statistic(sums[..., 0, :, :]) - statistic(sums[..., 1, :, :])

    return _percentiles(both, difference)


def _percentiles(
    confusions: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]
) -> list[float] | None:
    """Of a statistic [draws, seeds, ..., C, C] -> [draws, seeds], over the draws."""
    if not np.any(confusions):
        raise ValueError("no clips to draw from")
    subjects = len(confusions)
    if subjects < 2:
        return None
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(subjects, [1 / subjects] * subjects, size=_REPLICATES)
    sums = np.einsum("rs,s...->r...", drawn, confusions, optimize=True)
    # A class that few subjects show may be missing from a draw, whose UF1 and UAR would
    # be averages over fewer classes: another statistic. Such draws do not count.
    classes = confusions.sum(0).any(-1)  # [..., C]
    there = (sums.any(-1) == classes).all(-1) & classes.any(-1)
    values = statistic(np.where(there[..., None, None], sums, 1))
    there = there.reshape(*values.shape, -1).all(-1)
    values = np.where(there, values, 0).reshape(_REPLICATES, -1).sum(-1)
    count = there.reshape(_REPLICATES, -1).sum(-1)
    if (count > 0).sum() < _LEAST:
        return None
    values = values[count > 0] / count[count > 0]
    low, high = np.percentile(values, [2.5, 97.5])
    return [float(low), float(high)]


def seeds_interval(differences: np.ndarray) -> list[float] | None:
    """95 % interval of a difference between paired seeds: Student's t.

    It tells what other seeds would give. A seed draws the parameters, the order and,
    unless folds are single subjects or a split is given, the split, too. Seeds draw
    from the same clips, so that it is rather too narrow than too wide.

    Args:
      differences: [S], one for each seed.

    Returns:
      Low and high; None of a single seed.
    """
    if len(differences) < 2:
        return None
    half = stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences)
    mean = np.mean(differences)
    return [float(mean - half), float(mean + half)]


def calibration(probabilities: np.ndarray, truth: np.ndarray, bins: int = 15) -> dict:
    """How far confidence is from accuracy: expected calibration error.

    Clips are sorted into bins of equal width by the probability of their prediction;
    the error is the mean distance between a bin's accuracy and its mean confidence,
    weighted by its clips (Naeini et al. 2015; 15 bins after Guo et al. 2017).

    Args:
      probabilities: [N, C].
      truth: int [N].
      bins: how many.

    Returns:
      ``ece`` and ``bins``: for each that has a clip, its ``clips``, their mean
      ``confidence`` and their ``accuracy``.

    Raises:
      ValueError: if there is no clip.
    """
    if len(truth) == 0:
        raise ValueError("no clips to calibrate on")
    confidence = probabilities.max(-1).astype(np.float64)
    right = probabilities.argmax(-1) == truth
    # (low, high], so that a confidence of 1 is in the last.
    number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    rows, error = [], 0.0
    for index in np.unique(number):
        inside = number == index
        row = {
            "clips": int(inside.sum()),
            "confidence": float(confidence[inside].mean()),
            "accuracy": float(right[inside].mean()),
        }
        error += row["clips"] / len(truth) * abs(row["accuracy"] - row["confidence"])
        rows.append(row)
    return {"ece": error, "bins": rows}


def mcnemar(only_first: int, only_second: int) -> float:
    """The p-value of McNemar's exact test, two-sided.

    Args:
      only_first: clips that the first of two classifiers alone has right.
      only_second: those that the second alone has right.
    """
    differing = only_first + only_second
    return float(stats.binomtest(only_first, differing).pvalue) if differing else 1.0


def _hits(confusion: np.ndarray) -> np.ndarray:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _mean(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Over the last axis, of those counted."""
    return (values * counted).sum(-1) / np.maximum(counted.sum(-1), 1)
