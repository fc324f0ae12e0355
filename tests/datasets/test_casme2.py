"""The CASME II builder on generated copies in the real form."""

import csv
import dataclasses
import time

import numpy as np
import openpyxl
import pytest
from PIL import Image

from datasets import DataError, prepare
from datasets.casme2.casme2_dataset_builder import SPECIFICATION
from meranet_jax.video import frames, images
from meranet_jax.video.frames import numbered_frames
from tests.datasets import reading
from tests.datasets.casme2_tree import (
    RELEASES,
    ROWS,
    SOME,
    TABLES,
    id_of,
    read_colours,
    write_frames,
    write_table,
    write_tree,
)
from tests.datasets.motion import moving_clip

FEW = ROWS[:6]  # the sixth has no apex
EMOTIONS = SPECIFICATION.emotions


def read_back(manual_dir, data_dir, **options):
    """Returns the metadata and the records by clip id."""
    info, records = reading.read_back("casme2", manual_dir, data_dir, **options)
    return info.metadata, records


def frames_of(record):
    """Returns the clip and the numbers of a record's frames."""
    clips, numbers = zip(*map(read_colours, record["clip"]), strict=True)
    assert len(set(clips)) == 1
    return clips[0], list(numbers)


def window(apex, first, last):
    """Returns every second frame number, starting 16 before the apex (section 4.2)."""
    return [min(max(apex - 16 + 2 * k, first), last) for k in range(16)]


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_gives_the_same_records(tmp_path, release):
    write_tree(tmp_path / "casme2", release=release, rows=FEW)
    # The generated frames show colours and no face.
    crop = "auto" if "Cropped" in release else "none"
    metadata, records = read_back(tmp_path / "casme2", tmp_path / "data", crop=crop)
    assert metadata["left_out"] == []
    assert release.partition("-u")[0].partition(" ")[0] in metadata["release"]
    assert set(records) == {id_of(row) for row in FEW}
    for place, row in enumerate(FEW):
        record = records[id_of(row)]
        middle = (row.onset + row.offset) // 2
        apex = middle if row.apex is None else row.apex
        for name, number in (("onset_frame", row.onset), ("apex_frame", apex)):
            assert record[name].shape == (112, 112, 3)
            assert read_colours(record[name]) == (frames_of(record)[0], number)
        assert record["clip"].shape == (16, 112, 112, 3)
        assert record["clip"].dtype == np.uint8
        # The window is within every release, so all of them contain its frames.
        expected = window(apex, row.onset, row.offset)
        assert len(set(expected)) == 16 and apex in expected
        assert frames_of(record) == (place, expected)
        assert record["subject"].decode() == f"sub{row.subject:02d}"
        assert EMOTIONS[record["emotion"]] == row.emotions[1]
        assert record["action_units"].decode() == str(row.action_units)
        assert (record["onset"], record["apex"]) == (row.onset, apex)
        assert record["offset"] == row.offset
        assert record["apex_estimated"] == (row.apex is None)
    assert [r["apex_estimated"] for r in records.values()].count(True) == 1


@pytest.mark.parametrize("end", ["onset", "offset"])
def test_edge_frames_are_repeated_at_the_ends_of_the_recording(tmp_path, end):
    row = dataclasses.replace(ROWS[2], apex=getattr(ROWS[2], end))
    write_tree(tmp_path / "cropped", rows=[row])
    write_tree(tmp_path / "full", release="CASME2-RAW", rows=[row])

    _, records = read_back(tmp_path / "cropped", tmp_path / "cropped_data")
    _, numbers = frames_of(records[id_of(row)])
    assert numbers == window(row.apex, row.onset, row.offset)
    assert numbers.count(row.apex) >= 8

    # The full recording extends beyond the expression.
    _, records = read_back(tmp_path / "full", tmp_path / "full_data", crop="none")
    _, numbers = frames_of(records[id_of(row)])
    assert numbers == window(row.apex, 1, row.offset + 9)


@pytest.mark.parametrize("table", TABLES)
def test_every_generation_of_the_table(tmp_path, table):
    write_tree(tmp_path / "casme2", table=table, rows=SOME)
    metadata, records = read_back(tmp_path / "casme2", tmp_path / "data")
    assert TABLES[table] in metadata["table"] and metadata["left_out"] == []
    found = [EMOTIONS[record["emotion"]] for record in records.values()]
    later = table != "20140508"
    assert {emotion: found.count(emotion) for emotion in EMOTIONS} == {
        "disgust": 20,
        "fear": 1,
        "happiness": 13,
        "others": 10,
        "repression": 4,
        "sadness": 1 if later else 4,
        "surprise": 11 if later else 8,
    }


