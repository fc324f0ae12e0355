"""The loop over epochs, for folds side by side."""

import dataclasses
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np
import optax

from meranet_jax import data
from meranet_jax.checkpoint import Checkpoints
from meranet_jax.config import TrainConfig
from meranet_jax.errors import UserError
from meranet_jax.trainers import Trainer


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
    clips: data.Clips,
    learners: Sequence[Learner],
    *,
    on_step: Callable[[int, dict[str, float]], None],
) -> None:
    """Train folds side by side, from their seeds; keep the last and best states.

    Args:
      trainer: has as many lanes or more.
      config: the run's.
      clips: all clips; those of test parts are not looked at.
      learners: what is trained.
      on_step: called after each step with the epoch and the means so far, over all.

    Raises:
      UserError: if a loss is no longer finite, the state that gave it is not kept; or a
        training part does not fill a batch.
    """
    steps = [epoch_steps(x.name, x.train, config.batch_size) for x in learners]
    trainer.start([x.seed for x in learners], [config.epochs * n for n in steps])
    for epoch in range(1, config.epochs + 1):
        start = time.perf_counter()
        orders = [
            data.epoch_order(x.train, config.batch_size, x.seed, epoch)
            for x in learners
        ]
        sums = {name: np.zeros(len(learners)) for name in ("loss", "correct", "clips")}
        for step in range(max(steps)):
            batches = [order[step] if step < len(order) else None for order in orders]
            result = jax.device_get(trainer.step(clips, batches))
            for name in sums:
                sums[name] += np.atleast_1d(result[name])[: len(learners)]
            _check_finite(sums["loss"], learners, f"step {step + 1} of epoch {epoch}")
            on_step(epoch, _means({name: n.sum() for name, n in sums.items()}))
        seconds = time.perf_counter() - start

        logits = trainer.predict(clips, [x.validation for x in learners])
        validation = [
            _means(_evaluate(lane, clips.labels[x.validation]))
            for lane, x in zip(logits, learners, strict=True)
        ]
        _check_finite(
            [v["loss"] for v in validation], learners, f"validation after epoch {epoch}"
        )
        states = trainer.states()
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
            learner.checkpoints.save(
                epoch,
                states[lane],
                {n: line[n] for n in ("validation_accuracy", "validation_loss")},
            )
            learner.on_epoch(line)


def time_step(
    trainer: Trainer, config: TrainConfig, clips: data.Clips, train: np.ndarray
) -> float:
    """Seconds that a step of all lanes takes here, without compilation."""
    trainer.start([config.seed] * trainer.lanes, [1] * trainer.lanes)
    batches = [train[: config.batch_size]] * trainer.lanes
    for _ in range(2):  # the first compiles
        start = time.perf_counter()
        jax.block_until_ready(trainer.step(clips, batches))
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
