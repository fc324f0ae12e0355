"""The SAMM builder on generated copies of every release and table."""

import collections
import dataclasses
import shutil

import openpyxl
import pytest

from datasets import DataError, check
from datasets.source.objective_class import parse_objective_class
from tests.datasets import samm_tree
from tests.datasets.reading import read_back
from tests.datasets.samm_tree import RELEASES, ROWS, TABLES, WRONG, id_of
from tests.datasets.tree import read_greys

FEW = (*ROWS[:8], *WRONG)


def crop(release):
    return "provided" if "CROP" in release else "none"


@pytest.mark.parametrize(
    ("release", "table"), [*zip(RELEASES, TABLES, strict=True), ("SAMM", TABLES[0])]
)
def test_records_of_every_release(tmp_path, release, table):
    samm_tree.write_tree(tmp_path / "copy", release=release, table=table, rows=FEW)
    info, records = read_back(
        "samm", tmp_path / "copy", tmp_path / "data", crop=crop(release)
    )
    assert info.metadata["left_out"] == []
    assert info.metadata["table"] == f"{table}, sheet MICRO_ONLY"
    assert info.metadata["release"] == f"{release}, in {release}"
    assert set(records) == set(map(id_of, FEW))
    emotions = info.features["emotion"].names
    for row in FEW:
        record = records[id_of(row)]
        apex = row.right_apex or row.apex
        label = row.emotion.lower().replace("other", "others")
        assert emotions[record["emotion"]] == label
        assert record["subject"].decode() == f"sub{row.subject:02d}"
        assert (record["onset"], record["apex"]) == (row.onset, apex)
        assert record["offset"] == row.offset and not record["apex_estimated"]
        assert record["action_units"].decode() == str(row.action_units)
        assert record["objective_class"] == row.objective_class
        assert record["inducement_code"].decode() == str(1 + row.subject % 7)
        assert record["notes"].decode() == ("a note" if row.subject == 6 else "")
        assert record["frame_rate"] == 200
        clips, numbers = zip(*map(read_greys, record["clip"]), strict=True)
        assert set(clips) == {samm_tree.place_of(row)}
        assert list(numbers) == [
            min(max(apex - 16 + 2 * k, row.onset), row.offset) for k in range(16)
        ]


def test_complete_copy_has_the_published_counts(tmp_path):
    samm_tree.write_tree(tmp_path)
    report = check.check("samm", tmp_path)
    assert report.complete and report.differences == []
    assert report.rows == report.records == 159 and len(report.subjects) == 29
    published = {
        "anger": 57,
        "happiness": 26,
        "others": 26,
        "surprise": 15,
        "contempt": 12,
        "disgust": 9,
        "fear": 8,
        "sadness": 6,
    }
    assert report.published_counts == {"the published table": published}
    assert {e: f["records"] for e, f in report.emotions.items()} == published
    assert report.lengths["least"] == 8 and report.lengths["most"] == 101
    assert report.frames_without_row == []
    assert len(report.notes_by_kind["corrected"]) == 2
    assert "Every row can become a record" in check.describe(report)


def test_wrong_apexes_of_the_published_table_are_corrected_by_their_key(tmp_path):
    # The same clip with another onset, and a table that is right already
    first, second = WRONG
    rows = [
        dataclasses.replace(first, onset=1072),
        dataclasses.replace(second, apex=4931),
    ]
    samm_tree.write_tree(tmp_path / "copy", rows=rows)
    info, records = read_back("samm", tmp_path / "copy", tmp_path / "data")
    assert records[id_of(first)]["apex_estimated"]
    assert records[id_of(first)]["apex"] == (1072 + 1134) // 2
    assert records[id_of(second)]["apex"] == 4931
    assert not any("known error" in note for note in info.metadata["notes"])

    samm_tree.write_tree(tmp_path / "published", rows=WRONG[::-1])
    info, records = read_back("samm", tmp_path / "published", tmp_path / "data2")
    assert [records[id_of(row)]["apex"] for row in WRONG] == [1113, 4930]
    assert info.metadata["notes"][0].startswith(
        f"row 15 ({id_of(second)}): the apex is 1930 in the table, a known error; 4930 "
        "was used"
    )


