import json
import shutil
import subprocess
import sys
import threading
import types
from pathlib import Path
from unittest import mock

import pytest
import tensorflow_datasets as tfds

from datasets import DataError, prepare
from meranet_jax.config import default_config
from tests.datasets import casme2_tree
from tests.datasets.casme2_tree import ROWS, SOME, write_tree
from tests.datasets.reading import read_back

ROOT = Path(__file__).parents[2]
FEW = ROWS[:4]


def command(*arguments, under=()):
    """Runs the program, with the command ``under`` as a prefix."""
    return subprocess.run(
        [*under, sys.executable, "-m", "datasets.prepare", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "casme4",
            "no data set named 'casme4'.*mean casme.*casme, casme2, .*synthetic",
        ),
        ("synthetic/hrd", "configuration of synthetic.*mean hard.*medium, easy, hard"),
        ("../synthetic", r"no data set named '\.\.'"),
    ],
)
def test_unknown_names_list_the_valid_ones(name, message):
    with pytest.raises(DataError, match=message):
        prepare.builder(name)


def test_error_without_a_copy_explains_how_to_get_one(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for manual_dir, found in (
        (None, "your own copy: give it with --manual_dir"),
        (tmp_path / "absent", "absent is not a folder"),
        (empty, "empty is empty"),
    ):
        with pytest.raises(DataError, match=found) as error:
            prepare.prepare("casme2", manual_dir=manual_dir, data_dir=tmp_path / "data")
        assert "apply for it at" in str(error.value)
        assert "CASME2-coding-20190701.xlsx" in str(error.value)
    assert not list(tmp_path.glob("data/casme2/*/2.3.0"))


def test_command_prints_one_error_message(tmp_path):
    failed = command("casme2", f"--data_dir={tmp_path}")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: casme2 is read from your own copy")
    assert "Traceback" not in failed.stderr


def test_full_disk_leaves_no_records(tmp_path):
    write_tree(tmp_path / "copy", rows=FEW)  # more than half a megabyte of records

    # Blocks of 512 bytes. Without the trap, the signal would end the process.
    limit = "ulimit -f 32; trap '' XFSZ; exec \"$@\""
    failed = command(
        "casme2",
        f"--manual_dir={tmp_path / 'copy'}",
        f"--data_dir={tmp_path / 'data'}",
        under=["sh", "-c", limit, "sh"],
    )
    assert failed.returncode == 1
    assert "error: The records cannot be written" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not list(tmp_path.glob("data/casme2/apex*/*"))


def test_number_of_threads_does_not_affect_the_files(tmp_path):
    casme2_tree.write_tree(tmp_path / "copy", rows=SOME[:20])
    shards = []
    for workers in (1, 3):
        folder = prepare.prepare(
            "casme2",
            manual_dir=tmp_path / "copy",
            data_dir=tmp_path / f"data{workers}",
            workers=workers,
            options=prepare.Options(size=32),
        )
        files = sorted(p for p in folder.iterdir() if p.name != "dataset_info.json")
        shards.append([(p.name, p.read_bytes()) for p in files])
    assert shards[0] == shards[1]


def test_number_of_threads_must_be_positive(tmp_path):
    casme2_tree.write_tree(tmp_path / "copy", rows=FEW)
    with pytest.raises(DataError, match="--workers=0 must be at least 1"):
        read_back("casme2", tmp_path / "copy", tmp_path / "data", workers=0)


def test_warning_if_records_are_of_another_copy(tmp_path, capsys):
    casme2_tree.write_tree(tmp_path / "one", rows=FEW)
    casme2_tree.write_tree(tmp_path / "other", rows=FEW[:2])
    read_back("casme2", tmp_path / "one", tmp_path / "data")
    capsys.readouterr()
    _, records = read_back("casme2", tmp_path / "one", tmp_path / "data")
    assert "do not match" not in capsys.readouterr().err
    _, records = read_back("casme2", tmp_path / "other", tmp_path / "data")
    message = capsys.readouterr().err
    assert "warning: the records in" in message and "do not match" in message
    assert "its table, clips or frames differ" in message
    assert "delete that folder" in message and len(records) == 4
    read_back("casme2", tmp_path / "absent", tmp_path / "data")
    assert "cannot be read" in capsys.readouterr().err


def test_exit_code_is_0_only_if_every_row_is_a_record_of_the_copy(tmp_path, capsys):
    def main(copy, data):
        folders = {"manual_dir": str(tmp_path / copy), "data_dir": str(tmp_path / data)}
        return prepare.main("casme2", **folders), capsys.readouterr().err

    write_tree(tmp_path / "one", rows=FEW)
    write_tree(tmp_path / "other", rows=FEW)
    row = FEW[0]
    shutil.rmtree(tmp_path / f"other/Cropped/sub{row.subject:02d}/{row.clip}")
    assert main("one", "data") == (0, mock.ANY)
    assert main("one", "data") == (0, mock.ANY)
    status, message = main("other", "data")
    assert status == 1 and "warning: the records in" in message
    for _ in range(2):  # also if the records exist
        status, message = main("other", "again")
        assert status == 1
        assert "warning: 1 rows are left out; the exit code is 1" in message


def test_invalid_options_leave_no_folder(tmp_path):
    casme2_tree.write_tree(tmp_path / "copy", rows=FEW)
    for invalid in ({"release": "nonsense"}, {"workers": 0}, {"crop": "detect"}):
        with pytest.raises(DataError):
            read_back("casme2", tmp_path / "copy", tmp_path / "data", **invalid)
        assert not (tmp_path / "data").exists()


def test_each_configuration_has_a_unique_name():
    def name(**options):
        return prepare.configuration("casme2", prepare.Options(**options)).name

    names = [
        name(),
        name(table=("Cropped.xlsx",)),
        name(table=("Cropped.csv",)),
        name(release="Cropped"),
        name(table=("a b.xlsx",)),
        name(table=("a_b.xlsx",)),
        name(table=("a_b.xlsx", "Cropped.csv")),
        name(margin=0.1234567),
        name(margin=0.1234568),
        name(crop="none"),
    ]
    assert len(set(names)) == len(names)
    assert all("/" not in name for name in names)


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    casme2_tree.write_tree(tmp_path / "copy", rows=FEW)
    folder = prepare.prepare(
        "casme2", manual_dir=tmp_path / "copy", data_dir=tmp_path / "data"
    )
    leftover = folder.with_name("incomplete.ABC123_2.3.0")
    shutil.copytree(folder, leftover)
    shutil.rmtree(folder)
    _, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    assert len(records) == len(FEW) and not leftover.exists()


def test_concurrent_runs_write_the_records_once(tmp_path, capsys):
    rows = SOME[:20]
    casme2_tree.write_tree(tmp_path / "copy", rows=rows)
    results = []

    def run():
        results.append(read_back("casme2", tmp_path / "copy", tmp_path / "data"))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(records) for _, records in results] == [len(rows)] * 2
    assert "Another process is preparing" in capsys.readouterr().err


