"""Tables as copies have them: every row is read as meant, or said to be unreadable."""

import csv

import openpyxl
import pytest

from datasets import DataError
from datasets.annotations import canonical_subject, find_tables, read_table
from tests.datasets.casme2_tree import ROWS, write_table

HEADERS = {
    "subject": "Subject",
    "clip": "Filename",
    "onset": "OnsetFrame",
    "apex": "ApexFrame",
    "offset": "OffsetFrame",
    "action_units": "Action Units",
    "emotion": "Estimated Emotion",
}
COLUMNS = list(HEADERS.values())


def save(path, *rows, title="Sheet1"):
    book = openpyxl.Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


@pytest.mark.parametrize(
    "written", [1, 1.0, "1", "01", "1.0", "sub01", "Sub1", "s1", "S01", " 001 "]
)
def test_a_subject_is_known_however_it_is_written(written):
    assert canonical_subject(written) == "sub01"


@pytest.mark.parametrize("written", ["", None, "/", -1, "-1", 1.5, "EP01", "sub", True])
def test_what_is_no_subject_is_not_taken_for_one(written):
    assert canonical_subject(written) is None


def test_the_real_form_of_the_table(tmp_path):
    write_table(tmp_path / "table.xlsx")
    table = read_table(tmp_path / "table.xlsx", HEADERS)
    assert table.sheet == "Sheet1" and not table.left_out
    assert [
        (r.subject, r.clip, r.onset, r.apex, r.offset, r.emotion, r.action_units)
        for r in table.rows
    ] == [
        (
            f"sub{r.subject:02d}",
            r.clip,
            r.onset,
            r.apex,
            r.offset,
            r.emotions[1],
            str(r.action_units),
        )
        for r in ROWS
    ]
    # As a spreadsheet program counts: the header is row 1.
    assert [row.number for row in table.rows] == list(range(2, len(ROWS) + 2))


def test_headers_are_found_in_any_order_case_and_place(tmp_path):
    path = save(
        tmp_path / "table.xlsx",
        ["Coding of the expressions"],
        [],
        ["Unnamed: 0", "estimated emotion ", None, "OFFSETFRAME", "Apex Frame"]
        + ["onset_frame", "FileName", "subject", "Action units", "Objective Classes"],
        [0, " Disgust ", None, 30, 20, 10, "EP09_9", 7, 4, 3],
    )
    (row,) = read_table(path, HEADERS).rows
    assert (row.number, row.subject, row.clip) == (4, "sub07", "EP09_9")
    assert (row.onset, row.apex, row.offset) == (10, 20, 30)
    assert (row.emotion, row.action_units) == ("disgust", "4")


def test_the_sheet_with_the_columns_is_taken(tmp_path):
    path = save(tmp_path / "table.xlsx", ["how to read this"], title="notes")
    book = openpyxl.load_workbook(path)
    sheet = book.create_sheet("coding")
    sheet.append(COLUMNS)
    sheet.append(["01", "EP09_9", 10, 20, 30, "4", "fear"])
    book.save(path)
    table = read_table(path, HEADERS)
    assert table.sheet == "coding" and len(table.rows) == 1


@pytest.mark.parametrize(
    "missing", ["/", "\\", None, "", " ", "NULL", "null", "nan", "remake", -1, "-1"]
)
def test_markers_of_a_missing_apex(tmp_path, missing):
    path = save(
        tmp_path / "table.xlsx",
        COLUMNS,
        ["01", "EP09_9", 10, missing, 30, "4", "fear"],
    )
    (row,) = read_table(path, HEADERS).rows
    assert row.apex is None


@pytest.mark.parametrize(
    "cells, reason",
    [
        (["x", "EP09_9", 10, 20, 30, "4", "fear"], "subject 'x'"),
        ([1, None, 10, 20, 30, "4", "fear"], "no clip"),
        ([1, "EP09_9", "/", 20, 30, "4", "fear"], "onset is missing"),
        ([1, "EP09_9", 10, 20, None, "4", "fear"], "offset is missing"),
        ([1, "EP09_9", 10, "20?", 30, "4", "fear"], "'20?' is not a frame number"),
        ([1, "EP09_9", 10.5, 20, 30, "4", "fear"], "'10.5' is not a frame number"),
        ([1, "EP09_9", 10, 20, 1e30, "4", "fear"], "is not a frame number"),
        ([1, "EP09_9", 10, 20, 9, "4", "fear"], "offset 9 lies before the onset 10"),
    ],
)
def test_a_row_that_cannot_be_read_is_reported_and_alone(tmp_path, cells, reason):
    good = ["02", "EP09_8", 10, 20, 30, "4", "fear"]
    path = save(tmp_path / "table.xlsx", COLUMNS, good, cells, [], good)
    table = read_table(path, HEADERS)
    assert [row.number for row in table.rows] == [2, 5]
    (entry,) = table.left_out
    assert entry.row == 3 and reason in entry.reason


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_csv_reads_like_the_spreadsheet(tmp_path, delimiter):
    write_table(tmp_path / "table.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "table.xlsx").active
    path = tmp_path / "table.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(sheet.values)
    assert (
        read_table(path, HEADERS).rows
        == read_table(tmp_path / "table.xlsx", HEADERS).rows
    )


def test_absent_columns_are_named_with_what_was_found(tmp_path):
    path = save(tmp_path / "table.xlsx", ["Subject", None, "Filename", "Onset"], [1])
    with pytest.raises(DataError) as error:
        read_table(path, HEADERS)
    message = str(error.value)
    assert str(path) in message and "'Sheet1'" in message
    assert "Subject, Filename, Onset." in message
    assert all(column in message for column in COLUMNS)


@pytest.mark.parametrize("name", ["table.xlsx", "table.xls", "table.csv"])
def test_a_file_that_is_no_table_says_so(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xff\xfe\x00 no table")
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / name, HEADERS)


def test_a_spreadsheet_is_read_by_its_content_not_its_suffix(tmp_path):
    write_table(tmp_path / "table.xlsx")
    renamed = (tmp_path / "table.xlsx").rename(tmp_path / "table.xls")
    assert len(read_table(renamed, HEADERS).rows) == len(ROWS)


def test_tables_are_found_in_folders_but_not_among_frames_or_junk(tmp_path):
    for name in ("b.csv", "a/b/c/deep.XLSX", "~$b.xlsx", "._b.xlsx", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("sub01/in_frames.csv", "__MACOSX/b.xlsx", "a/b/c/d/too_deep.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a/back").symlink_to(tmp_path)
    assert find_tables(tmp_path) == [tmp_path / "b.csv", tmp_path / "a/b/c/deep.XLSX"]
