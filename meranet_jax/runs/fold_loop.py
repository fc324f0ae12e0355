"""The folds of a run: each is fitted, tested once, and its predictions are saved."""

import contextlib
import functools
import time
from collections.abc import Iterator, Sequence

import numpy as np

from meranet_jax.data.loading import Clips
from meranet_jax.data.splits import Job
from meranet_jax.errors import UserError
from meranet_jax.evaluation import figures
from meranet_jax.evaluation.predictions import Predictions
from meranet_jax.runs import reader
from meranet_jax.runs.writer import FoldFolder, RunFolder
from meranet_jax.training import distributed, signals
from meranet_jax.training.checkpoint import Checkpoints
from meranet_jax.training.fitters import Fitter
from meranet_jax.training.fold_progress import EpochMetrics, FoldTask
from meranet_jax.training.trainers import Weights

# Seconds between two drawings of the curves of a run in progress, and the share of the
# time that drawing may take.
_REDRAW = 10
_DRAWING = 0.05


class Watcher:
    """Is told how a run goes on; this one does nothing with it."""

    def step(
        self,
        jobs: Sequence[Job],
        epoch: int,
        steps: int,
        means: dict[str, float] | None,
    ) -> None:
        """So many steps more are done; ``means`` are those of the epoch so far."""

    def skip(self, steps: int) -> None:
        """So many steps are not to be done, since an earlier start did them."""

    def epoch(self, job: Job, line: EpochMetrics) -> None:
        """An epoch of a fold is done."""

    def tell(self, text: str) -> None:
        """What a user should know."""


def folds_of_shard(jobs: Sequence[Job], shard: tuple[int, int] | None) -> Sequence[Job]:
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


def folds_of_process(jobs: Sequence[Job], fitter: Fitter) -> Sequence[Job]:
    """Returns the folds that this process fits, of the folds of all processes."""
    if fitter.data_parallel:
        return jobs
    return jobs[distributed.process_index() :: distributed.process_count()]


def training_parts(jobs: Sequence[Job]) -> dict[str, np.ndarray]:
    """Returns the training part of each fold by the fold's name."""
    return {job.name: job.fold.train for job in jobs}


def run(
    folder: RunFolder,
    fitter: Fitter,
    clips: Clips,
    jobs: Sequence[Job],
    watcher: Watcher,
) -> None:
    """Fits and tests folds, as many at a time as the fitter has slots.

    Each resumes where an earlier start left it. A finished fold is saved, whatever
    happens to those after it.

    Args:
      folder: the run's.
      fitter: fits and tests all of them.
      clips: all clips.
      jobs: the missing folds of this process.
      watcher: is told of all that happens.

    Raises:
      UserError: if a fold cannot be fitted or saved.
      Interrupted: if a signal has come; nothing is lost by it.
    """
    curves = _Curves(folder)
    written = distributed.is_first() or not fitter.data_parallel
    with signals.defer() as stop:
        for first in range(0, len(jobs), fitter.slots):
            if stop.requested and not fitter.data_parallel:
                stop.raise_interrupted()
            group = jobs[first : first + fitter.slots]
            with contextlib.ExitStack() as folders_open:
                folders = [
                    folders_open.enter_context(folder.fold(job, written=written))
                    for job in group
                ]
                with contextlib.ExitStack() as learning:
                    tasks = [
                        learning.enter_context(
                            _task(job, fold, fitter, clips, watcher, curves)
                        )
                        for job, fold in zip(group, folders, strict=True)
                    ]
                    chosen = fitter.fit(
                        tasks,
                        on_step=functools.partial(watcher.step, group),
                        on_skip=watcher.skip,
                        stop=stop,
                    )
                    # The choices are made; now, and only now, the test parts are read.
                    weights = [choice.weights for choice in chosen]
                    tested = predict(fitter, clips, group, weights)
                for fold, choice, predicted in zip(
                    folders, chosen, tested, strict=True
                ):
                    fold.finish(choice.weights, predicted, choice.details)


@contextlib.contextmanager
def _task(
    job: Job,
    folder: FoldFolder,
    fitter: Fitter,
    clips: Clips,
    watcher: Watcher,
    curves: "_Curves",
) -> Iterator[FoldTask]:
    """A fold as fitting sees it, while its checkpoints are open."""

    def start(lines, done):
        folder.begin(lines)
        if done:
            watcher.tell(f"{job.name} goes on in epoch {len(lines) + 1}, step {done}")

    def epoch(line):
        folder.log_epoch(line)
        watcher.epoch(job, line)
        curves.redraw()

    def diverge(divergence):
        ids = np.array(clips.clip_ids)[divergence.clips].tolist()
        kept = folder.keep_divergence(divergence.where, ids, divergence.state)
        watcher.tell(f"{kept} has the state and the clips of {divergence.where}.")

    with contextlib.ExitStack() as stack:
        checkpoints = None
        if fitter.keeps_checkpoints:
            checkpoints = stack.enter_context(
                Checkpoints(
                    folder.checkpoints, watcher.tell, read_only=not folder.written
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
    """What the weights of some folds, one a slot, predict of their test parts.

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


class _Curves:
    """The picture of a run's learning curves, now and then drawn anew."""

    def __init__(self, folder: RunFolder):
        self._folder = folder
        self._due = float("-inf")

    def redraw(self) -> None:
        start = time.monotonic()
        if distributed.is_first() and start > self._due:
            lines = reader.read_lines(self._folder.path)
            figures.save(
                figures.learning_curves(lines), self._folder.path / "curves.png"
            )
            took = time.monotonic() - start
            self._due = start + max(_REDRAW, took / _DRAWING)
