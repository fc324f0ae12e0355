import dataclasses
import functools
import re

import jax
import numpy as np
import optax
import pytest

from meranet_jax.data import protocols
from meranet_jax.errors import UserError
from meranet_jax.inputs import rgb
from meranet_jax.training import fold_progress, loop, step, trainers
from meranet_jax.training.checkpoint import Checkpoints, read_weights, save_weights
from meranet_jax.training.fold_progress import FoldTask


@pytest.fixture
def fold(clips):
    return protocols.holdout(clips, test_fraction=0.25, validation_fraction=0.2, seed=0)


def started(config, clips, *, seed=0, steps=8):
    trainer = trainers.make_trainer(config, clips, folds=1)
    trainer.resume([trainer.fresh(seed, steps)])
    return trainer


def updated(trainer, *batches):
    """The sums of some steps of a trainer's one fold."""
    return [
        {name: n[0, 0] for name, n in jax.device_get(sums).items()}
        for batch in batches
        for sums in trainer.train([batch[None]])
    ]


def run(config, clips, fold, folder, divergences=None):
    """Train; returns the trainer, the lines of metrics and what was chosen."""
    divergences = [] if divergences is None else divergences
    trainer = trainers.make_trainer(config, clips, folds=1)
    lines = []
    with Checkpoints(folder, print) as checkpoints:
        learner = FoldTask(
            name="it",
            seed=config.seed,
            train=fold.train,
            validation=fold.validation,
            checkpoints=checkpoints,
            on_start=lambda done, steps: lines.extend(done),
            on_epoch=lines.append,
            on_divergence=divergences.append,
        )
        (chosen,) = loop.train(
            trainer,
            config,
            clips.labels,
            [learner],
            on_step=lambda epoch, steps, means: None,
        )
    return trainer, lines, chosen


def leaves(state):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def test_several_devices_compute_what_one_computes(config, clips, fold):
    states, losses = [], []
    for devices in (1, 2, 4):
        # At 0.1 ten steps amplify rounding beyond what can be compared.
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
        for ours, one in zip(leaves(state), leaves(states[0]), strict=True):
            np.testing.assert_allclose(ours, one, rtol=1e-5, atol=1e-5)


