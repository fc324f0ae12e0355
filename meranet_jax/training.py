"""The loop over epochs, for folds side by side."""

import dataclasses
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np
import optax

from meranet_jax import data
from meranet_jax.checkpoint import Checkpoints
from meranet_jax.config import Select, TrainConfig
from meranet_jax.errors import UserError
from meranet_jax.trainers import Trainer, Weights

# Seconds between two checkpoints of an unfinished fold. Nothing goes on from them yet.
# To write one at every epoch takes longer than the epoch on a fast device.
_SAVE = 60


@dataclasses.dataclass(frozen=True)
class Learner:
    """A fold as training sees it: without its test part.

    Attributes:
      name: for messages.
      seed: draws parameters, order and flips.
      train: indices of the clips that train.
      validation: of those that choose the checkpoint.
      checkpoints: where states are kept.
      on_epoch: called after each epoch with its line of metrics.
    """

    name: str
    seed: int
    train: np.ndarray
    validation: np.ndarray
    checkpoints: Checkpoints
    on_epoch: Callable[[dict[str, float]], None]


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What a fold is tested with.

    Attributes:
      epoch: after which.
      weights: then.
    """

    epoch: int
    weights: Weights


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


def train(
    trainer: Trainer,
    config: TrainConfig,
    labels: np.ndarray,
    learners: Sequence[Learner],
    *,
    on_step: Callable[[int, int, dict[str, float]], None],
) -> list[Chosen]:
    """Train folds side by side, from their seeds.

    Args:
      trainer: has as many lanes or more.
      config: the run's.
      labels: of all clips [N].
      learners: what is trained.
      on_step: called whenever steps are done, with the epoch, how many, and the means
        of the epoch so far, over all.

    Returns:
      For each fold the weights after the epoch that ``--select`` asks for.

    Raises:
      UserError: if a loss is no longer finite, the state that gave it is not kept; or a
        training part does not fill a batch.
    """
    steps = [epoch_steps(x.name, x.train, config.batch_size) for x in learners]
    trainer.resume(
        [
            trainer.fresh(x.seed, config.epochs * n)
            for x, n in zip(learners, steps, strict=True)
        ]
    )
    choices = [_Choice(config.select) for _ in learners]
    saved = time.monotonic()
    for epoch in range(1, config.epochs + 1):
        start = time.perf_counter()
        orders = [
            data.epoch_order(x.train, config.batch_size, x.seed, epoch)
            for x in learners
        ]
        sums = _train_epoch(trainer, learners, orders, epoch, on_step)
        seconds = time.perf_counter() - start
        parts = [x.validation for x in learners]
        validation = [
            _means(_evaluate(logits, labels[part]))
            for logits, part in zip(trainer.predict(parts), parts, strict=True)
        ]
        _check_finite(
            [v["loss"] for v in validation], learners, f"validation after epoch {epoch}"
        )
        due = time.monotonic() - saved > _SAVE and epoch < config.epochs
        for lane, learner in enumerate(learners):
            training = _means({name: n[lane] for name, n in sums.items()})
            done = epoch * steps[lane]
            line = {
                "epoch": epoch,
                "step": done,
                "learning_rate": float(
                    trainer.rate(done - 1, config.epochs * steps[lane])
                ),
                "train_loss": training["loss"],
                "train_accuracy": training["accuracy"],
                "validation_loss": validation[lane]["loss"],
                "validation_accuracy": validation[lane]["accuracy"],
                "seconds": seconds,
                "clips_per_second": sums["clips"].sum() / seconds,
            }
            choices[lane].see(
                line,
                lambda lane=lane: trainer.weights(lane),
                needed=due or epoch == config.epochs,
            )
            if due:
                learner.checkpoints.save(
                    epoch, {"state": trainer.state(lane), **vars(choices[lane].chosen)}
                )
            learner.on_epoch(line)
        if due:
            saved = time.monotonic()
    return [choice.chosen for choice in choices]


def _train_epoch(trainer, learners, orders, epoch, on_step) -> dict[str, np.ndarray]:
    """Sums over the epoch, [lanes]."""
    totals = {name: np.zeros(len(learners)) for name in ("loss", "correct", "clips")}

    def count(sums):
        sums = jax.device_get(sums)
        for name in totals:
            totals[name] += sums[name].sum(1, dtype=float)
        _check_finite(totals["loss"], learners, f"epoch {epoch}")
        steps = int((sums["clips"] > 0).any(0).sum())
        on_step(epoch, steps, _means({name: n.sum() for name, n in totals.items()}))

    before = None
    for sums in trainer.train(orders):
        # The sums of a call are waited for when the next is on its way.
        if before is not None:
            count(before)
        before = sums
    count(before)
    return totals


class _Choice:
    """The weights that are to be tested, as far as it is known."""

    def __init__(self, select: Select):
        self._select = select
        self._rank = None
        self.chosen: Chosen | None = None

    def see(
        self,
        line: dict[str, float],
        weights: Callable[[], Weights],
        *,
        needed: bool,
    ) -> None:
        """Whether those after an epoch are to be tested instead.

        ``best_val``: of the highest accuracy on the validation part; of equal ones that
        of the lowest loss, of equal ones the first. ``last``: the last, which are
        fetched when they are ``needed``.
        """
        rank = line["validation_accuracy"], -line["validation_loss"]
        better = self._rank is None or rank > self._rank
        if needed if self._select == "last" else better:
            self._rank = rank
            self.chosen = Chosen(line["epoch"], weights())


def time_step(trainer: Trainer, config: TrainConfig, train: np.ndarray) -> float:
    """Seconds that a step of all lanes takes here, without compilation."""
    trainer.resume([trainer.fresh(config.seed, 2)] * trainer.lanes)
    orders = [train[None, : config.batch_size]] * trainer.lanes
    for _ in range(2):  # the first compiles
        start = time.perf_counter()
        jax.block_until_ready(list(trainer.train(orders)))
        seconds = time.perf_counter() - start
    return seconds


def _check_finite(losses: Sequence[float], learners: Sequence[Learner], where: str):
    for loss, learner in zip(losses, learners, strict=True):
        if not np.isfinite(loss):
            raise UserError(
                f"The loss became {loss} in {where} of {learner.name}. A smaller "
                "--learning_rate may help."
            )


def _evaluate(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return {
        "loss": float(losses.sum()),
        "correct": int((logits.argmax(-1) == labels).sum()),
        "clips": len(labels),
    }


def _means(sums: dict[str, float]) -> dict[str, float]:
    return {
        "loss": float(sums["loss"] / sums["clips"]),
        "accuracy": float(sums["correct"] / sums["clips"]),
    }
