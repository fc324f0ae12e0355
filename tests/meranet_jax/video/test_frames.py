"""Which frame is read: by number, whatever the names, the layout and the junk."""

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from datasets import DataError
from meranet_jax.video import frames
from meranet_jax.video.frames import numbered_frames, read_image, recording, resize
from tests.datasets.tree import touch, write_video


def test_frames_go_by_the_last_integer_of_the_stem(tmp_path):
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


def test_junk_and_second_copies_are_no_frames(tmp_path):
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
        ((48, 80), 46, 86, 48, 80, False),  # some frames lost
        ((1, 60), 46, 86, 1, 60, False),  # the recording's end lost
        ((1, 41), 46, 86, 46, 86, True),  # counted from 1 at the onset
        ((0, 40), 46, 86, 46, 86, True),
        ((1, 77), 46, 122, 46, 122, True),  # covers the onset only by chance
        ((1, 41), 1, 41, 1, 41, False),
        ((1, 90), 0, 80, 1, 90, False),
    ],
)
def test_numbers_are_the_recordings_unless_they_cannot_be(
    tmp_path, on_disk, onset, offset, first, last, renumbered
):
    touch(tmp_path, *(f"img{n}.jpg" for n in range(on_disk[0], on_disk[1] + 1)))
    found = recording(tmp_path, onset, offset, whole=True)
    assert (found.first, found.last, found.renumbered) == (first, last, renumbered)
    # In order, whichever numbers they were given.
    names = [path.name for path in found.places.values()]
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
def test_any_image_becomes_rgb(tmp_path, name, mode):
    grey = Image.new("RGB", (9, 7), (80, 80, 80))
    image = grey.quantize(4) if mode == "P" else grey.convert(mode)
    image.save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.shape == (7, 9, 3) and image.dtype == np.uint8
    assert np.abs(image.astype(int) - 80).max() <= 3


def test_areas_are_averaged_not_sampled():
    # Lines one pixel wide: a filter that samples would make bands of them.
    lines = np.zeros((40, 60, 3), np.uint8)
    lines[:, ::2] = 200
    assert (resize(lines, 10) == 100).all()
    corner = np.zeros((40, 60, 3), np.uint8)
    corner[:4, :6] = (10, 20, 30)
    small = resize(corner, 10)
    assert small[0, 0].tolist() == [10, 20, 30] and small.sum() == 60


@pytest.mark.parametrize("size", [112, 56, 128])
def test_a_motion_of_a_pixel_keeps_its_size_wherever_it_is(size):
    # A soft spot on 640 x 480, as the camera saw it, moved by a pixel: its centre in
    # the small picture must move by size / 640, also where pixels do not fit pixels.
    def centre(x):
        columns = np.arange(640)
        row = 20 + 220 * np.exp(-((columns - x) ** 2) / (2 * 9.0**2))
        image = np.repeat(np.rint(row)[None, :, None], 480, 0).repeat(3, 2)
        small = resize(image.astype(np.uint8), size)[size // 2, :, 0] - 20.0
        return (small * np.arange(size)).sum() / small.sum()

    moved = [centre(x + 1) - centre(x) for x in range(300, 330)]
    assert moved == pytest.approx([size / 640] * 30, rel=0.1)
    assert np.mean(moved) == pytest.approx(size / 640, rel=0.01)


def test_a_small_image_is_interpolated():
    steps = np.repeat(np.uint8([[0, 100]]), 2, 0)[..., None].repeat(3, 2)
    large = resize(steps, 8)[0, :, 0].astype(int)
    assert large[0] == 0 and large[-1] == 100 and (np.diff(large) >= 0).all()
    assert len(set(large)) > 2


def test_frames_are_read_each_once_and_in_order(tmp_path):
    for number in (3, 4, 10):
        iio.imwrite(tmp_path / f"{number}.png", np.full((8, 6, 3), number, np.uint8))
    found = recording(tmp_path, 3, 10, whole=True)
    read = list(found.frames([10, 3, 3, 10]))
    assert [number for number, _ in read] == [3, 10]
    assert [image[0, 0, 0] for _, image in read] == [3, 10]


@pytest.mark.parametrize("content", ["empty", "text", "half", "head"])
def test_a_damaged_image_names_its_file(tmp_path, content):
    path = tmp_path / "img3.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    iio.imwrite(path, noise)
    whole = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "text": b"not an image",
            "half": whole[: len(whole) // 2],
            "head": whole[:30],
        }[content]
    )
    with pytest.raises(DataError, match="img3.jpg cannot be read"):
        read_image(path)


