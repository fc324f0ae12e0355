"""Metrics of micro-expression recognition, their confidence intervals and tests.

Every metric is computed from counts over all clips and divided once; none is an average
of averages. Confusion matrices have the true class in rows and the predicted class in
columns.
"""

from collections.abc import Callable

import numpy as np
import scipy

# With so many replicates the bounds of an interval vary by a few thousandths between
# random draws, which is less than one clip contributes in any data set of this field.
_REPLICATES = 5000
# Percentiles of fewer valid replicates are not reported.
_MIN_VALID_REPLICATES = 200


def confusion_matrix(
    truth: np.ndarray, prediction: np.ndarray, num_classes: int
) -> np.ndarray:
    """Computes the confusion matrix of integer labels.

    Args:
      truth: int [N], the true classes.
      prediction: int [N], the predicted classes.
      num_classes: the number of classes, C.

    Returns:
      int64 [C, C]: rows are true classes, columns predicted classes.
    """
    matrix = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(matrix, (truth, prediction), 1)
    return matrix


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """Computes the fraction of correctly classified clips; [..., C, C] -> [...]."""
    return _true_positives(confusion).sum(-1) / confusion.sum((-2, -1))


def uf1(confusion: np.ndarray) -> np.ndarray:
    """Computes the unweighted F1 score (UF1); [..., C, C] -> [...].

    F1_c = 2 TP_c / (2 TP_c + FP_c + FN_c), averaged over the classes that have at least
    one clip (See et al., MEGC 2019).
    """
    return _masked_mean(f1(confusion), confusion.sum(-1) > 0)


def uar(confusion: np.ndarray) -> np.ndarray:
    """Computes the unweighted average recall (UAR); [..., C, C] -> [...].

    TP_c / N_c, averaged over the classes that have at least one clip (See et al., MEGC
    2019). It is also called balanced accuracy.
    """
    clips = confusion.sum(-1)
    recall = _true_positives(confusion) / np.maximum(clips, 1)
    return _masked_mean(recall, clips > 0)


def f1(confusion: np.ndarray) -> np.ndarray:
    """Computes the F1 score of each class; [..., C, C] -> [..., C].

    It is 0 for a class that has neither clips nor predictions.
    """
    both = confusion.sum(-1) + confusion.sum(-2)
    return 2 * _true_positives(confusion) / np.maximum(both, 1)


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Computes the macro F1 score as scikit-learn does; [..., C, C] -> [...].

    F1 is averaged over the classes that have a clip or a prediction. The result differs
    from UF1 only if a class without clips is predicted.
    """
    return _masked_mean(f1(confusion), confusion.sum(-1) + confusion.sum(-2) > 0)


def weighted_f1(confusion: np.ndarray) -> np.ndarray:
    """Computes the F1 score averaged over clips; [..., C, C] -> [...].

    Each class is weighted by its number of clips.
    """
    clips = confusion.sum(-1)
    return (f1(confusion) * clips).sum(-1) / clips.sum(-1)


# The reported metrics of a confusion matrix, by their keys in a report.
STATISTICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "accuracy": accuracy,
    "uf1": uf1,
    "uar": uar,
    "macro_f1": macro_f1,
    "weighted_f1": weighted_f1,
}


def scores(confusion: np.ndarray, classes: tuple[str, ...]) -> dict:
    """Computes all metrics of a confusion matrix and the counts behind them.

    Args:
      confusion: int [C, C].
      classes: the C class names.

    Returns:
      A dictionary that can be written as JSON: ``clips``, ``correct``, the metrics in
      ``STATISTICS``, ``accuracy_interval`` (Wilson score interval), ``by_class`` and
      ``confusion``.

    Raises:
      ValueError: if the matrix has no clips.
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
    """Computes the 95 % Wilson score interval of a proportion.

    It remains valid for few clips and for proportions near 0 and 1, but assumes that
    clips are independent (Wilson 1927).

    Args:
      correct: the number of correctly classified clips.
      total: the number of clips.

    Returns:
      [low, high].

    Raises:
      ValueError: if ``total`` is not positive or ``correct`` is not in [0, total].
    """
    if total < 1:
        raise ValueError(f"no clips: total is {total}, expected at least 1")
    if not 0 <= correct <= total:
        raise ValueError(f"correct is {correct}, expected 0 to {total} (total)")
    interval = scipy.stats.binomtest(correct, total).proportion_ci(method="wilson")
    return [float(interval.low), float(interval.high)]


def bootstrap_interval(
    confusions: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]
) -> list[float] | None:
    """Computes the 95 % percentile interval of a bootstrap over subjects.

    Clips of one subject are not independent, so subjects are resampled with
    replacement, each with all its clips (cluster bootstrap). The random seed is fixed,
    so equal inputs give equal intervals.

    Args:
      confusions: int [S, ..., C, C], the confusion matrix of each subject. Middle axes,
        such as seeds, are resampled together with their subject.
      statistic: maps confusion matrices summed over subjects, [..., C, C], to [...].
        The value of a replicate is its mean over the remaining axes.

    Returns:
      [low, high]. None if there is only one subject, or if fewer than 200 replicates
      contain all classes.

    Raises:
      ValueError: if there are no clips.
    """
    return _bootstrap_percentiles(confusions, statistic)


