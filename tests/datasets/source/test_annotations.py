"""Annotation tables in many forms: each row is parsed or reported as left out."""

import csv
import dataclasses

import openpyxl
import pytest

from datasets import DataError
from datasets.source.annotations import read_table
from datasets.source.cells import canonical_subject
from datasets.source.columns import Columns
from datasets.source.tables import find_tables
from tests.datasets.casme2_tree import ROWS, write_table

HEADERS = {
    "subject": ("Subject",),
    "clip": ("Filename",),
    "onset": ("OnsetFrame", "Start"),
    "apex": ("ApexFrame",),
    "offset": ("OffsetFrame",),
    "action_units": ("Action Units",),
    "emotion": ("Estimated Emotion",),
    "second_apex": ("ApexF2",),
}
CODING = Columns(HEADERS, optional=frozenset({"second_apex"}))
COLUMNS = [names[0] for names in HEADERS.values()][:-1]
# No header, a column that is not read, 0 for a missing number.
HEADERLESS = Columns(
    HEADERS,
    order=("subject", "clip", "onset", "apex", "offset", None, "emotion"),
    zero_is_missing=frozenset({"onset", "apex", "offset"}),
)


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
def test_subject_spellings_have_one_canonical_form(written):
    assert canonical_subject(written) == "sub01"


@pytest.mark.parametrize("written", ["", None, "/", -1, "-1", 1.5, "EP01", "sub", True])
def test_other_values_are_not_subjects(written):
    assert canonical_subject(written) is None


def test_table_in_the_form_of_casme2(tmp_path):
    write_table(tmp_path / "table.xlsx")
    table = read_table(tmp_path / "table.xlsx", CODING)
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
    # Numbered as in a spreadsheet program: the header is row 1.
    assert [row.number for row in table.rows] == list(range(2, len(ROWS) + 2))


def test_headers_in_any_order_case_and_position(tmp_path):
    path = save(
        tmp_path / "table.xlsx",
        ["Coding of the expressions"],
        [],
        ["Unnamed: 0", "estimated emotion ", None, "OFFSETFRAME", "Apex Frame"]
        + ["onset_frame", "FileName", "subject", "Action units", "Objective Classes"],
        [0, " Disgust ", None, 30, 20, 10, "EP09_9", 7, 4, 3],
    )
    (row,) = read_table(path, CODING).rows
    assert (row.number, row.subject, row.clip) == (4, "sub07", "EP09_9")
    assert (row.onset, row.apex, row.offset) == (10, 20, 30)
    assert (row.emotion, row.action_units) == ("disgust", "4")


def test_sheet_with_the_columns_is_read(tmp_path):
    path = save(tmp_path / "table.xlsx", ["how to read this"], title="notes")
    book = openpyxl.load_workbook(path)
    sheet = book.create_sheet("coding")
    sheet.append(COLUMNS)
    sheet.append(["01", "EP09_9", 10, 20, 30, "4", "fear"])
    book.save(path)
    table = read_table(path, CODING)
    assert table.sheet == "coding" and len(table.rows) == 1


@pytest.mark.parametrize(
    "missing",
    ["/", "\\", None, "", " ", "NULL", "null", "nan", "remake", -1, "-1"]
    + ["-", "--", "—", "?", "N/A", "n/a", "NA", "#N/A", "unknown", "-1.0"],
)
def test_markers_of_a_missing_apex(tmp_path, missing):
    path = save(
        tmp_path / "table.xlsx",
        COLUMNS,
        ["01", "EP09_9", 10, missing, 30, "4", "fear"],
    )
    (row,) = read_table(path, CODING).rows
    assert row.apex is None


@pytest.mark.parametrize(
    "cells, reason",
    [
        (["x", "EP09_9", 10, 20, 30, "4", "fear"], "subject 'x' is none of"),
        ([1, None, 10, 20, 30, "4", "fear"], "no clip"),
        ([1, "EP09_9", "/", 20, 30, "4", "fear"], "onset is missing"),
        ([1, "EP09_9", 10, None, "\\", "4", "fear"], "apex and the offset are missing"),
        ([1, "EP09_9", 10, "20~", 30, "4", "fear"], "'20~' is not a frame number"),
        ([1, "EP09_9", 10.5, 20, 30, "4", "fear"], "'10.5' is not a frame number"),
        ([1, "EP09_9", 10, 20, 1e30, "4", "fear"], "is not a frame number"),
        ([1, "EP09_9", 10, 20, 9, "4", "fear"], "offset 9 lies before the onset 10"),
    ],
)
def test_invalid_row_is_reported_and_others_are_read(tmp_path, cells, reason):
    good = ["02", "EP09_8", 10, 20, 30, "4", "fear"]
    path = save(tmp_path / "table.xlsx", COLUMNS, good, cells, [], good)
    table = read_table(path, CODING)
    assert [row.number for row in table.rows] == [2, 5]
    (entry,) = table.left_out
    assert entry.row == 3 and reason in entry.reason


