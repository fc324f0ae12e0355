"""Behaviour of all licensed data sets: face crops, fingerprints, folders, links."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import DataError, prepare
from datasets.casme2.casme2_dataset_builder import SPECIFICATION as CASME2
from datasets.source.local_copy import open_local_copy
from datasets.source.specification import LocalCopyConfig
from tests.datasets import (
    cas_me_2_tree,
    casme2_tree,
    casme_tree,
    fourdme_tree,
    mmew_tree,
    samm_tree,
)
from tests.datasets.astronaut import with_faces
from tests.datasets.casme2_tree import ROWS, SHORT, SOME, id_of
from tests.datasets.reading import read_back

FEW = ROWS[:4]


def test_raw_frames_are_cropped_to_the_face_with_one_crop_per_clip(tmp_path):
    manual_dir = with_faces(tmp_path / "copy", rows=FEW[:2])
    info, records = read_back("casme2", manual_dir, tmp_path / "data")
    assert info.metadata["crop"] == "detect" and info.metadata["left_out"] == []
    for row in FEW[:2]:
        record = records[id_of(row)]
        x, y, side, angle = record["face"]
        assert 280 - 20 < x < 320 + 20 and abs(y - 240) < 40
        assert 120 < side < 220 and abs(angle) < 6
        # The head moves within the crop, which is the same for all frames.
        assert (record["clip"][0] != record["clip"][8]).any()
        assert record["clip"].std() > 20
    full, uncropped = read_back("casme2", manual_dir, tmp_path / "data", crop="none")
    assert full.metadata["crop"] == "none"
    assert (uncropped[id_of(FEW[0])]["face"] == 0).all()
    _, wider = read_back("casme2", manual_dir, tmp_path / "data", margin=0.4)
    shares = wider[id_of(FEW[0])]["face"][2] / records[id_of(FEW[0])]["face"][2]
    assert shares == pytest.approx(1.8 / 1.2, rel=1e-3)


def test_clip_without_a_face_is_left_out(tmp_path):
    manual_dir = with_faces(tmp_path / "copy", rows=SHORT[:2])
    clip = manual_dir / "CASME2_RAW_selected" / id_of(FEW[1])
    for path in clip.glob("*.jpg"):
        Image.new("RGB", (640, 480), (110, 110, 110)).save(path)
    info, records = read_back("casme2", manual_dir, tmp_path / "data")
    assert set(records) == {id_of(FEW[0])}
    (entry,) = info.metadata["left_out"]
    assert "a face was found in only 0 of 5 frames" in entry["reason"]


def test_fingerprint_depends_on_table_release_and_files(tmp_path):
    def fingerprint(**options):
        config = prepare.configuration("casme2", prepare.Options(**options))
        specification = prepare.builder_class("casme2").SPECIFICATION
        return open_local_copy(specification, config, tmp_path).fingerprint()

    table = tmp_path / "CASME2-coding-20190701.xlsx"
    rows = SOME[:8]  # the last has another emotion in 2014
    casme2_tree.write_tree(tmp_path, rows=rows)
    first = fingerprint()
    assert fingerprint() == first
    saved = table.read_bytes()
    time.sleep(1)  # spreadsheets contain the time of saving
    casme2_tree.write_table(table, rows=rows)
    assert table.read_bytes() != saved and fingerprint() == first

    casme2_tree.write_table(table, table="20140508", rows=rows)  # other emotions
    fingerprints = [first, fingerprint()]
    casme2_tree.write_table(table, rows=rows)
    casme2_tree.write_frames(tmp_path, release="CASME2_RAW_selected", rows=rows)
    fingerprints.append(fingerprint(crop="none"))
    fingerprints.append(fingerprint(crop="none", release="Cropped"))
    clip = tmp_path / "Cropped" / id_of(SOME[0])
    frame = clip / f"reg_img{SOME[0].apex}.jpg"
    content = frame.read_bytes()
    frame.write_bytes(content[:200])
    fingerprints.append(fingerprint())
    frame.write_bytes(content)
    assert fingerprint() == first
    shutil.rmtree(clip)
    fingerprints.append(fingerprint())
    assert len(set(fingerprints)) == len(fingerprints)


def test_fingerprints_on_disk_stay_valid(tmp_path):
    # Of a copy as version 1.0.0 of the builder read it; the second row is invalid.
    header = "Subject,Filename,OnsetF,ApexF1,ApexF2,OffsetF,AU,Emotion"
    rows = ["1,EP01_1,10,20,22,30,4+L10,tense", "1,EP01_2,10,20,\\,5,4,tense"]
    (tmp_path / "casme.csv").write_text("\n".join([header, *rows, ""]))
    clip = tmp_path / "Cropped/sub01/EP01_1"
    clip.mkdir(parents=True)
    for number in range(10, 31):
        (clip / f"reg_EP01_1-{number}.jpg").write_bytes(bytes(number))
    config = prepare.configuration("casme", prepare.Options())
    specification = prepare.builder_class("casme").SPECIFICATION
    assert open_local_copy(specification, config, tmp_path).fingerprint() == (
        "880857be2ecae829615e84100a44a05d8b4f7e37b06ddc5de697da229af44d5e"
    )


def test_data_sets_in_one_folder_are_distinguished(tmp_path):
    casme2_tree.write_tree(tmp_path / "all/CASME II", rows=FEW)
    casme_tree.write_tree(
        tmp_path / "all/CASME", release="Cropped", rows=casme_tree.SOME[:6]
    )
    cas_me_2_tree.write_tree(
        tmp_path / "all/CAS(ME)^2", release="cropped", rows=cas_me_2_tree.MICRO[:7]
    )
    samm_tree.write_tree(tmp_path / "all/SAMM", rows=samm_tree.ROWS[2:8])
    mmew_tree.write_tree(tmp_path / "all", rows=mmew_tree.ROWS[4:9])
    fourdme_tree.write_tree(
        tmp_path / "all/4DME", release="gray_micro_crop", rows=fourdme_tree.ROWS[4:8]
    )
    for name, number, release in (
        ("samm", 6, "SAMM/SAMM_CROP"),
        ("mmew", 5, "MMEW_Final/Micro_Expression"),
        ("fourdme", 4, "4DME/gray_micro_crop"),
        ("casme2", len(FEW), "CASME II/Cropped"),
        ("casme", 6, "CASME/Cropped"),
        ("cas_me_2", 7, "CAS(ME)^2/cropped"),
    ):
        info, records = read_back(name, tmp_path / "all", tmp_path / "data")
        assert len(records) == number and info.metadata["release"].endswith(release)


@pytest.mark.parametrize("inner", ["Cropped", "Cropped/sub01"])
def test_error_names_the_parent_folder_with_the_table(tmp_path, inner):
    casme2_tree.write_tree(tmp_path / "casme 2", rows=FEW)
    with pytest.raises(DataError) as error:
        read_back("casme2", tmp_path / "casme 2" / inner, tmp_path / "data")
    assert f"There is one in {tmp_path / 'casme 2'}" in str(error.value)


def test_folder_names_with_spaces_and_non_ascii_characters(tmp_path):
    manual_dir = tmp_path / "微表情 données"
    casme2_tree.write_tree(manual_dir / "a b", rows=FEW)
    _, records = read_back("casme2", manual_dir, tmp_path / "ö data")
    assert len(records) == len(FEW)


def test_link_cycles_and_broken_links_are_ignored(tmp_path):
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
def test_nothing_is_written_outside_of_data_dir(tmp_path, program):
    manual_dir = with_faces(tmp_path / "copy", rows=SHORT[:1])
    (tmp_path / "home").mkdir()
    before = sorted((p, p.stat().st_mtime_ns) for p in manual_dir.rglob("*"))
    flags = [f"--manual_dir={manual_dir}"]
    if program == "prepare":
        flags.append(f"--data_dir={tmp_path / 'data'}")
    # A separate process, so that libraries see an empty home directory.
    done = subprocess.run(
        [sys.executable, "-m", f"datasets.{program}", "casme2", *flags],
        cwd=Path(__file__).parents[3],
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


def test_unreadable_folders_are_reported(tmp_path, monkeypatch):
    casme2_tree.write_tree(tmp_path / "copy", rows=FEW)
    cropped = tmp_path / "copy/Cropped"
    shutil.copytree(cropped / id_of(FEW[0]), cropped / "sub01/EP99_9")
    denied = [f"sub{FEW[1].subject:02d}", FEW[2].clip, "EP99_9"]
    scandir = os.scandir

    def denying(path):  # simulated, since root can read everything
        if Path(path).name in denied:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denying)
    info, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    assert set(records) == {id_of(FEW[0]), id_of(FEW[3])}
    assert {(e["row"], e["reason"]) for e in info.metadata["left_out"]} == {
        (3, "permission denied for the folder of its subject"),
        (4, f"{FEW[2].clip} cannot be read: permission denied"),
        (None, "permission denied for its folder, and no row in the table"),
        (None, "permission denied for its folder"),
    }


def test_record_contains_the_averaged_frames(tmp_path):
    # End to end: the record contains the area average of the image on disk.
    row = ROWS[0]
    casme2_tree.write_tree(tmp_path / "copy", rows=[row])
    folder = tmp_path / "copy/Cropped" / id_of(row)
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (8, 8, 3), np.uint8)
    for path in folder.glob("reg_img*.jpg"):
        shown = blocks if path.stem == f"reg_img{row.apex}" else np.zeros_like(blocks)
        Image.fromarray(shown.repeat(42, 0).repeat(28, 1)).save(path, quality=100)
    _, records = read_back("casme2", tmp_path / "copy", tmp_path / "data", size=16)
    apex = records[id_of(row)]["clip"][8]
    assert np.abs(apex.astype(int) - blocks.repeat(2, 0).repeat(2, 1)).max() <= 12


def test_frames_in_a_folder_inside_that_of_the_clip_are_those_of_the_copy(tmp_path):
    casme2_tree.write_tree(tmp_path, rows=FEW)
    for row in FEW:
        clip = tmp_path / "Cropped" / id_of(row)
        clip.rename(clip.with_name("moved"))
        clip.mkdir()
        clip.with_name("moved").rename(clip / "frames")
    config = LocalCopyConfig(name="x")
    copy = open_local_copy(CASME2, config, tmp_path)
    assert copy.left_out == ()
    before = copy.fingerprint()
    image = next((tmp_path / "Cropped" / id_of(FEW[-1]) / "frames").glob("*.jpg"))
    image.write_bytes(image.read_bytes() + b"0")
    assert open_local_copy(CASME2, config, tmp_path).fingerprint() != before


def test_crops_of_a_clip_next_to_its_frames_are_no_clip_of_their_own(tmp_path):
    casme2_tree.write_tree(tmp_path, rows=FEW)
    clip = tmp_path / "Cropped" / id_of(FEW[0])
    shutil.copytree(clip, clip.with_name(f"{clip.name}_aligned"))
    copy = open_local_copy(CASME2, LocalCopyConfig(name="x"), tmp_path)
    (other,) = copy.left_out
    assert other.reason == "a second folder or video of this clip"
