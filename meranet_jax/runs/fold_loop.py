"""A run from its folds to its predictions: each trained, tested once, kept."""

import contextlib
import functools
import time
from collections.abc import Iterator, Sequence

import numpy as np

from meranet_jax.config import TrainConfig
from meranet_jax.data.loading import Clips
from meranet_jax.data.splits import Job
from meranet_jax.errors import UserError
from meranet_jax.evaluation import figures
from meranet_jax.evaluation.predictions import Predictions
from meranet_jax.runs import reader
from meranet_jax.runs.writer import FoldFolder, RunFolder
from meranet_jax.training import distributed, fold_progress, loop, signals, trainers
from meranet_jax.training.checkpoint import Checkpoints
from meranet_jax.training.fold_progress import Learner, Line
from meranet_jax.training.trainers import Trainer

# Seconds between two drawings of the curves of a run in progress, and the share of the
# time that drawing may take.
_REDRAW = 10
_DRAWING = 0.05


class Watcher:
    """Is told how a run goes on; this one does nothing with it."""

    def step(
        self, jobs: Sequence[Job], epoch: int, steps: int, means: dict[str, float]
    ) -> None:
        """So many steps more are done; ``means`` are those of the epoch so far."""

    def skip(self, steps: int) -> None:
        """So many steps are not to be done, since an earlier start did them."""

    def epoch(self, job: Job, line: Line) -> None:
        """An epoch of a fold is done."""

    def tell(self, text: str) -> None:
        """What a user should know."""


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


def own(jobs: Sequence[Job], trainer: Trainer) -> Sequence[Job]:
    """Those that this process trains, of the folds of several."""
    return jobs if trainer.together else jobs[distributed.place() :: distributed.size()]


def epoch_steps(config: TrainConfig, jobs: Sequence[Job]) -> list[int]:
    """Steps of an epoch of each fold.

    Raises:
      UserError: if a training part does not fill a batch.
    """
    return [
        fold_progress.epoch_steps(job.name, job.fold.train, config.batch_size)
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
    watcher: Watcher,
) -> None:
    """Train and test folds, as many at a time as the trainer has lanes.

    Each goes on where an earlier start left it. Each that is finished is kept, whatever
    becomes of those after it.

    Args:
      folder: where.
      trainer: is used for all.
      config: the run's.
      clips: all clips.
      jobs: the folds that lack; of several processes each has its own.
      watcher: is told of all that happens.

    Raises:
      UserError: if a fold cannot be trained or kept.
      Interrupted: if a signal has come; nothing is lost by it.
    """
    curves = _Curves(folder)
    written = distributed.is_first() or not trainer.together
    with signals.deferred() as stop:
        for first in range(0, len(jobs), trainer.lanes):
            if stop.asked and not trainer.together:
                stop.leave()
            group = jobs[first : first + trainer.lanes]
            with contextlib.ExitStack() as folders_open:
                folders = [
                    folders_open.enter_context(folder.fold(job, written=written))
                    for job in group
                ]
                with contextlib.ExitStack() as learning:
                    learners = [
                        learning.enter_context(
                            _learner(job, fold, clips, watcher, curves)
                        )
                        for job, fold in zip(group, folders, strict=True)
                    ]
                    chosen = loop.train(
                        trainer,
                        config,
                        clips.labels,
                        learners,
                        on_step=functools.partial(watcher.step, group),
                        on_skip=watcher.skip,
                        stop=stop,
                    )
                    # The choices are made; now, and only now, the test parts are read.
                    weights = [choice.weights for choice in chosen]
                    tested = predict(trainer, clips, group, weights)
                for fold, choice, predicted in zip(
                    folders, chosen, tested, strict=True
                ):
                    fold.finish(choice.weights, predicted, choice.epoch)


@contextlib.contextmanager
def _learner(
    job: Job, folder: FoldFolder, clips: Clips, watcher: Watcher, curves: "_Curves"
) -> Iterator[Learner]:
    """A fold as training sees it, while its checkpoints are open."""

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

    with Checkpoints(
        folder.checkpoints, watcher.tell, read_only=not folder.written
    ) as checkpoints:
        yield Learner(
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
        if distributed.is_first() and start > self._due:
            lines = reader.read_lines(self._folder.path)
            figures.save(
                figures.learning_curves(lines), self._folder.path / "curves.png"
            )
            took = time.monotonic() - start
            self._due = start + max(_REDRAW, took / _DRAWING)
