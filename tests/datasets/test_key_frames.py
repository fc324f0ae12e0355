"""Clips of which only the images at onset, apex and offset exist."""

import dataclasses

import pytest

from datasets import DataError
from datasets.check import check
from meranet_jax.data import class_sets, loading
from meranet_jax.data.source_records import Source
from meranet_jax.inputs.registry import INPUTS
from meranet_jax.video.frames import numbered_frames
from tests.datasets.casme2_tree import ROWS, id_of, read_colours, write_tree
from tests.datasets.reading import read_back

LONG = [row for row in ROWS if row.apex and row.onset + 20 < row.apex < row.offset - 9]
WITHOUT_CLIP, COMPLETE = LONG[:2], LONG[2:6]


def keep_key_frames(folder, row, names=None):
    """Deletes all frames of a clip but three, and may rename these."""
    clip = folder / "Cropped" / id_of(row)
    keys = dict(zip((row.onset, row.apex, row.offset), names or "abc", strict=True))
    for number, path in numbered_frames(clip).items():
        if number not in keys:
            path.unlink()
        elif names:
            path.rename(clip / keys[number])


@pytest.fixture
def copy(tmp_path):
    write_tree(tmp_path / "copy", rows=[*WITHOUT_CLIP, *COMPLETE])
    keep_key_frames(tmp_path / "copy", WITHOUT_CLIP[0])
    names = ("EP_01_onset.jpg", "EP_01_Apex.JPG", "EP_01_offset.jpg")
    keep_key_frames(tmp_path / "copy", WITHOUT_CLIP[1], names)
    return tmp_path / "copy"


def test_their_records_have_the_frames_and_are_marked(copy, tmp_path):
    info, records = read_back("casme2", copy, tmp_path / "data")
    assert len(records) == 6
    for row in WITHOUT_CLIP:
        record = records[id_of(row)]
        assert record["key_frames_only"] and not record["apex_estimated"]
        assert [record[name] for name in ("onset", "apex", "offset")] == [
            row.onset,
            row.apex,
            row.offset,
        ]
        for name, number in (("onset", row.onset), ("apex", row.apex)):
            assert read_colours(record[f"{name}_frame"])[1] == number
    assert not records[id_of(COMPLETE[0])]["key_frames_only"]
    notes = [note for note in info.metadata["notes"] if "only its onset, apex" in note]
    assert len(notes) == 2


@pytest.mark.parametrize("apex", ["middle", "spotted"])
def test_a_missing_apex_is_the_middle_image_and_is_marked(tmp_path, apex):
    row = dataclasses.replace(WITHOUT_CLIP[0], apex=None)
    write_tree(tmp_path / "copy", rows=[row])
    keep_key_frames(tmp_path / "copy", WITHOUT_CLIP[0])
    _, records = read_back("casme2", tmp_path / "copy", tmp_path / "data", apex=apex)
    record = records[id_of(row)]
    assert record["apex_estimated"] and record["key_frames_only"]
    assert record["apex"] == WITHOUT_CLIP[0].apex


def test_they_are_used_by_inputs_that_need_no_other_frames(copy, tmp_path):
    info, _ = read_back("casme2", copy, tmp_path / "data")

    def load(name, **options):
        return loading.load(
            [Source("casme2", info.data_dir)],
            choose_classes=lambda emotions: class_sets.resolve(
                emotions, text="all", paper=None
            ),
            size=112,
            network_input=INPUTS[name],
            **options,
        )

    assert len(load("onset_apex_flow")) == 6
    whole = load("onset_apex_flow", whole_clips=True)
    assert "as --whole_clips says" in str(whole.left_out)
    clips = load("rgb")
    assert set(clips.clip_ids) == {id_of(row) for row in COMPLETE}
    assert clips.clip_ids == whole.clip_ids
    assert "--input=rgb needs a clip" in str(clips.left_out)


def test_the_check_counts_them(copy):
    report = check("casme2", copy)
    assert report.records == 6 and report.frames_read >= 6
    assert len(report.notes_by_kind["key frames only"]) == 2
    lengths = [row.offset - row.onset + 1 for row in [*WITHOUT_CLIP, *COMPLETE]]
    assert report.lengths["least"] == min(lengths)


def test_without_the_apex_image_a_clip_is_left_out(tmp_path):
    row = WITHOUT_CLIP[0]
    write_tree(tmp_path / "copy", rows=[row])
    keep_key_frames(tmp_path / "copy", row)
    numbered_frames(tmp_path / "copy/Cropped" / id_of(row))[row.apex].unlink()
    with pytest.raises(DataError, match="do not include the apex"):
        read_back("casme2", tmp_path / "copy", tmp_path / "data")


def test_named_images_of_two_expressions_in_one_folder_are_not_assigned(tmp_path):
    first = WITHOUT_CLIP[0]
    shift = first.offset - first.onset + 10
    second = dataclasses.replace(
        first,
        onset=first.onset + shift,
        apex=first.apex + shift,
        offset=first.offset + shift,
    )
    write_tree(tmp_path / "copy", rows=[first, second])
    clip = tmp_path / "copy/Cropped" / id_of(first)
    images = list(numbered_frames(clip).values())
    for path, name in zip(
        images, ("onset.jpg", "apex.jpg", "offset.jpg"), strict=False
    ):
        path.rename(clip / name)
    for path in images[3:]:
        path.unlink()
    with pytest.raises(DataError, match="its folder contains no frames"):
        read_back("casme2", tmp_path / "copy", tmp_path / "data")


def test_an_onset_does_not_take_the_place_of_a_missing_apex(tmp_path):
    row = dataclasses.replace(WITHOUT_CLIP[0], apex=None)
    write_tree(tmp_path / "copy", rows=[row, *COMPLETE])
    clip = tmp_path / "copy/Cropped" / id_of(row)
    for number, path in numbered_frames(clip).items():
        if number not in (row.onset, row.offset):
            path.unlink()
    info, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    assert set(records) == {id_of(other) for other in COMPLETE}
    (entry,) = info.metadata["left_out"]
    assert "2 of them exist" in entry["reason"]
