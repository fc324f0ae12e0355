"""The loop over epochs, for folds side by side.

A fold can be left after any step: what it goes on from is its state, the weights that
were best so far, and a few facts (``fold_progress.FoldProgress``).
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
    NOTHING,
    Divergence,
    EpochMetrics,
    FoldProgress,
    FoldTask,
    Selected,
    epoch_steps,
    is_best,
    rank,
)
from meranet_jax.training.signals import Deferred
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
    stop: Deferred | None = None,
) -> list[Selected]:
    """Train folds side by side, from their seeds or their newest checkpoints.

    Args:
      trainer: has as many slots or more.
      config: the run's.
      labels: of all clips [N].
      tasks: what is trained.
      on_step: called whenever steps are done, with the epoch, how many, and the means
        of the epoch so far, over all.
      on_skip: called with how many steps were done before, those side by side counted
        once.
      stop: is asked after each call of the devices whether to leave.

    Returns:
      For each fold the weights after the epoch that ``--select`` asks for.

    Raises:
      UserError: if a loss or gradient is not finite; or a training part does not fill a
        batch; or a checkpoint cannot be written.
      Interrupted: if ``stop`` was asked; all states are kept.
    """
    folds, states = zip(*(_start(trainer, config, task) for task in tasks), strict=True)
    on_skip(config.settings.epochs * max(c.epoch_steps for c in folds) - _rounds(folds))
    trainer.resume(states)
    keeper = _Keeper(
        trainer, folds, config.settings.checkpoint_every, stop or Deferred()
    )
    while any(fold.epoch <= config.settings.epochs for fold in folds):
        active = [fold.epoch <= config.settings.epochs for fold in folds]
        _train_epoch(trainer, folds, config.settings.batch_size, on_step, keeper)
        parts = [
            fold.task.validation if is_active else np.zeros(0, int)
            for fold, is_active in zip(folds, active, strict=True)
        ]
        logits = trainer.predict(parts)
        speed = _speed(folds, active)
        for slot in np.flatnonzero(active):
            fold, part = folds[slot], parts[slot]
            _check_validation(trainer, slot, fold, part, logits[slot])
            validation = _means(_evaluate(logits[slot], labels[part]))
            line = _line(trainer, fold, validation, speed)
            if config.settings.select == "best_val" and is_best(line, fold.lines):
                fold.best = trainer.weights(slot)
            fold.add(line)
            fold.task.on_epoch(line)
        keeper.look()
    return [_choose(trainer, slot, fold, config) for slot, fold in enumerate(folds)]


def _start(
    trainer: Trainer, config: TrainConfig, task: FoldTask
) -> tuple[FoldProgress, TrainState]:
    """From the newest checkpoint, if there is one."""
    steps = epoch_steps(task.name, task.train, config.settings.batch_size)
    fold = FoldProgress(task, steps, config.settings.epochs)

    def shapes(facts):
        fold.check(facts)
        state = {"state": trainer.state_shapes}
        best = {"best": trainers.weights_of(trainer.state_shapes)}
        return state | (best if facts["has_best"] else {})

    # The first sets aside what is damaged, so that all find the same.
    ahead = distributed.first_ahead(f"checkpoint of {task.name}")
    with ahead if trainer.data_parallel else contextlib.nullcontext():
        kept = task.checkpoints.newest(shapes)
        done = 0 if kept is None else int(kept[0]["state"].step)
    most, least = trainer.max_over_processes(done), -trainer.max_over_processes(-done)
    if most != least:
        raise UserError(
            f"The processes that train {task.name} do not find the same checkpoint; "
            f"here it is that of step {done}. All must see the same --runs_dir."
        )
    if kept is None:
        state = trainer.fresh(task.seed, config.settings.epochs * steps)
    else:
        arrays, facts = kept
        state = arrays["state"]
        fold.go_on(facts, arrays.get("best"))
    task.on_start(fold.lines, fold.done)
    return fold, state


def _rounds(folds: Sequence[FoldProgress]) -> int:
    """Updates that are left, those side by side counted once."""
    lefts = itertools.zip_longest(*(fold.left() for fold in folds), fillvalue=0)
    return sum(max(left) for left in lefts)


# What one may wish of those that train a fold together; the most counts.
_SAVE, _LEAVE = 1, 2


class _Keeper:
    """Sees to it that no more than some seconds of work can be lost."""

    def __init__(self, trainer, folds, seconds: float, stop: Deferred):
        self._trainer, self._folds, self._stop = trainer, folds, stop
        self._seconds = seconds
        self._last = time.monotonic()

    def look(self, finish: Callable[[], None] = lambda: None) -> None:
        """Save what the trainer has, if it is time, and leave, if that was asked for.

        Those that train a fold together all ask, and leave after the same step, with
        what one of them has saved.

        Args:
          finish: waits for what is on its way and counts it; called before saving.

        Raises:
          Interrupted: if one of them was asked to leave.
        """
        due = time.monotonic() - self._last >= self._seconds
        wish = _LEAVE if self._stop.asked else _SAVE if due else 0
        wish = self._trainer.max_over_processes(
            wish
        )  # for their calls must stay the same
        if not wish:
            return
        finish()
        for slot, fold in enumerate(self._folds):
            fold.task.checkpoints.save(
                fold.done,
                lambda slot=slot, fold=fold: self._arrays(slot, fold),
                fold.facts(),
            )
        if wish == _LEAVE:
            for fold in self._folds:
                fold.task.checkpoints.wait()
            self._stop.leave()
        self._last = time.monotonic()

    def _arrays(self, slot: int, fold: FoldProgress):
        best = {} if fold.best is None else {"best": fold.best}
        return {"state": self._trainer.state(slot)} | best


def _train_epoch(trainer, folds, batch_size, on_step, keeper) -> None:
    """What lacks of the epoch of each."""
    orders = [fold.order(batch_size) for fold in folds]
    epoch = min(c.epoch for c, o in zip(folds, orders, strict=True) if o is not None)
    counted = time.perf_counter()

    def count(sums):
        nonlocal counted
        sums = jax.device_get(sums)
        now = time.perf_counter()
        for slot, fold in enumerate(folds):
            if (bad := sums["diverged"][slot] > 0).any():
                step = fold.step + int(bad.argmax())
                order = fold.order(batch_size)
                _tell_divergence(
                    fold.task,
                    Divergence(
                        f"update {step + 1} of epoch {fold.epoch}",
                        order[bad.argmax()],
                        trainer.state(slot),
                    ),
                )
            # One by one: how many steps are a call must not show in the last bits.
            for name in fold.sums:
                for n in sums[name][slot].tolist():
                    fold.sums[name] += n
            fold.step += int((sums["clips"][slot] > 0).sum())
            fold.seconds += now - counted
        counted = now
        steps = int((sums["clips"] > 0).any(0).sum())
        on_step(epoch, steps, _means(_sum(fold.sums for fold in folds)))

    before = None

    def finish():
        nonlocal before
        if before is not None:
            count(before)
        before = None

    with contextlib.closing(trainer.train(orders)) as calls:
        for sums in calls:
            # The sums of a call are waited for when the next is on its way.
            finish()
            before = sums
            keeper.look(finish)
        finish()


def _sum(sums):
    """Of dictionaries of numbers."""
    total = dict(NOTHING)
    for one in sums:
        total = {name: n + one[name] for name, n in total.items()}
    return total


def _speed(folds, active) -> float:
    """Clips a second in the epoch that was trained, over all slots."""
    trained = list(itertools.compress(folds, active))
    seconds = max(fold.seconds for fold in trained)
    return _sum(fold.sums for fold in trained)["clips"] / seconds


def _line(trainer, fold: FoldProgress, validation, speed: float) -> EpochMetrics:
    training = _means(fold.sums)
    done, all_steps = fold.done, fold.epochs * fold.epoch_steps
    return {
        "epoch": fold.epoch,
        "step": done,
        "learning_rate": float(trainer.rate(done - 1, all_steps)),
        "train_loss": training["loss"],
        "train_accuracy": training["accuracy"],
        "validation_loss": validation["loss"],
        "validation_accuracy": validation["accuracy"],
        "seconds": fold.seconds,
        "clips_per_second": speed,
    }


def _choose(trainer, slot: int, fold: FoldProgress, config: TrainConfig) -> Selected:
    """``best_val``: see ``is_best``. ``last``: what the slot has at its end."""
    if config.settings.select == "last":
        return Selected(trainer.weights(slot), {"epoch": config.settings.epochs})
    return Selected(fold.best, {"epoch": max(fold.lines, key=rank)["epoch"]})


def time_step(trainer: Trainer, config: TrainConfig, train: np.ndarray) -> float:
    """Seconds that a step of all slots takes here, without compilation."""
    trainer.resume([trainer.fresh(config.seed, 2)] * trainer.slots)
    orders = [train[None, : config.settings.batch_size]] * trainer.slots
    for _ in range(2):  # the first compiles
        start = time.perf_counter()
        jax.block_until_ready(list(trainer.train(orders)))
        seconds = time.perf_counter() - start
    return seconds


def _check_validation(trainer, slot: int, fold: FoldProgress, part, logits) -> None:
    bad = ~np.isfinite(logits).all(-1)
    if bad.any():
        _tell_divergence(
            fold.task,
            Divergence(
                f"validation after epoch {fold.epoch}",
                part[bad],
                trainer.state(slot),
            ),
        )


def _tell_divergence(task: FoldTask, divergence: Divergence) -> None:
    task.on_divergence(divergence)
    raise UserError(
        f"{task.name} diverged: in {divergence.where} the loss or its gradient is "
        "not finite. A smaller --learning_rate may help, with another --name or "
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
