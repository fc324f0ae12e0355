"""The MMEW builder on generated copies."""

import dataclasses
import shutil

import pytest

from datasets import check, prepare
from tests.datasets import mmew_tree
from tests.datasets.mmew_tree import ROWS, WRONG, folder_of, id_of
from tests.datasets.reading import read_back
from tests.datasets.tree import read_colours

FEW = ROWS[:12]  # with every label but one, and four long clips
ROOT = "MMEW_Final/Micro_Expression"


def frames_of(record):
    """Returns the clip and the numbers of a record's frames."""
    clips, numbers = zip(*map(read_colours, record["clip"]), strict=True)
    assert len(set(clips)) == 1
    return clips[0], list(numbers)


def window(apex, last):
    return [min(max(apex - 16 + 2 * k, 1), last) for k in range(16)]


@pytest.mark.parametrize("others", ["others", "repression"])
def test_records(tmp_path, others):
    rows = [row for row in FEW if row not in WRONG]
    mmew_tree.write_tree(tmp_path / "copy", rows=rows, others=others)
    assert (tmp_path / "copy" / ROOT / others).is_dir()
    info, records = read_back("mmew", tmp_path / "copy", tmp_path / "data")
    assert info.metadata["left_out"] == [] and info.metadata["crop"] == "provided"
    assert info.metadata["release"] == f"Micro_Expression, in {ROOT}"
    assert set(records) == set(map(id_of, rows))
    emotions = info.features["emotion"].names
    for row in rows:
        record = records[id_of(row)]
        assert emotions[record["emotion"]] == row.emotion
        assert record["subject"].decode() == f"sub{row.subject:02d}"
        assert (record["onset"], record["apex"]) == (1, row.apex)
        assert record["offset"] == row.frames
        assert not record["apex_estimated"] and not record["offset_estimated"]
        assert record["action_units"].decode() == str(row.action_units)
        assert record["remarks"].decode() == (row.remarks or "")
        assert record["frame_rate"] == 90
        place = mmew_tree.place_of(row)
        assert frames_of(record) == (place, window(row.apex, row.frames))


def test_complete_copy_has_the_published_counts(tmp_path):
    mmew_tree.write_tree(tmp_path, others="repression")
    report = check.check("mmew", tmp_path)
    assert report.complete and report.differences == []
    assert report.rows == report.records == 300 and len(report.subjects) == 30
    assert {e: f["records"] for e, f in report.emotions.items()} == mmew_tree.EMOTIONS
    assert report.published_counts == {"the published table": mmew_tree.EMOTIONS}
    assert report.frames_without_row == []
    notes = report.notes_by_kind["other offset or apex than the files"]
    assert len(notes) == len(WRONG) == 16
    assert "Every row can become a record" in check.describe(report)


def test_wrong_offset_is_replaced_by_the_last_file(tmp_path):
    beyond = next(row for row in WRONG if row.apex > row.frames)
    within = next(row for row in WRONG if row.apex < row.frames)
    # The apex alone is wrong, and lies between the last file and the offset
    other = dataclasses.replace(ROWS[40], apex=ROWS[40].frames + 3)
    # The offset lies before the last file
    early = dataclasses.replace(ROWS[43], apex=3, offset=ROWS[43].frames - 3)
    rows = [beyond, within, other, early, ROWS[41]]
    assert not {ROWS[40], ROWS[41], ROWS[43]} & set(WRONG)
    mmew_tree.write_tree(tmp_path / "copy", rows=rows)
    info, records = read_back("mmew", tmp_path / "copy", tmp_path / "data")
    for row in rows:
        record = records[id_of(row)]
        middle = (1 + row.frames) // 2
        apex = row.apex if row.apex <= row.frames else middle
        assert (record["apex"], record["offset"]) == (apex, row.frames)
        assert record["apex_estimated"] == (row.apex > row.frames)
        assert record["offset_estimated"] == (row in (*WRONG, early))
        assert frames_of(record)[1] == window(apex, row.frames)
    notes = [note for note in info.metadata["notes"] if "its files end at" in note]
    assert notes == [
        f"row {2 + place} ({id_of(row)}): the table has the apex {row.apex} and the "
        f"offset {row.offset}, but its files end at {row.frames}, which was used as "
        "the offset"
        for place, row in enumerate(rows[:4])
    ]


def test_labels_and_layouts_of_other_copies(tmp_path):
    # The table says repression, and folders are by subject and emotion.
    row = next(row for row in FEW if row.emotion == "others")
    renamed = dataclasses.replace(row, emotion="repression")
    mmew_tree.write_table(tmp_path / "copy" / mmew_tree.TABLE, [renamed, *FEW[:2]])
    root = tmp_path / "copy/MMEW/Micro_Expression"
    for one in (row, *FEW[:2]):
        mmew_tree.write_frames(root / f"S{one.subject:02d}", [one])
    info, records = read_back("mmew", tmp_path / "copy", tmp_path / "data")
    assert set(records) == set(map(id_of, (row, *FEW[:2])))
    label = records[id_of(row)]["emotion"]
    assert info.features["emotion"].names[label] == "others"


@pytest.mark.parametrize("subjects", [False, True])
def test_all_emotions_in_a_folder_with_an_unknown_name_are_read(tmp_path, subjects):
    # Two subjects, who are in the folders of most emotions
    rows = [r for r in ROWS if r.subject in (1, 2) and r.frames < 20][:12]
    options = prepare.Options(size=24, frames=4, window=8)
    mmew_tree.write_table(tmp_path / mmew_tree.TABLE, rows)
    root = tmp_path / "data/MMEW_micro"
    for row in rows:
        place = root / f"S{row.subject:02d}" if subjects else root
        mmew_tree.write_frames(place, [row])
    report = check.check("mmew", tmp_path, options=options)
    assert report.complete and report.records == report.rows == len(rows)
    assert len({row.emotion for row in rows}) > 3
    (note,) = report.notes
    assert note.startswith("data/MMEW_micro was read although its name is unknown")
    # In two folders, neither of which has all clips
    (tmp_path / "data/rest").mkdir()
    name = f"S{rows[0].subject:02d}" if subjects else rows[0].emotion
    (root / name).rename(tmp_path / "data/rest" / name)
    assert check.check("mmew", tmp_path, options=options).records == len(rows)


def test_missing_apex_and_frames(tmp_path):
    no_apex, gap, gone, extra = FEW[:4]
    rows = [dataclasses.replace(no_apex, apex=None), gap, gone]
    mmew_tree.write_tree(tmp_path / "copy", rows=rows)
    root = tmp_path / "copy" / ROOT
    mmew_tree.write_frames(root, [extra])
    shutil.rmtree(folder_of(root, gone))
    (folder_of(root, gap) / f"{gap.apex}.jpg").unlink()
    info, records = read_back("mmew", tmp_path / "copy", tmp_path / "data")
    assert set(records) == {id_of(no_apex), id_of(gap)}
    assert records[id_of(no_apex)]["apex_estimated"]
    assert records[id_of(no_apex)]["apex"] == (1 + no_apex.frames) // 2
    assert read_colours(records[id_of(gap)]["apex_frame"])[1] == gap.apex - 1
    left_out = {entry["clip"]: entry["reason"] for entry in info.metadata["left_out"]}
    assert left_out == {
        gone.clip: "there is no folder for it in Micro_Expression",
        extra.clip: "frames, but no row in the table",
    }
    assert not check.check("mmew", tmp_path / "copy").complete