def test_the_step_without_an_axis_is_the_same_step(config, clips, fold):
    trainer = started(config, clips)
    model = step.make_model(config, num_classes=3)
    optimizer, rate = step.make_optimizer(config)
    alone = step.init_state(
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
            state, batch, model=model, optimizer=optimizer, rate=rate, flip=True
        )
    )
    alone, sums = update(alone)
    (ours,) = updated(trainer, index)
    assert ours["loss"] == pytest.approx(sums["loss"].item(), rel=1e-5)
    for one, other in zip(leaves(trainer.state()), leaves(alone), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_the_update_is_that_of_optax(config, clips, fold):
    """RAdam and its cosine, applied apart, are together what Optax has."""
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

    theirs = before.params, before.batch_stats, optimizer.init(before.params)
    for _ in range(8):
        updated(trainer, index)
        theirs = update(*theirs)
    ours = leaves(trainer.state().params)
    for one, other, start in zip(
        ours, leaves(theirs[0]), leaves(before.params), strict=True
    ):
        assert abs(one - other).max() < 0.01 * abs(one - start).max()


def test_a_batch_is_learnt_by_heart(config, clips, fold):
    config = config.change(learning_rate=0.1, flip=False, epochs=100)
    trainer = started(config, clips, steps=200)
    index = fold.train[:8]
    losses = [sums["loss"] for sums in updated(trainer, *[index] * 60)]
    assert losses[-1] < 0.1 * losses[0]


def test_flips_change_with_the_step_and_come_again(config, clips, fold):
    def losses(**changes):
        changed = config.change(learning_rate=1e-9, **changes)
        trainer = started(changed, clips)
        index = fold.train[:8]
        return [sums["loss"].item() for sums in updated(trainer, *[index] * 3)]

    assert len(set(losses())) == 3  # the parameters stand still, the coins do not
    assert losses() == losses()
    still = losses(flip=False)
    assert still == pytest.approx([still[0]] * 3, rel=1e-4)


def test_rates(config):
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


def test_adam_warmup_applies_its_rate(config, clips, fold):
    warm = config.change(optimizer="adam_warmup", flip=False)
    trainer = started(warm, clips, steps=100_000)
    before = leaves(trainer.state().params)
    updated(trainer, fold.train[:8])
    after = leaves(trainer.state().params)
    moved = max(abs(a - b).max() for a, b in zip(after, before, strict=True))
    # Adam's first step is the rate itself.
    assert moved == pytest.approx(0.1 / 2000, rel=1e-2)


def test_prediction_does_not_hang_on_the_batch(config, clips, fold):
    trainer = started(config, clips)
    (every,) = trainer.predict([np.arange(36)])
    assert every.shape == (36, 3)
    for index in (0, 9, 35):
        (alone,) = trainer.predict([np.array([index])])
        np.testing.assert_allclose(alone[0], every[index], rtol=1e-4, atol=1e-5)
    sums = trainers.probabilities(every).sum(-1)
    np.testing.assert_allclose(sums, 1, rtol=1e-6)


@pytest.mark.parametrize("select", ["best_val", "last"])
def test_training_gives_what_was_asked_for(config, clips, fold, tmp_path, select):
    config = config.change(epochs=4, select=select)
    trainer, lines, chosen = run(config, clips, fold, tmp_path / "checkpoints")
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    ranks = [(ln["validation_accuracy"], -ln["validation_loss"]) for ln in lines]
    best = 1 + ranks.index(max(ranks))
    assert chosen.details["epoch"] == (best if select == "best_val" else 4)
    # What was chosen predicts what its line says.
    (logits,) = trainer.predict([fold.validation], [chosen.weights])
    labels = clips.labels[fold.validation]
    accuracy = (logits.argmax(-1) == labels).mean()
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    line = lines[chosen.details["epoch"] - 1]
    assert accuracy == line["validation_accuracy"]
    assert loss == pytest.approx(line["validation_loss"], rel=1e-6)
    assert lines[-1]["learning_rate"] < lines[0]["learning_rate"]


def test_training_does_not_look_at_the_test_part(config, clips, fold, tmp_path):
    spoilt = clips.clips.copy()
    spoilt[fold.test] = 0
    labels = clips.labels.copy()
    labels[fold.test] = 0
    blind = dataclasses.replace(clips, clips=spoilt, labels=labels)
    seen = run(config, clips, fold, tmp_path / "a")
    unseen = run(config, blind, fold, tmp_path / "b")
    assert seen[2].details == unseen[2].details
    ours, theirs = (leaves(chosen.weights) for *_, chosen in (seen, unseen))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_of_two_devices_are_read_by_one(config, clips, fold, tmp_path):
    two = config.change(devices=2, epochs=1)
    trainer, _, chosen = run(two, clips, fold, tmp_path / "checkpoints")
    save_weights(tmp_path / "weights", chosen.weights)
    one = trainers.make_trainer(config, clips, folds=1)
    weights = read_weights(tmp_path / "weights", trainers.weights_of(one.state_shapes))
    everyone = [np.arange(len(clips))]
    np.testing.assert_allclose(
        one.predict(everyone, [weights]),
        trainer.predict(everyone),
        rtol=1e-4,
        atol=1e-5,
    )


def test_weights_of_another_network_are_refused(config, clips, tmp_path):
    save_weights(tmp_path / "weights", started(config, clips).weights())
    wider = config.change(width=8)
    other = trainers.make_trainer(wider, clips, folds=1)
    with pytest.raises(UserError, match="weights is of another network: .* is"):
        read_weights(tmp_path / "weights", trainers.weights_of(other.state_shapes))


def test_checkpoints_are_bound_to_no_device(config, clips, fold, tmp_path):
    config = config.change(epochs=2, checkpoint_every=0)
    run(config, clips, fold, tmp_path / "checkpoints")
    # 21 clips make two batches an epoch; the last two are kept.
    assert {p.name for p in tmp_path.glob("checkpoints/*")} == {"3", "4"}
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"device_str" not in path.read_bytes(), path


def test_a_state_whose_validation_is_not_finite_is_told(
    config, clips, fold, tmp_path, monkeypatch
):
    predict = trainers.Trainer.predict
    monkeypatch.setattr(
        trainers.Trainer, "predict", lambda *a: [x * np.nan for x in predict(*a)]
    )
    told = []
    with pytest.raises(UserError, match="it diverged: in validation after epoch 1"):
        run(config, clips, fold, tmp_path / "checkpoints", told)
    (divergence,) = told
    assert sorted(divergence.clips) == sorted(fold.validation)
    assert divergence.state.step == 2


@pytest.mark.parametrize("at_once", [1, 2])  # as on a CPU, as on an accelerator
def test_what_diverges_is_kept_as_it_was_before(
    config, clips, fold, tmp_path, monkeypatch, at_once
):
    """The state and the clips, from which the same comes again."""
    make = functools.partial(trainers.make_trainer, steps_at_once=at_once)
    monkeypatch.setattr(trainers, "make_trainer", make)
    config = config.change(learning_rate=3e38, epochs=9)
    told = []
    with pytest.raises(UserError, match="diverged: in update .*--learning_rate"):
        run(config, clips, fold, tmp_path / "checkpoints", told)
    (divergence,) = told
    step, epoch = (int(n) for n in re.findall(r"\d+", divergence.where))
    assert divergence.state.step == 2 * (epoch - 1) + step - 1
    assert divergence.state.diverged
    order = fold_progress.epoch_order(fold.train, 8, config.seed, epoch)
    np.testing.assert_array_equal(divergence.clips, order[step - 1])
    assert all(np.isfinite(leaf).all() for leaf in leaves(divergence.state))

    trainer = started(config, clips)
    trainer.resume([divergence.state.replace(diverged=np.zeros((), bool))])
    before = leaves(trainer.state())
    for sums in updated(trainer, divergence.clips, fold.train[:8]):
        assert sums["diverged"]  # also a step that would go well by itself
    after = leaves(trainer.state().replace(diverged=np.zeros((), bool)))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"devices": 3}, "--batch_size=8 cannot be divided over 3 devices in 1"),
        ({"devices": 99}, "--devices=99, but this process has 4"),
        ({"batch_size": 32}, "part of it has 21 clips, less than a batch of 32"),
    ],
)
def test_what_cannot_be_trained_says_why(
    config, clips, fold, tmp_path, changes, message
):
    with pytest.raises(UserError, match=message):
        run(config.change(**changes), clips, fold, tmp_path)


def test_a_step_is_timed(config, clips, fold):
    trainer = trainers.make_trainer(config, clips, folds=1)
    assert loop.time_step(trainer, config, fold.train) > 0