@pytest.mark.parametrize("missing", ["/", "\\", None, "NULL"])
def test_offset_may_be_missing_if_the_apex_is_given(tmp_path, missing):
    path = save(
        tmp_path / "table.xlsx", COLUMNS, [1, "EP09_9", 10, 20, missing, 4, "x"]
    )
    (row,) = read_table(path, CODING).rows
    assert row.offset is None


def test_a_number_with_a_question_mark_is_used_and_marked(tmp_path):
    cells = ["01", "EP09_9", "10 ?", "?20", 30, "4", "fear"]
    (row,) = read_table(save(tmp_path / "t.xlsx", COLUMNS, cells), CODING).rows
    assert (row.onset, row.apex, row.offset) == (10, 20, 30)
    assert row.uncertain == ("onset", "apex")
    # Fingerprints of copies, of which the text of a row is a part, stay as they were.
    assert "uncertain" not in repr(row)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("subject,clip,onset,apex,offset,au,label", (10, 20, 30, "4")),
        ("Sub,Data,Onset_F,ApexF,Offset Frame,FACS,catego", (10, 20, 30, "4")),
        ("Subject,Filename,onset-frame,x,OffsetFrame,x,Emotion", (10, None, 30, "")),
        ("Subject,Filename,OnsetFrame,Apex,x,AUs,Category", (10, 20, None, "4")),
    ],
)
def test_headers_that_people_use_and_columns_that_are_not_needed(
    tmp_path, header, expected
):
    (tmp_path / "t.csv").write_text(f"{header}\n1,EP09_9,10,20,30,4,Fear\n")
    (row,) = read_table(tmp_path / "t.csv", CODING).rows
    assert (row.subject, row.clip, row.emotion) == ("sub01", "EP09_9", "fear")
    assert (row.onset, row.apex, row.offset, row.action_units) == expected


@pytest.mark.parametrize(
    "header",
    [
        "Subject,Filename,OnsetFrame,x,x,AU,Emotion",  # neither apex nor offset
        "Subject,Filename,x,Apex,Offset,AU,Emotion",
        "Subject,Filename,Onset,Apex,Offset,AU,x",
    ],
)
def test_columns_that_are_needed(tmp_path, header):
    (tmp_path / "t.csv").write_text(f"{header}\n1,EP09_9,10,20,30,4,Fear\n")
    with pytest.raises(DataError, match="Required columns are missing"):
        read_table(tmp_path / "t.csv", CODING)


def test_times_are_not_frame_numbers(tmp_path):
    times = dataclasses.replace(CODING, not_frames=frozenset({"Onset", "Total"}))
    rows = "1,EP09_9,16,20,30,333,Fear\n"
    path = tmp_path / "t.csv"
    # With the data set's own header of the apex
    path.write_text(f"Subject,Filename,Onset,ApexFrame,x,AU,Emotion\n{rows}")
    with pytest.raises(DataError, match="Required columns are missing"):
        read_table(path, times)
    path.write_text(f"Subject,Filename,Onset,Apex,Offset,Total,Emotion\n{rows}")
    with pytest.raises(DataError, match="Required columns are missing"):
        read_table(path, times)
    path.write_text(f"Subject,Filename,Onset,Apex,Offset,AU,Emotion\n{rows}")
    assert read_table(path, times).rows[0].onset == 16


def test_alternative_headers_and_optional_columns(tmp_path):
    columns = ["Start" if name == "OnsetFrame" else name for name in COLUMNS]
    path = save(
        tmp_path / "table.xlsx",
        [*columns, "apexf2"],
        ["01", "EP09_9", 10, 20, 30, "4", "fear", 24],
        ["01", "EP09_8", 10, 20, 30, "4", "fear", "\\"],
    )
    rows = read_table(path, CODING).rows
    assert [row.extra_fields for row in rows] == [
        {"second_apex": "24"},
        {"second_apex": "\\"},
    ]
    assert [row.onset for row in rows] == [10, 10]
    assert {row.table for row in rows} == {"table.xlsx"}


def test_sheet_without_a_header(tmp_path):
    path = save(
        tmp_path / "table.xlsx",
        [1, "anger1_1", 557, 0, 575, "4+7", "negative"],
        [2, "anger1_2", 0, 20, 30, None, "others"],
        [2, "anger1_3", 10, 20, 0, None, None],
    )
    table = read_table(path, HEADERLESS)
    first, second = table.rows
    assert (first.number, first.subject, first.clip) == (1, "sub01", "anger1_1")
    assert (first.onset, first.apex, first.offset) == (557, None, 575)
    assert (first.action_units, first.emotion) == ("", "negative")
    assert (second.apex, second.offset) == (20, None)
    (entry,) = table.left_out
    assert entry.row == 2 and "onset is missing" in entry.reason


