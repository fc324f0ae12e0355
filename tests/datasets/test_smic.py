"""The SMIC builder on generated copies of both releases and all cameras."""

import collections
import dataclasses

import pytest

from datasets import DataError, check, prepare
from tests.datasets import smic_tree
from tests.datasets.reading import read_back
from tests.datasets.smic_tree import CLIPS, COUNTS, id_of
from tests.datasets.tree import read_colours

SMALL = {"size": 24, "frames": 4, "window": 8}


def crop(release):
    return "provided" if release == "cropped" else "none"


@pytest.mark.parametrize("release", smic_tree.RELEASES)
@pytest.mark.parametrize(
    ("camera", "rate"), [("HS", 100.0), ("VIS", 25.0), ("NIR", 25.0)]
)
def test_every_camera_and_release(tmp_path, camera, rate, release):
    chosen = CLIPS[camera][::18]
    for other in smic_tree.CAMERAS:  # all cameras in one copy
        clips = chosen if other == camera else CLIPS[other][1::18]
        smic_tree.write_tree(
            tmp_path / "copy", release=release, camera=other, clips=clips
        )
    options = {} if camera == "HS" else {"camera": camera}
    info, records = read_back(
        "smic", tmp_path / "copy", tmp_path / "d", crop=crop(release), **options
    )
    assert set(records) == set(map(id_of, chosen))
    assert info.config_name.endswith(f"-{camera}") == (camera != "HS")
    assert info.metadata["frame_rates"] == [rate]
    assert info.metadata["release"].startswith(f"{camera}_{release}, in SMIC_all_")
    left_out = {entry["clip"]: entry["reason"] for entry in info.metadata["left_out"]}
    assert left_out == dict.fromkeys(
        (chosen[0].name, f"s{chosen[0].subject}_non_micro_01"),
        "the folder non_micro has no expressions",
    )
    names = info.features["emotion"].names
    for clip in chosen:
        record, numbers = records[id_of(clip)], clip.numbers
        assert names[record["emotion"]] == clip.emotion
        assert (record["onset"], record["offset"]) == (numbers[0], numbers[-1])
        middle = (numbers[0] + numbers[-1]) // 2
        assert record["apex"] == middle and record["apex_estimated"]
        place = CLIPS[camera].index(clip)
        for frame, wanted in zip(
            record["clip"], range(middle - 16, middle + 16, 2), strict=True
        ):
            number = min(max(wanted, numbers[0]), numbers[-1])
            assert read_colours(frame) == (place, number)


@pytest.mark.parametrize(("camera", "subjects"), [("HS", 16), ("VIS", 8)])
def test_complete_copy_has_the_published_counts(tmp_path, camera, subjects):
    smic_tree.write_tree(tmp_path, camera=camera)
    options = prepare.Options(camera=camera, **SMALL)
    report = check.check("smic", tmp_path, options=options)
    assert report.complete and report.differences == []
    assert report.published_counts == {camera: COUNTS[camera]}
    assert {e: n["records"] for e, n in report.emotions.items()} == COUNTS[camera]
    assert len(report.subjects) == subjects and not report.notes
    assert [e["clip"] for e in report.frames_without_row] == [
        CLIPS[camera][0].name,
        f"s{CLIPS[camera][0].subject}_non_micro_01",
    ]
    gaps = report.notes_by_kind.get("gap in the numbers", [])
    assert len(gaps) == (2 if camera == "HS" else 0)


def test_check_exits_with_0(tmp_path, capsys):
    smic_tree.write_tree(tmp_path, clips=CLIPS["HS"][:3])
    assert check.main("smic", manual_dir=tmp_path) == 0
    assert "names of the folders in SMIC_all_cropped/HS" in capsys.readouterr().out


def test_gaps_in_the_numbers(tmp_path):
    with_gaps = {
        clip.name: clip
        for clip in CLIPS["HS"]
        if clip.numbers[-1] - clip.numbers[0] >= len(clip.numbers)
    }
    assert set(with_gaps) == {"s3_po_08", "s3_ne_16", "s3_sur_01", "s3_sur_05"}
    smic_tree.write_tree(tmp_path / "copy", clips=tuple(with_gaps.values()))
    info, records = read_back("smic", tmp_path / "copy", tmp_path / "data")
    notes = [n for n in info.metadata["notes"] if "more than two numbers" in n]
    assert len(notes) == 2
    for name, clip in with_gaps.items():
        record, numbers = records[id_of(clip)], clip.numbers
        if name in ("s3_po_08", "s3_ne_16"):  # the longer of two runs
            step = next(
                i for i, n in enumerate(numbers) if i and n - numbers[i - 1] > 3
            )
            numbers = max(numbers[:step], numbers[step:], key=len)
            (note,) = [n for n in notes if name in n]
            assert f"those from {numbers[0]} to {numbers[-1]} " in note
        assert (record["onset"], record["offset"]) == (numbers[0], numbers[-1])
        assert record["apex"] in numbers
        assert read_colours(record["apex_frame"])[1] == record["apex"]
        assert {read_colours(f)[1] for f in record["clip"]} <= set(numbers)


