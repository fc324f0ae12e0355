"""Search for releases, wherever archives and users put them."""

import dataclasses
import os
import re

import pytest
from PIL import Image

from datasets import DataError
from datasets.source.annotations import Annotation
from datasets.source.columns import Columns
from datasets.source.release_choice import choose_release
from datasets.source.releases import Release, find_releases
from datasets.source.specification import LocalCopyConfig, Specification
from tests.datasets.tree import touch

RELEASES = (
    Release("Cropped", (("Cropped", "Cropped-updated"),), cropped=True),
    Release("RAW", (("CASME2-RAW",),), full_recording=True),
)
SECTIONS = (Release("raw", (("Section A",), ("Section B",)), full_recording=True),)


def choose(folder, releases, wanted, *, sizes=(), span=(1, 20), **options):
    """Chooses the release for rows with these subjects and clips."""
    specification = Specification(
        name="mylab",
        title="MyLab",
        emotions=("joy",),
        columns=Columns(headers={}),
        tables=(),
        releases=releases,
        expected_layout="",
        recorded_sizes=sizes,
    )
    rows = [
        Annotation("t.csv", 2, *clip, span[0], None, span[1], "joy", "", {})
        for clip in wanted
    ]
    config = LocalCopyConfig(name="x", **options)
    return choose_release(folder, specification, config, rows)


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
    local, notes = choose(tmp_path, RELEASES, wanted)
    assert local.release.name == "RAW"
    assert notes == ["other/Cropped (0 of the table's 2 expressions) was not read"]

    touch(tmp_path, "deeper/down/Cropped/sub01/EP01_1/img1.jpg")
    local, notes = choose(tmp_path, RELEASES, wanted)
    assert local.roots == (tmp_path / "deeper/down/Cropped",) and len(notes) == 2

    # Of two folders of a release, the one with more clips, although it is deeper.
    touch(tmp_path, "Cropped/sub01/EP01_1/img1.jpg")
    touch(tmp_path, "deeper/down/Cropped/sub02/EP02_1/img1.jpg")
    local, _ = choose(tmp_path, RELEASES, wanted)
    assert local.roots == (tmp_path / "deeper/down/Cropped",)


def test_preferred_release_needs_half_of_the_clips(tmp_path):
    wanted = [("sub01", f"EP01_{n}") for n in range(5)]
    touch(tmp_path, *(f"CASME2-RAW/sub01/EP01_{n}/img1.jpg" for n in range(5)))
    touch(tmp_path, *(f"Cropped/sub01/EP01_{n}/img1.jpg" for n in range(2)))
    local, notes = choose(tmp_path, RELEASES, wanted)
    assert local.release.name == "RAW"
    assert notes == ["Cropped (2 of the table's 5 expressions) was not read"]
    touch(tmp_path, "Cropped/sub01/EP01_2/img1.jpg")
    local, _ = choose(tmp_path, RELEASES, wanted)
    assert local.release.name == "Cropped"


def test_parts_of_a_release_are_merged(tmp_path):
    touch(tmp_path, "CASME_A/Section A/sub01/EP01_1/img1.jpg")
    touch(tmp_path, "CASME_B/section_b/sub08/EP01_1/img1.jpg")
    wanted = [("sub01", "EP01_1"), ("sub08", "EP01_1")]
    local, notes = choose(tmp_path, SECTIONS, wanted)
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
    touch(tmp_path, *(f"Cropped/sub01/EP99_{n}/img1.jpg" for n in range(9)))
    touch(tmp_path, "CASME2-RAW.zip")
    with pytest.raises(DataError) as error:
        choose(tmp_path, RELEASES, [("sub01", f"EP01_{n}") for n in range(9)])
    message = str(error.value)
    assert "there, for example: Cropped/sub01/EP99_0, Cropped/sub01/EP99_1, Crop" in (
        message
    )
    expected = "sub01/EP01_0, sub01/EP01_1, sub01/EP01_2."
    assert f"deep in Cropped or RAW, for example: {expected}" in message
    assert "Archives that are not unpacked: CASME2-RAW.zip" in message


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
    local, _ = choose(tmp_path, SECTIONS, [("sub01", "EP01_1")])
    assert local.source("sub01", "EP01_1") == tmp_path / "Section A/sub01/EP01_1"
    assert local.duplicates == (tmp_path / "Section B/sub01/EP01_1",)


