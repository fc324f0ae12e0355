"""Recordings of browsers, which have no duration, and names that are shown."""

import dataclasses
import json
import pickle

import av
import numpy as np
import pytest

from meranet_jax.errors import DataError
from meranet_jax.web import (
    corrections,
    page_data,
    saved_prediction,
    uploads,
    worker,
)
from meranet_jax.web.corrections import Correction
from meranet_jax.web.job_files import JobFiles
from tests.meranet_jax.prediction.predictions import RECOGNISER, event, prediction


def packets(path):
    with av.open(str(path)) as container:
        return [
            (p.pts, bytes(p), p.is_keyframe) for p in container.demux(video=0) if p.size
        ]


def write_live(path):
    """Writes ten frames as a browser does, without a duration."""
    with av.open(str(path), "w", format="webm", options={"live": "1"}) as container:
        stream = container.add_stream("libvpx", rate=25)
        stream.width, stream.height = 64, 48
        for n in range(10):
            picture = np.full((48, 64, 3), 20 * n, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())


def test_a_recording_without_duration_gets_one_without_encoding(tmp_path):
    path = tmp_path / "video.webm"
    write_live(path)
    before = packets(path)
    with av.open(str(path)) as container:
        assert container.duration is None
    worker.with_duration(path)
    with av.open(str(path)) as container:
        assert container.duration == pytest.approx(400_000, abs=50_000)
    assert packets(path) == before
    assert [one.name for one in tmp_path.iterdir()] == ["video.webm"]
    written = path.read_bytes()
    worker.with_duration(path)  # it has one now
    assert path.read_bytes() == written


def test_a_copy_that_cannot_be_written_is_no_damage(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "video.webm"
    write_live(path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            worker.with_duration(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["video.webm"]


def test_nothing_of_a_recording_is_lost(tmp_path):
    """Of H.264 with frames that refer to later ones, some packets have no dts."""
    path = tmp_path / "video.mkv"
    with av.open(str(path), "w", format="matroska", options={"live": "1"}) as file:
        stream = file.add_stream("libx264", rate=25, options={"bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        sound = file.add_stream("libopus", rate=48_000)
        for n in range(20):
            picture = np.random.default_rng(n).integers(0, 255, (48, 64, 3), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        quiet = av.AudioFrame.from_ndarray(
            np.zeros((1, 2 * 960), np.int16), format="s16", layout="stereo"
        )
        quiet.sample_rate = 48_000
        file.mux(sound.encode(quiet))
        file.mux([*stream.encode(), *sound.encode()])
    before = packets(path)
    assert len(before) == 20
    worker.with_duration(path)
    after = packets(path)
    assert [one[1:] for one in after] == [one[1:] for one in before]
    assert [one[0] for one in after] == [one[0] for one in before]
    with av.open(str(path)) as container:
        assert len(container.streams.audio) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["video.mkv"]


@pytest.mark.parametrize(
    "given, shown",
    [
        ("clip.mp4", "clip.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\films\\a b.avi", "a b.avi"),
        ("..", "recording"),
        ("", "recording"),
        ("a\0\n<b>.mp4", "a___b_.mp4"),
        ("Gespräch (3).webm", "Gespräch (3).webm"),
        ("x" * 300 + ".mp4", "x" * 116 + ".mp4"),
        ("表" * 300 + ".mp4", "表" * 38 + ".mp4"),
        ("." * 300, "recording"),
    ],
)
def test_names_have_no_folders_or_special_characters(given, shown):
    assert uploads.shown_name(given) == shown


def test_intervals_are_moved_to_frames():
    # Every fourth frame of a recording was analysed, and frames are not evenly spaced.
    frames = 240
    all_times = np.cumsum(np.r_[0, np.tile([1 / 60, 1 / 180], frames // 2)])
    made = prediction([event(1, 0.4, 0.5, 0.7, label="mine")], faces=())
    made = dataclasses.replace(
        made,
        all_times=all_times,
        all_numbers=np.arange(1, len(all_times) + 1),
        times=all_times[::4],
        numbers=np.arange(1, len(all_times) + 1, 4),
    )
    changed = {1: Correction("accepted", float(all_times[61]) + 0.001)}
    (found,) = corrections.corrected(made, changed).events
    assert found.onset.frame == 62 and found.onset.time == all_times[61]
    assert found.offset == made.events[0].offset, "it was not moved"
    assert found.apex == found.onset, "the apex is within the interval"
    assert found.label == "mine; accepted, moved" and found.kind == "micro"
    assert made.events[0].onset.time == 0.4


def test_a_prediction_is_saved(tmp_path):
    made = prediction()
    saved_prediction.save(made, tmp_path / "a.npz")
    read = saved_prediction.load(tmp_path / "a.npz")
    assert (read.events, read.recogniser, read.notes) == (
        made.events,
        made.recogniser,
        made.notes,
    )
    np.testing.assert_array_equal(read.all_times, made.all_times)
    for one, other in zip(read.faces, made.faces, strict=True):
        np.testing.assert_array_equal(one.signals.motion, other.signals.motion)
        assert one.signals.success.dtype == bool


def test_generated_data_sets_are_described(tmp_path):
    """Their names are in the details of a candidate only."""
    names = ("CASME II", "synthetic", "synthetic/wild_b_training")
    generated = dataclasses.replace(RECOGNISER, trained_on=names)
    of_job = JobFiles(tmp_path)
    page_data.write(prediction(recogniser=generated), "", of_job)
    shown = json.loads(of_job.page.read_text("utf-8"))
    assert shown["events"][0]["resembles"] == (
        "resembles clips labelled disgust in CASME II and a data set of generated "
        "faces (probability 0.70)"
    )
    assert shown["recogniser"]["trained_on"] == list(names)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", pickle.dumps(prediction())])
def test_another_file_is_no_prediction(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match="a.npz cannot be read"):
        saved_prediction.load(tmp_path / "a.npz")