def test_an_estimated_apex_is_a_frame_that_exists(tmp_path, capsys):
    clip = dataclasses.replace(
        CLIPS["HS"][0], numbers=(*range(101, 111), *range(112, 122))
    )
    place = tmp_path / "copy/SMIC_all_cropped/HS/s1/micro/negative" / clip.name
    smic_tree.write_clip(
        place, 0, {n: f"reg_image{n}.bmp" for n in clip.numbers}, (30, 24)
    )
    (place.parent / "s1_ne_99").mkdir()
    info, records = read_back("smic", tmp_path / "copy", tmp_path / "data")
    left_out = "folder 2 in SMIC_all_cropped/HS/s1/micro/negative, sub01/s1_ne_99: its"
    assert f"left out: {left_out}" in capsys.readouterr().err
    (record,) = records.values()
    assert record["apex"] == 110  # the middle, 111, is missing
    assert any(
        "111, was used; it is missing, and 110" in n for n in info.metadata["notes"]
    )


def test_an_apex_is_not_spotted_in_a_few_frames(tmp_path):
    clips = [c for c in CLIPS["VIS"] if len(c.numbers) < 9][:2]
    smic_tree.write_tree(tmp_path, camera="VIS", clips=clips)
    options = prepare.Options(camera="VIS", apex="spotted", **SMALL)
    report = check.check("smic", tmp_path, options=options)
    assert report.complete and "apex spotted" not in report.notes_by_kind
    notes = report.notes_by_kind["apex estimated"]
    for note, clip in zip(notes, clips, strict=True):
        middle, length = (clip.numbers[0] + clip.numbers[-1]) // 2, len(clip.numbers)
        assert f"the middle, {middle}, was used, since its {length} frames" in note


def test_empty_folder_is_left_out_with_a_reason(tmp_path):
    clips = [c for c in CLIPS["HS"] if c.subject == 18]
    # There are frames in non_micro with the name of the first.
    empty = [clips[0].name, clips[-1].name]
    smic_tree.write_tree(tmp_path, clips=clips, empty=empty)
    report = check.check("smic", tmp_path, options=prepare.Options(**SMALL))
    assert [entry["clip"] for entry in report.rows_without_record] == empty
    printed = check.describe(report)
    for entry in report.rows_without_record:
        assert entry["reason"] == "its folder contains no frames"
        label = f"folder {entry['row']} in SMIC_all_cropped/HS/s18/micro/"
        assert label in printed and " row of" not in printed
    assert report.records == len(clips) - 2 and not report.complete
    others = report.frames_without_row
    assert [entry["clip"] for entry in others] == [empty[0], "s18_non_micro_01"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("s1_ne_01", "s1_po_77", "in the folder negative, and its name says positive"),
        (
            "s1_ne_01",
            "s2_ne_77",
            "in the folder s1, and its name is that of a clip of s2",
        ),
    ],
)
def test_names_that_contradict_each_other(tmp_path, old, new, reason):
    smic_tree.write_tree(tmp_path, clips=CLIPS["HS"][:2])
    folder = tmp_path / "SMIC_all_cropped/HS/s1/micro/negative"
    (folder / old).rename(folder / new)
    report = check.check("smic", tmp_path, options=prepare.Options(**SMALL))
    (entry,) = report.rows_without_record
    assert entry["clip"] == new and reason in entry["reason"]
    assert report.records == 1


def test_other_cameras_and_longer_videos_are_not_read(tmp_path):
    smic_tree.write_tree(tmp_path / "SMIC", camera="VIS", clips=CLIPS["VIS"][:4])
    with pytest.raises(DataError) as error:
        check.check("smic", tmp_path)
    assert "VIS_cropped was found in SMIC/SMIC_all_cropped/VIS, but --camera" in str(
        error.value
    )
    smic_tree.write_tree(tmp_path, clips=CLIPS["HS"][:3])
    long = tmp_path / "SMIC-E_raw image/HS_long/SMIC-HS-E/s03/s3_ne_99"
    smic_tree.write_clip(long, 9, {n: f"image{n}.bmp" for n in range(9)}, (48, 64))
    (tmp_path / "SMIC").rename(tmp_path / "other")
    vis = tmp_path / "other/SMIC_all_cropped"
    vis.rename(tmp_path / "other/data")  # a name that is not known
    report = check.check("smic", tmp_path, options=prepare.Options(**SMALL))
    assert report.rows == report.records == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"camera": "IR"}, "--camera=IR must be one of HS, VIS, NIR"),
        ({"camera": "VIS", "release": "HS_raw"}, "--release=HS_raw is not of --camera"),
        ({"release": "raw"}, "--release=raw is not a release of SMIC"),
    ],
)
def test_invalid_options_raise(tmp_path, options, message):
    smic_tree.write_tree(tmp_path, clips=CLIPS["HS"][:1])
    with pytest.raises(DataError, match=message):
        check.check("smic", tmp_path, options=prepare.Options(**options))


def test_generated_copy_has_the_real_numbers():
    clips = CLIPS["HS"]
    assert len({clip.name for clip in clips}) == len(clips) == 164
    assert len({clip.subject for clip in clips}) == 16
    assert collections.Counter(c.emotion for c in CLIPS["VIS"]) == COUNTS["VIS"]
