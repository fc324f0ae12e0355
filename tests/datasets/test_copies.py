"""What all licensed copies share: threads, faces, holes, fingerprints, odd places."""

import dataclasses
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import DataError, prepare
from datasets.copies import open_copy
from tests.datasets import cas_me_2_tree, casme2_tree, casme_tree
from tests.datasets.casme2_tree import ROWS, SOME, read_colours
from tests.datasets.reading import read_back
from tests.datasets.test_faces import filmed

FEW = ROWS[:4]


def id_of(row):
    return f"sub{row.subject:02d}/{row.clip}"


def with_faces(folder, layout="CASME2_RAW_selected", rows=FEW):
    """A copy whose frames show a face that moves by a pixel a frame."""
    casme2_tree.write_tree(folder, layout=layout, rows=rows)
    for clip in (folder / layout).glob("sub*/*"):
        for path in clip.glob("*.jpg"):
            number = int(path.name.partition(".")[0].removeprefix("img"))
            image, _, _ = filmed(1.2, 0, (280 + number % 40, 240))
            Image.fromarray(image).save(path, quality=90)
    return folder


def test_raw_frames_are_cut_to_the_face_by_one_square_a_clip(tmp_path):
    manual_dir = with_faces(tmp_path / "copy", rows=FEW[:2])
    info, records = read_back("casme2", manual_dir, tmp_path / "data")
    assert info.metadata["crop"] == "detect" and info.metadata["left_out"] == []
    for row in FEW[:2]:
        record = records[id_of(row)]
        x, y, side, angle = record["face"]
        assert 280 - 20 < x < 320 + 20 and abs(y - 240) < 40
        assert 120 < side < 220 and abs(angle) < 6
        # The head moves within the square, which stays.
        assert (record["clip"][0] != record["clip"][8]).any()
        assert record["clip"].std() > 20
    whole, taken = read_back("casme2", manual_dir, tmp_path / "data", crop="none")
    assert whole.metadata["crop"] == "none"
    assert (taken[id_of(FEW[0])]["face"] == 0).all()
    _, wider = read_back("casme2", manual_dir, tmp_path / "data", margin=0.4)
    shares = wider[id_of(FEW[0])]["face"][2] / records[id_of(FEW[0])]["face"][2]
    assert shares == pytest.approx(1.8 / 1.2, rel=1e-3)


def test_a_clip_without_a_face_is_reported_and_not_cropped_at_random(tmp_path):
    manual_dir = with_faces(tmp_path / "copy", rows=FEW[:2])
    clip = manual_dir / "CASME2_RAW_selected" / id_of(FEW[1])
    for path in clip.glob("*.jpg"):
        Image.new("RGB", (640, 480), (110, 110, 110)).save(path)
    info, records = read_back("casme2", manual_dir, tmp_path / "data")
    assert set(records) == {id_of(FEW[0])}
    (entry,) = info.metadata["left_out"]
    assert "a face was found in 0 of its frames" in entry["reason"]


def test_a_hole_of_two_frames_is_bridged_and_noted(tmp_path):
    row = ROWS[2]
    casme2_tree.write_tree(tmp_path / "copy", rows=[row])
    folder = tmp_path / "copy/Cropped" / id_of(row)
    for number in (row.apex - 2, row.apex - 1):
        (folder / f"reg_img{number}.jpg").unlink()
    info, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    numbers = [read_colours(frame)[1] for frame in records[id_of(row)]["clip"]]
    wanted = list(range(row.apex - 16, row.apex + 15, 2))
    wanted[7] = row.apex - 3  # the nearest to the one that is missing
    assert numbers == wanted
    (note,) = info.metadata["notes"]
    assert f"missing: {row.apex - 2}; the nearest frame was taken" in note


def test_the_number_of_threads_changes_no_byte(tmp_path):
    casme2_tree.write_tree(tmp_path / "copy", rows=SOME[:20])
    shards = []
    for workers in (1, 3):
        folder = prepare.prepare(
            "casme2",
            manual_dir=tmp_path / "copy",
            data_dir=tmp_path / f"data{workers}",
            workers=workers,
        )
        files = sorted(p for p in folder.iterdir() if p.name != "dataset_info.json")
        shards.append([(p.name, p.read_bytes()) for p in files])
    assert shards[0] == shards[1]


def test_no_threads_are_no_way_to_read(tmp_path):
    casme2_tree.write_tree(tmp_path / "copy", rows=FEW)
    with pytest.raises(DataError, match="--workers=0 must be at least 1"):
        read_back("casme2", tmp_path / "copy", tmp_path / "data", workers=0)


