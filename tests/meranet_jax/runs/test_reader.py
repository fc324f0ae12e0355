import dataclasses
import datetime
import json
import shutil
from pathlib import Path

import filelock
import numpy as np
import pytest

from meranet_jax.data import loading, splits
from meranet_jax.errors import UserError
from meranet_jax.evaluation import predictions
from meranet_jax.runs import (
    fold_writer,
    layout,
    merge,
    reader,
    report,
    verification,
    writer,
)
from tests.meranet_jax.loading import first_fingerprint, smallest
from tests.meranet_jax.running import run


@pytest.fixture(scope="module")
def trained(clips, tmp_path_factory):
    """Settings and folder of a finished run of one fold."""
    config = smallest(tmp_path_factory.mktemp("runs"), epochs=1)
    return config, run(config, clips)


@pytest.fixture
def copied(trained, tmp_path):
    """Settings and folder of a copy of the run, to be changed."""
    config, path = trained
    shutil.copytree(path, tmp_path / path.name)
    return config.change(runs_dir=str(tmp_path)), tmp_path / path.name


def test_default_names_of_runs(trained):
    config, path = trained
    assert path.name == "synthetic-meranet-paper-seed0"
    for changes, name in (
        ({"protocol": "loso", "seed": 3}, "synthetic-meranet-paper-loso-seed3"),
        ({"seeds": "5", "seed": 2}, "synthetic-meranet-paper-seed2-6"),
        ({"seeds": "7,3"}, "synthetic-meranet-paper-seed7-3"),
        ({"model": "resnet3d", "name": None}, "synthetic-resnet3d-paper-seed0"),
        (
            {"dataset": "casme, casme2,synthetic/hard", "preset": "small"},
            "casme+casme2+synthetic-hard-meranet-small-seed0",
        ),
        ({"input": "flow"}, "synthetic-meranet-paper-flow-seed0"),
        ({"input": "flow", "init": "a/b.npz"}, "synthetic-meranet-paper-init-b-seed0"),
        ({"name": "mine", "seeds": "5"}, "mine"),
    ):
        changed = config.change(**changes)
        assert layout.run_path(changed).name == name
        shard = dataclasses.replace(changed, fold_shard="2/8")
        assert layout.run_path(shard).name == f"{name}-shard2of8"


def test_other_settings_are_refused(copied, clips):
    config, _ = copied
    other = config.change(epochs=3, protocol="loso", name="x")
    moved = dataclasses.replace(other, name=config.run_name)
    with pytest.raises(
        UserError, match="protocol holdout, not loso; epochs 1, not 3. Choose another"
    ):
        run(moved, clips)


def test_settings_that_do_not_change_results_may_differ(copied, clips):
    config, path = copied
    before = (path / "report.json").read_bytes()
    changed = config.change(devices=2, data_dir="x", manual_dir="y")
    assert run(changed, clips) == path
    assert (path / "report.json").read_bytes() == before


def test_a_run_is_not_resumed_with_other_clips(copied, clips):
    config, _ = copied
    frames = clips.clips.copy()
    frames[0, 0, 0, 0, 0] ^= 1
    with pytest.raises(UserError, match="Cannot resume .*: it had other records"):
        run(config, dataclasses.replace(clips, clips=frames))


def test_a_run_is_not_resumed_with_another_split(copied, clips):
    config, path = copied
    text = (path / "split.json").read_text()
    (path / "split.json").write_text(text.replace("validation", "validated"))
    with pytest.raises(UserError, match="no longer give its split.json"):
        run(config, clips)


def test_overwriting_deletes_the_earlier_run(copied, clips):
    config, path = copied
    (path / "folds" / "old").mkdir()
    (path / "old.txt").write_text("")
    run(config.change(overwrite=True, epochs=2), clips)
    assert not (path / "old.txt").exists() and not (path / "folds" / "old").exists()
    assert len(json.loads((path / "config.json").read_text())["starts"]) == 1


