"""A finished run's numbers anew, from its predictions and from its weights."""

import dataclasses
from pathlib import Path

import numpy as np

from meranet_jax import files
from meranet_jax.data import loading, splits
from meranet_jax.errors import UserError
from meranet_jax.evaluation import predictions
from meranet_jax.evaluation.predictions import Predictions
from meranet_jax.runs import fold_loop, reader, report
from meranet_jax.runs.reader import Run
from meranet_jax.training import checkpoint, fitters
from meranet_jax.training.trainers import Weights


def tested(run: Run) -> Predictions:
    """The predictions of a finished run.

    Raises:
      UserError: if it is not finished, or they cannot be read.
    """
    reader.read_report(run.path)
    return predictions.read(run.path / "predictions.csv")


def check_report(run: Run) -> dict:
    """The run's report, if it is what its predictions give.

    Raises:
      UserError: if it is not.
    """
    saved = reader.read_report(run.path)
    made = files.json_round_trip(report.make(run, tested(run)))
    # Version 0.1 did not write the selection.
    saved = {"selection": made["selection"]} | saved
    differing = [name for name in made if made[name] != saved.get(name)]
    if differing:
        raise UserError(
            f"{', '.join(differing)} in {run.path / 'report.json'} differ from what "
            "predictions.csv gives. Was one of the files or the code changed?"
        )
    return made


@dataclasses.dataclass(frozen=True)
class Opened:
    """A finished run with the clips that it was trained and tested on.

    Attributes:
      run: it.
      sources: its records, where they are now.
      clips: all clips.
      jobs: its folds.
    """

    run: Run
    sources: list[loading.Source]
    clips: loading.Clips
    jobs: list[splits.Job]

    def weights(self, job: splits.Job, shapes: Weights) -> Weights:
        """What a fold was tested with.

        Raises:
          UserError: if it cannot be read.
        """
        folder = self.run.path / "folds" / job.folder
        return checkpoint.read_weights(folder / "weights", shapes)


def reopen(run: Run, data_dir: str | None) -> Opened:
    """Read a run's clips anew.

    Args:
      run: a finished one.
      data_dir: where the records are now, if they were moved.

    Raises:
      UserError: if the records are not the run's.
    """
    folders = run.records
    if data_dir is not None:  # <data_dir>/<name>/<configuration>/<version>
        base = Path(data_dir).expanduser()
        folders = [base.joinpath(*folder.parts[-3:]) for folder in folders]
    sources = [
        loading.Source(one.dataset, folder, one.min_frames, one.label)
        for one, folder in zip(run.config.each_dataset(), folders, strict=True)
    ]
    clips = loading.load(
        sources,
        choose_classes=lambda emotions: run.classes,
        size=run.config.size,
        leave_out=run.config.left_out,
        feed=run.config.feed,
    )
    if not clips.has_fingerprint(run.facts["fingerprint"]):
        raise UserError(
            f"The records in {', '.join(map(str, folders))} are not those that "
            f"{run.path} was trained on."
        )
    _, split = splits.from_json(run.split, clips, str(run.path / "split.json"))
    return Opened(run, sources, clips, splits.jobs(split))


def check_predictions(run: Run, data_dir: str | None) -> float:
    """Predict every test clip anew from the weights of its fold.

    Args:
      run: a finished one.
      data_dir: where the records are now, if they were moved.

    Returns:
      How far a probability is at most from the one that was kept.

    Raises:
      UserError: if the records are not the run's, or a prediction is another.
    """
    opened = reopen(run, data_dir)
    clips, jobs = opened.clips, opened.jobs
    # One device serves any machine; the run may have had more than there are here.
    config = run.config
    if "devices" in config.flags():
        config = config.change(devices=1)
    fitter = fitters.make_fitter(config, clips, folds=len(jobs))
    shapes = fitter.weight_shapes
    kept = predictions.read(run.path / "predictions.csv")
    apart = 0.0
    for job in jobs:
        weights = opened.weights(job, shapes)
        (anew,) = fold_loop.predict(fitter, clips, [job], [weights])
        of_fold = (kept.seeds == job.seed) & (kept.folds == job.fold.name)
        saved = kept.select(of_fold)
        if not np.array_equal(saved.clips, anew.clips):
            raise UserError(
                f"{run.path / 'predictions.csv'} is not of the test part of {job.name}."
            )
        apart = max(apart, float(abs(saved.probabilities - anew.probabilities).max()))
        differing = saved.clips[saved.predicted != anew.predicted]
        if len(differing):
            raise UserError(
                f"The weights of {job.name} predict another class of {differing[0]} "
                f"than predictions.csv says ({len(differing)} of {len(saved)} clips). "
                "Were the weights or the code changed, or is this another device?"
            )
    return apart
