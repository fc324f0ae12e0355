"""A run that was left at any step ends as one that was not."""

import contextlib
import dataclasses
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

# Hold-outs on one and two devices, and four folds in three slots, of two lengths.
KINDS = {
    "one": {"epochs": 2, "batch_size": 4},
    "two": {"epochs": 2, "batch_size": 4, "devices": 2},
    "folds": {"protocol": "loso", "devices": 3, "select": "last"},
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request, some, tmp_path_factory):
    """Settings, their trainer, a run that was not left, and its calls of devices."""
    folder = tmp_path_factory.mktemp(request.param)
    config = smallest(folder, learning_rate=1e-2, **KINDS[request.param])
    trainer = trainers.make_trainer(config, some, folds=plan(config, some)[1])
    calls = []
    watch = {"step": lambda *told: calls.append(told)}
    path = run(config, some, trainer=trainer, watch=watch)
    return config, trainer, path, len(calls)


@pytest.fixture(scope="module")
def holdout(some, tmp_path_factory):
    """The same for a hold-out of six steps."""
    config = smallest(tmp_path_factory.mktemp("holdout"), batch_size=5)
    trainer = trainers.make_trainer(config, some, folds=1)
    return config, trainer, run(config, some, trainer=trainer)


class Left(Exception):
    """As far as files go, a process that is gone."""


def leaving(after, how):
    """A watcher that leaves after so many calls of the devices."""
    calls = itertools.count()

    def step(*told):
        if next(calls) == after:
            how()

    return {"step": step}


def gone():
    raise Left


def asked():
    os.kill(os.getpid(), signal.SIGTERM)


def log(path):
    """All lines but for how long they took."""
    return {
        fold: [
            {k: v for k, v in line.items() if k not in ("seconds", "clips_per_second")}
            for line in lines
        ]
        for fold, lines in reader.read_epoch_metrics(path).items()
    }


def assert_equal(path, other, trainer):
    """Bit by bit: predictions, logs, chosen epochs, weights."""
    assert log(path) == log(other)
    shapes = trainers.weights_of(trainer.state_shapes)
    for fold in (path / "folds").iterdir():
        beside = other / "folds" / fold.name
        assert {p.name for p in fold.iterdir()} == {p.name for p in beside.iterdir()}
        for name in ("fold.json", "predictions.csv"):
            assert (fold / name).read_bytes() == (beside / name).read_bytes()
        ours, theirs = (read_weights(p / "weights", shapes) for p in (fold, beside))
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)
        events = EventAccumulator(str(fold / "events")).Reload()
        steps = [event.step for event in events.Scalars("train_loss")]
        assert steps == [
            line["step"] for line in reader.read_epoch_metrics(path)[fold.name]
        ]


def left(config, clips, trainer, after, how):
    """The settings of a run that was left after so many calls."""
    config = config.change(name=f"left{after}", checkpoint_every=0)
    with pytest.raises((Left, signals.Interrupted)):
        run(config, clips, watch=leaving(after, how), trainer=trainer)
    return config


def resumed(config, clips, trainer):
    """The run at its end, and what was told."""
    told = []
    path = run(config, clips, watch={"message": told.append}, trainer=trainer)
    return path, told


@pytest.mark.parametrize("how", [gone, asked])
def test_left_after_any_step(kind, some, tmp_path, how):
    config, trainer, whole, calls = kind
    config = config.change(runs_dir=str(tmp_path))
    every_other = range(how is asked, calls, 2)
    went_on = 0
    for after in every_other:
        path, told = resumed(left(config, some, trainer, after, how), some, trainer)
        assert_equal(path, whole, trainer)
        went_on += bool(told)
    # Not if nothing of the folds in training had been kept.
    assert went_on >= len(every_other) - 2


def test_left_in_an_epoch_that_is_few_calls(holdout, some, tmp_path):
    """As on an accelerator: calls of two steps, epochs of three."""
    config, trainer, single = holdout
    config = config.change(runs_dir=str(tmp_path))
    trainer = trainers.make_trainer(config, some, folds=1, steps_at_once=2)
    whole = run(config, some, trainer=trainer)
    for name, lines in log(single).items():
        for line, other in zip(lines, log(whole)[name], strict=True):
            assert line == pytest.approx(other, rel=1e-5)
    for after in range(4):
        path, _ = resumed(left(config, some, trainer, after, gone), some, trainer)
        assert_equal(path, whole, trainer)


