"""Computes the report of a run from its pooled predictions, and writes it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from meranet_jax import files
from meranet_jax.errors import UserError
from meranet_jax.evaluation import metrics, predictions, summary
from meranet_jax.evaluation.predictions import Predictions
from meranet_jax.runs import reader, report_text, run_calibration
from meranet_jax.runs.reader import Run

# Metrics of each fold, and of the means over folds
_FOLD_METRICS = ("accuracy", "uf1", "uar")


def make(run: Run, predicted: Predictions) -> dict:
    """Computes the report of a run, which depends on settings and predictions only.

    Args:
      run: the run.
      predicted: the predictions of all folds.

    Returns:
      The content of ``report.json``.
    """
    report = {
        "protocol": run.config.protocol,
        "split": run.config.split,
        "select": getattr(run.config.settings, "select", None),
        "selection": run.config.recogniser.selection(run.config.settings),
        "datasets": list(run.config.datasets),
        "seeds": sorted(set(predicted.seeds.tolist())),
        "folds": len({name for _, _, name in run.folds}),
        "data": run.data,
        **summary.summarise(predicted),
        **fold_results([(seed, name) for seed, _, name in run.folds], predicted),
    }
    if tested := run.config.tested_datasets:
        report["tested_datasets"] = list(tested)
    if run.origin is not None:
        report["origin"] = run.origin
    if len(run.config.datasets) > 1:
        report["by_dataset"] = {
            name: summary.summarise(predicted.select(predicted.datasets == name))
            for name in dict.fromkeys(predicted.datasets.tolist())
        }
    return report


def fold_results(folds: Sequence[tuple[int, str]], predicted: Predictions) -> dict:
    """Computes the metrics of each fold and, of several folds, their means.

    Args:
      folds: seed and name of each fold.
      predicted: the predictions of all folds.

    Returns:
      ``by_fold``, and ``fold_means`` if the folds have several names.
    """
    by_fold = _by_fold(folds, predicted)
    if len({name for _, name in folds}) == 1:
        return {"by_fold": by_fold}
    return {"by_fold": by_fold, "fold_means": _fold_means(by_fold)}


def _by_fold(folds: Sequence[tuple[int, str]], predicted: Predictions) -> list[dict]:
    rows = []
    for seed, name in folds:
        part = predicted.select((predicted.seeds == seed) & (predicted.folds == name))
        if len(part):
            confusion = metrics.confusion_matrix(
                part.truth, part.predicted, len(part.classes)
            )
            scores = metrics.scores(confusion, part.classes)
            kept = ("clips", "correct", *_FOLD_METRICS, "accuracy_interval")
            rows.append(
                {"seed": seed, "fold": name} | {key: scores[key] for key in kept}
            )
    return rows


def _fold_means(by_fold: list[dict]) -> dict:
    """Returns the means over the folds of each seed, which some papers publish.

    A fold counts the same whatever its number of clips, and its UF1 and UAR are
    averages over the classes that it has. They are not comparable with the pooled
    numbers.
    """
    seeds = list(dict.fromkeys(row["seed"] for row in by_fold))
    means: dict[str, object] = {"comparable_with_pooled": False}
    for name in _FOLD_METRICS:
        values = [
            float(np.mean([row[name] for row in by_fold if row["seed"] == seed]))
            for seed in seeds
        ]
        means[name] = {
            "mean": float(np.mean(values)),
            "sd": float(np.std(values, ddof=1)) if len(values) > 1 else None,
            "values": values,
        }
    return means


def write(run: Run, predicted: Predictions) -> dict:
    """Writes the predictions, figures, calibration and report of a finished run.

    Args:
      run: the run.
      predicted: the predictions of all folds.

    Returns:
      The report.
    """
    # Imported here, since most starts draw nothing and matplotlib takes long to import.
    from meranet_jax.evaluation import figures

    report = make(run, predicted)
    with files.atomic_write(run.layout.predictions) as part:
        predictions.write(predicted, part)
    pooled = report["pooled"]
    seeds = len(report["seeds"])
    title = f"{report['clips']} test clips"
    if seeds > 1:
        title = f"{len(predicted)} predictions of {title}, {seeds} seeds"
    plots = {
        "confusion": figures.confusion_matrix(
            np.array(pooled["confusion"]), predicted.classes, title
        ),
        "spread": figures.seeds_and_folds(report),
        "subjects": figures.accuracy_by_subject(predicted),
        "reliability": figures.reliability_diagram(report["calibration"]),
    }
    metrics_by_epoch = reader.read_epoch_metrics(run.path)
    if any(metrics_by_epoch.values()):  # a descriptor has no epochs
        plots["curves"] = figures.learning_curves(metrics_by_epoch)
    for name, figure in plots.items():
        figures.save(figure, run.layout.figure(name))
    with files.atomic_write(run.layout.report_text) as part:
        part.write_text(report_text.to_markdown(run, report, tuple(plots)))
    run_calibration.calibrate_if_missing(run, predicted)
    # Written last: this file marks the run as finished.
    files.write_json(run.layout.report, report)
    return report


def read_predictions(
    run: Run, known: Mapping[Path, Predictions] | None = None
) -> Predictions:
    """Reads the predictions of all folds of a run.

    Args:
      run: the run.
      known: see ``Run.finished``.

    Raises:
      UserError: if a fold is not finished.
    """
    finished = run.finished(known)
    for seed, number, name in run.folds:
        if (seed, number) not in finished:
            raise UserError(
                f"Fold {name} of seed {seed} in {run.path} is not finished. Start the "
                "same train.py command again to resume it."
            )
    return predictions.concatenate(predicted for _, predicted in finished.values())
