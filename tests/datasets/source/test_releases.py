"""Which release is read, wherever archives and users put it."""

import os

import pytest

from datasets import DataError
from datasets.source.releases import Release, choose_layout, find_layouts
from tests.datasets.tree import touch

RELEASES = (
    Release("Cropped", (("Cropped", "Cropped-updated"),), cropped=True),
    Release("RAW", (("CASME2-RAW",),), whole=True),
)
SECTIONS = (Release("raw", (("Section A",), ("Section B",)), whole=True),)


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
def test_the_layout_is_found_wherever_archives_put_it(tmp_path, place, subject):
    touch(tmp_path, f"{place}/{subject}/EP01_1/img1.jpg", "__MACOSX/Cropped/sub01/x/y")
    ((layout,),) = find_layouts(tmp_path, RELEASES)
    assert layout.release.name == "Cropped" and layout.roots == (tmp_path / place,)
    assert layout.source("sub01", "ep01_1") == tmp_path / place / subject / "EP01_1"


def test_the_layout_may_be_the_folder_itself(tmp_path):
    touch(tmp_path, "Cropped/sub01/EP01_1/img1.jpg")
    ((layout,),) = find_layouts(tmp_path / "Cropped", RELEASES)
    assert layout.roots == (tmp_path / "Cropped",)


def test_no_name_in_a_table_leads_out_of_the_layout(tmp_path):
    touch(tmp_path, "secret/img1.jpg", "Cropped/sub01/EP01_1/img1.jpg")
    ((layout,),) = find_layouts(tmp_path, RELEASES)
    for clip in ("../../secret", str(tmp_path / "secret"), "..", ".", ""):
        assert layout.source("sub01", clip) is None


def test_the_preferred_layout_with_the_tables_clips_is_taken_and_said(tmp_path):
    touch(tmp_path, "CASME2-RAW/sub01/EP01_1/img1.jpg")
    touch(tmp_path, "other/Cropped/sub01/EP99_9/img1.jpg")
    wanted = [("sub01", "EP01_1"), ("sub02", "EP02_1")]
    layout, notes = choose_layout(tmp_path, RELEASES, wanted)
    assert layout.release.name == "RAW"
    assert notes == ["other/Cropped (0 of the table's 2 expressions) was not read"]

    touch(tmp_path, "deeper/down/Cropped/sub01/EP01_1/img1.jpg")
    layout, notes = choose_layout(tmp_path, RELEASES, wanted)
    assert layout.roots == (tmp_path / "deeper/down/Cropped",) and len(notes) == 2

    # Of two of a kind the one with more of the clips, though the other is nearer.
    touch(tmp_path, "Cropped/sub01/EP01_1/img1.jpg")
    touch(tmp_path, "deeper/down/Cropped/sub02/EP02_1/img1.jpg")
    layout, _ = choose_layout(tmp_path, RELEASES, wanted)
    assert layout.roots == (tmp_path / "deeper/down/Cropped",)


def test_a_preferred_layout_with_less_than_half_of_the_clips_is_not_taken(tmp_path):
    wanted = [("sub01", f"EP01_{n}") for n in range(5)]
    touch(tmp_path, *(f"CASME2-RAW/sub01/EP01_{n}/img1.jpg" for n in range(5)))
    touch(tmp_path, *(f"Cropped/sub01/EP01_{n}/img1.jpg" for n in range(2)))
    layout, notes = choose_layout(tmp_path, RELEASES, wanted)
    assert layout.release.name == "RAW"
    assert notes == ["Cropped (2 of the table's 5 expressions) was not read"]
    touch(tmp_path, "Cropped/sub01/EP01_2/img1.jpg")
    layout, _ = choose_layout(tmp_path, RELEASES, wanted)
    assert layout.release.name == "Cropped"


def test_the_parts_of_a_release_are_read_as_one(tmp_path):
    touch(tmp_path, "CASME_A/Section A/sub01/EP01_1/img1.jpg")
    touch(tmp_path, "CASME_B/section_b/sub08/EP01_1/img1.jpg")
    wanted = [("sub01", "EP01_1"), ("sub08", "EP01_1")]
    layout, notes = choose_layout(tmp_path, SECTIONS, wanted)
    assert layout.held(wanted) == 2 and not notes
    assert layout.within(tmp_path) == "CASME_A/Section A, CASME_B/section_b"


