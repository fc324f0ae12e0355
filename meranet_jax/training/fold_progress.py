"""A fold in training: what it is, and how far it has come."""

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

# The metrics of an epoch, by name.
EpochMetrics = dict[str, float]

# Sums over an epoch of which nothing is done.
NOTHING = {"loss": 0.0, "correct": 0.0, "clips": 0.0}

# What a fold goes on from, beside arrays.
_FACTS = ("lines", "step", "sums", "seconds")


@dataclasses.dataclass(frozen=True)
class Divergence:
    """What a loss or gradient that is not finite came of.

    Attributes:
      where: for people.
      clips: indices of the clips that gave it.
      state: the state that gave it; nothing was changed since.
    """

    where: str
    clips: np.ndarray
    state: TrainState


@dataclasses.dataclass(frozen=True)
class FoldTask:
    """A fold as training sees it: without its test part.

    Attributes:
      name: for messages.
      seed: draws parameters, order and flips.
      train: indices of the clips that train.
      validation: of those that choose the checkpoint.
      checkpoints: where states are kept, and found by the start after this one.
      on_start: called with the lines of the epochs, and the number of updates, that are
        done already.
      on_epoch: called after each epoch with its line of metrics.
      on_divergence: called before what is raised of it.
    """

    name: str
    seed: int
    train: np.ndarray
    validation: np.ndarray
    checkpoints: Checkpoints
    on_start: Callable[[list[EpochMetrics], int], None]
    on_epoch: Callable[[EpochMetrics], None]
    on_divergence: Callable[[Divergence], None]


@dataclasses.dataclass(frozen=True)
class Selected:
    """What a fold is tested with.

    Attributes:
      weights: a tree of arrays.
      details: how they were selected, as JSON can hold it; of a network ``epoch``.
    """

    weights: Weights
    details: dict[str, Any]


@dataclasses.dataclass
class FoldProgress:
    """How far a fold has come.

    Attributes:
      task: the fold.
      epoch_steps: updates of an epoch.
      epochs: how many there are to be.
      lines: of those that are done.
      step: updates of the next that are done,
      sums: over these, by name,
      seconds: and how long they took.
      best: the weights after the best epoch so far, if there is one.
    """

    task: FoldTask
    epoch_steps: int
    epochs: int
    lines: list[EpochMetrics] = dataclasses.field(default_factory=list)
    step: int = 0
    sums: dict[str, float] = dataclasses.field(default_factory=lambda: dict(NOTHING))
    seconds: float = 0.0
    best: Weights | None = None

    @property
    def epoch(self) -> int:
        """The one that is trained, from 1; one more than there are at the end."""
        return len(self.lines) + 1

    @property
    def done(self) -> int:
        """Updates since the start."""
        return len(self.lines) * self.epoch_steps + self.step

    def left(self) -> list[int]:
        """Updates that lack of each epoch to come."""
        epochs = self.epochs - len(self.lines)
        return [self.epoch_steps - self.step, *[self.epoch_steps] * (epochs - 1)][
            :epochs
        ]

    def order(self, batch_size: int) -> np.ndarray | None:
        """What lacks of this epoch, [steps, B]; None if there is none to come."""
        if self.epoch > self.epochs:
            return None
        it = self.task
        order = epoch_order(it.train, batch_size, it.seed, self.epoch)
        return order[self.step :]

    def add(self, line: EpochMetrics) -> None:
        """An epoch is done."""
        self.lines.append(line)
        self.step, self.sums, self.seconds = 0, dict(NOTHING), 0.0

    def facts(self) -> dict:
        """All but the arrays, as JSON has them; a copy."""
        facts = {name: getattr(self, name) for name in _FACTS}
        return copy.deepcopy(facts) | {"has_best": self.best is not None}

    def check(self, facts: dict) -> None:
        """Raises ValueError unless ``go_on`` can take these, whoever wrote them."""
        try:
            numbers = [facts["step"], facts["seconds"], *facts["sums"].values()]
            for line in facts["lines"]:
                numbers += [line["step"], *rank(line), *line.values()]
            fits = (
                all(type(n) in (int, float) and math.isfinite(n) for n in numbers)
                and all(line["epoch"] == n for n, line in enumerate(facts["lines"], 1))
                and type(facts["step"]) is int
                and 0 <= facts["step"] <= self.epoch_steps
                and len(facts["lines"]) <= self.epochs
                and not (facts["step"] and len(facts["lines"]) == self.epochs)
                and facts["seconds"] >= 0
                and (facts["seconds"] > 0 or not facts["step"])
                and facts["sums"].keys() == NOTHING.keys()
                and type(facts["has_best"]) is bool
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"it lacks {error}") from error
        if not fits:
            raise ValueError("what it says of the fold's progress cannot be")

    def go_on(self, facts: dict, best: Weights | None) -> None:
        """From what ``facts`` gave, and the best weights then."""
        self.best = best
        for name in _FACTS:
            setattr(self, name, facts[name])


def epoch_order(
    train: np.ndarray, batch_size: int, seed: int, epoch: int
) -> np.ndarray:
    """The batches of an epoch, [steps, batch_size] indices of clips.

    A new order each epoch. What does not fill a batch sits out this epoch: batches of
    one size need one compilation, and batch normalisation needs a full one.
    """
    rng = np.random.default_rng((seed, epoch))
    steps = len(train) // batch_size
    return rng.permutation(train)[: steps * batch_size].reshape(steps, batch_size)


def epoch_steps(name: str, train: np.ndarray, batch_size: int) -> int:
    """Updates of an epoch.

    Raises:
      UserError: if the training part, of the fold ``name``, does not fill a batch.
    """
    if len(train) < batch_size:
        raise UserError(
            f"The training part of {name} has {len(train)} clips, less than a batch of "
            f"{batch_size}. Choose a smaller --batch_size."
        )
    return len(train) // batch_size


def rank(line: EpochMetrics) -> tuple[float, float]:
    """The higher the better: accuracy on the validation part, then its loss."""
    return line["validation_accuracy"], -line["validation_loss"]


def is_best(line: EpochMetrics, before: Sequence[EpochMetrics]) -> bool:
    """Whether it is better than all before; of equal ones the first is the best."""
    return all(rank(line) > rank(other) for other in before)
