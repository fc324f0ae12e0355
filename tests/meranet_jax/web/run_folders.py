"""Folders of runs as the project's own writers make them, from invented predictions."""

import dataclasses
import json

import numpy as np
from PIL import Image

from meranet_jax import files
from meranet_jax.evaluation import predictions
from meranet_jax.runs import report, report_text, run_calibration
from tests.meranet_jax.runs.test_report import experiment


def write_run(folder, *, quality=0.0, seeds=(0,), **options):
    """Writes a finished run of 30 clips of six subjects.

    Args:
      folder: of the run, which is made.
      quality: added to the probabilities of the true classes before normalisation.
      seeds: of the run.
      **options: settings of the run.
    """
    folder.mkdir(parents=True)
    run, predicted = experiment(seeds, **options)
    run = dataclasses.replace(run, path=folder)
    better = predicted.probabilities.copy()
    better[np.arange(len(predicted)), predicted.truth] += quality
    better /= better.sum(-1, keepdims=True)
    predicted = dataclasses.replace(predicted, probabilities=better)
    made = report.make(run, predicted)
    config = {"config": run.config.flags(), "records": []}
    files.write_json(
        run.layout.config, config | {"data": run.data, "starts": run.starts}
    )
    run.layout.split.write_text(run.split_text)
    predictions.write(predicted, run.layout.predictions)
    run.layout.report_text.write_text(report_text.to_markdown(run, made))
    for name in ("confusion", "subjects"):
        Image.new("RGB", (64, 48), "white").save(run.layout.figure(name))
    run_calibration.calibrate(run, predicted)
    files.write_json(run.layout.report, made)


def write_runs(folder):
    """Writes runs into a folder: ``good``, ``more/poor``, ``seeds`` and ``unfinished``.

    The first two can be compared. The third has two seeds.
    """
    write_run(folder / "good", quality=0.5)
    write_run(folder / "more" / "poor")
    write_run(folder / "seeds", quality=0.2, seeds=(0, 1))
    unfinished = folder / "unfinished"
    unfinished.mkdir()
    (unfinished / "config.json").write_text("{}")
    folds = {"seeds": {"0": [{"name": "a"}, {"name": "b"}]}}
    (unfinished / "split.json").write_text(json.dumps(folds))
    (unfinished / "folds" / "seed0-000-a").mkdir(parents=True)
    (unfinished / "folds" / "seed0-000-a" / "predictions.csv").write_text("clip")
