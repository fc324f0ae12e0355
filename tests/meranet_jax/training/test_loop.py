import dataclasses
import functools
import re

import jax
import numpy as np
import optax
import pytest

from meranet_jax.data import protocols
from meranet_jax.errors import UserError
from meranet_jax.inputs import registry, rgb
from meranet_jax.training import fold_progress, loop, step, trainers
from meranet_jax.training.checkpoint import Checkpoints, read_weights, save_weights
from meranet_jax.training.fold_progress import FoldTask
from tests.meranet_jax import running


@pytest.fixture
def fold(clips):
    return protocols.holdout(clips, test_fraction=0.25, validation_fraction=0.2, seed=0)


def started(config, clips, *, seed=0, steps=8):
    trainer = running.trainer_of(config, clips, folds=1)
    trainer.set_states([trainer.initial_state(seed, steps)])
    return trainer


def updated(trainer, *batches):
    """Returns the sums of each step of a trainer with one fold."""
    return [
        {name: n[0, 0] for name, n in jax.device_get(sums).items()}
        for batch in batches
        for sums in trainer.train([batch[None]])
    ]


def run(config, clips, fold, folder, divergences=None):
    """Trains a fold; returns the trainer, all metrics and the selection."""
    divergences = [] if divergences is None else divergences
    trainer = running.trainer_of(config, clips, folds=1)
    history = []
    with Checkpoints(folder, print) as checkpoints:
        task = FoldTask(
            name="fold x",
            seed=config.seed,
            train=fold.train,
            validation=fold.validation,
            checkpoints=checkpoints,
            on_start=lambda metrics, steps: history.extend(metrics),
            on_epoch=history.append,
            on_divergence=divergences.append,
        )
        (selected,) = loop.train(
            trainer,
            config,
            clips.labels,
            [task],
            on_step=lambda epoch, steps, means: None,
        )
    return trainer, history, selected


def leaves(state):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def test_balanced_epochs_are_trained(config, clips, fold, tmp_path):
    counts = np.bincount(clips.labels[fold.train])
    unequal = fold.train[np.argsort(clips.labels[fold.train])][counts[0] - 1 :]
    fold = dataclasses.replace(fold, train=unequal)
    trainer = running.trainer_of(config, clips, folds=1)
    drawn = []
    train = trainer.train
    trainer.train = lambda orders: drawn.append(orders[0]) or train(orders)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "trainer_of", lambda *a, **b: trainer)
        run(config.change(balance=True, epochs=1), clips, fold, tmp_path)
    of_class = np.bincount(clips.labels[drawn[0].ravel()])
    assert of_class.max() - of_class.min() <= 1


def test_several_devices_compute_the_same_as_one(config, clips, fold):
    states, losses = [], []
    for devices in (1, 4):  # test_trainers.py compares two
        # With a learning rate of 0.1 ten steps amplify rounding errors too much.
        changed = config.change(devices=devices, learning_rate=1e-3)
        trainer = started(changed, clips)
        rng = np.random.default_rng(0)
        batches = [rng.choice(fold.train, 8, replace=False) for _ in range(10)]
        metrics = updated(trainer, *batches)
        assert all(m["clips"] == 8 for m in metrics)
        losses.append([m["loss"].item() for m in metrics])
        states.append(trainer.state())
        assert trainer.state().step == 10
        assert len(metrics[0]) == 4 and len(trainer.devices) == devices
    for state, loss in zip(states[1:], losses[1:], strict=True):
        np.testing.assert_allclose(loss, losses[0], rtol=1e-5)
        for actual, one in zip(leaves(state), leaves(states[0]), strict=True):
            np.testing.assert_allclose(actual, one, rtol=1e-5, atol=1e-5)


