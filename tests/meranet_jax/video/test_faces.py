"""Face detection on the astronaut, a public-domain photograph, under head motion."""

import numpy as np
import pytest
from skimage import data

from datasets import DataError
from meranet_jax.video.faces import (
    FaceCrop,
    detect,
    intersection_over_union,
    locate_face,
)
from tests.datasets.astronaut import EYES, filmed


@pytest.mark.parametrize("angle", [-15, 0, 15])
@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_detect_finds_the_face_and_its_eyes(scale, angle):
    image, box, eyes = filmed(scale, angle)
    (face,) = detect(image)
    assert intersection_over_union(face.box, box) > 0.4
    distance = np.linalg.norm(eyes[1] - eyes[0])
    assert np.linalg.norm(face.eyes - eyes, axis=1).max() < 0.2 * distance


def test_detect_reduces_large_frames():
    image, box, _ = filmed(scale=3, place=(960, 540), shape=(1080, 1920))
    (face,) = detect(image)
    assert intersection_over_union(face.box, box) > 0.4


@pytest.mark.parametrize("name", ["coffee", "rocket", "chelsea", "brick"])
def test_detect_finds_no_face_in_other_pictures(name):
    picture = getattr(data, name)()
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, 2)
    assert detect(picture) == []


@pytest.mark.parametrize("shape", [(1, 1), (20, 30), (10, 3000)])
def test_detect_finds_no_face_in_tiny_images(shape):
    assert detect(np.full((*shape, 3), 90, np.uint8)) == []


def test_crop_contains_the_face_with_level_eyes():
    images = {n: filmed(1.2, 10, (300 + n, 240))[0] for n in range(5)}
    crop = locate_face(images, margin=0.1)
    _, box, _ = filmed(1.2, 10, (302, 240))
    assert np.hypot(crop.x - 302, crop.y - 240) < 25
    # The eyes are not level in the photograph itself.
    tilt = np.degrees(np.arctan2(*(EYES[1] - EYES[0])[::-1]))
    assert crop.angle == pytest.approx(10 + tilt, abs=4)
    assert 0.9 < crop.side / (box[3] - box[1]) < 1.5
    (face,) = detect(crop.apply(images[2]))
    assert abs(face.eyes[0, 1] - face.eyes[1, 1]) < 4


def test_margin_is_relative_to_the_face():
    images = {0: filmed()[0]}
    narrow, wide = locate_face(images, 0), locate_face(images, 0.5)
    assert wide.side == pytest.approx(2 * narrow.side)
    assert (wide.x, wide.y, wide.angle) == (narrow.x, narrow.y, narrow.angle)


def test_outliers_are_ignored_unless_most_frames_disagree():
    images = {n: filmed()[0] for n in range(3)}
    expected = locate_face(images, 0.1)
    elsewhere = filmed(0.6, 0, (100, 380))[0]
    crop = locate_face(images | {3: elsewhere}, 0.1)
    assert (crop.x, crop.y, crop.side) == pytest.approx(
        (expected.x, expected.y, expected.side), abs=0.5
    )
    with pytest.raises(DataError, match="are in different places"):
        locate_face(
            {
                0: filmed()[0],
                1: elsewhere,
                2: filmed(0.6, 0, (560, 100))[0],
                3: filmed(0.6, 0, (100, 100))[0],
            },
            0.1,
        )


def test_locate_face_raises_if_too_few_frames_show_a_face():
    empty = np.full((480, 640, 3), 110, np.uint8)
    with pytest.raises(DataError, match=r"found in only 0 of 2 frames \(4, 7\)"):
        locate_face({4: empty, 7: empty}, 0.1)
    with pytest.raises(DataError, match="found in only 1 of 3 frames"):
        locate_face({4: filmed()[0], 7: empty, 9: empty}, 0.1)


def test_crop_returns_the_pixels_of_its_square():
    y, x = np.mgrid[:100, :160]
    image = np.stack([x, y, np.zeros_like(x)], -1).astype(np.uint8)
    cropped = FaceCrop(x=50, y=40, side=20, angle=0).apply(image)
    assert cropped.shape == (20, 20, 3)
    assert (cropped == image[30:50, 40:60]).all()
    # A quarter turn clockwise: the upper edge of the result is the square's right edge.
    turned = FaceCrop(x=50, y=40, side=20, angle=90).apply(image)
    assert np.abs(turned.astype(int) - np.rot90(image[30:50, 40:60])).max() <= 1


def test_crop_beyond_the_frame_repeats_the_edge():
    image = np.full((60, 80, 3), 90, np.uint8)
    image[:, 0] = 10
    cropped = FaceCrop(x=0, y=30, side=20, angle=0).apply(image)
    assert (cropped[:, :10] == 10).all() and (cropped[:, 11:] == 90).all()


def test_crop_is_restored_from_its_array():
    crop = FaceCrop(x=50.5, y=40.25, side=20, angle=-3)
    assert FaceCrop.from_array(crop.as_array()) == crop
    assert FaceCrop.from_array(np.zeros(4, np.float32)) is None


@pytest.mark.parametrize("angle", [0, 7])
def test_crop_preserves_motion_of_one_pixel(angle):
    # A soft spot moves by one pixel; its centre in the crop must move by one as well.
    crop = FaceCrop(x=300.3, y=250.7, side=201.4, angle=angle)
    y, x = np.mgrid[:480, :640]

    def centre(dx):
        spot = np.exp(-((x - 310 - dx) ** 2 + (y - 240) ** 2) / (2 * 12.0**2))
        image = np.rint(20 + 200 * spot)[..., None].repeat(3, 2).astype(np.uint8)
        cropped = crop.apply(image)[..., 0] - 20.0
        return (
            np.array([(cropped * axis).sum() for axis in np.mgrid[:201, :201]])
            / cropped.sum()
        )

    down, right = np.mean([centre(dx + 1) - centre(dx) for dx in range(8)], 0)
    radians, scale = np.radians(angle), 201 / 201.4
    assert right == pytest.approx(scale * np.cos(radians), abs=0.02)
    assert down == pytest.approx(-scale * np.sin(radians), abs=0.02)


def test_detect_enlarges_small_frames():
    image, box, _ = filmed(scale=0.3, place=(88, 72), shape=(144, 176))
    (face,) = detect(image)
    assert intersection_over_union(face.box, box) > 0.4
