"""Training loop over epochs, for folds in parallel.

Training can stop after any step. It resumes from the train state, the best weights so
far and the fold's progress (``fold_progress.FoldProgress``).
"""

import contextlib
import itertools
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np
import optax

from meranet_jax.config import TrainConfig
from meranet_jax.errors import UserError
from meranet_jax.training import distributed, trainers
from meranet_jax.training.fold_progress import (
    ZERO_SUMS,
    Divergence,
    EpochMetrics,
    FoldProgress,
    FoldTask,
    Selected,
    epoch_steps,
    is_best,
    rank,
)
from meranet_jax.training.signals import StopRequest
from meranet_jax.training.step import TrainState
from meranet_jax.training.trainers import Trainer


def train(
    trainer: Trainer,
    config: TrainConfig,
    labels: np.ndarray,
    tasks: Sequence[FoldTask],
    *,
    on_step: Callable[[int, int, dict[str, float]], None],
    on_skip: Callable[[int], None] = lambda steps: None,
    stop: StopRequest | None = None,
) -> list[Selected]:
    """Trains folds in parallel, from their seeds or their latest checkpoints.

    Args:
      trainer: has at least one slot for each fold.
      config: the run's.
      labels: int32 [N], labels of all clips.
      tasks: the folds.
      on_step: called when steps are done, with the epoch, the number of steps, and the
        means of the metrics in the epoch so far, over all folds.
      on_skip: called with the number of steps that were done before; parallel steps
        count once.
      stop: checked after each call of the devices.

    Returns:
      For each fold the weights after the epoch that ``--select`` selects.

    Raises:
      UserError: if a loss or gradient is not finite, a training part does not fill a
        batch, or a checkpoint cannot be written.
      Interrupted: if a stop was requested; checkpoints are saved before.
    """
    folds, states = zip(
        *(_start(trainer, config, task, labels) for task in tasks), strict=True
    )
    epochs = config.settings.epochs
    on_skip(epochs * max(fold.epoch_steps for fold in folds) - _remaining_steps(folds))
    trainer.set_states(states)
    keeper = _CheckpointKeeper(
        trainer, folds, config.settings.checkpoint_every, stop or StopRequest()
    )
    while any(fold.epoch <= epochs for fold in folds):
        active = [fold.epoch <= epochs for fold in folds]
        _train_epoch(trainer, folds, config.settings.batch_size, on_step, keeper)
        parts = [
            fold.task.validation if is_active else np.zeros(0, int)
            for fold, is_active in zip(folds, active, strict=True)
        ]
        logits = trainer.predict(parts)
        speed = _clips_per_second(folds, active)
        for slot in np.flatnonzero(active):
            fold, part = folds[slot], parts[slot]
            _check_validation(trainer, slot, fold, part, logits[slot])
            validation = _means(_evaluate(logits[slot], labels[part]))
            metrics = _epoch_metrics(trainer, fold, validation, speed)
            if config.settings.select == "best_val" and is_best(metrics, fold.history):
                fold.best = trainer.weights(slot)
            fold.add_epoch(metrics)
            fold.task.on_epoch(metrics)
        keeper.update()
    return [
        _select_weights(trainer, slot, fold, config) for slot, fold in enumerate(folds)
    ]


def _start(
    trainer: Trainer, config: TrainConfig, task: FoldTask, labels: np.ndarray
) -> tuple[FoldProgress, TrainState]:
    """Restores a fold from its latest checkpoint, or initialises it from its seed."""
    steps = epoch_steps(task.name, task.train, config.settings.batch_size)
    fold = FoldProgress(
        task,
        steps,
        config.settings.epochs,
        labels=labels if config.settings.balance else None,
    )

    def shapes(progress):
        fold.check(progress)
        state = {"state": trainer.state_shapes}
        best = {"best": trainers.weights_of(trainer.state_shapes)}
        return state | (best if progress["has_best"] else {})

    # The first process moves damaged checkpoints, so that all restore the same one.
    first = distributed.first_process_first(f"checkpoint of {task.name}")
    with first if trainer.data_parallel else contextlib.nullcontext():
        restored = task.checkpoints.restore_latest(shapes)
        step = 0 if restored is None else int(restored[0]["state"].step)
    if trainer.max_over_processes(step) != -trainer.max_over_processes(-step):
        raise UserError(
            f"The processes that train {task.name} found different checkpoints; this "
            f"process found step {step}. Give them access to the same --runs_dir."
        )
    if restored is None:
        state = trainer.initial_state(task.seed, config.settings.epochs * steps)
    else:
        arrays, progress = restored
        state = arrays["state"]
        fold.resume(progress, arrays.get("best"))
    task.on_start(fold.history, fold.steps_done)
    return fold, state


def _remaining_steps(folds: Sequence[FoldProgress]) -> int:
    """Returns the number of steps left; parallel steps count once."""
    steps = (fold.remaining_steps() for fold in folds)
    return sum(max(epoch) for epoch in itertools.zip_longest(*steps, fillvalue=0))


# Actions of processes that train the same fold; the highest of any process is taken.
_SAVE, _STOP = 1, 2


