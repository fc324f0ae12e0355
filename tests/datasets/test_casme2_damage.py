"""Copies of CASME II that are damaged, incomplete or unusable."""

import dataclasses
import json
import shutil

import openpyxl
import pytest

from datasets import DataError, prepare
from tests.datasets import reading
from tests.datasets.casme2_tree import ROWS, id_of, write_tree

FEW = ROWS[:6]


def read_back(manual_dir, data_dir, **options):
    """Returns the metadata and the records by clip id."""
    info, records = reading.read_back("casme2", manual_dir, data_dir, **options)
    return info.metadata, records


def test_every_row_and_folder_is_accounted_for(tmp_path):
    manual_dir = tmp_path / "casme2"
    rows = list(ROWS[:16])
    rows[6] = dataclasses.replace(rows[6], emotions=("joy", "joy"))
    rows[7] = dataclasses.replace(rows[7], onset=rows[7].offset + 5)
    rows[8] = dataclasses.replace(rows[8], apex="soon")
    write_tree(manual_dir, rows=rows)
    cropped = manual_dir / "Cropped"

    shutil.rmtree(cropped / id_of(rows[0]))
    shutil.rmtree(cropped / id_of(rows[1]))
    (cropped / id_of(rows[1])).mkdir()
    # A gap of three frames is not bridged.
    for number in range(rows[2].apex - 1, rows[2].apex + 2):
        (cropped / id_of(rows[2]) / f"reg_img{number}.jpg").unlink()
    needed = cropped / id_of(rows[3]) / f"reg_img{rows[3].apex}.jpg"
    needed.write_bytes(needed.read_bytes()[:300])
    # A damaged frame that no clip needs has no effect.
    spare = cropped / id_of(rows[4]) / f"reg_img{rows[4].apex + 1}.jpg"
    spare.write_bytes(b"")
    for path in (cropped / id_of(rows[5])).glob("reg_img*"):
        if int(path.name.removeprefix("reg_img").partition(".")[0]) > 30:
            path.unlink()
    shutil.copytree(cropped / id_of(rows[9]), cropped / "sub30/EP99_9")
    (cropped / "sub30/empty").mkdir()
    shutil.copytree(cropped / "sub30/EP99_9", cropped / "subject30/EP99_9")
    _append(manual_dir, ["01", "../../sub30/EP99_9", None, 20, 30, 40, None, 4, "fear"])
    _append(manual_dir, ["01", str(cropped), None, 20, 30, 40, None, 4, "fear"])

    metadata, records = read_back(manual_dir, tmp_path / "data")
    reasons = {
        (entry["row"], entry["subject"], entry["clip"]): entry["reason"]
        for entry in metadata["left_out"]
    }

    def reason(place):
        return reasons[2 + place, f"sub{rows[place].subject:02d}", rows[place].clip]

    assert "no folder" in reason(0)
    assert "no frames" in reason(1)
    assert f"do not include the apex {rows[2].apex}" in reason(2)
    assert f"reg_img{rows[3].apex}.jpg cannot be read" in reason(3)
    assert "of them exist" in reason(5)
    assert "emotion 'joy'" in reason(6)
    assert "lies before the onset" in reason(7)
    assert "'soon' is not a frame number" in reason(8)
    assert "no folder" in reasons[18, "sub01", "../../sub30/EP99_9"]
    assert "no folder" in reasons[19, "sub01", str(cropped)]
    assert "no row" in reasons[None, "sub30", "EP99_9"]
    assert "second folder" in reasons[None, "subject30", "EP99_9"]
    # Ten rows and two folders are left out; an empty folder does not count.
    assert len(metadata["left_out"]) == len(reasons) == 12
    assert len(records) == len(rows) + 2 - 10
    listed = [e["row"] for e in metadata["left_out"] if e["row"] is not None]
    assert listed == sorted(listed)


def _nothing(manual_dir):
    shutil.rmtree(manual_dir)
    manual_dir.mkdir()


def _no_table(manual_dir):
    _no_columns(manual_dir)
    (manual_dir / "CASME2-coding-20190701.xlsx").rename(manual_dir / "codes.xlsx")


