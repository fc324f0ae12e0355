"""Recomputes the report of a finished run, and its predictions from the weights."""

import dataclasses
import sys

import numpy as np

from meranet_jax import files
from meranet_jax.data import loading, splits
from meranet_jax.data.source_records import Source
from meranet_jax.errors import UserError
from meranet_jax.evaluation import predictions
from meranet_jax.evaluation.predictions import Predictions
from meranet_jax.inputs import registry as inputs
from meranet_jax.runs import fold_loop, provenance, reader, report
from meranet_jax.runs.reader import Run
from meranet_jax.training import checkpoint, fitters
from meranet_jax.training.trainers import Weights


def read_predictions(run: Run) -> Predictions:
    """Reads the pooled predictions of a finished run.

    Raises:
      UserError: if the run is not finished, or the file is damaged.
    """
    reader.read_report(run.path)
    return predictions.read(run.layout.predictions)


def check_report(run: Run) -> dict:
    """Computes the report of a run from its predictions, and compares both.

    Returns:
      The report.

    Raises:
      UserError: if it differs from ``report.json``.
    """
    saved = reader.read_report(run.path)
    made = files.json_round_trip(report.make(run, read_predictions(run)))
    # Version 0.1 did not write the selection.
    saved = {"selection": made["selection"]} | saved
    differing = [name for name in made if made[name] != saved.get(name)]
    if differing:
        raise UserError(
            f"{', '.join(differing)} in {run.layout.report} differ from the values "
            f"computed from {run.layout.predictions.name}. One of the files or the "
            "code was changed."
        )
    return made


@dataclasses.dataclass(frozen=True)
class OpenedRun:
    """A finished run with the clips that it was trained and tested on.

    Attributes:
      run: the content of the run folder.
      sources: the records of each data set.
      clips: all clips.
      jobs: all folds.
    """

    run: Run
    sources: list[Source]
    clips: loading.Clips
    jobs: list[splits.Job]

    def weights(self, job: splits.Job, shapes: Weights) -> Weights:
        """Reads the weights that a fold was tested with.

        Args:
          job: the fold.
          shapes: shapes and types of the weights.

        Raises:
          UserError: if they are missing or damaged.
        """
        return checkpoint.read_weights(self.run.layout.fold(job).weights, shapes)


def open_run(run: Run, data_dir: str | None) -> OpenedRun:
    """Reads the clips of a run from its records.

    Warns on stderr if this program computes their optical flow differently.

    Args:
      run: a finished run.
      data_dir: the folder of the records, if they were moved.

    Raises:
      UserError: if the records are missing or contain other clips.
    """
    warn_of_other_flow(run)
    sources = run.sources(data_dir)
    clips = loading.load(
        sources,
        choose_classes=lambda emotions: run.classes,
        size=run.config.size,
        leave_out=run.config.left_out,
        whole_clips=run.config.whole_clips,
        feed=run.config.feed,
        network_input=inputs.find(run.config.input),
        flow_method=run.config.flow_method,
    )
    if not clips.has_fingerprint(run.data["fingerprint"]):
        folders = ", ".join(str(source.folder) for source in sources)
        raise UserError(
            f"The records in {folders} are not those that "
            f"{run.path} was trained on. Say with --data_dir where its records are."
        )
    _, split = splits.from_json(run.split_text, clips, str(run.layout.split))
    return OpenedRun(run, sources, clips, splits.jobs(split))


def warn_of_other_flow(run: Run) -> None:
    """Warns on stderr if this program computes optical flow differently than a run."""
    flow = provenance.describe_flow(run.config)
    if changes := provenance.flow_differences(run.data.get("flow"), flow):
        print(
            f"Warning: the optical flow of {run.path} was computed with "
            f"{'; '.join(changes)}. Predictions may differ from those that its flow "
            "would give.",
            file=sys.stderr,
        )


def check_predictions(run: Run, data_dir: str | None) -> float:
    """Predicts every test clip from the weights of its fold, and compares.

    Args:
      run: a finished run.
      data_dir: the folder of the records, if they were moved.

    Returns:
      The largest absolute difference from a probability in ``predictions.csv``.

    Raises:
      UserError: if the records contain other clips, or a predicted class differs.
    """
    opened = open_run(run, data_dir)
    clips, jobs = opened.clips, opened.jobs
    # The run may have used more devices than this machine has.
    config = run.config
    if "devices" in config.flags():
        config = config.change(devices=1)
    fitter = fitters.make_fitter(config, clips, folds=len(jobs))
    shapes = fitter.weight_shapes
    all_saved = predictions.read(run.layout.predictions)
    largest = 0.0
    for job in jobs:
        weights = opened.weights(job, shapes)
        (computed,) = fold_loop.predict(fitter, clips, [job], [weights])
        of_fold = (all_saved.seeds == job.seed) & (all_saved.folds == job.fold.name)
        saved = all_saved.select(of_fold)
        if not np.array_equal(saved.clips, computed.clips):
            raise UserError(
                f"The clips of {job.name} in {run.layout.predictions} are not its test "
                "part. The file was changed."
            )
        difference = abs(saved.probabilities - computed.probabilities).max()
        largest = max(largest, float(difference))
        differing = saved.clips[saved.predicted != computed.predicted]
        if len(differing):
            raise UserError(
                f"The weights of {job.name} predict another class for {differing[0]} "
                f"than {run.layout.predictions.name} contains ({len(differing)} of "
                f"{len(saved)} clips). The weights or the code were changed, or this "
                "device computes differently."
            )
    return largest