@pytest.mark.slow
def test_left_again_and_again(holdout, some, tmp_path):
    config, trainer, whole = holdout
    calls = 6
    config = config.change(runs_dir=str(tmp_path))
    starts, path = 0, None
    while path is None and starts < 2 * calls:
        starts += 1
        with contextlib.suppress(signals.Interrupted):
            path = run(config, some, watch=leaving(0, asked), trainer=trainer)
    assert starts > calls / 2  # a call is on its way while that before it is told of
    assert_equal(path, whole, trainer)
    noted = json.loads((path / "config.json").read_text())["starts"]
    assert len(noted) == starts


def test_other_devices_go_on_with_it(holdout, some, tmp_path):
    """Equal but for rounding."""
    config = dataclasses.replace(
        holdout[0], runs_dir=str(tmp_path), learning_rate=1e-3, batch_size=4
    )
    one, two = (
        trainers.make_trainer(config.change(devices=devices), some, folds=1)
        for devices in (1, 2)
    )
    whole = run(config, some, trainer=one)
    path, told = resumed(left(config, some, one, 5, gone), some, two)
    assert told
    ((_, ours),), ((_, theirs),) = log(path).items(), log(whole).items()
    assert len(ours) == len(theirs) == 2
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def newest(path):
    """The folder of a run's last checkpoint."""
    return max(path.glob("folds/*/checkpoints/[0-9]*"), key=lambda p: int(p.name))


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    "damage", [flip, pytest.param(os.unlink, marks=pytest.mark.slow)]
)
def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(
    holdout, some, tmp_path, damage
):
    config, trainer, whole = holdout
    config = config.change(runs_dir=str(tmp_path))
    path = layout.run_path(left(config, some, trainer, 5, gone))
    files = sorted(f.relative_to(path) for f in newest(path).rglob("*") if f.is_file())
    for index, file in enumerate(files):
        shutil.copytree(path, tmp_path / str(index))
        damage(tmp_path / str(index) / file)
        damaged = newest(tmp_path / str(index)).name
        config = config.change(name=str(index))
        ended, told = resumed(config, some, trainer)
        assert_equal(ended, whole, trainer)
        if {"arrays", "facts"} & set(file.parts):  # on the others nothing hangs
            assert f"the checkpoint of step {damaged} cannot be read" in told[0], file


def test_without_any_checkpoint_that_can_be_read_a_fold_starts_anew(
    holdout, some, tmp_path
):
    config, trainer, whole = holdout
    config = config.change(runs_dir=str(tmp_path))
    config = left(config, some, trainer, 5, gone)
    for file in layout.run_path(config).glob("folds/*/checkpoints/*/**/*"):
        if file.is_file():
            file.write_bytes(b"")
    path, told = resumed(config, some, trainer)
    assert sum("cannot be read" in text for text in told) == len(told) == 2
    assert_equal(path, whole, trainer)


def test_a_folder_that_vanishes_stops_the_run(holdout, some, tmp_path):
    config, trainer, _ = holdout
    config = config.change(runs_dir=str(tmp_path))
    watch = leaving(2, lambda: shutil.rmtree(layout.run_path(config)))
    with pytest.raises(UserError, match="metrics.jsonl has vanished"):
        run(config, some, watch=watch, trainer=trainer)


def test_what_diverged_is_told_and_kept(some, tmp_path):
    config = smallest(tmp_path, learning_rate=3e38, epochs=9)
    told = []
    with pytest.raises(UserError, match="diverged: in update"):
        run(config, some, watch={"message": told.append})
    (fold,) = layout.run_path(config).glob("folds/*")
    (text,) = told
    assert text.startswith(f"{fold / 'diverged'} has the state and the clips of update")
    batch = json.loads((fold / "diverged" / "batch.json").read_text())
    assert len(batch["clips"]) == 8 and set(batch["clips"]) < set(some.clip_ids)
    trainer = trainers.make_trainer(config, some, folds=1)
    state = read_weights(fold / "diverged" / "state", trainer.state_shapes)
    assert state.diverged and state.step > 0
