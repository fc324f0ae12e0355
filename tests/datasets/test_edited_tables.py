"""Tables that people have edited, and unrelated tables in the same folder."""

import json
import re

import openpyxl
import pytest

from datasets import DataError
from datasets.casme2.casme2_dataset_builder import SPECIFICATION as CASME2
from datasets.check import check
from datasets.check_report import describe
from datasets.prepare import Options, builder_class, other_specifications
from datasets.source.annotations import read_table
from datasets.source.local_copy import open_local_copy
from datasets.source.specification import LocalCopyConfig
from tests.datasets import cas_me_2_tree, casme_tree
from tests.datasets.casme2_tree import (
    ROWS,
    TABLES,
    id_of,
    write_frames,
    write_table,
    write_tree,
)
from tests.datasets.reading import read_back
from tests.datasets.tree import write_csv

FEW = [row for row in ROWS[:6] if row.apex is not None]
HEADER = ["subject", "clip", "onset", "apex", "offset", "au", "label"]


def cells(row, **changes):
    """Returns a row of ``HEADER``."""
    fields = dict(
        zip(
            HEADER,
            [row.subject, row.clip, row.onset, row.apex, row.offset, "4"],
            strict=False,
        )
    )
    return fields | {"label": row.emotions[1]} | changes


def write_copy(folder, rows, name="mine.csv"):
    """Writes frames, and a table with the columns that the rows have."""
    write_frames(folder, rows=FEW)
    write_csv(folder / name, [list(rows[0]), *(list(row.values()) for row in rows)])


def read_copy(tmp_path, **options):
    info, records = read_back("casme2", tmp_path / "copy", tmp_path / "data", **options)
    return info.metadata, records


def without(row, *names):
    return {name: cell for name, cell in cells(row).items() if name not in names}


def test_action_units_are_not_needed(tmp_path):
    write_copy(tmp_path / "copy", [without(row, "au") for row in FEW])
    _, records = read_copy(tmp_path)
    for row in FEW:
        record = records[id_of(row)]
        assert (record["apex"], record["action_units"]) == (row.apex, b"")
        assert not record["apex_estimated"]


@pytest.mark.parametrize(
    ("header", "unread"),
    [(None, "none"), ("Remarks", "Remarks"), ("", "column D without a header")],
)
def test_a_lost_column_of_the_apex_is_refused_and_named(tmp_path, header, unread):
    rows = [without(row, "apex") for row in FEW]
    if header is not None:
        rows = [
            {header if n == "apex" else n: c for n, c in cells(row).items()}
            for row in FEW
        ]
    write_copy(tmp_path / "copy", rows)
    lost = f"mine.csv has no column of the apex.* that were not read: {unread}"
    with pytest.raises(DataError, match=f"{lost}(.|\n)*--apex=middle or --apex=spot"):
        read_copy(tmp_path)
    report = check("casme2", tmp_path / "copy")
    assert not report.complete and re.search(lost, report.without_apexes[0])
    verdict = describe(report).partition("Incomplete: ")[2]
    assert "the apexes are lost" in verdict and re.search(lost, verdict)
    assert json.loads(report.to_json())["whole"] is False
    accepted = check("casme2", tmp_path / "copy", options=Options(apex="middle"))
    assert accepted.complete and re.search(lost, accepted.notes[0])


def test_a_column_of_the_apex_without_numbers_is_refused(tmp_path):
    write_copy(tmp_path / "copy", [cells(row, apex="/") for row in FEW])
    with pytest.raises(DataError, match=f"gives none in any of {len(FEW)} rows"):
        read_copy(tmp_path)


@pytest.mark.parametrize(
    "name", [one.name for one in other_specifications("") if one.columns.headers]
)
def test_each_data_set_whose_tables_give_apexes_misses_them(tmp_path, name):
    columns = builder_class(name).SPECIFICATION.columns
    headers = [
        (field, names[0]) for field, names in columns.headers.items() if names[:1]
    ]
    for left_out in ({"apex"}, set()):
        names = [header for field, header in headers if field not in left_out]
        rows = [[str(3 + n) for n, _ in enumerate(names)] for _ in range(2)]
        write_csv(tmp_path / "mine.csv", [names, *rows])
        table = read_table(tmp_path / "mine.csv", columns)
        published = "apex" in columns.headers
        assert ("apex" in table.without) == (published and bool(left_out))
    assert published == (name not in ("smic", "casme3_c"))


