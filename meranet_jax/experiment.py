"""A run from its folds to its predictions: each trained, tested once, kept."""

import contextlib
import functools
import time
from collections.abc import Callable, Sequence

import numpy as np

from meranet_jax import cluster, figures, runs, trainers, training
from meranet_jax.checkpoint import Checkpoints
from meranet_jax.config import TrainConfig
from meranet_jax.data import Clips
from meranet_jax.errors import UserError
from meranet_jax.predictions import Predictions
from meranet_jax.run_folder import FoldFolder, RunFolder
from meranet_jax.splits import Job
from meranet_jax.trainers import Trainer
from meranet_jax.training import Learner

# Seconds between two drawings of the curves of a run in progress, and the share of the
# time that drawing may take.
_REDRAW = 10
_DRAWING = 0.05

# Called with the folds in training, the epoch, how many more of its steps are done and
# the means of those so far.
OnStep = Callable[[Sequence[Job], int, int, dict[str, float]], None]
# Called with a fold and the line of metrics of an epoch.
OnEpoch = Callable[[Job, dict[str, float]], None]


def here(jobs: Sequence[Job], shard: tuple[int, int] | None) -> Sequence[Job]:
    """The folds that are trained here, of all.

    Raises:
      UserError: if none is left for this part.
    """
    if shard is None:
        return jobs
    part, parts = shard
    if part >= len(jobs):
        raise UserError(
            f"There is nothing to do for part {part + 1} of {parts}: the run has "
            f"{len(jobs)} folds."
        )
    return jobs[part::parts]


def own(jobs: Sequence[Job]) -> Sequence[Job]:
    """Those that this process trains, of the folds of several."""
    return jobs[cluster.place() :: cluster.size()]


def epoch_steps(config: TrainConfig, jobs: Sequence[Job]) -> list[int]:
    """Steps of an epoch of each fold.

    Raises:
      UserError: if a training part does not fill a batch.
    """
    return [
        training.epoch_steps(job.name, job.fold.train, config.batch_size)
        for job in jobs
    ]


def count_steps(config: TrainConfig, jobs: Sequence[Job], lanes: int) -> int:
    """Steps that some folds take, those side by side counted once.

    Raises:
      UserError: if a training part does not fill a batch.
    """
    steps = epoch_steps(config, jobs)
    longest = [max(steps[i : i + lanes]) for i in range(0, len(steps), lanes)]
    return config.epochs * sum(longest)


def run(
    folder: RunFolder,
    trainer: Trainer,
    config: TrainConfig,
    clips: Clips,
    jobs: Sequence[Job],
    *,
    on_step: OnStep,
    on_epoch: OnEpoch,
) -> None:
    """Train and test folds, as many at a time as the trainer has lanes.

    Each that is finished is kept, whatever becomes of those after it.

    Args:
      folder: where.
      trainer: is used for all.
      config: the run's.
      clips: all clips.
      jobs: the folds that lack; of several processes each has its own.
      on_step: called after each step.
      on_epoch: called after each epoch of each fold.

    Raises:
      UserError: if a fold cannot be trained or kept.
    """
    curves = _Curves(folder)
    for first in range(0, len(jobs), trainer.lanes):
        group = jobs[first : first + trainer.lanes]
        with contextlib.ExitStack() as stack:
            folders = [stack.enter_context(folder.fold(job)) for job in group]
            _run_group(
                trainer,
                config,
                clips,
                group,
                folders,
                on_step=functools.partial(on_step, group),
                on_epoch=lambda job, line: (on_epoch(job, line), curves.redraw()),
            )


def _run_group(
    trainer: Trainer,
    config: TrainConfig,
    clips: Clips,
    group: Sequence[Job],
    folders: Sequence[FoldFolder],
    *,
    on_step: Callable[[int, int, dict[str, float]], None],
    on_epoch: OnEpoch,
) -> None:
    with contextlib.ExitStack() as stack:
        learners = []
        for job, folder in zip(group, folders, strict=True):

            def log(line, job=job, folder=folder):
                folder.log_epoch(line)
                on_epoch(job, line)

            learners.append(
                Learner(
                    name=job.name,
                    seed=job.seed,
                    train=job.fold.train,
                    validation=job.fold.validation,
                    checkpoints=stack.enter_context(Checkpoints(folder.checkpoints)),
                    on_epoch=log,
                )
            )
        chosen = training.train(
            trainer, config, clips.labels, learners, on_step=on_step
        )
    # The choices are made; now, and only now, the test parts are read.
    tested = predict(trainer, clips, group, [choice.weights for choice in chosen])
    for folder, choice, predicted in zip(folders, chosen, tested, strict=True):
        folder.finish(choice.weights, predicted, choice.epoch)


def predict(
    trainer: Trainer,
    clips: Clips,
    group: Sequence[Job],
    weights: Sequence[trainers.Weights],
) -> list[Predictions]:
    """What the weights of some folds, one a lane, predict of their test parts.

    Raises:
      UserError: if an output is not finite.
    """
    parts = [job.fold.test for job in group]
    logits = trainer.predict(parts, weights)
    for job, part, lane in zip(group, parts, logits, strict=True):
        if not (finite := np.isfinite(lane).all(-1)).all():
            raise UserError(
                f"The network's output for {clips.clip_ids[part[finite.argmin()]]} "
                f"({job.name}) is not finite. A smaller --learning_rate may help."
            )
    return [
        Predictions(
            classes=tuple(clips.classes),
            clips=np.array(clips.clip_ids)[part],
            datasets=np.array(clips.datasets)[part],
            subjects=np.array(clips.subjects)[part],
            seeds=np.full(len(part), job.seed),
            folds=np.full(len(part), job.fold.name),
            truth=clips.labels[part],
            probabilities=trainers.probabilities(lane),
        )
        for job, part, lane in zip(group, parts, logits, strict=True)
    ]


class _Curves:
    """The picture of a run's learning curves, now and then drawn anew."""

    def __init__(self, folder: RunFolder):
        self._folder = folder
        self._due = float("-inf")

    def redraw(self) -> None:
        start = time.monotonic()
        if cluster.is_first() and start > self._due:
            lines = runs.read_lines(self._folder.path)
            figures.save(figures.curves(lines), self._folder.path / "curves.png")
            took = time.monotonic() - start
            self._due = start + max(_REDRAW, took / _DRAWING)
