"""Random faces as layers of images: skin, eyes, and what lies in front of them.

Positions are in pixels of a frame of 112 x 112, x to the right and y downwards. Images
extend beyond the frame on each side. Sides are those of the image.
"""

import dataclasses

import numpy as np
from scipy import ndimage

FRAME = 112  # height and width of the frame in which positions are given
MARGIN = 16  # pixels on each side of the frame
DETAIL = 3  # pixels of the images for each of the frame, in each direction

# Height and width of the maps that have one value for each pixel of the frame.
COARSE = FRAME + 2 * MARGIN
FINE = COARSE * DETAIL


@dataclasses.dataclass(frozen=True)
class Eye:
    """An eye: an opening in the skin, with the eyeball behind it.

    Attributes:
      centre: (x, y) of the eye.
      width: half the width of the opening in pixels.
      upper: height of the upper lid above the centre.
      lower: depth of the lower lid below the centre.
      slant: slope of the line between the corners.
    """

    centre: tuple[float, float]
    width: float
    upper: float
    lower: float
    slant: float


@dataclasses.dataclass(frozen=True)
class Face:
    """A face. Images are float32, colours 0 to 255; S is ``FINE``, D is ``COARSE``.

    Attributes:
      skin: colour of the head without light, [S, S, 3]: also hair, neck and clothes.
      cover: 1 where the head covers the background, [S, S].
      front: hair and glasses in front of the face, [S, S, 4]: colour times cover, and
        cover.
      lenses: cover of the lenses of glasses, [S, S].
      background: [S, S, 3].
      depth: distance from the plane of the ears towards the camera in pixels, [D, D].
      normals: unit vectors of the surface, [D, D, 3].
      visible: where the face is not covered by hair, [D, D] bool.
      eyes: the left and the right eye.
      iris: colour of the iris, [3].
      iris_radius: in pixels.
      white: colour of the sclera, [3].
      lash: colour of the lashes, [3].
      mouth: (x, y) of the middle of the line between the lips.
      mouth_width: half the width of the mouth.
      landmarks: (x, y) by name; pairs have the suffixes ``_left`` and ``_right``.
      radius: half the width of the face.
      centre: (x, y) of the middle of the face.
      sheen: strength of highlights of the skin.
      glare: place, direction and strength of the reflection on glasses.
    """

    skin: np.ndarray
    cover: np.ndarray
    front: np.ndarray
    lenses: np.ndarray
    background: np.ndarray
    depth: np.ndarray
    normals: np.ndarray
    visible: np.ndarray
    eyes: tuple[Eye, Eye]
    iris: np.ndarray
    iris_radius: float
    white: np.ndarray
    lash: np.ndarray
    mouth: tuple[float, float]
    mouth_width: float
    landmarks: dict[str, tuple[float, float]]
    radius: float
    centre: tuple[float, float]
    sheen: float
    glare: tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class _Shape:
    """Proportions of a face, in pixels of the frame; see ``_draw_shape``."""

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


