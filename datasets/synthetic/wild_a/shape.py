"""Proportions, landmarks and depth of random faces.

Positions are in pixels of a frame of 112 x 112, x to the right and y downwards. Images
extend beyond the frame on each side. Sides are those of the image.
"""

import dataclasses

import numpy as np
from scipy import ndimage, special

FRAME = 112  # height and width of the frame in which positions are given
MARGIN = 16  # pixels on each side of the frame
DETAIL = 3  # pixels of the images for each of the frame, in each direction

# Height and width of the maps that have one value for each pixel of the frame.
COARSE = FRAME + 2 * MARGIN
FINE = COARSE * DETAIL


@dataclasses.dataclass(frozen=True)
class Shape:
    """Proportions of a face, in pixels of the frame."""

    x0: float
    y0: float
    a: float
    b: float
    eye_x: float
    eye_y: float
    eye_width: float
    brow_y: float
    nose_x: float
    nose_y: float
    mouth_x: float
    mouth_y: float
    chin_y: float
    jaw: float


def draw_shape(rng: np.random.Generator) -> Shape:
    between = rng.uniform
    a, b = between(30, 37), between(40, 46)
    x0, y0 = 56 + between(-2, 2), 58 + between(-2, 2)
    eye_y = y0 - b * between(0.17, 0.25)
    nose_y = y0 + b * between(0.17, 0.25)
    return Shape(
        x0=x0,
        y0=y0,
        a=a,
        b=b,
        eye_x=a * between(0.40, 0.48),
        eye_y=eye_y,
        eye_width=a * between(0.19, 0.24),
        brow_y=eye_y - b * between(0.15, 0.22),
        nose_x=a * between(0.17, 0.26),
        nose_y=nose_y,
        mouth_x=a * between(0.36, 0.48),
        mouth_y=nose_y + b * between(0.24, 0.31),
        chin_y=y0 + b * between(0.83, 0.9),
        jaw=between(0.72, 0.95),
    )


def draw_landmarks(shape: Shape, rng: np.random.Generator) -> dict:
    """Returns where muscles pull; each person's are at slightly different places."""
    s = shape
    middle = {
        "glabella": (0.0, s.brow_y + 1.5),
        "lip_upper": (0.0, s.mouth_y - 2.2),
        "lip_lower": (0.0, s.mouth_y + 2.6),
        "chin": (0.0, s.chin_y),
        "throat": (0.0, s.y0 + 1.18 * s.b),
    }
    pairs = {
        "brow_inner": (0.5 * s.eye_x, s.brow_y),
        "brow_middle": (1.0 * s.eye_x, s.brow_y - 1),
        "brow_outer": (1.5 * s.eye_x, s.brow_y + 0.5),
        "forehead": (0.6 * s.eye_x, s.brow_y - 0.2 * s.b),
        "lid_upper": (s.eye_x, s.eye_y - 3),
        "lid_lower": (s.eye_x, s.eye_y + 2.5),
        "eye_outer": (s.eye_x + 1.3 * s.eye_width, s.eye_y + 0.5),
        "cheek": (1.2 * s.eye_x, s.eye_y + 0.55 * (s.nose_y - s.eye_y)),
        "cheek_inner": (0.62 * s.eye_x + 1, s.nose_y - 3),
        "cheek_low": (s.mouth_x + 0.2 * s.a, s.mouth_y - 1),
        "nose_side": (0.75 * s.nose_x, s.nose_y - 0.16 * s.b),
        "nostril": (s.nose_x, s.nose_y),
        "lip_upper_side": (0.5 * s.mouth_x, s.mouth_y - 2.2),
        "mouth_corner": (s.mouth_x, s.mouth_y),
        "chin_side": (0.7 * s.mouth_x, s.mouth_y + 0.55 * (s.chin_y - s.mouth_y)),
        "jaw": (0.55 * s.a, s.mouth_y + 0.5 * (s.chin_y - s.mouth_y)),
    }
    places = {name: (s.x0 + x, y) for name, (x, y) in middle.items()}
    for name, (x, y) in pairs.items():
        jitter = rng.normal(0, 0.025 * s.a, (2, 2))
        for side, outwards, (dx, dy) in zip(
            ("left", "right"), (-1, 1), jitter, strict=True
        ):
            places[f"{name}_{side}"] = (s.x0 + outwards * x + dx, y + dy)
    return {name: (float(x), float(y)) for name, (x, y) in places.items()}


def draw_depth(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Returns the depth of the head in pixels, float [D, D]."""
    s, between = shape, rng.uniform
    steps = np.arange(COARSE) + 0.5 - MARGIN
    x, y = np.meshgrid(steps - s.x0, steps)
    side = np.abs(x)

    def bump(cx, cy, rx, ry, height):
        return height * np.exp(-(((side - cx) / rx) ** 2 + ((y - cy) / ry) ** 2) / 2)

    round_ = 1 - (x / (1.12 * s.a)) ** 2 - ((y - s.y0 + 4) / (1.25 * s.b)) ** 2
    depth = 0.85 * s.a * np.sqrt(np.clip(round_, 0.01, None))
    bridge = np.clip((y - s.brow_y) / (s.nose_y - s.brow_y), 0, 1)
    below = special.expit((s.nose_y + 1 - y) / 1.2)
    ridge = np.exp(-((side / (s.nose_x * (0.55 + 0.5 * bridge))) ** 2))
    depth += between(7, 11) * bridge**1.3 * below * ridge
    depth += bump(s.eye_x, s.brow_y + 1, 8, 3, between(0.6, 2))
    depth -= bump(s.eye_x, s.eye_y, 5.5, 4, between(1.5, 3))
    depth += bump(1.15 * s.eye_x, s.nose_y - 5, 8, 7, between(0.5, 2))
    depth += bump(0, s.mouth_y, 0.8 * s.mouth_x, 4, between(1, 2.2))
    depth -= bump(0, s.mouth_y + 5, 7, 2, between(0.4, 1.2))
    depth += bump(0, s.chin_y, 7, 5, between(1, 2.5))
    return ndimage.gaussian_filter(depth, 0.8)
