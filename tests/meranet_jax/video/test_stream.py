"""Frames that are read one after another: times, damage, folders, other files."""

import itertools
import random
import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from meranet_jax.errors import DataError
from meranet_jax.video import sampling, stream
from tests.meranet_jax.video.test_images import write_turned_video
from tests.meranet_jax.video.test_video_file import grey, number_of, picture, write

CONTAINERS = ["mp4", "mov", "m4v", "mkv", "avi", "ts", "mpg", "wmv", "flv"]


def frames_of(path, rate=None):
    return list(stream.open_stream(path, rate).frames())


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_each_container_is_recognised_by_its_content(tmp_path, suffix):
    codec = {"flv": "flv1", "mpg": "mpeg1video", "wmv": "wmv2"}.get(suffix, "mpeg4")
    write(tmp_path / f"x.{suffix}", [picture(n) for n in range(12)], codec=codec)
    other = (tmp_path / f"x.{suffix}").rename(tmp_path / "named.wrongly")
    found = frames_of(other)
    assert [frame.number for frame in found] == list(range(1, 13))
    times = np.array([frame.time for frame in found])
    assert np.abs(times - np.arange(12) / 30).max() < 0.002
    numbers = [number_of(f.read()) for f in stream.open_stream(other).frames()]
    assert numbers == list(range(12))


def test_times_of_a_variable_frame_rate_are_kept(tmp_path):
    times = [0, 10, 40, 45, 200, 1000]
    write(tmp_path / "x.mkv", [grey(10)] * 6, times=times)
    found = [frame.time for frame in frames_of(tmp_path / "x.mkv")]
    assert found == pytest.approx(np.array(times) / 1000, abs=0.0015)


def test_places_without_a_frame_in_an_avi_are_gaps(tmp_path):
    places = [0, 1, 2, 3, 10, 11, 12, 30, 31]
    write(tmp_path / "x.avi", [grey(10 * n) for n in range(9)], places=places)
    found = [frame.time for frame in frames_of(tmp_path / "x.avi")]
    assert found == pytest.approx(np.array(places) / 30)


def test_times_that_begin_again_are_refused(tmp_path):
    parts = []
    for name, number in (("1.ts", 30), ("2.ts", 20)):
        write(tmp_path / name, [grey(n) for n in range(number)], bf="0")
        parts.append((tmp_path / name).read_bytes())
    (tmp_path / "joined.ts").write_bytes(b"".join(parts))
    assert "its times begin again" in refused(tmp_path / "joined.ts")


def test_a_folder_has_the_times_of_its_numbers(tmp_path):
    for number in (7, 8, 10):
        Image.fromarray(picture(number)).save(tmp_path / f"img{number}.png")
    found = frames_of(tmp_path, rate=200)
    assert [(f.number, f.time) for f in found] == [(7, 0), (8, 0.005), (10, 0.015)]
    assert [number_of(frame.read()) for frame in found] == [7, 8, 10]
    assert stream.open_stream(tmp_path, 200).duration == pytest.approx(0.015)


def test_a_recording_is_turned_as_it_is_shown(tmp_path):
    stored = picture(5)
    write_turned_video(tmp_path / "x.mp4", stored, (0, 1, -1, 0))
    (shown,) = (f.read() for f in stream.open_stream(tmp_path / "x.mp4").frames())
    assert shown.shape == (128, 96, 3)
    turned = np.rot90(stored, -1).astype(int)
    assert np.abs(shown - turned).mean() < 6


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(200, np.arange(0, 30) / 30), (25, np.arange(25) / 25), (30, np.arange(30) / 30)],
)
def test_frames_are_sampled_by_time(rate, expected):
    number = round(expected[-1] * rate) + 1
    every = (
        stream.Frame(n + 1, round(n / rate, 3), False, lambda: None)
        for n in range(number)
    )
    times = [frame.time for frame in sampling.sampled(every, 30)]
    assert times == pytest.approx(expected, abs=1 / rate)
    assert len(times) == len(expected)


def test_sampling_goes_on_after_a_gap():
    times = [*np.arange(0, 1, 0.01), *np.arange(5, 6, 0.01)]
    every = (stream.Frame(n, t, False, lambda: None) for n, t in enumerate(times))
    found = np.array([frame.time for frame in sampling.sampled(every, 30)])
    assert 28 <= (found < 1).sum() <= 31 and 28 <= (found >= 5).sum() <= 31


def test_damaged_frames_are_marked(tmp_path):
    path = tmp_path / "x.mp4"
    write(path, [picture(n) for n in range(20)], codec="libx264", g="5")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = random.Random(0).randbytes(64)
    path.write_bytes(content)
    found = [(f.number, f.damaged) for f in stream.open_stream(path).frames()]
    assert not found[0][1] and 0 < sum(damaged for _, damaged in found) <= 10


def test_memory_does_not_grow_with_the_recording(tmp_path):
    peaks = []
    for number in (50, 400):
        path = tmp_path / f"{number}.mp4"
        write(path, [grey(n % 200) for n in range(number)])
        frames = stream.open_stream(path).frames()
        tracemalloc.start()
        for frame in frames:
            frame.read()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 400 * 600  # some numbers for each frame, no pictures


def refused(path, rate=None):
    with pytest.raises(DataError) as error:
        for frame in stream.open_stream(path, rate).frames():
            frame.read()
    return str(error.value)


def test_other_files_are_refused(tmp_path):
    other = tmp_path / "secret.mp4"
    write(other, [grey(9)] * 3)
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"#EXTM3U\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n")
    assert "list.mp4 cannot be read: it is damaged or not a video" in refused(playlist)
    script = tmp_path / "concat.mp4"
    script.write_text(f"ffconcat version 1.0\nfile {other}\n")
    assert "not a video" in refused(script)
    assert "There is no file or folder" in refused(tmp_path / "http:" / "x.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    assert "not a video" in refused(tmp_path / "empty.mp4")
    truncated = tmp_path / "truncated.mp4"
    truncated.write_bytes(other.read_bytes()[:100])
    assert "damaged" in refused(truncated)


def test_a_name_with_a_colon_is_no_address(tmp_path):
    path = tmp_path / "http: %d ü 微.mp4"
    write(path, [grey(9)] * 3)
    assert len(frames_of(path)) == 3


def test_sound_alone_is_refused(tmp_path):
    path = tmp_path / "x.mp4"
    with av.open(str(path), "w") as file:
        out = file.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(
            np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
        )
        sound.sample_rate, sound.time_base = 8000, Fraction(1, 8000)
        file.mux(out.encode(sound))
        file.mux(out.encode())
    assert "it has sound, but no pictures" in refused(path)


def test_the_frame_rate_is_asked_for_where_it_is_needed(tmp_path):
    Image.fromarray(picture(1)).save(tmp_path / "img1.png")
    assert "Give their frame rate in Hz" in refused(tmp_path)
    for rate in (0, -25, float("nan"), float("inf")):
        assert "is no frame rate in Hz" in refused(tmp_path, rate)
    write(tmp_path / "x.mp4", [grey(9)] * 3)
    assert "leave out --rate" in refused(tmp_path / "x.mp4", rate=30)
    (tmp_path / "none").mkdir()
    assert "contains no frames" in refused(tmp_path / "none", rate=30)


def test_frames_are_not_read_before_they_are_asked_for(tmp_path):
    write(tmp_path / "x.mp4", [picture(n) for n in range(9)])
    frames = stream.open_stream(tmp_path / "x.mp4").frames()
    first, second = itertools.islice(frames, 2)
    del first
    assert number_of(second.read()) == 1
    frames.close()