def test_step_without_pmap_axis_is_equal(config, clips, fold):
    trainer = started(config, clips)
    model = step.make_model(config, num_classes=3)
    optimizer, rate = step.make_optimizer(config)
    separate = step.init_state(
        jax.random.key(config.seed),
        8,
        model=model,
        optimizer=optimizer,
        clip_shape=clips.clips.shape[1:],
    )
    index = fold.train[:8]
    batch = {"clip": clips.clips[index], "label": clips.labels[index]}
    update = jax.jit(
        lambda state: step.train_step(
            state,
            batch,
            model=model,
            optimizer=optimizer,
            rate=rate,
            network_input=registry.find("rgb"),
            flip=True,
        )
    )
    separate, sums = update(separate)
    (actual,) = updated(trainer, index)
    assert actual["loss"] == pytest.approx(sums["loss"].item(), rel=1e-5)
    for one, other in zip(leaves(trainer.state()), leaves(separate), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_update_is_equal_to_optax(config, clips, fold):
    """Optax applies RAdam and the schedule in one transformation."""
    config = config.change(flip=False, learning_rate=1e-3)
    trainer = started(config, clips, steps=20)
    before = trainer.state()
    index = fold.train[:8]
    model = step.make_model(config, num_classes=3)
    optimizer = optax.radam(
        optax.cosine_decay_schedule(config.settings.learning_rate, 20)
    )

    @jax.jit
    def update(params, stats, opt_state):
        def loss(params):
            logits, updated = model.apply(
                {"params": params, "batch_stats": stats},
                rgb.normalise(clips.clips[index]),
                train=True,
                mutable=["batch_stats"],
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(
                logits, clips.labels[index]
            )
            return losses.mean(), updated["batch_stats"]

        gradient, stats = jax.grad(loss, has_aux=True)(params)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), stats, opt_state

    expected = before.params, before.batch_stats, optimizer.init(before.params)
    for _ in range(8):
        updated(trainer, index)
        expected = update(*expected)
    actual = leaves(trainer.state().params)
    for one, other, start in zip(
        actual, leaves(expected[0]), leaves(before.params), strict=True
    ):
        assert abs(one - other).max() < 0.01 * abs(one - start).max()


def test_network_overfits_one_batch(config, clips, fold):
    config = config.change(learning_rate=0.1, flip=False, epochs=100)
    config = config.change(stage_sizes=(1, 1))
    trainer = started(config, clips, steps=200)
    index = fold.train[:8]
    losses = [sums["loss"] for sums in updated(trainer, *[index] * 60)]
    assert losses[-1] < 0.1 * losses[0]


def test_flips_change_with_step_and_are_reproducible(config, clips, fold):
    def losses(**changes):
        changed = config.change(learning_rate=1e-9, **changes)
        trainer = started(changed, clips)
        index = fold.train[:8]
        return [sums["loss"].item() for sums in updated(trainer, *[index] * 3)]

    assert len(set(losses())) == 3  # only the flips change, not the parameters
    assert losses() == losses()
    constant = losses(flip=False)
    assert constant == pytest.approx([constant[0]] * 3, rel=1e-4)


def test_learning_rates(config):
    _, radam = step.make_optimizer(config)
    assert radam(0, 1000) == pytest.approx(0.1)
    assert radam(500, 1000) == pytest.approx(0.05)
    assert radam(1000, 1000) == pytest.approx(0, abs=1e-9)
    warm = config.change(optimizer="adam_warmup")
    _, adam = step.make_optimizer(warm)
    # 2 / (1 - 0.999) = 2000 steps of warm-up.
    assert adam(0, 100_000) == pytest.approx(0.1 / 2000)
    assert adam(999, 100_000) == pytest.approx(0.05, rel=1e-3)
    assert adam(1999, 100_000) == pytest.approx(0.1, rel=1e-3)


def test_schedules(config):
    _, constant = step.make_optimizer(config.change(schedule="constant"))
    _, halving = step.make_optimizer(config.change(schedule="halving"))
    assert [constant(n, 100) for n in (0, 99)] == pytest.approx([0.1, 0.1])
    rates = [0.1, 0.1, 0.05, 0.1 / 2**9]
    assert [halving(n, 100) for n in (0, 9, 10, 99)] == pytest.approx(rates)
    _, warm = step.make_optimizer(
        config.change(schedule="constant", optimizer="adam_warmup")
    )
    assert [warm(n, 100_000) for n in (0, 1999)] == pytest.approx([0.1 / 2000, 0.1])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"optimizer": "adam"}, optax.adam(0.1)),
        ({"optimizer": "sgd"}, optax.sgd(0.1)),
        ({"optimizer": "sgd", "momentum": 0.9}, optax.sgd(0.1, momentum=0.9)),
    ],
)
def test_optimisers_are_those_of_optax(config, changes, expected):
    """Their updates on a parameter, without the network."""
    ours, rate = step.make_optimizer(config.change(schedule="constant", **changes))
    gradients = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    state, other = (one.init(gradients[0]) for one in (ours, expected))
    for number, gradient in enumerate(gradients):
        updates, state = ours.update(gradient, state)
        others, other = expected.update(gradient, other)
        np.testing.assert_allclose(-rate(number, 5) * updates, others, rtol=1e-6)