def test_without_a_column_of_the_apex_it_is_estimated_and_marked(tmp_path):
    write_copy(tmp_path / "copy", [without(row, "apex") for row in FEW])
    metadata, records = read_copy(tmp_path, apex="middle")
    for row in FEW:
        record = records[id_of(row)]
        assert record["apex"] == (row.onset + row.offset) // 2
        assert record["apex_estimated"] and not record["offset_estimated"]
    assert sum("no apex is given" in note for note in metadata["notes"]) == len(FEW)


def test_without_a_column_of_the_offset_it_is_estimated_and_marked(tmp_path):
    write_copy(tmp_path / "copy", [without(row, "offset") for row in FEW])
    _, records = read_copy(tmp_path)
    for row in FEW:
        record = records[id_of(row)]
        assert record["offset"] == row.offset  # the last frame of the release
        assert record["offset_estimated"] and not record["apex_estimated"]


def test_a_number_with_a_question_mark_is_used_with_a_note(tmp_path):
    rows = [cells(FEW[0], apex=f"{FEW[0].apex}?"), *map(cells, FEW[1:])]
    write_copy(tmp_path / "copy", rows)
    metadata, records = read_copy(tmp_path)
    assert records[id_of(FEW[0])]["apex"] == FEW[0].apex
    (note,) = [note for note in metadata["notes"] if "question mark" in note]
    assert note.startswith(f"row 2 ({id_of(FEW[0])}): the table marks apex with")


@pytest.mark.parametrize("number", [3, "3.0"])
def test_numbers_instead_of_emotions_are_refused_with_what_to_do(tmp_path, number):
    write_copy(tmp_path / "copy", [cells(row, label=number) for row in FEW])
    with pytest.raises(DataError) as error:
        read_copy(tmp_path)
    message = str(error.value)
    assert f"the emotion is the number {number}; write its name in the table" in message
    assert "disgust" in message and "happiness" in message


def of_other_people(row):
    return cells(row, subject=row.subject + 400, clip=f"006_{row.clip}")


def test_the_table_of_another_data_set_with_the_same_columns_is_not_read(tmp_path):
    write_copy(tmp_path / "copy", [cells(row) for row in FEW], name="mine.csv")
    others = [of_other_people(row) for row in FEW]
    write_csv(
        tmp_path / "copy/a_table.csv",
        [list(others[0]), *(list(row.values()) for row in others)],
    )
    write_csv(tmp_path / "copy/notes.csv", [["what", "when"], ["asked", "2019"]])
    metadata, records = read_copy(tmp_path)
    assert records.keys() == {id_of(row) for row in FEW}
    assert metadata["notes"][0].startswith("mine.csv was read: its name is unknown")
    assert metadata["notes"][1] == (
        f"a_table.csv was not read: 0 of its {len(FEW)} rows have frames"
    )
    assert metadata["notes"][2] == (
        "notes.csv was not read: its columns are not those of CASME II"
    )


def test_the_copy_of_another_data_set_is_recognised_by_the_name_of_its_table(tmp_path):
    write_tree(tmp_path / "copy", rows=FEW)
    for name in ("casme", "cas_me_2"):
        with pytest.raises(DataError) as error:
            read_back(name, tmp_path / "copy", tmp_path / "data")
        assert (
            f"{TABLES['20190701']} was not read: it has the name and the columns of "
            "CASME II's table, the data set casme2" in str(error.value)
        )
    cas_me_2_tree.write_tree(tmp_path / "other", rows=cas_me_2_tree.MICRO[:4])
    with pytest.raises(DataError, match=r"CAS\(ME\)\^2's table, the data set cas_me_2"):
        read_back("casme2", tmp_path / "other", tmp_path / "data")


