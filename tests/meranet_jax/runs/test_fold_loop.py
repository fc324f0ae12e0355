import dataclasses
import json

import numpy as np
import pytest

from meranet_jax.data import splits
from meranet_jax.errors import UserError
from meranet_jax.evaluation import predictions
from meranet_jax.runs import layout, merge, reader
from meranet_jax.training import trainers
from meranet_jax.training.checkpoint import read_weights
from tests.meranet_jax.loading import smallest
from tests.meranet_jax.running import count_traces, plan, run

pytestmark = pytest.mark.e2e


@pytest.fixture
def loso(config):
    """Settings of a run of four folds."""
    return config.change(protocol="loso", learning_rate=1e-2)


@pytest.fixture(scope="module")
def sequential(some, tmp_path_factory):
    """The folder of a run of the four folds, one after another."""
    folder = tmp_path_factory.mktemp("sequential")
    config = smallest(folder, protocol="loso", learning_rate=1e-2)
    return run(config, some)


def named(config, name, **changes):
    return config.change(name=name, **changes)


def predictions_of(path):
    return (path / "predictions.csv").read_bytes()


def metrics_of(path):
    found = reader.read_epoch_metrics(path)
    names = {"step", "learning_rate", "train_loss", "validation_loss"}
    return {
        fold: [{name: line[name] for name in names} for line in rows]
        for fold, rows in found.items()
    }


