"""The builders of CAS(ME)^3, parts A and C, on generated copies."""

import collections
import dataclasses
import shutil

import pytest

from datasets import check, long_check, prepare
from tests.datasets import casme3_tree
from tests.datasets.casme3_tree import QUIRKS, RELEASES, ROWS, ROWS_C, SOME, id_of
from tests.datasets.reading import read_back
from tests.datasets.tree import RAW, read_colours, write_clip

SMALL = {"size": 24, "frames": 4, "window": 8, "crop": "none"}


@pytest.mark.parametrize("release", RELEASES)
def test_a_row_finds_its_frames_in_every_release(tmp_path, release):
    casme3_tree.write_tree(tmp_path / "copy", release=release, rows=SOME)
    info, records = read_back("casme3", tmp_path / "copy", tmp_path / "d", crop="none")
    assert info.metadata["left_out"] == []
    assert info.metadata["frame_rates"] == [30.0]
    assert set(records) == set(map(id_of, SOME))
    names = info.features["emotion"].names
    for row in SOME:
        record = records[id_of(row)]
        assert names[record["emotion"]] == row.emotion
        assert record["objective_class"] == int(row.objective_class or 0)
        found = record["onset"], record["apex"], record["offset"]
        assert found == (row.onset, row.apex, row.offset)
        assert not record["apex_estimated"] and not record["offset_estimated"]
        places, numbers = zip(*map(read_colours, record["clip"]), strict=True)
        assert set(places) == {casme3_tree.place_of(row)}
        wanted = range(row.apex - 16, row.apex + 16, 2)
        margin = 20 if release == "part_A" else 0
        first, last = max(1, row.onset - margin), row.offset + margin
        if absent := casme3_tree.missing(row) & set(range(first, last + 1)):
            assert not absent & set(numbers)
        else:
            assert list(numbers) == [min(max(n, first), last) for n in wanted]
    notes = [n for n in info.metadata["notes"] if "a known error" in n]
    assert len(notes) == 6
    for clip, sentence in (
        ("sub149/d_112", "the apex is 83 in the table, a known error; 160 was used"),
        ("sub216/d_2647", "the onset is 3647 in the table, a known error; 2647"),
        ("sub40/e_1812", "the offset is 0 in the table, a known error; 1845"),
        ("sub40/e_2327", "the offset is 0 in the table, a known error; 2403"),
        ("sub216/e_1", "the onset is 0 in the table, a known error; 1 was used"),
        ("sub216/e_1", "the apex is 0 in the table, a known error; 1 was used"),
    ):
        assert sum(clip in note and sentence in note for note in notes) == 1
    # The summary shows the first notes, which changes of the picture must not fill.
    of_clips = [n for n in info.metadata["notes"] if n.startswith("row ")]
    assert of_clips[:6] == notes
    changes = ["pixels change" in n or "grey levels" in n for n in of_clips]
    assert any(changes) and changes == sorted(changes)


@pytest.mark.slow
@pytest.mark.parametrize("release", RELEASES[:2])
def test_complete_part_a_has_the_published_counts(tmp_path, release):
    casme3_tree.write_tree(tmp_path, release=release)
    options = prepare.Options(**SMALL)
    report = check.check("casme3", tmp_path, options=options)
    assert report.complete and report.differences == []
    assert {e: n["records"] for e, n in report.emotions.items()} == casme3_tree.COUNTS
    assert len(report.subjects) == 94 and sum(report.subjects.values()) == 860
    (long,) = report.notes_by_kind["very long"]
    assert "sub214/c_5: onset to offset is 5 to 3460, 3456 frames" in long
    assert len(report.notes_by_kind["corrected"]) == 6
    assert not report.frames_without_row
    assert "apex estimated" not in report.notes_by_kind
    assert sum(row.apex == row.onset for row in ROWS) == 55


def test_a_wrong_number_is_corrected_only_where_the_table_has_it(tmp_path):
    right = [dataclasses.replace(row, written=()) for row in QUIRKS[:4]]
    casme3_tree.write_tree(tmp_path, rows=right)
    report = check.check("casme3", tmp_path, options=prepare.Options(**SMALL))
    assert report.records == 4 and "corrected" not in report.notes_by_kind