def test_a_clip_may_be_a_video(tmp_path):
    touch(tmp_path, "CASME2-RAW/sub01/EP01_1.avi", "CASME2-RAW/sub01/EP01_2.AVI")
    touch(tmp_path, "CASME2-RAW/sub01/EP01_1/img1.jpg")
    touch(tmp_path, "CASME2-RAW/sub01/._EP01_3.avi", "CASME2-RAW/sub01/notes.txt")
    ((layout,),) = find_layouts(tmp_path, RELEASES)
    subject = tmp_path / "CASME2-RAW/sub01"
    # Where there are frames and a video the frames are meant.
    assert layout.clips == {
        ("sub01", "ep01_1"): subject / "EP01_1",
        ("sub01", "ep01_2"): subject / "EP01_2.AVI",
    }


def test_links_in_a_circle_end(tmp_path):
    touch(tmp_path, "Cropped/sub01/EP01_1/img1.jpg")
    (tmp_path / "Cropped/again").symlink_to(tmp_path)
    (tmp_path / "Cropped/sub01/EP01_2").symlink_to(tmp_path / "Cropped")
    ((layout,),) = find_layouts(tmp_path, RELEASES)
    assert ("sub01", "ep01_1") in layout.clips


def test_no_layout_says_what_is_there_and_what_should_be(tmp_path):
    touch(tmp_path, "Cropped/sub01/EP99_9/img1.jpg")
    with pytest.raises(DataError, match="Found without any of these clips: Cropped"):
        choose_layout(tmp_path, RELEASES, [("sub01", "EP01_1")])
    touch(tmp_path / "empty", "Cropped.zip", "frames/sub01/EP01_1/img1.jpg")
    with pytest.raises(DataError) as error:
        choose_layout(tmp_path / "empty", RELEASES, [("sub01", "EP01_1")])
    message = str(error.value)
    assert "nothing" in message and "Cropped or RAW" in message
    assert "Found packed: Cropped.zip" in message
    assert "Folders of subjects with another name: frames" in message


def test_of_several_sources_of_a_clip_one_with_frames_is_read(tmp_path):
    touch(tmp_path, "Cropped/sub01/EP01_1/img1.jpg", "Cropped/sub01/EP01_1.avi")
    (tmp_path / "Cropped/1/EP01_1").mkdir(parents=True)  # first by name, but empty
    (tmp_path / "Cropped/sub01/EP01_2").mkdir()
    touch(tmp_path, "Cropped/sub01/EP01_2.avi", "Cropped/sub01/EP01_2.mp4")
    ((layout,),) = find_layouts(tmp_path, RELEASES)
    subject = tmp_path / "Cropped/sub01"
    assert layout.source("sub01", "EP01_1") == subject / "EP01_1"
    assert layout.source("sub01", "EP01_2") == subject / "EP01_2.avi"
    # A video of what is there as frames is no surprise; the others are named.
    assert layout.doubles == (tmp_path / "Cropped/1/EP01_1", subject / "EP01_2.mp4")


def test_folders_that_may_not_be_read_are_named_and_the_others_found(
    tmp_path, monkeypatch
):
    touch(tmp_path, "Cropped/sub01/EP01_1/img1.jpg", "Cropped/sub02/EP01_1/img1.jpg")
    touch(tmp_path, "closed/Cropped/sub01/EP01_1/img1.jpg")
    scandir = os.scandir

    def refusing(path):  # root may read everything
        if str(path).endswith(("sub02", "closed")):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    ((layout,),) = find_layouts(tmp_path, RELEASES)
    assert set(layout.clips) == {("sub01", "ep01_1")}
    assert layout.closed == (tmp_path / "Cropped/sub02",)


def test_a_clip_in_two_parts_is_a_double(tmp_path):
    touch(tmp_path, "Section A/sub01/EP01_1/img1.jpg")
    touch(tmp_path, "Section B/sub01/EP01_1/img1.jpg")
    layout, _ = choose_layout(tmp_path, SECTIONS, [("sub01", "EP01_1")])
    assert layout.source("sub01", "EP01_1") == tmp_path / "Section A/sub01/EP01_1"
    assert layout.doubles == (tmp_path / "Section B/sub01/EP01_1",)


def test_a_release_that_may_not_be_taken_is_named(tmp_path):
    touch(tmp_path, "CASME2-RAW/sub01/EP01_1/img1.jpg")
    cropped, raw = RELEASES
    with pytest.raises(DataError) as error:
        choose_layout(tmp_path, [cropped], [("sub01", "EP01_1")], [raw])
    message = str(error.value)
    assert "There is RAW in CASME2-RAW, with 1 of the table's 1 expressions" in message
    assert "another name" not in message