def test_a_copy_is_told_by_its_table_its_release_and_its_files(tmp_path):
    def print_of(**options):
        config = prepare.configuration("casme2", prepare.Options(**options))
        facts = prepare.builder_class("casme2").FACTS
        return open_copy(facts, config, tmp_path).fingerprint()

    table = tmp_path / "CASME2-coding-20190701.xlsx"
    casme2_tree.write_tree(tmp_path, rows=SOME)
    first = print_of()
    assert print_of() == first
    saved = table.read_bytes()
    time.sleep(1)  # a spreadsheet notes when it was saved
    casme2_tree.write_table(table, rows=SOME)
    assert table.read_bytes() != saved and print_of() == first

    casme2_tree.write_table(table, table="20140508", rows=SOME)  # other emotions
    prints = [first, print_of()]
    casme2_tree.write_table(table, rows=SOME)
    casme2_tree.write_frames(tmp_path, layout="CASME2_RAW_selected", rows=SOME)
    prints.append(print_of(crop="none"))
    prints.append(print_of(crop="none", release="Cropped"))
    clip = tmp_path / "Cropped" / id_of(SOME[0])
    frame = clip / f"reg_img{SOME[0].apex}.jpg"
    whole = frame.read_bytes()
    frame.write_bytes(whole[:200])
    prints.append(print_of())
    frame.write_bytes(whole)
    assert print_of() == first
    shutil.rmtree(clip)
    prints.append(print_of())
    assert len(set(prints)) == len(prints)


def test_records_of_another_copy_are_not_taken_for_this_ones(tmp_path, capsys):
    casme2_tree.write_tree(tmp_path / "one", rows=FEW)
    casme2_tree.write_tree(tmp_path / "other", rows=FEW[:2])
    read_back("casme2", tmp_path / "one", tmp_path / "data")
    capsys.readouterr()
    _, records = read_back("casme2", tmp_path / "one", tmp_path / "data")
    assert "are not of" not in capsys.readouterr().err
    _, records = read_back("casme2", tmp_path / "other", tmp_path / "data")
    message = capsys.readouterr().err
    assert "its table, its clips or their frames are others" in message
    assert "delete that folder" in message and len(records) == 4
    read_back("casme2", tmp_path / "absent", tmp_path / "data")
    assert "cannot be read" in capsys.readouterr().err


def test_all_data_sets_in_one_folder_are_told_apart(tmp_path):
    casme2_tree.write_tree(tmp_path / "all/CASME II", rows=FEW)
    casme_tree.write_tree(
        tmp_path / "all/CASME", layout="Cropped", rows=casme_tree.SOME
    )
    cas_me_2_tree.write_tree(
        tmp_path / "all/CAS(ME)^2", layout="cropped", rows=cas_me_2_tree.SOME
    )
    micro = [row for row in cas_me_2_tree.SOME if row in cas_me_2_tree.MICRO]
    for name, number, where in (
        ("casme2", len(FEW), "CASME II/Cropped"),
        ("casme", len(casme_tree.SOME), "CASME/Cropped"),
        ("cas_me_2", len(micro), "CAS(ME)^2/cropped"),
    ):
        info, records = read_back(name, tmp_path / "all", tmp_path / "data")
        assert len(records) == number and info.metadata["release"].endswith(where)


@pytest.mark.parametrize("inner", ["Cropped", "Cropped/sub01"])
def test_a_folder_within_the_right_one_names_the_right_one(tmp_path, inner):
    casme2_tree.write_tree(tmp_path / "casme 2", rows=FEW)
    with pytest.raises(DataError) as error:
        read_back("casme2", tmp_path / "casme 2" / inner, tmp_path / "data")
    assert f"There is one in {tmp_path / 'casme 2'}" in str(error.value)


def test_spaces_and_other_alphabets_in_names(tmp_path):
    manual_dir = tmp_path / "微表情 données"
    casme2_tree.write_tree(manual_dir / "a b", rows=FEW)
    _, records = read_back("casme2", manual_dir, tmp_path / "ö data")
    assert len(records) == len(FEW)


