"""The CAS(ME)^2 builder on generated copies of every release and table."""

import collections

import pytest

from datasets import DataError, prepare
from datasets.cas_me_2.cas_me_2_dataset_builder import SPECIFICATION
from tests.datasets import cas_me_2_tree
from tests.datasets.cas_me_2_tree import MICRO, RELEASES, ROWS, SOME, TABLES
from tests.datasets.reading import read_back
from tests.datasets.tree import read_colours

FEW_MICRO = [row for row in SOME if row in MICRO]


def crop(release):
    return "provided" if release == "cropped" else "none"


def id_of(row):
    return f"sub{row.subject}/{row.clip}"


# The table is read before the frames are searched.
@pytest.mark.parametrize(
    ("release", "table"),
    [(release, TABLES[0]) for release in RELEASES]
    + [("cropped", table) for table in TABLES[1:]],
)
def test_every_release_and_every_table(tmp_path, release, table):
    cas_me_2_tree.write_tree(tmp_path / "copy", release=release, table=table, rows=SOME)
    info, records = read_back(
        "cas_me_2", tmp_path / "copy", tmp_path / "d", crop=crop(release)
    )
    assert [e for e in info.metadata["left_out"] if e["row"]] == []
    assert len(FEW_MICRO) >= 5 and set(records) == set(map(id_of, FEW_MICRO))
    names = info.features["emotion"].names
    estimated = info.features["estimated_emotion"].names
    for row in FEW_MICRO:
        record = records[id_of(row)]
        stimulus = row.clip.rstrip("0123456789_")
        assert names[record["emotion"]] == {"happy": "happiness"}.get(
            stimulus, stimulus
        )
        assert estimated[record["estimated_emotion"]] == row.emotion
        assert record["self_reported_emotion"].decode() == row.self_reported.lower()
        assert (record["onset"], record["apex"]) == (row.onset, row.apex)
        assert record["offset"] == row.offset
        clips, numbers = zip(*map(read_colours, record["clip"]), strict=True)
        raw = release.startswith("raw")
        place = cas_me_2_tree.recording_place if raw else cas_me_2_tree.place_of
        assert set(clips) == {place(row)}
        wanted = range(row.apex - 8, row.apex + 8)
        for number, expected in zip(numbers, wanted, strict=True):
            if raw:  # the recording continues
                assert number == max(expected, 1)
            else:
                assert number == min(max(expected, row.onset), row.offset)


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """A complete copy, with the frames of the expressions."""
    folder = tmp_path_factory.mktemp("complete")
    cas_me_2_tree.write_tree(folder, rows=ROWS)
    return folder


@pytest.mark.parametrize(
    ("expressions", "number"),
    [("micro", 57), pytest.param("macro", 300, marks=pytest.mark.slow), ("both", 357)],
)
def test_complete_data_set_with_its_irregularities(
    complete, tmp_path, expressions, number
):
    info, records = read_back(
        "cas_me_2",
        complete,
        tmp_path / "data",
        crop="none",
        expressions=expressions,
        size=16,
        frames=2,
    )
    assert len(records) == number
    assert info.metadata["left_out"] == []
    kinds = collections.Counter(record["expression"] for record in records.values())
    assert (
        kinds
        == {"micro": {0: 57}, "macro": {1: 300}, "both": {0: 57, 1: 300}}[expressions]
    )
    names = info.features["emotion"].names
    if expressions == "micro":
        found = collections.Counter(names[r["emotion"]] for r in records.values())
        assert dict(found) == {"happiness": 22, "disgust": 18, "anger": 17}
        assert {record["subject"].decode() for record in records.values()} == {
            f"sub{row.subject}" for row in MICRO
        }
    else:
        estimated = [r for r in records.values() if r["offset_estimated"]]
        assert len(estimated) == 44  # 0 in the table
        # One apex is 0 and three lie after the offset.
        assert sum(r["apex_estimated"] for r in records.values()) == 4


def test_recording_in_another_subjects_folder_is_found(tmp_path):
    rows = [row for row in ROWS if row.subject == 23 and row.stimulus == "happy1"]
    rows += [row for row in ROWS if row.subject == 19][:2]
    assert len(rows) > 2
    cas_me_2_tree.write_tree(tmp_path / "copy", release="rawpic", rows=rows)
    assert list((tmp_path / "copy/rawpic/s19").glob("23_0502*"))
    assert not list((tmp_path / "copy/rawpic").glob("s23/23_0502*"))
    _, records = read_back(
        "cas_me_2", tmp_path / "copy", tmp_path / "d", crop="none", expressions="both"
    )
    assert set(records) == set(map(id_of, rows))
    for row in rows:
        clip, _ = read_colours(records[id_of(row)]["clip"][8])
        assert clip == cas_me_2_tree.recording_place(row)


def test_folders_missing_in_the_cropped_release_are_reported(tmp_path):
    cas_me_2_tree.write_tree(
        tmp_path / "copy", release="cropped", rows=FEW_MICRO, absent=2
    )
    info, records = read_back("cas_me_2", tmp_path / "copy", tmp_path / "data")
    left_out = info.metadata["left_out"]
    assert len(records) == len(FEW_MICRO) - 2 and len(left_out) == 2
    assert {entry["reason"] for entry in left_out} == {
        "there is no folder for it in cropped"
    }


@pytest.mark.parametrize(
    ("written", "subjects"),
    [
        ([1, 22, "3.0", 15], ["sub15", "sub40", "sub19", "sub32"]),  # participants
        ([15, 16, 22, 40], ["sub15", "sub16", "sub22", "sub40"]),  # folders
        (["s15", 15, 1], ["sub15", "sub32", "sub15"]),
        (["s17", 0, "x", 2], [None, None, None, "sub16"]),
        ([1, 2] * 9 + [33], ["sub15", "sub16"] * 9 + [None]),  # one mistyped number
        ([23, 15] * 9 + [3], ["sub23", "sub15"] * 9 + [None]),
        (["s15", "s19"], ["sub15", "sub19"]),
    ],
)
def test_subjects_may_be_participants_or_folders(written, subjects):
    assert list(map(SPECIFICATION.columns.subject_parser(written), written)) == subjects


@pytest.mark.parametrize("written", [[17, 23], [15, 16, 19, 20, 21, 22]])
def test_ambiguous_subjects_raise(written):
    with pytest.raises(DataError, match="Write the numbers of the folders with an s"):
        SPECIFICATION.columns.subject_parser(written)


def test_invalid_expressions_option_raises():
    with pytest.raises(DataError, match="must be one of micro, macro, both"):
        prepare.configuration("cas_me_2", prepare.Options(expressions="tiny"))
