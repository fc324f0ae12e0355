"""Frames are identified by number, whatever the file names and other files."""

import re

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from datasets import DataError
from meranet_jax.video import video_file
from meranet_jax.video.frames import numbered_frames, open_recording
from meranet_jax.video.images import read_image, resize
from tests.datasets.tree import touch, write_video


def test_frame_number_is_the_last_integer_of_the_stem(tmp_path):
    touch(tmp_path, "img10.jpg", "img2.jpg", "reg_img9.JPG", "EP03_2-011.jpeg")
    touch(tmp_path, "1.png", "img12.jpg.jpg")
    assert [(n, path.name) for n, path in numbered_frames(tmp_path).items()] == [
        (1, "1.png"),
        (2, "img2.jpg"),
        (9, "reg_img9.JPG"),
        (10, "img10.jpg"),
        (11, "EP03_2-011.jpeg"),
        (12, "img12.jpg.jpg"),
    ]


@pytest.mark.parametrize(
    "name", ["img{}_0.jpg", "img{}_112x112.jpg", "EP03_2-{}_face.png", "12_{:05d}.bmp"]
)
def test_frame_number_is_the_integer_in_which_the_names_differ(tmp_path, name):
    touch(tmp_path, *(name.format(n) for n in (9, 10, 46)))
    assert list(numbered_frames(tmp_path)) == [9, 10, 46]


def test_of_two_numbers_that_count_the_one_with_the_expression_is_used(tmp_path):
    touch(tmp_path, *(f"img{n}_{n - 46}.jpg" for n in range(46, 87)))
    found = open_recording(tmp_path, 46, 86, full_recording=False)
    assert (found.first, found.last, found.renumbered) == (46, 86, False)
    names = {n: f"img{n}_{n - 1}.jpg" for n in range(1, 141)}
    touch(tmp_path / "full", *names.values())
    with pytest.raises(DataError, match="numbers that count, such as img"):
        open_recording(tmp_path / "full", 46, 86, full_recording=True)
    (tmp_path / "full" / names[86]).unlink()  # does not decide it either
    with pytest.raises(DataError, match="several numbers that count, such as img"):
        open_recording(tmp_path / "full", 46, 86, full_recording=True)


def test_a_size_is_no_frame_number(tmp_path):
    touch(tmp_path, "img46_112x112.jpg")
    assert list(numbered_frames(tmp_path)) == [46]


def write_different(folder, *names):
    """Writes files of different content."""
    for name in names:
        (folder / name).write_text(name)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("img{}_0.jpg", "img{}_1.jpg"),  # two faces
        ("img{}.jpg", "reg_img{}.jpg"),  # full frames and crops
        ("img{}.jpg", "img{} (1).jpg"),
    ],
)
def test_different_images_of_the_same_frame_are_refused(tmp_path, first, second):
    numbers = range(46, 60)
    write_different(tmp_path, *(f.format(n) for n in numbers for f in (first, second)))
    names = f"{first.format(46)} and {second.format(46)} both have the number 46"
    with pytest.raises(DataError, match=re.escape(names)):
        open_recording(tmp_path, 46, 59, full_recording=False)
    # Copies are not refused.
    for n in numbers:
        content = (tmp_path / first.format(n)).read_text()
        (tmp_path / second.format(n)).write_text(content)
    found = open_recording(tmp_path, 46, 59, full_recording=False)
    assert found.locations[46].name == first.format(46)


def test_a_number_in_parentheses_may_be_that_of_the_frame(tmp_path):
    touch(tmp_path, "img (1).jpg", "img (2).jpg", "img (10).jpg")
    assert list(numbered_frames(tmp_path)) == [1, 2, 10]


def test_a_number_in_parentheses_after_that_of_the_clip(tmp_path):
    touch(tmp_path, "EP02 (1).png", "EP02 (2).png", "EP02 (10).png")
    assert list(numbered_frames(tmp_path)) == [1, 2, 10]


