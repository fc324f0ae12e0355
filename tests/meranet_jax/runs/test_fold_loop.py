import dataclasses
import json

import numpy as np
import pytest

from meranet_jax.data import splits
from meranet_jax.errors import UserError
from meranet_jax.evaluation import predictions
from meranet_jax.runs import merge, reader
from meranet_jax.training import trainers
from meranet_jax.training.checkpoint import read_weights
from tests.meranet_jax.loading import smallest
from tests.meranet_jax.running import count_traces, plan, run


@pytest.fixture
def loso(config):
    """Four folds."""
    return config.change(protocol="loso", learning_rate=1e-2)


@pytest.fixture(scope="module")
def whole(some, tmp_path_factory):
    """All four folds, one after another."""
    folder = tmp_path_factory.mktemp("whole")
    config = smallest(folder, protocol="loso", learning_rate=1e-2)
    return run(config, some)


def named(config, name, **changes):
    return config.change(name=name, **changes)


def table(path):
    return (path / "predictions.csv").read_bytes()


def lines(path):
    found = reader.read_lines(path)
    kept = {"step", "learning_rate", "train_loss", "validation_loss"}
    return {
        fold: [{name: line[name] for name in kept} for line in rows]
        for fold, rows in found.items()
    }


def test_folds_come_out_alike_however_they_are_spread(loso, some, whole):
    """Bit by bit, also where the last group does not fill the slots."""
    steps = {len(job.fold.train) // 8 for job in plan(loso, some)[0]}
    assert len(steps) > 1  # so a slot stands still while another trains
    three = run(named(loso, "three", devices=3), some)
    assert table(three) == table(whole)
    assert lines(three) == lines(whole)
    tested = predictions.read(three / "predictions.csv")
    assert sorted(tested.clips) == sorted(some.clip_ids)


def test_a_fold_beside_others_is_the_fold_alone(loso, some, whole):
    """What stands in other slots does not matter, nor whether anything does."""
    job = plan(loso, some)[0][0]
    path = run(named(loso, "beside", devices=4), some)
    assert table(path) == table(whole)
    alone = run(named(loso, "alone", devices=4, fold_shard="1/4"), some)
    assert lines(path)[job.folder] == lines(alone)[job.folder]
    assert table(alone / "folds" / job.folder) == table(path / "folds" / job.folder)


@pytest.mark.parametrize("at_once", [1, 2])  # as on a CPU, as on an accelerator
def test_one_compilation_serves_all_folds(loso, some, monkeypatch, at_once):
    traced = count_traces(monkeypatch)
    loso = named(loso, "counted", devices=1, seeds="2")
    run(loso, some, steps_per_call=at_once)
    # Once in the step, once in the prediction, for eight folds of two lengths.
    assert traced == [(8, 8, 16, 16, 3)] * 2


def test_a_run_goes_on_with_the_folds_that_lack(loso, some, whole):
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
    assert table(path) == table(whole)
    assert lines(path) == lines(whole)
    ours, theirs = (json.loads((p / "report.json").read_text()) for p in (path, whole))
    assert ours == theirs
    assert len(json.loads((path / "config.json").read_text())["starts"]) == 2
    trained.clear()
    run(broken, some, watch=watch)
    assert trained == []


def test_parts_are_pooled_to_the_whole(loso, some, whole, tmp_path):
    parts = [run(named(loso, "part", fold_shard=f"{n}/3"), some) for n in (1, 2, 3)]
    assert not (parts[0] / "report.json").exists()
    read = [reader.read(part) for part in parts]
    with pytest.raises(UserError, match="1 of 4 folds are not finished: s02"):
        merge.merge([read[0], read[2]], tmp_path / "pooled")
    assert not (tmp_path / "pooled").exists()
    merged = merge.merge(read, tmp_path / "pooled")
    assert table(tmp_path / "pooled") == table(whole)
    assert merged == json.loads((whole / "report.json").read_text())
    with pytest.raises(UserError, match="something in .*pooled already"):
        merge.merge(read, tmp_path / "pooled")


def test_what_does_not_belong_together_is_not_pooled(loso, some, clips, tmp_path):
    config = dataclasses.replace(loso, epochs=1)
    first = reader.read(run(named(config, "a", fold_shard="1/2"), some))
    for name, other, of in (
        ("epochs .1; 2.", named(loso, "b", fold_shard="2/2"), some),
        ("the clips themselves", named(config, "c", fold_shard="2/2"), clips),
    ):
        second = reader.read(run(other, of))
        with pytest.raises(UserError, match=f"not parts of one run.*{name}"):
            merge.merge([first, second], tmp_path / "pooled")
    again = reader.read(run(named(config, "d", fold_shard="1/2"), some))
    (folder, *_) = sorted(again.path.glob("folds/*"))
    text = (folder / "predictions.csv").read_text()
    (folder / "predictions.csv").write_text(text.replace("0.3", "0.30001"))
    with pytest.raises(UserError, match="seed 0 was trained twice"):
        merge.merge([first, again], tmp_path / "pooled")


def test_a_fold_that_was_cut_short_is_not_pooled(loso, some, tmp_path):
    config = dataclasses.replace(loso, epochs=1)
    parts = [run(named(config, "cut", fold_shard=f"{n}/2"), some) for n in (1, 2)]
    (table, *_) = sorted(parts[0].glob("folds/*/predictions.csv"))
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    read = [reader.read(part) for part in parts]
    with pytest.raises(UserError, match="1 of 4 folds are not finished: s01"):
        merge.merge(read, tmp_path / "pooled")


def test_a_pooled_run_has_a_plain_name_beside_its_parts(loso, some):
    config = dataclasses.replace(loso, epochs=1, protocol="holdout")
    seeds = [reader.read(run(named(config, f"s{s}", seed=s), some)) for s in (0, 1)]
    with pytest.raises(UserError, match="runs of several names; give .* --name"):
        merge.path_of(seeds, None)
    with pytest.raises(UserError, match="must be a plain folder name"):
        merge.path_of(seeds, "../up")
    assert merge.path_of(seeds, "both") == seeds[0].path.parent / "both"
    # A hold-out alone is that of several seeds, so that they can be pooled.
    together = run(named(config, "together", seeds="2"), some)
    merge.merge(seeds, merge.path_of(seeds, "both"))
    both = seeds[0].path.parent / "both"
    assert table(both) == table(together)
    assert reader.read(both).config.all_seeds == (0, 1)


@pytest.mark.parametrize("select", ["best_val", "last"])
def test_the_tested_checkpoint_is_the_one_that_was_asked_for(config, some, select):
    config = config.change(select=select, epochs=4, seed=2)
    path = run(config, some)
    (fold,) = reader.read_lines(path)
    ranks = [
        (line["validation_accuracy"], -line["validation_loss"])
        for line in reader.read_lines(path)[fold]
    ]
    best = 1 + ranks.index(max(ranks))
    assert best < 4  # so the two are not the same
    epoch = json.loads((path / "folds" / fold / "fold.json").read_text())["epoch"]
    assert epoch == (best if select == "best_val" else 4)
    # And the weights that were kept are those that predicted.
    trainer = trainers.make_trainer(config, some, folds=1)
    weights = read_weights(
        path / "folds" / fold / "weights", trainers.weights_of(trainer.state_shapes)
    )
    tested = predictions.read(path / "predictions.csv")
    indices = np.array([some.clip_ids.index(clip) for clip in tested.clips])
    (logits,) = trainer.predict([indices], [weights])
    np.testing.assert_array_equal(trainers.probabilities(logits), tested.probabilities)
    assert not (path / "folds" / fold / "checkpoints").exists()


def test_no_fold_looks_at_its_test_part_before_the_choice(loso, some, monkeypatch):
    """Other frames and other labels there change no choice, and no weight."""
    loso = dataclasses.replace(loso, epochs=4)
    seen = run(named(loso, "seen"), some)
    rng = np.random.default_rng(0)
    for job in plan(loso, some)[0][::3]:
        frames, labels = some.clips.copy(), some.labels.copy()
        test = job.fold.test
        frames[test] = rng.integers(0, 256, frames[test].shape)
        labels[test] = (labels[test] + 1) % 3
        emotions = tuple(list(some.classes)[label] for label in labels)
        blind = dataclasses.replace(
            some, clips=frames, labels=labels, emotions=emotions
        )
        part = named(loso, "blind", fold_shard=f"{job.number + 1}/4")
        folds = [other.fold for other in plan(loso, some)[0]]  # by the true labels
        monkeypatch.setattr(splits, "make", lambda *a, folds=folds: {0: folds})
        unseen = run(part, blind)
        monkeypatch.undo()
        assert lines(unseen)[job.folder] == lines(seen)[job.folder]
        ours, theirs = (
            json.loads((path / "folds" / job.folder / "fold.json").read_text())
            for path in (seen, unseen)
        )
        assert ours["epoch"] == theirs["epoch"]
        # But the predictions are of what is there.
        assert table(seen / "folds" / job.folder) != table(
            unseen / "folds" / job.folder
        )


def test_a_test_part_is_predicted_once_and_after_all_training(
    config, some, monkeypatch
):
    config = config.change(epochs=3)
    ((job,), _) = plan(config, some)
    happened = []
    train, predict = trainers.Trainer.train, trainers.Trainer.predict

    def note_predict(self, parts, weights=None):
        test = [part for part in parts if set(part) & set(job.fold.test)]
        happened.append("test" if test else "validation")
        return predict(self, parts, weights)

    def note_train(self, orders):
        assert not any(set(order.flat) & set(job.fold.test) for order in orders)
        happened.append("training")
        return train(self, orders)

    monkeypatch.setattr(trainers.Trainer, "predict", note_predict)
    monkeypatch.setattr(trainers.Trainer, "train", note_train)
    run(config, some)
    assert happened.count("test") == 1
    assert happened[-1] == "test"
    assert happened[:-1] == ["training", "validation"] * 3


def test_an_output_that_is_not_finite_is_told(config, some, monkeypatch):
    predict = trainers.Trainer.predict

    def spoilt(self, parts, weights=None):
        found = predict(self, parts, weights)
        return found if weights is None else [slot * np.nan for slot in found]

    monkeypatch.setattr(trainers.Trainer, "predict", spoilt)
    with pytest.raises(UserError, match="output for s0.* is not finite"):
        run(config, some)