def test_each_form_of_clip_has_its_own_folder(tmp_path):
    casme2_tree.write_tree(tmp_path / "copy", rows=FEW)
    for options, name, shape in (
        ({}, "apex32-16x112", (16, 112, 112, 3)),
        ({"frames": 8, "window": 20}, "apex20-8x112", (8, 112, 112, 3)),
        ({"size": 64}, "apex32-16x64", (16, 64, 64, 3)),
        ({"sampling": "tim", "frames": 10}, "tim-10x112", (10, 112, 112, 3)),
    ):
        _, records = read_back(
            "casme2", tmp_path / "copy", tmp_path / "data", **options
        )
        assert (tmp_path / "data/casme2" / name / "2.3.0").is_dir()
        assert {record["clip"].shape for record in records.values()} == {shape}
    assert len(list(tmp_path.glob("data/casme2/*/2.3.0"))) == 4


def test_options_apply_to_synthetic(tmp_path):
    # Only the name: test_synthetic.py tests the clips.
    dataset = prepare.builder(
        "synthetic/hard", tmp_path, prepare.Options(sampling="tim", frames=8, size=56)
    )
    assert dataset.builder_config.name == "hard-tim-8x56"
    with pytest.raises(DataError, match="synthetic has no --crop; it has --sampling"):
        prepare.builder("synthetic", tmp_path, prepare.Options(crop="detect"))


