"""Optical flow from a reference frame to each frame of a clip, on the host.

Three methods, computed by libraries that are imported when they are first needed:

- ``farneback``: G. Farnebäck, "Two-frame motion estimation based on polynomial
  expansion", SCIA 2003 (OpenCV).
- ``dis``: T. Kroeger, R. Timofte, D. Dai and L. Van Gool, "Fast optical flow using
  dense inverse search", ECCV 2016 (OpenCV).
- ``tvl1``: C. Zach, T. Pock and H. Bischof, "A duality based approach for realtime
  TV-L1 optical flow", DAGM 2007 (scikit-image).

docs/inputs.md compares their errors and times, which ``python -m benchmarks.flow``
measures, and gives the reasons for the constants below.
"""

import contextlib
import importlib.metadata
import threading
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, Literal, get_args

import numpy as np

from meranet_jax.errors import UserError

Method = Literal["farneback", "dis", "tvl1"]
METHODS: tuple[Method, ...] = get_args(Method)

GlobalMotion = Literal["rigid", "similarity", "affine"]

# It has smaller errors than the other two in docs/inputs.md, in about the time of
# Farneback.
DEFAULT: Method = "dis"

# Part of the keys of caches: raise it when the same parameters give other results.
VERSION = 1

# Images before estimation. Grey is the mean of the channels: noise that is independent
# in each has a deviation of 0.58 of theirs, and with luma 0.67. The brightness of each
# frame is matched to the reference, since the methods assume that points keep theirs.
# The contrast is the same for all clips, so that dark skin gets the same weights of
# data and smoothness. The blur reduces noise and the errors of interpolation.
IMAGES: dict[str, float | str] = {
    "grey": "mean",
    "brightness": "reference",
    "deviation": 60.0,  # of the reference's grey levels
    "most_gain": 10.0,  # for references with little contrast
    "blur": 0.5,  # standard deviation in pixels
}

# Arguments of cv2.calcOpticalFlowFarneback, flags excepted. Windows of 11 pixels
# follow large motions better, but are dominated by noise at 0.2 to 0.6 pixels.
FARNEBACK: dict[str, float | int] = {
    "pyr_scale": 0.5,
    "levels": 3,
    "winsize": 21,
    "iterations": 3,
    "poly_n": 5,
    "poly_sigma": 1.1,
}

# Preset of cv2.DISOpticalFlow, from which it has the properties that DIS does not name.
DIS_PRESET = "fast"

# Properties of cv2.DISOpticalFlow. OpenCV's presets stop at half or a quarter of the
# resolution, where a face of 60 pixels has lost the motion of its brows and lids.
# Patches of 11 pixels average more noise than those of 8; a stride of 7 and few
# iterations reduce the time.
DIS: dict[str, float | int | bool] = {
    "FinestScale": 0,
    "PatchSize": 11,
    "PatchStride": 7,
    "GradientDescentIterations": 6,
    "VariationalRefinementIterations": 2,
    "VariationalRefinementAlpha": 20.0,
    "VariationalRefinementDelta": 5.0,
    "VariationalRefinementGamma": 10.0,
    "UseMeanNormalization": True,  # for lighting that changes across the face
    "UseSpatialPropagation": True,
}

# Arguments of skimage.registration.optical_flow_tvl1, which are its defaults; it gets
# images from 0 to 1.
TVL1: dict[str, float | int] = {
    "attachment": 15,
    "tightness": 0.3,
    "num_warp": 5,
    "num_iter": 10,
}

# Model of the motion of the head. docs/inputs.md compares the three.
GLOBAL_MODEL: GlobalMotion = "similarity"

# Its fit. Crops are centred on the face; the prior weight of a pixel falls with its
# distance from the centre, so that a background that does not follow the head has less
# weight than the face, even where it covers more of the frame.
GLOBAL_MOTION: dict[str, float | int] = {
    "centre": 0.55,  # standard deviation of the prior weight, in half frames
    "cutoff": 1.5,  # residual of weight zero, in robust standard deviations
    "iterations": 8,
    "least_scale": 0.01,  # of the residual in pixels, so that a perfect fit has weights
    "grid": 16,  # points along the shorter side of the frame
}

# OpenCV's DIS refuses smaller frames.
LEAST_SIZE = 16

_MISSING = (
    "Optical flow needs {}, which cannot be imported ({}). Install it with "
    'pip install -e ".[flow]" in the checkout.'
)

_own = threading.local()  # DIS objects, which are not safe to share between threads
_lock = threading.Lock()
_users = 0  # calls of _one_opencv_thread in progress
_threads_before = 0


