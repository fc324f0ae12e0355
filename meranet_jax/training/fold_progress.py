"""A fold as a task of training, and the progress of its training."""

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from meranet_jax.errors import UserError
from meranet_jax.training.checkpoint import Checkpoints
from meranet_jax.training.step import TrainState
from meranet_jax.training.trainers import Weights

# Metrics of one epoch by name, a line of metrics.jsonl.
EpochMetrics = dict[str, float]

# Sums of metrics over no steps.
ZERO_SUMS = {"loss": 0.0, "correct": 0.0, "clips": 0.0}

# Attributes of FoldProgress in a checkpoint, by their JSON keys.
_SAVED = {"lines": "history", "step": "step", "sums": "sums", "seconds": "seconds"}


@dataclasses.dataclass(frozen=True)
class Divergence:
    """The origin of a loss or gradient that is not finite.

    Attributes:
      where: description of the step, for messages.
      clips: indices of the clips of the step.
      state: the state before the step.
    """

    where: str
    clips: np.ndarray
    state: TrainState


@dataclasses.dataclass(frozen=True)
class FoldTask:
    """A fold to be trained, without its test part.

    Attributes:
      name: for messages.
      seed: seed of parameters, order and flips.
      train: int [N], indices of the training clips.
      validation: int [N], indices of the clips that select the checkpoint.
      checkpoints: saves and restores the fold's state; None for a recogniser that is
        not resumed within a fold.
      on_start: called with the metrics of the epochs that are done already, and the
        number of steps that are done.
      on_epoch: called after each epoch with its metrics.
      on_divergence: called before the error is raised.
    """

    name: str
    seed: int
    train: np.ndarray
    validation: np.ndarray
    checkpoints: Checkpoints | None
    on_start: Callable[[list[EpochMetrics], int], None]
    on_epoch: Callable[[EpochMetrics], None]
    on_divergence: Callable[[Divergence], None]


@dataclasses.dataclass(frozen=True)
class Selected:
    """The weights that were selected for the test of a fold.

    Attributes:
      weights: a tree of arrays.
      details: how they were selected, JSON-serialisable; the ``epoch`` of a network.
    """

    weights: Weights
    details: dict[str, Any]


@dataclasses.dataclass
class FoldProgress:
    """Progress of the training of a fold.

    Attributes:
      task: the fold.
      epoch_steps: number of steps in an epoch.
      epochs: number of epochs to train.
      labels: int [N], labels of all clips, if each class is to be drawn equally often.
      history: metrics of each completed epoch.
      step: number of steps done in the current epoch.
      sums: sums of metrics over these steps, by name.
      seconds: duration of these steps.
      best: weights after the best epoch so far, if any.
    """

    task: FoldTask
    epoch_steps: int
    epochs: int
    labels: np.ndarray | None = None
    history: list[EpochMetrics] = dataclasses.field(default_factory=list)
    step: int = 0
    sums: dict[str, float] = dataclasses.field(default_factory=lambda: dict(ZERO_SUMS))
    seconds: float = 0.0
    best: Weights | None = None

    @property
    def epoch(self) -> int:
        """The current epoch, from 1; ``epochs`` + 1 at the end."""
        return len(self.history) + 1

    @property
    def steps_done(self) -> int:
        """Number of steps done since the start."""
        return len(self.history) * self.epoch_steps + self.step

    def remaining_steps(self) -> list[int]:
        """Returns the number of steps left in the current and in each later epoch."""
        epochs = self.epochs - len(self.history)
        return [self.epoch_steps - self.step, *[self.epoch_steps] * (epochs - 1)][
            :epochs
        ]

    def remaining_order(self, batch_size: int) -> np.ndarray | None:
        """Returns the indices [steps, B] of the batches left in the current epoch.

        None if all epochs are done.
        """
        if self.epoch > self.epochs:
            return None
        task = self.task
        order = epoch_order(task.train, batch_size, task.seed, self.epoch, self.labels)
        return order[self.step :]

    def add_epoch(self, metrics: EpochMetrics) -> None:
        """Completes the current epoch with its metrics."""
        self.history.append(metrics)
        self.step, self.sums, self.seconds = 0, dict(ZERO_SUMS), 0.0

    def to_json(self) -> dict:
        """Returns a JSON-serialisable copy of everything but the weights."""
        saved = {key: getattr(self, name) for key, name in _SAVED.items()}
        return copy.deepcopy(saved) | {"has_best": self.best is not None}

    def check(self, saved: dict) -> None:
        """Checks what ``to_json`` returned, or another program may have written.

        Raises:
          ValueError: if this fold cannot be resumed from it.
        """
        try:
            numbers = [saved["step"], saved["seconds"], *saved["sums"].values()]
            for metrics in saved["lines"]:
                numbers += [metrics["step"], *rank(metrics), *metrics.values()]
            valid = (
                all(type(n) in (int, float) and math.isfinite(n) for n in numbers)
                and all(m["epoch"] == n for n, m in enumerate(saved["lines"], 1))
                and type(saved["step"]) is int
                and 0 <= saved["step"] <= self.epoch_steps
                and len(saved["lines"]) <= self.epochs
                and not (saved["step"] and len(saved["lines"]) == self.epochs)
                and saved["seconds"] >= 0
                and (saved["seconds"] > 0 or not saved["step"])
                and saved["sums"].keys() == ZERO_SUMS.keys()
                and type(saved["has_best"]) is bool
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"progress of the fold is malformed: {error}") from error
        if not valid:
            raise ValueError("progress of the fold is impossible")

    def resume(self, saved: dict, best: Weights | None) -> None:
        """Sets the progress to what ``to_json`` returned.

        Args:
          saved: checked by ``check``.
          best: the best weights at that time, if any.
        """
        self.best = best
        for key, name in _SAVED.items():
            setattr(self, name, saved[key])