def test_missing_apex_and_frames(tmp_path):
    no_apex, gap, gone, extra = FEW[2:6]
    rows = [dataclasses.replace(no_apex, apex=-1), gap, gone]
    samm_tree.write_tree(tmp_path / "copy", rows=rows)
    samm_tree.write_frames(tmp_path / "copy/SAMM_CROP", [extra])
    root = tmp_path / "copy/SAMM_CROP"
    shutil.rmtree(root / f"{gone.subject:03d}" / gone.clip)
    (missing,) = (root / f"{gap.subject:03d}" / gap.clip).glob(f"*{gap.apex}.jpg")
    missing.unlink()
    info, records = read_back("samm", tmp_path / "copy", tmp_path / "data")
    assert set(records) == {id_of(no_apex), id_of(gap)}
    estimated = records[id_of(no_apex)]
    assert estimated["apex_estimated"]
    assert estimated["apex"] == (no_apex.onset + no_apex.offset) // 2
    _, number = read_greys(records[id_of(gap)]["apex_frame"])
    assert number == gap.apex - 1
    left_out = {entry["clip"]: entry["reason"] for entry in info.metadata["left_out"]}
    assert left_out == {
        gone.clip: "there is no folder for it in SAMM_CROP",
        extra.clip: "frames, but no row in the table",
    }
    notes = " ".join(info.metadata["notes"])
    assert "no apex is given; the middle" in notes
    assert f"missing: {gap.apex}; the nearest frame was used" in notes
    assert not check.check("samm", tmp_path / "copy").complete


@pytest.mark.parametrize("name", ["SAMM", "SAMM (2)/SAMM"])
def test_folder_of_all_releases_may_be_called_as_the_raw_one(tmp_path, name):
    manual_dir = tmp_path / "faces" / name
    samm_tree.write_tree(manual_dir, release="pictures", rows=FEW[2:5])
    info, _ = read_back("samm", manual_dir, tmp_path / "data")
    assert info.metadata["crop"] == "provided"  # by the size of the frames
    assert "pictures was read although" in " ".join(info.metadata["notes"])

    manual_dir = tmp_path / "raw" / name
    samm_tree.write_tree(manual_dir, release="SAMM", rows=FEW[2:5])
    info, _ = read_back("samm", manual_dir, tmp_path / "data", crop="none")
    assert info.metadata["release"] == "SAMM, in SAMM"


def test_table_of_long_videos_is_not_read(tmp_path):
    samm_tree.write_tree(tmp_path, rows=FEW[:3])
    (tmp_path / TABLES[0]).rename(tmp_path / "SAMM_LongVideos_V3_Release.xlsx")
    book = openpyxl.load_workbook(tmp_path / "SAMM_LongVideos_V3_Release.xlsx")
    book.active.delete_cols(10)  # the emotion
    book.save(tmp_path / "SAMM_LongVideos_V3_Release.xlsx")
    with pytest.raises(DataError, match="No table of SAMM was found"):
        check.check("samm", tmp_path)


def test_objective_classes(tmp_path):
    classes = {"7": 7, "VI": 6, "1?": 1, "class iii": 3, "Class-2": 2, "class 5": 5}
    missing = ("", "/", "0", "0.0", "-1", "-1.0", "class -1", "-")
    for cell, number in {**classes, **dict.fromkeys(missing, 0)}.items():
        assert parse_objective_class(cell) == number, cell
    for cell in ("5-", "8", "9", "-2", "1 2", "4/5"):
        with pytest.raises(DataError, match="must be from 1 to 7, or blank"):
            parse_objective_class(cell)
    counts = collections.Counter(row.objective_class for row in ROWS)
    assert counts == {7: 84, 1: 24, 3: 20, 2: 13, 4: 8, 6: 7, 5: 3}
    wrong = dataclasses.replace(FEW[3], objective_class=9)
    rows = [FEW[2], wrong, dataclasses.replace(FEW[4], objective_class=None)]
    samm_tree.write_tree(tmp_path / "copy", rows=rows)
    info, records = read_back("samm", tmp_path / "copy", tmp_path / "data")
    assert info.metadata["left_out"] == []
    found = [records[id_of(row)]["objective_class"] for row in rows]
    assert found == [FEW[2].objective_class, 0, 0]
    (note,) = [n for n in info.metadata["notes"] if "objective class" in n]
    assert note.endswith(
        f"({id_of(wrong)}): the objective class '9' is unknown; 0 was used"
    )