def test_adam_warmup_applies_its_learning_rate(config, clips, fold):
    warm = config.change(optimizer="adam_warmup", flip=False)
    trainer = started(warm, clips, steps=100_000)
    before = leaves(trainer.state().params)
    updated(trainer, fold.train[:8])
    after = leaves(trainer.state().params)
    moved = max(abs(a - b).max() for a, b in zip(after, before, strict=True))
    # The size of Adam's first step is the learning rate.
    assert moved == pytest.approx(0.1 / 2000, rel=1e-2)


def test_prediction_does_not_depend_on_the_batch(config, clips, fold):
    trainer = started(config, clips)
    (every,) = trainer.predict([np.arange(36)])
    assert every.shape == (36, 3)
    for index in (0, 9, 35):
        (single,) = trainer.predict([np.array([index])])
        np.testing.assert_allclose(single[0], every[index], rtol=1e-4, atol=1e-5)
    sums = trainers.probabilities(every).sum(-1)
    np.testing.assert_allclose(sums, 1, rtol=1e-6)


@pytest.mark.parametrize("select", ["best_val", "last"])
def test_training_selects_weights(config, clips, fold, tmp_path, select):
    config = config.change(epochs=4, select=select)
    trainer, history, selected = run(config, clips, fold, tmp_path / "checkpoints")
    assert [metrics["epoch"] for metrics in history] == [1, 2, 3, 4]
    ranks = [(m["validation_accuracy"], -m["validation_loss"]) for m in history]
    best = 1 + ranks.index(max(ranks))
    assert selected.details["epoch"] == (best if select == "best_val" else 4)
    # The selected weights have the metrics of their epoch.
    (logits,) = trainer.predict([fold.validation], [selected.weights])
    labels = clips.labels[fold.validation]
    accuracy = (logits.argmax(-1) == labels).mean()
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    metrics = history[selected.details["epoch"] - 1]
    assert accuracy == metrics["validation_accuracy"]
    assert loss == pytest.approx(metrics["validation_loss"], rel=1e-6)
    assert history[-1]["learning_rate"] < history[0]["learning_rate"]


def test_training_does_not_depend_on_the_test_part(config, clips, fold, tmp_path):
    zeroed = clips.clips.copy()
    zeroed[fold.test] = 0
    labels = clips.labels.copy()
    labels[fold.test] = 0
    changed = dataclasses.replace(clips, clips=zeroed, labels=labels)
    *_, expected = run(config, clips, fold, tmp_path / "a")
    *_, selected = run(config, changed, fold, tmp_path / "b")
    assert selected.details == expected.details
    pairs = zip(leaves(selected.weights), leaves(expected.weights), strict=True)
    for one, other in pairs:
        np.testing.assert_array_equal(one, other)