def test_links_in_a_circle_to_nowhere_and_to_themselves(tmp_path):
    casme2_tree.write_tree(tmp_path / "copy", rows=FEW)
    (tmp_path / "copy/loop").symlink_to(tmp_path / "copy")
    (tmp_path / "copy/Cropped/loop").symlink_to(tmp_path)
    (tmp_path / "copy/broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "copy/Cropped/itself").symlink_to("itself")
    clip = tmp_path / "copy/Cropped" / id_of(FEW[0])
    (clip / "reg_img999.jpg").symlink_to("reg_img999.jpg")
    info, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    assert len(records) == len(FEW) and info.metadata["left_out"] == []


@pytest.mark.parametrize("program", ["prepare", "check"])
def test_nothing_is_written_but_in_the_data_dir(tmp_path, program):
    manual_dir = with_faces(tmp_path / "copy", rows=FEW[:1])
    (tmp_path / "home").mkdir()
    before = sorted((p, p.stat().st_mtime_ns) for p in manual_dir.rglob("*"))
    flags = [f"--manual_dir={manual_dir}"]
    if program == "prepare":
        flags.append(f"--data_dir={tmp_path / 'data'}")
    # A process of its own, whose libraries find an empty home.
    done = subprocess.run(
        [sys.executable, "-m", f"datasets.{program}", "casme2", *flags],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "detect" in done.stdout + done.stderr
    assert sorted((p, p.stat().st_mtime_ns) for p in manual_dir.rglob("*")) == before
    assert not list((tmp_path / "home").iterdir())
    left = {path.name for path in tmp_path.iterdir()} - {"copy", "home"}
    assert left == ({"data"} if program == "prepare" else set())


def test_what_is_refused_leaves_nothing(tmp_path):
    casme2_tree.write_tree(tmp_path / "copy", rows=FEW)
    for refused in ({"release": "nonsense"}, {"workers": 0}, {"crop": "detect"}):
        with pytest.raises(DataError):
            read_back("casme2", tmp_path / "copy", tmp_path / "data", **refused)
        assert not (tmp_path / "data").exists()


def test_folders_that_may_not_be_read_are_lines_of_the_report(tmp_path, monkeypatch):
    casme2_tree.write_tree(tmp_path / "copy", rows=FEW)
    cropped = tmp_path / "copy/Cropped"
    shutil.copytree(cropped / id_of(FEW[0]), cropped / "sub01/EP99_9")
    closed = [f"sub{FEW[1].subject:02d}", FEW[2].clip, "EP99_9"]
    scandir = os.scandir

    def refusing(path):  # root may read everything
        if Path(path).name in closed:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    info, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    assert set(records) == {id_of(FEW[0]), id_of(FEW[3])}
    assert {(e["row"], e["reason"]) for e in info.metadata["left_out"]} == {
        (3, "the folder of its subject may not be read"),
        (4, f"{FEW[2].clip} may not be read"),
        (None, "a folder that may not be read, and no row in the table"),
        (None, "its folder may not be read"),
    }


def test_a_copy_that_counts_from_one_with_a_frame_lost_is_not_guessed_at(tmp_path):
    row = ROWS[3]
    casme2_tree.write_tree(tmp_path / "copy", rows=[row, ROWS[4]])
    folder = tmp_path / "copy/Cropped" / id_of(row)
    for number in range(row.onset, row.offset + 1):
        for path in folder.glob(f"reg_img{number}.*"):
            path.rename(folder / f"{number - row.onset + 1}.jpg")
    (folder / "1.jpg").unlink()
    info, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    assert set(records) == {id_of(ROWS[4])}
    (entry,) = info.metadata["left_out"]
    assert "which is which cannot be told" in entry["reason"]


def test_an_expression_of_which_most_is_missing_is_left_out(tmp_path):
    rows = [ROWS[0], dataclasses.replace(ROWS[1], offset=999_999_999)]
    casme2_tree.write_table(tmp_path / "copy/CASME2-coding-20190701.xlsx", rows=rows)
    casme2_tree.write_frames(tmp_path / "copy", rows=ROWS[:2])
    info, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    assert set(records) == {id_of(ROWS[0])}
    (entry,) = info.metadata["left_out"]
    assert "999999999" in entry["reason"] and "of them are there" in entry["reason"]


def test_an_expression_with_every_third_frame_is_left_out(tmp_path):
    casme2_tree.write_tree(tmp_path / "copy", rows=ROWS[:2])
    folder = tmp_path / "copy/Cropped" / id_of(ROWS[0])
    for number in range(ROWS[0].onset, ROWS[0].offset + 1):
        if number % 3:
            for path in folder.glob(f"reg_img{number}.*"):
                path.unlink()
    info, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    assert set(records) == {id_of(ROWS[1])}
    (entry,) = info.metadata["left_out"]
    assert "of them are there" in entry["reason"]


def test_frames_of_one_expression_are_not_taken_for_another_of_its_clip(tmp_path):
    # The folder holds the first; numbered from 1 it looks like the second, moved.
    first = dataclasses.replace(ROWS[0], onset=1, apex=20, offset=41)
    second = dataclasses.replace(ROWS[0], onset=90, apex=105, offset=130)
    casme2_tree.write_frames(tmp_path / "copy", rows=[first])
    path = tmp_path / "copy/CASME2-coding-20190701.xlsx"
    for other in (second, dataclasses.replace(second, offset=None)):
        casme2_tree.write_table(path, rows=[first, other])
        info, records = read_back(
            "casme2", tmp_path / "copy", tmp_path / f"data{other.offset}"
        )
        assert set(records) == {f"{id_of(first)}@1"}
        (entry,) = info.metadata["left_out"]
        assert entry["row"] == 3 and "cannot be told" in entry["reason"]


def test_a_missing_offset_is_the_end_of_the_run_and_not_of_the_folder(tmp_path):
    row = dataclasses.replace(ROWS[0], onset=10, apex=20, offset=None)
    there = dataclasses.replace(ROWS[0], onset=10, offset=60)
    casme2_tree.write_frames(tmp_path / "copy", rows=[there])
    folder = tmp_path / "copy/Cropped" / id_of(row)
    for number in range(36, 50):
        (folder / f"reg_img{number}.jpg").unlink()
    casme2_tree.write_table(tmp_path / "copy/CASME2-coding-20190701.xlsx", rows=[row])
    _, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    (record,) = records.values()
    assert record["offset"] == 35 and record["offset_estimated"]


def test_a_double_in_another_case_is_one(tmp_path):
    casme2_tree.write_tree(tmp_path / "copy", rows=[ROWS[1]])
    upper = dataclasses.replace(ROWS[1], clip=ROWS[1].clip.upper())
    path = tmp_path / "copy/CASME2-coding-20190701.xlsx"
    casme2_tree.write_table(path, rows=[ROWS[1], upper])
    info, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    assert len(records) == 1
    (entry,) = info.metadata["left_out"]
    assert entry["row"] == 3 and "row 2 has the same" in entry["reason"]


def test_each_table_and_release_has_its_own_folder():
    def name(**options):
        return prepare.configuration("casme2", prepare.Options(**options)).name

    names = [
        name(),
        name(table="Cropped.xlsx"),
        name(table="Cropped.csv"),
        name(release="Cropped"),
        name(table="a b.xlsx"),
        name(table="a_b.xlsx"),
        name(margin=0.1234567),
        name(margin=0.1234568),
        name(crop="none"),
    ]
    assert len(set(names)) == len(names)
    assert all("/" not in name for name in names)


def test_what_a_killed_run_left_is_removed(tmp_path):
    casme2_tree.write_tree(tmp_path / "copy", rows=FEW)
    folder = prepare.prepare(
        "casme2", manual_dir=tmp_path / "copy", data_dir=tmp_path / "data"
    )
    left = folder.with_name("incomplete.ABC123_2.0.0")
    shutil.copytree(folder, left)
    shutil.rmtree(folder)
    _, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    assert len(records) == len(FEW) and not left.exists()


def test_two_that_prepare_at_once_make_one(tmp_path, capsys):
    casme2_tree.write_tree(tmp_path / "copy", rows=SOME)
    results = []

    def run():
        results.append(read_back("casme2", tmp_path / "copy", tmp_path / "data"))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(records) for _, records in results] == [len(SOME)] * 2
    assert "Another process prepares" in capsys.readouterr().err


def test_another_form_of_clip_has_its_own_folder(tmp_path):
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
        assert (tmp_path / "data/casme2" / name / "2.0.0").is_dir()
        assert {record["clip"].shape for record in records.values()} == {shape}
    assert len(list(tmp_path.glob("data/casme2/*/2.0.0"))) == 4


def test_synthetic_clips_take_the_same_options(tmp_path):
    # Only the folder's name: the clips themselves are tested with the data set.
    dataset = prepare.builder(
        "synthetic/hard", tmp_path, prepare.Options(sampling="tim", frames=8, size=56)
    )
    assert dataset.builder_config.name == "hard-tim-8x56"
    with pytest.raises(DataError, match="synthetic has no --crop; it has --sampling"):
        prepare.builder("synthetic", tmp_path, prepare.Options(crop="detect"))


def test_the_clips_of_a_record_are_the_frames(tmp_path):
    # Through the whole chain: what is on disk, averaged, is what is read back.
    row = ROWS[0]
    casme2_tree.write_tree(tmp_path / "copy", rows=[row])
    folder = tmp_path / "copy/Cropped" / id_of(row)
    rng = np.random.default_rng(0)
    (path,) = folder.glob(f"reg_img{row.apex}.jpg")
    blocks = rng.integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(blocks.repeat(42, 0).repeat(28, 1)).save(path, quality=100)
    _, records = read_back("casme2", tmp_path / "copy", tmp_path / "data", size=16)
    apex = records[id_of(row)]["clip"][8]
    assert np.abs(apex.astype(int) - blocks.repeat(2, 0).repeat(2, 1)).max() <= 12