def estimate(
    reference: np.ndarray, frames: np.ndarray, method: Method = DEFAULT
) -> np.ndarray:
    """Estimates the optical flow from a reference frame to each frame.

    May be called from several threads at once. While it runs, OpenCV uses one thread
    in each; parallelise over clips.

    Args:
      reference: uint8 [H, W, 3], RGB.
      frames: uint8 [T, H, W, 3], RGB.
      method: one of ``METHODS``.

    Returns:
      float32 [T, H, W, 2]: the displacement (u, v) in pixels, u to the right and v
      downwards, of the point at each pixel of the reference. A frame that equals the
      reference has a flow of exactly zero.

    Raises:
      UserError: if the method is unknown, its library is not installed, or a frame has
        fewer than ``LEAST_SIZE`` rows or columns.
      ValueError: if an array has another shape or type.
    """
    reference, frames = np.asarray(reference), np.asarray(frames)
    _check_frames(reference, frames)
    _check_method(method)
    between = {"farneback": _farneback, "dis": _dis, "tvl1": _tvl1}[method]
    flow = np.zeros((*frames.shape[:3], 2), np.float32)
    # Sampling repeats frames of short clips: the flow of equal ones is computed once.
    places: dict[bytes, list[int]] = {}
    for index, frame in enumerate(frames):
        places.setdefault(frame.tobytes(), []).append(index)
    places.pop(reference.tobytes(), None)
    with _one_opencv_thread():
        start, *ends = _images(reference, frames[[i[0] for i in places.values()]])
        for indices, end in zip(places.values(), ends, strict=True):
            flow[indices] = between(start, end)
    return flow


