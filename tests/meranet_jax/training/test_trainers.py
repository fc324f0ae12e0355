"""The ways in which the same steps are computed: they give the same numbers."""

import dataclasses

import jax
import numpy as np
import pytest

from meranet_jax.config import default_config
from meranet_jax.data import feed, loading, memory
from meranet_jax.errors import UserError
from meranet_jax.training import devices, precision, trainers


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def result(config, clips, orders, *, folds=1, **options):
    """Each lane's sums, logits of all clips and weights after some epochs of orders."""
    trainer = trainers.make_trainer(config, clips, folds=folds, **options)
    trainer.resume([trainer.fresh(lane, 20) for lane in range(trainer.lanes)])
    sums = [
        jax.device_get(sums)
        for order in orders
        for sums in trainer.train([order, order[:1], None][: trainer.lanes])
    ]
    sums = {name: np.concatenate([s[name] for s in sums], 1).sum(1) for name in sums[0]}
    logits = trainer.predict([np.arange(len(clips))] * trainer.lanes)
    return sums, logits, [trainer.weights(lane) for lane in range(trainer.lanes)]


def assert_alike(one, other):
    for ours, theirs in zip(leaves(one), leaves(other), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.fixture
def config(config):
    # At 0.1 a few steps amplify rounding beyond what can be compared.
    return dataclasses.replace(config, learning_rate=1e-3, devices=1)


@pytest.fixture(scope="module")
def orders():
    """Two epochs of different lengths, [steps, 8]."""
    rng = np.random.default_rng(0)
    return [rng.permutation(36)[: 8 * n].reshape(n, 8) for n in (4, 3)]


@pytest.fixture(scope="module")
def recorded(clips):
    """The same clips, read whenever they are asked for."""
    return dataclasses.replace(
        clips, clips=loading.Recorded(lambda i: clips.clips[i], clips.clips.shape)
    )


@pytest.mark.parametrize("accumulate", [1, 2])
def test_many_steps_at_once_of_streamed_clips_on_two_devices(
    config, clips, recorded, orders, accumulate
):
    config = dataclasses.replace(config, accumulate=accumulate)
    plain = result(config, clips, orders)
    assert plain[0]["clips"] == [56]
    two = dataclasses.replace(config, devices=2)
    # Four steps at once: the second epoch does not fill them.
    assert_alike(plain, result(two, recorded, orders, steps_at_once=4))


def test_folds_side_by_side_many_steps_at_once(config, clips, recorded, orders):
    config = dataclasses.replace(config, devices=3)
    plain = result(config, clips, orders, folds=3)
    assert plain[0]["clips"].tolist() == [56, 16, 0]
    at_once = result(config, recorded, orders, folds=3, steps_at_once=3)
    assert_alike(plain, at_once)
    # And a lane is a fold alone.
    alone = result(dataclasses.replace(config, devices=1), clips, orders)
    assert_alike(plain[1][0], alone[1][0])


def test_the_gradient_of_parts_is_their_mean(config, clips, orders):
    """The first update is the gradient, by a rate: those of halves add up."""
    config = dataclasses.replace(config, accumulate=2, flip=False, learning_rate=10)
    (batch,) = orders[0][:1]

    def update(config, batch):
        trainer = trainers.make_trainer(config, clips, folds=1)
        trainer.resume([trainer.fresh(0, 20)])
        before = trainer.weights()["params"]
        (sums,) = trainer.train([batch[None]])
        after = trainer.weights()["params"]
        return sums["loss"].item(), jax.tree.map(np.subtract, after, before)

    half = dataclasses.replace(config, accumulate=1, batch_size=4)
    loss, whole = update(config, batch)
    halves = [update(half, part) for part in (batch[:4], batch[4:])]
    assert loss == pytest.approx(sum(loss for loss, _ in halves), rel=1e-5)
    mean = jax.tree.map(lambda a, b: (a + b) / 2, *(moved for _, moved in halves))
    for ours, theirs in zip(leaves(whole), leaves(mean), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_computing_again_what_was_not_kept(config, clips, orders):
    plain = result(config, clips, orders[:1])
    assert_alike(
        plain, result(dataclasses.replace(config, remat=True), clips, orders[:1])
    )


def test_bfloat16_computes_about_the_same_and_keeps_float32(config, clips, orders):
    plain = result(config, clips, orders[:1])
    coarse = result(dataclasses.replace(config, precision="bf16"), clips, orders[:1])
    assert coarse[0]["loss"] == pytest.approx(plain[0]["loss"], rel=0.02)
    assert coarse[0]["loss"] != plain[0]["loss"]
    assert {leaf.dtype for leaf in leaves(coarse[2])} == {np.dtype(np.float32)}


def test_the_precision_is_that_of_the_device_unless_given(config):
    assert precision.resolved(config).precision == "fp32"  # of a CPU
    coarse = dataclasses.replace(config, precision="bf16")
    assert precision.resolved(coarse) == coarse
    with pytest.raises(UserError, match="tf32 is for NVIDIA GPUs since Ampere"):
        precision.resolved(dataclasses.replace(config, precision="tf32"))


def test_clips_stream_when_asked_or_when_they_do_not_fit(
    config, clips, recorded, monkeypatch
):
    class Accelerator:
        platform = "gpu"

        def __init__(self, memory):
            self._memory = memory * clips.clips.nbytes

        def memory_stats(self):
            return {"bytes_limit": self._memory}

    records, device = (
        dataclasses.replace(config, feed=name) for name in ("records", "device")
    )
    assert not feed.streams(config, clips, [Accelerator(2.1)])
    assert feed.streams(config, clips, [Accelerator(1.9)])
    assert not feed.streams(device, clips, [Accelerator(1.9)])
    assert feed.streams(records, clips, [Accelerator(2.1)])
    assert feed.streams(config, recorded, [Accelerator(2.1)])
    # Cores share their memory, and each has a copy.
    cores = jax.local_devices()
    monkeypatch.setattr(memory, "total_bytes", lambda: 4.2 * clips.clips.nbytes)
    assert not feed.streams(config, clips, cores[:2])
    assert feed.streams(config, clips, cores[:3])


def test_as_many_cores_train_as_divide_the_batch_or_fit(config, clips, monkeypatch):
    every = dataclasses.replace(config, devices=None)

    def used(folds, **changes):
        changed = dataclasses.replace(every, **changes)
        return len(trainers.make_trainer(changed, clips, folds=folds).devices)

    assert len(jax.local_devices()) == 4
    assert used(1) == 4
    assert used(1, batch_size=6) == 3
    assert used(1, batch_size=5) == 1
    assert used(1, accumulate=4) == 2
    assert used(9) == 4 and used(3) == 3
    monkeypatch.setattr(memory, "total_bytes", lambda: 10 * clips.clips.nbytes)
    assert used(9) < 4


def test_what_was_measured_of_a_step_is_about_what_is_reckoned():
    small, paper = (default_config("synthetic", name) for name in ("small", "paper"))
    assert devices.step_bytes(small, 16) == pytest.approx(126e6, rel=0.3)
    assert devices.step_bytes(paper, 16) == pytest.approx(2.9e9 + 0.5e9, rel=0.3)


def test_what_is_read_ahead_ends_with_its_reader(config, clips):
    def broken(index):
        if index == 30:
            raise UserError("The records are damaged.")
        return clips.clips[index]

    recorded = dataclasses.replace(
        clips, clips=loading.Recorded(broken, clips.clips.shape)
    )
    trainer = trainers.make_trainer(config, recorded, folds=1)
    trainer.resume([trainer.fresh(0, 20)])
    with pytest.raises(UserError, match="records are damaged"):
        list(trainer.train([np.arange(32).reshape(4, 8)]))


def test_what_was_compiled_ahead_is_not_traced_again(config, clips, monkeypatch):
    traced = []
    normalise = loading.normalise
    monkeypatch.setattr(
        loading,
        "normalise",
        lambda clips: traced.append(clips.shape) or normalise(clips),
    )
    trainer = trainers.make_trainer(config, clips, folds=1, epoch_steps=4)
    trainer.compile()
    assert len(traced) == 2  # the step and the prediction
    trainer.resume([trainer.fresh(1, 20)])
    list(trainer.train([np.arange(32).reshape(4, 8)]))
    trainer.predict([np.arange(36)])
    assert len(traced) == 2
