"""``python -m datasets.check NAME --long`` on generated copies of long recordings."""

import dataclasses
import json
import os
import shutil
import weakref

import pytest

from datasets import DataError, long_check, spotting_recordings
from datasets.check import main
from datasets.prepare import Options
from datasets.source import long_recordings
from datasets.source.long_copy import open_long_recordings
from meranet_jax.video import frames
from tests.datasets import casme3_tree, samm_tree
from tests.datasets.long_trees import NAMES, TABLES, rows_of, write_copy, write_table
from tests.datasets.tree import RAW, frame_image, touch, write_video

COUNTS = {
    "cas_me_2": (98, 95, {"micro": 57, "macro": 300}),
    "casme3": (None, None, {"micro": 860}),
    "samm": (147, 147, {"micro": 159, "macro": 343}),
    "smic": (157, 157, {"micro": 166}),
}


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """Complete copies by name, which no test changes."""
    folder = tmp_path_factory.mktemp("copies")
    return {name: write_copy(folder / name, name) for name in NAMES}


@pytest.fixture
def copy_of(tmp_path, copies):
    """Returns a function that makes a copy to be changed, with links for its frames."""

    def make(name, rows=None):
        folder = tmp_path / name
        shutil.copytree(copies[name], folder, copy_function=os.link)
        if rows is not None:
            (folder / TABLES[name]).unlink()
            write_table(folder, name, rows)
        return folder

    return make


def places(report, kind):
    return [entry.partition(": ")[0] for entry in report.problems.get(kind, ())]


@pytest.mark.parametrize("name", NAMES)
def test_complete_copy_has_the_published_numbers(copies, name):
    report = long_check.check(name, copies[name])
    recordings, labelled, intervals = COUNTS[name]
    assert report.problems == {} and report.differences == [] and report.complete
    found = {kind: sum(n.values()) for kind, n in report.intervals.items()}
    assert found == intervals == report.published
    assert recordings in (None, report.recordings) and labelled in (
        None,
        report.labelled,
    )
    assert report.frames_read == 2 * report.recordings
    text = long_check.describe(report)
    assert "problems: none" in text and "nothing is missing" in text


def test_cas_me_2_has_recordings_without_a_row_and_missing_offsets(copies):
    report = long_check.check("cas_me_2", copies["cas_me_2"])
    assert len(report.noted["recordings without an interval"]) == 3
    assert len(report.noted["offset missing"]) == 44
    assert report.intervals["micro"] == report.published_emotions["micro"]
    assert report.subjects["sub23"] == 5  # one of them in the folder of s19
    assert report.seconds["most"] == pytest.approx(40 / 30)


def samm_rows(rows, shifted):
    """Rows of SAMM's table for the micro-expressions of a table of SAMM Long Videos.

    The numbers of the first ``shifted`` recordings are greater by 2000.
    """
    recordings = list(dict.fromkeys(row[1].rpartition("_")[0] for row in rows))
    return [
        dataclasses.replace(
            samm_tree.ROWS[0],
            subject=int(subject),
            clip=clip,
            onset=onset + shift,
            apex=onset + shift + 4,
            offset=offset + shift,
        )
        for subject, clip, _, onset, _, offset, _, kind, *_ in rows
        if kind.startswith("Micro")
        for shift in [2000 * (recordings.index(clip.rpartition("_")[0]) < shifted)]
    ]


def test_recordings_of_samm_whose_numbers_restart_are_named(copy_of):
    folder = copy_of("samm")
    samm_tree.write_table(
        folder / samm_tree.TABLES[0], samm_rows(rows_of("samm"), shifted=43)
    )
    report = long_check.check("samm", folder)
    assert report.remarks == [
        "the frame numbers of 43 of 79 recordings with micro-expressions are not those "
        f"of {samm_tree.TABLES[0]}, sheet MICRO_ONLY"
    ]
    noted = report.noted["other frame numbers"]
    assert len(noted) == 43
    assert "sub06/006_1: onsets differ by -2000 from those of SAMM" in noted
    # The table of long recordings is read, and its numbers are those of the frames.
    assert report.complete and "V3_Release" in report.table