def test_a_renamed_table_of_another_data_set_is_recognised_by_its_emotions(tmp_path):
    labels = ["others", "others", "others", "disgust"]
    rows = [cells(row, label=name) for row, name in zip(FEW, labels, strict=False)]
    write_copy(tmp_path / "copy", rows)
    with pytest.raises(DataError) as error:
        read_back("casme", tmp_path / "copy", tmp_path / "data")
    message = str(error.value)
    assert "mine.csv was not read: 3 of its 4 rows have emotions" in message
    assert "not those of CASME: 'others'" in message and "--table=FILE" in message


def test_a_name_alone_makes_no_table_another_data_sets(tmp_path):
    # Other emotions than CASME's, as in two of five rows of the real table
    rows = [cells(row) for row in FEW]
    rows[::2] = [row | {"label": "others"} for row in rows[::2]]
    write_copy(tmp_path / "copy", rows, name="CASME_labels.csv")
    _, records = read_copy(tmp_path)
    assert records.keys() == {id_of(row) for row in FEW}


def test_the_table_with_frames_for_most_of_its_rows_is_read(tmp_path):
    few, many = FEW[:2], [cells(row) for row in FEW[:3]]
    write_copy(tmp_path / "copy", [cells(row) for row in few], name="z.csv")
    many += [of_other_people(row) for row in FEW]
    write_csv(
        tmp_path / "copy/a.csv",
        [list(many[0]), *(list(row.values()) for row in many)],
    )
    metadata, records = read_copy(tmp_path)
    assert records.keys() == {id_of(row) for row in few}
    assert metadata["notes"][0].endswith("and 2 of its 2 rows have frames")
    assert metadata["notes"][1].startswith("a.csv was not read: 3 of its ")


@pytest.mark.parametrize("field", ["apex", "offset"])
def test_a_column_with_an_unknown_header_is_not_replaced_by_estimates(tmp_path, field):
    rows = [
        {f"{field} no." if n == field else n: c for n, c in cells(row).items()}
        for row in FEW
    ]
    write_copy(tmp_path / "copy", rows)
    with pytest.raises(DataError, match=f"Found in its sheets: .*{field} no.") as error:
        read_copy(tmp_path)
    message = str(error.value)
    assert f"its column '{field} no.' may be that of the {field}: rename it" in message
    # Nothing that is there is called missing, or expected.
    assert "Required columns" not in message and "are not those of" not in message


def test_a_table_of_the_right_name_with_other_columns_is_skipped(tmp_path):
    copy = tmp_path / "copy"
    write_frames(copy, rows=FEW)
    write_table(copy / TABLES["20140508"], table="20140508", rows=FEW)
    book = openpyxl.Workbook()
    book.active.append(["what", "when"])
    book.save(copy / TABLES["20190701"])
    metadata, records = read_copy(tmp_path)
    assert records.keys() == {id_of(row) for row in FEW}
    assert metadata["notes"][0] == (
        f"{TABLES['20190701']} was not read: its columns are not those of CASME II"
    )


def test_a_damaged_table_that_is_not_needed_has_no_effect(tmp_path):
    copy = tmp_path / "copy"
    write_frames(copy, rows=FEW)
    write_table(copy / TABLES["20190701"], rows=FEW)
    (copy / TABLES["20140508"]).write_bytes(b"damaged")
    _, records = read_copy(tmp_path)
    assert records.keys() == {id_of(row) for row in FEW}
    (copy / TABLES["20190701"]).write_bytes(b"damaged")
    with pytest.raises(DataError, match=f"{TABLES['20190701']} cannot be read"):
        read_back("casme2", copy, tmp_path / "again")


def test_an_older_generation_is_named_whatever_its_file_is_called(tmp_path):
    write_tree(tmp_path / "copy", table="20140508")
    path = tmp_path / "copy" / TABLES["20140508"]
    path.rename(path.with_name("CASME2-coding.xlsx"))
    config = LocalCopyConfig(name="x")
    notes = open_local_copy(CASME2, config, tmp_path / "copy").notes
    assert notes == (
        "by its numbers of expressions, CASME2-coding.xlsx is the table dated "
        "20140508; the paper has the numbers of the table dated 20190701",
    )


