"""A run that is interrupted at any step has the same result as an uninterrupted run."""

import contextlib
import itertools
import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from meranet_jax.errors import UserError
from meranet_jax.runs import layout, reader
from meranet_jax.training import signals, trainers
from meranet_jax.training.checkpoint import read_weights
from tests.meranet_jax.loading import smallest
from tests.meranet_jax.running import plan, run

pytestmark = pytest.mark.e2e

# Hold-outs on one and two devices and as by default, which with the extension is one
# device with all cores; and four folds of two lengths in three slots.
KINDS = {
    "one": {"epochs": 2, "batch_size": 4},
    "two": {"epochs": 2, "batch_size": 4, "devices": 2},
    "default": {"epochs": 2, "batch_size": 4, "devices": None},
    "folds": {"protocol": "loso", "devices": 3, "select": "last"},
}


@pytest.fixture(scope="module")
def kind(request, some, tmp_path_factory):
    """Configuration, trainer, an uninterrupted run, and its number of calls."""
    folder = tmp_path_factory.mktemp(request.param)
    config = smallest(folder, learning_rate=1e-2, **KINDS[request.param])
    trainer = trainers.make_trainer(config, some, folds=plan(config, some)[1])
    calls = []
    watch = {"step": lambda *args: calls.append(args)}
    path = run(config, some, trainer=trainer, watch=watch)
    return config, trainer, path, len(calls)


@pytest.fixture(scope="module")
def holdout(some, tmp_path_factory):
    """Configuration, trainer and an uninterrupted run of a hold-out of six steps."""
    config = smallest(tmp_path_factory.mktemp("holdout"), batch_size=5)
    trainer = trainers.make_trainer(config, some, folds=1)
    return config, trainer, run(config, some, trainer=trainer)


class Killed(Exception):
    """Ends a run without saving, as if its process were killed."""


def interrupting(after, how):
    """Returns methods of a watcher that interrupt after a number of calls."""
    calls = itertools.count()

    def step(*args):
        if next(calls) == after:
            how()

    return {"step": step}


def kill():
    raise Killed


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def log(path):
    """Returns the metrics of all folds without durations."""
    return {
        fold: [
            {k: v for k, v in line.items() if k not in ("seconds", "clips_per_second")}
            for line in lines
        ]
        for fold, lines in reader.read_epoch_metrics(path).items()
    }


def assert_equal(path, other, trainer):
    """Compares predictions, metrics, selected epochs and weights bit by bit."""
    assert log(path) == log(other)
    shapes = trainers.weights_of(trainer.state_shapes)
    for fold in (path / "folds").iterdir():
        expected = other / "folds" / fold.name
        assert {p.name for p in fold.iterdir()} == {p.name for p in expected.iterdir()}
        for name in ("fold.json", "predictions.csv"):
            assert (fold / name).read_bytes() == (expected / name).read_bytes()
        weights = (read_weights(p / "weights", shapes) for p in (fold, expected))
        jax.tree.map(np.testing.assert_array_equal, *weights)
        events = EventAccumulator(str(fold / "events")).Reload()
        steps = [event.step for event in events.Scalars("train_loss")]
        assert steps == [
            line["step"] for line in reader.read_epoch_metrics(path)[fold.name]
        ]


def interrupt(config, clips, trainer, after, how):
    """Interrupts a run after a number of calls; returns its configuration."""
    config = config.change(name=f"interrupted{after}", checkpoint_every=0)
    with pytest.raises((Killed, signals.Interrupted)):
        run(config, clips, watch=interrupting(after, how), trainer=trainer)
    return config


def resume(config, clips, trainer):
    """Resumes a run; returns its folder and the messages to the user."""
    messages = []
    path = run(config, clips, watch={"message": messages.append}, trainer=trainer)
    return path, messages


# make test interrupts a hold-out on one device and on all, and folds in slots, each in
# one way; make faults all of them in both ways.
@pytest.mark.parametrize(
    ("kind", "how"),
    [
        pytest.param(
            *(kind, how),
            marks=[pytest.mark.slow]
            * (
                (kind, how)
                not in (("one", kill), ("folds", terminate), ("default", terminate))
            ),
        )
        for kind in KINDS
        for how in (kill, terminate)
    ],
    indirect=["kind"],
)
def test_interrupted_after_any_step(kind, some, tmp_path, how):
    config, trainer, complete, calls = kind
    config = config.change(runs_dir=str(tmp_path))
    every_other = range(how is terminate, calls, 2)
    resumed = 0
    for after in every_other:
        interrupted = interrupt(config, some, trainer, after, how)
        path, messages = resume(interrupted, some, trainer)
        assert_equal(path, complete, trainer)
        resumed += bool(messages)
    # Without a checkpoint of the folds in training there is no message.
    assert resumed >= len(every_other) - 2


