"""Random synthetic faces: geometry, skin, hair, lighting and texture.

Positions are in pixels of a 112 x 112 frame, x to the right and y downwards. The image
extends beyond the frame on each side and has a higher resolution, so that frames with
sub-pixel motion can be sampled from it without borders or aliasing.
"""

import dataclasses

import numpy as np
from scipy import ndimage

FRAME = 112  # height and width in pixels of the frame in which positions are given
MARGIN = 10  # pixels drawn beyond the frame on each side
SUPERSAMPLING = 3  # image pixels per frame pixel, in each direction


@dataclasses.dataclass(frozen=True)
class Face:
    """The face of a synthetic subject.

    Attributes:
      image: float32 [S, S, 3], 0 to 255, S = (FRAME + 2 * MARGIN) * SUPERSAMPLING.
      landmarks: position (x, y) by name; the suffixes ``_left`` and ``_right`` of pairs
        refer to the sides of the image.
      radius: half the width of the face in pixels.
      centre: position (x, y) of the face's centre.
    """

    image: np.ndarray
    landmarks: dict[str, tuple[float, float]]
    radius: float
    centre: tuple[float, float]


def draw_face(rng: np.random.Generator) -> Face:
    """Draws a random face; all of its properties are sampled from ``rng``."""
    between = rng.uniform
    x0, y0 = 56 + between(-3, 3), 58 + between(-2, 3)
    a, b = between(28, 36), between(39, 46)  # half width and height of the face
    eye_x, eye_y = a * between(0.38, 0.48), y0 - b * between(0.16, 0.24)
    brow_y = eye_y - b * between(0.17, 0.23)
    nose_y = y0 + b * between(0.16, 0.24)
    nose_x = a * between(0.16, 0.24)
    mouth_y, mouth_x = y0 + b * between(0.46, 0.54), a * between(0.34, 0.46)
    chin_y = y0 + b * 0.84

    landmarks = {
        "brow_middle": (x0, brow_y + 0.1 * b),
        "nose_bridge": (x0, (eye_y + nose_y) / 2),
        "lip_upper": (x0, mouth_y - 0.08 * b),
        "lip_lower": (x0, mouth_y + 0.09 * b),
        "chin": (x0, chin_y),
    }
    pairs = {
        "brow_inner": (0.5 * eye_x, brow_y),
        "brow_outer": (1.5 * eye_x, brow_y + 0.03 * b),
        "eye": (eye_x, eye_y),
        "lid_lower": (eye_x, eye_y + 0.1 * b),
        "cheek": (1.15 * eye_x, (eye_y + mouth_y) / 2),
        "nostril": (nose_x, nose_y),
        "mouth_corner": (mouth_x, mouth_y),
    }
    for name, (x, y) in pairs.items():
        landmarks[f"{name}_left"] = (x0 - x, y)
        landmarks[f"{name}_right"] = (x0 + x, y)

    steps = np.arange((FRAME + 2 * MARGIN) * SUPERSAMPLING, dtype=np.float32)
    steps = (steps + 0.5) / SUPERSAMPLING - MARGIN
    x, y = np.meshgrid(steps, steps)
    side = np.abs(x - x0)  # both halves are equal except for light and texture

    def texture(size: float) -> np.ndarray:
        """Returns noise with a standard deviation of 1, smooth over ``size`` pixels."""
        noise = rng.standard_normal(x.shape, dtype=np.float32)
        noise = ndimage.gaussian_filter(noise, size * SUPERSAMPLING, mode="wrap")
        return (noise / noise.std())[..., None]

    def ellipse(cx, cy, rx, ry, edge=0.8, across=side) -> np.ndarray:
        """Returns 1 inside and 0 outside, with a soft edge ``edge`` pixels wide."""
        r = np.sqrt(((across - cx) / rx) ** 2 + ((y - cy) / ry) ** 2)
        return _step((1 - r) * min(rx, ry) / edge)[..., None]

    def paint(picture, colour, cover):
        """Returns the picture blended with a colour; ``cover`` is 0 to 1 per pixel."""
        return picture + (np.asarray(colour, np.float32) - picture) * cover

    # Skin from pale to dark, hair and eyes from their natural ranges.
    tone = between(0, 1)
    skin = np.array([238, 202, 178]) * (1 - tone) + np.array([112, 74, 52]) * tone
    skin = skin + between(-7, 7, 3)
    hair = np.array([46, 32, 24]) * between(0.4, 2.4)
    hair = hair + between(0, 25) * np.array([1, 0.7, 0.2])  # some of it reddish
    iris = np.array([70, 60, 50]) + between(-30, 60, 3)
    lips = skin * [0.86, 0.62, 0.62] + between(-8, 8, 3)

    wall = between(60, 190, 3)
    picture = np.broadcast_to(wall, (*x.shape, 3)) + texture(6) * between(1, 5)
    cloth = between(30, 200, 3) + texture(1.5) * between(3, 12)
    picture = paint(picture, cloth, ellipse(0, 132, 52, 30))
    picture = paint(picture, skin * 0.84, ellipse(0, y0 + b, 0.52 * a, 0.5 * b))
    hair = hair + texture(0.7) * between(4, 12)
    head_of_hair = ellipse(0, y0 - 0.22 * b, 1.14 * a, 0.96 * b)
    picture = paint(picture, hair, head_of_hair)
    picture = paint(picture, skin * 0.92, ellipse(a, y0, 0.12 * a, 0.18 * b))
    surface = skin + texture(0.6) * between(2, 6) + texture(3) * between(1, 4)
    picture = paint(picture, surface, ellipse(0, y0, a, b))
    fringe = ellipse(0, y0 - 1.02 * b, between(0.75, 1.0) * a, between(0.3, 0.5) * b)
    picture = paint(picture, hair, fringe * head_of_hair)

    # Shading of eyes, nose, cheeks and mouth.
    picture = picture * (1 - 0.22 * ellipse(eye_x, eye_y, 0.3 * a, 0.12 * b, 4))
    picture = picture * (1 - 0.18 * ellipse(nose_x, nose_y, 0.13 * a, 0.3 * b, 4))
    picture = picture * (1 + 0.10 * ellipse(0, nose_y - 0.1 * b, 0.08 * a, 0.25 * b, 3))
    picture = picture * (1 + 0.08 * ellipse(1.1 * eye_x, nose_y, 0.24 * a, 0.2 * b, 6))
    picture = picture * (1 - 0.2 * ellipse(0, mouth_y + 0.2 * b, 0.3 * a, 0.05 * b, 3))
    fold = np.abs(side - (nose_x + 0.07 * a + (y - nose_y) * 0.42))
    fold = _step((1.4 - fold) / 0.8) * _step(y - nose_y) * _step(mouth_y + 2 - y)
    picture = picture * (1 - between(0.06, 0.2) * fold[..., None])
    picture = picture * (
        1 - 0.55 * ellipse(0.6 * nose_x, nose_y + 1.5, 0.45 * nose_x, 1.1)
    )

    thick = between(1.2, 2.2)
    arch = brow_y + between(-0.02, 0.06) * b * (side / eye_x - 1) ** 2
    brow = _step((thick - np.abs(y - arch)) / 0.7)
    brow = brow * _step(side - 0.45 * eye_x) * _step(1.6 * eye_x - side)
    picture = paint(picture, hair * 0.9, 0.85 * brow[..., None])

    open_ = between(2.4, 3.4)
    eye = ellipse(eye_x, eye_y, 0.19 * a, open_)
    picture = paint(picture, (232, 228, 222), eye)
    picture = paint(picture, iris, eye * ellipse(eye_x, eye_y, 2.6, 2.6))
    picture = paint(picture, (18, 14, 12), eye * ellipse(eye_x, eye_y, 1.2, 1.2))
    lid = np.abs(y - (eye_y - open_ * (1 - ((side - eye_x) / (0.22 * a)) ** 2)))
    lid = _step((0.9 - lid) / 0.5) * _step((0.22 * a - np.abs(side - eye_x)) / 0.8)
    picture = paint(picture, skin * 0.3, 0.8 * lid[..., None])

    full = between(2.0, 3.6)
    picture = paint(picture, lips, ellipse(0, mouth_y, mouth_x, full))
    line = np.abs(y - mouth_y - between(-0.6, 0.6) * (side / mouth_x) ** 2)
    line = _step((0.6 - line) / 0.4) * _step(mouth_x - side)
    picture = paint(picture, lips * 0.35, 0.9 * line[..., None])

    if between() < 0.3:  # a beard's shadow
        beard = ellipse(0, y0 + 0.62 * b, 0.72 * a, 0.36 * b, 5)
        picture = picture * (1 - beard * (0.25 + 0.08 * texture(0.5)))
    for _ in range(rng.integers(0, 12)):  # moles and freckles
        mole = ellipse(
            x0 + between(-0.7, 0.7) * a,
            y0 + between(-0.1, 0.7) * b,
            *between(0.5, 1.1, 2),
            across=x,
        )
        picture = paint(picture, skin * 0.5, 0.7 * mole)

    # A light source in a random direction, and the curvature of the face.
    angle, strength = between(0, 2 * np.pi), between(0.1, 0.35)
    slope = (np.cos(angle) * (x - x0) + np.sin(angle) * (y - y0)) / FRAME
    turned_away = 0.25 * np.clip((side / a) ** 2, 0, 1)[..., None]
    picture = picture * (1 - turned_away * ellipse(0, y0, 1.14 * a, 1.2 * b, 3))
    picture = picture * ((1 + strength * slope) * between(0.8, 1.1))[..., None]
    picture = picture * between(0.94, 1.06, 3)  # the colour of the light

    # Low-pass filter for the resolution of the frame.
    picture = ndimage.gaussian_filter(
        picture, (0.45 * SUPERSAMPLING, 0.45 * SUPERSAMPLING, 0)
    )
    image = np.clip(picture, 0, 255).astype(np.float32)
    return Face(image, landmarks, radius=float(a), centre=(float(x0), float(y0)))


def _step(t: np.ndarray) -> np.ndarray:
    """Returns 0 below -1/2 and 1 above 1/2, with a smooth transition."""
    t = np.clip(t + 0.5, 0, 1)
    return t * t * (3 - 2 * t)
