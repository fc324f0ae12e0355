"""The CASME builder on generated copies of every release and table."""

import collections
import dataclasses

import pytest

from datasets import DataError
from datasets.casme.casme_dataset_builder import SPECIFICATION
from tests.datasets import casme_tree
from tests.datasets.casme_tree import CROPPED_ROWS, RELEASES, ROWS, SOME, TABLES
from tests.datasets.reading import read_back
from tests.datasets.tree import read_colours

# Every emotion, both sections, and both expressions of SOME without a second apex
FEW = SOME[:13]


def crop(release):
    return "provided" if release == "Cropped" else "none"


def ids_of(rows):
    counts = collections.Counter((row.subject, row.clip) for row in rows)
    return [
        f"sub{row.subject:02d}/{row.clip}"
        + f"@{row.onset}" * (counts[row.subject, row.clip] > 1)
        for row in rows
    ]


# The table is read before the frames are searched.
@pytest.mark.parametrize(
    ("release", "table"),
    [(release, "sections") for release in RELEASES]
    + [("Cropped", table) for table in TABLES if table != "sections"],
)
def test_every_release_and_every_table(tmp_path, release, table):
    casme_tree.write_tree(tmp_path / "copy", release=release, table=table, rows=FEW)
    info, records = read_back(
        "casme", tmp_path / "copy", tmp_path / "d", crop=crop(release)
    )
    assert info.metadata["left_out"] == []
    emotions = info.features["emotion"].names
    assert set(records) == set(ids_of(FEW))
    for row, clip_id in zip(FEW, ids_of(FEW), strict=True):
        record = records[clip_id]
        assert emotions[record["emotion"]] == row.emotion
        assert (record["onset"], record["apex"]) == (row.onset, row.apex)
        assert record["offset"] == row.offset
        assert record["second_apex"] == (-1 if row.apex2 is None else row.apex2)
        assert not record["apex_estimated"] and not record["offset_estimated"]
        clips, numbers = zip(*map(read_colours, record["clip"]), strict=True)
        assert set(clips) == {casme_tree.place_of(row)}
        assert numbers[8] == row.apex  # the window's middle
        inside = [n for n in range(row.apex - 16, row.apex + 15, 2)]
        for number, wanted in zip(numbers, inside, strict=True):
            if release in ("Cropped", "CASME_raw_selected"):
                assert number == min(max(wanted, row.onset), row.offset)
            else:  # the recording continues for 12 frames
                assert number == min(max(wanted, 1), row.offset + 12)


def test_complete_data_set_with_its_irregularities(tmp_path):
    casme_tree.write_tree(tmp_path / "copy", release="video", rows=ROWS)
    info, records = read_back(
        *("casme", tmp_path / "copy", tmp_path / "data"),
        **{"crop": "none", "size": 16, "frames": 2},
    )
    assert info.metadata["left_out"] == []
    assert set(records) == set(ids_of(ROWS))
    repeated = [clip_id for clip_id in records if "@" in clip_id]
    assert len(repeated) == 8  # four clips with two expressions each
    names = info.features["emotion"].names
    found = collections.Counter(names[r["emotion"]] for r in records.values())
    assert found == collections.Counter(row.emotion for row in ROWS)
    assert dict(found) in SPECIFICATION.published_counts.values()
    assert found["contempt"] == 2  # spelt comtempt in the table
    estimated = [r for r in records.values() if r["offset_estimated"]]
    assert len(estimated) == 21
    # An expression fades as long as it rose, unless the recording ends before; it ends
    # 21 frames after the apex.
    for record in estimated:
        rose = record["apex"] - record["onset"]
        assert record["offset"] == record["apex"] + min(rose, 21)
    assert sum(r["offset"] - r["apex"] == 21 for r in estimated) < len(estimated) / 2


def test_missing_offset_in_the_cropped_release_is_the_last_frame(tmp_path):
    row = next(row for row in ROWS if row.offset is None)
    casme_tree.write_tree(tmp_path / "copy", release="Cropped", rows=[row])
    _, records = read_back("casme", tmp_path / "copy", tmp_path / "data")
    ((clip_id, record),) = records.items()
    assert record["offset_estimated"] and record["offset"] == row.apex + 9


def test_the_cropped_release_with_its_own_table(tmp_path):
    casme_tree.write_tree(
        tmp_path / "copy", release="Cropped", table="merged-xlsx", rows=CROPPED_ROWS
    )
    info, records = read_back(
        "casme", tmp_path / "copy", tmp_path / "data", size=16, frames=2
    )
    assert len(records) == 193 and info.metadata["left_out"] == []
    assert info.metadata["crop"] == "provided"


def test_missing_section_is_noted(tmp_path):
    rows = [row for row in FEW if row.subject < 8]
    casme_tree.write_tree(tmp_path / "copy", release="raw", rows=rows)
    info, records = read_back(
        "casme", tmp_path / "copy", tmp_path / "data", crop="none"
    )
    assert len(records) == len(rows)
    assert any("Section B.xls" in note for note in info.metadata["notes"])


def test_single_table_is_preferred_to_sections(tmp_path):
    casme_tree.write_tree(tmp_path / "copy", release="raw", rows=FEW)
    casme_tree.write_table(tmp_path / "copy", table="merged-csv", rows=FEW[:5])
    info, records = read_back(
        "casme", tmp_path / "copy", tmp_path / "data", crop="none"
    )
    assert info.metadata["table"].startswith("CASME.csv")
    assert len(records) == 5
    frames_without = [e for e in info.metadata["left_out"] if e["row"] is None]
    assert len(frames_without) == len({(r.subject, r.clip) for r in FEW[5:]})


def test_invalid_second_apex_is_reported(tmp_path):
    rows = [SOME[0], dataclasses.replace(SOME[1], apex2="late")]
    casme_tree.write_tree(tmp_path / "copy", release="Cropped", rows=rows)
    info, records = read_back("casme", tmp_path / "copy", tmp_path / "data")
    (entry,) = info.metadata["left_out"]
    assert "second apex 'late' is not a frame number" in entry["reason"]
    assert len(records) == 1


def test_table_of_another_data_set_raises(tmp_path):
    from tests.datasets import casme2_tree

    casme2_tree.write_tree(tmp_path / "copy", rows=casme2_tree.ROWS[:3])
    with pytest.raises(DataError, match="No table of CASME was found") as error:
        read_back("casme", tmp_path / "copy", tmp_path / "data")
    assert "the columns of CASME II's table, the data set casme2" in str(error.value)