def _no_frames(manual_dir):
    shutil.rmtree(manual_dir / "Cropped")


def _other_frames(manual_dir):
    for folder in (manual_dir / "Cropped").glob("sub*"):
        folder.rename(folder.with_name("sub2" + folder.name[-1]))


def _no_columns(manual_dir):
    _rewrite(manual_dir, lambda rows: [row[:-1] for row in rows])


def _no_rows(manual_dir):
    _rewrite(manual_dir, lambda rows: rows[:1])


def _damaged_table(manual_dir):
    path = manual_dir / "CASME2-coding-20190701.xlsx"
    path.write_bytes(path.read_bytes()[:900])


def _damaged_frames(manual_dir):
    for path in manual_dir.glob("Cropped/*/*/*.jpg"):
        path.write_bytes(b"")


@pytest.mark.parametrize(
    "break_copy, expected",
    [
        (_nothing, ["casme.psych.ac.cn", "Cropped/"]),
        (_no_table, ["CASME2-coding", "codes.xlsx", "Cropped/"]),
        (_no_frames, ["No frames", "example: none", "Cropped or CASME2_RAW_sel"]),
        (_other_frames, ["No frames", "there, for example: Cropped/sub2"]),
        (_no_columns, ["20190701.xlsx", "Sheet1", "Action Units", "Estimated Emotion"]),
        (_no_rows, ["No row of"]),
        (_damaged_table, ["20190701.xlsx", "cannot be read", "save it as .xlsx"]),
        (_damaged_frames, ["No row of", "cannot be read", "row 2"]),
    ],
)
def test_unusable_copy_raises_and_leaves_no_records(tmp_path, break_copy, expected):
    manual_dir, data_dir = tmp_path / "casme2", tmp_path / "data"
    write_tree(manual_dir, rows=FEW)
    break_copy(manual_dir)
    with pytest.raises(DataError) as error:
        prepare.prepare("casme2", manual_dir=manual_dir, data_dir=data_dir)
    for text in expected:
        assert text in str(error.value)
    assert not list(data_dir.glob("casme2/apex32-16x112/*"))

    # The repaired copy can then be prepared.
    shutil.rmtree(manual_dir)
    write_tree(manual_dir, rows=FEW)
    _, records = read_back(manual_dir, data_dir)
    assert len(records) == len(FEW)


def test_incomplete_records_of_a_killed_run_are_ignored(tmp_path, monkeypatch):
    write_tree(tmp_path / "casme2", rows=FEW)
    module = "datasets.source.examples.make_example"

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, killed)
        with pytest.raises(KeyboardInterrupt):
            prepare.prepare(
                "casme2", manual_dir=tmp_path / "casme2", data_dir=tmp_path / "data"
            )
    # What a run leaves behind if it is killed before it can clean up.
    left = tmp_path / "data/casme2/apex32-16x112/incomplete.XYZ_2.3.0"
    left.mkdir(parents=True)
    (left / "dataset_info.json").write_text("{}")
    _, records = read_back(tmp_path / "casme2", tmp_path / "data")
    assert len(records) == len(FEW)


def test_metadata_contains_no_absolute_path(tmp_path):
    write_tree(tmp_path / "casme2", rows=FEW[:2])
    shutil.rmtree(tmp_path / "casme2/Cropped" / id_of(FEW[0]))
    folder = prepare.prepare(
        "casme2", manual_dir=tmp_path / "casme2", data_dir=tmp_path / "data"
    )
    text = (folder / "metadata.json").read_text()
    assert json.loads(text)["left_out"] and str(tmp_path) not in text


def _append(manual_dir, cells):
    _rewrite(manual_dir, lambda rows: [*rows, cells])


def _rewrite(manual_dir, change):
    path = manual_dir / "CASME2-coding-20190701.xlsx"
    book = openpyxl.load_workbook(path)
    rows = change(list(book.active.values))
    book.active.delete_rows(1, book.active.max_row)
    for number, row in enumerate(rows, start=1):
        for column, value in enumerate(row, start=1):
            book.active.cell(number, column, value)
    book.save(path)