def epoch_order(
    train: np.ndarray,
    batch_size: int,
    seed: int,
    epoch: int,
    labels: np.ndarray | None = None,
) -> np.ndarray:
    """Draws the batches of an epoch in a new order.

    Clips that do not fill a batch are left out of this epoch: batches of equal size
    need one compilation only, and batch normalisation needs complete batches.

    Args:
      train: int [N], indices of the training clips.
      batch_size: B.
      seed: of the fold.
      epoch: from 1.
      labels: int, labels of all clips. If given, an epoch has as many clips of each
        class: clips of rare classes are repeated, and some of common ones left out.

    Returns:
      int [steps, B], indices of clips.
    """
    rng = np.random.default_rng((seed, epoch))
    steps = len(train) // batch_size
    if labels is not None:
        train = _balance(train, labels, steps * batch_size, rng)
    return rng.permutation(train)[: steps * batch_size].reshape(steps, batch_size)


def _balance(
    train: np.ndarray, labels: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws clips so that the numbers of the classes differ by at most one.

    Within a class the numbers of the clips differ by at most one, too.

    Args:
      train: int [N], indices of the training clips.
      labels: int, labels of all clips.
      count: number of clips to draw.
      rng: draws them.
    """
    classes = rng.permutation(np.unique(labels[train]))
    drawn = []
    for place, label in enumerate(classes):
        clips = train[labels[train] == label]
        needed = count // len(classes) + (place < count % len(classes))
        rounds = -(-needed // len(clips))
        drawn.append(
            np.concatenate([rng.permutation(clips) for _ in range(rounds)])[:needed]
        )
    return np.concatenate(drawn)


def epoch_steps(name: str, train: np.ndarray, batch_size: int) -> int:
    """Returns the number of steps in an epoch.

    Args:
      name: of the fold, for the message.
      train: int [N], indices of the training clips.
      batch_size: number of clips in a batch.

    Raises:
      UserError: if the training part does not fill a batch.
    """
    if len(train) < batch_size:
        raise UserError(
            f"The training part of {name} has {len(train)} clips, fewer than a batch "
            f"of {batch_size}. Choose a smaller --batch_size."
        )
    return len(train) // batch_size


def rank(metrics: EpochMetrics) -> tuple[float, float]:
    """Returns the key by which epochs are compared; higher is better.

    Validation accuracy comes first; the lower validation loss breaks ties.
    """
    return metrics["validation_accuracy"], -metrics["validation_loss"]


def is_best(metrics: EpochMetrics, previous: Sequence[EpochMetrics]) -> bool:
    """Returns whether an epoch is better than all previous ones."""
    return all(rank(metrics) > rank(other) for other in previous)
