"""Motion of regions of a photographed face whose pixels are moved by known amounts."""

import cv2
import numpy as np
import pytest

from meranet_jax.video import faces
from meranet_jax.video.facial_motion import REGIONS, Window
from tests.datasets.astronaut import filmed

NAMES = [region.name for region in REGIONS]


def warped(picture, field):
    """Moves the pixels of a picture by a field (x, y), float32 [H, W, 2]."""
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
    at = (x - field[..., 0]).astype(np.float32), (y - field[..., 1]).astype(np.float32)
    return cv2.remap(picture, *at, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def bump(shape, place, width, vector):
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    fades = np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * width**2))
    return fades[..., None] * np.array(vector, np.float32)


def grey(picture):
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


@pytest.fixture(scope="module", params=[1.0, 2.5])
def recording(request):
    """A picture of a face, the face, and the distance between its eyes in pixels."""
    picture, _, eyes = filmed(scale=request.param, angle=8)
    (face,) = faces.detect(picture)
    return picture, face, np.linalg.norm(eyes[1] - eyes[0])


def test_a_region_moves_by_what_its_pixels_do(recording):
    picture, face, distance = recording
    distance = float(distance)
    window = Window(0, grey(picture), face)
    corner = face.landmarks[3]
    pixels = 0.04 * distance
    field = bump(picture.shape, corner, 0.2 * distance, (-pixels, 0))
    window.add(grey(warped(picture, field)))
    moved = dict(zip(NAMES, window.motion[1], strict=True))
    assert moved["mouth_corner_left"] == pytest.approx(0.04, rel=0.25)
    assert max(moved[n] for n in NAMES if n.startswith(("brow", "eye"))) < 0.008
    assert np.abs(window.shift[1]).max() < 0.01


def test_motion_of_the_head_is_no_motion_of_the_face(recording):
    picture, face, distance = recording
    window = Window(0, grey(picture), face)
    for step in range(1, 6):
        field = np.zeros((*picture.shape[:2], 2), np.float32)
        field += np.float32(0.06 * step * distance) * np.float32([1, 0.5])
        window.add(grey(warped(picture, field)))
        # The crop's own rotation: the shift is along its axes.
        length = np.hypot(*window.shift[step])
        assert length == pytest.approx(0.06 * step * np.hypot(1, 0.5), rel=0.1)
        assert window.motion[step].max() < 0.02


def test_the_frame_itself_has_not_moved(recording):
    picture, face, _ = recording
    window = Window(0, grey(picture), face)
    window.add(grey(picture))
    assert window.motion[1].max() < 1e-3 and np.abs(window.shift[1]).max() < 1e-3
