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
    """A finished run of one fold, and its settings."""
    config = smallest(tmp_path_factory.mktemp("runs"), epochs=1)
    return config, run(config, clips)


@pytest.fixture
def copied(trained, tmp_path):
    """The same where it may be spoilt."""
    config, path = trained
    shutil.copytree(path, tmp_path / path.name)
    return config.change(runs_dir=str(tmp_path)), tmp_path / path.name


def test_names_tell_what_a_run_is(trained):
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
        ({"name": "mine", "seeds": "5"}, "mine"),
    ):
        changed = config.change(**changes)
        assert reader.path_of(changed).name == name
        part = dataclasses.replace(changed, fold_shard="2/8")
        assert reader.path_of(part).name == f"{name}-shard2of8"


def test_other_settings_are_named(copied, clips):
    config, _ = copied
    other = config.change(epochs=3, protocol="loso", name="x")
    moved = dataclasses.replace(other, name=config.run_name)
    with pytest.raises(
        UserError, match="protocol holdout, not loso; epochs 1, not 3. Choose another"
    ):
        run(moved, clips)


def test_settings_on_which_no_result_hangs_may_differ(copied, clips):
    config, path = copied
    before = (path / "report.json").read_bytes()
    elsewhere = config.change(devices=2, data_dir="x", manual_dir="y")
    assert run(elsewhere, clips) == path
    assert (path / "report.json").read_bytes() == before


def test_a_run_does_not_go_on_with_other_clips(copied, clips):
    config, _ = copied
    frames = clips.clips.copy()
    frames[0, 0, 0, 0, 0] ^= 1
    with pytest.raises(UserError, match="cannot go on: its records were others"):
        run(config, dataclasses.replace(clips, clips=frames))


def test_a_run_does_not_go_on_with_another_split(copied, clips):
    config, path = copied
    text = (path / "split.json").read_text()
    (path / "split.json").write_text(text.replace("validation", "validated"))
    with pytest.raises(UserError, match="its split.json is not the one"):
        run(config, clips)


def test_overwriting_leaves_nothing_of_the_run_before(copied, clips):
    config, path = copied
    (path / "folds" / "old").mkdir()
    (path / "old.txt").write_text("")
    run(config.change(overwrite=True, epochs=2), clips)
    assert not (path / "old.txt").exists() and not (path / "folds" / "old").exists()
    assert len(json.loads((path / "config.json").read_text())["starts"]) == 1