def test_interrupted_between_calls_of_several_steps(holdout, some, tmp_path):
    """As on an accelerator: calls of two steps, epochs of three."""
    config, trainer, single = holdout
    config = config.change(runs_dir=str(tmp_path))
    trainer = trainers.make_trainer(config, some, folds=1, steps_per_call=2)
    complete = run(config, some, trainer=trainer)
    for name, history in log(single).items():
        for metrics, other in zip(history, log(complete)[name], strict=True):
            assert metrics == pytest.approx(other, rel=1e-5)
    for after in range(4):
        interrupted = interrupt(config, some, trainer, after, kill)
        path, _ = resume(interrupted, some, trainer)
        assert_equal(path, complete, trainer)


@pytest.mark.slow
def test_interrupted_repeatedly(holdout, some, tmp_path):
    config, trainer, complete = holdout
    calls = 6
    config = config.change(runs_dir=str(tmp_path))
    starts, path = 0, None
    while path is None and starts < 2 * calls:
        starts += 1
        with contextlib.suppress(signals.Interrupted):
            path = run(config, some, watch=interrupting(0, terminate), trainer=trainer)
    assert starts > calls / 2  # a call is dispatched before the previous is reported
    assert_equal(path, complete, trainer)
    saved = json.loads((path / "config.json").read_text())["starts"]
    assert len(saved) == starts


def test_resumed_on_other_devices(holdout, some, tmp_path):
    """The results are equal up to rounding."""
    config = holdout[0].change(runs_dir=str(tmp_path), learning_rate=1e-3, batch_size=4)
    one, two = (
        trainers.make_trainer(config.change(devices=devices), some, folds=1)
        for devices in (1, 2)
    )
    complete = run(config, some, trainer=one)
    path, messages = resume(interrupt(config, some, one, 5, kill), some, two)
    assert messages
    ((_, actual),), ((_, expected),) = log(path).items(), log(complete).items()
    assert len(actual) == len(expected) == 2
    for one, other in zip(actual, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def newest(path):
    """Returns the folder of a run's last checkpoint."""
    return max(path.glob("folds/*/checkpoints/[0-9]*"), key=lambda p: int(p.name))


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    "damage", [flip, pytest.param(os.unlink, marks=pytest.mark.slow)]
)
def test_damaged_checkpoint_is_moved_and_previous_one_is_used(
    holdout, some, tmp_path, damage
):
    config, trainer, complete = holdout
    config = config.change(runs_dir=str(tmp_path))
    path = layout.run_path(interrupt(config, some, trainer, 5, kill))
    files = sorted(f.relative_to(path) for f in newest(path).rglob("*") if f.is_file())
    for index, file in enumerate(files):
        shutil.copytree(path, tmp_path / str(index))
        damage(tmp_path / str(index) / file)
        damaged = newest(tmp_path / str(index)).name
        config = config.change(name=str(index))
        resumed, messages = resume(config, some, trainer)
        assert_equal(resumed, complete, trainer)
        if {"arrays", "facts"} & set(file.parts):  # nothing depends on other files
            assert f"Cannot read the checkpoint of step {damaged}" in messages[0], file


def test_fold_restarts_if_all_checkpoints_are_damaged(holdout, some, tmp_path):
    config, trainer, complete = holdout
    config = config.change(runs_dir=str(tmp_path))
    config = interrupt(config, some, trainer, 5, kill)
    for file in layout.run_path(config).glob("folds/*/checkpoints/*/**/*"):
        if file.is_file():
            file.write_bytes(b"")
    path, messages = resume(config, some, trainer)
    assert sum("Cannot read" in text for text in messages) == len(messages) == 2
    assert_equal(path, complete, trainer)


def test_run_stops_if_its_folder_is_deleted(holdout, some, tmp_path):
    config, trainer, _ = holdout
    config = config.change(runs_dir=str(tmp_path))
    watch = interrupting(2, lambda: shutil.rmtree(layout.run_path(config)))
    with pytest.raises(UserError, match="metrics.jsonl was removed"):
        run(config, some, watch=watch, trainer=trainer)


def test_divergence_is_reported_and_saved(some, tmp_path):
    config = smallest(tmp_path, learning_rate=3e38, epochs=9)
    messages = []
    with pytest.raises(UserError, match="not finite in step"):
        run(config, some, watch={"message": messages.append})
    (fold,) = layout.run_path(config).glob("folds/*")
    (text,) = messages
    assert text.startswith(f"{fold / 'diverged'} has the state and the clips of step")
    batch = json.loads((fold / "diverged" / "batch.json").read_text())
    assert len(batch["clips"]) == 8 and set(batch["clips"]) < set(some.clip_ids)
    trainer = trainers.make_trainer(config, some, folds=1)
    state = read_weights(fold / "diverged" / "state", trainer.state_shapes)
    assert state.diverged and state.step > 0
