import jax
import numpy as np
import pytest

from meranet_jax.errors import UserError
from meranet_jax.inputs import augmentation, registry

FRAMES, SIZE = 5, 12


def stored_clips(one, batch=2, seed=0):
    """Returns random clips as an input stores them."""
    rng = np.random.default_rng(seed)
    shape = (batch, *one.stored_shape(FRAMES, SIZE))
    if one.flow:
        return rng.normal(size=shape).astype(one.stored_dtype)
    return rng.integers(0, 256, shape).astype(one.stored_dtype)


def mirror_stored(one, stored):
    """Returns what the input would store for mirrored frames."""
    mirrored = stored[..., ::-1, :].copy()
    if one.flow:
        mirrored[..., 0] *= -1
    return mirrored


@pytest.fixture(params=[name for name in registry.INPUTS if name != "raw"])
def one(request):
    return registry.find(request.param)


def test_shape_and_type(one):
    prepared = jax.jit(one.prepare)(stored_clips(one))
    assert prepared.shape == (2, *one.shape(FRAMES, SIZE))
    assert prepared.dtype == np.float32


def test_flow_is_stored_as_float16_and_frames_as_uint8():
    flows = {name for name, one in registry.INPUTS.items() if one.flow}
    assert flows == {name for name in registry.INPUTS if "flow" in name} | {
        "onset_apex_strain"
    }
    for one in registry.INPUTS.values():
        assert one.stored_dtype == (np.float16 if one.flow else np.uint8)


@pytest.mark.parametrize("name", ["raw_flow", "raw_onset_apex_flow"])
def test_raw_flow_is_in_pixels(name):
    one = registry.find(name)
    stored = stored_clips(one)
    prepared = np.asarray(one.prepare(stored))
    assert prepared.shape[1:] == one.shape(FRAMES, SIZE)
    np.testing.assert_array_equal(prepared, stored.astype(np.float32))
    np.testing.assert_array_equal(
        one.mirror(prepared), one.prepare(mirror_stored(one, stored))
    )


def test_mirroring_is_that_of_mirrored_frames(one):
    stored = stored_clips(one)
    expected = one.prepare(mirror_stored(one, stored))
    atol = 1e-4 if one.name == "onset_apex_strain" else 1e-5  # 0 to 255
    np.testing.assert_allclose(one.mirror(one.prepare(stored)), expected, atol=atol)


def test_a_clip_without_change_is_finite(one):
    prepared = np.asarray(one.prepare(np.full_like(stored_clips(one), 77)))
    assert np.isfinite(prepared).all()
    if one.name == "apex_grey":  # is not normalised
        np.testing.assert_allclose(prepared, 77, rtol=1e-6)
    elif not one.flow:
        assert not prepared.any()


def test_normalisation_is_by_clip(one):
    two = stored_clips(one)
    alone = one.prepare(two[:1])
    np.testing.assert_allclose(one.prepare(two)[:1], alone, rtol=1e-5, atol=1e-6)


def test_grey_is_luminance():
    frames = np.zeros((1, 1, 2, 3, 3), np.uint8)
    frames[0, 0, 0] = np.diag([255, 255, 255])
    grey = registry.find("grey").decode(frames)
    assert grey.shape[-1] == 3  # the luminance is part of the normalisation
    prepared = np.asarray(registry.find("grey").prepare(frames))[0, 0, ..., 0]
    values = 255 * np.array([[0.299, 0.587, 0.114], [0, 0, 0]])
    np.testing.assert_allclose(
        prepared, (values - values.mean()) / values.std(), rtol=1e-4
    )


def test_difference_is_from_the_reference_and_keeps_its_sign():
    one = registry.find("difference")
    stored = np.full((1, 3, 2, 2, 3), 100, np.uint8)
    stored[0, 1, 0, 0] = 90
    stored[0, 2, 1, 1] = 130
    prepared = np.asarray(one.prepare(stored))
    expected = np.zeros((1, 2, 2, 2, 3))
    expected[0, 0, 0, 0], expected[0, 1, 1, 1] = -10, 30
    rms = np.sqrt((expected**2).mean())
    np.testing.assert_allclose(prepared, expected / rms, rtol=1e-5)