def test_what_is_no_run_is_not_touched(trained, tmp_path, clips):
    config = dataclasses.replace(trained[0], runs_dir=str(tmp_path), name="mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("all of it")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="is not the folder of a run"):
            run(config.change(overwrite=overwrite), clips)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "all of it"


def test_a_start_that_was_killed_at_once_does_not_block_the_next(
    trained, tmp_path, clips
):
    config = dataclasses.replace(trained[0], runs_dir=str(tmp_path))
    path = reader.path_of(config)
    path.mkdir()
    (path / ".lock").write_text("")
    (path / "split.json").write_text("{")
    (path / ".config.json.part").write_text("{")
    writer.check_free(config, path)
    assert run(config, clips) == path


def test_classes_that_were_others_are_named(copied, clips):
    config, path = copied
    saved = json.loads((path / "config.json").read_text())
    saved["data"]["classes"]["disgust"] = ["anger"]
    (path / "config.json").write_text(json.dumps(saved))
    with pytest.raises(UserError, match="cannot go on: its classes were others"):
        run(config, clips)


def test_a_line_of_metrics_that_was_cut_off_stops_nothing(copied, clips):
    config, path = copied
    (fold,) = (path / "folds").iterdir()
    with (fold / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "train_lo')
    assert [line["epoch"] for line in reader.read_lines(path)[fold.name]] == [1]
    assert run(config, clips) == path


def test_two_processes_do_not_write_to_one_run(copied, clips):
    config, path = copied
    with (
        filelock.FileLock(path / ".lock", is_singleton=False),
        pytest.raises(UserError, match="Another process is training the run in"),
    ):
        run(config, clips)


def test_two_processes_do_not_train_one_fold(copied, clips, monkeypatch):
    """As when one of several processes of an earlier start still runs."""
    config, path = copied
    (fold,) = (path / "folds").iterdir()
    (fold / "predictions.csv").write_text("")
    monkeypatch.setattr(fold_writer, "_PATIENCE", 0)
    with (
        filelock.FileLock(fold / ".lock", is_singleton=False),
        pytest.raises(UserError, match="Another process is training seed 0"),
    ):
        run(config, clips)
    assert run(config, clips) == path


def test_a_fold_whose_predictions_are_damaged_is_trained_again(copied, clips):
    config, path = copied
    whole = (path / "predictions.csv").read_bytes()
    (fold,) = (path / "folds").iterdir()
    cut = (fold / "predictions.csv").read_bytes()[:-9]
    (fold / "predictions.csv").write_bytes(cut)
    again = []
    run(config, clips, watch={"epoch": lambda job, line: again.append(line["epoch"])})
    assert again == [1]
    assert (path / "predictions.csv").read_bytes() == whole


def test_facts_of_the_clips_are_kept(trained, clips):
    read = reader.read(trained[1])
    assert read.facts["counts"] == {
        name: {name: 12} for name in ("disgust", "happiness", "surprise")
    }
    assert read.facts["clips"] == 36 and read.facts["subjects"] == 4
    assert read.folds == [(0, 0, "holdout")]
    date = datetime.datetime.fromisoformat(read.starts[0]["date"])
    assert abs(datetime.datetime.now(datetime.UTC) - date).days == 0


@pytest.fixture
def of_first_version(copied, clips):
    """A run whose fingerprint is one of the first version; its settings and folder."""
    config, path = copied
    saved = json.loads((path / "config.json").read_text())
    saved["data"]["fingerprint"] = first_fingerprint(clips)
    (path / "config.json").write_text(json.dumps(saved))
    return config, path


def test_a_run_of_an_older_version_goes_on_with_its_clips(of_first_version, clips):
    config, path = of_first_version
    recorded = loading.LazyClips(lambda index: clips.clips[index], clips.clips.shape)
    assert run(config, dataclasses.replace(clips, clips=recorded)) == path
    assert reader.read(path).facts["fingerprint"] == clips.fingerprint()
    report = json.loads((path / "report.json").read_text())
    assert report["data"]["fingerprint"] == clips.fingerprint()


def test_a_run_of_an_older_version_does_not_go_on_with_others(of_first_version, clips):
    config, path = of_first_version
    other = dataclasses.replace(clips, subjects=("s02", *clips.subjects[1:]))
    with pytest.raises(UserError, match="cannot go on: its records were others"):
        run(config, other)
    assert reader.read(path).facts["fingerprint"] == first_fingerprint(clips)


def test_a_run_of_an_older_version_is_reopened(of_first_version, clips, records):
    _, path = of_first_version
    read = dataclasses.replace(reader.read(path), records=[records])
    opened = verification.reopen(read, None)
    np.testing.assert_array_equal(opened.clips.clips, clips.clips)
    read.facts["fingerprint"] = read.facts["fingerprint"][::-1]
    with pytest.raises(UserError, match="are not those that .* was trained on"):
        verification.reopen(read, None)


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
        tested = report.read_predictions(read, folder.finished)
    assert reads == [path / "folds" / job.folder / "predictions.csv"]
    for name, again in vars(report.read_predictions(read)).items():
        np.testing.assert_array_equal(getattr(tested, name), again)


def test_predictions_are_read_again_until_their_fold_is_finished(copied, clips):
    config, path = copied
    split = splits.make(config, clips)
    (job,) = splits.jobs(split)
    file = path / "folds" / job.folder / "predictions.csv"
    kept = file.read_bytes()
    file.unlink()
    with writer.RunFolder(path, config, clips, split, [Path("/records")]) as folder:
        assert not folder.is_finished(job, clips) and not folder.finished
        file.write_bytes(kept)  # as another process does
        assert folder.is_finished(job, clips)
