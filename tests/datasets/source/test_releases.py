"""Search for releases, wherever archives and users put them."""

import os

import pytest

from datasets import DataError
from datasets.source.releases import Release, choose_release, find_releases
from tests.datasets.tree import touch

RELEASES = (
    Release("Cropped", (("Cropped", "Cropped-updated"),), cropped=True),
    Release("RAW", (("CASME2-RAW",),), full_recording=True),
)
SECTIONS = (Release("raw", (("Section A",), ("Section B",)), full_recording=True),)


@pytest.mark.parametrize(
    "place",
    [
        "Cropped",
        "cropped",
        "Cropped/Cropped",
        "Cropped-updated/Cropped",
        "CASME II/unpacked/data/CROPPED_UPDATED/Cropped/Cropped",
    ],
)
@pytest.mark.parametrize("subject", ["sub01", "1", "s1"])
def test_release_is_found_in_any_enclosing_folder(tmp_path, place, subject):
    touch(tmp_path, f"{place}/{subject}/EP01_1/img1.jpg", "__MACOSX/Cropped/sub01/x/y")
    ((local,),) = find_releases(tmp_path, RELEASES)
    assert local.release.name == "Cropped" and local.roots == (tmp_path / place,)
    assert local.source("sub01", "ep01_1") == tmp_path / place / subject / "EP01_1"


def test_manual_dir_may_be_the_release_itself(tmp_path):
    touch(tmp_path, "Cropped/sub01/EP01_1/img1.jpg")
    ((local,),) = find_releases(tmp_path / "Cropped", RELEASES)
    assert local.roots == (tmp_path / "Cropped",)


def test_clip_names_cannot_refer_outside_of_the_release(tmp_path):
    touch(tmp_path, "secret/img1.jpg", "Cropped/sub01/EP01_1/img1.jpg")
    ((local,),) = find_releases(tmp_path, RELEASES)
    for clip in ("../../secret", str(tmp_path / "secret"), "..", ".", ""):
        assert local.source("sub01", clip) is None


def test_preferred_release_with_the_tables_clips_is_chosen(tmp_path):
    touch(tmp_path, "CASME2-RAW/sub01/EP01_1/img1.jpg")
    touch(tmp_path, "other/Cropped/sub01/EP99_9/img1.jpg")
    wanted = [("sub01", "EP01_1"), ("sub02", "EP02_1")]
    local, notes = choose_release(tmp_path, RELEASES, wanted)
    assert local.release.name == "RAW"
    assert notes == ["other/Cropped (0 of the table's 2 expressions) was not read"]

    touch(tmp_path, "deeper/down/Cropped/sub01/EP01_1/img1.jpg")
    local, notes = choose_release(tmp_path, RELEASES, wanted)
    assert local.roots == (tmp_path / "deeper/down/Cropped",) and len(notes) == 2

    # Of two folders of a release, the one with more clips, although it is deeper.
    touch(tmp_path, "Cropped/sub01/EP01_1/img1.jpg")
    touch(tmp_path, "deeper/down/Cropped/sub02/EP02_1/img1.jpg")
    local, _ = choose_release(tmp_path, RELEASES, wanted)
    assert local.roots == (tmp_path / "deeper/down/Cropped",)


def test_preferred_release_needs_half_of_the_clips(tmp_path):
    wanted = [("sub01", f"EP01_{n}") for n in range(5)]
    touch(tmp_path, *(f"CASME2-RAW/sub01/EP01_{n}/img1.jpg" for n in range(5)))
    touch(tmp_path, *(f"Cropped/sub01/EP01_{n}/img1.jpg" for n in range(2)))
    local, notes = choose_release(tmp_path, RELEASES, wanted)
    assert local.release.name == "RAW"
    assert notes == ["Cropped (2 of the table's 5 expressions) was not read"]
    touch(tmp_path, "Cropped/sub01/EP01_2/img1.jpg")
    local, _ = choose_release(tmp_path, RELEASES, wanted)
    assert local.release.name == "Cropped"


def test_parts_of_a_release_are_merged(tmp_path):
    touch(tmp_path, "CASME_A/Section A/sub01/EP01_1/img1.jpg")
    touch(tmp_path, "CASME_B/section_b/sub08/EP01_1/img1.jpg")
    wanted = [("sub01", "EP01_1"), ("sub08", "EP01_1")]
    local, notes = choose_release(tmp_path, SECTIONS, wanted)
    assert local.count_clips(wanted) == 2 and not notes
    assert local.relative_roots(tmp_path) == "CASME_A/Section A, CASME_B/section_b"