def test_weights_from_two_devices_predict_on_one(config, clips, fold, tmp_path):
    two = config.change(devices=2, epochs=1)
    trainer, _, selected = run(two, clips, fold, tmp_path / "checkpoints")
    save_weights(tmp_path / "weights", selected.weights)
    one = trainers.make_trainer(config, clips, folds=1)
    weights = read_weights(tmp_path / "weights", trainers.weights_of(one.state_shapes))
    indices = [np.arange(len(clips))]
    np.testing.assert_allclose(
        one.predict(indices, [weights]),
        trainer.predict(indices),
        rtol=1e-4,
        atol=1e-5,
    )


def test_weights_of_another_network_are_refused(config, clips, tmp_path):
    save_weights(tmp_path / "weights", started(config, clips).weights())
    wider = config.change(width=8)
    other = trainers.make_trainer(wider, clips, folds=1)
    with pytest.raises(UserError, match="weights belongs to another network: .* is"):
        read_weights(tmp_path / "weights", trainers.weights_of(other.state_shapes))


def test_checkpoints_do_not_name_devices(config, clips, fold, tmp_path):
    config = config.change(epochs=2, checkpoint_every=0)
    run(config, clips, fold, tmp_path / "checkpoints")
    # 21 clips are two batches in each epoch; the last two checkpoints are kept.
    assert {p.name for p in tmp_path.glob("checkpoints/*")} == {"3", "4"}
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"device_str" not in path.read_bytes(), path


def test_divergence_in_validation_is_reported(
    config, clips, fold, tmp_path, monkeypatch
):
    predict = trainers.Trainer.predict
    monkeypatch.setattr(
        trainers.Trainer, "predict", lambda *a: [x * np.nan for x in predict(*a)]
    )
    divergences = []
    with pytest.raises(
        UserError, match="fold x diverged: .* not finite in validation after epoch 1"
    ):
        run(config, clips, fold, tmp_path / "checkpoints", divergences)
    (divergence,) = divergences
    assert sorted(divergence.clips) == sorted(fold.validation)
    assert divergence.state.step == 2


# As on an accelerator and, in make faults, on a CPU
@pytest.mark.parametrize("steps_per_call", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_divergence_can_be_reproduced_from_state_and_clips(
    config, clips, fold, tmp_path, monkeypatch, steps_per_call
):
    make = functools.partial(trainers.make_trainer, steps_per_call=steps_per_call)
    monkeypatch.setattr(trainers, "make_trainer", make)
    config = config.change(learning_rate=3e38, epochs=9)
    divergences = []
    with pytest.raises(UserError, match="not finite in step .*--learning_rate"):
        run(config, clips, fold, tmp_path / "checkpoints", divergences)
    (divergence,) = divergences
    step, epoch = (int(n) for n in re.findall(r"\d+", divergence.where))
    assert divergence.state.step == 2 * (epoch - 1) + step - 1
    assert divergence.state.diverged
    order = fold_progress.epoch_order(fold.train, 8, config.seed, epoch)
    np.testing.assert_array_equal(divergence.clips, order[step - 1])
    assert all(np.isfinite(leaf).all() for leaf in leaves(divergence.state))

    trainer = started(config, clips)
    trainer.set_states([divergence.state.replace(diverged=np.zeros((), bool))])
    before = leaves(trainer.state())
    for sums in updated(trainer, divergence.clips, fold.train[:8]):
        assert sums["diverged"]  # also for a step that would be finite by itself
    after = leaves(trainer.state().replace(diverged=np.zeros((), bool)))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"devices": 3}, "--batch_size=8 cannot be divided over 3 devices in 1"),
        ({"devices": 99}, "--devices=99, but this process has 4"),
        ({"batch_size": 32}, "part of fold x has 21 clips, fewer than a batch of 32"),
    ],
)
def test_invalid_settings_are_refused(config, clips, fold, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        run(config.change(**changes), clips, fold, tmp_path)


def test_time_step_measures_a_step(config, clips, fold):
    trainer = trainers.make_trainer(config, clips, folds=1)
    assert loop.time_step(trainer, config, fold.train) > 0
