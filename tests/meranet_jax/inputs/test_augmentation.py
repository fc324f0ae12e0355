import jax
import numpy as np
import pytest

from meranet_jax.inputs import augmentation

KEYS = [jax.random.key(seed) for seed in range(5)]


def test_flip_mirrors_all_frames_of_a_clip():
    clips = np.random.default_rng(0).normal(size=(2, 4, 5, 6, 3))
    flipped = np.asarray(augmentation.flip(clips, np.array([True, False])))
    np.testing.assert_array_equal(flipped[0], clips[0, :, :, ::-1].astype("float32"))
    np.testing.assert_array_equal(flipped[1], clips[1].astype("float32"))


def ramp(frames=3, size=32):
    """Returns a clip with the channels x and y, from -1 to 1, alike in all frames."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    return np.tile(np.stack([x, y], -1), (frames, 1, 1, 1)).astype(np.float32)


def map_of(clip):
    """Fits x' = a x + b y + c and y' alike to the middle of a moved ramp: [2, 3]."""
    inner = np.s_[8:-8, 8:-8]
    known = ramp(1)[0][inner].reshape(-1, 2)
    known = np.column_stack([known, np.ones(len(known))])
    solution, residual, *_ = np.linalg.lstsq(
        known, np.asarray(clip)[inner].reshape(-1, 2), rcond=None
    )
    assert residual.max() < 1e-6
    return solution.T


@pytest.mark.parametrize("key", KEYS)
def test_move_is_a_similarity_of_all_frames(key):
    moved = np.asarray(augmentation.move(ramp(), key, ["shift", "rotate", "scale"]))
    np.testing.assert_array_equal(moved[0], moved[2])
    fitted = map_of(moved[0])
    np.testing.assert_allclose(fitted[0, 0], fitted[1, 1], atol=1e-4)
    np.testing.assert_allclose(fitted[0, 1], -fitted[1, 0], atol=1e-4)
    scale = np.hypot(fitted[0, 0], fitted[0, 1])
    assert 0.9 < scale < 1.12 and abs(scale - 1) > 1e-4
    assert 0 < abs(np.arctan2(fitted[0, 1], fitted[0, 0])) < 0.15
    assert 0 < np.abs(fitted[:, 2]).max() < 0.14


@pytest.mark.parametrize("key", KEYS)
def test_only_what_is_named_changes(key):
    shifted = map_of(augmentation.move(ramp(), key, ["shift"])[0])
    np.testing.assert_allclose(shifted[:, :2], np.eye(2), atol=1e-4)
    rotated = map_of(augmentation.move(ramp(), key, ["rotate"])[0])
    np.testing.assert_allclose(np.linalg.det(rotated[:, :2]), 1, atol=1e-3)
    np.testing.assert_allclose(rotated[:, 2], 0, atol=1e-4)


@pytest.mark.parametrize("key", KEYS)
def test_vectors_turn_with_the_frame(key):
    # A flow that points away from the centre does so after a rotation and a scaling,
    # and its divergence is kept.
    moved = augmentation.move(ramp(), key, ["rotate", "scale"], vectors=True)
    np.testing.assert_allclose(map_of(moved[0])[:, :2], np.eye(2), atol=1e-3)
    # A constant vector is turned by the angle of the frame.
    constant = np.zeros((1, 32, 32, 2), np.float32)
    constant[..., 0] = 1
    turned = np.asarray(augmentation.move(constant, key, ["rotate"], vectors=True))
    back = map_of(augmentation.move(ramp(), key, ["rotate"])[0])
    angle = np.arctan2(back[0, 1], back[0, 0])
    np.testing.assert_allclose(
        turned[0, 16, 16], [np.cos(angle), np.sin(angle)], atol=1e-3
    )


@pytest.mark.parametrize("key", KEYS)
def test_light_changes_linearly_in_time_and_space_alike(key):
    frames = np.full((5, 4, 4, 3), 120, np.float32)
    frames[:, :2] = 140
    changed = np.asarray(
        augmentation.change_light(frames, key, ["brightness", "contrast"])
    )
    levels = changed[:, 0, 0, 0]
    np.testing.assert_allclose(np.diff(levels, 2), 0, atol=1e-3)
    assert np.ptp(changed[:, :2].reshape(5, -1), axis=1).max() == 0
    assert abs(levels - 140).max() > 0.1
    black = augmentation.change_light(0 * frames, key, ["brightness", "contrast"])
    assert np.asarray(black).min() >= 0


@pytest.mark.parametrize("key", KEYS)
def test_time_is_shifted_and_stretched(key):
    clip = np.arange(16, dtype=np.float32).reshape(-1, 1, 1, 1)
    shifted = np.asarray(augmentation.change_time(clip, key, ["time_shift"])).ravel()
    inner = shifted[(shifted > 0) & (shifted < 15)]
    np.testing.assert_allclose(np.diff(inner), 1, atol=1e-4)
    assert 0 < abs(shifted[8] - 8) <= 2
    stretched = np.asarray(augmentation.change_time(clip, key, ["speed"])).ravel()
    inner = stretched[(stretched > 0) & (stretched < 15)]
    steps = np.diff(inner)
    np.testing.assert_allclose(steps, steps[0], atol=1e-4)
    assert 0.7 < steps[0] < 1.42
    np.testing.assert_allclose(stretched[7] + stretched[8], 15, atol=1e-3)


def test_a_dropped_frame_is_the_one_before():
    clip = np.arange(16, dtype=np.float32).reshape(-1, 1, 1, 1)
    dropped = 0
    for key in KEYS:
        kept = np.asarray(augmentation.change_time(clip, key, ["drop"])).ravel()
        assert (np.diff(kept) >= 0).all() and (kept <= clip.ravel()).all()
        assert set(kept) <= set(range(16)) and kept[0] == 0
        dropped += (kept != clip.ravel()).sum()
    assert 3 < dropped < 30


def test_each_change_has_draws_of_its_own():
    both = augmentation.change_time(
        np.arange(16, dtype=np.float32).reshape(-1, 1, 1, 1), KEYS[0], ["time_shift"]
    )
    again = augmentation.change_time(
        np.arange(16, dtype=np.float32).reshape(-1, 1, 1, 1),
        KEYS[0],
        ["brightness", "time_shift"],
    )
    np.testing.assert_array_equal(both, again)