def test_folds_are_equal_on_any_number_of_devices(loso, some, sequential):
    """Also if the last group has fewer folds than slots."""
    steps = {len(job.fold.train) // 8 for job in plan(loso, some)[0]}
    assert len(steps) > 1  # so a slot is idle while another trains
    three = run(named(loso, "three", devices=3), some)
    assert predictions_of(three) == predictions_of(sequential)
    assert metrics_of(three) == metrics_of(sequential)
    predicted = predictions.read(three / "predictions.csv")
    assert sorted(predicted.clips) == sorted(some.clip_ids)


@pytest.mark.slow  # with one slot the folds are those of three slots, see above
def test_a_fold_does_not_depend_on_other_slots(loso, some, sequential):
    job = plan(loso, some)[0][0]
    path = run(named(loso, "parallel", devices=4), some)
    name = layout.fold_name(job)
    assert predictions_of(path) == predictions_of(sequential)
    alone = run(named(loso, "alone", devices=4, fold_shard="1/4"), some)
    assert metrics_of(path)[name] == metrics_of(alone)[name]
    assert predictions_of(alone / "folds" / name) == predictions_of(
        path / "folds" / name
    )


# As on a CPU and on an accelerator
@pytest.mark.parametrize("at_once", [1, 2])
def test_one_compilation_serves_all_folds(loso, some, monkeypatch, at_once):
    traced = count_traces(monkeypatch)
    loso = named(loso, "counted", devices=1, seeds="2")
    run(loso, some, steps_per_call=at_once)
    # One trace of the step and one of the prediction serve eight folds of two lengths.
    assert traced == [(8, 8, 16, 16, 3)] * 2


def test_a_run_resumes_with_the_unfinished_folds(loso, some, sequential):
    broken = named(loso, "broken", devices=1)
    trained = []

    def interrupt(job, line):
        trained.append(job.fold.name)
        if job.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(broken, some, watch={"epoch": interrupt})
    assert trained == ["s01", "s01", "s02", "s02", "s03"]
    trained.clear()
    watch = {"epoch": lambda job, line: trained.append(job.fold.name)}
    path = run(broken, some, watch=watch)
    assert trained == ["s03", "s03", "s04", "s04"]
    assert predictions_of(path) == predictions_of(sequential)
    assert metrics_of(path) == metrics_of(sequential)
    reports = [(p / "report.json").read_text() for p in (path, sequential)]
    assert reports[0] == reports[1]
    assert len(json.loads((path / "config.json").read_text())["starts"]) == 2
    trained.clear()
    run(broken, some, watch=watch)
    assert trained == []


def test_merged_shards_equal_a_complete_run(loso, some, sequential, tmp_path):
    parts = [run(named(loso, "part", fold_shard=f"{n}/3"), some) for n in (1, 2, 3)]
    assert not (parts[0] / "report.json").exists()
    read = [reader.read(part) for part in parts]
    with pytest.raises(UserError, match="1 of 4 folds are not finished: s02"):
        merge.merge([read[0], read[2]], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    merged = merge.merge(read, tmp_path / "merged")
    assert predictions_of(tmp_path / "merged") == predictions_of(sequential)
    assert merged == json.loads((sequential / "report.json").read_text())
    with pytest.raises(UserError, match="merged exists already"):
        merge.merge(read, tmp_path / "merged")


def test_runs_with_other_settings_or_clips_are_not_merged(loso, some, tmp_path):
    config = loso.change(epochs=1)
    clips = dataclasses.replace(some, clips=255 - some.clips)
    first = reader.read(run(named(config, "a", fold_shard="1/2"), some))
    for name, other, of in (
        ("epochs .1; 2.", named(loso, "b", fold_shard="2/2"), some),
        ("the clips", named(config, "c", fold_shard="2/2"), clips),
    ):
        second = reader.read(run(other, of))
        with pytest.raises(UserError, match=f"Cannot merge .* they differ in .*{name}"):
            merge.merge([first, second], tmp_path / "merged")
    again = reader.read(run(named(config, "d", fold_shard="1/2"), some))
    (folder, *_) = sorted(again.path.glob("folds/*"))
    text = (folder / "predictions.csv").read_text()
    (folder / "predictions.csv").write_text(text.replace("0.3", "0.30001"))
    with pytest.raises(UserError, match="seed 0 was trained twice"):
        merge.merge([first, again], tmp_path / "merged")


def test_incomplete_predictions_are_not_merged(loso, some, tmp_path):
    config = loso.change(epochs=1)
    parts = [run(named(config, "cut", fold_shard=f"{n}/2"), some) for n in (1, 2)]
    (table, *_) = sorted(parts[0].glob("folds/*/predictions.csv"))
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    read = [reader.read(part) for part in parts]
    with pytest.raises(UserError, match="1 of 4 folds are not finished: s01"):
        merge.merge(read, tmp_path / "merged")


def test_path_of_a_merged_run(loso, some):
    config = loso.change(epochs=1, protocol="holdout")
    seeds = [reader.read(run(named(config, f"s{s}", seed=s), some)) for s in (0, 1)]
    with pytest.raises(
        UserError, match="different names. Name the merged run with --name"
    ):
        merge.merged_path(seeds, None)
    with pytest.raises(UserError, match="must be a folder name without"):
        merge.merged_path(seeds, "../up")
    assert merge.merged_path(seeds, "both") == seeds[0].path.parent / "both"
    # Runs of one seed each equal a run of several seeds.
    together = run(named(config, "together", seeds="2"), some)
    merge.merge(seeds, merge.merged_path(seeds, "both"))
    both = seeds[0].path.parent / "both"
    assert predictions_of(both) == predictions_of(together)
    assert reader.read(both).config.all_seeds == (0, 1)


@pytest.mark.parametrize("select", ["best_val", "last"])
def test_the_selected_checkpoint_is_tested(config, some, select):
    config = config.change(select=select, epochs=4, seed=2, stage_sizes=(1, 1))
    path = run(config, some)
    (fold,) = reader.read_epoch_metrics(path)
    ranks = [
        (line["validation_accuracy"], -line["validation_loss"])
        for line in reader.read_epoch_metrics(path)[fold]
    ]
    best = 1 + ranks.index(max(ranks))
    assert best < 4  # so the best epoch is not the last one
    epoch = json.loads((path / "folds" / fold / "fold.json").read_text())["epoch"]
    assert epoch == (best if select == "best_val" else 4)
    # The saved weights give the saved predictions.
    trainer = trainers.make_trainer(config, some, folds=1)
    weights = read_weights(
        path / "folds" / fold / "weights", trainers.weights_of(trainer.state_shapes)
    )
    saved = predictions.read(path / "predictions.csv")
    indices = np.array([some.clip_ids.index(clip) for clip in saved.clips])
    (logits,) = trainer.predict([indices], [weights])
    np.testing.assert_array_equal(trainers.probabilities(logits), saved.probabilities)
    assert not (path / "folds" / fold / "checkpoints").exists()


def test_selection_does_not_depend_on_the_test_part(loso, some, monkeypatch):
    """Other test frames and labels change neither metrics nor the selected epoch."""
    loso = loso.change(epochs=4)
    original = run(named(loso, "original"), some)
    rng = np.random.default_rng(0)
    for job in plan(loso, some)[0][::3]:
        frames, labels = some.clips.copy(), some.labels.copy()
        test = job.fold.test
        frames[test] = rng.integers(0, 256, frames[test].shape)
        labels[test] = (labels[test] + 1) % 3
        emotions = tuple(list(some.classes)[label] for label in labels)
        changed = dataclasses.replace(
            some, clips=frames, labels=labels, emotions=emotions
        )
        part = named(loso, "changed", fold_shard=f"{job.number + 1}/4")
        folds = [
            other.fold for other in plan(loso, some)[0]
        ]  # drawn from the original labels
        monkeypatch.setattr(splits, "make", lambda *a, folds=folds: {0: folds})
        other = run(part, changed)
        monkeypatch.undo()
        name = layout.fold_name(job)
        assert metrics_of(other)[name] == metrics_of(original)[name]
        epochs = [
            json.loads((path / "folds" / name / "fold.json").read_text())["epoch"]
            for path in (original, other)
        ]
        assert epochs[0] == epochs[1]
        # The predictions do depend on the test part.
        assert predictions_of(original / "folds" / name) != predictions_of(
            other / "folds" / name
        )


def test_test_parts_are_predicted_once_after_training(config, some, monkeypatch):
    config = config.change(epochs=3)
    ((job,), _) = plan(config, some)
    calls = []
    train, predict = trainers.Trainer.train, trainers.Trainer.predict

    def record_predict(self, parts, weights=None):
        test = [part for part in parts if set(part) & set(job.fold.test)]
        calls.append("test" if test else "validation")
        return predict(self, parts, weights)

    def record_train(self, orders):
        assert not any(set(order.flat) & set(job.fold.test) for order in orders)
        calls.append("training")
        return train(self, orders)

    monkeypatch.setattr(trainers.Trainer, "predict", record_predict)
    monkeypatch.setattr(trainers.Trainer, "train", record_train)
    run(config, some)
    assert calls.count("test") == 1
    assert calls[-1] == "test"
    assert calls[:-1] == ["training", "validation"] * 3


def test_outputs_that_are_not_finite_are_refused(config, some, monkeypatch):
    predict = trainers.Trainer.predict

    def predict_nan(self, parts, weights=None):
        found = predict(self, parts, weights)
        return found if weights is None else [slot * np.nan for slot in found]

    monkeypatch.setattr(trainers.Trainer, "predict", predict_nan)
    with pytest.raises(UserError, match="output for s0.* is not finite"):
        run(config, some)
