"""Frames of videos are numbered by time, and damage is not hidden."""

import random
from fractions import Fraction

import av
import numpy as np
import pytest

from datasets import DataError
from meranet_jax.video.frames import open_recording
from meranet_jax.video.video_file import list_frames

SHAPE = (48, 64)


def grey(level):
    return np.full((*SHAPE, 3), level, np.uint8)


def write(
    path,
    images,
    *,
    times=None,
    places=None,
    codec="mpeg4",
    pix_fmt="yuv420p",
    **options,
):
    """Writes a video.

    Args:
      path: the file.
      images: uint8 [H, W, 3] or [H, W, 4].
      times: presentation times in milliseconds.
      places: presentation times in frames of 30 Hz.
      codec: name of the encoder.
      pix_fmt: its form of pixels.
      **options: of the encoder.
    """
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=30, options=options)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = pix_fmt, 10_000_000
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index, image in enumerate(images):
            kind = "rgba" if image.shape[2] == 4 else "rgb24"
            frame = av.VideoFrame.from_ndarray(image, format=kind)
            frame.pts = (times or places or range(len(images)))[index]
            if times is not None:
                frame.time_base = Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def picture(number):
    """Returns a face-like picture with the bits of its number in the upper part."""
    y, x = np.mgrid[:96, :128] / 8
    face = 127 + 60 * np.sin(x) * np.cos(y) + 28 * np.sign(np.sin(2 * x + y))
    image = np.roll(face, number, 1).astype(np.uint8)
    bits = (number >> np.arange(8)) & 1
    image[:16] = np.where(bits, 235, 20).repeat(16)
    return image[..., None].repeat(3, -1)


def number_of(image):
    """Returns the number in a picture."""
    bits = image[4:12, 8::16].mean((0, 2)) > 128
    return int(bits @ (1 << np.arange(8)))


def read_numbers(path):
    """Returns the number in the picture of each frame, by frame number."""
    found = open_recording(path, 1, None, full_recording=True)
    return {number: number_of(image) for number, image in found.read(found.locations)}


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("1.mp4", "libx264", {"bf": "3"}),
        ("2.mov", "mpeg4", {}),
        ("3.mkv", "ffv1", {}),
        ("4.webm", "libvpx-vp9", {}),
        # An AVI has no presentation times, and its decoder returns frames in another
        # order than its packets.
        ("5.avi", "libx264", {"bf": "3"}),
        ("6.avi", "mpeg4", {"bf": "2"}),
        ("7.avi", "mpeg4", {}),
        ("8.AVI", "ffv1", {}),
    ],
)
def test_each_frame_has_its_number(tmp_path, name, codec, options):
    write(tmp_path / name, [picture(n) for n in range(1, 31)], codec=codec, **options)
    assert read_numbers(tmp_path / name) == {n: n for n in range(1, 31)}
    listed = list_frames(tmp_path / name)
    assert listed.evenly_spaced and listed.frame_rate == 30


FORMATS = {".mp4": "libx264", ".mov": "mpeg4", ".mkv": "ffv1", ".webm": "libvpx-vp9"}


@pytest.mark.parametrize("suffix", FORMATS)
def test_frames_are_numbered_by_presentation_time(tmp_path, suffix):
    # Two frames are missing after 100 ms, one after 300 ms.
    times = [0, 33, 67, 100, 200, 233, 267, 300, 367, 400]
    numbers = [1, 2, 3, 4, 7, 8, 9, 10, 12, 13]
    path = tmp_path / f"1{suffix}"
    write(path, list(map(picture, numbers)), times=times, codec=FORMATS[suffix])
    assert read_numbers(path) == {n: n for n in numbers}
    listed = list_frames(path)
    assert not listed.evenly_spaced
    assert listed.frame_rate == pytest.approx(30, abs=0.1)


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_places_without_a_frame_in_an_avi_are_gaps(tmp_path, codec):
    # Programs that capture leave them where they were too slow.
    numbers = [n for n in range(1, 31) if n not in (12, 20, 21)]
    places = [n - 1 for n in numbers]
    images = list(map(picture, numbers))
    write(tmp_path / "1.avi", images, places=places, codec=codec, bf="0")
    assert read_numbers(tmp_path / "1.avi") == {n: n for n in numbers}
    assert not list_frames(tmp_path / "1.avi").evenly_spaced