def test_a_row_without_frames_and_frames_without_a_row_are_reported(tmp_path):
    casme3_tree.write_tree(tmp_path, rows=ROWS[:6])
    casme3_tree.write_frames(tmp_path, rows=[ROWS[7]])
    frames = tmp_path / "Part_A_ME_clip/frame"
    shutil.rmtree(frames / f"spNO.{ROWS[0].subject}_{ROWS[0].clip}_{ROWS[0].onset}")
    report = check.check("casme3", tmp_path, options=prepare.Options(**SMALL))
    (entry,) = report.rows_without_record
    assert f"{entry['subject']}/{entry['clip']}" == id_of(ROWS[0])
    assert entry["reason"] == "there is no folder for it in frame"
    (entry,) = report.frames_without_row
    assert entry["clip"] == f"spNO.{ROWS[7].subject}_{ROWS[7].clip}_{ROWS[7].onset}"


def test_frames_beyond_a_gap_are_those_of_the_expression(tmp_path):
    row = casme3_tree.Row(1, "a", 355, 360, 372, "disgust")
    casme3_tree.write_tree(tmp_path / "copy", rows=[row])
    for number in range(362, 366):
        (frame,) = (tmp_path / "copy").rglob(f"{number}.jpg")
        frame.unlink()
    info, records = read_back("casme3", tmp_path / "copy", tmp_path / "d", crop="none")
    record = records[id_of(row)]
    assert [record[name] for name in ("onset", "apex", "offset")] == [355, 360, 372]
    assert {read_colours(frame)[1] for frame in record["clip"]} <= set(range(355, 362))
    (note,) = [note for note in info.metadata["notes"] if "beyond a gap" in note]
    assert note.endswith(
        "only frames 355 to 361, around the apex, were used; 7 others, 366 to 372, are "
        "beyond a gap of more than two numbers; onset to offset is 355 to 372"
    )


def test_a_clip_that_does_not_reach_the_onset_is_left_out(tmp_path):
    row = casme3_tree.Row(1, "a", 355, 360, 390, "disgust")
    casme3_tree.write_tree(tmp_path, rows=[row, ROWS[1]])
    for number in (*range(356, 360), *range(361, 365)):
        (frame,) = tmp_path.rglob(f"*{row.clip}*355*/{number}.jpg")
        frame.unlink()
    report = check.check("casme3", tmp_path, options=prepare.Options(**SMALL))
    (entry,) = report.rows_without_record
    assert entry["reason"] == (
        "onset to offset is 355 to 390; the frames around the apex, 360 to 360, do not "
        "reach the onset"
    )


def test_images_of_depth_are_not_read(tmp_path):
    casme3_tree.write_tree(tmp_path, release="part_A", rows=ROWS[:2])
    recording = tmp_path / f"part_A/spNO.{ROWS[0].subject}/{ROWS[0].clip}"
    names = {int(path.stem): path.name for path in (recording / "color").glob("*.jpg")}
    shutil.rmtree(recording / "color")
    write_clip(recording / "depth", 511, names, RAW)
    report = check.check("casme3", tmp_path, options=prepare.Options(**SMALL))
    (entry,) = report.rows_without_record
    assert f"{entry['subject']}/{entry['clip']}" == id_of(ROWS[0])
    assert entry["reason"] == "its folder contains no frames"
    assert report.records == 1 and not report.complete
    long = long_check.check("casme3", tmp_path)
    (problem,) = long.problems.pop("recordings that cannot be read")
    assert problem.startswith(f"sub{ROWS[0].subject:02d}/{ROWS[0].clip}: its folder")
    assert not long.problems and long.recordings == 1