def test_the_papers_table_is_preferred_and_noted(tmp_path):
    write_tree(tmp_path / "casme2", table="20140508", rows=FEW)
    write_table(tmp_path / "casme2/CASME2-coding-updated.xlsx", rows=FEW)
    write_table(tmp_path / "casme2/papers/CASME2-coding-20190701.xlsx", rows=FEW)
    metadata, _ = read_back(tmp_path / "casme2", tmp_path / "data")
    assert metadata["table"] == "papers/CASME2-coding-20190701.xlsx, sheet Sheet1"
    assert metadata["notes"][0] == (
        "several tables were found: papers/CASME2-coding-20190701.xlsx was read, not "
        "CASME2-coding-20140508.xlsx, CASME2-coding-updated.xlsx"
    )


def test_updated_table_is_the_second_choice(tmp_path):
    write_tree(tmp_path / "casme2", table="20140508", rows=FEW[:1])
    write_table(tmp_path / "casme2/CASME2-coding-updated.xlsx", rows=FEW[:1])
    metadata, _ = read_back(tmp_path / "casme2", tmp_path / "data")
    assert metadata["table"].startswith("CASME2-coding-updated.xlsx")

    write_table(tmp_path / "casme2/CASME2-coding-20180101.xlsx", rows=FEW[:1])
    (tmp_path / "casme2/CASME2-coding-updated.xlsx").unlink()
    metadata, _ = read_back(tmp_path / "casme2", tmp_path / "data2")
    assert metadata["table"].startswith("CASME2-coding-20180101.xlsx")

    # --table overrides any preference.
    asked_for = "CASME2-coding-20140508.xlsx"
    metadata, _ = read_back(tmp_path / "casme2", tmp_path / "data", table=(asked_for,))
    assert metadata["table"].startswith(asked_for)
    assert "--table leaves out CASME2-coding-20180101.xlsx" in metadata["notes"][0]
    with pytest.raises(DataError, match="no table 2013.xlsx.*\n?.*coding-20180101"):
        read_back(tmp_path / "casme2", tmp_path / "data", table=("2013.xlsx",))


def test_objective_classes_are_read_where_the_table_has_them(tmp_path):
    write_tree(tmp_path / "casme2", table="updated", rows=FEW)
    _, records = read_back(tmp_path / "casme2", tmp_path / "data")
    found = [int(records[id_of(row)]["objective_class"]) for row in FEW]
    assert found == [4, 1, 2, 7, 4, 4]  # those of the generated table
    write_tree(tmp_path / "other", rows=FEW)
    _, records = read_back(tmp_path / "other", tmp_path / "data2")
    assert {int(record["objective_class"]) for record in records.values()} == {0}


def test_table_with_unknown_name_is_found_by_its_columns(tmp_path):
    write_tree(tmp_path / "casme2", rows=FEW)
    path = tmp_path / "casme2/CASME2-coding-20190701.xlsx"
    path.rename(path.with_name("表 1.xlsx"))
    metadata, records = read_back(tmp_path / "casme2", tmp_path / "data")
    assert metadata["table"].startswith("表 1.xlsx") and len(records) == len(FEW)
    assert metadata["notes"][0].startswith("表 1.xlsx was read: its name is unknown")


