"""Faces drawn by a second program, on which weights are tested.

They stand for faces that were not drawn by the program of the training data. Nothing
here is taken from ``datasets.synthetic.face`` or ``varied``: shapes are polygons that
OpenCV fills, the proportions are those of drawing manuals (eyes in the middle of the
head, a face five eyes wide), and thin-plate splines through control points displace the
face, not Gaussian regions. They are never used for training.
"""

import dataclasses

import cv2
import numpy as np
from scipy import interpolate

from datasets.synthetic import motion, rendering, time_course

_FRAME, _MARGIN = 112, 12  # of the frame and beyond it on each side, in its pixels
_RESOLUTION = 4  # pixels of the drawing for each pixel of the frame
_SHIFT = 4  # fractional bits of OpenCV's coordinates

# Displacement of control points by emotion: x away from the midline, y downwards, in
# parts of the largest. Names of pairs have no side.
_MOVES = {
    "happiness": {
        "mouth_corner": (0.75, -0.85),
        "mouth_side": (0.35, -0.4),
        "cheek": (0.1, -0.65),
        "eye_lower": (0.0, -0.4),
        "lip_upper": (0.0, -0.15),
    },
    "disgust": {
        "nose_wing": (0.1, -0.95),
        "nose_root": (0.0, -0.4),
        "lip_upper": (0.0, -0.35),
        "brow_inner": (-0.4, 0.8),
        "brow_middle": (-0.2, 0.7),
        "brow_outer": (0.0, 0.35),
    },
    "surprise": {
        "brow_inner": (0.0, -0.9),
        "brow_middle": (0.0, -1.0),
        "brow_outer": (0.0, -0.8),
        "eye_upper": (0.0, -0.25),
        "lip_lower": (0.0, 0.8),
        "chin": (0.0, 1.0),
        "jaw": (0.0, 0.5),
    },
}


@dataclasses.dataclass(frozen=True)
class Sketch:
    """A drawn face.

    Attributes:
      image: float32 [S, S, 3], 0 to 255, ``_RESOLUTION`` pixels for each of the frame.
      points: control points, (x, y) in pixels of the frame, by name. Pairs have the
        suffixes ``_left`` and ``_right``, the sides of the image.
    """

    image: np.ndarray
    points: dict[str, tuple[float, float]]


