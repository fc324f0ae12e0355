"""What came of a run: its predictions, pooled, as numbers and in pictures."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from meranet_jax import files
from meranet_jax.errors import UserError
from meranet_jax.evaluation import figures, metrics, predictions, summary
from meranet_jax.evaluation.predictions import Predictions
from meranet_jax.runs import reader, report_text
from meranet_jax.runs.reader import Run


def make(run: Run, tested: Predictions) -> dict:
    """The report of a run: a function of its settings and its predictions alone.

    Returns:
      A dictionary that JSON can hold.
    """
    report = {
        "protocol": run.config.protocol,
        "split": run.config.split,
        "select": getattr(run.config.settings, "select", None),
        "selection": run.config.recogniser.selection(run.config.settings),
        "datasets": list(run.config.datasets),
        "seeds": sorted(set(tested.seeds.tolist())),
        "folds": len({name for _, _, name in run.folds}),
        "data": run.facts,
        **summary.summarise(tested),
        "by_fold": _by_fold(run, tested),
    }
    if len(run.config.datasets) > 1:
        report["by_dataset"] = {
            name: summary.summarise(tested.select(tested.datasets == name))
            for name in dict.fromkeys(tested.datasets.tolist())
        }
    return report


def _by_fold(run: Run, tested: Predictions) -> list[dict]:
    rows = []
    for seed, _, name in run.folds:
        right = tested.correct[(tested.seeds == seed) & (tested.folds == name)]
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
    with files.atomic_write(run.path / "predictions.csv") as part:
        predictions.write(tested, part)
    pooled = report["pooled"]
    seeds = len(report["seeds"])
    title = f"{report['clips']} test clips"
    if seeds > 1:
        title = f"{len(tested)} predictions of {title}, {seeds} seeds"
    pictures = {
        "confusion": figures.confusion_matrix(
            np.array(pooled["confusion"]), tested.classes, title
        ),
        "spread": figures.seeds_and_folds(report),
        "subjects": figures.accuracy_by_subject(tested),
        "reliability": figures.reliability_diagram(report["calibration"]),
    }
    history = reader.read_lines(run.path)
    if any(history.values()):  # a descriptor has no epochs
        pictures["curves"] = figures.learning_curves(history)
    for name, figure in pictures.items():
        figures.save(figure, run.path / f"{name}.png")
    with files.atomic_write(run.path / "report.md") as part:
        part.write_text(report_text.to_markdown(run, report, pictures))
    # The last to be written: it says that the run is finished.
    files.write_json(run.path / "report.json", report)
    return report


def read_predictions(
    run: Run, known: Mapping[Path, Predictions] | None = None
) -> Predictions:
    """Returns the predictions of all folds of a run, which must be finished.

    Args:
      run: the run.
      known: see ``Run.finished``.

    Raises:
      UserError: if one is not.
    """
    finished = run.finished(known)
    for seed, number, name in run.folds:
        if (seed, number) not in finished:
            raise UserError(f"Fold {name} of seed {seed} in {run.path} is not whole.")
    return predictions.concatenate(tested for _, tested in finished.values())
