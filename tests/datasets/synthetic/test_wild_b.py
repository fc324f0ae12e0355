"""Tests of the renderer of 3-D heads."""

import dataclasses

import cv2
import numpy as np
import pytest

from datasets.synthetic import wild_b
from datasets.synthetic.wild import expressions, script

_SIZE = 56
_AMPLITUDE = 2.0


@pytest.fixture(scope="module")
def head() -> wild_b.Head:
    # Nothing is in front of this one's skin.
    bare = wild_b.draw_face(np.random.default_rng(57))
    assert bare.hair is None
    return dataclasses.replace(bare, glasses=None)


_STYLE = dataclasses.replace(
    expressions.draw_style(np.random.default_rng(0)),
    turns=np.zeros(len(expressions.UNITS)),
    reaches=np.ones(len(expressions.UNITS)),
)


def _still(*units: int, sides: tuple[float, float] = (1, 1)) -> script.Script:
    """Returns a script that shows units only, in full at the apex."""
    rng = np.random.default_rng(1)
    clip_script = script.draw(
        rng, _STYLE, script.draw_camera(rng), "surprise", (_AMPLITUDE, _AMPLITUDE)
    )
    count = len(clip_script.units)
    intensity = np.array([clip_script.course.intensity(n + 1) for n in range(count)])
    shown = np.zeros_like(clip_script.units)
    for unit in units:
        shown[:, expressions.UNITS.index(unit)] = intensity[:, None] * sides
    return dataclasses.replace(
        clip_script,
        amplitude=_AMPLITUDE if units else 0.0,
        units=shown,
        blink=np.zeros(count),
        gaze=np.zeros((count, 2)),
        speech=np.zeros((count, 3)),
        swallow=np.zeros(count),
        head=np.zeros((count, 6)),
        light=np.tile([0.0, -0.3, 0.954], (count, 1)),
        brightness=np.ones(count),
    )


def _render(head: wild_b.Head, clip_script: script.Script, *numbers: int):
    frames = np.array(numbers or (clip_script.course.onset, clip_script.course.apex))
    return wild_b.render(head, _STYLE, clip_script, frames, _SIZE)


def _at(head: wild_b.Head, image: np.ndarray, place: str, side: int) -> np.ndarray:
    """Returns the value of an image at a landmark; side is -1 or 1."""
    x, y = head.shape.landmarks()[place]
    scale = _SIZE / 112
    return image[int(y * scale), int((head.shape.x0 + side * x) * scale)]


# Unit, landmark, and the directions outwards and downwards: -1, 0 for either, or 1.
@pytest.mark.parametrize(
    ("unit", "place", "out", "down"),
    [
        (1, "brow_inner", 0, -1),
        (2, "brow_outer", 0, -1),
        (4, "brow_inner", -1, 1),
        (6, "cheek", 0, -1),
        (9, "nose_side", 0, -1),
        (10, "lip_upper", 0, -1),
        (12, "corner", 1, -1),
        (14, "mouth_side", -1, 0),
        (15, "corner", 0, 1),
        (17, "chin", 0, -1),
        (20, "corner", 1, 0),
        (26, "chin", 0, 1),
    ],
)
def test_units_move_skin_as_facs_defines(head, unit, place, out, down):
    moved = _render(head, _still(unit)).displacement
    for side in (-1, 1):
        dx, dy = _at(head, moved, place, side)
        if out:
            assert side * dx * out > 0.2
        if down:
            assert dy * down > 0.2


@pytest.mark.parametrize("turned", [False, True])
def test_pictures_move_as_the_displacement_says(head, turned):
    clip_script = _still(1, 2, 12)
    if turned:
        pose = [*np.radians([8, -5, 6]), 1, -2, 0.01]
        clip_script = dataclasses.replace(
            clip_script, head=np.tile(pose, (len(clip_script.units), 1))
        )
    frames = np.array([clip_script.course.onset, clip_script.course.apex])
    rendered = wild_b.render(head, _STYLE, clip_script, frames, 112)
    before, after = rendered.pictures
    truth = rendered.displacement
    y, x = np.mgrid[:112, :112].astype(np.float32)
    moves = np.linalg.norm(truth, axis=-1) > 0.25 * _AMPLITUDE
    moves &= (y < 112 * 0.35) | (y > 112 * 0.55)  # without lids over eyeballs

    def residual(factor: float) -> float:
        at = x + factor * truth[..., 0], y + factor * truth[..., 1]
        back = cv2.remap(after, *at, cv2.INTER_LINEAR)
        return float(np.abs(back - before)[moves].mean())

    assert residual(1) < 0.5 * residual(0)
    assert residual(1) < min(residual(0.6), residual(1.4))


def test_each_side_moves_by_its_own_intensity(head):
    moved = _render(head, _still(12, sides=(1, 0))).displacement
    assert np.linalg.norm(_at(head, moved, "corner", -1)) > 1
    assert np.linalg.norm(_at(head, moved, "corner", 1)) < 0.05


def test_turns_rotate_the_displacement(head):
    turned = dataclasses.replace(_STYLE, turns=np.full(len(_STYLE.turns), np.pi / 2))
    clip_script = _still(2)
    frames = np.array([clip_script.course.apex])
    moved = wild_b.render(head, turned, clip_script, frames, _SIZE).displacement
    for side in (-1, 1):
        dx, dy = _at(head, moved, "brow_outer", side)
        assert side * dx > 1 and abs(dy) < 0.3


