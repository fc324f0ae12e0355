"""From a confusion matrix to the numbers that the field reports.

Every number comes from counts over all clips, divided once; none is an average of
averages.
"""

import math

import numpy as np


def confusion_matrix(
    truth: np.ndarray, prediction: np.ndarray, num_classes: int
) -> np.ndarray:
    """int64 [num_classes, num_classes]: rows are the truth, columns the prediction."""
    matrix = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(matrix, (truth, prediction), 1)
    return matrix


def scores(confusion: np.ndarray, classes: tuple[str, ...]) -> dict:
    """Accuracy, UF1 and UAR after MEGC 2019, and how many clips stand behind them.

    With TP, FP and FN of a class c over the confusion matrix and N_c its clips,
    F1_c = 2 TP / (2 TP + FP + FN), recall_c = TP / N_c; UF1 and UAR are their
    unweighted means over the classes that have a clip.

    Args:
      confusion: [C, C], rows are the truth.
      classes: C names.

    Returns:
      A dictionary that JSON can hold: ``clips``, ``correct``, ``accuracy`` with its
      95 % Wilson interval, ``uf1``, ``uar``, ``by_class`` and ``confusion``.

    Raises:
      ValueError: if there is no clip.
    """
    total, correct = int(confusion.sum()), int(np.trace(confusion))
    if total == 0:
        raise ValueError("no clips to score")
    by_class = {}
    for index, name in enumerate(classes):
        hits = int(confusion[index, index])
        clips = int(confusion[index].sum())
        predicted = int(confusion[:, index].sum())
        by_class[name] = {
            "clips": clips,
            "recall": hits / clips if clips else None,
            "f1": 2 * hits / (clips + predicted) if clips + predicted else None,
        }
    present = [row for row in by_class.values() if row["clips"]]
    return {
        "clips": total,
        "correct": correct,
        "accuracy": correct / total,
        "accuracy_interval": wilson_interval(correct, total),
        "uf1": sum(row["f1"] for row in present) / len(present),
        "uar": sum(row["recall"] for row in present) / len(present),
        "by_class": by_class,
        "confusion": confusion.tolist(),
    }


def wilson_interval(correct: int, total: int) -> list[float]:
    """95 % interval of a share: [low, high]. Wilson's, which holds for few clips."""
    z = 1.959964
    share = correct / total
    middle = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return [max((middle - half) / scale, 0.0), min((middle + half) / scale, 1.0)]
