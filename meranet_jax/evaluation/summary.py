"""Metrics of the predictions of a run, pooled over folds, with confidence intervals."""

import numpy as np

from meranet_jax.evaluation import metrics
from meranet_jax.evaluation.predictions import Predictions

# Keys of the reported metrics and the names that users see.
NAMES = {
    "accuracy": "accuracy",
    "uf1": "UF1",
    "uar": "UAR (balanced accuracy)",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "ece": "expected calibration error",
}


def summarise(predictions: Predictions) -> dict:
    """Computes all metrics of predictions, for each seed and averaged over seeds.

    The folds of a seed are pooled into one confusion matrix, from which every metric of
    that seed is computed. Confidence intervals are at 95 %: the Wilson score interval
    for the accuracy of a single seed, otherwise from a bootstrap over subjects.

    Returns:
      A dictionary that can be written as JSON. ``metrics`` has for each metric the
      ``mean`` and standard deviation ``sd`` over seeds, the ``values`` of the seeds and
      the ``interval``. ``by_class``, ``pooled`` (all seeds in one confusion matrix),
      ``calibration`` and ``by_seed`` have the details; ``clips`` and ``subjects`` are
      counts.

    Raises:
      ValueError: if there are no predictions.
    """
    seeds = sorted(set(predictions.seeds.tolist()))
    by_seed = []
    for seed in seeds:
        part = predictions.select(predictions.seeds == seed)
        by_seed.append(
            {"seed": seed}
            | metrics.scores(_pooled(part), part.classes)
            | {"ece": metrics.calibration(part.probabilities, part.truth)["ece"]}
        )
    confusions = confusion_matrices(predictions)
    summary = {}
    for name in NAMES:
        values = [row[name] for row in by_seed]
        interval = None
        if name == "accuracy" and len(seeds) == 1:
            interval = by_seed[0]["accuracy_interval"]
        elif name in metrics.STATISTICS:
            interval = metrics.bootstrap_interval(confusions, metrics.STATISTICS[name])
        summary[name] = {
            "mean": float(np.mean(values)),
            "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
            "values": values,
            "interval": interval,
        }
    return {
        "clips": len(set(predictions.clips.tolist())),
        "subjects": len(set(predictions.subjects.tolist())),
        "metrics": summary,
        "by_class": {
            name: _class_summary(by_seed, name) for name in predictions.classes
        },
        "pooled": metrics.scores(_pooled(predictions), predictions.classes),
        "calibration": metrics.calibration(
            predictions.probabilities, predictions.truth
        ),
        "by_seed": by_seed,
    }


def _class_summary(by_seed: list[dict], name: str) -> dict:
    """The number of test clips of a class over all seeds, its mean recall and F1."""
    rows = [seed["by_class"][name] for seed in by_seed]
    means = {}
    for metric in ("recall", "f1"):
        known = [row[metric] for row in rows if row[metric] is not None]
        means[metric] = float(np.mean(known)) if known else None
    return {"clips": sum(row["clips"] for row in rows)} | means


def commonest_class(predictions: Predictions) -> dict[str, float]:
    """Computes what always choosing the commonest class of the test clips gives.

    Args:
      predictions: of any recogniser; only their true classes are used.

    Returns:
      ``accuracy``, ``uf1`` and ``uar``, from 0 to 1, averaged over seeds, each of which
      may have other test clips.
    """
    confusions = []
    for seed in np.unique(predictions.seeds):
        truth = predictions.truth[predictions.seeds == seed]
        chosen = np.full_like(truth, np.bincount(truth).argmax())
        number = len(predictions.classes)
        confusions.append(metrics.confusion_matrix(truth, chosen, number))
    return {
        name: float(metrics.STATISTICS[name](np.stack(confusions)).mean())
        for name in ("accuracy", "uf1", "uar")
    }


def count_constant_seeds(predictions: Predictions) -> int:
    """Counts the seeds with which all test clips are predicted to be of one class."""
    found = 0
    for seed in np.unique(predictions.seeds):
        found += len(set(predictions.predicted[predictions.seeds == seed])) == 1
    return found


def confusion_matrices(predictions: Predictions) -> np.ndarray:
    """Computes a confusion matrix for each subject and seed.

    Returns:
      int64 [subjects, seeds, C, C], both in sorted order; rows are true classes.
    """
    subjects, subject = np.unique(predictions.subjects, return_inverse=True)
    seeds, seed = np.unique(predictions.seeds, return_inverse=True)
    num = len(predictions.classes)
    confusions = np.zeros((len(subjects), len(seeds), num, num), np.int64)
    np.add.at(confusions, (subject, seed, predictions.truth, predictions.predicted), 1)
    return confusions


def _pooled(predictions: Predictions) -> np.ndarray:
    """The confusion matrix of all predictions, int64 [C, C]."""
    return metrics.confusion_matrix(
        predictions.truth, predictions.predicted, len(predictions.classes)
    )