@pytest.mark.parametrize("limit", [60, 30])  # PIL warns of one, refuses the other
def test_a_far_too_large_image_is_not_decoded(tmp_path, monkeypatch, limit):
    iio.imwrite(tmp_path / "img3.png", np.zeros((10, 10, 3), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match="img3.png cannot be read: it has more than"):
        read_image(tmp_path / "img3.png")


def test_a_gap_in_files_that_count_from_one_moves_no_other_frame(tmp_path):
    touch(tmp_path, *(f"img{n}.jpg" for n in range(1, 42) if n != 7))
    found = recording(tmp_path, onset=46, offset=86, whole=True)
    assert found.renumbered
    assert found.places[66].name == "img21.jpg"
    assert 52 not in found.places


def test_a_recording_cut_short_before_the_onset_is_not_taken_for_the_expression(
    tmp_path,
):
    touch(tmp_path, *(f"img{n}.jpg" for n in range(1, 41)))
    found = recording(tmp_path, onset=46, offset=186, whole=True)
    assert not found.renumbered
    assert (found.first, found.last) == (1, 40)


def test_two_missing_frames_are_bridged_and_three_are_an_end(tmp_path):
    there = [*range(20, 30), 32, 33, *range(37, 40)]
    touch(tmp_path, *(f"img{n}.jpg" for n in there))
    found = recording(tmp_path, 20, 39, whole=True)
    run = found.around(25)
    assert (run.first, run.last) == (20, 33)
    assert [run.nearest(n) for n in (28, 30, 31, 32)] == [28, 29, 32, 32]
    assert found.around(31).last == 33
    assert found.around(38).first == 37
    assert found.around(35) is None and found.around(50) is None


def video(folder, frames):
    images = np.full((frames, 48, 64, 3), 128, np.uint8)
    images += np.arange(0, 4 * frames, 4, np.uint8)[:, None, None, None]
    write_video(folder / "EP01_1.avi", images)
    return folder / "EP01_1.avi"


def test_the_frames_of_a_video_count_from_one(tmp_path):
    path = video(tmp_path, 12)
    found = recording(path, 3, 8, whole=True)
    assert (found.first, found.last, found.renumbered) == (1, 12, False)
    read = list(found.frames([9, 2]))
    assert [number for number, _ in read] == [2, 9]
    for number, image in read:
        assert image.shape == (48, 64, 3) and image.dtype == np.uint8
        assert np.abs(image.astype(int) - 128 - 4 * (number - 1)).max() <= 3


def test_a_video_of_the_expression_alone_is_moved_to_the_onset(tmp_path):
    found = recording(video(tmp_path, 12), 40, 51, whole=True)
    assert (found.first, found.last, found.renumbered) == (40, 51, True)


@pytest.mark.parametrize("content", ["empty", "text", "half"])
def test_a_damaged_video_is_named(tmp_path, content):
    path = video(tmp_path, 12)
    whole = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "text": b"no video", "half": whole[: len(whole) // 2]}[content]
    )
    with pytest.raises(DataError, match="EP01_1.avi"):
        list(recording(path, 1, 12, whole=True).frames([12]))


@pytest.mark.parametrize(
    ("on_disk", "onset", "offset", "first"),
    [
        ((46, 86), 46, 86, 46),
        ((1, 41), 46, 86, 46),  # counted from 1, and whole
        ((1, 140), 46, 86, 1),  # the full recording after all
        ((44, 84), 46, 86, 44),  # not from 1, so the recording's numbers
        ((1, 40), 46, None, 46),  # cannot be the recording's numbers
        ((46, 60), 46, None, 46),
        ((1, 60), 46, None, None),
        ((1, 40), 46, 86, None),  # a frame is lost, at which end?
        ((2, 41), 46, 86, None),
        ((1, 60), 46, 86, None),
        ((5, 41), 46, 86, None),
        ((2, 40), 46, None, None),
    ],
)
def test_frames_of_an_expression_are_not_guessed_at(
    tmp_path, on_disk, onset, offset, first
):
    touch(tmp_path, *(f"img{n}.jpg" for n in range(on_disk[0], on_disk[1] + 1)))
    if first is None:
        with pytest.raises(DataError, match="which is which cannot be told"):
            recording(tmp_path, onset, offset, whole=False)
        return
    found = recording(tmp_path, onset, offset, whole=False)
    assert found.first == first and found.renumbered == (on_disk[0] != first)


def test_a_video_of_too_many_frames_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(frames, "_LONGEST_VIDEO", 10)
    with pytest.raises(DataError, match="EP01_1.avi has more than 10 frames"):
        recording(video(tmp_path, 12), 1, 12, whole=True)