@pytest.mark.parametrize(
    ("intervals", "numbers"),
    [
        ([33, 367], [1, 2, 13]),
        ([5000, 33], [1, 151, 152]),
        # Half of the rate in poor light: the higher rate loses no frame.
        ([33] * 3 + [167] * 3, [1, 2, 3, 4, 9, 14, 19]),
        # A rate that changes a little is no constant one.
        ([42] * 8 + [33] * 8, None),
    ],
)
def test_other_courses_of_time(tmp_path, intervals, numbers):
    times = [0, *np.cumsum(intervals).tolist()]
    images = [picture(n) for n in range(len(times))]
    write(tmp_path / "1.mp4", images, times=times, codec="libx264")
    listed = list_frames(tmp_path / "1.mp4")
    assert not listed.evenly_spaced and listed.frame_rate == pytest.approx(30, rel=0.02)
    if numbers is None:
        numbers = [1 + round(t * listed.frame_rate / 1000) for t in times]
    assert list(listed.keys) == numbers


def test_times_in_milliseconds_do_not_drift(tmp_path):
    times = [round(1000 * n * 1001 / 30000) for n in range(400)]
    write(tmp_path / "1.mkv", [grey(9)] * 400, times=times, codec="ffv1")
    listed = list_frames(tmp_path / "1.mkv")
    assert list(listed.keys) == list(range(1, 401)) and listed.evenly_spaced
    assert listed.frame_rate == pytest.approx(30, abs=0.05)
    # A frame that is missing near the end has the right number.
    del times[350]
    write(tmp_path / "2.mkv", [grey(9)] * 399, times=times, codec="ffv1")
    listed = list_frames(tmp_path / "2.mkv")
    assert not listed.evenly_spaced
    assert list(listed.keys) == [n for n in range(1, 401) if n != 351]


def test_frames_with_the_same_time_are_counted(tmp_path):
    # Of a rate above 1000 Hz, or a fault of the program that wrote it
    path = tmp_path / "1.mkv"
    times = [30 * n for n in range(30)]
    images = [picture(n) for n in range(1, 31)]
    write(path, images, times=times, codec="libx264", bf="0")
    content = bytearray(path.read_bytes())
    blocks = [
        at
        for at in range(len(content) - 4)
        if content[at] == 0x81 and content[at + 1 : at + 3] in places(times)
    ]
    assert len(blocks) >= 30
    at = next(at for at in blocks if content[at + 1 : at + 3] == places(times)[10])
    content[at + 1 : at + 3] = places(times)[9]
    path.write_bytes(content)
    for number in (5, 11, 12, 30):
        found = open_recording(path, 1, 30, full_recording=True)
        ((_, image),) = found.read([number])
        assert number_of(image) == number


def places(times):
    """Returns the bytes of times in a block of Matroska."""
    return [time.to_bytes(2, "big") for time in times]


def test_a_single_frame_has_the_rate_of_the_header(tmp_path):
    write(tmp_path / "1.mp4", [grey(50)])
    listed = list_frames(tmp_path / "1.mp4")
    assert list(listed.keys) == [1] and listed.frame_rate == 30


def test_interlaced_videos_are_recognised(tmp_path):
    images = [grey(40 + n) for n in range(8)]
    write(tmp_path / "1.mp4", images, codec="libx264", **{"x264-params": "tff=1"})
    write(tmp_path / "2.mp4", images, codec="libx264")
    assert list_frames(tmp_path / "1.mp4").interlaced
    assert not list_frames(tmp_path / "2.mp4").interlaced


