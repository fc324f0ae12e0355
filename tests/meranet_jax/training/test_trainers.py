"""All configurations of devices and calls compute the same steps."""

import dataclasses
import importlib.util

import jax
import numpy as np
import pytest

from meranet_jax.config import default_config
from meranet_jax.data import feed, loading, machine
from meranet_jax.errors import UserError
from meranet_jax.models.convolution import lowerings
from meranet_jax.training import devices, precision, trainers
from tests.meranet_jax.running import count_traces


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def result(config, clips, orders, *, folds=1, **options):
    """Returns each slot's sums, logits of all clips and weights after some epochs."""
    trainer = trainers.make_trainer(config, clips, folds=folds, **options)
    trainer.set_states(
        [trainer.initial_state(slot, 20) for slot in range(trainer.slots)]
    )
    sums = [
        jax.device_get(sums)
        for order in orders
        for sums in trainer.train([order, order[:1], None][: trainer.slots])
    ]
    sums = {name: np.concatenate([s[name] for s in sums], 1).sum(1) for name in sums[0]}
    logits = trainer.predict([np.arange(len(clips))] * trainer.slots)
    return sums, logits, [trainer.weights(slot) for slot in range(trainer.slots)]


def assert_close(actual, expected):
    for one, other in zip(leaves(actual), leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.fixture
def config(config):
    # With a learning rate of 0.1 a few steps amplify rounding errors too much.
    return config.change(learning_rate=1e-3, devices=1)


@pytest.fixture(scope="module")
def orders():
    """Two epochs of different lengths, [steps, 8]."""
    rng = np.random.default_rng(0)
    return [rng.permutation(36)[: 8 * n].reshape(n, 8) for n in (4, 3)]


@pytest.fixture(scope="module")
def lazy(clips):
    """The same clips, read at each access."""
    return dataclasses.replace(
        clips, clips=loading.LazyClips(lambda i: clips.clips[i], clips.clips.shape)
    )


@pytest.mark.parametrize("accumulate", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_several_steps_per_call_with_streamed_clips_on_two_devices(
    config, clips, lazy, orders, accumulate
):
    config = config.change(accumulate=accumulate)
    expected = result(config, clips, orders)
    assert expected[0]["clips"] == [56]
    two = config.change(devices=2)
    # Four steps per call: the second epoch has fewer.
    assert_close(result(two, lazy, orders, steps_per_call=4), expected)


def test_parallel_folds_with_several_steps_per_call(config, clips, lazy, orders):
    config = config.change(devices=3)
    expected = result(config, clips, orders, folds=3)
    assert expected[0]["clips"].tolist() == [56, 16, 0]
    streamed = result(config, lazy, orders, folds=3, steps_per_call=3)
    assert_close(streamed, expected)
    # A slot computes the same as a single fold.
    single = result(config.change(devices=1), clips, orders)
    assert_close(expected[1][0], single[1][0])


def test_accumulated_gradient_is_mean_of_parts(config, clips, orders):
    """The first update is proportional to the gradient."""
    config = config.change(accumulate=2, flip=False, learning_rate=10)
    (batch,) = orders[0][:1]

    def update(config, batch):
        trainer = trainers.make_trainer(config, clips, folds=1)
        trainer.set_states([trainer.initial_state(0, 20)])
        before = trainer.weights()["params"]
        (sums,) = trainer.train([batch[None]])
        after = trainer.weights()["params"]
        return sums["loss"].item(), jax.tree.map(np.subtract, after, before)

    half = config.change(accumulate=1, batch_size=4)
    loss, accumulated = update(config, batch)
    halves = [update(half, part) for part in (batch[:4], batch[4:])]
    assert loss == pytest.approx(sum(loss for loss, _ in halves), rel=1e-5)
    mean = jax.tree.map(lambda a, b: (a + b) / 2, *(moved for _, moved in halves))
    for one, other in zip(leaves(accumulated), leaves(mean), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_remat_computes_the_same(config, clips, orders):
    expected = result(config, clips, orders[:1])
    assert_close(result(config.change(remat=True), clips, orders[:1]), expected)


def test_bf16_is_close_and_keeps_float32_weights(config, clips, orders):
    expected = result(config, clips, orders[:1])
    bf16 = result(config.change(precision="bf16"), clips, orders[:1])
    assert bf16[0]["loss"] == pytest.approx(expected[0]["loss"], rel=0.02)
    assert bf16[0]["loss"] != expected[0]["loss"]
    assert {leaf.dtype for leaf in leaves(bf16[2])} == {np.dtype(np.float32)}


def test_default_precision_depends_on_device(config):
    assert precision.resolve(config).settings.precision == "fp32"  # of a CPU
    bf16 = config.change(precision="bf16")
    assert precision.resolve(bf16) == bf16
    with pytest.raises(UserError, match="tf32 needs an NVIDIA GPU, Ampere or later"):
        precision.resolve(config.change(precision="tf32"))


def test_clips_are_streamed_on_request_or_if_they_do_not_fit(
    config, clips, lazy, monkeypatch
):
    class Accelerator:
        platform = "gpu"

        def __init__(self, memory):
            self._memory = memory * clips.clips.nbytes

        def memory_stats(self):
            return {"bytes_limit": self._memory}

    records, device = (config.change(feed=name) for name in ("records", "device"))
    assert not feed.should_stream(config, clips, [Accelerator(2.1)])
    assert feed.should_stream(config, clips, [Accelerator(1.9)])
    assert not feed.should_stream(device, clips, [Accelerator(1.9)])
    assert feed.should_stream(records, clips, [Accelerator(2.1)])
    assert feed.should_stream(config, lazy, [Accelerator(2.1)])
    # CPU devices share their memory, and each has a copy of the clips.
    cores = jax.local_devices()
    monkeypatch.setattr(machine, "memory_bytes", lambda: 4.2 * clips.clips.nbytes)
    assert not feed.should_stream(config, clips, cores[:2])
    assert feed.should_stream(config, clips, cores[:3])


def test_default_number_of_cores_divides_batch_and_fits(config, clips, monkeypatch):
    every = config.change(devices=None)
    monkeypatch.setenv(lowerings.VARIABLE, "planes")

    def used(folds, **changes):
        changed = every.change(**changes)
        return len(trainers.make_trainer(changed, clips, folds=folds).devices)

    assert len(jax.local_devices()) == 4
    assert used(1) == 4
    assert used(1, batch_size=6) == 3
    assert used(1, batch_size=5) == 1
    assert used(1, accumulate=4) == 2
    assert used(9) == 4 and used(3) == 3
    monkeypatch.setattr(machine, "memory_bytes", lambda: 10 * clips.clips.nbytes)
    assert used(9) < 4


@pytest.mark.skipif(
    importlib.util.find_spec("meranet_native") is None, reason="no extension"
)
def test_one_device_where_convolutions_use_all_cores(config, clips, monkeypatch):
    monkeypatch.delenv(lowerings.VARIABLE, raising=False)
    every = config.change(devices=None)
    assert len(trainers.make_trainer(every, clips, folds=1).devices) == 1
    assert len(trainers.make_trainer(every, clips, folds=4).devices) == 4


def test_estimated_memory_of_a_step_is_close_to_measured():
    small, paper = (default_config("synthetic", name) for name in ("small", "paper"))
    assert devices.step_bytes(small, 16) == pytest.approx(126e6, rel=0.3)
    assert devices.step_bytes(paper, 16) == pytest.approx(2.9e9 + 0.5e9, rel=0.3)


def test_error_of_prefetching_is_raised(config, clips):
    def damaged(index):
        if index == 30:
            raise UserError("The records are damaged.")
        return clips.clips[index]

    lazy = dataclasses.replace(
        clips, clips=loading.LazyClips(damaged, clips.clips.shape)
    )
    trainer = trainers.make_trainer(config, lazy, folds=1)
    trainer.set_states([trainer.initial_state(0, 20)])
    with pytest.raises(UserError, match="records are damaged"):
        list(trainer.train([np.arange(32).reshape(4, 8)]))


def test_nothing_is_traced_again_after_compile(config, clips, monkeypatch):
    traced = count_traces(monkeypatch)
    trainer = trainers.make_trainer(config, clips, folds=1, epoch_steps=4)
    trainer.compile()
    assert len(traced) == 2  # the step and the prediction
    trainer.set_states([trainer.initial_state(1, 20)])
    list(trainer.train([np.arange(32).reshape(4, 8)]))
    trainer.predict([np.arange(36)])
    assert len(traced) == 2