def test_a_picture_in_two_formats_is_one(tmp_path):
    y, x = np.mgrid[:60, :80] / 9
    for number in range(46, 50):
        values = 120 + 60 * np.sin(x + number) * np.cos(y)
        picture = Image.fromarray(values.astype(np.uint8))
        picture.save(tmp_path / f"img{number}.png")
        picture.save(tmp_path / f"img{number}.jpg", quality=85)
    found = open_recording(tmp_path, 46, 49, full_recording=False)
    assert list(found.locations) == [46, 47, 48, 49]
    for number in range(46, 50):
        path = tmp_path / f"img{number}.png"
        Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    with pytest.raises(DataError, match="img46.jpg and img46.png both have the number"):
        open_recording(tmp_path, 46, 49, full_recording=False)


def test_other_images_without_numbers_do_not_hide_key_frames(tmp_path):
    names = ("onset", "apex", "offset", "flow")
    touch(tmp_path, *(f"EP02_01f_{name}.png" for name in names))
    found = open_recording(tmp_path, 46, 59, apex=50, full_recording=False)
    assert list(found.locations) == [46, 50, 59]


def test_named_key_frames_next_to_all_frames_are_ignored(tmp_path):
    touch(tmp_path, *(f"img{n}.jpg" for n in range(46, 60)))
    touch(tmp_path, "onset.jpg", "apex.jpg", "offset.jpg")
    found = open_recording(tmp_path, 46, 59, apex=50, full_recording=False)
    assert list(found.locations) == list(range(46, 60))


def test_other_files_and_second_copies_are_ignored(tmp_path):
    touch(tmp_path, "img7.jpg", "img7 (1).jpg", "img7.jpg.jpg", "img8 (2).jpg")
    touch(tmp_path, ".DS_Store", "Thumbs.db", "._img9.jpg", "cover.jpg", "img3.txt")
    touch(tmp_path, "img4.jpg/img5.jpg")
    assert [(n, path.name) for n, path in numbered_frames(tmp_path).items()] == [
        (7, "img7.jpg"),
        (8, "img8 (2).jpg"),
    ]


@pytest.mark.parametrize(
    "on_disk, onset, offset, first, last, renumbered",
    [
        ((46, 86), 46, 86, 46, 86, False),  # onset to offset
        ((1, 140), 46, 86, 1, 140, False),  # the full recording
        ((48, 80), 46, 86, 48, 80, False),  # some frames missing
        ((1, 60), 46, 86, 1, 60, False),  # the end of the recording missing
        ((1, 41), 46, 86, 46, 86, True),  # numbered from 1 at the onset
        ((0, 40), 46, 86, 46, 86, True),
        ((1, 77), 46, 122, 46, 122, True),  # covers the onset only by chance
        ((1, 41), 1, 41, 1, 41, False),
        ((1, 90), 0, 80, 1, 90, False),
    ],
)
def test_numbers_are_kept_or_shifted_to_the_onset(
    tmp_path, on_disk, onset, offset, first, last, renumbered
):
    touch(tmp_path, *(f"img{n}.jpg" for n in range(on_disk[0], on_disk[1] + 1)))
    found = open_recording(tmp_path, onset, offset, full_recording=True)
    assert (found.first, found.last, found.renumbered) == (first, last, renumbered)
    # In order, whichever numbers they were assigned.
    names = [path.name for path in found.locations.values()]
    assert names == [f"img{n}.jpg" for n in range(on_disk[0], on_disk[1] + 1)]


@pytest.mark.parametrize(
    "name, mode",
    [
        ("1.jpg", "RGB"),
        ("1.jpg", "L"),
        ("1.png", "RGBA"),
        ("1.png", "P"),
        ("1.bmp", "RGB"),
    ],
)
def test_any_image_mode_is_converted_to_rgb(tmp_path, name, mode):
    grey = Image.new("RGB", (9, 7), (80, 80, 80))
    image = grey.quantize(4) if mode == "P" else grey.convert(mode)
    image.save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.shape == (7, 9, 3) and image.dtype == np.uint8
    assert np.abs(image.astype(int) - 80).max() <= 3


