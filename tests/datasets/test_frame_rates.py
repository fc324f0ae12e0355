"""Frame rates are recorded, and a window can cover the same time in all data sets."""

import dataclasses
import re

import pytest

from datasets import DataError, prepare
from datasets.check import check
from datasets.source.columns import Columns
from datasets.source.examples import make_example
from datasets.source.local_copy import open_local_copy
from datasets.source.releases import Release
from datasets.source.specification import LocalCopyConfig, Specification
from tests.datasets import cas_me_2_tree, casme2_tree, casme_tree
from tests.datasets.casme2_tree import ROWS, id_of, read_colours
from tests.datasets.reading import read_back
from tests.datasets.tree import RAW, frame_image, write_csv
from tests.meranet_jax.video.test_video_file import write

ROW = next(row for row in ROWS if row.apex and 60 < row.apex < 100)

# A data set of one's own, whose frame rate is not stated
OWN = Specification(
    name="mylab",
    title="MyLab",
    emotions=("joy",),
    columns=Columns(
        headers={
            "subject": ("Subject",),
            "clip": ("Clip",),
            "onset": ("Onset",),
            "apex": ("Apex",),
            "offset": ("Offset",),
            "emotion": ("Emotion",),
        }
    ),
    tables=((("codes.csv", re.compile("codes")),),),
    releases=(Release("films", (("films",),), full_recording=True),),
    expected_layout="codes.csv, films/<subject>/<clip>.mp4",
)


@pytest.mark.parametrize(
    ("name", "tree", "rate"),
    [
        ("casme", casme_tree, 60),
        ("casme2", casme2_tree, 200),
        ("cas_me_2", cas_me_2_tree, 30),
    ],
)
def test_records_have_the_frame_rate(tmp_path, name, tree, rate):
    rows = [row for row in tree.ROWS if getattr(row, "kind", "micro") != "macro"][:6]
    tree.write_tree(tmp_path / "copy", rows=rows)
    options = {"expressions": "both"} if name == "cas_me_2" else {}
    info, records = read_back(
        name, tmp_path / "copy", tmp_path / "data", crop="none", size=16, **options
    )
    assert info.metadata["frame_rates"] == [rate]
    assert {float(record["frame_rate"]) for record in records.values()} == {rate}


def test_rate_selects_frames_by_time(tmp_path):
    casme2_tree.write_tree(tmp_path / "copy", release="CASME2-RAW", rows=[ROW])
    _, records = read_back(
        "casme2",
        tmp_path / "copy",
        tmp_path / "data",
        crop="none",
        rate=50,
        window=8,
        frames=8,
    )
    # 8 frames at 50 Hz are 160 ms, as 32 frames at 200 Hz: every fourth of these.
    read = [read_colours(frame)[1] for frame in records[id_of(ROW)]["clip"]]
    assert read == list(range(ROW.apex - 16, ROW.apex + 16, 4))
    # They replace no records at the frame rate of the recordings.
    assert (tmp_path / "data/casme2/apex8-8x112-50hz-none").is_dir()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0.0}, "--rate=0.0 must be from 1 to 10000 Hz"),
        ({"rate": float("nan")}, "--rate=nan must be from 1 to 10000 Hz"),
        ({"rate": 30.0, "sampling": "tim"}, "--rate=30 applies to --sampling=apex"),
    ],
)
def test_invalid_rates_raise(options, message):
    with pytest.raises(DataError, match=message):
        prepare.configuration("casme2", prepare.Options(**options))


def write_films(folder, times, rows):
    """Writes a table and a video with a frame at each of these times in ms."""
    table = [[1, "c1", *numbers, "joy"] for numbers in rows]
    header = ["Subject", "Clip", "Onset", "Apex", "Offset", "Emotion"]
    write_csv(folder / "codes.csv", [header, *table])
    (folder / "films/sub01").mkdir(parents=True)
    images = [frame_image(0, round(t * 25 / 1000) + 1, RAW) for t in times]
    write(folder / "films/sub01/c1.mp4", images, times=times, codec="libx264", crf="5")


def read_own(folder, **options):
    config = LocalCopyConfig(name="x", crop="none", **options)
    copy = open_local_copy(OWN, config, folder)
    return [make_example(copy, config, *row) for row in copy.rows]


def test_the_frame_rate_of_videos_is_used_where_none_is_stated(tmp_path):
    times = [40 * n for n in range(30)]
    write_films(tmp_path, times, [(5, 15, 25)])
    (example,) = read_own(tmp_path, window=8, frames=8)
    assert example.record["frame_rate"] == 25
    # 8 frames at 100 Hz, of which each frame of 25 Hz is up to four
    (example,) = read_own(tmp_path, window=8, frames=8, rate=100)
    read = [read_colours(frame)[1] for frame in example.record["clip"]]
    assert read == [14, 14, 14, 15, 15, 15, 16, 16]


def test_a_variable_frame_rate_is_named_and_frames_have_their_times(tmp_path):
    times = [40 * n for n in range(30) if n not in (12, 17, 18)]
    write_films(tmp_path, times, [(5, 15, 25)])
    (example,) = read_own(tmp_path, window=8, frames=8)
    read = [read_colours(frame)[1] for frame in example.record["clip"]]
    # Numbers 13, 18 and 19 have no frame; the nearest ones replace them.
    assert read == [11, 12, 12, 14, 15, 16, 17, 17]
    kinds = [note.kind for note in example.notes]
    assert kinds[:2] == ["variable frame rate", "missing frames bridged"]
    assert "by presentation time at 25 Hz" in example.notes[0].text


def test_rate_needs_a_frame_rate(tmp_path):
    casme2_tree.write_tree(tmp_path / "copy", release="CASME2-RAW", rows=[ROW])
    (tmp_path / "copy/CASME2-RAW").rename(tmp_path / "copy/films")
    for path in (tmp_path / "copy").glob("*.xlsx"):
        path.unlink()
    cells = [[ROW.subject, ROW.clip, ROW.onset, ROW.apex, ROW.offset, "joy"]]
    header = ["Subject", "Clip", "Onset", "Apex", "Offset", "Emotion"]
    write_csv(tmp_path / "copy/codes.csv", [header, *cells])
    (example,) = read_own(tmp_path / "copy")
    assert example.record["frame_rate"] == 0  # unknown
    (example,) = read_own(tmp_path / "copy", rate=50)
    assert "its frame rate is unknown, so that --rate=50" in example.reason


def test_the_check_accepts_a_rate(tmp_path):
    casme2_tree.write_tree(tmp_path, rows=[ROW])
    options = prepare.Options(rate=100.0, window=16)
    report = check("casme2", tmp_path, options=options)
    assert report.data_set == "casme2/apex16-16x112-100hz" and report.records == 1
    assert dataclasses.asdict(options)["rate"] == 100
