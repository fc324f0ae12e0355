"""Which frames are an expression's, where some lack or are numbered otherwise."""

import dataclasses

from tests.datasets import casme2_tree
from tests.datasets.casme2_tree import ROWS, id_of, read_colours
from tests.datasets.reading import read_back


def test_a_hole_of_two_frames_is_bridged_and_noted(tmp_path):
    row = ROWS[2]
    casme2_tree.write_tree(tmp_path / "copy", rows=[row])
    folder = tmp_path / "copy/Cropped" / id_of(row)
    for number in (row.apex - 2, row.apex - 1):
        (folder / f"reg_img{number}.jpg").unlink()
    info, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    numbers = [read_colours(frame)[1] for frame in records[id_of(row)]["clip"]]
    wanted = list(range(row.apex - 16, row.apex + 15, 2))
    wanted[7] = row.apex - 3  # the nearest to the one that is missing
    assert numbers == wanted
    (note,) = info.metadata["notes"]
    assert f"missing: {row.apex - 2}; the nearest frame was taken" in note


def test_a_copy_that_counts_from_one_with_a_frame_lost_is_not_guessed_at(tmp_path):
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
    assert "which is which cannot be told" in entry["reason"]


def test_an_expression_of_which_most_is_missing_is_left_out(tmp_path):
    rows = [ROWS[0], dataclasses.replace(ROWS[1], offset=999_999_999)]
    casme2_tree.write_table(tmp_path / "copy/CASME2-coding-20190701.xlsx", rows=rows)
    casme2_tree.write_frames(tmp_path / "copy", rows=ROWS[:2])
    info, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    assert set(records) == {id_of(ROWS[0])}
    (entry,) = info.metadata["left_out"]
    assert "999999999" in entry["reason"] and "of them are there" in entry["reason"]


def test_an_expression_with_every_third_frame_is_left_out(tmp_path):
    casme2_tree.write_tree(tmp_path / "copy", rows=ROWS[:2])
    folder = tmp_path / "copy/Cropped" / id_of(ROWS[0])
    for number in range(ROWS[0].onset, ROWS[0].offset + 1):
        if number % 3:
            for path in folder.glob(f"reg_img{number}.*"):
                path.unlink()
    info, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    assert set(records) == {id_of(ROWS[1])}
    (entry,) = info.metadata["left_out"]
    assert "of them are there" in entry["reason"]


def test_frames_of_one_expression_are_not_taken_for_another_of_its_clip(tmp_path):
    # The folder holds the first; numbered from 1 it looks like the second, moved.
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
        assert entry["row"] == 3 and "cannot be told" in entry["reason"]


def test_a_missing_offset_is_the_end_of_the_run_and_not_of_the_folder(tmp_path):
    row = dataclasses.replace(ROWS[0], onset=10, apex=20, offset=None)
    there = dataclasses.replace(ROWS[0], onset=10, offset=60)
    casme2_tree.write_frames(tmp_path / "copy", rows=[there])
    folder = tmp_path / "copy/Cropped" / id_of(row)
    for number in range(36, 50):
        (folder / f"reg_img{number}.jpg").unlink()
    casme2_tree.write_table(tmp_path / "copy/CASME2-coding-20190701.xlsx", rows=[row])
    _, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    (record,) = records.values()
    assert record["offset"] == 35 and record["offset_estimated"]


def test_a_double_in_another_case_is_one(tmp_path):
    casme2_tree.write_tree(tmp_path / "copy", rows=[ROWS[1]])
    upper = dataclasses.replace(ROWS[1], clip=ROWS[1].clip.upper())
    path = tmp_path / "copy/CASME2-coding-20190701.xlsx"
    casme2_tree.write_table(path, rows=[ROWS[1], upper])
    info, records = read_back("casme2", tmp_path / "copy", tmp_path / "data")
    assert len(records) == 1
    (entry,) = info.metadata["left_out"]
    assert entry["row"] == 3 and "row 2 has the same" in entry["reason"]