def test_clips_may_be_videos(tmp_path):
    touch(tmp_path, "CASME2-RAW/sub01/EP01_1.avi", "CASME2-RAW/sub01/EP01_2.AVI")
    touch(tmp_path, "CASME2-RAW/sub01/EP01_1/img1.jpg")
    touch(tmp_path, "CASME2-RAW/sub01/._EP01_3.avi", "CASME2-RAW/sub01/notes.txt")
    ((local,),) = find_releases(tmp_path, RELEASES)
    subject = tmp_path / "CASME2-RAW/sub01"
    # Frames are preferred to a video of the same clip.
    assert local.clips == {
        ("sub01", "ep01_1"): subject / "EP01_1",
        ("sub01", "ep01_2"): subject / "EP01_2.AVI",
    }


def test_link_cycles_are_ignored(tmp_path):
    touch(tmp_path, "Cropped/sub01/EP01_1/img1.jpg")
    (tmp_path / "Cropped/again").symlink_to(tmp_path)
    (tmp_path / "Cropped/sub01/EP01_2").symlink_to(tmp_path / "Cropped")
    ((local,),) = find_releases(tmp_path, RELEASES)
    assert ("sub01", "ep01_1") in local.clips


def test_error_names_found_and_expected_folders(tmp_path):
    touch(tmp_path, "Cropped/sub01/EP99_9/img1.jpg")
    with pytest.raises(DataError, match="Found without any of these clips: Cropped"):
        choose_release(tmp_path, RELEASES, [("sub01", "EP01_1")])
    touch(tmp_path / "empty", "Cropped.zip", "frames/sub01/EP01_1/img1.jpg")
    with pytest.raises(DataError) as error:
        choose_release(tmp_path / "empty", RELEASES, [("sub01", "EP01_1")])
    message = str(error.value)
    assert "nothing" in message and "Cropped or RAW" in message
    assert "Archives that are not unpacked: Cropped.zip" in message
    assert "Folders of subjects with an unknown name: frames" in message


def test_source_with_frames_is_preferred(tmp_path):
    touch(tmp_path, "Cropped/sub01/EP01_1/img1.jpg", "Cropped/sub01/EP01_1.avi")
    (tmp_path / "Cropped/1/EP01_1").mkdir(parents=True)  # first by name, but empty
    (tmp_path / "Cropped/sub01/EP01_2").mkdir()
    touch(tmp_path, "Cropped/sub01/EP01_2.avi", "Cropped/sub01/EP01_2.mp4")
    ((local,),) = find_releases(tmp_path, RELEASES)
    subject = tmp_path / "Cropped/sub01"
    assert local.source("sub01", "EP01_1") == subject / "EP01_1"
    assert local.source("sub01", "EP01_2") == subject / "EP01_2.avi"
    # A video of a clip that exists as frames is expected and not a duplicate.
    assert local.duplicates == (tmp_path / "Cropped/1/EP01_1", subject / "EP01_2.mp4")


def test_unreadable_folders_are_listed_and_others_are_found(tmp_path, monkeypatch):
    touch(tmp_path, "Cropped/sub01/EP01_1/img1.jpg", "Cropped/sub02/EP01_1/img1.jpg")
    touch(tmp_path, "locked/Cropped/sub01/EP01_1/img1.jpg")
    scandir = os.scandir

    def denying(path):  # simulated, since root can read everything
        if str(path).endswith(("sub02", "locked")):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denying)
    ((local,),) = find_releases(tmp_path, RELEASES)
    assert set(local.clips) == {("sub01", "ep01_1")}
    assert local.unreadable == (tmp_path / "Cropped/sub02",)


def test_clip_in_two_parts_is_a_duplicate(tmp_path):
    touch(tmp_path, "Section A/sub01/EP01_1/img1.jpg")
    touch(tmp_path, "Section B/sub01/EP01_1/img1.jpg")
    local, _ = choose_release(tmp_path, SECTIONS, [("sub01", "EP01_1")])
    assert local.source("sub01", "EP01_1") == tmp_path / "Section A/sub01/EP01_1"
    assert local.duplicates == (tmp_path / "Section B/sub01/EP01_1",)


def test_error_names_an_excluded_release(tmp_path):
    touch(tmp_path, "CASME2-RAW/sub01/EP01_1/img1.jpg")
    cropped, raw = RELEASES
    with pytest.raises(DataError) as error:
        choose_release(tmp_path, [cropped], [("sub01", "EP01_1")], [raw])
    message = str(error.value)
    assert "RAW was found in CASME2-RAW, with 1 of the table's 1 expressions" in message
    assert "unknown name" not in message
