import numpy as np
import pytest

from meranet_jax.descriptors import facial_regions
from meranet_jax.descriptors.facial_regions import COARSE, FINE, MINIMUM_SIZE, TEMPLATE
from meranet_jax.errors import UserError

NONE = np.full((5, 2), np.nan)


def mirror(landmarks):
    """Returns the landmarks of a mirrored frame."""
    return (landmarks * (-1, 1) + (1, 0))[[1, 0, 2, 4, 3]]


def test_there_are_36_and_12_regions():
    # 18 and 6 on each side
    assert facial_regions.masks(NONE, (112, 112), FINE).shape == (36, 112, 112)
    assert facial_regions.masks(NONE, (56, 56), COARSE).shape == (12, 56, 56)


@pytest.mark.parametrize("rectangles", [FINE, COARSE])
@pytest.mark.parametrize("size", [MINIMUM_SIZE, 56, 112])
def test_regions_have_pixels_and_do_not_overlap(rectangles, size):
    masks = facial_regions.masks(NONE, (size, size), rectangles)
    assert masks.any((1, 2)).all()
    assert masks.sum(0).max() == 1


def test_coordinates_of_the_template():
    x, y = facial_regions.face_coordinates(TEMPLATE, (100, 100))
    # Pixels whose centres are half a pixel from the landmarks; the eyes are 30 pixels
    # apart, and the mouth is 30 pixels below them.
    np.testing.assert_allclose(x[40, [34, 35, 64, 65]] * 30, [-15.5, -14.5, 14.5, 15.5])
    np.testing.assert_allclose(y[[39, 40, 69, 70], 50] * 30, [-0.5, 0.5, 29.5, 30.5])


def test_no_landmarks_are_those_of_the_template():
    np.testing.assert_array_equal(
        facial_regions.masks(NONE, (60, 60), FINE),
        facial_regions.masks(TEMPLATE, (60, 60), FINE),
    )


def test_regions_follow_the_face():
    """A face that is shifted and turned by 90 degrees has the same turned regions."""
    face = TEMPLATE + 0.001  # no border of a region goes through a pixel's centre
    shifted = facial_regions.masks(face + (0.1, 0), (60, 60), COARSE)
    plain = facial_regions.masks(face, (60, 60), COARSE)
    np.testing.assert_array_equal(shifted[:, :, 6:], plain[:, :, :-6])
    turned = (face - 0.5) @ [[0, 1], [-1, 0]] + 0.5  # x to the right becomes down
    np.testing.assert_array_equal(
        facial_regions.masks(turned, (60, 60), COARSE), np.rot90(plain, -1, (1, 2))
    )


def test_the_affine_motion_of_landmarks_is_found():
    moved = TEMPLATE @ [[0.9, 0.1], [-0.2, 1.1]] + (0.1, 0.0)
    x, y = facial_regions.face_coordinates(moved, (80, 80))
    plain_x, plain_y = facial_regions.face_coordinates(TEMPLATE, (80, 80))
    row, column = 30, 50
    place = (np.array([column, row]) + 0.5) / 80
    before = (place - (0.1, 0.0)) @ np.linalg.inv([[0.9, 0.1], [-0.2, 1.1]]) * 80 - 0.5
    # Both are linear in the position.
    for found, plain in ((x, plain_x), (y, plain_y)):
        right, down = plain[0, 1] - plain[0, 0], plain[1, 0] - plain[0, 0]
        expected = plain[0, 0] + right * before[0] + down * before[1]
        np.testing.assert_allclose(found[row, column], expected)


def test_mirrored_landmarks_have_mirrored_regions():
    rng = np.random.default_rng(0)
    landmarks = TEMPLATE + rng.normal(size=(5, 2)) * 0.02
    plain = facial_regions.masks(landmarks, (60, 60), FINE)
    mirrored = facial_regions.masks(mirror(landmarks), (60, 60), FINE)
    sides = np.r_[18:36, 0:18]  # right and left are exchanged
    np.testing.assert_array_equal(mirrored, plain[sides, :, ::-1])


def test_landmarks_are_relative_to_height_and_width():
    wide = TEMPLATE * (0.5, 1)
    np.testing.assert_array_equal(
        facial_regions.masks(wide, (60, 120), COARSE)[:, :, :60],
        facial_regions.masks(TEMPLATE, (60, 60), COARSE),
    )


def test_small_frames_are_refused():
    with pytest.raises(
        UserError, match=f"at least {MINIMUM_SIZE} x {MINIMUM_SIZE}.*size"
    ):
        facial_regions.check_size(None, (8, MINIMUM_SIZE - 1, MINIMUM_SIZE - 1, 2))
    facial_regions.check_size(None, (8, MINIMUM_SIZE, MINIMUM_SIZE, 2))