def bootstrap_difference(
    first: np.ndarray,
    second: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
) -> list[float] | None:
    """Computes the 95 % bootstrap interval of a paired difference, first - second.

    Each replicate resamples the same subjects for both; see ``bootstrap_interval``.

    Args:
      first: int [S, ..., C, C], the confusion matrix of each subject.
      second: int [S, ..., C, C], those of another model on the same clips.
      statistic: maps confusion matrices [..., C, C] to [...].

    Returns:
      [low, high] or None, as ``bootstrap_interval``.

    Raises:
      ValueError: if there are no clips.
    """
    both = np.stack([first, second], -3)

    def difference(sums):
        return statistic(sums[..., 0, :, :]) - statistic(sums[..., 1, :, :])

    return _bootstrap_percentiles(both, difference)


def _bootstrap_percentiles(
    confusions: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]
) -> list[float] | None:
    """Resamples subjects; the statistic maps [R, seeds, ..., C, C] to [R, seeds]."""
    if not np.any(confusions):
        raise ValueError("no clips to resample")
    subjects = len(confusions)
    if subjects < 2:
        return None
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(subjects, [1 / subjects] * subjects, size=_REPLICATES)
    sums = np.einsum("rs,s...->r...", drawn, confusions, optimize=True)
    # A replicate may miss a class that only few subjects show. Its UF1 and UAR would be
    # averages over fewer classes, which is another statistic, so it is discarded.
    classes = confusions.sum(0).any(-1)  # [..., C]
    valid = (sums.any(-1) == classes).all(-1) & classes.any(-1)
    values = statistic(np.where(valid[..., None, None], sums, 1))
    valid = valid.reshape(*values.shape, -1).all(-1)
    values = np.where(valid, values, 0).reshape(_REPLICATES, -1).sum(-1)
    count = valid.reshape(_REPLICATES, -1).sum(-1)
    if (count > 0).sum() < _MIN_VALID_REPLICATES:
        return None
    values = values[count > 0] / count[count > 0]
    low, high = np.percentile(values, [2.5, 97.5])
    return [float(low), float(high)]


def t_interval(differences: np.ndarray) -> list[float] | None:
    """Computes the 95 % Student's t interval of the mean difference over seeds.

    It estimates how the difference would vary with other seeds. A seed determines the
    initial parameters, the order of clips, augmentation and, unless a split file is
    given, the split. All seeds share the same clips, so the interval tends to be too
    narrow.

    Args:
      differences: float [S], the paired difference of each seed.

    Returns:
      [low, high]; None for fewer than two seeds.
    """
    if len(differences) < 2:
        return None
    half = scipy.stats.t.ppf(0.975, len(differences) - 1) * scipy.stats.sem(differences)
    mean = np.mean(differences)
    return [float(mean - half), float(mean + half)]


def calibration(probabilities: np.ndarray, truth: np.ndarray, bins: int = 15) -> dict:
    """Computes the expected calibration error (ECE) and its bins.

    Clips are grouped into bins of equal width by their confidence, the probability of
    the predicted class. ECE is the mean absolute difference between the accuracy and
    the mean confidence of a bin, weighted by its number of clips (Naeini et al. 2015;
    15 bins as in Guo et al. 2017).

    Args:
      probabilities: float [N, C].
      truth: int [N], the true classes.
      bins: the number of bins.

    Returns:
      ``ece``, and ``bins``: a list with ``clips``, mean ``confidence`` and ``accuracy``
      of each bin that is not empty.

    Raises:
      ValueError: if there are no clips.
    """
    if len(truth) == 0:
        raise ValueError("no clips to calibrate on")
    confidence = probabilities.max(-1).astype(np.float64)
    correct = probabilities.argmax(-1) == truth
    # Bins are (low, high], so a confidence of 1 belongs to the last one.
    number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    rows, error = [], 0.0
    for index in np.unique(number):
        inside = number == index
        row = {
            "clips": int(inside.sum()),
            "confidence": float(confidence[inside].mean()),
            "accuracy": float(correct[inside].mean()),
        }
        error += row["clips"] / len(truth) * abs(row["accuracy"] - row["confidence"])
        rows.append(row)
    return {"ece": error, "bins": rows}


def mcnemar(only_first: int, only_second: int) -> float:
    """Computes the two-sided p-value of McNemar's exact test.

    Args:
      only_first: the number of clips that only the first classifier has correct.
      only_second: the number of clips that only the second classifier has correct.

    Returns:
      The p-value; 1 if both counts are 0.
    """
    differing = only_first + only_second
    return (
        float(scipy.stats.binomtest(only_first, differing).pvalue) if differing else 1.0
    )


def _true_positives(confusion: np.ndarray) -> np.ndarray:
    """The diagonal; [..., C, C] -> [..., C]."""
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _masked_mean(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mean over the last axis where ``mask`` is true."""
    return (values * mask).sum(-1) / np.maximum(mask.sum(-1), 1)
