"""Fits the folds of a run, tests each once and saves its predictions."""

import contextlib
import functools
import time
from collections.abc import Iterator, Sequence

import numpy as np

from meranet_jax.data.clips import Clips
from meranet_jax.data.splits import Job
from meranet_jax.errors import UserError
from meranet_jax.evaluation.predictions import Predictions
from meranet_jax.runs import reader, subjects
from meranet_jax.runs.fold_writer import FoldFolder
from meranet_jax.runs.writer import RunFolder
from meranet_jax.training import distributed, signals
from meranet_jax.training.checkpoint import Checkpoints
from meranet_jax.training.fitters import Fitter
from meranet_jax.training.fold_progress import EpochMetrics, FoldTask
from meranet_jax.training.trainers import Weights

# Minimum seconds between two plots of the learning curves of a run in progress, and the
# largest fraction of the time that plotting may take.
_PLOT_INTERVAL = 10
_PLOT_FRACTION = 0.05


class RunObserver:
    """Receives the events of a run in progress; this base class ignores them."""

    def step(
        self,
        jobs: Sequence[Job],
        epoch: int,
        steps: int,
        means: dict[str, float] | None,
    ) -> None:
        """Called after training steps.

        Args:
          jobs: the folds that are fitted side by side.
          epoch: the current epoch, from 1.
          steps: number of steps since the last call.
          means: mean metrics of the epoch so far; None if there are none.
        """

    def skip(self, steps: int) -> None:
        """Called with the number of steps that an earlier start has done."""

    def epoch(self, job: Job, line: EpochMetrics) -> None:
        """Called with the metrics of a finished epoch of a fold."""

    def message(self, text: str) -> None:
        """Called with a message for the user."""


def folds_of_shard(jobs: Sequence[Job], shard: tuple[int, int] | None) -> Sequence[Job]:
    """Returns the folds of a shard, or all folds without one.

    Args:
      jobs: all folds of the run.
      shard: the index of the shard, from 0, and the number of shards.

    Raises:
      UserError: if the shard has no fold.
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


def folds_of_process(jobs: Sequence[Job], fitter: Fitter) -> Sequence[Job]:
    """Returns the folds that this process fits, of the folds of all processes."""
    if fitter.data_parallel:
        return jobs
    return jobs[distributed.process_index() :: distributed.process_count()]


def training_parts(jobs: Sequence[Job]) -> dict[str, np.ndarray]:
    """Returns the clip indices of the training part of each fold by fold name."""
    return {job.name: job.fold.train for job in jobs}


def run(
    folder: RunFolder,
    fitter: Fitter,
    clips: Clips,
    jobs: Sequence[Job],
    observer: RunObserver,
) -> None:
    """Fits and tests folds, as many at a time as the fitter has slots.

    Each fold resumes where an earlier start stopped, and is saved as soon as it is
    finished.

    Args:
      folder: the run folder.
      fitter: fits and tests the folds.
      clips: all clips.
      jobs: the unfinished folds of this process.
      observer: receives the events of the run.

    Raises:
      UserError: if a fold cannot be fitted or saved.
      Interrupted: if a signal asked the run to stop; all progress is saved.
    """
    curves = _LearningCurves(folder)
    writable = distributed.is_first() or not fitter.data_parallel
    with signals.defer() as stop:
        for first in range(0, len(jobs), fitter.slots):
            if stop.requested and not fitter.data_parallel:
                stop.raise_interrupted()
            group = jobs[first : first + fitter.slots]
            with contextlib.ExitStack() as folder_stack:
                folders = [
                    folder_stack.enter_context(folder.fold(job, writable=writable))
                    for job in group
                ]
                with contextlib.ExitStack() as task_stack:
                    tasks = [
                        task_stack.enter_context(
                            _task(job, fold, fitter, clips, observer, curves)
                        )
                        for job, fold in zip(group, folders, strict=True)
                    ]
                    selected = fitter.fit(
                        tasks,
                        on_step=functools.partial(observer.step, group),
                        on_skip=observer.skip,
                        stop=stop,
                    )
                    # Test parts are read only now, after the selection.
                    weights = [one.weights for one in selected]
                    predictions = predict(fitter, clips, group, weights)
                for job, fold, one, predicted in zip(
                    group, folders, selected, predictions, strict=True
                ):
                    trained_on = subjects.of_training(job.fold, clips)
                    fold.finish(one.weights, predicted, one.details, trained_on)


@contextlib.contextmanager
def _task(
    job: Job,
    folder: FoldFolder,
    fitter: Fitter,
    clips: Clips,
    observer: RunObserver,
    curves: "_LearningCurves",
) -> Iterator[FoldTask]:
    """Yields the fold as the fitter sees it, and keeps its checkpoints open."""

    def start(lines, done):
        folder.start_log(lines)
        if done:
            observer.message(
                f"{job.name} resumes in epoch {len(lines) + 1}, step {done}"
            )

    def epoch(line):
        folder.log_epoch(line)
        observer.epoch(job, line)
        curves.plot()

    def diverge(divergence):
        ids = np.array(clips.clip_ids)[divergence.clips].tolist()
        path = folder.save_divergence(divergence.where, ids, divergence.state)
        observer.message(f"{path} has the state and the clips of {divergence.where}.")

    with contextlib.ExitStack() as stack:
        checkpoints = None
        if fitter.keeps_checkpoints:
            checkpoints = stack.enter_context(
                Checkpoints(
                    folder.layout.checkpoints,
                    observer.message,
                    read_only=not folder.writable,
                )
            )
        yield FoldTask(
            name=job.name,
            seed=job.seed,
            train=job.fold.train,
            validation=job.fold.validation,
            checkpoints=checkpoints,
            on_start=start,
            on_epoch=epoch,
            on_divergence=diverge,
        )


def predict(
    fitter: Fitter,
    clips: Clips,
    group: Sequence[Job],
    weights: Sequence[Weights],
) -> list[Predictions]:
    """Predicts the test parts of folds.

    Args:
      fitter: predicts.
      clips: all clips.
      group: the folds, at most one for each slot of the fitter.
      weights: the weights of each fold.

    Raises:
      UserError: if an output is not finite.
    """
    parts = [job.fold.test for job in group]
    predicted = fitter.predict(parts, weights)
    for job, part, probabilities in zip(group, parts, predicted, strict=True):
        if not (finite := np.isfinite(probabilities).all(-1)).all():
            raise UserError(
                f"The output for {clips.clip_ids[part[finite.argmin()]]} ({job.name}) "
                "is not finite. A smaller --learning_rate may help."
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
            probabilities=probabilities,
        )
        for job, part, probabilities in zip(group, parts, predicted, strict=True)
    ]


class _LearningCurves:
    """Plots the learning curves of a run in progress from time to time."""

    def __init__(self, folder: RunFolder):
        self._layout = folder.layout
        self._next_plot = float("-inf")

    def plot(self) -> None:
        """Plots the curves if the last plot is old enough."""
        # Imported here, since many starts draw nothing and matplotlib takes long.
        from meranet_jax.evaluation import figures

        start = time.monotonic()
        if distributed.is_first() and start > self._next_plot:
            metrics = reader.read_epoch_metrics(self._layout.path)
            figures.save(
                figures.learning_curves(metrics), self._layout.figure("curves")
            )
            seconds = time.monotonic() - start
            self._next_plot = start + max(_PLOT_INTERVAL, seconds / _PLOT_FRACTION)