class _CheckpointKeeper:
    """Saves checkpoints periodically and handles stop requests."""

    def __init__(self, trainer, folds, seconds: float, stop: StopRequest):
        self._trainer, self._folds, self._stop = trainer, folds, stop
        self._seconds = seconds
        self._last = time.monotonic()

    def update(self, finish: Callable[[], None] = lambda: None) -> None:
        """Saves checkpoints if they are due, and stops if this was requested.

        Processes that train the same fold call this after the same steps and stop
        after the same step.

        Args:
          finish: waits for the steps in progress and counts them; called before saving.

        Raises:
          Interrupted: if a stop was requested of any process.
        """
        due = time.monotonic() - self._last >= self._seconds
        action = _STOP if self._stop.requested else _SAVE if due else 0
        # All processes must make the same calls of the devices.
        action = self._trainer.max_over_processes(action)
        if not action:
            return
        finish()
        for slot, fold in enumerate(self._folds):
            fold.task.checkpoints.save(
                fold.steps_done,
                lambda slot=slot, fold=fold: self._arrays(slot, fold),
                fold.to_json(),
            )
        if action == _STOP:
            for fold in self._folds:
                fold.task.checkpoints.wait()
            self._stop.raise_interrupted()
        self._last = time.monotonic()

    def _arrays(self, slot: int, fold: FoldProgress):
        best = {} if fold.best is None else {"best": fold.best}
        return {"state": self._trainer.state(slot)} | best


def _train_epoch(trainer, folds, batch_size, on_step, keeper) -> None:
    """Trains what is left of the current epoch of each fold."""
    orders = [fold.remaining_order(batch_size) for fold in folds]
    epoch = min(f.epoch for f, o in zip(folds, orders, strict=True) if o is not None)
    counted = time.perf_counter()

    def count(sums):
        nonlocal counted
        sums = jax.device_get(sums)
        now = time.perf_counter()
        for slot, fold in enumerate(folds):
            if (bad := sums["diverged"][slot] > 0).any():
                step = fold.step + int(bad.argmax())
                order = fold.remaining_order(batch_size)
                _report_divergence(
                    fold.task,
                    Divergence(
                        f"step {step + 1} of epoch {fold.epoch}",
                        order[bad.argmax()],
                        trainer.state(slot),
                    ),
                )
            # Added one by one, so that the sums do not depend on the steps per call.
            for name in fold.sums:
                for n in sums[name][slot].tolist():
                    fold.sums[name] += n
            fold.step += int((sums["clips"][slot] > 0).sum())
            fold.seconds += now - counted
        counted = now
        steps = int((sums["clips"] > 0).any(0).sum())
        on_step(epoch, steps, _means(_sum(fold.sums for fold in folds)))

    pending = None

    def finish():
        nonlocal pending
        if pending is not None:
            count(pending)
        pending = None

    with contextlib.closing(trainer.train(orders)) as calls:
        for sums in calls:
            # Waits for the sums of a call after the next call has been dispatched.
            finish()
            pending = sums
            keeper.update(finish)
        finish()


def _sum(sums):
    """Returns the sum of dictionaries of metrics by name."""
    total = dict(ZERO_SUMS)
    for more in sums:
        total = {name: n + more[name] for name, n in total.items()}
    return total


def _clips_per_second(folds, active) -> float:
    """Returns the clips trained per second in the current epoch, over all slots."""
    trained = list(itertools.compress(folds, active))
    seconds = max(fold.seconds for fold in trained)
    return _sum(fold.sums for fold in trained)["clips"] / seconds


def _epoch_metrics(
    trainer, fold: FoldProgress, validation: dict[str, float], speed: float
) -> EpochMetrics:
    training = _means(fold.sums)
    done, total = fold.steps_done, fold.epochs * fold.epoch_steps
    return {
        "epoch": fold.epoch,
        "step": done,
        "learning_rate": float(trainer.rate(done - 1, total)),
        "train_loss": training["loss"],
        "train_accuracy": training["accuracy"],
        "validation_loss": validation["loss"],
        "validation_accuracy": validation["accuracy"],
        "seconds": fold.seconds,
        "clips_per_second": speed,
    }


def _select_weights(
    trainer, slot: int, fold: FoldProgress, config: TrainConfig
) -> Selected:
    """Returns the best weights (``is_best``), or those after the last epoch."""
    if config.settings.select == "last":
        return Selected(trainer.weights(slot), {"epoch": config.settings.epochs})
    return Selected(fold.best, {"epoch": max(fold.history, key=rank)["epoch"]})


def time_step(trainer: Trainer, config: TrainConfig, train: np.ndarray) -> float:
    """Measures a step of all slots in seconds, without compilation."""
    trainer.set_states([trainer.initial_state(config.seed, 2)] * trainer.slots)
    orders = [train[None, : config.settings.batch_size]] * trainer.slots
    for _ in range(2):  # the first compiles
        start = time.perf_counter()
        jax.block_until_ready(list(trainer.train(orders)))
        seconds = time.perf_counter() - start
    return seconds


def _check_validation(trainer, slot: int, fold: FoldProgress, part, logits) -> None:
    bad = ~np.isfinite(logits).all(-1)
    if bad.any():
        _report_divergence(
            fold.task,
            Divergence(
                f"validation after epoch {fold.epoch}",
                part[bad],
                trainer.state(slot),
            ),
        )


def _report_divergence(task: FoldTask, divergence: Divergence) -> None:
    task.on_divergence(divergence)
    raise UserError(
        f"{task.name} diverged: the loss or its gradient is not finite in "
        f"{divergence.where}. Try a smaller --learning_rate, with another --name or "
        "--overwrite."
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