def test_error_names_an_excluded_release(tmp_path):
    touch(tmp_path, "CASME2-RAW/sub01/EP01_1/img1.jpg")
    with pytest.raises(DataError) as error:
        choose(tmp_path, RELEASES, [("sub01", "EP01_1")], crop="provided")
    message = str(error.value)
    assert "RAW was found in CASME2-RAW, with 1 of the table's 1 expressions" in message


def test_suffixes_of_folders_are_ignored(tmp_path):
    touch(tmp_path, "CASME2-RAW_original/sub01_original/EP01_1_original/img1.jpg")
    local, notes = choose(tmp_path, RELEASES, [("sub01", "EP01_1")])
    assert local.count_clips([("sub01", "EP01_1")]) == 1 and not notes
    assert (local.release.name, local.release.cropped) == ("RAW", False)


@pytest.mark.parametrize(
    "place",
    [
        "CASME2-RAW/sub01/EP01_1_aligned",
        "CASME2-RAW/sub01_cropped/EP01_1",
        "CASME2-RAW_faces/sub01/EP01_1",
    ],
)
def test_suffixes_that_name_faces_are_those_of_crops(tmp_path, place):
    touch(tmp_path, f"{place}/frame_det_00_000001.bmp")
    local, _ = choose(tmp_path, RELEASES, [("sub01", "EP01_1")])
    assert (local.release.name, local.release.cropped) == ("RAW", True)
    choose(tmp_path, RELEASES, [("sub01", "EP01_1")], crop="provided")
    with pytest.raises(DataError, match="--crop or --release excludes it"):
        choose(tmp_path, RELEASES, [("sub01", "EP01_1")], crop="detect")


def test_crops_and_raw_frames_of_the_same_name_are_distinguished(tmp_path):
    touch(tmp_path, "CASME2-RAW/sub01/EP01_1/img1.jpg")
    touch(tmp_path, "CASME2-RAW_aligned/sub01/EP01_1/img1.jpg")
    for crop, root in (("auto", "_aligned"), ("detect", ""), ("none", "")):
        local, notes = choose(tmp_path, RELEASES, [("sub01", "EP01_1")], crop=crop)
        assert local.roots == (tmp_path / f"CASME2-RAW{root}",) and len(notes) == 1


def test_clips_may_be_a_level_further_down(tmp_path):
    touch(
        tmp_path, "Cropped/sub01/micro/EP01_1/img1.jpg", "Cropped/sub01/video/EP02.avi"
    )
    local, _ = choose(tmp_path, RELEASES, [("sub01", "EP01_1"), ("sub01", "EP02")])
    assert local.source("sub01", "EP01_1") == tmp_path / "Cropped/sub01/micro/EP01_1"
    assert local.source("sub01", "EP02") == tmp_path / "Cropped/sub01/video/EP02.avi"


WANTED = [("sub01", "EP01_1"), ("sub02", "EP01_2")]


def write_images(folder, numbers, size):
    for subject, clip in WANTED:
        (folder / subject / clip).mkdir(parents=True)
        for number in numbers:
            image = Image.new("L", size, 10 + number)
            image.save(folder / subject / clip / f"img{number}.png")


@pytest.mark.parametrize("inner", ["", "some name", "a/b"])
@pytest.mark.parametrize(
    ("numbers", "size", "expected"),
    [
        (range(5, 25), (60, 80), ("Cropped", True, False)),
        (range(1, 41), (640, 480), ("RAW", False, True)),
        (range(5, 25), (640, 480), ("RAW", False, False)),
    ],
)
def test_frames_show_what_a_folder_with_an_unknown_name_contains(
    tmp_path, inner, numbers, size, expected
):
    write_images(tmp_path / inner, numbers, size)
    local, (note,) = choose(
        tmp_path, RELEASES, WANTED, sizes=((640, 480),), span=(5, 24)
    )
    release = local.release
    assert (release.name, release.cropped, release.full_recording) == expected
    name = inner or tmp_path.name
    assert note.startswith(
        f"{name} was read although its name is unknown, as {expected[0]}"
    )
    assert local.relative_roots(tmp_path) == name