def test_intervals_and_records_have_the_same_labels(tmp_path):
    rows = [next(r for r in ROWS if r.emotion == e) for e in casme3_tree.COUNTS]
    casme3_tree.write_tree(tmp_path / "data", release="part_A", rows=rows)
    # Names that only one of the two commands knew
    copy = (tmp_path / "data").rename(tmp_path / "copy")
    (copy / "part_A").rename(copy / "CASME3_part_A")
    (copy / casme3_tree.TABLE).rename(copy / "part_A_ME_JpgIndex_v2.xlsx")
    casme3_tree.write_table(copy, rows=rows[:2], table=casme3_tree.FIRST_TABLE)
    report = check.check("casme3", copy, options=prepare.Options(**SMALL))
    counts = {emotion: n["records"] for emotion, n in report.emotions.items()}
    long = long_check.check("casme3", copy)
    assert long.intervals["micro"] == counts == dict.fromkeys(counts, 1)


def test_the_second_table_is_preferred_to_the_first(tmp_path):
    casme3_tree.write_tree(tmp_path, rows=ROWS[:4])
    casme3_tree.write_table(tmp_path, rows=ROWS[:9], table=casme3_tree.FIRST_TABLE)
    options = prepare.Options(**SMALL)
    report = check.check("casme3", tmp_path, options=options)
    assert report.rows == 4 and casme3_tree.TABLE in report.table
    (tmp_path / casme3_tree.TABLE).unlink()
    assert check.check("casme3", tmp_path, options=options).rows == 9
    (tmp_path / casme3_tree.FIRST_TABLE).unlink()
    for version, number in (("v1", 4), ("v2", 9)):  # without JpgIndex
        name = f"cas(me)3_part_A_ME_label_{version}.xlsx"
        casme3_tree.write_table(tmp_path, rows=ROWS[:number], table=name)
    assert check.check("casme3", tmp_path, options=options).rows == 9


def test_expressions_of_a_recording_that_overlap_are_named(tmp_path):
    other = dataclasses.replace(ROWS[3], onset=ROWS[3].onset + 2)
    casme3_tree.write_tree(tmp_path, rows=[ROWS[3], other])
    report = check.check("casme3", tmp_path, options=prepare.Options(**SMALL))
    (note,) = [note for note in report.notes if "overlap" in note]
    assert f"the same clip, sub{ROWS[3].subject:02d}/{ROWS[3].clip}, and" in note


def test_an_objective_class_that_is_no_number_is_reported(tmp_path):
    rows = [dataclasses.replace(ROWS[3], objective_class="x")]
    casme3_tree.write_tree(tmp_path / "copy", rows=rows)
    info, records = read_back("casme3", tmp_path / "copy", tmp_path / "d", **SMALL)
    assert [record["objective_class"] for record in records.values()] == [0]
    assert any("class 'x' is unknown; 0 was used" in n for n in info.metadata["notes"])


def test_part_c(tmp_path):
    casme3_tree.write_tree_c(tmp_path / "copy")
    info, records = read_back("casme3_c", tmp_path / "copy", tmp_path / "d", **SMALL)
    assert info.metadata["left_out"] == [] and len(records) == 165
    names = info.features["emotion"].names
    found = collections.Counter(names[r["emotion"]] for r in records.values())
    assert found == casme3_tree.COUNTS_C
    assert len({record["subject"] for record in records.values()}) == 30
    for row in ROWS_C:
        record = records[f"sub{row.subject:02d}/a@{row.onset}"]
        middle = (row.onset + row.offset) // 2
        apex = 16 if middle == 17 else middle  # 17 is missing
        assert (record["apex"], record["apex_estimated"]) == (apex, True)
        assert read_colours(record["apex_frame"]) == (row.subject, apex)


def test_checks_of_both_parts_in_one_folder_exit_with_0(tmp_path, capsys):
    casme3_tree.write_tree(tmp_path, release="part_A", rows=ROWS[:12])
    casme3_tree.write_tree_c(tmp_path)
    options = prepare.Options(**SMALL)
    assert check.main("casme3", manual_dir=tmp_path, clip=options) == 0
    assert "12 of 12 expressions can become a record" in capsys.readouterr().out
    assert check.main("casme3_c", manual_dir=tmp_path, clip=options) == 0
    output = capsys.readouterr().out
    assert "165 of 165 expressions" in output and "instead of" not in output
