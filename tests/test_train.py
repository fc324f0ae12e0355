"""Tests of train.py on generated copies of the licensed data sets."""

import csv
import json
import shutil
import sys
from unittest import mock

import numpy as np
import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import eval as evaluation
import train as train_program
from datasets import DataError
from datasets.prepare import builder, records_of
from meranet_jax.errors import UserError
from meranet_jax.evaluation import figures
from meranet_jax.flags import parse
from meranet_jax.runs.train_run import train_run
from meranet_jax.training import distributed
from tests.datasets import (
    cas_me_2_tree,
    casme2_tree,
    casme_tree,
    samm_tree,
    smic_tree,
)
from tests.meranet_jax.running import touch_figure
from tests.programs import SMALLEST, flags_of_a_copy, program, train

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a generated copy, its records and a run named ``first``."""
    folder = tmp_path_factory.mktemp("casme2")
    flags = [*flags_of_a_copy(folder), "--name=first", "--epochs=2", "--devices=2"]
    trained = program("train.py", *flags)
    assert trained.returncode == 0, trained.stderr
    (folder / "stdout").write_text(trained.stdout)
    return folder


@pytest.fixture
def flags(folder):
    return [
        "--dataset=casme2",
        f"--data_dir={folder / 'data'}",
        f"--runs_dir={folder / 'runs'}",
        *SMALLEST,
    ]


def test_content_of_the_run_folder(folder):
    run = folder / "runs" / "first"
    assert {path.name for path in run.iterdir()} == {
        ".lock",
        "config.json",
        "split.json",
        "folds",
        "predictions.csv",
        "report.json",
        "report.md",
        "calibration.json",
        *(
            f"{picture}.{kind}"
            for picture in ("confusion", "curves", "reliability", "spread", "subjects")
            for kind in ("png", "svg")
        ),
    }
    (fold,) = (run / "folds").iterdir()
    assert {path.name for path in fold.iterdir()} == {
        ".lock",
        "metrics.jsonl",
        "events",
        "weights",
        "fold.json",
        "predictions.csv",
    }
    config = json.loads((run / "config.json").read_text())
    assert config["config"]["min_frames"] == 16  # the paper's recipe for CASME II
    assert config["config"]["epochs"] == 2
    (start,) = config["starts"]
    assert start["packages"]["jax"]
    assert len(start["devices"]) == 2

    (split,) = json.loads((run / "split.json").read_text())["seeds"]["0"]
    assert split.pop("name") == "holdout"
    ids = [clip for part in split.values() for clip in part]
    assert len(set(ids)) == len(ids) == 44
    report = json.loads((run / "report.json").read_text())
    assert report["clips"] == len(split["test"]) == 11
    assert np.sum(report["pooled"]["confusion"]) == 11

    text = (fold / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    events = EventAccumulator(str(fold / "events")).Reload()
    logged = [event.value for event in events.Scalars("validation_loss")]
    assert logged == pytest.approx([line["validation_loss"] for line in lines])

    with (run / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["clip"] for row in rows] == split["test"]
    correct = sum(row["truth"] == row["prediction"] for row in rows)
    assert correct == report["pooled"]["correct"]
    assert correct / 11 == report["metrics"]["accuracy"]["mean"]
    for row in rows:
        probabilities = {k[2:]: float(v) for k, v in row.items() if k.startswith("p_")}
        assert sum(probabilities.values()) == pytest.approx(1)
        assert max(probabilities, key=probabilities.get) == row["prediction"]
        assert row["subject"] == row["clip"].split("/")[0]
        assert (row["dataset"], row["seed"]) == ("casme2", "0")

    calibration = json.loads((run / "calibration.json").read_text())["calibration"]
    assert calibration["clips"] == 11
    assert not calibration["new_people"]  # some were trained on

    markdown = (run / "report.md").read_text()
    assert "not subject-disjoint" in markdown
    assert f"| accuracy | {correct / 11:.3f} |" in markdown
    assert f"commit {start['commit']}" in markdown
    assert "--epochs=2" in markdown


def test_output_names_clips_and_results(folder):
    output = (folder / "stdout").read_text()
    assert "44 clips" in output
    assert "left out: 10 clips (others, not among the classes)" in output
    assert "epoch 2/2" in output
    report = json.loads((folder / "runs" / "first" / "report.json").read_text())
    assert f"({report['pooled']['correct']} of 11 clips" in output


def test_a_run_is_not_overwritten_without_the_flag(folder, flags):
    before = (folder / "runs" / "first" / "report.json").read_bytes()
    message = "first is a run with other settings: epochs 2, not 1. Choose.*--overwrite"
    with pytest.raises(UserError, match=message):
        train(*flags, "--name=first", "--epochs=1")
    assert (folder / "runs" / "first" / "report.json").read_bytes() == before


def test_overwriting_replaces_runs_only(folder, flags, tmp_path):
    other = tmp_path / "runs" / "other"
    other.mkdir(parents=True)
    (other / "config.json").write_text('{"model_type": "bert"}')
    flags = [*flags, f"--runs_dir={tmp_path / 'runs'}", "--epochs=1", "--overwrite"]
    with pytest.raises(UserError, match="is not a run folder"):
        train(*flags, "--name=other")
    assert (other / "config.json").exists()
    shutil.copytree(folder / "runs" / "first", tmp_path / "runs" / "again")
    train(*flags, "--name=again")
    (again,) = (tmp_path / "runs" / "again").glob("folds/*/metrics.jsonl")
    assert len(again.read_text().splitlines()) == 1


def test_a_finished_run_is_reported_again_without_training(folder, flags):
    run = folder / "runs" / "first"
    before = {path: path.stat().st_mtime_ns for path in run.glob("folds/*/*")}
    again = train(*flags, "--name=first", "--epochs=2", "--devices=1")
    assert "All folds of" in again and "epoch 1/2" not in again
    assert {path: path.stat().st_mtime_ns for path in run.glob("folds/*/*")} == before
    numbers = (folder / "stdout").read_text().partition("Protocol: ")[2]
    assert again.endswith(numbers)


def test_compiling_ahead_fills_the_cache_and_trains_nothing(flags, tmp_path):
    # The environment of the tests stores programs however fast they compile.
    compiled = program(
        "train.py",
        *flags,
        "--name=ahead",
        f"--runs_dir={tmp_path / 'runs'}",
        "--compile_ahead",
        XDG_CACHE_HOME=str(tmp_path / "cache"),
        JAX_COMPILATION_CACHE_DIR=None,
    )
    assert compiled.returncode == 0, compiled.stderr
    assert "Prepared and compiled" in compiled.stdout
    names = [path.name for path in (tmp_path / "cache" / "meranet_jax").rglob("*")]
    # Initialisation, training step and prediction.
    assert sum(name.endswith("-cache") for name in names) >= 3, names
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow  # CASME II and composites cover its steps
@pytest.mark.parametrize(
    ("dataset", "tree", "layout", "clips", "classes"),
    [
        ("casme", casme_tree, "raw", 115, "disgust repression tense"),
        ("cas_me_2", cas_me_2_tree, "cropped", 57, "anger disgust happiness"),
    ],
)
def test_other_data_sets_train_with_their_recipes(
    tmp_path, capsys, dataset, tree, layout, clips, classes
):
    rows = tree.ROWS if dataset == "casme" else tree.MICRO
    tree.write_tree(tmp_path / "copy", release=layout, rows=rows)
    flags = [
        f"--dataset={dataset}",
        f"--data_dir={tmp_path / 'data'}",
        f"--runs_dir={tmp_path / 'runs'}",
        "--epochs=1",
        *SMALLEST,
        *(["--crop=none"] if layout == "raw" else []),
    ]
    output = train(f"--manual_dir={tmp_path / 'copy'}", *flags)
    assert f"{clips} clips" in output
    (run,) = (tmp_path / "runs").iterdir()
    config = json.loads((run / "config.json").read_text())["config"]
    assert config["classes"] == "paper"
    report = json.loads((run / "report.json").read_text())
    assert list(report["data"]["classes"]) == classes.split()
    expected = clips * config["test_fraction"]
    assert report["clips"] == pytest.approx(expected, abs=2)
    if dataset == "casme":  # of at least 16 frames; a missing offset is estimated
        long = [
            row
            for row in casme_tree.ROWS
            if row.emotion in classes.split()
            and (row.offset or 2 * row.apex - row.onset) - row.onset >= 15
        ]
        assert len(long) == clips
    if dataset == "cas_me_2":  # another label of the same records
        labels = ["--label=estimated_emotion", "--classes=negative,others"]
        output = train(*flags, *labels, "--name=estimated")
        assert "40 clips" in output  # 21 negative, 19 others
    else:
        evaluation.main(run=str(run))
        assert "Equal to" in capsys.readouterr().out


def test_the_composite_of_megc_2019_from_copies_in_one_folder(tmp_path):
    casme2 = [row for row in casme2_tree.MEGC if row.subject in (5, 10, 24)]
    samm = [row for row in samm_tree.ROWS if row.subject in (11, 25)]
    smic = [clip for clip in smic_tree.CLIPS["HS"] if clip.subject in (1, 20)]
    copy = tmp_path / "copy"
    casme2_tree.write_tree(copy, rows=casme2)
    samm_tree.write_tree(copy, rows=samm)
    smic_tree.write_tree(copy, clips=smic)
    names = ("casme2", "smic", "samm")
    with mock.patch.object(figures, "save", touch_figure):
        output = train(
            f"--dataset={','.join(names)}",
            "--protocol=loso",
            f"--manual_dir={','.join(f'{name}={copy}' for name in names)}",
            f"--data_dir={tmp_path / 'data'}",
            f"--runs_dir={tmp_path / 'runs'}",
            *("--min_frames=1", "--frames=2", "--window=2", "--epochs=1"),
            *("--devices=1", *SMALLEST),
        )
    (run,) = (tmp_path / "runs").iterdir()
    report = json.loads((run / "report.json").read_text())
    # Those of CASME II whose label or apex is not that of the challenge, and "others"
    of_casme2 = [
        row
        for row in casme2
        if row.emotions[1] in ("disgust", "happiness", "repression", "surprise")
        and row.emotions[0] != "sadness"
        and row.apex != row.onset
    ]
    clips = {
        "casme2": len(of_casme2),
        "smic": len(smic),
        "samm": sum(row.emotion != "Other" for row in samm),
    }
    assert len(of_casme2) <= len(casme2) - 4 and clips["samm"] < len(samm)
    assert {n: one["clips"] for n, one in report["by_dataset"].items()} == clips
    assert {n: sum(c.values()) for n, c in report["data"]["megc2019"].items()} == clips
    # Subject 10 of CASME II and 25 of SAMM have no clip of the three classes.
    tested = [fold["fold"] for fold in report["by_fold"]]
    assert tested == [
        *("casme2/sub05", "casme2/sub24", "samm/sub11"),
        *("smic/sub01", "smic/sub20"),
    ]
    assert list(report["data"]["classes"]) == ["negative", "positive", "surprise"]
    assert f"smic: {len(smic)} clips by the rule of MEGC 2019" in output
    # The folders non_micro of SMIC are no clips.
    assert "no record of it" not in output
    (info,) = (tmp_path / "data").glob("smic/*/*/metadata.json")
    table = json.loads(info.read_text())["table"]
    assert table == "names of the folders in SMIC_all_cropped/HS"


def test_damaged_records_are_named(folder, flags, tmp_path):
    shutil.copytree(folder / "data", tmp_path / "data")
    (shard,) = tmp_path.glob("data/casme2/*/*/*.array_record-*")
    shard.write_bytes(shard.read_bytes()[:-5000])
    message = "are damaged.*Delete that folder and prepare them again"
    with pytest.raises(UserError, match=message):
        train(*flags, f"--data_dir={tmp_path / 'data'}", "--name=x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset=casme4"], "Did you mean casme?"),
        (["--epoch=3"], "Did you mean --epochs? Valid flags: --dataset, --preset"),
        (["--seed=99999999999"], "--seed=99999999999 must be below"),
        (["--optimizer=lion"], "adam_warmup"),
        (["--batch_size=6", "--devices=4"], "cannot be divided over 4 devices"),
        (["--batch_size=0"], "--batch_size=0 must be at least 1"),
        (["--classes=disgust,sadness"], "sadness has 1 clips"),
        (["--classes=disgust,joy"], "no clip is labelled joy; the labels are disgust"),
        (["--classes=disgust"], "name at least two different"),
        (["--dataset=casme2,casme2"], "names a data set twice"),
        (["--dataset=casme2,casme4"], "Did you mean casme?"),
        (["--seeds=0"], "--seeds=0 is neither a number"),
        (["--seeds=1,2", "--seed=3"], "set only one"),
        (["--fold_shard=3/2"], "--fold_shard=3/2 is not PART/PARTS"),
        (["--protocol=leave"], "holdout_subject"),
        (["--protocol=kfold", "--fold_shard=7/9"], "nothing to do for part 7 of 9"),
        (["--batch_size=40"], "has 26 clips, fewer than a batch of 40"),
        (["--protocol=kfold", "--folds=99"], "needs 99 subjects"),
        (["--split=nowhere.json"], "Cannot read --split=nowhere.json"),
        (["--leave_out=sub01/x"], "there is no clip sub01/x"),
        (
            ["--size=50"],
            "casme2 is read from your own copy",
        ),  # no records of this size yet
        (["--label=joy"], "no such label. Choose one of emotion"),
        (["--sampling=middle"], "apex"),
        (["--frames=33"], "33 frames cannot be drawn"),
        (
            ["--crop=provided", "--release=CASME2-RAW"],
            "casme2 is read from your own copy",
        ),
        (["--expressions=macro"], "casme2 has no --expressions"),
        (["--name=../elsewhere"], "must be a folder name without"),
        (["--data_dir=nowhere"], "casme2 is read from your own copy"),
    ],
)
def test_invalid_flags_are_refused(folder, flags, capsys, arguments, message):
    runs = sorted((folder / "runs").iterdir())
    with pytest.raises((UserError, DataError, SystemExit)) as refused:
        config = parse([*map(str, flags), *arguments], check_dataset=builder)
        train_run(config, records_of, Console())
    output = [str(refused.value), *capsys.readouterr()]
    assert message in " ".join(" ".join(output).replace("│", " ").split())
    assert sorted((folder / "runs").iterdir()) == runs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epoch=3"], "error: Unknown flag --epoch. Did you mean --epochs?"),
        (["--dataset=casme4"], "error: There is no data set named 'casme4'"),
        (["--runs_dir=/proc/none"], "error: Cannot read or write /proc/none"),
    ],
)
def test_errors_have_a_message(flags, monkeypatch, arguments, message):
    monkeypatch.setattr(distributed, "fail", sys.exit)
    with pytest.raises(SystemExit) as failed:
        train_program.main([*flags, *arguments])
    assert failed.value.code.startswith(message)


def test_an_error_is_printed_without_a_traceback():
    failed = program("train.py", "--epoch=3")
    assert failed.returncode == 1
    assert "error: Unknown flag --epoch. Did you mean --epochs?" in failed.stderr
    assert "Traceback" not in failed.stderr
