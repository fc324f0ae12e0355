"""Images that would change a clip without a word are refused or named."""

import cv2
import numpy as np
import pytest
from PIL import Image

from datasets import DataError
from datasets.check import check
from meranet_jax.video.frames import numbered_frames
from tests.datasets.casme2_tree import ROWS, id_of, write_tree
from tests.datasets.reading import read_back

ROW = ROWS[0]


def motionless_face(height=64, width=56):
    """Returns a smooth picture with edges, [H, W] from 40 to 215."""
    y, x = np.mgrid[:height, :width] / 8
    return (127 + 60 * np.sin(x) * np.cos(y) + 28 * np.sign(np.sin(2 * x + y))).astype(
        np.uint8
    )


def write_face(folder, make):
    """Replaces the frames of a copy of one clip; ``make`` returns one by its number."""
    write_tree(folder, rows=[ROW])
    clip = folder / "Cropped" / id_of(ROW)
    for number, path in numbered_frames(clip).items():
        path.unlink()
        Image.fromarray(make(number)).save(clip / f"reg_img{number}.png")


def read_clip(tmp_path, **options):
    info, records = read_back("casme2", tmp_path / "copy", tmp_path / "data", **options)
    return records[id_of(ROW)], info.metadata["notes"]


def wider_by_a_pixel_from_the_apex(number):
    return motionless_face()[:, : 55 + (number >= ROW.apex)]


def test_frames_of_different_size_are_refused(tmp_path):
    write_face(tmp_path / "copy", wider_by_a_pixel_from_the_apex)
    with pytest.raises(DataError) as error:
        read_clip(tmp_path)
    assert "its frames differ in size: 55 x 64 (9 frames, the first is 9)" in str(
        error.value
    )
    assert "56 x 64 (8 frames, the first is " in str(error.value)
    assert "--sizes=any" in str(error.value)


def test_sizes_any_reads_them_with_a_note(tmp_path):
    write_face(tmp_path / "copy", wider_by_a_pixel_from_the_apex)
    record, notes = read_clip(tmp_path, sizes="any")
    change = np.abs(np.diff(record["clip"].astype(int), axis=0)).max()
    assert change > 10  # the motion that the refusal prevents
    assert any("its frames differ in size: 55 x 64" in note for note in notes)
    # Under a name of its own: it replaces no other records.
    assert (tmp_path / "data/casme2/apex32-16x112-sizes_any").is_dir()


@pytest.mark.parametrize("depth", [8, 16])
def test_a_motionless_face_stays_motionless_and_is_named(tmp_path, depth):
    face = motionless_face()
    deep = face if depth == 8 else face.astype(np.uint16) * 257
    write_face(tmp_path / "copy", lambda number: deep)
    record, notes = read_clip(tmp_path)
    clip = record["clip"].astype(int)
    assert (clip == clip[0]).all()
    expected = cv2.resize(face, (112, 112), interpolation=cv2.INTER_LINEAR)
    assert np.abs(clip[0] - expected[..., None].astype(int)).max() <= 1
    assert any("are all the same picture" in note for note in notes)


def test_the_check_names_a_motionless_clip_and_a_jump_of_brightness(tmp_path):
    face = motionless_face()
    write_face(tmp_path / "still", lambda number: face)
    (text,) = check("casme2", tmp_path / "still").notes_by_kind["motionless"]
    assert text.startswith(f"row 2, {id_of(ROW)}: the frames used, ")
    write_face(
        tmp_path / "jump", lambda number: face + np.uint8(20) * (number >= ROW.apex)
    )
    (text,) = check("casme2", tmp_path / "jump").notes_by_kind["brightness jumps"]
    before = f"from frame {ROW.apex - 2} to frame {ROW.apex} "
    assert before + "the grey level of most pixels changes by +20" in text


def notes_of(folder, make):
    write_face(folder, make)
    return check("casme2", folder).notes_by_kind


def moving_face(number):
    """Moves by a pixel in four frames, as an expression does."""
    return np.roll(motionless_face(), number // 4, 1)


def half_grey(number):
    image = moving_face(number)
    if number == ROW.apex:
        image[40:] = 128
    return image


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (half_grey, "isolated changes", f"a part of frame {ROW.apex} differs by "),
        (
            lambda n: moving_face(n)[:, :: -1 if n >= ROW.apex else 1],
            "sudden changes",
            f"from frame {ROW.apex - 2} to frame {ROW.apex}, ",
        ),
        (
            lambda n: moving_face(n if n < ROW.apex else ROW.apex),
            "repeated frames",
            "of the 17 frames used are the same picture as the one before",
        ),
    ],
)
def test_changes_that_no_face_makes_are_named(tmp_path, make, kind, text):
    assert text in notes_of(tmp_path / "copy", make)[kind][0]


def test_a_face_that_moves_has_no_such_note(tmp_path):
    noise = np.random.default_rng(0)

    def make(number):
        image = moving_face(number).astype(float) + noise.normal(0, 2, (64, 56))
        return image.clip(0, 255).astype(np.uint8)

    assert notes_of(tmp_path / "copy", make) == {}


def test_frames_of_12_bits_in_files_of_16_are_refused_by_name(tmp_path):
    face = motionless_face().astype(np.uint16) * 16
    write_face(tmp_path / "copy", lambda number: face)
    with pytest.raises(DataError, match=r"reg_img\d+\.png cannot be read: it has 16 b"):
        read_clip(tmp_path)