def test_cropped_release_is_preferred_unless_options_exclude_it(tmp_path):
    manual_dir, data_dir = tmp_path / "casme2", tmp_path / "data"
    write_tree(manual_dir, release="CASME2-RAW", rows=FEW)
    write_frames(manual_dir / "faces", release="Cropped", rows=FEW[:4])
    metadata, records = read_back(manual_dir, data_dir)
    assert metadata["release"] == "Cropped, in faces/Cropped"
    assert metadata["crop"] == "provided"
    assert (
        "CASME2-RAW (6 of the table's 6 expressions) was not read" in metadata["notes"]
    )
    assert len(records) == 4 and len(metadata["left_out"]) == 2
    for options in ({"crop": "none"}, {"crop": "none", "release": "CASME2-RAW"}):
        metadata, records = read_back(manual_dir, data_dir, **options)
        assert metadata["release"] == "CASME2-RAW, in CASME2-RAW"
        assert metadata["crop"] == "none" and len(records) == 6
    # Each configuration has its own folder; none replaced another.
    assert {path.parent.name for path in data_dir.glob("casme2/*/2.3.0")} == {
        "apex32-16x112",
        "apex32-16x112-none",
        "apex32-16x112-none-release_CASME2-RAW",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"release": "Croped"},
            "release of CASME II.*: Cropped, CASME2_RAW_selected, CASME2-RAW",
        ),
        ({"release": "CASME2-RAW", "crop": "provided"}, "which is not cropped"),
        ({"release": "Cropped", "crop": "detect"}, "which is cropped"),
        ({"crop": "detect"}, "CASME2_RAW_selected or CASME2-RAW"),
        ({"crop": "faces"}, "must be one of auto, provided, detect, none"),
        ({"frames": 0}, "--frames=0 must be from 1"),
        ({"frames": 40}, "--window=32: 40 frames cannot be drawn"),
        ({"size": 5000}, "--size=5000 must be from 16"),
        ({"margin": -0.5}, "--margin=-0.5"),
        ({"apex": "onset"}, "--apex=onset must be one of table, middle, spotted"),
        ({"expressions": "both"}, "casme2 has no --expressions; it has --sampling"),
    ],
)
def test_invalid_options_raise(tmp_path, options, message):
    write_tree(tmp_path / "casme2", rows=FEW[:1])
    with pytest.raises(DataError, match=message):
        read_back(tmp_path / "casme2", tmp_path / "data", **options)
    assert not list(tmp_path.glob("data/casme2/*/2.3.0"))


def test_uniform_sampling_selects_frames_from_onset_to_offset(tmp_path):
    row = ROWS[2]
    write_tree(tmp_path / "casme2", release="CASME2-RAW", rows=[row])
    options = {"sampling": "uniform", "frames": 5, "size": 64, "crop": "none"}
    _, records = read_back(tmp_path / "casme2", tmp_path / "data", **options)
    record = records[id_of(row)]
    assert record["clip"].shape == (5, 64, 64, 3)
    length = row.offset - row.onset
    expected = [round(row.onset + length * k / 4) for k in range(5)]
    assert frames_of(record)[1] == expected


def test_tim_sampling_starts_and_ends_with_the_expression(tmp_path):
    row = ROWS[2]
    write_tree(tmp_path / "casme2", release="CASME2-RAW", rows=[row])
    _, records = read_back(
        tmp_path / "casme2", tmp_path / "data", sampling="tim", frames=7, crop="none"
    )
    record = records[id_of(row)]
    clip = record["clip"]
    assert clip.shape == (7, 112, 112, 3)
    ends = [read_colours(clip[index])[1] for index in (0, -1)]
    assert ends == [row.onset, row.offset]
    # Not interpolated: no frame of the clip is the apex, whose picture is the file's.
    path = tmp_path / "casme2/CASME2-RAW" / id_of(row) / f"img{row.apex}.jpg"
    apex_frame = images.resize(images.read_image(path), 112)
    assert (record["apex_frame"] == apex_frame).all()
    assert not any((frame == apex_frame).all() for frame in clip)


def test_each_frame_is_decoded_once(tmp_path, monkeypatch):
    write_tree(tmp_path / "casme2", rows=ROWS[:1])
    read, paths = frames.read_image, []
    monkeypatch.setattr(frames, "read_image", lambda p: paths.append(p) or read(p))
    _, records = read_back(tmp_path / "casme2", tmp_path / "data")
    (record,) = records.values()
    numbers = {record["onset"], *frames_of(record)[1]}
    assert len(paths) == len(set(paths)) == len(numbers)


def test_files_numbered_from_1_are_shifted_to_the_onset(tmp_path):
    row = ROWS[3]
    write_tree(tmp_path / "casme2", rows=[row])
    folder = tmp_path / "casme2/Cropped" / id_of(row)
    for number in range(row.onset, row.offset + 1):
        for path in folder.glob(f"reg_img{number}.*"):
            path.rename(folder / f"{number - row.onset + 1}.jpg")
    metadata, records = read_back(tmp_path / "casme2", tmp_path / "data")
    assert frames_of(records[id_of(row)])[1] == window(row.apex, row.onset, row.offset)
    note = metadata["notes"][0]
    assert "row 2" in note and "count from 1" in note