def read_casme(tmp_path, **options):
    return read_back("casme", tmp_path / "copy", tmp_path / "data", **options)


def test_table_may_be_given_for_each_section(tmp_path):
    rows = casme_tree.SOME
    casme_tree.write_tree(tmp_path / "copy", release="Cropped", rows=rows)
    casme_tree.write_table(tmp_path / "copy", table="merged-xlsx", rows=rows[:2])
    info, records = read_casme(tmp_path, table=("Section A.xls", "Section B.xls"))
    assert len(records) == len(rows)
    assert info.metadata["notes"][0].startswith("--table leaves out casme.xlsx, named")
    # Each has its own records.
    info, records = read_casme(tmp_path, table=("CASME_A/Section A/Section A.xls",))
    assert len(records) == sum(row.subject <= 7 for row in rows)
    notes = info.metadata["notes"]
    assert "--table leaves out casme.xlsx, CASME_B/Section B/Section B.xls" in notes[0]
    assert notes[1] == "part of the table is missing: Section B.xls"
    report = check(
        "casme", tmp_path / "copy", options=Options(table=("Section A.xls",))
    )
    assert report.missing_tables == ["Section B.xls"] and not report.complete


def test_tables_of_the_same_name_are_distinguished_by_their_paths(tmp_path):
    write_tree(tmp_path / "copy", rows=FEW)
    write_csv(tmp_path / "copy/a/mine.csv", [HEADER, list(cells(FEW[0]).values())])
    write_csv(tmp_path / "copy/b/mine.csv", [HEADER, list(cells(FEW[1]).values())])
    metadata, records = read_copy(tmp_path, table=("b/mine.csv",))
    assert set(records) == {id_of(FEW[1])}
    metadata, records = read_copy(tmp_path, table=("mine.csv",))
    assert set(records) == {id_of(FEW[0])}
    assert "a/mine.csv was read, not b/mine.csv; --table may be" in metadata["notes"][0]


def test_of_tables_that_fit_equally_the_choice_is_said(tmp_path):
    write_copy(tmp_path / "copy", [cells(row) for row in FEW[:3]], "a.csv")
    write_copy(tmp_path / "copy", [cells(row) for row in FEW[3:]], "b.csv")
    metadata, records = read_copy(tmp_path)
    assert set(records) == {id_of(row) for row in FEW[:3]}
    assert "the same share; --table says which one to read" in metadata["notes"][1]


@pytest.mark.parametrize("again", ["mine.csv", "x/mine.csv"])
def test_a_table_that_is_given_twice_is_refused(tmp_path, again):
    write_tree(tmp_path / "copy", rows=FEW)
    write_csv(tmp_path / "copy/x/mine.csv", [HEADER, list(cells(FEW[0]).values())])
    with pytest.raises(DataError, match=f"--table={again} names a table that is named"):
        read_copy(tmp_path, table=(TABLES["20190701"], "x/mine.csv", again))


@pytest.mark.parametrize(("table", "expected"), [(None, ()), ("a.csv", ("a.csv",))])
def test_configurations_of_earlier_versions_have_one_table_or_none(table, expected):
    assert LocalCopyConfig(name="x", table=table).table == expected