@pytest.mark.parametrize("units", [(2,), (12,), (4,), (6, 12)])
def test_largest_displacement_is_the_amplitude(head, units):
    clip_script = _still(*units)
    rendered = _render(head, clip_script)
    largest = np.linalg.norm(rendered.displacement, axis=-1).max()
    # A pixel shows the mean of the points in it.
    assert 0.93 * _AMPLITUDE < largest < 1.001 * _AMPLITUDE
    assert 0.93 * _AMPLITUDE < rendered.lengths[1].max() < 1.001 * _AMPLITUDE
    assert rendered.lengths[0].max() == 0
    assert np.abs(rendered.pictures[1] - rendered.pictures[0]).max() > 5


def test_nothing_moves_without_expression(head):
    rendered = _render(head, _still())
    assert rendered.pictures.shape == (2, _SIZE, _SIZE, 3)
    assert rendered.pictures.dtype == rendered.lengths.dtype == np.float32
    assert rendered.displacement.dtype == np.float32
    assert not rendered.lengths.any() and not rendered.displacement.any()
    np.testing.assert_array_equal(*rendered.pictures)


def test_other_movements_are_not_in_the_truth(head):
    clip_script = _still()
    count = len(clip_script.blink)
    clip_script = dataclasses.replace(
        clip_script,
        blink=np.linspace(0, 1, count),
        speech=np.tile(np.linspace(0, 1, count)[:, None], 3),
        swallow=np.linspace(0, 1, count),
        head=np.linspace(0, 0.1, count)[:, None] * np.ones(6),
    )
    rendered = _render(head, clip_script, 1, count)
    assert not rendered.lengths.any() and not rendered.displacement.any()
    assert np.abs(rendered.pictures[1] - rendered.pictures[0]).max() > 20


def test_a_blink_changes_the_eyes_only(head):
    clip_script = _still()
    blink = np.zeros(len(clip_script.blink))
    blink[-1] = 1
    clip_script = dataclasses.replace(clip_script, blink=blink)
    pictures = _render(head, clip_script, 1, len(blink)).pictures
    change = np.abs(pictures[1] - pictures[0]).max(-1)
    y, x = (np.indices(change.shape) + 0.5) * 112 / _SIZE
    half = head.shape.lids[0]
    near = abs(abs(x - head.shape.x0) - head.shape.eye[0]) < half + 4
    near &= abs(y - head.shape.eye[1]) < 9
    assert change[near].max() > 20
    assert change[~near].max() < 0.5


def test_the_nose_moves_more_than_the_cheek_in_a_turn(head):
    clip_script = _still()
    turn = np.zeros_like(clip_script.head)
    turn[-1, 0] = np.radians(2)
    # Marks that are easy to find: the skin is black but for two spots.
    nose = np.array([0, head.shape.nose[1] - 3])
    cheek = np.array([0.75 * head.shape.width, head.shape.nose[1] - 3])
    found = []
    for spot in (nose, cheek):
        away = np.linalg.norm(head.skin.position[:, :2] - spot, axis=1)
        colour = 255 * np.exp(-((away / 2.5) ** 2))[:, None] * np.ones(3)
        marked = dataclasses.replace(head.skin, colour=colour.astype(np.float32))
        bare = dataclasses.replace(head, skin=marked)
        moving = dataclasses.replace(clip_script, head=turn)
        pictures = _render(bare, moving, 1, len(turn)).pictures[..., 1]
        x = (np.arange(_SIZE) + 0.5) * 112 / _SIZE
        y = x[:, None]
        place = spot + [head.shape.x0, 0]
        window = np.hypot(x - place[0], y - place[1]) < 8
        weights = np.where(window, np.maximum(pictures - 40, 0), 0)
        middles = (weights * x).sum((1, 2)) / weights.sum((1, 2))
        found.append(middles[1] - middles[0])
    assert found[0] > found[1] + 0.2 > 0.2


def test_small_shifts_are_seen_in_proportion(head):
    clip_script = _still()
    path = np.zeros_like(clip_script.head)
    path[:11, 3] = 0.1 * np.arange(11)
    path[11:, 3] = 1
    pictures = _render(
        head, dataclasses.replace(clip_script, head=path), *range(1, 12)
    ).pictures
    area = pictures[:, 18:46, 16:40, 1]  # the face
    slope = np.gradient(area[0], axis=1)
    shifts = ((area[0] - area) * slope).sum((1, 2)) / (slope**2).sum()
    # Proportional to the shift, up to the curvature of the picture
    np.testing.assert_allclose(shifts[1:] / shifts[1], np.arange(1, 11), rtol=0.12)


def test_the_same_frames_in_any_call(head):
    clip_script = _still(1, 2, 5)
    clip_script = dataclasses.replace(
        clip_script, blink=np.linspace(0, 0.5, len(clip_script.blink))
    )
    both = _render(head, clip_script)
    again = _render(wild_b.draw_face(np.random.default_rng(7)), clip_script)
    same = _render(wild_b.draw_face(np.random.default_rng(7)), clip_script)
    np.testing.assert_array_equal(again.pictures, same.pictures)
    alone = _render(head, clip_script, clip_script.course.apex)
    np.testing.assert_array_equal(alone.pictures[0], both.pictures[1])
    np.testing.assert_array_equal(alone.lengths[0], both.lengths[1])
    np.testing.assert_array_equal(alone.displacement, both.displacement)