def test_flow_is_scaled_alike_in_both_components():
    one = registry.find("flow")
    stored = stored_clips(one, 1)
    prepared = np.asarray(one.prepare(stored), np.float64)
    assert (prepared**2).mean() == pytest.approx(1, rel=1e-4)
    ratio = prepared / stored.astype(np.float64)
    assert ratio.std() / ratio.mean() < 1e-3
    stronger = one.prepare(4 * stored)
    np.testing.assert_allclose(stronger, prepared, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("strained", [0.1, 0.006])  # strong and subtle are alike
def test_flow_strain_has_the_strain_of_the_flow(strained):
    one = registry.find("flow_strain")
    x = np.mgrid[:SIZE, :SIZE][1].astype(np.float16)
    stored = np.zeros((1, FRAMES, SIZE, SIZE, 2), np.float16)
    stored[0, 2, ..., 0] = strained * x  # u_x, in one frame
    prepared = np.asarray(one.prepare(stored))
    strain = prepared[0, :, :, :, 2]
    np.testing.assert_allclose(strain[2], np.sqrt(FRAMES), rtol=2e-2)
    assert not np.delete(strain, 2, 0).any()


def test_dynamic_image_of_a_change():
    one = registry.find("dynamic_image")
    frames = np.full((1, 4, 3, 3, 3), 60, np.uint8)
    frames[0, 2:, 1, 1] = 160  # appears: positive
    frames[0, :2, 0, 0] = 160  # vanishes: negative
    prepared = np.asarray(one.prepare(frames))[0, 0]
    # a_t of four frames: -2.4167, 0.5833, 1.0833, 0.75
    values = {"appears": 1.0833 + 0.75, "vanishes": -2.4167 + 0.5833, "stays": 0.0}
    low, high = min(values.values()), max(values.values())
    scaled = {name: 2 * (v - low) / (high - low) - 1 for name, v in values.items()}
    assert prepared[1, 1, 0] == pytest.approx(scaled["appears"], abs=1e-3)
    assert prepared[0, 0, 0] == pytest.approx(scaled["vanishes"], abs=1e-3)
    assert prepared[2, 2, 0] == pytest.approx(scaled["stays"], abs=1e-3)


def test_learnet_image_of_a_change():
    one = registry.find("learnet_image")
    frames = np.full((1, 4, 3, 3, 3), 60, np.uint8)
    frames[0, 2:, 1, 1] = 160
    frames[0, :2, 0, 0] = 160
    prepared = np.asarray(one.prepare(frames))[0, 0]
    # Terms (2 i - 4) / i: -2, 0, 2/3, 1; a_t: -1/3, 5/3, 5/3, 1, which sum to 4
    stays, appears, vanishes = 240, 240 + 100 * 8 / 3, 240 + 100 * 4 / 3
    assert prepared[2, 2, 0] == pytest.approx(0, abs=1e-3)
    assert prepared[1, 1, 0] == pytest.approx(255, abs=1e-3)
    scaled = 255 * (vanishes - stays) / (appears - stays)
    assert prepared[0, 0, 0] == pytest.approx(scaled, abs=1e-3)


def test_grey_by_maximum():
    frames = np.zeros((1, 2, 2, 2, 3), np.uint8)
    frames[0, 0, 0, 0] = 200
    prepared = np.asarray(registry.find("grey_by_maximum").prepare(frames))
    assert prepared.shape == (1, 2, 2, 2, 1)
    assert prepared.max() == pytest.approx(1)
    # The mean is 25 of 200, so the maximum 175.
    np.testing.assert_allclose(np.sort(prepared.ravel())[:-1], -25 / 175, rtol=1e-5)


def test_apex_grey_is_the_luminance_of_one_frame():
    one = registry.find("apex_grey")
    frame = np.zeros((1, 1, 2, 2, 3), np.uint8)
    frame[..., 0] = 100
    np.testing.assert_allclose(one.prepare(frame), 29.9, rtol=1e-5)
    assert one.stored_shape(FRAMES, SIZE) == (1, SIZE, SIZE, 3)


def test_onset_apex_strain_has_bytes_of_each_channel():
    one = registry.find("onset_apex_strain")
    x = np.mgrid[:SIZE, :SIZE][1].astype(np.float16)
    stored = np.zeros((1, 1, SIZE, SIZE, 2), np.float16)
    stored[0, 0, ..., 0] = 0.01 * (x - 5) * (x > 5)
    prepared = np.asarray(one.prepare(stored))[0, 0]
    assert prepared.min((0, 1)).tolist() == [0, 127.5, 0]
    assert prepared.max((0, 1)) == pytest.approx([255, 127.5, 255])
    assert not prepared[:, :5, 2].any()  # strain where u increases only
    still = np.asarray(one.prepare(np.zeros_like(stored)))[0, 0]
    assert still.reshape(-1, 3).min(0).tolist() == [127.5, 127.5, 0]


def test_flow_grey_has_the_flow_and_the_luminance_normalised():
    one = registry.find("flow_grey")
    stored = stored_clips(one)
    prepared = np.asarray(one.prepare(stored))
    flow = registry.find("flow").prepare(stored[..., :2])
    np.testing.assert_array_equal(prepared[..., :2], flow)
    grey = prepared[..., 2].reshape(2, -1)
    assert grey.mean(1) == pytest.approx([0, 0], abs=1e-3)
    assert grey.std(1) == pytest.approx([1, 1], rel=1e-3)


def test_unknown_input():
    with pytest.raises(UserError, match="--input=colour is none of .*flow_strain"):
        registry.find("colour")


@pytest.mark.parametrize(
    "name, change, reason",
    [
        ("flow", "brightness", "computed from the frames before training"),
        ("onset_apex_flow", "speed", "two frames only"),
        ("apex_grey", "speed", "one frame only"),
        ("rgb", "turn", "none of shift, rotate"),
    ],
)
def test_changes_that_cannot_be_used(name, change, reason):
    with pytest.raises(UserError, match=f"--augment {change}.*{reason}"):
        registry.find(name).check_augmentations(["shift", change])


def test_augmentation_without_changes_is_the_input(one):
    stored = stored_clips(one)
    keys = jax.random.split(jax.random.key(0), 2)
    np.testing.assert_allclose(
        one.augment(stored, keys, ()), one.prepare(stored), rtol=1e-5, atol=1e-5
    )


def test_augmentation_differs_by_key(one):
    names = [*augmentation.GEOMETRIC]
    stored = np.repeat(stored_clips(one, 1), 3, 0)
    key, other = jax.random.split(jax.random.key(0))
    keys = jax.numpy.stack([key, other, key])
    changed = np.asarray(one.augment(stored, keys, names))
    np.testing.assert_array_equal(changed[0], changed[2])
    assert np.abs(changed[0] - changed[1]).max() > 0.1