def test_an_unknown_name_is_refused_where_frames_do_not_show_the_kind(tmp_path):
    write_images(tmp_path / "data", range(5, 25), (320, 240))
    with pytest.raises(DataError) as error:
        choose(tmp_path, RELEASES, WANTED, sizes=((640, 480),), span=(5, 24))
    message = str(error.value)
    assert "data has frames of 2 of the table's 2 expressions, and its name" in message
    assert "320 x 240 may be crops of the recordings (640 x 480) or" in message
    assert "--release=Cropped or --release=RAW" in message
    for options, expected in (
        ({"release": "RAW"}, (False, True)),
        ({"release": "Cropped"}, (True, False)),
        ({"crop": "detect"}, (False, False)),
    ):
        local, notes = choose(tmp_path, RELEASES, WANTED, span=(5, 24), **options)
        assert (local.release.cropped, local.release.full_recording) == expected
        assert len(notes) == 1


def test_a_suffix_that_is_part_of_the_name_of_a_clip_is_none(tmp_path):
    names = ("happy_face", "sad_face", "smile_original", "smile_copy")
    touch(tmp_path, *(f"CASME2-RAW/sub01/{name}/img1.jpg" for name in names))
    wanted = [("sub01", name) for name in names]
    local, notes = choose(tmp_path, RELEASES, wanted)
    assert local.count_clips(wanted) == 4 and not notes
    assert local.release.cropped is False


@pytest.mark.parametrize(
    ("options", "suffix", "cropped"),
    [({}, "original", False), ({"crop": "none"}, "original", False)],
)
def test_of_crops_and_full_frames_of_a_clip_those_of_the_release_are_read(
    tmp_path, options, suffix, cropped
):
    for kind in ("aligned", "original"):
        touch(tmp_path, f"CASME2-RAW/sub01/EP01_1_{kind}/img1.jpg")
    local, _ = choose(tmp_path, RELEASES, [("sub01", "EP01_1")], **options)
    assert local.source("sub01", "EP01_1").name == f"EP01_1_{suffix}"
    assert local.release.cropped is cropped


def test_frames_may_be_in_a_folder_inside_that_of_the_clip(tmp_path):
    touch(tmp_path, "Cropped/sub01/EP01_1/frames/img1.jpg")
    local, _ = choose(tmp_path, RELEASES, [("sub01", "EP01_1")])
    assert local.source("sub01", "EP01_1") == tmp_path / "Cropped/sub01/EP01_1/frames"


def test_the_size_of_frames_must_not_contradict_crop(tmp_path):
    write_images(tmp_path / "data", range(5, 25), (640, 480))
    options = {"sizes": ((640, 480),), "span": (5, 24), "crop": "provided"}
    with pytest.raises(DataError, match="frames of 640 x 480, as recorded, but --crop"):
        choose(tmp_path, RELEASES, WANTED, **options)


def test_folders_with_unknown_names_and_other_subjects_are_parts(tmp_path):
    write_images(tmp_path / "all", range(5, 25), (60, 80))
    for part, subject in (("part1", "sub01"), ("part2", "sub02")):
        (tmp_path / part).mkdir()
        (tmp_path / "all" / subject).rename(tmp_path / part / subject)
    local, notes = choose(tmp_path, RELEASES, WANTED, sizes=((640, 480),), span=(5, 24))
    assert local.count_clips(WANTED) == 2
    assert notes[0].startswith("part1, part2 was read although its name is unknown")