def test_folders_that_are_not_runs_are_not_changed(trained, tmp_path, clips):
    config = dataclasses.replace(trained[0], runs_dir=str(tmp_path), name="mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("all of it")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="is not a run folder"):
            run(config.change(overwrite=overwrite), clips)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "all of it"


def test_a_folder_of_a_start_that_was_killed_early_is_free(trained, tmp_path, clips):
    config = dataclasses.replace(trained[0], runs_dir=str(tmp_path))
    path = layout.run_path(config)
    path.mkdir()
    (path / ".lock").write_text("")
    (path / "split.json").write_text("{")
    (path / ".config.json.part").write_text("{")
    writer.check_free(config, path)
    assert run(config, clips) == path


def test_a_run_is_not_resumed_with_other_classes(copied, clips):
    config, path = copied
    saved = json.loads((path / "config.json").read_text())
    saved["data"]["classes"]["disgust"] = ["anger"]
    (path / "config.json").write_text(json.dumps(saved))
    with pytest.raises(UserError, match="Cannot resume .*: it had other classes"):
        run(config, clips)


def test_incomplete_lines_of_metrics_are_skipped(copied, clips):
    config, path = copied
    (fold,) = (path / "folds").iterdir()
    with (fold / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "train_lo')
    assert [line["epoch"] for line in reader.read_epoch_metrics(path)[fold.name]] == [1]
    assert run(config, clips) == path


def test_two_processes_do_not_write_to_one_run(copied, clips):
    config, path = copied
    with (
        filelock.FileLock(path / ".lock", is_singleton=False),
        pytest.raises(UserError, match="training the run in .* Wait until it has"),
    ):
        run(config, clips)


def test_two_processes_do_not_train_one_fold(copied, clips, monkeypatch):
    """For example, if one of several processes of an earlier start still runs."""
    config, path = copied
    (fold,) = (path / "folds").iterdir()
    (fold / "predictions.csv").write_text("")
    monkeypatch.setattr(fold_writer, "_LOCK_TIMEOUT", 0)
    with (
        filelock.FileLock(fold / ".lock", is_singleton=False),
        pytest.raises(UserError, match="Another process is training seed 0"),
    ):
        run(config, clips)
    assert run(config, clips) == path


def test_a_fold_whose_predictions_are_damaged_is_trained_again(copied, clips):
    config, path = copied
    original = (path / "predictions.csv").read_bytes()
    (fold,) = (path / "folds").iterdir()
    truncated = (fold / "predictions.csv").read_bytes()[:-9]
    (fold / "predictions.csv").write_bytes(truncated)
    epochs = []
    run(config, clips, watch={"epoch": lambda job, line: epochs.append(line["epoch"])})
    assert epochs == [1]
    assert (path / "predictions.csv").read_bytes() == original


def test_content_of_config_json(trained, clips):
    read = reader.read(trained[1])
    assert read.data["counts"] == {
        name: {name: 12} for name in ("disgust", "happiness", "surprise")
    }
    assert read.data["clips"] == 36 and read.data["subjects"] == 4
    assert read.folds == [(0, 0, "holdout")]
    date = datetime.datetime.fromisoformat(read.starts[0]["date"])
    assert abs(datetime.datetime.now(datetime.UTC) - date).days == 0


@pytest.fixture
def of_first_version(copied, clips):
    """Settings and folder of a run with a fingerprint of the first version."""
    config, path = copied
    saved = json.loads((path / "config.json").read_text())
    saved["data"]["fingerprint"] = first_fingerprint(clips)
    del saved["data"]["first_as_onset"]
    (path / "config.json").write_text(json.dumps(saved))
    return config, path


def test_a_run_of_an_older_version_is_resumed(of_first_version, clips):
    config, path = of_first_version
    recorded = loading.LazyClips(lambda index: clips.clips[index], clips.clips.shape)
    assert run(config, dataclasses.replace(clips, clips=recorded)) == path
    assert reader.read(path).data["fingerprint"] == clips.fingerprint()
    report = json.loads((path / "report.json").read_text())
    assert report["data"]["fingerprint"] == clips.fingerprint()


def test_a_run_of_an_older_version_is_not_resumed_with_other_clips(
    of_first_version, clips
):
    config, path = of_first_version
    other = dataclasses.replace(clips, subjects=("s02", *clips.subjects[1:]))
    with pytest.raises(UserError, match="Cannot resume .*: it had other records"):
        run(config, other)
    assert reader.read(path).data["fingerprint"] == first_fingerprint(clips)


def test_a_run_of_an_older_version_is_opened(of_first_version, clips, records):
    _, path = of_first_version
    read = dataclasses.replace(reader.read(path), records=[records])
    opened = verification.open_run(read, None)
    np.testing.assert_array_equal(opened.clips.clips, clips.clips)
    read.data["fingerprint"] = read.data["fingerprint"][::-1]
    with pytest.raises(UserError, match="are not those that .* was trained on"):
        verification.open_run(read, None)


def test_fingerprints_of_two_versions_are_not_merged(trained, of_first_version):
    parts = [reader.read(trained[1]), reader.read(of_first_version[1])]
    with pytest.raises(UserError, match="an older version saved the fingerprint of"):
        merge.merge(parts, of_first_version[1].parent / "merged")


def test_predictions_of_a_finished_fold_are_read_once(copied, clips, monkeypatch):
    config, path = copied
    read_file, reads = predictions.read, []
    monkeypatch.setattr(
        predictions, "read", lambda path: reads.append(path) or read_file(path)
    )
    split = splits.make(config, clips)
    (job,) = splits.jobs(split)
    with writer.RunFolder(path, config, clips, split, [Path("/records")]) as folder:
        assert folder.is_finished(job, clips) and folder.is_finished(job, clips)
        read = reader.read(path)
        first = report.read_predictions(read, folder.finished)
    assert reads == [layout.RunLayout(path).fold(job).predictions]
    for name, again in vars(report.read_predictions(read)).items():
        np.testing.assert_array_equal(getattr(first, name), again)


def test_predictions_are_read_again_until_their_fold_is_finished(copied, clips):
    config, path = copied
    split = splits.make(config, clips)
    (job,) = splits.jobs(split)
    file = layout.RunLayout(path).fold(job).predictions
    content = file.read_bytes()
    file.unlink()
    with writer.RunFolder(path, config, clips, split, [Path("/records")]) as folder:
        assert not folder.is_finished(job, clips) and not folder.finished
        file.write_bytes(content)  # as another process does
        assert folder.is_finished(job, clips)
