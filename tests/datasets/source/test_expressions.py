"""Frames of an expression if some are missing or numbered differently."""

import dataclasses

from tests.datasets import casme2_tree
from tests.datasets.casme2_tree import ROWS, id_of, read_colours
from tests.datasets.reading import read_back


def test_gap_of_two_frames_is_bridged_and_noted(tmp_path):
    row = ROWS[2]
    casme2_tree.write_tree(tmp_path / "copy", rows=[row])
    folder = tmp_path / "copy/Cropped" / id_of(row)
    for number in (row.apex - 2, row.apex - 1):
        (folder / f"reg_img{number}.jpg").unlink()
    info, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    numbers = [read_colours(frame)[1] for frame in records[id_of(row)]["clip"]]
    wanted = list(range(row.apex - 16, row.apex + 15, 2))
    wanted[7] = row.apex - 3  # the nearest to the missing frame
    assert numbers == wanted
    note = info.metadata["notes"][0]
    assert f"missing: {row.apex - 2}; the nearest frame was used" in note


def test_nearest_frame_replaces_missing_onset_and_apex_frames(tmp_path):
    row = ROWS[2]
    casme2_tree.write_tree(tmp_path / "copy", rows=[row])
    folder = tmp_path / "copy/Cropped" / id_of(row)
    for number in (row.onset, row.onset + 1, row.apex):
        for path in folder.glob(f"reg_img{number}.*"):
            path.unlink()
    info, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    record = records[id_of(row)]
    assert (record["onset"], record["apex"]) == (row.onset, row.apex)
    assert read_colours(record["onset_frame"])[1] == row.onset + 2
    assert read_colours(record["apex_frame"])[1] == row.apex - 1
    notes = "\n".join(info.metadata["notes"])
    assert f"missing: {row.onset}, {row.apex}; the nearest frame was used" in notes


def test_files_numbered_from_1_with_a_missing_frame_are_left_out(tmp_path):
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
    assert "cannot be matched to frame numbers" in entry["reason"]


def test_expression_with_most_frames_missing_is_left_out(tmp_path):
    rows = [ROWS[0], dataclasses.replace(ROWS[1], offset=999_999_999)]
    casme2_tree.write_table(tmp_path / "copy/CASME2-coding-20190701.xlsx", rows=rows)
    casme2_tree.write_frames(tmp_path / "copy", rows=ROWS[:2])
    info, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    assert set(records) == {id_of(ROWS[0])}
    (entry,) = info.metadata["left_out"]
    assert "999999999" in entry["reason"] and "of them exist" in entry["reason"]


def test_expression_with_every_third_frame_is_left_out(tmp_path):
    casme2_tree.write_tree(tmp_path / "copy", rows=ROWS[:2])
    folder = tmp_path / "copy/Cropped" / id_of(ROWS[0])
    for number in range(ROWS[0].onset, ROWS[0].offset + 1):
        if number % 3:
            for path in folder.glob(f"reg_img{number}.*"):
                path.unlink()
    info, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    assert set(records) == {id_of(ROWS[1])}
    (entry,) = info.metadata["left_out"]
    assert "of them exist" in entry["reason"]


def test_frames_of_another_expression_of_the_clip_are_not_used(tmp_path):
    # The folder contains the first; numbered from 1, it resembles the shifted second.
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
        assert entry["row"] == 3 and "cannot be matched" in entry["reason"]


def test_missing_offset_is_the_end_of_the_contiguous_run(tmp_path):
    row = dataclasses.replace(ROWS[0], onset=10, apex=20, offset=None)
    on_disk = dataclasses.replace(ROWS[0], onset=10, offset=60)
    casme2_tree.write_frames(tmp_path / "copy", rows=[on_disk])
    folder = tmp_path / "copy/Cropped" / id_of(row)
    for number in range(36, 50):
        (folder / f"reg_img{number}.jpg").unlink()
    casme2_tree.write_table(tmp_path / "copy/CASME2-coding-20190701.xlsx", rows=[row])
    _, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    (record,) = records.values()
    assert record["offset"] == 35 and record["offset_estimated"]


def test_duplicate_row_in_another_case_is_left_out(tmp_path):
    casme2_tree.write_tree(tmp_path / "copy", rows=[ROWS[1]])
    upper = dataclasses.replace(ROWS[1], clip=ROWS[1].clip.upper())
    path = tmp_path / "copy/CASME2-coding-20190701.xlsx"
    casme2_tree.write_table(path, rows=[ROWS[1], upper])
    info, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    assert len(records) == 1
    (entry,) = info.metadata["left_out"]
    assert entry["row"] == 3 and "row 2 has the same" in entry["reason"]