def test_an_alpha_channel_is_dropped_only_if_it_is_opaque(tmp_path):
    image = np.dstack([grey(90), np.full(SHAPE, 255, np.uint8)])
    write(tmp_path / "1.mkv", [image] * 2, codec="ffv1", pix_fmt="bgra")
    found = open_recording(tmp_path / "1.mkv", 1, 2, full_recording=True)
    assert all((read == 90).all() for _, read in found.read([1, 2]))
    image[5, 5, 3] = 254
    write(tmp_path / "2.mkv", [image] * 2, codec="ffv1", pix_fmt="bgra")
    found = open_recording(tmp_path / "2.mkv", 1, 2, full_recording=True)
    with pytest.raises(DataError, match="2.mkv cannot be read: it is transparent"):
        list(found.read([1, 2]))


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_damage_that_a_decoder_sees_is_not_hidden(tmp_path, codec):
    """By default, decoders replace damaged blocks by those of an earlier frame."""
    y, x = np.mgrid[:96, :128] / 8
    face = 127 + 60 * np.sin(x) * np.cos(y) + 28 * np.sign(np.sin(2 * x + y))
    images = [np.roll(face, n, 1).astype(np.uint8)[..., None] for n in range(20)]
    path = tmp_path / "1.avi"
    write(path, [image.repeat(3, -1) for image in images], codec=codec, g="10")
    content, good = path.read_bytes(), read_each(path)
    draw, refused, right, hidden = random.Random(0), 0, 0, 0
    for _ in range(20):
        damaged = bytearray(content)
        at = draw.randrange(len(content) // 5, len(content) * 4 // 5)
        damaged[at : at + 32] = draw.randbytes(32)
        path.write_bytes(damaged)
        for number, image in read_each(path).items():
            refused += image is None
            right += image is not None and (image == good[number]).all()
            hidden += image is not None and (image != good[number]).any()
    # Frames before the damage, and after the next key frame, are read.
    assert refused >= 50 and right >= 50
    assert hidden <= refused / 8  # no code detects all damage


def test_a_video_that_has_lost_frames_is_refused(tmp_path):
    """An AVI has only places, which would be wrong after the gap."""
    path = tmp_path / "1.avi"
    write(path, [picture(n) for n in range(1, 21)])
    content = path.read_bytes()
    chunks = [at for at in range(len(content)) if content[at : at + 4] == b"00dc"]
    damaged = bytearray(content)
    damaged[chunks[5] : chunks[5] + 4] = bytes(4)
    path.write_bytes(damaged)
    with pytest.raises(DataError, match="gives 20 frames, but 19 were found, with"):
        list_frames(path)


def test_an_avi_whose_first_frames_are_destroyed_is_refused(tmp_path):
    path = tmp_path / "1.avi"
    write(path, [picture(n) for n in range(1, 21)], codec="mjpeg", pix_fmt="yuvj420p")
    content = bytearray(path.read_bytes())
    start = content.index(b"movi") + 4
    content[start : start + 4096] = bytes(4096)
    path.write_bytes(content)
    with pytest.raises(DataError, match="1.avi cannot be read"):
        list_frames(path)


def test_damage_in_motion_jpeg_is_refused(tmp_path):
    path = tmp_path / "1.mov"
    write(path, [picture(n) for n in range(1, 21)], codec="mjpeg", pix_fmt="yuvj420p")
    content = path.read_bytes()
    with av.open(str(path)) as file:
        packets = [packet for packet in file.demux() if packet.size]
        middle = packets[9].pos + packets[9].size // 2
    damaged = content[:middle] + bytes(8) + content[middle + 8 :]
    path.write_bytes(damaged)
    found = open_recording(path, 1, 20, full_recording=True)
    with pytest.raises(DataError, match="frame 10 is damaged"):
        list(found.read([10]))
    assert [number_of(image) for _, image in found.read([9, 11])] == [9, 11]


@pytest.mark.parametrize("count", [0, 19, 21])
def test_a_header_with_another_number_of_frames_is_harmless(tmp_path, count):
    path = tmp_path / "1.avi"
    write(path, [picture(n) for n in range(1, 21)])
    content = bytearray(path.read_bytes())
    for name, at in ((b"avih", 24), (b"strh", 40)):
        place = content.index(name) + at
        assert content[place : place + 4] == (20).to_bytes(4, "little")
        content[place : place + 4] = count.to_bytes(4, "little")
    path.write_bytes(content)
    assert read_numbers(path) == {n: n for n in range(1, 21)}


def read_each(path):
    """Returns the frames of a video of 20, and None for those that are refused."""
    images = {}
    for number in range(1, 21):
        try:
            found = open_recording(path, 1, 20, full_recording=True)
            ((_, images[number]),) = found.read(found.locations.keys() & {number})
        except (DataError, ValueError):  # ValueError: it is not in the video
            images[number] = None
    return images
