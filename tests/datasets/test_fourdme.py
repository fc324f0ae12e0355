"""The 4DME builder on generated copies."""

import dataclasses
import shutil

import pytest

from datasets import check, prepare
from tests.datasets import fourdme_tree
from tests.datasets.fourdme_tree import RELEASES, ROWS, UNITS, id_of
from tests.datasets.reading import read_back
from tests.datasets.tree import read_greys

FEW = ROWS[:10]  # with every label, and four long clips
_COLUMNS = [f"AU{number}" for number in UNITS]
_EMOTIONS = ["Positive", "Negative", "Surprise", "Repression", "Others"]


def read(tmp_path, rows=FEW, **options):
    """Writes a copy and returns the metadata, the records and the emotion of each."""
    fourdme_tree.write_tree(tmp_path / "copy", rows=rows, **options)
    info, records = read_back(
        "fourdme", tmp_path / "copy", tmp_path / "data", crop="none"
    )
    names = info.features["emotion"].names
    emotions = {clip_id: names[r["emotion"]] for clip_id, r in records.items()}
    return info.metadata, records, emotions


@pytest.mark.parametrize("release", RELEASES)
def test_records_of_every_release(tmp_path, release):
    fourdme_tree.write_tree(tmp_path / "copy", release=release, rows=FEW)
    crop = "provided" if "crop" in release else "none"
    info, records = read_back(
        "fourdme", tmp_path / "copy", tmp_path / "data", crop=crop
    )
    assert info.metadata["left_out"] == [] and info.metadata["crop"] == crop
    assert info.metadata["release"] == f"gray_micro, in {release}"
    assert set(records) == set(map(id_of, FEW))
    assert len({record["emotion"] for record in records.values()}) == 10
    for row in FEW:
        record = records[id_of(row)]
        emotion = info.features["emotion"].names[record["emotion"]]
        assert emotion == row.emotion.lower()
        assert record["subject"].decode() == f"sub{row.subject:02d}"
        assert (record["onset"], record["apex"]) == (row.onset, row.apex)
        assert record["offset"] == row.offset
        assert record["action_units"].decode() == row.action_units
        assert record["eye_blink"].decode() == str(row.eye_blink)
        assert record["frame_rate"] == 60
        clips, numbers = zip(*map(read_greys, record["clip"]), strict=True)
        assert set(clips) == {fourdme_tree.place_of(row)}
        assert list(numbers) == [
            min(max(row.apex - 16 + 2 * k, row.onset), row.offset) for k in range(16)
        ]


def test_complete_copy_has_the_published_counts(tmp_path):
    fourdme_tree.write_tree(tmp_path, release="gray_micro_crop")
    report = check.check("fourdme", tmp_path)
    published = {e.lower(): n for e, n in fourdme_tree.EMOTIONS.items()}
    assert report.complete and report.differences == []
    assert report.rows == report.records == 267
    assert {e: f["records"] for e, f in report.emotions.items()} == published
    assert report.published_counts == {"the published table": published}
    assert report.frames_without_row == []
    assert "contradictory row" not in report.notes_by_kind
    lines = check.describe(report).splitlines()
    assert f"{'negative+repression':20}{7:8}{7:9}{7:11}{'':7}" in lines


@pytest.mark.parametrize(
    ("written", "emotion"),
    [
        ("Positive+Surprise", "surprise+positive"),
        ("positive, surprise", "surprise+positive"),
        ("Repression / Negative", "negative+repression"),
        ("Repression and Negative", "negative+repression"),
        ("Others", "others"),
    ],
)
def test_two_emotions_give_one_label_in_a_fixed_order(tmp_path, written, emotion):
    row = dataclasses.replace(FEW[0], emotion=written)
    _, _, emotions = read(tmp_path, [row], left_out=_EMOTIONS)
    assert emotions == {id_of(row): emotion}


def test_columns_of_zeros_and_ones_replace_absent_texts(tmp_path):
    metadata, records, emotions = read(tmp_path, left_out=["Emotion", "AUs"])
    assert metadata["left_out"] == [] and len(records) == len(FEW)
    for row in FEW:
        assert emotions[id_of(row)] == row.emotion.lower()
        units = records[id_of(row)]["action_units"].decode()
        assert units == "+".join(map(str, row.units))
    assert records[id_of(FEW[0])]["action_units"].decode() == "4+7"


def test_texts_alone_suffice(tmp_path):
    left_out = [*_EMOTIONS, *_COLUMNS, "eye blink"]
    metadata, records, emotions = read(tmp_path, left_out=left_out)
    assert [note for note in metadata["notes"] if "column" in note] == []
    assert set(emotions.values()) == {row.emotion.lower() for row in FEW}
    assert {record["eye_blink"] for record in records.values()} == {b""}


def test_columns_that_contradict_the_text_are_noted(tmp_path):
    first, second, third = FEW[:3]
    rows = [
        dataclasses.replace(first, emotion="Surprise", marked=("Surprise", "Positive")),
        dataclasses.replace(second, action_units="AU4(k)+L7", units=(12,)),
        dataclasses.replace(third, eye_blink=1),
    ]
    metadata, records, emotions = read(tmp_path, rows)
    assert emotions[id_of(first)] == "surprise" and len(records) == 3
    assert [note for note in metadata["notes"] if "columns" in note] == [
        f"row 2 ({id_of(first)}): its emotion is surprise, but its columns of single "
        "emotions say surprise+positive; surprise was used",
        f"row 3 ({id_of(second)}): its action units are AU4(k)+L7, but its columns of "
        "single units say 12; AU4(k)+L7 was used",
    ]


def test_unknown_combination_is_left_out(tmp_path):
    rows = [dataclasses.replace(FEW[0], emotion="Positive+Negative"), *FEW[1:5]]
    metadata, records, _ = read(tmp_path, rows)
    (entry,) = metadata["left_out"]
    assert "emotion 'positive+negative' is not an emotion of 4DME" in entry["reason"]
    assert len(records) == 4


def test_missing_apex_and_frames(tmp_path):
    no_apex, gap, gone, extra = FEW[:4]
    rows = [dataclasses.replace(no_apex, apex=None), gap, gone]
    root = tmp_path / "copy/gray_micro"
    fourdme_tree.write_frames(root, [extra])
    fourdme_tree.write_tree(tmp_path / "copy", rows=rows)
    shutil.rmtree(root / f"S{gone.subject:02d}" / gone.clip)
    folder = root / f"S{gap.subject:02d}" / gap.clip
    (folder / f"Frame_{gap.apex:09d}.jpg").unlink()
    info, records = read_back(
        "fourdme", tmp_path / "copy", tmp_path / "data", crop="none"
    )
    assert set(records) == {id_of(no_apex), id_of(gap)}
    middle = (no_apex.onset + no_apex.offset) // 2
    assert records[id_of(no_apex)]["apex_estimated"]
    assert records[id_of(no_apex)]["apex"] == middle
    assert read_greys(records[id_of(gap)]["apex_frame"])[1] == gap.apex - 1
    left_out = {entry["clip"]: entry["reason"] for entry in info.metadata["left_out"]}
    assert left_out == {
        gone.clip: "there is no folder for it in gray_micro",
        extra.clip: "frames, but no row in the table",
    }
    options = prepare.Options(crop="none")
    assert not check.check("fourdme", tmp_path / "copy", options=options).complete