def test_resize_averages_areas():
    # Lines one pixel wide: sampling without averaging would alias them into bands.
    lines = np.zeros((40, 60, 3), np.uint8)
    lines[:, ::2] = 200
    assert (resize(lines, 10) == 100).all()
    corner = np.zeros((40, 60, 3), np.uint8)
    corner[:4, :6] = (10, 20, 30)
    small = resize(corner, 10)
    assert small[0, 0].tolist() == [10, 20, 30] and small.sum() == 60


@pytest.mark.parametrize("size", [112, 56, 128])
def test_resize_preserves_motion_of_one_pixel(size):
    # A soft spot in a frame of 640 x 480 pixels moves by one pixel: its centre in the
    # resized image must move by size / 640, also where pixel borders do not coincide.
    def centre(x):
        columns = np.arange(640)
        row = 20 + 220 * np.exp(-((columns - x) ** 2) / (2 * 9.0**2))
        image = np.repeat(np.rint(row)[None, :, None], 480, 0).repeat(3, 2)
        small = resize(image.astype(np.uint8), size)[size // 2, :, 0] - 20.0
        return (small * np.arange(size)).sum() / small.sum()

    moved = [centre(x + 1) - centre(x) for x in range(300, 330)]
    assert moved == pytest.approx([size / 640] * 30, rel=0.1)
    assert np.mean(moved) == pytest.approx(size / 640, rel=0.01)


def test_resize_interpolates_smaller_images():
    steps = np.repeat(np.uint8([[0, 100]]), 2, 0)[..., None].repeat(3, 2)
    large = resize(steps, 8)[0, :, 0].astype(int)
    assert large[0] == 0 and large[-1] == 100 and (np.diff(large) >= 0).all()
    assert len(set(large)) > 2


def test_frames_are_read_once_and_in_order(tmp_path):
    for number in (3, 4, 10):
        iio.imwrite(tmp_path / f"{number}.png", np.full((8, 6, 3), number, np.uint8))
    found = open_recording(tmp_path, 3, 10, full_recording=True)
    read = list(found.read([10, 3, 3, 10]))
    assert [number for number, _ in read] == [3, 10]
    assert [image[0, 0, 0] for _, image in read] == [3, 10]


@pytest.mark.parametrize("content", ["empty", "text", "half", "head"])
def test_damaged_image_error_names_the_file(tmp_path, content):
    path = tmp_path / "img3.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    iio.imwrite(path, noise)
    content_bytes = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "text": b"not an image",
            "half": content_bytes[: len(content_bytes) // 2],
            "head": content_bytes[:30],
        }[content]
    )
    with pytest.raises(DataError, match="img3.jpg cannot be read"):
        read_image(path)


