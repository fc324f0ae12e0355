"""Paints the images of a face: skin, hair, mouth, beard, make-up, glasses.

Pictures are float32 [S, S, 3], 0 to 255, and covers are [S, S, 1], 0 to 1, where S is
``shape.FINE``.
"""

import numpy as np
from scipy import ndimage

from datasets.synthetic.wild_a.shape import COARSE, DETAIL, FINE, FRAME, MARGIN, Shape


class Canvas:
    """Coordinates and brushes for painting a face."""

    def __init__(self, rng: np.random.Generator, shape: Shape):
        self.rng, self.shape = rng, shape
        steps = (np.arange(FINE, dtype=np.float32) + 0.5) / DETAIL - MARGIN
        self.x, self.y = np.meshgrid(steps, steps)
        self.across = self.x - np.float32(shape.x0)
        self.side = np.abs(self.across)

    def noise(self, size: float, stretch: tuple[float, float] = (1, 1)) -> np.ndarray:
        """Returns noise with a standard deviation of 1, smooth over ``size`` pixels."""
        sigma = [size * DETAIL * factor for factor in stretch]
        noise = self.rng.standard_normal((FINE, FINE), dtype=np.float32)
        noise = ndimage.gaussian_filter(noise, sigma, mode="wrap")
        return (noise / noise.std())[..., None]

    def blob(self, cx, cy, rx, ry, edge=1.0, power=2.0, across=None) -> np.ndarray:
        """Returns 1 in an ellipse, on both sides if cx is not 0; [S, S, 1]."""
        across = self.side if across is None else across
        r = np.abs((across - cx) / rx) ** power + np.abs((self.y - cy) / ry) ** power
        return smooth((1 - r ** (1 / power)) * min(rx, ry) / edge + 0.5)[..., None]

    def line(self, distance: np.ndarray, width: float, edge: float = 0.7) -> np.ndarray:
        """Returns 1 where a distance is below half a width, [S, S, 1]."""
        return smooth((width / 2 - np.abs(distance)) / edge + 0.5)[..., None]

    def face(self) -> np.ndarray:
        """Returns 1 in the outline of the face, [S, S]."""
        s = self.shape
        t = np.clip((self.y - s.y0) / s.b, -1, 1)
        width = np.where(t > 0, 1 - (1 - s.jaw) * 1.6 * t**2, 1.0)
        r = np.sqrt((self.side / (s.a * width)) ** 2 + ((self.y - s.y0) / s.b) ** 2)
        return smooth((1 - r) * s.a / 1.2 + 0.5)

    def soften(self, picture: np.ndarray, sigma: float) -> np.ndarray:
        """Blurs an image with a standard deviation in pixels of the frame."""
        sigma *= DETAIL
        return ndimage.gaussian_filter(picture, (sigma, sigma, 0))

    def coarse(self, image: np.ndarray) -> np.ndarray:
        """Averages an image [S, S] to one value for each pixel of the frame."""
        return image.reshape(COARSE, DETAIL, COARSE, DETAIL).mean((1, 3))