def draw_face(rng: np.random.Generator) -> Sketch:
    """Draws a random face; all of its properties are sampled from ``rng``."""
    head = rng.uniform(82, 98)  # from the top of the skull to the chin
    width = head * rng.uniform(0.66, 0.78)
    x0, top = 56 + rng.uniform(-2, 2), 60 - head / 2 + rng.uniform(-2, 2)
    eye = width / 5  # the face is five eyes wide

    def height(part: float, spread: float = 0.012) -> float:
        """Returns y at a part of the head's height, with some variation."""
        return top + head * (part + rng.uniform(-spread, spread))

    eyes, nose, mouth = height(0.5), height(0.7), height(0.8)
    brows, chin = height(0.415), top + head
    wing, corner = eye * rng.uniform(0.42, 0.6), eye * rng.uniform(0.8, 1.1)
    pairs = {
        "brow_inner": (0.55 * eye, brows + 1),
        "brow_middle": (1.05 * eye, brows - 1),
        "brow_outer": (1.6 * eye, brows + 1.5),
        "eye_inner": (0.52 * eye, eyes),
        "eye_outer": (1.48 * eye, eyes),
        "eye_upper": (eye, eyes - 0.32 * eye),
        "eye_lower": (eye, eyes + 0.34 * eye),
        "cheek": (1.3 * eye, (eyes + nose) / 2 + 0.03 * head),
        "nose_wing": (wing, nose - 0.01 * head),
        "mouth_corner": (corner, mouth),
        "mouth_side": (1.6 * corner, mouth),
        "jaw": (1.5 * eye, mouth + 0.06 * head),
        "temple": (2.4 * eye, brows),
        "ear": (2.55 * eye, nose),
        "forehead": (1.2 * eye, top + 0.3 * head),
        "hair": (1.6 * eye, top + 0.1 * head),
        "neck": (1.5 * eye, chin + 0.06 * head),
    }
    points = {
        "nose_root": (x0, eyes + 0.03 * head),
        "nose_tip": (x0, nose),
        "lip_upper": (x0, mouth - 0.02 * head),
        "lip_lower": (x0, mouth + 0.045 * head),
        "chin": (x0, chin - 0.03 * head),
        "forehead_middle": (x0, top + 0.28 * head),
        "hair_middle": (x0, top + 0.08 * head),
        "neck_middle": (x0, chin + 0.08 * head),
    }
    for name, (x, y) in pairs.items():
        points[f"{name}_left"], points[f"{name}_right"] = (x0 - x, y), (x0 + x, y)

    side = (_FRAME + 2 * _MARGIN) * _RESOLUTION
    canvas = np.zeros((side, side, 3), np.float32)
    shade = rng.choice(_SKIN) * rng.uniform(0.9, 1.05)
    ink = rng.uniform(15, 70) * np.array([1, 0.9, 0.8])
    hair = rng.choice(_HAIR) * rng.uniform(0.8, 1.2)
    canvas[:] = rng.uniform(90, 240, 3)
    canvas *= np.linspace(1, rng.uniform(0.6, 1), side, dtype=np.float32)[:, None, None]

    def fill(outline: np.ndarray, colour: np.ndarray) -> None:
        """Fills a polygon, float [N, 2] in pixels of the frame, with smooth edges."""
        corners = (outline + _MARGIN) * _RESOLUTION - 0.5
        corners = np.rint(corners * 2**_SHIFT).astype(np.int32)
        cv2.fillPoly(canvas, [corners], colour.tolist(), cv2.LINE_8, _SHIFT)

    def stroke(*path: tuple[float, float], colour, thick: float) -> None:
        """Draws a smooth line through points of the frame."""
        curve = _smooth(np.array(path))
        across = np.gradient(curve, axis=0)[:, ::-1] * [-1, 1]
        across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
        # Tapered, like the stroke of a pen.
        taper = np.sin(np.linspace(0.25, np.pi - 0.25, len(curve)))[:, None]
        across = across * taper * thick / 2
        fill(np.concatenate([curve + across, (curve - across)[::-1]]), colour)

    # Neck, hair behind the head, ears, head.
    neck = x0 + np.array([-0.6, 0.6]) * width / 2
    cloth = rng.uniform(30, 220, 3)
    fill(np.array([(-40, 150), (10, 112), (102, 112), (152, 150)]), cloth)
    fill(
        np.array([(neck[0], mouth), (neck[1], mouth), (neck[1], 150), (neck[0], 150)]),
        0.8 * shade,
    )
    if rng.random() < 0.5:  # long hair
        fill(_egg(x0, top - 0.05 * head, 1.3 * width, 0.9 * head, 0.9), 0.9 * hair)
    for outwards in (-1, 1):
        ear = _egg(x0 + outwards * width / 2, eyes - 0.04 * head, 0.14 * width, 16, 0.6)
        fill(ear, 0.92 * shade)
    outline = _egg(x0, top, width, head, rng.uniform(0.5, 0.75))
    fill(outline + [0.8, 0.8], 0.5 * shade)
    fill(outline, shade)
    # Two tones: a side in the shade, and the cheeks.
    lit = rng.choice([-1, 1])
    shadow = outline[np.sign(outline[:, 0] - x0) == lit]
    shadow = shadow[np.argsort(shadow[:, 1])]
    inner = (shadow - [x0, 0]) * [rng.uniform(0.6, 0.85), 1] + [x0, 0]
    fill(np.concatenate([shadow, inner[::-1]]), rng.uniform(0.82, 0.95) * shade)
    for outwards in (-1, 1):
        cheek = _egg(x0 + outwards * 1.3 * eye, nose - 11, 1.1 * eye, 9, 1)
        fill(cheek, shade * [1.0, rng.uniform(0.85, 0.97), 0.9])
    # The cap of hair with a straight or slanted line.
    line = top + head * rng.uniform(0.16, 0.28) + np.array([1, -1]) * rng.uniform(-6, 6)
    cap = _egg(x0, top - 0.04 * head, 1.08 * width, head, 0.7)
    cap = cap[cap[:, 1] < line.mean() + 8]
    left, right = cap[cap[:, 0].argmin()], cap[cap[:, 0].argmax()]
    cap = cap[cap[:, 1] <= max(left[1], right[1])]
    hairline = [(x0 + 0.2 * width, line[1]), (x0 - 0.2 * width, line[0])]
    order = np.argsort(np.arctan2(cap[:, 1] - line.mean() - 8, cap[:, 0] - x0))
    fill(np.concatenate([cap[order], hairline]), hair)

    iris = rng.uniform(30, 140, 3)
    thick, ball = rng.uniform(1.6, 3.4), rng.uniform(0.2, 0.28) * eye
    for outwards, suffix in ((-1, "_left"), (1, "_right")):
        at = {n: np.array(points[n + suffix]) for n in pairs}
        upper = _smooth(np.array([at["eye_inner"], at["eye_upper"], at["eye_outer"]]))
        lower = _smooth(np.array([at["eye_outer"], at["eye_lower"], at["eye_inner"]]))
        lens = np.concatenate([upper, lower])
        fill(lens, np.array([240, 240, 236]))
        centre = x0 + outwards * eye, eyes
        fill(_egg(centre[0], eyes - ball, 2 * ball, 2 * ball, 1), iris)
        fill(_egg(centre[0], eyes - 0.5 * ball, ball, ball, 1), np.array([12, 10, 10]))
        stroke(*upper[::6], colour=ink, thick=1.4)
        stroke(*lower[::6], colour=0.5 * (ink + shade), thick=0.7)
        brow = (at["brow_inner"], at["brow_middle"], at["brow_outer"])
        stroke(*brow, colour=0.7 * hair, thick=thick)
        alar = at["nose_wing"]
        nostril = (alar + [0, -3], alar + [outwards * 0.6, 0], alar + [-outwards, 1.2])
        stroke(*nostril, colour=0.55 * shade, thick=1.1)
        fold = alar + [outwards * 2.5, 1], at["mouth_corner"] + [outwards * 3, -1]
        stroke(*fold, colour=0.86 * shade, thick=rng.uniform(0.5, 1.4))
    fill(_egg(x0, nose - 0.4, 1.1 * wing, 2.2, 1), 0.6 * shade)
    stroke(
        (x0 + lit * 0.3 * eye, eyes),
        (x0 + lit * 0.35 * eye, (eyes + nose) / 2),
        (x0 + lit * 0.5 * wing, nose - 3),
        colour=0.8 * shade,
        thick=1.2,
    )
    corners = [np.array(points[f"mouth_corner{s}"]) for s in ("_left", "_right")]
    lips = shade * [0.92, 0.6, 0.6]
    above = [corners[0], (x0 - 2, mouth - 2.6), (x0, mouth - 2), (x0 + 2, mouth - 2.6)]
    lower_lip = (x0, mouth + rng.uniform(2.5, 5))
    upper_curve = _smooth(np.array([*above, corners[1]]))
    lower_curve = _smooth(np.array([corners[1], lower_lip, corners[0]]))
    fill(np.concatenate([upper_curve, lower_curve]), lips)
    stroke(corners[0], (x0, mouth + 0.4), corners[1], colour=0.5 * lips, thick=1.1)
    stroke(
        (x0 - 4, chin - 0.09 * head),
        (x0, chin - 0.1 * head),
        (x0 + 4, chin - 0.09 * head),
        colour=0.88 * shade,
        thick=1.2,
    )

    # The grain of skin: noise of two sizes. Then the edges are smoothed.
    for grid, strength in ((side // 4, 10), (side // 12, 6)):
        noise = rng.standard_normal((grid, grid)).astype(np.float32)
        noise = cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)
        canvas += rng.uniform(0.4, 1) * strength * noise[..., None]
    canvas = cv2.GaussianBlur(canvas, (0, 0), rng.uniform(0.8, 2.2))
    return Sketch(np.clip(canvas, 0, 255), points)


_SKIN = np.array([(244, 214, 190), (224, 180, 148), (178, 128, 96), (110, 76, 58)])
_HAIR = np.array([(30, 26, 24), (84, 56, 36), (150, 110, 60), (120, 120, 122)])


def _smooth(points: np.ndarray) -> np.ndarray:
    """Returns a smooth curve through points [N, 2], float [33, 2]."""
    t = np.linspace(0, 1, len(points))
    kind = "quadratic" if len(points) > 2 else "linear"
    curve = interpolate.interp1d(t, points, kind=kind, axis=0)
    return curve(np.linspace(0, 1, 33))


def _egg(x: float, top: float, width: float, height: float, chin: float) -> np.ndarray:
    """Returns the outline of an egg, float [120, 2].

    Args:
      x: its middle.
      top: its highest point.
      width: its width.
      height: its height.
      chin: how wide it stays below: 1 for an ellipse, less for a pointed chin.
    """
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    down = np.sin(angle)
    narrow = 1 - (1 - chin) * 0.6 * np.clip(down, 0, 1) ** 2
    return np.stack(
        [
            x + width / 2 * np.cos(angle) * narrow,
            top + height / 2 * (1 + down),
        ],
        -1,
    )


def displacement(
    sketch: Sketch, emotion: str, amplitude: float, rng: np.random.Generator
) -> np.ndarray:
    """Returns the displacement of each pixel of the face at the apex.

    A thin-plate spline through the control points: those of ``_MOVES`` are displaced,
    all others and the border of the frame are not.

    Returns:
      float32 [FRAME, FRAME, 2], (x, y) in pixels, ``amplitude`` at most.
    """
    moves = _MOVES[emotion]
    sides = {"left": -rng.uniform(0.7, 1), "right": rng.uniform(0.7, 1)}
    strengths = {name: rng.uniform(0.75, 1.25) for name in moves}
    known, moved = [], []
    for name, position in sketch.points.items():
        base, _, side = name.rpartition("_")
        if side not in sides:
            base, side = name, ""
        dx, dy = moves.get(base, (0.0, 0.0))
        strength = strengths.get(base, 0.0)
        outwards = sides.get(side, 1.0)
        known.append(position)
        moved.append((strength * outwards * dx, strength * abs(outwards) * dy))
    border = np.linspace(0, _FRAME, 5)
    for x in border:
        for y in border:
            if x in border[[0, -1]] or y in border[[0, -1]]:
                known.append((x, y))
                moved.append((0.0, 0.0))
    spline = interpolate.RBFInterpolator(
        np.array(known), np.array(moved), kernel="thin_plate_spline"
    )
    y, x = np.mgrid[:_FRAME, :_FRAME] + 0.5
    field = spline(np.stack([x.ravel(), y.ravel()], -1)).reshape(_FRAME, _FRAME, 2)
    return (field * amplitude / np.linalg.norm(field, axis=-1).max()).astype(np.float32)


def render_clip(
    sketch: Sketch,
    emotion: str,
    config: rendering.SyntheticConfig,
    rng: np.random.Generator,
) -> dict:
    """Renders a clip of one expression of a face.

    Returns:
      The features of ``rendering.make_record``.
    """
    course = motion.draw_time_course(rng)
    amplitude = float(rng.uniform(*config.amplitude))
    field = displacement(sketch, emotion, amplitude, rng)
    numbers = time_course.frame_numbers(course, config)
    # The head moves on a curve through random places.
    instants = np.linspace(1, course.last, 4)
    places = rng.uniform(-1, 1, (4, 3)) * config.drift * np.array([1, 1, 0.3])
    path = interpolate.CubicSpline(instants, places)
    frames = {}
    for number in numbers.tolist():
        if number not in frames:
            right, down, degrees = path(number)
            picture, mask = _frame(
                sketch,
                field * np.float32(course.intensity(number)),
                cv2.getRotationMatrix2D((56, 56), degrees, 1)
                + [[0, 0, right], [0, 0, down]],
                config.size,
            )
            picture = picture * (1 + config.flicker * rng.standard_normal())
            picture = picture + config.noise * rng.standard_normal(picture.shape)
            frames[number] = np.clip(np.rint(picture), 0, 255).astype(np.uint8), mask
    return rendering.make_record(emotion, course, amplitude, frames, config)


def _frame(sketch, field, head, size) -> tuple[np.ndarray, np.ndarray]:
    """Returns a frame, float32 [size, size, 3], and its motion mask, bool [size, size].

    Args:
      sketch: the face.
      field: displacement of the face, float32 [FRAME, FRAME, 2].
      head: motion of the head, an affine map [2, 3] of positions in the frame.
      size: height and width of the frame.
    """
    fine = 2 * size  # rendered with four pixels for each and averaged
    y, x = (np.mgrid[:fine, :fine] + 0.5) * (_FRAME / fine)
    inverse = cv2.invertAffineTransform(head)
    position = np.stack([x, y, np.ones_like(x)], -1) @ inverse.T  # [F, F, 2]
    at = (position - 0.5).astype(np.float32)
    moved = cv2.remap(field, at[..., 0], at[..., 1], cv2.INTER_LINEAR)
    source = ((position - moved + _MARGIN) * _RESOLUTION - 0.5).astype(np.float32)
    picture = cv2.remap(
        sketch.image,
        source[..., 0],
        source[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    length = cv2.resize(np.linalg.norm(moved, axis=-1), (size, size))
    return picture, length >= motion.MOTION_THRESHOLD
