"""Data sets without a table: the names of folders are the labels."""

import shutil

import pytest

from datasets import DataError
from datasets.source.columns import Columns
from datasets.source.local_copy import open_local_copy
from datasets.source.releases import Release
from datasets.source.specification import LocalCopyConfig, Specification
from tests.datasets.tree import touch

EMOTIONS = {"po": "positive", "ne": "negative"}


def label(names):
    """``s1/micro/positive/s1_po_01`` is positive."""
    *folders, clip = names
    emotion = EMOTIONS.get((clip.split("_") + [""])[1])
    if emotion and emotion not in folders:
        raise DataError(f"its folder is {folders[-1]}, and its name says {emotion}")
    return emotion


SPECIFICATION = Specification(
    name="mylab",
    title="MyLab",
    emotions=("negative", "positive"),
    columns=Columns(headers={}),
    tables=(),
    releases=(
        Release("crops", (("all_cropped/HS",),), cropped=True),
        Release("raw", (("all_raw/HS",),)),
    ),
    expected_layout="HS/s1/micro/positive/s1_po_01/<number>.bmp",
    label_of_folders=label,
)


def open_copy(folder, **options):
    return open_local_copy(SPECIFICATION, LocalCopyConfig(name="x", **options), folder)


def images(place, first, last):
    return [f"{place}/image{number}.bmp" for number in range(first, last + 1)]


def test_folders_become_rows_with_their_first_and_last_frame(tmp_path):
    touch(
        tmp_path,
        *images("all_cropped/HS/s1/micro/positive/s1_po_01", 175, 190),
        *images("all_cropped/HS/s2/micro/negative/s2_ne_01", 9, 30),
    )
    copy = open_copy(tmp_path)
    found = [
        (clip_id, row.subject, row.emotion, row.onset, row.apex, row.offset)
        for clip_id, row in copy.rows
    ]
    assert found == [
        ("sub01/s1_po_01", "sub01", "positive", 175, None, 190),
        ("sub02/s2_ne_01", "sub02", "negative", 9, None, 30),
    ]
    assert copy.left_out == () and copy.crop == "provided"
    assert copy.describe()["table"] == "names of the folders in all_cropped/HS"


def test_the_place_is_that_of_the_rows_and_not_that_of_most_folders(tmp_path):
    # Another data set in the same folder has more clips, none of which is named so.
    touch(
        tmp_path,
        *(f"other/faces/s{n}/anger{n}/image1.bmp" for n in range(1, 9)),
        *images("all_cropped/HS/s1/micro/positive/s1_po_01", 1, 9),
    )
    copy = open_copy(tmp_path)
    assert copy.describe()["table"] == "names of the folders in all_cropped/HS"


def test_folder_that_names_no_expression_is_reported(tmp_path):
    touch(
        tmp_path,
        *images("all_cropped/HS/s1/micro/positive/s1_po_01", 1, 9),
        *images("all_cropped/HS/s1/non_micro/s1_non_01", 1, 9),
    )
    copy = open_copy(tmp_path)
    assert len(copy.rows) == 1
    (entry,) = copy.left_out
    assert (entry.row, entry.subject, entry.clip) == (None, "sub01", "s1_non_01")
    assert entry.reason == "its name is not that of an expression"


def test_folder_whose_names_contradict_each_other_is_left_out(tmp_path):
    touch(
        tmp_path,
        *images("all_cropped/HS/s1/micro/positive/s1_po_01", 1, 9),
        *images("all_cropped/HS/s1/micro/positive/s1_ne_02", 1, 9),
    )
    (entry,) = open_copy(tmp_path).left_out
    assert (entry.row, entry.clip) == (1, "s1_ne_02")
    assert entry.reason == "its folder is positive, and its name says negative"
    shutil.rmtree(tmp_path / "all_cropped/HS/s1/micro/positive/s1_po_01")
    message = (
        "No folder in .*all_cropped/HS can become a record.\n"
        "  folder 1 in all_cropped/HS/s1/micro/positive .sub01/s1_ne_02.: its .*\n"
        "Check that the frames and the names of their folders are those of MyLab"
    )
    with pytest.raises(DataError, match=message):
        open_copy(tmp_path)


def test_clip_of_one_form_only_is_missing_in_the_other(tmp_path):
    raw, crops = "all_raw/HS/s1/micro", "all_cropped/HS/s1/micro"
    touch(
        tmp_path,
        *images(f"{raw}/positive/s1_po_01", 11, 20),
        *images(f"{raw}/negative/s1_ne_01", 31, 40),
        # Numbered otherwise than the recording: the clip's own numbers count.
        *images(f"{crops}/positive/s1_po_01", 1, 10),
        f"{crops}/negative/s1_ne_01/Thumbs.db",
    )
    copy = open_copy(tmp_path)
    rows = dict(copy.rows)
    assert copy.release.release.name == "crops"
    assert (rows["sub01/s1_po_01"].onset, rows["sub01/s1_po_01"].offset) == (1, 10)
    assert set(rows) == {"sub01/s1_po_01", "sub01/s1_ne_01"}
    copy = open_copy(tmp_path, release="raw")
    assert dict(copy.rows)["sub01/s1_po_01"].onset == 11


def test_copy_without_such_folders_is_refused(tmp_path):
    touch(tmp_path, *images("all_cropped/HS/s1/other", 1, 9))
    with pytest.raises(DataError, match="is named like an expression of MyLab"):
        open_copy(tmp_path)
    touch(tmp_path, *images("all_cropped/HS/s1/micro/positive/s1_po_01", 1, 9))
    with pytest.raises(DataError, match="MyLab has no table"):
        open_copy(tmp_path, table=("t.csv",))