def test_a_sample_with_a_known_name_does_not_hide_the_data(tmp_path):
    wanted = [("sub01", f"EP01_{n}") for n in range(9)]
    touch(tmp_path, "Cropped/sub01/EP01_0/img1.jpg")
    for n in range(9):
        touch(tmp_path, f"mine/sub01/EP01_{n}/img1.jpg")
    local, notes = choose(tmp_path, RELEASES, wanted, release="Cropped")
    assert local.count_clips(wanted) == 9
    assert "it has 9 of the table's 9 expressions" in notes[0]
    assert notes[1] == "Cropped (1 of the table's 9 expressions) was not read"


def test_a_copy_in_which_only_some_folders_name_faces_is_named(tmp_path):
    touch(tmp_path, *(f"CASME2-RAW/sub01/EP0{n}_aligned/img1.jpg" for n in range(4)))
    touch(tmp_path, "CASME2-RAW/sub01/EP08/img1.jpg")
    wanted = [("sub01", f"EP0{n}") for n in (0, 1, 2, 3, 8)]
    local, notes = choose(tmp_path, RELEASES, wanted)
    assert local.release.cropped and "All were read as faces" in notes[0]


FLAT = Release(
    "cut",
    (("ME_clip/frame",),),
    of_subjects=False,
    parse_folder_names=lambda _, clip: (
        tuple(clip.split("_")[:2]) if clip.startswith("sub") else (None, clip)
    ),
    other_frames=re.compile("depth"),
)


@pytest.mark.parametrize("place", ["ME_clip/frame", "a/ME_clip/ME_clip/frame", "data"])
def test_clips_may_be_together_without_folders_of_subjects(tmp_path, place):
    touch(tmp_path, f"{place}/sub01_EP1/1.jpg", f"{place}/sub02_EP2/1.jpg")
    touch(tmp_path, f"{place}/notes/1.jpg", "ME_clip/depth/sub01_EP1/1.jpg")
    wanted = [("sub01", "EP1"), ("sub02", "EP2"), ("sub02", "EP1")]
    releases = (dataclasses.replace(FLAT, parse_clip_name=str),)
    local, notes = choose(tmp_path, releases, wanted, crop="none", release="cut")
    assert local.roots == (tmp_path / place,)
    assert local.clips == {
        ("sub01", "EP1"): tmp_path / place / "sub01_EP1",
        ("sub02", "EP2"): tmp_path / place / "sub02_EP2",
    }
    assert local.source("sub02", "EP1") is None
    assert len(notes) == (place == "data")  # that its name is unknown


def test_frames_are_in_the_folder_that_the_release_names(tmp_path):
    release = Release("part", (("part_A",),), frames_folder="color")
    touch(tmp_path, "part_A/sub01/a/color/1.jpg", "part_A/sub01/a/depth/1.png")
    touch(tmp_path, "part_A/sub01/b/Color/1.jpg", "part_A/sub01/c/1.jpg")
    ((local,),) = find_releases(tmp_path, [release])
    subject = tmp_path / "part_A/sub01"
    assert local.clips == {
        ("sub01", "a"): subject / "a/color",
        ("sub01", "b"): subject / "b/Color",
        ("sub01", "c"): subject / "c",
    }
    assert [local.name_of(source) for source in local.clips.values()] == ["a", "b", "c"]


def test_folders_and_videos_of_other_frames_are_no_clips(tmp_path):
    release = Release("part", (("part_A",),), other_frames=re.compile("depth"))
    touch(tmp_path, "part_A/sub01/a/depth/1.png", "part_A/sub01/depth/b/1.png")
    touch(tmp_path, "part_A/sub02/a/depth.avi", "part_A/depth/sub03/a/1.png")
    touch(tmp_path, "part_A/sub04/a/colour/1.png")
    ((local,),) = find_releases(tmp_path, [release])
    subjects = tmp_path / "part_A"
    # The folders of the recordings themselves have no frames.
    assert local.source("sub01", "a") == subjects / "sub01/a"
    assert local.source("sub02", "a") == subjects / "sub02/a"
    assert local.source("sub04", "a") == subjects / "sub04/a/colour"
    assert local.source("sub01", "b") is local.source("sub03", "a") is None