def test_frames_of_one_recording_at_a_time_are_kept(tmp_path, monkeypatch):
    rows = rows_of("samm")[:6]
    write_table(tmp_path, "samm", rows)
    for clip in (row[1].rpartition("_")[0] for row in rows):
        touch(tmp_path / f"SAMM_longvideos/{clip}", f"{clip}_1.jpg", f"{clip}_2.jpg")
    listed, alive = [], []

    def list_recording(*arguments):
        found = frames.list_recording(*arguments)
        listed.append(weakref.ref(found))
        alive.append(sum(one() is not None for one in listed))
        return found

    monkeypatch.setattr(long_recordings, "list_recording", list_recording)
    report = long_check.check("samm", tmp_path, workers=1)
    assert report.recordings == len(listed) == 6 and max(alive) <= 2


def test_known_errors_of_casme3_are_corrected_and_named(copies):
    report = long_check.check("casme3", copies["casme3"])
    corrected = report.noted["corrected"]
    assert len(corrected) == 6
    assert any(
        "sub216/d" in one and "2647 was used" in one and "v2.xls" in one
        for one in corrected
    )
    # spNO.214/c is not corrected.
    (long,) = report.noted["very long"]
    assert "sub214/c" in long and "115.2 s" in long
    assert len(report.noted["gaps in the frame numbers"]) == report.recordings
    assert "recordings without an interval" in report.noted


def test_known_errors_of_smic_are_named(copies):
    report = long_check.check("smic", copies["smic"])
    corrected = "\n".join(report.noted["corrected"])
    for text in (
        "s18_sur_03: the emotion is negative in the table, a known error; surprise",
        "s1_ne_03: LastF is 175050, before the onset 175105, a known error",
        "s3_ne_20: FirstF is 'image175200', a known error",
        "s9_sur_01: the third interval is the second again, a known error",
        "s18_po_01: Onset3F is '175400.9x', a known error",
        "s20_ne_01: Onset3F is '175500.9x', a known error",
    ):
        assert text in corrected
    assert len(report.noted["corrected"]) == 6
    assert report.without_apex == 166 and "other frames" not in str(report.noted)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({7: "x"}, "Onset3F: 'x' is not a frame number"),
        ({7: 175640}, "Offset3F is missing, and Onset3F is 175640"),
        ({8: 175640}, "Onset3F is missing, and Offset3F is 175640"),
        ({7: 175640, 8: 175630}, "Offset3F, 175630, lies before Onset3F, 175640"),
        ({7: 175605, 8: 175614}, "the interval is that of row 8"),
        ({16: "joy"}, "emotion 'joy' is not an emotion of SMIC-E"),
    ],
)
def test_other_errors_of_smic_are_problems(copy_of, cells, reason):
    rows = rows_of("smic")
    assert rows[6][3] == 175605
    for column, cell in cells.items():
        rows[6][column] = cell
    report = long_check.check("smic", copy_of("smic", rows))
    (entry,) = report.problems["rows that cannot be read"]
    assert entry.startswith("row 8 of SMIC-HS-E_annotation.xlsx") and reason in entry
    assert not report.complete


def test_missing_and_unknown_recordings_are_named(copy_of):
    folder = copy_of("samm")
    shutil.rmtree(folder / "SAMM_longvideos/006_1")
    (folder / "SAMM_longvideos/007_1").rename(folder / "SAMM_longvideos/090_1")
    report = long_check.check("samm", folder)
    found = set(
        place.split(", ")[1] for place in places(report, "rows without a recording")
    )
    assert {one.rpartition("_")[0] for one in found} == {"sub06/006_1", "sub07/007_1"}
    (unknown,) = report.noted["recordings without an interval"]
    assert unknown.startswith("sub90/090_1") and not report.complete
    # Without SAMM's own table
    assert any("of published recordings restart" in one for one in report.remarks)
    assert "other frame numbers" not in report.noted
    assert "recordings: 146 instead of 147" in report.differences