def remove_global_motion(
    flow: np.ndarray, model: GlobalMotion = GLOBAL_MODEL
) -> np.ndarray:
    """Subtracts from each frame's flow the motion of the head.

    The motion is fitted by iteratively re-weighted least squares with Tukey's weights.
    Regions that move by themselves, such as an expression or a background that does not
    follow the head, have little or no influence.

    Args:
      flow: [T, H, W, 2] in pixels.
      model: ``rigid`` is a translation and a rotation (3 parameters), ``similarity``
        also a scaling (4), ``affine`` any linear motion (6).

    Returns:
      float32 of the same shape. A frame without flow remains exactly zero.

    Raises:
      ValueError: if the flow has another shape.
    """
    flow = np.asarray(flow, np.float32)
    if flow.ndim != 4 or flow.shape[-1] != 2:
        raise ValueError(f"expected a flow [T, H, W, 2], found {list(flow.shape)}")
    height, width = flow.shape[1:3]
    basis, distance = _motions(height, width, model)  # [H, W, 2, P], [H, W]
    step = max(1, min(height, width) // int(GLOBAL_MOTION["grid"]))
    grid = (slice(step // 2, None, step),) * 2
    points = distance[grid].size
    parameters = _fit(
        basis[grid].reshape(-1, 2, basis.shape[-1]),
        np.exp(-((distance[grid].ravel() / GLOBAL_MOTION["centre"]) ** 2) / 2),
        flow[:, *grid].astype(np.float64).reshape(len(flow), points, 2),
    )  # [T, P]
    motion = np.tensordot(parameters, basis.astype(np.float32), (-1, -1))
    return flow - motion.astype(np.float32)


def describe(method: Method = DEFAULT) -> dict[str, Any]:
    """Returns everything that the flow of a clip depends on, for the keys of caches.

    The motion of the head is included, since callers store the flow without it.

    Raises:
      UserError: if the method is unknown or its library is not installed.
    """
    _check_method(method)
    parameters: dict[Method, Mapping[str, Any]] = {
        "farneback": FARNEBACK,
        "dis": {"preset": DIS_PRESET, **DIS},
        "tvl1": TVL1,
    }
    libraries = [f"OpenCV {_opencv().__version__}"]
    if method == "tvl1":
        _registration()
        libraries.append(f"scikit-image {importlib.metadata.version('scikit-image')}")
    return {
        "method": method,
        "version": VERSION,
        "libraries": libraries,
        "images": dict(IMAGES),
        "parameters": dict(parameters[method]),
        "global_motion": {"model": GLOBAL_MODEL, **GLOBAL_MOTION},
    }


def _images(reference: np.ndarray, frames: np.ndarray) -> list[np.ndarray]:
    """Returns the reference and the frames as ``IMAGES`` says, each float32 [H, W]."""
    cv2 = _opencv()
    thirds = np.full((1, 3), 1 / 3, np.float32)
    grey = [
        cv2.transform(image.astype(np.float32), thirds)
        for image in (reference, *frames)
    ]
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(grey[0]))
    contrast = min(
        float(IMAGES["deviation"]) / max(deviation, 1e-6), float(IMAGES["most_gain"])
    )
    images = []
    for image in grey:
        gain = mean / max(float(cv2.mean(image)[0]), 1e-6)
        image = (image * np.float32(gain) - np.float32(mean)) * np.float32(contrast)
        image += 128
        images.append(cv2.GaussianBlur(image, (0, 0), float(IMAGES["blur"])))
    return images


def _farneback(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    return _opencv().calcOpticalFlowFarneback(start, end, None, **FARNEBACK, flags=0)


def _dis(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    if not hasattr(_own, "dis"):
        cv2 = _opencv()
        preset = getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{DIS_PRESET.upper()}")
        _own.dis = cv2.DISOpticalFlow_create(preset)
        for name, value in DIS.items():
            getattr(_own.dis, f"set{name}")(value)
    levels = [
        np.rint(np.clip(image, 0, 255)).astype(np.uint8) for image in (start, end)
    ]
    return _own.dis.calc(*levels, None)


def _tvl1(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    registration = _registration()
    rows, columns = registration.optical_flow_tvl1(start / 255, end / 255, **TVL1)
    return np.stack([columns, rows], -1)


def _motions(
    height: int, width: int, model: GlobalMotion
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the flows of unit motions, and distances from the centre.

    Returns:
      float64 [H, W, 2, P], the flows of P motions, of which the first two are the
      shifts to the right and downwards; float64 [H, W]. Positions are in units of half
      the frame's longer side.
    """
    y, x = np.mgrid[:height, :width] + 0.5
    half = max(height, width) / 2
    x, y = (x - width / 2) / half, (y - height / 2) / half
    one, zero = np.ones_like(x), np.zeros_like(x)
    motions = {
        "rigid": [(one, zero), (zero, one), (-y, x)],
        "similarity": [(one, zero), (zero, one), (-y, x), (x, y)],
        "affine": [(one, zero), (zero, one)]
        + [(x, zero), (y, zero), (zero, x), (zero, y)],
    }[model]
    return np.moveaxis(np.array(motions), (0, 1), (-1, -2)), np.hypot(x, y)


def _fit(basis: np.ndarray, prior: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Fits the motion of each frame.

    Args:
      basis: flows of the motions at the points, [N, 2, P].
      prior: weights of the points, [N].
      flow: [T, N, 2].

    Returns:
      float64 [T, P].
    """
    motions = basis.shape[-1]
    squares = np.einsum("ncp,ncq->npq", basis, basis).reshape(len(basis), -1)
    parameters = np.zeros((len(flow), motions))
    for axis in range(2):
        parameters[:, axis] = _median(flow[..., axis], prior)
    for _ in range(int(GLOBAL_MOTION["iterations"])):
        rest = flow - np.tensordot(parameters, basis, (-1, -1))
        size = np.hypot(rest[..., 0], rest[..., 1])  # [T, N]
        scale = np.maximum(1.4826 * _median(size, prior), GLOBAL_MOTION["least_scale"])
        relative = size / (GLOBAL_MOTION["cutoff"] * scale[:, None])
        weights = prior * np.clip(1 - relative**2, 0, None) ** 2
        normal = (weights @ squares).reshape(-1, motions, motions)
        right = np.tensordot(weights[..., None] * flow, basis, ((1, 2), (0, 1)))
        parameters = np.linalg.solve(normal, right[..., None])[..., 0]
    return parameters


def _median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the weighted median of each row, [T], of [T, N] with weights [N]."""
    order = np.argsort(values, -1)
    below = np.cumsum(weights[order], -1)
    middle = (below < below[:, -1:] / 2).sum(-1, keepdims=True)
    return np.take_along_axis(np.take_along_axis(values, order, -1), middle, -1)[:, 0]


@contextlib.contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Sets OpenCV's number of threads to one until the last caller has left.

    The number belongs to the process. It is restored, so that other code finds what it
    has set.
    """
    global _users, _threads_before
    cv2 = _opencv()
    with _lock:
        if _users == 0:
            _threads_before = cv2.getNumThreads()
            cv2.setNumThreads(1)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                cv2.setNumThreads(_threads_before)


def _opencv() -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise UserError(_MISSING.format("OpenCV", error)) from error
    return cv2


def _registration() -> ModuleType:
    try:
        import skimage.registration
    except ImportError as error:
        raise UserError(_MISSING.format("scikit-image", error)) from error
    return skimage.registration


def _check_method(method: str) -> None:
    if method not in METHODS:
        raise UserError(f"flow method {method!r} is none of {', '.join(METHODS)}.")


def _check_frames(reference: np.ndarray, frames: np.ndarray) -> None:
    if (
        reference.dtype != np.uint8
        or frames.dtype != np.uint8
        or reference.ndim != 3
        or reference.shape[-1] != 3
        or frames.shape[1:] != reference.shape
    ):
        raise ValueError(
            "expected a reference uint8 [H, W, 3] and frames uint8 [T, H, W, 3], found "
            f"{reference.dtype} {list(reference.shape)} and {frames.dtype} "
            f"{list(frames.shape)}"
        )
    if min(reference.shape[:2]) < LEAST_SIZE:
        raise UserError(
            f"Optical flow: a frame has {reference.shape[0]} x {reference.shape[1]} "
            f"pixels, but at least {LEAST_SIZE} x {LEAST_SIZE} are needed. Raise "
            "--size."
        )
