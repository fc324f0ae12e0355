"""The loop over epochs, for folds side by side.

A fold can be left after any step: what it goes on from is its state, the weights that
were best so far, and a few facts (``fold_progress.Course``).
"""

import contextlib
import dataclasses
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
    Course,
    Divergence,
    Learner,
    Line,
    epoch_steps,
    is_best,
    rank,
)
from meranet_jax.training.signals import Deferred
from meranet_jax.training.step import TrainState
from meranet_jax.training.trainers import Trainer, Weights


@dataclasses.dataclass(frozen=True)
class Chosen:
    """What a fold is tested with.

    Attributes:
      epoch: after which.
      weights: then.
    """

    epoch: int
    weights: Weights


def train(
    trainer: Trainer,
    config: TrainConfig,
    labels: np.ndarray,
    learners: Sequence[Learner],
    *,
    on_step: Callable[[int, int, dict[str, float]], None],
    on_skip: Callable[[int], None] = lambda steps: None,
    stop: Deferred | None = None,
) -> list[Chosen]:
    """Train folds side by side, from their seeds or their newest checkpoints.

    Args:
      trainer: has as many lanes or more.
      config: the run's.
      labels: of all clips [N].
      learners: what is trained.
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
    courses, states = zip(
        *(_start(trainer, config, learner) for learner in learners), strict=True
    )
    on_skip(config.epochs * max(c.of_epoch for c in courses) - _rounds(courses))
    trainer.resume(states)
    keeper = _Keeper(trainer, courses, config.checkpoint_every, stop or Deferred())
    while any(course.epoch <= config.epochs for course in courses):
        active = [course.epoch <= config.epochs for course in courses]
        _train_epoch(trainer, courses, config.batch_size, on_step, keeper)
        parts = [
            course.learner.validation if is_active else np.zeros(0, int)
            for course, is_active in zip(courses, active, strict=True)
        ]
        logits = trainer.predict(parts)
        speed = _speed(courses, active)
        for lane in np.flatnonzero(active):
            course, part = courses[lane], parts[lane]
            _check_validation(trainer, lane, course, part, logits[lane])
            validation = _means(_evaluate(logits[lane], labels[part]))
            line = _line(trainer, course, validation, speed)
            if config.select == "best_val" and is_best(line, course.lines):
                course.best = trainer.weights(lane)
            course.add(line)
            course.learner.on_epoch(line)
        keeper.look()
    return [
        _choose(trainer, lane, course, config) for lane, course in enumerate(courses)
    ]


def _start(
    trainer: Trainer, config: TrainConfig, learner: Learner
) -> tuple[Course, TrainState]:
    """From the newest checkpoint, if there is one."""
    steps = epoch_steps(learner.name, learner.train, config.batch_size)
    course = Course(learner, steps, config.epochs)

    def shapes(facts):
        course.check(facts)
        state = {"state": trainer.state_shapes}
        best = {"best": trainers.weights_of(trainer.state_shapes)}
        return state | (best if facts["has_best"] else {})

    # The first sets aside what is damaged, so that all find the same.
    ahead = distributed.first_ahead(f"checkpoint of {learner.name}")
    with ahead if trainer.together else contextlib.nullcontext():
        kept = learner.checkpoints.newest(shapes)
        done = 0 if kept is None else int(kept[0]["state"].step)
    most, least = trainer.most(done), -trainer.most(-done)
    if most != least:
        raise UserError(
            f"The processes that train {learner.name} do not find the same checkpoint; "
            f"here it is that of step {done}. All must see the same --runs_dir."
        )
    if kept is None:
        state = trainer.fresh(learner.seed, config.epochs * steps)
    else:
        arrays, facts = kept
        state = arrays["state"]
        course.go_on(facts, arrays.get("best"))
    learner.on_start(course.lines, course.done)
    return course, state


def _rounds(courses: Sequence[Course]) -> int:
    """Updates that are left, those side by side counted once."""
    lefts = itertools.zip_longest(*(course.left() for course in courses), fillvalue=0)
    return sum(max(left) for left in lefts)


# What one may wish of those that train a fold together; the most counts.
_SAVE, _LEAVE = 1, 2


class _Keeper:
    """Sees to it that no more than some seconds of work can be lost."""

    def __init__(self, trainer, courses, seconds: float, stop: Deferred):
        self._trainer, self._courses, self._stop = trainer, courses, stop
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
        wish = self._trainer.most(wish)  # for their calls must stay the same
        if not wish:
            return
        finish()
        for lane, course in enumerate(self._courses):
            course.learner.checkpoints.save(
                course.done,
                lambda lane=lane, course=course: self._arrays(lane, course),
                course.facts(),
            )
        if wish == _LEAVE:
            for course in self._courses:
                course.learner.checkpoints.wait()
            self._stop.leave()
        self._last = time.monotonic()

    def _arrays(self, lane: int, course: Course):
        best = {} if course.best is None else {"best": course.best}
        return {"state": self._trainer.state(lane)} | best


def _train_epoch(trainer, courses, batch_size, on_step, keeper) -> None:
    """What lacks of the epoch of each."""
    orders = [course.order(batch_size) for course in courses]
    epoch = min(c.epoch for c, o in zip(courses, orders, strict=True) if o is not None)
    counted = time.perf_counter()

    def count(sums):
        nonlocal counted
        sums = jax.device_get(sums)
        now = time.perf_counter()
        for lane, course in enumerate(courses):
            if (bad := sums["diverged"][lane] > 0).any():
                step = course.step + int(bad.argmax())
                order = course.order(batch_size)
                _tell_divergence(
                    course.learner,
                    Divergence(
                        f"update {step + 1} of epoch {course.epoch}",
                        order[bad.argmax()],
                        trainer.state(lane),
                    ),
                )
            # One by one: how many steps are a call must not show in the last bits.
            for name in course.sums:
                for n in sums[name][lane].tolist():
                    course.sums[name] += n
            course.step += int((sums["clips"][lane] > 0).sum())
            course.seconds += now - counted
        counted = now
        steps = int((sums["clips"] > 0).any(0).sum())
        on_step(epoch, steps, _means(_sum(course.sums for course in courses)))

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


def _speed(courses, active) -> float:
    """Clips a second in the epoch that was trained, over all lanes."""
    trained = list(itertools.compress(courses, active))
    seconds = max(course.seconds for course in trained)
    return _sum(course.sums for course in trained)["clips"] / seconds


def _line(trainer, course: Course, validation, speed: float) -> Line:
    training = _means(course.sums)
    done, all_steps = course.done, course.epochs * course.of_epoch
    return {
        "epoch": course.epoch,
        "step": done,
        "learning_rate": float(trainer.rate(done - 1, all_steps)),
        "train_loss": training["loss"],
        "train_accuracy": training["accuracy"],
        "validation_loss": validation["loss"],
        "validation_accuracy": validation["accuracy"],
        "seconds": course.seconds,
        "clips_per_second": speed,
    }


def _choose(trainer, lane: int, course: Course, config: TrainConfig) -> Chosen:
    """``best_val``: see ``is_best``. ``last``: what the lane has at its end."""
    if config.select == "last":
        return Chosen(config.epochs, trainer.weights(lane))
    return Chosen(max(course.lines, key=rank)["epoch"], course.best)


def time_step(trainer: Trainer, config: TrainConfig, train: np.ndarray) -> float:
    """Seconds that a step of all lanes takes here, without compilation."""
    trainer.resume([trainer.fresh(config.seed, 2)] * trainer.lanes)
    orders = [train[None, : config.batch_size]] * trainer.lanes
    for _ in range(2):  # the first compiles
        start = time.perf_counter()
        jax.block_until_ready(list(trainer.train(orders)))
        seconds = time.perf_counter() - start
    return seconds


def _check_validation(trainer, lane: int, course: Course, part, logits) -> None:
    bad = ~np.isfinite(logits).all(-1)
    if bad.any():
        _tell_divergence(
            course.learner,
            Divergence(
                f"validation after epoch {course.epoch}",
                part[bad],
                trainer.state(lane),
            ),
        )


def _tell_divergence(learner: Learner, divergence: Divergence) -> None:
    learner.on_divergence(divergence)
    raise UserError(
        f"{learner.name} diverged: in {divergence.where} the loss or its gradient is "
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
