"""What came of a run: its predictions, pooled, as numbers and in pictures."""

import numpy as np

from meranet_jax import figures, files, metrics, predictions, runs, words
from meranet_jax.errors import UserError
from meranet_jax.predictions import Predictions
from meranet_jax.runs import Run


def make(run: Run, tested: Predictions) -> dict:
    """The report of a run: a function of its settings and its predictions alone.

    Returns:
      A dictionary that JSON can hold.
    """
    report = {
        "protocol": run.config.protocol,
        "split": run.config.split,
        "select": run.config.select,
        "datasets": list(run.config.datasets),
        "seeds": sorted(set(tested.seeds.tolist())),
        "folds": len({name for _, _, name in run.folds}),
        "data": run.facts,
        **summarise(tested),
        "by_fold": _by_fold(run, tested),
    }
    if len(run.config.datasets) > 1:
        report["by_dataset"] = {
            name: summarise(tested.where(tested.datasets == name))
            for name in dict.fromkeys(tested.datasets.tolist())
        }
    return report


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
    for name in words.NAMES:
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


def _by_fold(run: Run, tested: Predictions) -> list[dict]:
    rows = []
    for seed, _, name in run.folds:
        right = tested.right[(tested.seeds == seed) & (tested.folds == name)]
        if len(right):
            rows.append(
                {
                    "seed": seed,
                    "fold": name,
                    "clips": len(right),
                    "correct": int(right.sum()),
                    "accuracy_interval": metrics.wilson_interval(
                        int(right.sum()), len(right)
                    ),
                }
            )
    return rows


def write(run: Run, tested: Predictions) -> dict:
    """Write the report of a run whose folds are all finished; returns it."""
    report = make(run, tested)
    with files.whole(run.path / "predictions.csv") as part:
        predictions.write(tested, part)
    pooled = report["pooled"]
    seeds = len(report["seeds"])
    title = f"{report['clips']} test clips"
    if seeds > 1:
        title = f"{len(tested)} predictions of {title}, {seeds} seeds"
    pictures = {
        "confusion": figures.confusion(
            np.array(pooled["confusion"]), tested.classes, title
        ),
        "spread": figures.spread(report),
        "subjects": figures.subjects(tested),
        "reliability": figures.reliability(report["calibration"]),
        "curves": figures.curves(runs.read_lines(run.path)),
    }
    for name, figure in pictures.items():
        figures.save(figure, run.path / f"{name}.png")
    with files.whole(run.path / "report.md") as part:
        part.write_text(words.to_markdown(run, report))
    # The last to be written: it says that the run is finished.
    files.write_json(run.path / "report.json", report)
    return report


def read_predictions(run: Run) -> Predictions:
    """Those of all folds of a run, which are finished.

    Raises:
      UserError: if one is not.
    """
    finished = run.finished()
    for seed, number, name in run.folds:
        if (seed, number) not in finished:
            raise UserError(f"Fold {name} of seed {seed} in {run.path} is not whole.")
    return predictions.concatenate(tested for _, tested in finished.values())
