"""All numbers of some predictions, pooled over folds, with intervals."""

import numpy as np

from meranet_jax.evaluation import metrics
from meranet_jax.evaluation.predictions import Predictions

# The statistics of a report, by the names that people read.
NAMES = {
    "accuracy": "accuracy",
    "uf1": "UF1",
    "uar": "UAR (balanced accuracy)",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "ece": "expected calibration error",
}


def summarise(tested: Predictions) -> dict:
    """All numbers of some predictions.

    Confusion matrices are pooled over the folds of a seed, and every statistic is taken
    of such a pooled matrix; ``mean``, ``sd`` and ``values`` are over the seeds.
    Intervals are at 95 %: of the accuracy of a single seed Wilson's, else from a
    bootstrap over subjects.
    """
    seeds = sorted(set(tested.seeds.tolist()))
    by_seed = []
    for seed in seeds:
        one = tested.where(tested.seeds == seed)
        by_seed.append(
            {"seed": seed}
            | metrics.scores(_confusion(one), tested.classes)
            | {"ece": metrics.calibration(one.probabilities, one.truth)["ece"]}
        )
    counts = confusions(tested)
    summary = {}
    for name in NAMES:
        values = [row[name] for row in by_seed]
        interval = None
        if name == "accuracy" and len(seeds) == 1:
            interval = by_seed[0]["accuracy_interval"]
        elif name in metrics.STATISTICS:
            interval = metrics.bootstrap_interval(counts, metrics.STATISTICS[name])
        summary[name] = {
            "mean": float(np.mean(values)),
            "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
            "values": values,
            "interval": interval,
        }
    return {
        "clips": len(set(tested.clips.tolist())),
        "subjects": len(set(tested.subjects.tolist())),
        "metrics": summary,
        "by_class": {name: _of_class(by_seed, name) for name in tested.classes},
        "pooled": metrics.scores(_confusion(tested), tested.classes),
        "calibration": metrics.calibration(tested.probabilities, tested.truth),
        "by_seed": by_seed,
    }


def _of_class(by_seed: list[dict], name: str) -> dict:
    """A class's tested clips over all seeds, and the means of its recall and F1."""
    rows = [seed["by_class"][name] for seed in by_seed]
    means = {}
    for number in ("recall", "f1"):
        known = [row[number] for row in rows if row[number] is not None]
        means[number] = float(np.mean(known)) if known else None
    return {"clips": sum(row["clips"] for row in rows)} | means


def confusions(tested: Predictions) -> np.ndarray:
    """int [subjects, seeds, C, C]: the confusion matrix of each."""
    subjects, subject = np.unique(tested.subjects, return_inverse=True)
    seeds, seed = np.unique(tested.seeds, return_inverse=True)
    num = len(tested.classes)
    counts = np.zeros((len(subjects), len(seeds), num, num), np.int64)
    np.add.at(counts, (subject, seed, tested.truth, tested.predicted), 1)
    return counts


def _confusion(tested: Predictions) -> np.ndarray:
    return metrics.confusion_matrix(tested.truth, tested.predicted, len(tested.classes))
