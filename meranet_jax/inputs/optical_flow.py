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
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Literal, get_args

import numpy as np

from meranet_jax.errors import UserError

Method = Literal["farneback", "dis", "tvl1"]
METHODS: tuple[Method, ...] = get_args(Method)

DEFAULT: Method = "dis"

# Part of the keys of caches: raise it when the same parameters give other results.
VERSION = 1

# Weights of red, green and blue: the luma of ITU-R BT.601.
GREY = (0.299, 0.587, 0.114)

# Arguments of cv2.calcOpticalFlowFarneback, flags excepted.
FARNEBACK: dict[str, float | int] = {
    "pyr_scale": 0.5,
    "levels": 3,
    "winsize": 15,
    "iterations": 3,
    "poly_n": 5,
    "poly_sigma": 1.1,
}

# Properties of cv2.DISOpticalFlow on top of its preset "medium".
DIS: dict[str, float | int] = {
    "FinestScale": 0,
    "PatchSize": 8,
    "PatchStride": 3,
    "GradientDescentIterations": 25,
    "VariationalRefinementIterations": 5,
}

# Arguments of skimage.registration.optical_flow_tvl1; grey is from 0 to 1.
TVL1: dict[str, float | int] = {
    "attachment": 15,
    "tightness": 0.3,
    "num_warp": 5,
    "num_iter": 10,
}

# Global motion: every _STEP-th pixel in both directions takes part in the fit.
_STEP = 4
_ITERATIONS = 10
# Lower bound in pixels of the residual's scale, so that a perfect fit has weights.
_LEAST_SCALE = 0.01

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
      UserError: if the method is unknown or its library is not installed.
      ValueError: if an array has another shape or type.
    """
    reference, frames = np.asarray(reference), np.asarray(frames)
    _check_frames(reference, frames)
    start = _to_grey(reference)
    between = _estimator(method)
    flow = np.zeros((*frames.shape[:3], 2), np.float32)
    with _one_opencv_thread() if method != "tvl1" else contextlib.nullcontext():
        for index, frame in enumerate(frames):
            if not np.array_equal(frame, reference):
                flow[index] = between(start, _to_grey(frame))
    return flow


def remove_global_motion(flow: np.ndarray) -> np.ndarray:
    """Subtracts from each frame's flow the motion of the head.

    The motion is a translation, rotation and scaling, fitted to the flow by iteratively
    re-weighted least squares. The weights are Tukey's with a scale estimated
    from the median residual, so that regions that move by themselves (an expression, or
    a background that does not follow the head) have little or no influence.

    Args:
      flow: [T, H, W, 2] in pixels.

    Returns:
      float32 of the same shape.

    Raises:
      ValueError: if the flow has another shape.
    """
    flow = np.asarray(flow, np.float32)
    if flow.ndim != 4 or flow.shape[-1] != 2:
        raise ValueError(f"expected a flow [T, H, W, 2], found {list(flow.shape)}")
    height, width = flow.shape[1:3]
    basis = _similarity_basis(height, width)  # [H, W, 2, 4]
    offset = _STEP // 2
    grid = (slice(offset, None, _STEP),) * 2 if min(height, width) > _STEP else ()
    sampled = basis[grid].reshape(-1, 2, 4)  # [N, 2, 4]
    motion = np.stack(
        [_fit(sampled, frame[grid].reshape(-1, 2).astype(float)) for frame in flow]
        or [np.zeros(4)]
    )[: len(flow)]  # [T, 4]
    return (flow - np.einsum("hwcp,tp->thwc", basis, motion)).astype(np.float32)


def describe(method: Method = DEFAULT) -> dict[str, Any]:
    """Returns everything that the flow of a clip depends on, for the keys of caches.

    Raises:
      UserError: if the method is unknown or its library is not installed.
    """
    _check_method(method)
    parameters = {"farneback": FARNEBACK, "dis": DIS, "tvl1": TVL1}[method]
    if method == "tvl1":
        _registration()
        library = f"scikit-image {importlib.metadata.version('scikit-image')}"
    else:
        library = f"OpenCV {_opencv().__version__}"
    return {
        "method": method,
        "version": VERSION,
        "library": library,
        "grey": list(GREY),
        "parameters": dict(parameters),
    }


def _estimator(method: Method) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Returns the function of two grey images that estimates the flow, [H, W, 2]."""
    _check_method(method)
    return {"farneback": _farneback, "dis": _dis, "tvl1": _tvl1}[method]


def _farneback(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    return _opencv().calcOpticalFlowFarneback(start, end, None, **FARNEBACK, flags=0)


def _dis(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    if not hasattr(_own, "dis"):
        cv2 = _opencv()
        _own.dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        for name, value in DIS.items():
            getattr(_own.dis, f"set{name}")(value)
    levels = [np.rint(image).astype(np.uint8) for image in (start, end)]
    return _own.dis.calc(*levels, None)


def _tvl1(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    registration = _registration()
    rows, columns = registration.optical_flow_tvl1(start / 255, end / 255, **TVL1)
    return np.stack([columns, rows], -1)


def _to_grey(image: np.ndarray) -> np.ndarray:
    """Converts an image, uint8 [H, W, 3], to grey, float32 [H, W], 0 to 255."""
    return image @ np.array(GREY, np.float32)


def _similarity_basis(height: int, width: int) -> np.ndarray:
    """Returns the flows of four unit motions, float64 [H, W, 2, 4].

    They are a shift to the right, a shift downwards, a scaling and a rotation about the
    centre of the frame, the last two in units of half the frame's longer side.
    """
    y, x = np.mgrid[:height, :width] + 0.5
    half = max(height, width) / 2
    x, y = (x - width / 2) / half, (y - height / 2) / half
    one, zero = np.ones_like(x), np.zeros_like(x)
    return np.stack(
        [np.stack([one, zero, x, -y], -1), np.stack([zero, one, y, x], -1)], -2
    )


def _fit(basis: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Fits parameters [P] to a flow [N, 2], robustly; ``basis`` is [N, 2, P]."""
    parameters = np.zeros(basis.shape[-1])
    parameters[:2] = np.median(flow, 0)
    for _ in range(_ITERATIONS):
        residual = np.linalg.norm(flow - basis @ parameters, axis=-1)  # [N]
        scale = max(1.4826 * float(np.median(residual)), _LEAST_SCALE)
        weight = np.clip(1 - (residual / (3 * scale)) ** 2, 0, None) ** 2
        weighted = basis * weight[:, None, None]
        normal = np.einsum("ncp,ncq->pq", weighted, basis)
        parameters = np.linalg.solve(normal, np.einsum("ncp,nc->p", weighted, flow))
    return parameters


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
