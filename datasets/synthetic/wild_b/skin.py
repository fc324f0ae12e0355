"""Paints the skin of a face, at the resolution of the samples of its surface."""

import dataclasses

import cv2
import numpy as np

from datasets.synthetic.wild_b.shape import DENSITY, Shape

# Reflectance (red, green, blue) of skin from light to dark
_TONES = np.array(
    [
        [243, 208, 188],
        [232, 190, 164],
        [216, 170, 138],
        [184, 134, 102],
        [140, 97, 72],
        [98, 67, 52],
    ],
    float,
)
_LIP_TINTS = np.array([[150, 30, 45], [180, 60, 80], [120, 25, 60], [190, 80, 70]])
_SHIFT = 4  # fractional bits of the coordinates that OpenCV draws


@dataclasses.dataclass(frozen=True)
class Look:
    """What a skin looks like.

    Attributes:
      tone: reflectance of the skin, float [3].
      hair: reflectance of brows and beard, float [3].
      age: 0 to 1.
      beard: density of the beard; below 0.5 it is stubble, 0 is none.
      make_up: strength of make-up, 0 to 1.
    """

    tone: np.ndarray
    hair: np.ndarray
    age: float
    beard: float
    make_up: float


def draw_look(rng: np.random.Generator, hair: np.ndarray, shade: float) -> Look:
    """Draws the look of a skin; ``shade`` is 0 for light to 1 for dark skin."""
    levels = np.arange(len(_TONES)) / (len(_TONES) - 1)
    tone = np.array([np.interp(shade, levels, c) for c in _TONES.T])
    man = rng.random() < 0.5
    beard = rng.uniform(0.1, 1) if man and rng.random() < 0.6 else 0.0
    return Look(
        tone=tone * rng.normal(1, 0.02, 3),
        hair=hair,
        age=float(rng.beta(1.2, 2)),
        beard=float(beard),
        make_up=0.0 if man or rng.random() < 0.4 else float(rng.uniform(0.3, 1)),
    )