def write_book(path, sheets, hidden=()):
    """Writes sheets of rows as dictionaries; some are hidden."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in [list(rows[0]), *(list(row.values()) for row in rows)]:
            sheet.append(row)
        sheet.sheet_state = "hidden" if name in hidden else "visible"
    book.save(path)


def test_a_visible_sheet_is_read_and_others_are_named(tmp_path):
    write_frames(tmp_path / "copy", rows=FEW)
    rows = [cells(row) for row in FEW]
    old = [row | {"label": "fear"} for row in rows]
    sheets = {"old": old, "new": rows[:3], "rest": rows[3:]}
    write_book(tmp_path / "copy/mine.xlsx", sheets, hidden=("old",))
    metadata, records = read_copy(tmp_path)
    assert set(records) == {id_of(row) for row in FEW[:3]}
    assert metadata["table"] == "mine.xlsx, sheet new"
    assert "mine.xlsx: sheet new was read, and not rest, old, which has" in str(
        metadata["notes"]
    )


def test_two_columns_of_the_same_name_must_be_equal(tmp_path):
    rows = [[*cells(row).values(), row.apex] for row in FEW]
    write_frames(tmp_path / "copy", rows=FEW)
    write_csv(tmp_path / "copy/mine.csv", [[*HEADER, "Apex"], *rows])
    read_copy(tmp_path)
    rows[1][-1] = ""  # an empty cell contradicts nothing
    write_csv(tmp_path / "copy/mine.csv", [[*HEADER, "Apex"], *rows])
    read_back("casme2", tmp_path / "copy", tmp_path / "empty")
    rows[2][-1] += 1
    write_csv(tmp_path / "copy/mine.csv", [[*HEADER, "Apex"], *rows])
    with pytest.raises(DataError, match="two columns 'apex' .* row 4 has"):
        read_back("casme2", tmp_path / "copy", tmp_path / "other")


def test_an_open_quote_does_not_hide_the_rows_after_it(tmp_path):
    write_copy(tmp_path / "copy", [cells(row) for row in FEW])
    path = tmp_path / "copy/mine.csv"
    lines = path.read_text().splitlines()
    lines[2] = lines[2].replace(",4,", ',"4,')
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match="mine.csv cannot be read"):
        read_copy(tmp_path, table=("mine.csv",))


def test_quotes_in_a_remark_are_read(tmp_path):
    rows = [cells(row, au='"4" and 7') for row in FEW]
    write_frames(tmp_path / "copy", rows=FEW)
    lines = [",".join(HEADER), *(",".join(map(str, row.values())) for row in rows)]
    (tmp_path / "copy/mine.csv").write_text("\n".join(lines))
    _, records = read_copy(tmp_path)
    assert len(records) == len(FEW)


def test_utf_16_is_read(tmp_path):
    write_copy(tmp_path / "copy", [cells(row) for row in FEW])
    path = tmp_path / "copy/mine.csv"
    path.write_text(path.read_text().replace(",", "\t"), encoding="utf-16")
    _, records = read_copy(tmp_path)
    assert len(records) == len(FEW)


def test_rows_that_contradict_each_other_are_both_left_out(tmp_path):
    rows = [cells(row) for row in FEW]
    emotions = {row["label"] for row in rows}
    other = next(iter(emotions - {rows[0]["label"]}))
    write_copy(tmp_path / "copy", [*rows, rows[0] | {"label": other}])
    metadata, records = read_copy(tmp_path)
    assert set(records) == {id_of(row) for row in FEW[1:]}
    first, second = metadata["left_out"]
    assert (first["row"], second["row"]) == (2, len(rows) + 2)
    assert f"but is {rows[0]['label']} and not {other}" in second["reason"]
    assert f"but is {other} and not {rows[0]['label']}" in first["reason"]


def test_rows_of_a_clip_that_overlap_are_named(tmp_path):
    rows = [cells(row) for row in FEW]
    write_copy(tmp_path / "copy", [*rows, rows[0] | {"onset": rows[0]["onset"] + 1}])
    metadata, _ = read_copy(tmp_path)
    number = len(rows) + 2
    assert f"row 2 and row {number} are of the same clip" in str(metadata["notes"])


def test_two_generations_of_a_table_are_no_sections(tmp_path):
    write_tree(tmp_path / "copy", rows=FEW)
    write_table(tmp_path / "copy" / TABLES["updated"], rows=FEW)
    tables = (TABLES["20190701"], TABLES["updated"])
    metadata, records = read_copy(tmp_path, table=tables)
    assert len(records) == len(FEW)
    assert f"{len(FEW)} rows are in several tables, as in generations" in str(
        metadata["notes"]
    )
