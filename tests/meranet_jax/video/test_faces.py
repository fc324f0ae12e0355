"""Faces on the astronaut, a picture in the public domain, warped as heads move."""

import numpy as np
import pytest
from skimage import data

from datasets import DataError
from meranet_jax.video.faces import Square, detect, locate, overlap
from tests.datasets.astronaut import EYES, filmed


@pytest.mark.parametrize("angle", [-15, 0, 15])
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_the_face_and_its_eyes_are_found(scale, angle):
    image, box, eyes = filmed(scale, angle)
    (face,) = detect(image)
    assert overlap(face.box, box) > 0.4
    distance = np.linalg.norm(eyes[1] - eyes[0])
    assert np.linalg.norm(face.eyes - eyes, axis=1).max() < 0.2 * distance


def test_a_large_frame_is_looked_at_smaller():
    image, box, _ = filmed(scale=3, place=(960, 540), shape=(1080, 1920))
    (face,) = detect(image)
    assert overlap(face.box, box) > 0.4


@pytest.mark.parametrize("name", ["coffee", "rocket", "chelsea", "brick"])
def test_there_is_no_face_where_there_is_none(name):
    picture = getattr(data, name)()
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, 2)
    assert detect(picture) == []


@pytest.mark.parametrize("shape", [(1, 1), (20, 30), (10, 3000)])
def test_an_image_too_small_for_a_face_has_none(shape):
    assert detect(np.full((*shape, 3), 90, np.uint8)) == []


def test_one_square_holds_the_face_with_level_eyes():
    images = {n: filmed(1.2, 10, (300 + n, 240))[0] for n in range(5)}
    square = locate(images, margin=0.1)
    _, box, _ = filmed(1.2, 10, (302, 240))
    assert np.hypot(square.x - 302, square.y - 240) < 25
    # The eyes are not level in the picture itself.
    tilt = np.degrees(np.arctan2(*(EYES[1] - EYES[0])[::-1]))
    assert square.angle == pytest.approx(10 + tilt, abs=4)
    assert 0.9 < square.side / (box[3] - box[1]) < 1.5
    (face,) = detect(square.cut(images[2]))
    assert abs(face.eyes[0, 1] - face.eyes[1, 1]) < 4


def test_the_margin_is_a_share_of_the_face():
    images = {0: filmed()[0]}
    narrow, wide = locate(images, 0), locate(images, 0.5)
    assert wide.side == pytest.approx(2 * narrow.side)
    assert (wide.x, wide.y, wide.angle) == (narrow.x, narrow.y, narrow.angle)


def test_frames_that_disagree_do_not_count_unless_they_are_most():
    images = {n: filmed()[0] for n in range(3)}
    alone = locate(images, 0.1)
    elsewhere = filmed(0.6, 0, (100, 380))[0]
    square = locate(images | {3: elsewhere}, 0.1)
    assert (square.x, square.y, square.side) == pytest.approx(
        (alone.x, alone.y, alone.side), abs=0.5
    )
    with pytest.raises(DataError, match="stand in different places"):
        locate(
            {
                0: filmed()[0],
                1: elsewhere,
                2: filmed(0.6, 0, (560, 100))[0],
                3: filmed(0.6, 0, (100, 100))[0],
            },
            0.1,
        )


def test_no_face_is_said_and_not_made_up():
    empty = np.full((480, 640, 3), 110, np.uint8)
    with pytest.raises(DataError, match="found in 0 of its frames 4, 7"):
        locate({4: empty, 7: empty}, 0.1)
    with pytest.raises(DataError, match="found in 1 of its frames"):
        locate({4: filmed()[0], 7: empty, 9: empty}, 0.1)


def test_a_square_is_cut_where_it_is():
    y, x = np.mgrid[:100, :160]
    image = np.stack([x, y, np.zeros_like(x)], -1).astype(np.uint8)
    cut = Square(x=50, y=40, side=20, angle=0).cut(image)
    assert cut.shape == (20, 20, 3)
    assert (cut == image[30:50, 40:60]).all()
    # A quarter turn clockwise: the cut's upper edge is the square's right one.
    turned = Square(x=50, y=40, side=20, angle=90).cut(image)
    assert np.abs(turned.astype(int) - np.rot90(image[30:50, 40:60])).max() <= 1


def test_a_square_beyond_the_frame_repeats_its_edge():
    image = np.full((60, 80, 3), 90, np.uint8)
    image[:, 0] = 10
    cut = Square(x=0, y=30, side=20, angle=0).cut(image)
    assert (cut[:, :10] == 10).all() and (cut[:, 11:] == 90).all()


def test_a_square_and_its_record_are_the_same():
    square = Square(x=50.5, y=40.25, side=20, angle=-3)
    assert Square.from_array(square.as_array()) == square
    assert Square.from_array(np.zeros(4, np.float32)) is None


@pytest.mark.parametrize("angle", [0, 7])
def test_a_motion_of_a_pixel_keeps_its_size_through_the_cut(angle):
    # A soft spot, moved by a pixel; its centre in the cut must move by one too.
    square = Square(x=300.3, y=250.7, side=201.4, angle=angle)
    y, x = np.mgrid[:480, :640]

    def centre(dx):
        spot = np.exp(-((x - 310 - dx) ** 2 + (y - 240) ** 2) / (2 * 12.0**2))
        image = np.rint(20 + 200 * spot)[..., None].repeat(3, 2).astype(np.uint8)
        cut = square.cut(image)[..., 0] - 20.0
        return (
            np.array([(cut * axis).sum() for axis in np.mgrid[:201, :201]]) / cut.sum()
        )

    down, right = np.mean([centre(dx + 1) - centre(dx) for dx in range(8)], 0)
    radians, scale = np.radians(angle), 201 / 201.4
    assert right == pytest.approx(scale * np.cos(radians), abs=0.02)
    assert down == pytest.approx(-scale * np.sin(radians), abs=0.02)


def test_a_small_video_is_looked_at_larger():
    image, box, _ = filmed(scale=0.3, place=(88, 72), shape=(144, 176))
    (face,) = detect(image)
    assert overlap(face.box, box) > 0.4