@pytest.mark.parametrize(
    "invalid",
    [
        [1, "anger1_0", None, 20, 30, "4", "negative"],
        [1, "anger1_0", "/", 20, 30, "4", "negative"],
        [1, "anger1_0", 10, 20, 30],
        [1, "anger1_0", 10],
        [1, "anger1_0", 10, 20, 30, "4", "negative", None, "a remark"],
        ["x", "anger1_0", 10, 20, 30, "4", "negative"],
        ["The coding of 2016", None, None, None, None, None, None],
    ],
)
def test_one_invalid_row_does_not_hide_a_headerless_sheet(tmp_path, invalid):
    rows = [[1, f"anger1_{n}", 10, 20, 30, "4", "negative"] for n in range(1, 5)]
    path = save(tmp_path / "table.xlsx", invalid, *rows)
    table = read_table(path, HEADERLESS)
    clips = [row.clip for row in table.rows if row.clip != "anger1_0"]
    assert clips == ["anger1_1", "anger1_2", "anger1_3", "anger1_4"]
    titled = "coding" in str(invalid[0])
    read = [row for row in table.rows if row.clip == "anger1_0"]
    assert len(read) + len(table.left_out) == (0 if titled else 1)


def test_headerless_csv_with_decimal_numbers(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("1.0,anger1_1,10.0,20.0,30.0,4,negative\n" * 3)
    (row, *_) = read_table(path, HEADERLESS).rows
    assert (row.subject, row.onset, row.offset) == ("sub01", 10, 30)


def test_unrelated_sheet_is_not_mistaken_for_a_headerless_table(tmp_path):
    path = save(tmp_path / "table.xlsx", [15, "s15", 1], [16, "s16", 2])
    with pytest.raises(DataError, match="or 7 columns without a header"):
        read_table(path, HEADERLESS)


def test_title_of_a_csv_does_not_determine_the_delimiter(tmp_path):
    path = tmp_path / "table.csv"
    rows = [["01", f"EP09_{n}", "10", "20", "30", "4", "fear"] for n in range(3)]
    text = "\n".join(";".join(row) for row in [COLUMNS, *rows])
    path.write_text(f"Coding, as of 2019, of onset, apex, offset\n{text}\n")
    assert len(read_table(path, CODING).rows) == 3


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_csv_equals_the_spreadsheet(tmp_path, delimiter):
    write_table(tmp_path / "table.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "table.xlsx").active
    path = tmp_path / "table.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(sheet.values)
    assert (
        tuple(
            dataclasses.replace(row, table="table.xlsx")
            for row in read_table(path, CODING).rows
        )
        == read_table(tmp_path / "table.xlsx", CODING).rows
    )


def test_error_names_found_and_expected_columns(tmp_path):
    path = save(tmp_path / "table.xlsx", ["Subject", None, "Filename", "Onset"], [1])
    with pytest.raises(DataError) as error:
        read_table(path, CODING)
    message = str(error.value)
    assert str(path) in message and "'Sheet1'" in message
    assert "Subject, Filename, Onset." in message
    assert "Expected in one sheet: Subject, Filename, OnsetFrame or Start, " in message
    assert "Estimated Emotion, ApexFrame or OffsetFrame." in message


@pytest.mark.parametrize("name", ["table.xlsx", "table.xls", "table.csv"])
def test_file_that_is_not_a_table_raises(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xff\x00\xfe no table")
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / name, CODING)


def test_spreadsheet_format_is_detected_by_content(tmp_path):
    write_table(tmp_path / "table.xlsx")
    renamed = (tmp_path / "table.xlsx").rename(tmp_path / "table.xls")
    assert len(read_table(renamed, CODING).rows) == len(ROWS)


def test_find_tables_skips_frames_and_other_files(tmp_path):
    for name in ("b.csv", "a/b/c/deep.XLSX", "~$b.xlsx", "._b.xlsx", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("sub01/in.csv", "15/in.csv", "__MACOSX/b.xlsx", "a/b/c/d/e/deep.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a/back").symlink_to(tmp_path)  # a cycle
    assert find_tables(tmp_path) == [tmp_path / "b.csv", tmp_path / "a/b/c/deep.XLSX"]


def test_single_folder_named_like_a_subject_is_searched(tmp_path):
    (tmp_path / "01/CASME").mkdir(parents=True)
    (tmp_path / "01/CASME/casme.csv").touch()
    assert find_tables(tmp_path) == [tmp_path / "01/CASME/casme.csv"]
    (tmp_path / "02").mkdir()
    assert find_tables(tmp_path) == []