def draw_face(rng: np.random.Generator) -> Face:
    """Draws a random face; all of its properties are sampled from ``rng``."""
    shape = _draw_shape(rng)
    canvas = _Canvas(rng, shape)
    between = rng.uniform
    tone = between() ** 1.2
    light, dark = np.array([240, 205, 182]), np.array([92, 58, 42])
    skin = (light * (1 - tone) + dark * tone) * between(0.96, 1.04, 3)
    age = between() ** 1.5
    hair = _draw_hair_colour(rng, tone, age)
    man = rng.random() < 0.5

    picture, cover = _paint_head(canvas, skin, hair)
    picture = _paint_skin(canvas, picture, skin, age)
    picture = _paint_brows(canvas, picture, hair, man)
    picture = _paint_mouth(canvas, picture, skin, man)
    if man and rng.random() < 0.6:
        picture = _paint_beard(canvas, picture, hair)
    if not man and rng.random() < 0.5:
        picture = _paint_make_up(canvas, picture, skin)
    picture = canvas.soften(picture, between(0.25, 0.5))
    front = np.zeros((FINE, FINE, 4), np.float32)
    if rng.random() < 0.35:
        front = _paint_fringe(canvas, front, hair)
    lenses = np.zeros((FINE, FINE), np.float32)
    if rng.random() < 0.3:
        front, lenses = _paint_glasses(canvas, front)

    depth = _depth(shape, rng)
    slope_y, slope_x = np.gradient(ndimage.gaussian_filter(depth, 1.2))
    normals = np.stack([-slope_x, -slope_y, np.ones_like(depth)], -1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    hidden = canvas.coarse(front[..., 3] - 0.9 * lenses) > 0.5
    visible = (canvas.coarse(canvas.face()) > 0.5) & ~hidden
    eyes = tuple(
        Eye(
            centre=(shape.x0 + side * shape.eye_x, shape.eye_y),
            width=shape.eye_width,
            upper=opening[0],
            lower=opening[1],
            slant=side * slant,
        )
        for opening, slant in [
            ((between(2.4, 3.8), between(1.4, 2.2)), between(-0.12, 0.04))
        ]
        for side in (-1, 1)
    )
    return Face(
        skin=np.clip(picture, 2, 255).astype(np.float32),
        cover=cover.astype(np.float32),
        front=front.astype(np.float32),
        lenses=lenses.astype(np.float32),
        background=_paint_background(canvas),
        depth=depth.astype(np.float32),
        normals=normals.astype(np.float32),
        visible=visible,
        eyes=eyes,
        iris=np.array([70, 58, 46]) + between(-35, 60, 3) * (1 - 0.8 * tone),
        iris_radius=float(between(2.3, 3.0)),
        white=np.array([226, 222, 216]) - between(0, 25),
        lash=hair * between(0.15, 0.5) if man else np.array([22.0, 18, 16]),
        mouth=(shape.x0, shape.mouth_y),
        mouth_width=shape.mouth_x,
        landmarks=_landmarks(shape, rng),
        radius=shape.a,
        centre=(shape.x0, shape.y0),
        sheen=float(between(0, 0.18)),
        glare=(
            float(between(-30, 30)),
            float(between(-0.6, 0.6)),
            float(between(0, 0.5)),
        ),
    )


def _draw_shape(rng: np.random.Generator) -> _Shape:
    between = rng.uniform
    a, b = between(30, 37), between(40, 46)
    x0, y0 = 56 + between(-2, 2), 58 + between(-2, 2)
    eye_y = y0 - b * between(0.17, 0.25)
    nose_y = y0 + b * between(0.17, 0.25)
    return _Shape(
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


def _landmarks(shape: _Shape, rng: np.random.Generator) -> dict:
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


def _depth(shape: _Shape, rng: np.random.Generator) -> np.ndarray:
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
    below = 1 / (1 + np.exp((y - s.nose_y - 1) / 1.2))
    ridge = np.exp(-((side / (s.nose_x * (0.55 + 0.5 * bridge))) ** 2))
    depth += between(7, 11) * bridge**1.3 * below * ridge
    depth += bump(s.eye_x, s.brow_y + 1, 8, 3, between(0.6, 2))
    depth -= bump(s.eye_x, s.eye_y, 5.5, 4, between(1.5, 3))
    depth += bump(1.15 * s.eye_x, s.nose_y - 5, 8, 7, between(0.5, 2))
    depth += bump(0, s.mouth_y, 0.8 * s.mouth_x, 4, between(1, 2.2))
    depth -= bump(0, s.mouth_y + 5, 7, 2, between(0.4, 1.2))
    depth += bump(0, s.chin_y, 7, 5, between(1, 2.5))
    return ndimage.gaussian_filter(depth, 0.8)


class _Canvas:
    """Coordinates and brushes for painting a face."""

    def __init__(self, rng: np.random.Generator, shape: _Shape):
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


def _paint(picture, colour, cover):
    return picture + (np.asarray(colour, np.float32) - picture) * cover


def _draw_hair_colour(rng, tone: float, age: float) -> np.ndarray:
    brown = np.array([52, 36, 26]) * rng.uniform(0.35, 1.2 + 2 * (1 - tone) ** 2)
    grey = np.array([150, 148, 146]) * rng.uniform(0.7, 1.2)
    share = np.clip(age * 1.6 - 0.7, 0, 1) * rng.uniform(0.3, 1)
    return brown * (1 - share) + grey * share


def _paint_background(canvas: _Canvas) -> np.ndarray:
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


def _paint_head(canvas, skin, hair):
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


def _paint_skin(canvas, picture, skin, age):
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
    for _ in range(rng.integers(0, 3)):  # beside the outer corners of the eyes
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


def _paint_brows(canvas, picture, hair, man):
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


def _paint_mouth(canvas, picture, skin, man):
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


def _paint_beard(canvas, picture, hair):
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


def _paint_make_up(canvas, picture, skin):
    s, between = canvas.shape, canvas.rng.uniform
    mouth = canvas.blob(0, s.mouth_y, 0.92 * s.mouth_x, 2.4, 1.2)
    red = np.array([170, 40, 60]) + between(-40, 30, 3)
    picture = _paint(picture, red, between(0.2, 0.7) * mouth)
    shadow = canvas.blob(s.eye_x, s.eye_y - 3.6, 1.1 * s.eye_width, 2.6, 2)
    colour = np.array([90, 70, 90]) + between(-40, 60, 3)
    picture = _paint(picture, colour, between(0, 0.5) * shadow)
    blush = canvas.blob(1.25 * s.eye_x, s.nose_y - 4, 7, 5, 6)
    return _paint(picture, skin * [1.02, 0.75, 0.78], between(0, 0.4) * blush)


def _paint_fringe(canvas, front, hair):
    """Paints hair that falls over the brow."""
    s, between = canvas.shape, canvas.rng.uniform
    ends = s.brow_y + between(-6, 2.5)
    slope = between(-7, 7)
    wave = ends + slope * canvas.across / s.a + 1.5 * canvas.noise(1.6, (6, 1))[..., 0]
    cover = smooth((wave - canvas.y) / 2 + 0.5)
    head = canvas.blob(0, s.y0 - 0.24 * s.b, 1.05 * s.a, 0.92 * s.b)[..., 0]
    gaps = np.clip(0.8 + 0.35 * canvas.noise(0.5, (8, 1))[..., 0], 0, 1)
    if canvas.rng.random() < 0.5:  # on one side
        cover = cover * smooth((canvas.across * canvas.rng.choice([-1, 1]) + 4) / 6)
    cover = (cover * head * gaps)[..., None]
    strands = hair + canvas.noise(0.35, (5, 1)) * between(8, 20)
    return np.concatenate([np.clip(strands, 0, 255) * cover, cover], -1)


def _paint_glasses(canvas, front):
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
