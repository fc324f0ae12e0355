"""Which frame is read: by number, whatever the names, the layout and the junk."""

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from datasets import DataError
from datasets.frames import (
    choose_layout,
    find_layouts,
    numbered_frames,
    read_clip,
    read_frame,
    recording,
)

NAMES = {"Cropped": ("Cropped", "Cropped-updated"), "RAW": ("CASME2-RAW",)}


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


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
    found = recording(tmp_path, onset, offset)
    assert (found.first, found.last, found.renumbered) == (first, last, renumbered)
    # In order, whichever numbers they were given.
    names = [path.name for path in found.frames.values()]
    assert names == [f"img{n}.jpg" for n in range(on_disk[0], on_disk[1] + 1)]


@pytest.mark.parametrize(
    "place",
    [
        "Cropped",
        "cropped",
        "Cropped/Cropped",
        "Cropped-updated/Cropped",
        "CASME II/unpacked/data/CROPPED_UPDATED/Cropped/Cropped",
    ],
)
@pytest.mark.parametrize("subject", ["sub01", "1", "s1"])
def test_the_layout_is_found_wherever_archives_put_it(tmp_path, place, subject):
    touch(tmp_path, f"{place}/{subject}/EP01_1/img1.jpg", "__MACOSX/Cropped/sub01/x/y")
    (layout,) = find_layouts(tmp_path, NAMES)
    assert layout.name == "Cropped" and layout.root == tmp_path / place
    assert layout.folder("sub01", "ep01_1") == layout.root / subject / "EP01_1"


def test_the_layout_may_be_the_folder_itself(tmp_path):
    touch(tmp_path, "Cropped/sub01/EP01_1/img1.jpg")
    (layout,) = find_layouts(tmp_path / "Cropped", NAMES)
    assert layout.root == tmp_path / "Cropped"


def test_no_name_in_a_table_leads_out_of_the_layout(tmp_path):
    touch(tmp_path, "secret/img1.jpg", "Cropped/sub01/EP01_1/img1.jpg")
    (layout,) = find_layouts(tmp_path, NAMES)
    for clip in ("../../secret", str(tmp_path / "secret"), "..", ".", ""):
        assert layout.folder("sub01", clip) is None


def test_the_preferred_layout_with_the_tables_clips_is_taken_and_said(tmp_path):
    touch(tmp_path, "CASME2-RAW/sub01/EP01_1/img1.jpg")
    touch(tmp_path, "other/Cropped/sub01/EP99_9/img1.jpg")
    wanted = [("sub01", "EP01_1"), ("sub02", "EP02_1")]
    layout, notes = choose_layout(tmp_path, NAMES, wanted)
    assert layout.name == "RAW"
    assert notes == ["other/Cropped (0 of the table's 2 clips) was not read"]

    touch(tmp_path, "deeper/down/Cropped/sub01/EP01_1/img1.jpg")
    layout, notes = choose_layout(tmp_path, NAMES, wanted)
    assert layout.root == tmp_path / "deeper/down/Cropped" and len(notes) == 2

    # Of two of a kind the one with more of the clips, though the other is nearer.
    touch(tmp_path, "Cropped/sub01/EP01_1/img1.jpg")
    touch(tmp_path, "deeper/down/Cropped/sub02/EP02_1/img1.jpg")
    layout, _ = choose_layout(tmp_path, NAMES, wanted)
    assert layout.root == tmp_path / "deeper/down/Cropped"


def test_no_layout_says_what_is_there_and_what_should_be(tmp_path):
    touch(tmp_path, "Cropped/sub01/EP99_9/img1.jpg")
    with pytest.raises(DataError, match="Found without any of these clips: Cropped"):
        choose_layout(tmp_path, NAMES, [("sub01", "EP01_1")])
    with pytest.raises(DataError, match="nothing.*\n.*Cropped or RAW"):
        choose_layout(tmp_path / "Cropped/sub01", NAMES, [("sub01", "EP01_1")])


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
    image = read_frame(tmp_path / name, 4)
    assert image.shape == (4, 4, 3) and image.dtype == np.uint8
    assert np.abs(image.astype(int) - 80).max() <= 3


def test_areas_are_averaged_not_sampled(tmp_path):
    # Lines one pixel wide: a filter that samples would make bands of them.
    lines = np.zeros((40, 60, 3), np.uint8)
    lines[:, ::2] = 200
    iio.imwrite(tmp_path / "1.png", lines)
    assert (read_frame(tmp_path / "1.png", 10) == 100).all()
    corner = np.zeros((40, 60, 3), np.uint8)
    corner[:4, :6] = (10, 20, 30)
    iio.imwrite(tmp_path / "2.png", corner)
    small = read_frame(tmp_path / "2.png", 10)
    assert small[0, 0].tolist() == [10, 20, 30] and small.sum() == 60


def test_a_clip_repeats_frames_and_names_what_is_missing(tmp_path):
    for number in (3, 4):
        iio.imwrite(tmp_path / f"{number}.png", np.full((8, 8, 3), number, np.uint8))
    clip = read_clip(numbered_frames(tmp_path), [3, 3, 4, 4, 4], 2)
    assert clip.shape == (5, 2, 2, 3)
    assert clip[:, 0, 0, 0].tolist() == [3, 3, 4, 4, 4]
    with pytest.raises(DataError, match="frame 5 is missing"):
        read_clip(numbered_frames(tmp_path), [4, 5], 2)


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
        read_frame(path, 8)


@pytest.mark.parametrize("limit", [60, 30])  # PIL warns of one, refuses the other
def test_a_far_too_large_image_is_not_decoded(tmp_path, monkeypatch, limit):
    iio.imwrite(tmp_path / "img3.png", np.zeros((10, 10, 3), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(DataError, match="img3.png cannot be read: it has more than"):
        read_frame(tmp_path / "img3.png", 8)


def test_a_gap_in_files_that_count_from_one_moves_no_other_frame(tmp_path):
    touch(tmp_path, *(f"img{n}.jpg" for n in range(1, 42) if n != 7))
    found = recording(tmp_path, onset=46, offset=86)
    assert found.renumbered
    assert found.frames[66].name == "img21.jpg"
    assert 52 not in found.frames


def test_a_recording_cut_short_before_the_onset_is_not_taken_for_the_expression(
    tmp_path,
):
    touch(tmp_path, *(f"img{n}.jpg" for n in range(1, 41)))
    found = recording(tmp_path, onset=46, offset=186)
    assert not found.renumbered
    assert (found.first, found.last) == (1, 40)