def test_intervals_must_lie_in_the_frames(copy_of):
    rows = rows_of("samm")
    rows[0][3:6] = [55, -1, 75]
    rows[1][4] = 50
    folder = copy_of("samm", rows)
    for number in range(20, 31):
        (folder / f"SAMM_longvideos/008_1/008_1_{number:04d}.jpg").unlink()
    report = long_check.check("samm", folder)
    (outside,) = report.problems["intervals outside of the frames"]
    assert "sub06/006_1_0: frames 55 to 75" in outside and "are 1 to 60" in outside
    (apex,) = report.noted["apex outside its interval"]
    assert "row 12, sub07" in apex
    (gap,) = report.noted["gaps in the frame numbers"]
    assert "11 frames are missing in 1 gaps; the longest is between 19 and 31" in gap
    missing = report.noted["frames of intervals missing"]
    assert all("sub08/008_1" in entry for entry in missing)


def test_ends_of_recordings_are_decoded(copy_of):
    folder = copy_of("smic")
    path = folder / "HS_long/SMIC-HS-E/s18/s18_sur_03/image175059.jpg"
    path.unlink()
    path.write_bytes(b"<html>")
    for image in (folder / "HS_long/SMIC-HS-E/s01/s1_ne_03").iterdir():
        image.unlink()
    report = long_check.check("smic", folder)
    (entry,) = report.problems["frames that cannot be read"]
    assert "sub18/s18_sur_03: image175059.jpg cannot be read" in entry
    assert places(report, "recordings that cannot be read") == ["sub01/s1_ne_03"]


def test_truncated_recording_is_compared_with_the_table(copy_of):
    folder = copy_of("smic")
    (folder / "HS_long/SMIC-HS-E/s18/s18_sur_03/image175000.jpg").unlink()
    report = long_check.check("smic", folder)
    (entry,) = report.noted["other frames than in the table"]
    assert "the table gives frames 175000 to 175059; found are 175001" in entry


def test_videos_are_read(tmp_path):
    images = [frame_image(1, number, RAW) for number in range(1, 41)]
    row = next(row for row in rows_of("cas_me_2") if row[:2] == [7, "happy1_1"])
    write_table(tmp_path, "cas_me_2", [row, [3, *row[1:]]])  # subjects 23 and 19
    write_video(tmp_path / "rawvideo/s23/23_0502funny.avi", images)
    report = long_check.check("cas_me_2", tmp_path)
    assert report.frames["all"] == 40 and report.frames_read == 2
    assert len(places(report, "rows without a recording")) == 1
    listed = spotting_recordings.licensed("cas_me_2", tmp_path)
    (recording,) = listed.recordings
    opened = recording.open(tmp_path)
    # A video has its own frame rate, by which its frames are numbered.
    assert opened.rate is None and opened.frame_rate == 30
    assert opened.first == 1 and opened.seconds == pytest.approx(40 / 30)
    (note,) = (one for one in listed.notes if "rows without a recording" in one)
    assert "sub19" in note