FRAMES = ("onset_frame", "apex_frame")


def run_config(dataset, data_dir, *features, manual_dir=None):
    """Returns what records_of reads of a run's configuration."""
    return types.SimpleNamespace(
        dataset=dataset,
        manual_dir=manual_dir,
        data_dir=data_dir,
        record_options=dict,
        record_features=lambda: features,
    )


def make_earlier(folder, version):
    """Makes records of an earlier version, without the frames, from current ones."""
    earlier = folder.rename(folder.with_name(version))
    features = json.loads((earlier / "features.json").read_text())
    for name in FRAMES:
        del features["featuresDict"]["features"][name]
    (earlier / "features.json").write_text(json.dumps(features))
    info = json.loads((earlier / "dataset_info.json").read_text())
    info["version"] = version
    (earlier / "dataset_info.json").write_text(json.dumps(info))
    return earlier


def test_earlier_records_are_used_where_they_have_all_features(tmp_path, capsys):
    copy, data_dir = tmp_path / "copy", tmp_path / "data"
    write_tree(copy, rows=FEW)
    current = prepare.prepare("casme2", manual_dir=copy, data_dir=data_dir)
    earlier = make_earlier(current, "2.0.0")
    without_method = run_config("casme2", data_dir)
    del without_method.record_features
    for config in (without_method, run_config("casme2", data_dir, "clip", "apex")):
        assert prepare.records_of(config) == earlier
        said = capsys.readouterr().err
        assert "of an earlier version" in said and "The frames at onset" in said
    source = tfds.builder_from_directory(earlier).as_data_source(split="train")
    assert len(source) == len(FEW) and "onset_frame" not in source[0]
    assert not current.exists()

    with pytest.raises(DataError) as refused:
        prepare.records_of(run_config("casme2", data_dir, "clip", *FRAMES))
    message = str(refused.value)
    assert f"The records in {earlier} were written by an earlier version" in message
    assert "--manual_dir=DIR" in message
    assert not current.exists()

    # A copy that is given is read, as its records may differ in more than features.
    config = run_config("casme2", data_dir, manual_dir=copy)
    assert prepare.records_of(config) == current and earlier.exists()
    # From now on the current ones are used.
    assert prepare.records_of(run_config("casme2", data_dir)) == current


def test_earlier_records_of_another_major_version_are_not_used(tmp_path):
    write_tree(tmp_path / "copy", rows=FEW)
    current = prepare.prepare(
        "casme2", manual_dir=tmp_path / "copy", data_dir=tmp_path / "data"
    )
    make_earlier(current, "1.0.0")
    with pytest.raises(DataError, match="read from your own copy"):
        prepare.records_of(run_config("casme2", tmp_path / "data"))


def test_damaged_or_incomplete_earlier_records_are_not_used(tmp_path):
    write_tree(tmp_path / "copy", rows=FEW)
    current = prepare.prepare(
        "casme2", manual_dir=tmp_path / "copy", data_dir=tmp_path / "data"
    )
    earlier = make_earlier(current, "2.0.0")
    (earlier / "features.json").write_text("{")
    with pytest.raises(DataError, match="written by an earlier version"):
        prepare.records_of(run_config("casme2", tmp_path / "data", "clip"))
    (earlier / "dataset_info.json").unlink()
    with pytest.raises(DataError, match="read from your own copy"):
        prepare.records_of(run_config("casme2", tmp_path / "data"))


def test_error_if_current_records_do_not_have_a_feature(tmp_path):
    write_tree(tmp_path / "copy", rows=FEW)
    folder = prepare.prepare(
        "casme2", manual_dir=tmp_path / "copy", data_dir=tmp_path / "data"
    )
    make_earlier(folder, folder.name)  # written before the builder had this version
    with pytest.raises(DataError, match="contain onset_frame. Delete that folder"):
        prepare.records_of(run_config("casme2", tmp_path / "data", "onset_frame"))
    # Flow needs it; the difference is from the first frame of the clip without it.
    config = default_config("casme2", "paper").change(data_dir=str(tmp_path / "data"))
    with pytest.raises(DataError, match="contain onset_frame. Delete that folder"):
        prepare.records_of(config.change(input="flow"))
    assert prepare.records_of(config.change(input="difference")) == folder