def smooth(t: np.ndarray) -> np.ndarray:
    """Returns 0 below 0 and 1 above 1, with a smooth transition."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def _paint(picture: np.ndarray, colour: object, cover: np.ndarray) -> np.ndarray:
    """Returns a picture blended with a colour; ``cover`` is 0 to 1 per pixel."""
    return picture + (np.asarray(colour, np.float32) - picture) * cover


def draw_hair_colour(rng: np.random.Generator, tone: float, age: float) -> np.ndarray:
    """Draws a colour from brown to black, or grey, [3]."""
    brown = np.array([52, 36, 26]) * rng.uniform(0.35, 1.2 + 2 * (1 - tone) ** 2)
    grey = np.array([150, 148, 146]) * rng.uniform(0.7, 1.2)
    share = np.clip(age * 1.6 - 0.7, 0, 1) * rng.uniform(0.3, 1)
    return brown * (1 - share) + grey * share


def paint_background(canvas: Canvas) -> np.ndarray:
    """Paints a wall, sometimes with an edge, [S, S, 3]."""
    between = canvas.rng.uniform
    colour = between(40, 205) + between(-30, 30, 3) * between(0, 1)
    picture = np.ones((FINE, FINE, 3), np.float32) * colour
    picture = picture + canvas.noise(between(4, 12)) * between(0, 14)
    if canvas.rng.random() < 0.3:  # the edge of a door or a shelf
        edge = smooth((canvas.x - between(0, FRAME)) / 2)[..., None]
        picture = _paint(
            picture, between(30, 210) + between(-20, 20, 3), edge * between(0.3, 1)
        )
    picture = picture + canvas.noise(0.5) * between(0, 3)
    return np.clip(picture, 0, 255).astype(np.float32)


def paint_head(
    canvas: Canvas, skin: np.ndarray, hair: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the head without features, [S, S, 3], and its cover, [S, S]."""
    s, between, rng = canvas.shape, canvas.rng.uniform, canvas.rng
    cloth = between(25, 225, 3) + canvas.noise(1.5) * between(2, 12)
    cloth = cloth + between(0, 25) * np.sin(canvas.x * between(0.3, 1.2))[..., None]
    shoulders = canvas.blob(0, s.y0 + 1.9 * s.b, 1.9 * s.a, 0.75 * s.b)
    neck = canvas.blob(0, s.y0 + 1.1 * s.b, between(0.5, 0.66) * s.a, 0.7 * s.b, 1.5)
    strands = canvas.noise(0.35, (4, 1)) * between(6, 16)
    head = canvas.blob(
        0, s.y0 - 0.24 * s.b, between(1.06, 1.2) * s.a, between(0.9, 1.02) * s.b
    )
    bald = rng.random() < 0.06
    behind = head
    if rng.random() < 0.35 and not bald:  # long hair
        behind = canvas.blob(
            0, s.y0 + 0.35 * s.b, between(1.15, 1.4) * s.a, 1.35 * s.b, 2
        )
    face = canvas.face()[..., None]
    ear = canvas.blob(0.99 * s.a, s.eye_y + 0.2 * s.b, 0.13 * s.a, 0.19 * s.b)
    picture = np.ones((FINE, FINE, 3), np.float32) * cloth
    if not bald:
        picture = _paint(picture, 0.8 * (hair + strands), behind)
    picture = _paint(picture, cloth, shoulders)
    picture = _paint(picture, skin * 0.8, neck * (1 - shoulders))
    picture = _paint(picture, skin if bald else hair + strands, head)
    picture = _paint(picture, skin * 0.9, ear)
    picture = _paint(picture, skin, face)
    if not bald:  # the hairline
        height = s.y0 - s.b * between(0.62, 0.85)
        arch = height + between(0, 9) * (canvas.side / s.a) ** 2
        arch = arch + between(-3, 3) * canvas.across / s.a
        top = smooth((arch - canvas.y) / 3 + 0.5)[..., None]
        picture = _paint(picture, hair + strands, top * head)
    cover = np.maximum.reduce([shoulders, neck, behind, head, face, ear])[..., 0]
    return picture, cover


def paint_skin(
    canvas: Canvas, picture: np.ndarray, skin: np.ndarray, age: float
) -> np.ndarray:
    """Paints pores, spots, redness and wrinkles."""
    s, between, rng = canvas.shape, canvas.rng.uniform, canvas.rng
    face = canvas.face()[..., None]
    grain = canvas.noise(0.35) * between(1.5, 4) + canvas.noise(1.2) * between(1, 4)
    grain = grain + canvas.noise(5) * between(1, 5)
    picture = picture + face * grain
    red = np.array([0.03, -0.05, -0.04]) * between(0, 1.5)
    cheeks = canvas.blob(1.15 * s.eye_x, s.nose_y - 3, 9, 8, 8)
    nose = canvas.blob(0, s.nose_y - 1, 1.2 * s.nose_x, 5, 5)
    picture = picture * (1 + red * np.maximum(cheeks, nose))
    for _ in range(rng.integers(0, 10 + int(20 * (rng.random() < 0.25)))):
        spot = canvas.blob(
            s.x0 + between(-0.75, 0.75) * s.a,
            s.y0 + between(-0.6, 0.75) * s.b,
            *between(0.35, 0.9, 2),
            edge=0.6,
            across=canvas.x,
        )
        picture = _paint(picture, skin * between(0.5, 0.8), between(0.3, 0.8) * spot)

    def crease(distance, inside, depth, width=1.0):
        return 1 - depth * canvas.line(distance, width) * inside[..., None]

    deep = 0.06 + 0.3 * age
    # From the nose to the corners of the mouth, below the eyes, at the forehead.
    t = np.clip((canvas.y - s.nose_y + 2) / (s.mouth_y - s.nose_y + 2), 0, 1)
    path = s.nose_x + 1.5 + (s.mouth_x + 2.5 - s.nose_x) * t**1.3
    inside = smooth((canvas.y - s.nose_y + 3) / 3) * smooth(
        (s.mouth_y + 1 - canvas.y) / 3
    )
    picture = picture * crease(
        canvas.side - path, inside, deep * between(0.6, 1.2), 1.3
    )
    u = (canvas.side - s.eye_x) / s.eye_width
    bag = s.eye_y + 4.2 * np.sqrt(np.clip(1.3 - u**2, 0, None))
    picture = picture * crease(
        canvas.y - bag, smooth((1.1 - np.abs(u)) / 0.4), deep * 0.7
    )
    for _ in range(rng.integers(0, 4)):
        height = s.brow_y - s.b * between(0.1, 0.3)
        arch = height + between(-1.5, 1.5) * np.cos(canvas.side / s.a * 3)
        inside = smooth((between(0.4, 0.7) * s.a - canvas.side) / 4)
        picture = picture * crease(canvas.y - arch, inside, age * between(0.05, 0.3))
    for _ in range(rng.integers(0, 3)):  # at the outer corners of the eyes
        corner = canvas.side - s.eye_x - 1.35 * s.eye_width
        slope = canvas.y - s.eye_y - between(-0.7, 0.7) * corner
        inside = smooth(corner / 2) * smooth((5 - corner) / 2)
        picture = picture * crease(slope, inside, age * between(0.1, 0.3))
    for place in (between(0.8, 1.6), -between(0.8, 1.6)) if age > 0.4 else ():
        inside = smooth((4 - np.abs(canvas.y - s.brow_y)) / 2)
        picture = picture * crease(canvas.across - place, inside, age * 0.25)
    # Nose: the shadow of its sides and the nostrils; the lid's fold.
    nostril = canvas.blob(0.55 * s.nose_x, s.nose_y + 1.2, 0.42 * s.nose_x, 1.1)
    picture = picture * (1 - between(0.4, 0.65) * nostril)
    wing = (canvas.side - s.nose_x) ** 2 / 2.2 + (canvas.y - s.nose_y) ** 2 / 6
    wing = canvas.line(np.sqrt(wing) - 1, 0.5) * (canvas.side > s.nose_x)[..., None]
    picture = picture * (1 - between(0.1, 0.3) * wing)
    fold = s.eye_y - 4.6 * np.sqrt(np.clip(1.15 - u**2, 0, None))
    inside = smooth((1.02 - np.abs(u)) / 0.3)
    return picture * crease(canvas.y - fold, inside, between(0.1, 0.4))


