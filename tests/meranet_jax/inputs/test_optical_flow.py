import builtins
import concurrent.futures
import functools
import json
import threading

import cv2
import numpy as np
import pytest
from scipy import ndimage

from meranet_jax.errors import UserError
from meranet_jax.inputs import optical_flow
from meranet_jax.inputs.optical_flow import METHODS, estimate, remove_global_motion

SIZE = 64
# Flow is unknown where the points leave the frame, and inaccurate next to it.
INSIDE = (slice(10, -10), slice(10, -10))


def textured(size=SIZE, seed=0):
    """A smooth random image, float [size, size, 3], 0 to 255."""
    noise = np.random.default_rng(seed).normal(size=(size, size, 3))
    noise = ndimage.gaussian_filter(noise, (1.5, 1.5, 0), mode="wrap")
    return np.clip(128 + 45 * noise / noise.std(), 0, 255)


def moved(image, flow):
    """The image after each of its points has moved by ``flow``, [H, W, 2]."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(float)
    # The flow at the source of each pixel, by fixed-point iteration
    at = np.zeros_like(flow)
    for _ in range(20):
        places = (y - at[..., 1], x - at[..., 0])
        at = np.stack(
            [
                ndimage.map_coordinates(flow[..., i], places, order=1, mode="nearest")
                for i in range(2)
            ],
            -1,
        )
    places = (y - at[..., 1], x - at[..., 0])
    return np.stack(
        [
            ndimage.map_coordinates(image[..., c], places, order=3, mode="wrap")
            for c in range(3)
        ],
        -1,
    )


def to_bytes(image):
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def similarity(shift=(0.0, 0.0), scale=0.0, rotation=0.0, size=SIZE):
    y, x = np.mgrid[:size, :size] + 0.5 - size / 2
    return np.stack(
        [shift[0] + scale * x - rotation * y, shift[1] + scale * y + rotation * x], -1
    )


def bump(size=SIZE, at=(40, 24), width=6.0, vector=(1.0, -0.7)):
    """A local motion, as of a corner of the mouth, [H, W, 2]."""
    y, x = np.mgrid[:size, :size]
    fades = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * width**2))
    return fades[..., None] * np.array(vector)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shift", [(1.0, 0.0), (0.0, 1.0), (-0.4, 0.7)])
def test_known_translation(method, shift):
    # u to the right, v downwards, from the reference to the frame
    image = textured()
    frame = to_bytes(moved(image, similarity(shift)))
    flow = estimate(to_bytes(image), frame[None], method)
    assert flow.shape == (1, SIZE, SIZE, 2) and flow.dtype == np.float32
    inside = flow[0][INSIDE]
    assert inside.mean((0, 1)) == pytest.approx(shift, abs=0.05)
    assert np.linalg.norm(inside - shift, axis=-1).mean() < 0.12


def test_whole_pixels_move_right_and_down():
    image = to_bytes(textured())
    frames = np.stack([np.roll(image, 1, axis) for axis in (1, 0)])
    flow = estimate(image, frames)[:, 20:44, 20:44]
    assert flow.mean((1, 2)) == pytest.approx(np.eye(2), abs=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_known_smooth_warp(method):
    image, truth = textured(), bump(at=(30, 34), width=9.0, vector=(1.2, -0.8))
    flow = estimate(to_bytes(image), to_bytes(moved(image, truth))[None], method)[0]
    error = np.linalg.norm(flow - truth, axis=-1)[INSIDE].mean()
    assert error < 0.3 * np.linalg.norm(truth, axis=-1)[INSIDE].mean()


@pytest.mark.parametrize("method", METHODS)
def test_equal_frames_have_no_flow(method):
    image = to_bytes(textured())
    other = np.roll(image, 1, 1)
    flow = estimate(image, np.stack([image, other, image]), method)
    assert not flow[[0, 2]].any() and flow[1].any()
    assert not remove_global_motion(flow)[[0, 2]].any()


@pytest.mark.parametrize("method", METHODS)
def test_mirrored_clip_negates_u(method):
    image = textured()
    frame = to_bytes(moved(image, bump(at=(30, 34), width=9.0)))
    image = to_bytes(image)
    plain = estimate(image, frame[None], method)[0]
    mirrored = estimate(image[:, ::-1], frame[None, :, ::-1], method)[0, :, ::-1]
    difference = np.linalg.norm(mirrored * [-1, 1] - plain, axis=-1)[INSIDE].mean()
    assert difference < 0.1 * np.linalg.norm(plain, axis=-1)[INSIDE].mean() + 0.01


@pytest.mark.parametrize("method", METHODS)
def test_brightness_has_little_influence(method):
    image, truth = textured() / 2, bump(at=(30, 34), width=9.0)
    frame = moved(image, truth)
    image = to_bytes(image)
    plain = estimate(image, to_bytes(frame)[None], method)[0]
    brighter = estimate(image, to_bytes(1.1 * frame)[None], method)[0]
    difference = np.linalg.norm(brighter - plain, axis=-1)[INSIDE].mean()
    assert difference < 0.05 * np.linalg.norm(plain, axis=-1)[INSIDE].mean()


@pytest.mark.parametrize("method", METHODS)
def test_frames_without_contrast_have_a_finite_flow(method):
    grey = np.full((32, 32, 3), 90, np.uint8)
    flow = estimate(grey, np.stack([grey + 1, grey * 0]), method)
    assert np.isfinite(flow).all()
    assert np.abs(flow[0]).max() < 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_each_frame_is_estimated_by_itself(method):
    image = textured(48)
    frames = np.stack(
        [to_bytes(moved(image, similarity((s, 0), size=48))) for s in (0.5, 1, 0.5, -1)]
    )  # the first and the third are equal
    image = to_bytes(image)
    flow = estimate(image, frames, method)
    for index in range(4):
        np.testing.assert_array_equal(
            estimate(image, frames[index : index + 1], method)[0], flow[index]
        )
    assert estimate(image, frames[:0], method).shape == (0, 48, 48, 2)


def test_threads_agree_and_opencv_threads_are_restored():
    image = to_bytes(textured())
    clips = [
        np.stack([np.roll(image, shift, axis) for axis in (0, 1)])
        for shift in (1, 2, 3, -1)
    ]
    before = cv2.getNumThreads()
    for method in ("farneback", "dis"):
        alone = [estimate(image, clip, method) for clip in clips]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            side_by_side = pool.map(
                functools.partial(estimate, image, method=method), clips
            )
            for got, expected in zip(side_by_side, alone, strict=True):
                np.testing.assert_array_equal(got, expected)
    assert cv2.getNumThreads() == before
    with pytest.raises(cv2.error):  # an error restores them, too
        with optical_flow._one_opencv_thread():
            assert cv2.getNumThreads() == 1
            cv2.cvtColor(image[..., :1], cv2.COLOR_BGR2HSV)
    assert cv2.getNumThreads() == before


# Global motion


def test_similarity_is_removed_exactly():
    fields = [
        similarity((0.7, -1.2)),
        similarity(rotation=0.012),
        similarity(scale=-0.02),
        similarity((-0.3, 0.2), 0.01, -0.02),
        similarity(),
    ]
    rest = remove_global_motion(np.stack(fields).astype(np.float32))
    assert rest == pytest.approx(0, abs=1e-5)
    assert rest.dtype == np.float32


def test_frames_that_are_not_square():
    y, x = np.mgrid[:40, :56] + 0.5
    flow = np.stack([0.4 - 0.01 * (y - 20), 0.01 * (x - 28)], -1)[None]
    assert remove_global_motion(flow) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("model", "left"), [("rigid", True), ("similarity", False), ("affine", False)]
)
def test_models_of_the_motion_of_the_head(model, left):
    turned = similarity((0.5, -1), rotation=0.012)[None]
    assert remove_global_motion(turned, model) == pytest.approx(0, abs=1e-5)
    scaled = similarity(scale=0.02)[None]
    rest = remove_global_motion(scaled, model)
    assert (np.abs(rest).max() > 0.1) == left


def test_local_expression_is_left_alone():
    expression = bump(width=4.0)[None]
    kept = remove_global_motion(expression)
    assert kept == pytest.approx(expression, abs=0.02)
    # The head's motion in addition is removed, the expression kept.
    head = similarity((0.8, -0.5), 0.004, 0.012)
    kept = remove_global_motion(expression + head)
    assert kept == pytest.approx(expression, abs=0.02)


def test_a_background_that_stands_still_has_no_influence():
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    inside = np.hypot(x - 32, y - 32) < 29  # 64 % of the frame
    head = similarity((1.0, 0.5), rotation=0.01)
    flow = (head * inside[..., None])[None]
    rest = remove_global_motion(flow)[0]
    assert rest[inside] == pytest.approx(0, abs=0.01)
    assert rest[~inside] == pytest.approx(-head[~inside], abs=0.01)


def test_each_frame_has_its_own_global_motion():
    flow = np.stack([similarity((1, 0)) + bump(), bump(), similarity((0, -2))])
    rest = remove_global_motion(flow)
    np.testing.assert_array_equal(rest[1], remove_global_motion(flow[1:2])[0])
    assert remove_global_motion(flow[:0]).shape == (0, SIZE, SIZE, 2)


# Refusals and the cache's key


@pytest.mark.parametrize(
    ("reference", "frames"),
    [
        (np.zeros((8, 8, 3), np.float32), np.zeros((2, 8, 8, 3), np.uint8)),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((2, 8, 8, 3), np.int16)),
        (np.zeros((8, 8), np.uint8), np.zeros((2, 8, 8), np.uint8)),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)),
        (np.zeros((8, 9, 3), np.uint8), np.zeros((2, 8, 8, 3), np.uint8)),
    ],
    ids=["float reference", "int16 frames", "grey", "one frame", "sizes"],
)
def test_other_shapes_and_types_are_refused(reference, frames):
    with pytest.raises(ValueError, match="expected a reference uint8"):
        estimate(reference, frames)


def test_what_is_no_flow_is_refused():
    with pytest.raises(ValueError, match=r"expected a flow \[T, H, W, 2\]"):
        remove_global_motion(np.zeros((8, 8, 2)))


def test_small_frames_are_refused_with_advice():
    small = np.zeros((20, 15, 3), np.uint8)
    with pytest.raises(UserError, match="20 x 15 pixels.* 16 x 16 .*--size"):
        estimate(small, small[None] + 1)


def test_unknown_method_is_refused():
    frame = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(UserError, match="'raft' is none of farneback, dis, tvl1"):
        estimate(frame, frame[None], "raft")
    with pytest.raises(UserError, match="'raft'"):
        optical_flow.describe("raft")


@pytest.mark.parametrize("method", METHODS)
def test_missing_package_is_named(method, monkeypatch):
    found = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.partition(".")[0] in ("cv2", "skimage"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return found(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(optical_flow, "_own", type("Own", (), {})())
    frame = to_bytes(textured(32))
    with pytest.raises(UserError, match=r"needs (OpenCV|scikit-image).*\.\[flow\]"):
        estimate(frame, np.roll(frame, 1, 1)[None], method)


def test_description_holds_what_the_flow_depends_on(monkeypatch):
    described = {method: optical_flow.describe(method) for method in METHODS}
    assert optical_flow.describe() == described[optical_flow.DEFAULT]
    assert len({json.dumps(d, sort_keys=True) for d in described.values()}) == 3
    assert described["dis"]["libraries"] == [f"OpenCV {cv2.__version__}"]
    assert described["tvl1"]["libraries"][1].startswith("scikit-image 0.")
    monkeypatch.setattr(optical_flow, "VERSION", optical_flow.VERSION + 1)
    assert optical_flow.describe("dis") != described["dis"]
    monkeypatch.setitem(optical_flow.FARNEBACK, "winsize", 9)
    assert optical_flow.describe("farneback")["parameters"]["winsize"] == 9


def test_description_holds_the_model_of_the_head():
    model = optical_flow.describe()["global_motion"]["model"]
    flow = (bump(width=4.0) + similarity((0.3, -0.2), 0.01, 0.02))[None]
    default = remove_global_motion(flow)
    np.testing.assert_array_equal(remove_global_motion(flow, model), default)
    for other in {"rigid", "similarity", "affine"} - {model}:
        assert (remove_global_motion(flow, other) != default).any()


def test_description_holds_the_preset_of_dis(monkeypatch):
    frame = to_bytes(textured())
    described, flows = [], []
    for preset in ("fast", "medium"):
        monkeypatch.setattr(optical_flow, "DIS_PRESET", preset)
        monkeypatch.setattr(optical_flow, "DIS", {"FinestScale": 0})
        monkeypatch.setattr(optical_flow, "_own", threading.local())
        described.append(optical_flow.describe("dis"))
        flows.append(estimate(frame, np.roll(frame, 1, 1)[None], "dis"))
    assert (flows[0] != flows[1]).any()
    assert described[0] != described[1]
