"""What a run is worth at a lower frame rate, measured on its own test clips."""

import dataclasses

import jax
import numpy as np

from meranet_jax import files
from meranet_jax.data import slower_clips
from meranet_jax.data.slower_clips import SlowerClips
from meranet_jax.errors import UserError
from meranet_jax.evaluation import comparison, metrics, predictions, summary
from meranet_jax.evaluation.predictions import Predictions
from meranet_jax.runs import lower_rate_text, provenance, verification
from meranet_jax.runs.reader import Run
from meranet_jax.runs.verification import OpenedRun
from meranet_jax.training import fitters


def evaluate(run: Run, rate: float, *, data_dir: str | None = None) -> dict:
    """Tests the weights of a run on its test clips at a lower frame rate.

    Each fold predicts its own test part. It writes predictions and report to
    ``lower_rate/`` in the run folder, and replaces those of an earlier evaluation at
    the same rate. The results of the run are not changed.

    Args:
      run: a finished run.
      rate: frame rate in Hz, below that of all test clips.
      data_dir: the folder of the records, if they were moved.

    Returns:
      The content of ``report.json``.

    Raises:
      UserError: if the run is not finished, its records are missing or have other
        clips, or the rate cannot be measured on them; see ``slower_clips.load``.
      OSError: if the report cannot be written.
    """
    if not 0 < rate < float("inf"):
        raise UserError(f"--rate={rate:g} is no frame rate in Hz, such as 30.")
    complete = verification.read_predictions(run)
    opened = verification.open_run(run, data_dir)
    clips, jobs = opened.clips, opened.jobs
    tested = np.unique(np.concatenate([job.fold.test for job in jobs]))
    slower = slower_clips.load(clips, opened.sources, run.config, tested, rate)
    by_phase = _predict(opened, complete, slower, tested)
    made = _make(run, complete, by_phase, slower) | {
        "rate": rate,
        "frame_rates": clips.frame_rates,
        "start": provenance.start(jax.devices()[:1], run.config),
    }
    _write(run, rate, by_phase, made)
    return made


def _predict(
    opened: OpenedRun, complete: Predictions, slower: SlowerClips, tested: np.ndarray
) -> list[Predictions]:
    """Predicts the test clips with the weights of their fold.

    Args:
      opened: the run.
      complete: its predictions.
      slower: the clips at the lower rate, P phases.
      tested: index of each of them among the clips of the run, ascending.

    Returns:
      The predictions of each phase, in the order of those of the run.
    """
    config = opened.run.config
    if "devices" in config.flags():  # the run may have used more than there are
        config = config.change(devices=1)
    fitter = fitters.make_fitter(config, slower.clips, folds=1)
    shapes = fitter.weight_shapes
    found = np.empty((slower.phases, *complete.probabilities.shape), np.float32)
    for job in opened.jobs:
        rows = np.flatnonzero(
            (complete.seeds == job.seed) & (complete.folds == job.fold.name)
        )
        ids = [opened.clips.clip_ids[index] for index in job.fold.test]
        if complete.clips[rows].tolist() != ids:
            raise UserError(
                f"The clips of {job.name} in {opened.run.layout.predictions} are not "
                "its test part. The file was changed."
            )
        places = np.searchsorted(tested, job.fold.test)
        indices = np.concatenate(
            [phase * len(tested) + places for phase in range(slower.phases)]
        )
        (probabilities,) = fitter.predict([indices], [opened.weights(job, shapes)])
        if not (finite := np.isfinite(probabilities).all(-1)).all():
            clip = slower.clips.clip_ids[indices[finite.argmin()]]
            raise UserError(
                f"The output for {clip} ({job.name}) is not finite. Train the run "
                "again with a smaller --learning_rate."
            )
        found[:, rows] = probabilities.reshape(slower.phases, len(rows), -1)
    return [dataclasses.replace(complete, probabilities=phase) for phase in found]


def _make(
    run: Run,
    complete: Predictions,
    by_phase: list[Predictions],
    slower: SlowerClips,
) -> dict:
    """Computes the results from the predictions at both frame rates."""
    phases = len(by_phase)
    # [subjects, seeds, C, C], and with each seed once for each phase
    full = summary.confusion_matrices(complete)
    parts = [
        dataclasses.replace(part, seeds=part.seeds * phases + phase)
        for phase, part in enumerate(by_phase)
    ]
    low = summary.confusion_matrices(predictions.concatenate(parts))
    repeated = np.repeat(full, phases, axis=1)
    results = {}
    for name in comparison.NAMES:
        statistic = metrics.STATISTICS[name]
        values = statistic(low.sum(0)).reshape(-1, phases).mean(0)
        before = float(statistic(full.sum(0)).mean())
        results[name] = {
            "full": {
                "mean": before,
                "interval": metrics.bootstrap_interval(full, statistic),
            },
            "lower": {
                "mean": float(values.mean()),
                "interval": metrics.bootstrap_interval(low, statistic),
                "by_phase": values.tolist(),
            },
            "difference": {
                "mean": float(values.mean()) - before,
                "interval": metrics.bootstrap_difference(low, repeated, statistic),
            },
        }
    return {
        "evaluation": "lower frame rate",
        "model": run.config.title,
        "datasets": list(run.config.datasets),
        "protocol": run.config.protocol,
        "selection": run.config.recogniser.selection(run.config.settings),
        "seeds": sorted(set(complete.seeds.tolist())),
        "folds": len({name for _, _, name in run.folds}),
        "clips": len(set(complete.clips.tolist())),
        "subjects": len(set(complete.subjects.tolist())),
        "phases": phases,
        "metrics": results,
        "frames": run.config.frames,
        "distinct_frames": slower.distinct
        and {
            name: {
                "mean": float(numbers.mean()),
                "least": int(numbers.min()),
                "most": int(numbers.max()),
            }
            for name, numbers in zip(("full", "lower"), slower.distinct, strict=True)
        },
        "apex_shift": None
        if slower.apex_shifts is None
        else {
            "mean": float(slower.apex_shifts.mean()),
            "most": float(slower.apex_shifts.max()),
        },
    }


def _write(run: Run, rate: float, by_phase: list[Predictions], report: dict) -> None:
    paths = run.layout.lower_rate(rate)
    paths.path.mkdir(parents=True, exist_ok=True)
    # Written last, and so removed first: it marks the evaluation as finished.
    paths.report.unlink(missing_ok=True)
    for phase, predicted in enumerate(by_phase):
        with files.atomic_write(paths.predictions(phase)) as part:
            predictions.write(predicted, part)
    with files.atomic_write(paths.report_text) as part:
        part.write_text(lower_rate_text.to_markdown(run, report))
    files.write_json(paths.report, report)