def paint_brows(
    canvas: Canvas, picture: np.ndarray, hair: np.ndarray, man: bool
) -> np.ndarray:
    """Paints the brows, hair by hair."""
    s, between = canvas.shape, canvas.rng.uniform
    thick = between(1.6, 3.0) if man else between(0.9, 2.2)
    u = (canvas.side - s.eye_x) / s.eye_x
    arch = s.brow_y + between(1, 4) * u**2 - between(0, 1.5) * u
    inside = smooth((u + between(0.5, 0.62)) / 0.2) * smooth(
        (between(0.5, 0.66) - u) / 0.25
    )
    profile = canvas.line(
        canvas.y - arch, thick * (1.15 - 0.5 * np.clip(u, -1, 1)).mean()
    )
    hairs = np.clip(0.75 + 0.35 * canvas.noise(0.25, (1, 2)), 0, 1)
    cover = profile * inside[..., None] * hairs * between(0.6, 0.95)
    return _paint(picture, hair * 0.8, cover)


def paint_mouth(canvas: Canvas, picture: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Paints the lips and the line between them."""
    s, between = canvas.shape, canvas.rng.uniform
    u = canvas.across / s.mouth_x
    full = between(1.6, 2.8), between(2.2, 3.8)
    inside = np.clip(1 - u**2, 0, None)
    bow = 0.8 * np.exp(-((u / 0.14) ** 2))
    above = (s.mouth_y - canvas.y) / (full[0] * inside**0.6 - bow + 1e-3)
    below = (canvas.y - s.mouth_y) / (full[1] * inside**0.7 + 1e-3)
    lips = np.where(canvas.y < s.mouth_y, above, below)
    cover = smooth((1 - lips) * 2) * (inside > 0.01)
    colour = skin * [0.88, 0.66, 0.66] + between(-6, 6, 3)
    colour = colour + canvas.noise(0.4, (3, 1)) * 4
    picture = _paint(picture, colour, 0.85 * cover[..., None])
    shade = canvas.blob(0, s.mouth_y + full[1] + 1.5, 0.5 * s.mouth_x, 1.2, 2)
    picture = picture * (1 - between(0.1, 0.25) * shade)
    line = canvas.y - s.mouth_y - between(-0.7, 0.7) * u**2
    dark = (
        canvas.line(line, between(0.5, 0.9))
        * smooth((1.03 - np.abs(u)) / 0.1)[..., None]
    )
    return _paint(picture, colour * 0.3, 0.85 * dark)


def paint_beard(canvas: Canvas, picture: np.ndarray, hair: np.ndarray) -> np.ndarray:
    """Paints stubble, a beard, a moustache, or a beard around the mouth."""
    s, between, rng = canvas.shape, canvas.rng.uniform, canvas.rng
    face = canvas.face()[..., None]
    beard = smooth((canvas.y - s.nose_y - 6 - 9 * (1 - canvas.side / s.a)) / 6)
    chin = np.maximum(
        beard,
        smooth((canvas.side - 0.7 * s.a) / 4) * smooth((canvas.y - s.eye_y - 8) / 8),
    )
    lip = canvas.blob(0, s.mouth_y - 5, 1.1 * s.mouth_x, 2.4, 2)
    area = np.maximum(chin[..., None], lip) * face
    mouth = canvas.blob(0, s.mouth_y, 0.95 * s.mouth_x, 3, 2)
    kind = rng.integers(4)
    if kind == 2:  # a moustache alone
        area = lip * face
    elif kind == 3:  # around the mouth
        area = area * canvas.blob(0, s.mouth_y + 5, 1.25 * s.mouth_x, 14, 4)
    area = area * (1 - mouth)
    stubble = np.clip(0.5 + 0.5 * canvas.noise(0.22), 0, 1)
    dense = between(0.25, 0.5) if kind == 0 else between(0.6, 0.95)
    strands = hair * 0.8 + canvas.noise(0.3, (2, 1)) * 12
    return _paint(picture, strands, area * dense * (0.45 + 0.55 * stubble))


def paint_make_up(canvas: Canvas, picture: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Paints lipstick, eye shadow and blush."""
    s, between = canvas.shape, canvas.rng.uniform
    mouth = canvas.blob(0, s.mouth_y, 0.92 * s.mouth_x, 2.4, 1.2)
    red = np.array([170, 40, 60]) + between(-40, 30, 3)
    picture = _paint(picture, red, between(0.2, 0.7) * mouth)
    shadow = canvas.blob(s.eye_x, s.eye_y - 3.6, 1.1 * s.eye_width, 2.6, 2)
    colour = np.array([90, 70, 90]) + between(-40, 60, 3)
    picture = _paint(picture, colour, between(0, 0.5) * shadow)
    blush = canvas.blob(1.25 * s.eye_x, s.nose_y - 4, 7, 5, 6)
    return _paint(picture, skin * [1.02, 0.75, 0.78], between(0, 0.4) * blush)


def paint_fringe(canvas: Canvas, front: np.ndarray, hair: np.ndarray) -> np.ndarray:
    """Paints hair that falls over the brow."""
    s, between = canvas.shape, canvas.rng.uniform
    ends = s.brow_y + between(-5, 4)
    slope = between(-6, 6)
    wave = ends + slope * canvas.across / s.a + 1.5 * canvas.noise(1.6, (6, 1))[..., 0]
    cover = smooth((wave - canvas.y) / 2 + 0.5)
    head = canvas.blob(0, s.y0 - 0.24 * s.b, 1.05 * s.a, 0.92 * s.b)[..., 0]
    gaps = np.clip(0.8 + 0.35 * canvas.noise(0.5, (8, 1))[..., 0], 0, 1)
    if canvas.rng.random() < 0.5:  # on one side
        cover = cover * smooth((canvas.across * canvas.rng.choice([-1, 1]) + 4) / 6)
    cover = (cover * head * gaps)[..., None]
    strands = hair + canvas.noise(0.35, (5, 1)) * between(8, 20)
    return np.concatenate([np.clip(strands, 0, 255) * cover, cover], -1)


def paint_glasses(canvas: Canvas, front: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Paints the frames of glasses, in front of what is there; returns also lenses."""
    s, between, rng = canvas.shape, canvas.rng.uniform, canvas.rng
    rx, ry = s.eye_x * between(0.72, 0.88), s.b * between(0.15, 0.22)
    power, width = between(2, 5), between(0.5, 1.8)
    y = s.eye_y + between(0.5, 2.5)
    r = (
        np.abs((canvas.side - s.eye_x) / rx) ** power
        + np.abs((canvas.y - y) / ry) ** power
    )
    distance = (1 - r ** (1 / power)) * min(rx, ry)
    rim = canvas.line(distance, width)
    if rng.random() < 0.2:  # without rims below
        rim = rim * smooth((y + 1 - canvas.y) / 2)[..., None]
    bridge = (
        canvas.line(canvas.y - y + 1.5, width) * (canvas.side < s.eye_x - rx)[..., None]
    )
    temple = canvas.line(canvas.y - y + 0.3 * ry, width)
    temple = temple * (canvas.side > s.eye_x + rx)[..., None]
    temple = temple * (canvas.side < s.a)[..., None]
    cover = np.maximum.reduce([rim, bridge, temple]) * between(0.75, 1)
    colour = np.array([30, 26, 24]) + (rng.random() < 0.4) * between(0, 150, 3)
    lenses = smooth(distance + 0.5)
    painted = front * (1 - cover) + np.concatenate([colour * cover, cover], -1)
    return painted, lenses
