import dataclasses

import jax
import numpy as np
import optax
import pytest

from meranet_jax import protocols, training
from meranet_jax.checkpoint import Checkpoints
from meranet_jax.errors import UserError


@pytest.fixture
def fold(clips):
    return protocols.holdout(clips, test_fraction=0.25, validation_fraction=0.2, seed=0)


def started(config, clips, fold):
    trainer = training.make_trainer(config, clips, fold)
    trainer.start()
    return trainer


def run(config, clips, fold, folder):
    """Train; returns the trainer, the lines of metrics and the best epoch's state."""
    trainer = started(config, clips, fold)
    lines = []
    with Checkpoints(folder) as checkpoints:
        training.train(
            trainer,
            config,
            clips,
            fold,
            checkpoints,
            on_step=lambda epoch, means: None,
            on_epoch=lines.append,
        )
        best = checkpoints.best_epoch()
        state = checkpoints.restore(best, trainer.state_shapes)
    return trainer, lines, best, state


def leaves(state):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def test_several_devices_compute_what_one_computes(config, clips, fold):
    states, losses = [], []
    for devices in (1, 2, 4):
        # At 0.1 ten steps amplify rounding beyond what can be compared.
        changed = dataclasses.replace(config, devices=devices, learning_rate=1e-3)
        trainer = started(changed, clips, fold)
        rng = np.random.default_rng(0)
        batches = [rng.choice(fold.train, 8, replace=False) for _ in range(10)]
        metrics = [
            jax.device_get(trainer.step(clips.clips[i], clips.labels[i]))
            for i in batches
        ]
        assert all(m["clips"] == 8 for m in metrics)
        losses.append([m["loss"] for m in metrics])
        states.append(trainer.state)
        assert trainer.state.step == 10
        assert len(trainer.state.step.sharding.device_set) == devices
    for state, loss in zip(states[1:], losses[1:], strict=True):
        np.testing.assert_allclose(loss, losses[0], rtol=1e-5)
        for ours, one in zip(leaves(state), leaves(states[0]), strict=True):
            np.testing.assert_allclose(ours, one, rtol=1e-5, atol=1e-5)