def noise(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> np.ndarray:
    """Returns smooth noise of standard deviation 1; ``scale`` is in samples."""
    small = max(1, int(scale / 2))
    rows, columns = (n // small + 4 for n in shape)
    field = rng.standard_normal((rows, columns)).astype(np.float32)
    field = cv2.GaussianBlur(field, (0, 0), max(scale / small, 0.3))
    field = cv2.resize(field, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return field / field.std()


def soft(distance: np.ndarray, width: float) -> np.ndarray:
    """Returns 0 to 1 for negative to positive distances."""
    return 1 / (1 + np.exp(-np.clip(distance / width, -30, 30)))


def strokes(
    shape: tuple[int, int], lines: list[np.ndarray], levels: np.ndarray, thickness: int
) -> np.ndarray:
    """Draws lines, float [P, 2] in samples each; returns a mask, 0 to 1."""
    mask = np.zeros(shape, np.uint8)
    for line, level in zip(lines, levels.tolist(), strict=True):
        points = np.rint(line * (1 << _SHIFT)).astype(np.int32)[None]
        cv2.polylines(mask, points, False, level, thickness, cv2.LINE_AA, _SHIFT)
    return mask.astype(np.float32) / 255


def _blend(image: np.ndarray, colour: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return image + (np.asarray(colour, float) - image) * mask[..., None]


def paint(
    rng: np.random.Generator, shape: Shape, look: Look, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Paints the skin of a face.

    Args:
      rng: draws the details.
      shape: the places of the features.
      look: of the skin.
      x: head coordinate of each sample, float [H, W].
      y: the same.

    Returns:
      The reflectance, 0 to 255, float [H, W, 3].
    """
    light = look.tone.mean() / 200
    image = np.broadcast_to(look.tone, (*x.shape, 3)).copy()
    image *= 1 + 0.025 * noise(rng, x.shape, 24)[..., None] * [0.6, 1, 1.1]
    image *= 1 + 0.02 * noise(rng, x.shape, 7)[..., None] * [0.7, 1, 1]
    image *= 1 + (0.018 + 0.012 * look.age) * noise(rng, x.shape, 1.2)[..., None]
    image = _blush(image, rng, shape, look, x, y)
    image = _shadows(image, shape, look, x, y)
    image = _spots(image, rng, shape, light)
    image = _wrinkles(image, rng, shape, look)
    image = _lips(image, rng, shape, look, x, y)
    image = _beard(image, rng, shape, look, x, y)
    for side in (-1, 1):
        image = _brow(image, rng, shape, look, side)
    return np.clip(image, 4, 250)


def _bump(
    x: np.ndarray, y: np.ndarray, place: tuple[float, float], sx: float, sy: float
) -> np.ndarray:
    """Returns a Gaussian at a place and at its mirror image."""
    across = (np.abs(x) - place[0]) / sx
    return np.exp(-(across**2 + ((y - place[1]) / sy) ** 2) / 2)


def _blush(
    image: np.ndarray,
    rng: np.random.Generator,
    shape: Shape,
    look: Look,
    x: np.ndarray,
    y: np.ndarray,
) -> np.ndarray:
    """Reddens cheeks, nose and chin."""
    marks = shape.landmarks()
    red = rng.uniform(0.2, 0.8) + look.make_up
    area = _bump(x, y, marks["cheek"], 7, 6)
    area += 0.8 * _bump(x, y, (0, shape.nose[1] - 3), 4, 4)
    area += 0.5 * _bump(x, y, (0, shape.chin - 6), 6, 4)
    return image * (1 - 0.07 * red * area[..., None] * [0.0, 1.2, 1.0])


def _shadows(
    image: np.ndarray, shape: Shape, look: Look, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Darkens where little light arrives: nostrils, sockets, below lip and nose."""
    eye_x, eye_y = shape.eye
    nose_w, nose_y, _ = shape.nose
    mouth_y = shape.mouth[1]
    dark = 0.16 * _bump(x, y, (0.62 * eye_x, eye_y - 1), 3, 4)
    dark += (0.06 + 0.1 * look.age) * _bump(x, y, (0.9 * eye_x, eye_y + 5.5), 5, 1.8)
    dark += 0.1 * _bump(x, y, (eye_x, eye_y - 4), 6, 2.5)
    dark += 0.16 * _bump(x, y, (0, nose_y + 1.2), 0.7 * nose_w, 1.2)
    dark += 0.2 * _bump(x, y, (nose_w + 0.7, nose_y - 2.2), 0.8, 1.9)
    dark += 0.14 * _bump(x, y, (0, mouth_y + shape.lips[1] + 2), 6, 1.4)
    dark += 0.08 * _bump(x, y, (0, nose_y + 4), 1, 2.5)
    dark += 0.3 * soft(y - shape.chin + 2.5, 1.2)
    image = image * (1 - np.minimum(dark, 0.8)[..., None] * [0.8, 1, 1.05])
    nostrils = _bump(x, y, (0.5 * nose_w, nose_y - 0.2), 1.1, 0.6)
    image = _blend(image, 0.22 * look.tone, np.minimum(nostrils, 0.8))
    if look.make_up > 0.5:
        shadow = _bump(x, y, (eye_x, eye_y - 3.5), 5, 1.8)
        image = _blend(image, 0.45 * look.tone, 0.5 * look.make_up * shadow)
    return image


def _spots(
    image: np.ndarray, rng: np.random.Generator, shape: Shape, light: float
) -> np.ndarray:
    """Adds freckles and moles."""
    rows, columns = image.shape[:2]
    freckles = rng.integers(60, 250) if light > 0.85 and rng.random() < 0.3 else 0
    moles = rng.integers(0, 7)
    mask = np.zeros((rows, columns), np.float32)
    for index in range(freckles + moles):
        freckle = index < freckles
        px = rng.normal(0, 14) if freckle else rng.uniform(-28, 28)
        py = rng.normal(shape.eye[1] + 12, 8) if freckle else rng.uniform(20, 98)
        at = shape.to_texture(np.array(px), np.array(py))
        radius = rng.uniform(0.25, 0.5) if freckle else rng.uniform(0.35, 0.8)
        spot = np.zeros((rows, columns), np.uint8)
        centre = np.rint(at * (1 << _SHIFT)).astype(int).tolist()
        size = round(radius * DENSITY * (1 << _SHIFT))
        cv2.circle(spot, centre, size, 255, -1, cv2.LINE_AA, _SHIFT)
        depth = rng.uniform(0.15, 0.3) if freckle else rng.uniform(0.35, 0.65)
        mask = np.maximum(mask, depth / 255 * spot)
    mask = cv2.GaussianBlur(mask, (0, 0), 0.8)
    return image * (1 - mask[..., None] * [0.75, 1, 1.1])


def _wrinkles(
    image: np.ndarray, rng: np.random.Generator, shape: Shape, look: Look
) -> np.ndarray:
    """Adds folds: at both sides of the mouth for all, more for older people."""
    marks = shape.landmarks()
    lines, levels = [], []

    def add(px: np.ndarray, py: np.ndarray, level: float) -> None:
        wobble = np.cumsum(rng.normal(0, 0.08, len(px)))
        lines.append(shape.to_texture(px, py + wobble))
        levels.append(255 * min(level, 1.0))

    t = np.linspace(0, 1, 16)
    age = look.age
    for side in (-1, 1):
        (nx, ny), (cx, cy) = marks["nostril"], marks["corner"]
        fold = nx + 0.8 + (cx + 3 - nx) * t**0.8
        add(side * fold, ny - 1 + (cy - ny - 1) * t, 0.12 + 0.6 * age)
        add(side * (cx + 1 + t), cy + 1 + 7 * t, 0.5 * age)
        add(side * (1.5 + 0.6 * t), shape.brow[0] - 3 + 7 * t, 0.45 * age)
        ex, ey = shape.eye
        add(side * (ex - 5 + 9 * t), ey + 5 + 1.8 * np.sin(np.pi * t), 0.15 + 0.5 * age)
        for tilt in (-2.5, 0, 2.5):
            start = ex + shape.lids[0] + 1.5
            add(side * (start + 4 * t), ey + tilt * (0.3 + t), 0.5 * age)
    for index in range(rng.integers(2, 6)):
        level = shape.brow[1] - 5 - 3.4 * index
        reach = rng.uniform(10, 17)
        add(reach * (2 * t - 1), level + 1.2 * np.cos(4 * (t - 0.5)), 0.6 * age**1.3)
    mask = strokes(image.shape[:2], lines, np.array(levels), 2)
    fine = cv2.GaussianBlur(mask, (0, 0), 1.2)
    broad = cv2.GaussianBlur(mask, (0, 0), 3.5)
    dark = np.minimum(0.34 * fine + 0.5 * broad, 0.6)
    return image * (1 - dark[..., None] * [0.85, 1, 1.05])


def lip_borders(shape: Shape, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the y of the upper border of the upper lip and the lower of the other."""
    t = np.clip(np.abs(x) / shape.mouth[0], 0, 1)
    line = shape.lip_line(x)
    bow = (1 - t**1.7) * (1 - 0.22 * np.exp(-((t / 0.13) ** 2)))
    return line - shape.lips[0] * bow, line + shape.lips[1] * (1 - t**2.2) ** 0.9


def _lips(
    image: np.ndarray,
    rng: np.random.Generator,
    shape: Shape,
    look: Look,
    x: np.ndarray,
    y: np.ndarray,
) -> np.ndarray:
    """Paints the lips and the line between them."""
    upper, lower = lip_borders(shape, x)
    line = shape.lip_line(x)
    ends = soft(shape.mouth[0] - np.abs(x), 0.5)
    mask = soft(y - upper, 0.28) * soft(lower - y, 0.3) * ends
    natural = look.tone * np.array([0.86, 0.66, 0.68]) * rng.normal(1, 0.03, 3)
    tint = _LIP_TINTS[rng.integers(len(_LIP_TINTS))]
    colour = natural + (tint - natural) * 0.75 * look.make_up
    texture = 1 + 0.04 * noise(rng, x.shape, 1.5)
    shade = np.where(y < line, 0.86, 1.05) * texture
    image = image + (shade[..., None] * colour - image) * 0.85 * mask[..., None]
    dark = np.exp(-(((y - line) / 0.55) ** 2) / 2) * ends
    return _blend(image, 0.3 * natural, 0.75 * dark)


def _beard(
    image: np.ndarray,
    rng: np.random.Generator,
    shape: Shape,
    look: Look,
    x: np.ndarray,
    y: np.ndarray,
) -> np.ndarray:
    """Paints a beard of strokes, or stubble."""
    chance = rng.random()
    if look.beard == 0:
        return image
    upper, lower = lip_borders(shape, x)
    half, mouth_y, _ = shape.mouth
    reach = np.abs(x) / shape.outline(y).clip(1)
    # From the ears down to the corners of the mouth, and the moustache
    cheeks = shape.nose[1] + 14 - 22 * np.clip(reach - 0.45, 0, 0.6) ** 1.2
    area = soft(y - cheeks, 1.2)
    if chance < 0.35:  # around the mouth only
        area *= soft(half + 4 - np.abs(x), 1.0)
    tache = soft(y - shape.nose[1] - 2.5, 0.5) * soft(half + 2.5 - np.abs(x), 1.0)
    area = np.maximum(area, tache * soft(mouth_y + 2 - y, 0.8))
    area *= 1 - soft(y - upper + 0.5, 0.3) * soft(lower + 0.4 - y, 0.3) * soft(
        half + 0.5 - np.abs(x), 0.4
    )
    grain = np.clip(0.5 + 0.35 * noise(rng, x.shape, 1.0), 0, 1)
    if look.beard < 0.5:
        return _blend(image, look.hair * 0.9, 0.9 * look.beard * area * grain)
    count = int(5000 * look.beard)
    px, py = rng.uniform(-34, 34, count), rng.uniform(shape.nose[1] - 8, 104, count)
    length = rng.uniform(0.8, 2.2, count)
    lean = 0.02 * px + rng.normal(0, 0.25, count)
    t = np.linspace(0, 1, 3)[:, None]
    lines = shape.to_texture(px + lean * length * t, py + length * t)  # [3, N, 2]
    levels = rng.uniform(60, 255, count)
    hairs = strokes(image.shape[:2], list(lines.swapaxes(0, 1)), levels, 1)
    hairs = cv2.GaussianBlur(hairs, (0, 0), 0.6)
    cover = area * (0.55 + 0.4 * hairs) * look.beard
    image = _blend(image, 0.75 * look.hair, np.minimum(cover, 0.92))
    return _blend(image, 1.5 * look.hair + 8, 0.3 * area * hairs * grain)


def _brow(
    image: np.ndarray, rng: np.random.Generator, shape: Shape, look: Look, side: int
) -> np.ndarray:
    """Paints a brow of hairs that point outwards."""
    marks = shape.landmarks()
    count = int(rng.uniform(170, 330))
    t = rng.beta(1.2, 1.4, count)
    inner, outer = marks["brow_inner"][0] - 1.5, marks["brow_outer"][0] + 2.5
    levels = np.interp(t, [0, 0.6, 1], shape.brow) + rng.normal(0, 0.25)
    thick = rng.uniform(0.7, 1.7) * np.interp(t, [0, 0.25, 0.7, 1], [0.8, 1, 0.8, 0.2])
    px = inner + (outer - inner) * t
    py = levels + thick * rng.normal(0, 0.75, count)
    rise = np.interp(t, [0, 0.3, 1], [1.6, 0.6, -0.5]) + rng.normal(0, 0.2, count)
    length = rng.uniform(1.2, 2.4, count)
    k = np.linspace(0, 1, 3)[:, None]
    lines = shape.to_texture(
        side * (px + length * k), py - length * rise * (k - 0.3) * (1 - 0.4 * k)
    )
    weights = rng.uniform(90, 255, count)
    hairs = strokes(image.shape[:2], list(lines.swapaxes(0, 1)), weights, 1)
    broad = cv2.GaussianBlur(hairs, (0, 0), 2.2)
    fine = cv2.GaussianBlur(hairs, (0, 0), 0.6)
    cover = np.minimum(rng.uniform(0.6, 1.1) * (0.55 * broad + 0.75 * fine), 0.92)
    return _blend(image, 0.7 * look.hair, cover)