@pytest.mark.parametrize(
    "limit", [60, 30]
)  # Pillow warns at one limit and raises at the other
def test_far_too_large_image_is_rejected(tmp_path, monkeypatch, limit):
    iio.imwrite(tmp_path / "img3.png", np.zeros((10, 10, 3), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match="img3.png cannot be read: it has more than"):
        read_image(tmp_path / "img3.png")


def test_gap_in_files_numbered_from_1_shifts_no_other_frame(tmp_path):
    touch(tmp_path, *(f"img{n}.jpg" for n in range(1, 42) if n != 7))
    found = open_recording(tmp_path, onset=46, offset=86, full_recording=True)
    assert found.renumbered
    assert found.locations[66].name == "img21.jpg"
    assert 52 not in found.locations


def test_truncated_recording_is_not_mistaken_for_the_expression(
    tmp_path,
):
    touch(tmp_path, *(f"img{n}.jpg" for n in range(1, 41)))
    found = open_recording(tmp_path, onset=46, offset=186, full_recording=True)
    assert not found.renumbered
    assert (found.first, found.last) == (1, 40)


def test_gap_of_two_frames_is_bridged_and_gap_of_three_ends_the_run(tmp_path):
    numbers = [*range(20, 30), 32, 33, *range(37, 40)]
    touch(tmp_path, *(f"img{n}.jpg" for n in numbers))
    found = open_recording(tmp_path, 20, 39, full_recording=True)
    run = found.contiguous_run(25)
    assert (run.first, run.last) == (20, 33)
    assert [run.nearest(n) for n in (28, 30, 31, 32)] == [28, 29, 32, 32]
    assert found.contiguous_run(31).last == 33
    assert found.contiguous_run(38).first == 37
    assert found.contiguous_run(35) is None and found.contiguous_run(50) is None


def video(folder, frames):
    images = np.full((frames, 48, 64, 3), 128, np.uint8)
    images += np.arange(0, 4 * frames, 4, np.uint8)[:, None, None, None]
    write_video(folder / "EP01_1.avi", images)
    return folder / "EP01_1.avi"


def test_frames_of_a_video_are_numbered_from_1(tmp_path):
    path = video(tmp_path, 12)
    found = open_recording(path, 3, 8, full_recording=True)
    assert (found.first, found.last, found.renumbered) == (1, 12, False)
    read = list(found.read([9, 2]))
    assert [number for number, _ in read] == [2, 9]
    for number, image in read:
        assert image.shape == (48, 64, 3) and image.dtype == np.uint8
        assert np.abs(image.astype(int) - 128 - 4 * (number - 1)).max() <= 3


def test_video_of_a_single_expression_is_shifted_to_the_onset(tmp_path):
    found = open_recording(video(tmp_path, 12), 40, 51, full_recording=True)
    assert (found.first, found.last, found.renumbered) == (40, 51, True)


@pytest.mark.parametrize("content", ["empty", "text", "half"])
def test_damaged_video_error_names_the_file(tmp_path, content):
    path = video(tmp_path, 12)
    content_bytes = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "text": b"no video",
            "half": content_bytes[: len(content_bytes) // 2],
        }[content]
    )
    with pytest.raises(DataError, match="EP01_1.avi"):
        list(open_recording(path, 1, 12, full_recording=True).read([12]))


@pytest.mark.parametrize(
    ("on_disk", "onset", "offset", "first"),
    [
        ((46, 86), 46, 86, 46),
        ((1, 41), 46, 86, 46),  # numbered from 1, complete
        ((1, 140), 46, 86, 1),  # the full recording
        ((44, 84), 46, 86, 44),  # not from 1, so these are the recording's numbers
        ((1, 40), 46, None, 46),  # cannot be the recording's numbers
        ((46, 60), 46, None, 46),
        ((1, 60), 46, None, None),
        ((1, 40), 46, 86, None),  # a frame is missing at an unknown end
        ((2, 41), 46, 86, None),
        ((1, 60), 46, 86, None),
        ((5, 41), 46, 86, None),
        ((2, 40), 46, None, None),
    ],
)
def test_ambiguous_frame_numbers_raise(tmp_path, on_disk, onset, offset, first):
    touch(tmp_path, *(f"img{n}.jpg" for n in range(on_disk[0], on_disk[1] + 1)))
    if first is None:
        with pytest.raises(DataError, match="cannot be matched to frame numbers"):
            open_recording(tmp_path, onset, offset, full_recording=False)
        return
    found = open_recording(tmp_path, onset, offset, full_recording=False)
    assert found.first == first and found.renumbered == (on_disk[0] != first)


def test_video_with_too_many_frames_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr(video_file, "_MAX_FRAMES", 10)
    with pytest.raises(DataError, match="EP01_1.avi has more than 10 frames"):
        open_recording(video(tmp_path, 12), 1, 12, full_recording=True)