def test_the_step_without_an_axis_is_the_same_step(config, clips, fold):
    trainer = started(config, clips, fold)
    model = training.make_model(config)
    optimizer, _ = training.make_optimizer(config, 8)
    alone = training.init_state(
        jax.random.key(config.seed),
        model=model,
        optimizer=optimizer,
        clip_shape=clips.clips.shape[1:],
    )
    index = fold.train[:8]
    batch = {"clip": clips.clips[index], "label": clips.labels[index]}
    step = jax.jit(
        lambda state: training.train_step(
            state, batch, model=model, optimizer=optimizer, flip=True
        )
    )
    alone, sums = step(alone)
    ours = trainer.step(batch["clip"], batch["label"])
    assert ours["loss"] == pytest.approx(sums["loss"].item(), rel=1e-5)
    for one, other in zip(leaves(trainer.state), leaves(alone), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_a_batch_is_learnt_by_heart(config, clips, fold):
    config = dataclasses.replace(config, learning_rate=0.1, flip=False, epochs=100)
    trainer = started(config, clips, fold)
    index = fold.train[:8]
    losses = [
        trainer.step(clips.clips[index], clips.labels[index])["loss"].item()
        for _ in range(60)
    ]
    assert losses[-1] < 0.1 * losses[0]


def test_flips_change_with_the_step_and_come_again(config, clips, fold):
    def losses(**changes):
        changed = dataclasses.replace(config, learning_rate=1e-9, **changes)
        trainer = started(changed, clips, fold)
        index = fold.train[:8]
        return [
            trainer.step(clips.clips[index], clips.labels[index])["loss"].item()
            for _ in range(3)
        ]

    assert len(set(losses())) == 3  # the parameters stand still, the coins do not
    assert losses() == losses()
    still = losses(flip=False)
    assert still == pytest.approx([still[0]] * 3, rel=1e-4)


def test_rates(config):
    steps = 1000
    _, radam = training.make_optimizer(config, steps)
    assert radam(0) == pytest.approx(0.1)
    assert radam(500) == pytest.approx(0.05)
    assert radam(1000) == pytest.approx(0, abs=1e-9)
    warm = dataclasses.replace(config, optimizer="adam_warmup")
    _, adam = training.make_optimizer(warm, 100_000)
    # 2 / (1 - 0.999) = 2000 steps of warm-up.
    assert adam(0) == pytest.approx(0.1 / 2000)
    assert adam(999) == pytest.approx(0.05, rel=1e-3)
    assert adam(1999) == pytest.approx(0.1, rel=1e-3)


def test_adam_warmup_applies_its_rate(config):
    warm = dataclasses.replace(config, optimizer="adam_warmup")
    optimizer, _ = training.make_optimizer(warm, 100_000)
    params = {"w": np.float32(1)}
    updates, _ = optimizer.update({"w": np.float32(3)}, optimizer.init(params), params)
    # Adam's first step is the rate itself.
    assert updates["w"] == pytest.approx(-0.1 / 2000, rel=1e-4)


def test_prediction_does_not_hang_on_the_batch(config, clips, fold):
    trainer = started(config, clips, fold)
    every = trainer.predict(clips.clips)
    assert every.shape == (36, 3)
    for index in (0, 9, 35):
        alone = trainer.predict(clips.clips[index : index + 1])
        np.testing.assert_allclose(alone[0], every[index], rtol=1e-4, atol=1e-5)
    sums = trainer.probabilities(clips.clips[:3]).sum(-1)
    np.testing.assert_allclose(sums, 1, rtol=1e-6)


def test_training_keeps_the_best_and_the_last(config, clips, fold, tmp_path):
    config = dataclasses.replace(config, epochs=4)
    trainer, lines, best, state = run(config, clips, fold, tmp_path / "checkpoints")
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    ranks = [(ln["validation_accuracy"], -ln["validation_loss"]) for ln in lines]
    assert best == 1 + ranks.index(max(ranks))
    assert state.step == best * 2  # 21 clips make two batches an epoch
    kept = {p.name for p in (tmp_path / "checkpoints").iterdir() if p.is_dir()}
    assert kept == {str(best), "4"}
    # What was chosen predicts what its line says.
    trainer.resume(state)
    logits = trainer.predict(clips.clips[fold.validation])
    labels = clips.labels[fold.validation]
    accuracy = (logits.argmax(-1) == labels).mean()
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    assert accuracy == lines[best - 1]["validation_accuracy"]
    assert loss == pytest.approx(lines[best - 1]["validation_loss"], rel=1e-6)
    assert lines[-1]["learning_rate"] < lines[0]["learning_rate"]


def test_training_does_not_look_at_the_test_part(config, clips, fold, tmp_path):
    spoilt = clips.clips.copy()
    spoilt[fold.test] = 0
    labels = clips.labels.copy()
    labels[fold.test] = 0
    blind = dataclasses.replace(clips, clips=spoilt, labels=labels)
    seen = run(config, clips, fold, tmp_path / "a")
    unseen = run(config, blind, fold, tmp_path / "b")
    assert seen[2] == unseen[2]
    for ours, theirs in zip(leaves(seen[3]), leaves(unseen[3]), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_checkpoint_of_two_devices_is_read_by_one(config, clips, fold, tmp_path):
    two = dataclasses.replace(config, devices=2, epochs=1)
    trainer, _, best, _ = run(two, clips, fold, tmp_path / "checkpoints")
    one = training.make_trainer(config, clips, fold)
    with Checkpoints(tmp_path / "checkpoints", read_only=True) as checkpoints:
        one.resume(checkpoints.restore(best, one.state_shapes))
    np.testing.assert_allclose(
        one.predict(clips.clips), trainer.predict(clips.clips), rtol=1e-4, atol=1e-5
    )


def test_a_checkpoint_of_another_network_is_refused(config, clips, fold, tmp_path):
    _, _, best, _ = run(
        dataclasses.replace(config, epochs=1), clips, fold, tmp_path / "checkpoints"
    )
    wider = dataclasses.replace(config, width=8)
    other = training.make_trainer(wider, clips, fold)
    with (
        Checkpoints(tmp_path / "checkpoints", read_only=True) as checkpoints,
        pytest.raises(UserError, match="epoch 1"),
    ):
        checkpoints.restore(best, other.state_shapes)


def test_checkpoints_are_bound_to_no_device(config, clips, fold, tmp_path):
    run(dataclasses.replace(config, epochs=1), clips, fold, tmp_path / "checkpoints")
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"device_str" not in path.read_bytes(), path


def test_a_state_whose_validation_is_not_finite_is_not_kept(
    config, clips, fold, tmp_path, monkeypatch
):
    predict = training.Trainer.predict
    monkeypatch.setattr(training.Trainer, "predict", lambda *a: predict(*a) * np.nan)
    with pytest.raises(UserError, match="loss became nan in validation after epoch 1"):
        run(config, clips, fold, tmp_path / "checkpoints")
    assert not list((tmp_path / "checkpoints").glob("[0-9]*"))


def test_an_infinite_loss_stops_the_run(config, clips, fold, tmp_path):
    config = dataclasses.replace(config, learning_rate=3e38)
    with pytest.raises(UserError, match="loss became.*epoch.*--learning_rate"):
        run(config, clips, fold, tmp_path / "checkpoints")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"devices": 3}, "--batch_size=8 cannot be divided over 3 devices"),
        ({"devices": 99}, "--devices=99, but this machine has 4"),
        ({"batch_size": 32}, "21 clips, less than a batch of 32"),
    ],
)
def test_what_cannot_be_trained_says_why(config, clips, fold, changes, message):
    with pytest.raises(UserError, match=message):
        training.make_trainer(dataclasses.replace(config, **changes), clips, fold)


def test_the_state_is_left_alone_by_timing(config, clips, fold):
    trainer = started(config, clips, fold)
    before = leaves(trainer.state)
    assert training.time_step(trainer, config, clips, fold) > 0
    for ours, theirs in zip(leaves(trainer.state), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