def test_recordings_for_spotting_have_the_intervals_of_the_table(copies, tmp_path):
    listed = spotting_recordings.licensed("cas_me_2", copies["cas_me_2"])
    assert len(listed.recordings) == 98 and all(
        one.group == "cas_me_2" for one in listed.recordings
    )
    assert any("without an offset in the table: 44." in n for n in listed.notes)
    opened = [one.open(tmp_path) for one in listed.recordings]
    intervals = [interval for one in opened for interval in one.intervals]
    micro = [one.label for one in intervals if one.kind == "micro"]
    assert len(intervals) == 357 and micro.count("surprise") == 9
    lengths = [one.offset - one.onset for one in intervals]
    # Those without an offset end at the apex.
    assert lengths.count(7) == 357 - 44 and lengths.count(3) == 44
    assert {(one.first, one.rate, one.frame_rate) for one in opened} == {(1, 30, 30)}
    recordings = spotting_recordings.licensed("smic", copies["smic"]).recordings
    (one,) = (one for one in recordings if one.name == "sub18/s18_sur_03")
    opened = one.open(tmp_path)
    assert (opened.first, opened.rate, opened.seconds) == (175000, 100, 0.6)
    (interval,) = opened.intervals
    assert (interval.onset, interval.offset) == (175005, 175014)
    assert interval.label == "surprise" and one.labelled
    recordings = spotting_recordings.licensed("samm", copies["samm"]).recordings
    assert len(recordings) == 147 and not any(one.labelled for one in recordings)


def test_numbers_that_may_not_be_those_of_frames_are_not_scored(tmp_path):
    rows = rows_of("samm")[:1]
    rows[0][3:6] = [8, -1, 12]
    write_table(tmp_path, "samm", rows)
    folder = tmp_path / "SAMM_longvideos/006_1"
    # Only the first column has these numbers, but the last would be read as frames.
    touch(folder, *(f"006_1_{4 * n:04d}_{n}.jpg" for n in range(1, 6)))
    (recording,) = spotting_recordings.licensed("samm", tmp_path).recordings
    with pytest.raises(DataError, match="sub06/006_1 have several numbers"):
        recording.open(tmp_path)


def test_exit_code_and_json(copies, copy_of, capsys):
    assert main("smic", manual_dir=copies["smic"], long=True, json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["whole"] is True and report["published"] == {"micro": 166}
    assert main("smic", manual_dir=copy_of("smic", rows_of("smic")[1:]), long=True) == 1
    text = capsys.readouterr().out
    assert "micro-expressions: 165 instead of 166" in text
    assert "Incomplete: fewer than published." in text


def test_flags_of_clips_are_refused(copies):
    with pytest.raises(DataError, match="--frames, --crop cannot be combined with"):
        options = Options(frames=8, crop="none")
        main("smic", manual_dir=copies["smic"], long=True, clip=options)
    with pytest.raises(DataError, match="--sheet shows clips"):
        main("smic", manual_dir=copies["smic"], long=True, sheet="x.png")
    with pytest.raises(DataError, match="There is no table none.xlsx"):
        long_check.check("smic", copies["smic"], options=Options(table=("none.xlsx",)))


def test_data_sets_without_long_recordings_are_refused(tmp_path):
    with pytest.raises(DataError, match="for cas_me_2, casme3, samm, smic"):
        long_check.check("casme2", tmp_path)
    # Nothing internal is named.
    with pytest.raises(DataError, match="Leave out --long to check its clips.$"):
        long_check.check("casme2", tmp_path)
    with pytest.raises(DataError, match="is empty.\n.*SMIC-E"):
        long_check.check("smic", tmp_path)


def test_folders_of_depth_are_no_examples_of_frames(tmp_path):
    casme3_tree.write_tree(tmp_path, rows=casme3_tree.ROWS[:2])
    with pytest.raises(DataError) as refused:
        long_check.check("casme3", tmp_path)
    message = str(refused.value)
    assert "for example: Part_A_ME_clip/frame/spNO." in message
    assert "/depth" not in message


def test_a_table_without_its_apexes_is_incomplete(tmp_path):
    rows = [[*row[:4], None, *row[5:]] for row in rows_of("samm")[:2]]
    write_table(tmp_path, "samm", rows)
    for clip in (row[1].rpartition("_")[0] for row in rows):
        touch(tmp_path / f"SAMM_longvideos/{clip}", f"{clip}_1.jpg", f"{clip}_2.jpg")
    copy = open_long_recordings(long_check.specification_of("samm"), tmp_path)
    (found,) = [p for p in copy.problems if p.kind == "columns that are missing"]
    assert "the column of the apex" in found.text and "in any of 2 rows" in found.text