def test_files_of_a_recording_that_count_from_0_are_named(tmp_path):
    row = ROWS[3]
    write_tree(tmp_path / "casme2", release="CASME2-RAW", rows=[row])
    folder = tmp_path / "casme2/CASME2-RAW" / id_of(row)
    for number, path in numbered_frames(folder).items():
        path.rename(folder / f"{number - 1}.jpg")
    metadata, _ = read_back(tmp_path / "casme2", tmp_path / "data", crop="none")
    assert "its files count from 0" in metadata["notes"][0]


def test_two_expressions_of_a_clip_are_distinguished_by_onset(tmp_path):
    first = dataclasses.replace(ROWS[0], onset=20, apex=40, offset=60)
    second = dataclasses.replace(ROWS[0], onset=70, apex=90, offset=110)
    write_tree(
        tmp_path / "casme2", release="CASME2-RAW", rows=[first, second, ROWS[1], second]
    )
    metadata, records = read_back(tmp_path / "casme2", tmp_path / "data", crop="none")
    assert set(records) == {
        f"{id_of(first)}@20",
        f"{id_of(second)}@70",
        id_of(ROWS[1]),
    }
    assert frames_of(records[f"{id_of(second)}@70"])[1] == window(90, 1, 119)
    (entry,) = metadata["left_out"]
    assert entry["row"] == 5 and "row 3 has the same" in entry["reason"]


def test_equal_copies_give_identical_files(tmp_path):
    write_tree(tmp_path / "one", rows=FEW)
    # The same files, created in another order, and the table saved at another time.
    write_tree(tmp_path / "two", rows=FEW[::-1])
    time.sleep(1)
    write_table(tmp_path / "two/CASME2-coding-20190701.xlsx", rows=FEW)
    folders = [
        prepare.prepare("casme2", manual_dir=tmp_path / name, data_dir=tmp_path / data)
        for name, data in [("one", "data1"), ("two", "data2")]
    ]
    shards, metadata = (
        [[path.read_bytes() for path in sorted(f.glob(pattern))] for f in folders]
        for pattern in ("*.array_record*", "metadata.json")
    )
    assert shards[0] and shards[0] == shards[1]
    assert metadata[0] and metadata[0] == metadata[1]


def test_csv_table(tmp_path):
    write_tree(tmp_path / "casme2", rows=FEW)
    path = tmp_path / "casme2/CASME2-coding-20190701.xlsx"
    values = list(openpyxl.load_workbook(path).active.values)
    path.unlink()
    with path.with_suffix(".csv").open("w", newline="") as file:
        csv.writer(file).writerows(values)
    _, records = read_back(tmp_path / "casme2", tmp_path / "data")
    assert set(records) == {id_of(row) for row in FEW}


def test_missing_apex_is_spotted_or_leaves_its_row_out(tmp_path):
    row = FEW[5]
    write_tree(tmp_path / "casme2", rows=FEW)
    folder = tmp_path / "casme2/Cropped" / id_of(row)
    for path in folder.iterdir():
        path.unlink()
    numbers, peak = range(row.onset, row.offset + 1), row.onset + 9
    for number, frame in zip(
        numbers, moving_clip(len(numbers), peak - row.onset), strict=True
    ):
        Image.fromarray(frame).save(folder / f"reg_img{number}.jpg", quality=95)
    data_dir = tmp_path / "data"
    metadata, records = read_back(tmp_path / "casme2", data_dir, apex="spotted")
    record = records[id_of(row)]
    assert record["apex_estimated"] and abs(record["apex"] - peak) <= 2
    (note,) = [note for note in metadata["notes"] if "apex" in note]
    assert f"frame {record['apex']}, which differs most from the onset" in note
    assert records[id_of(FEW[0])]["apex"] == FEW[0].apex
    metadata, records = read_back(tmp_path / "casme2", data_dir, apex="table")
    assert set(records) == {id_of(row) for row in FEW[:5]}
    (entry,) = metadata["left_out"]
    assert "no apex is given; --apex=table" in entry["reason"]
    # Each way has records of its own.
    assert {path.parent.name for path in data_dir.glob("casme2/*/2.3.0")} == {
        "apex32-16x112-apex_spotted",
        "apex32-16x112-apex_table",
    }
