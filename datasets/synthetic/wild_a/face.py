"""Random faces as layers of images: skin, eyes, and what lies in front of them.

Positions are in pixels of a frame of 112 x 112; see ``shape``.
"""

import dataclasses

import numpy as np
from scipy import ndimage

from datasets.synthetic.wild_a import painting
from datasets.synthetic.wild_a.shape import (
    COARSE,
    FINE,
    MARGIN,
    draw_depth,
    draw_landmarks,
    draw_shape,
)


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

    def contains(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Returns whether positions are in the opening of the open eye."""
        dx = x - self.centre[0]
        dy = y - self.centre[1] - self.slant * dx
        arch = np.clip(1 - (dx / self.width) ** 2, 0, None)
        return (arch > 0) & (dy > -self.upper * arch**0.7) & (dy < self.lower * arch)


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
      visible: where skin of the face is not covered by hair or glasses, [D, D] bool.
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


def draw_face(rng: np.random.Generator) -> Face:
    """Draws a random face; all of its properties are sampled from ``rng``."""
    shape = draw_shape(rng)
    canvas = painting.Canvas(rng, shape)
    between = rng.uniform
    tone = between() ** 1.2
    light, dark = np.array([240, 205, 182]), np.array([92, 58, 42])
    skin = (light * (1 - tone) + dark * tone) * between(0.96, 1.04, 3)
    age = between() ** 1.5
    hair = painting.draw_hair_colour(rng, tone, age)
    man = rng.random() < 0.5

    picture, cover = painting.paint_head(canvas, skin, hair)
    picture = painting.paint_skin(canvas, picture, skin, age)
    picture = painting.paint_brows(canvas, picture, hair, man)
    picture = painting.paint_mouth(canvas, picture, skin)
    if man and rng.random() < 0.6:
        picture = painting.paint_beard(canvas, picture, hair)
    if not man and rng.random() < 0.5:
        picture = painting.paint_make_up(canvas, picture, skin)
    picture = canvas.soften(picture, between(0.25, 0.5))
    front = np.zeros((FINE, FINE, 4), np.float32)
    if rng.random() < 0.35:
        front = painting.paint_fringe(canvas, front, hair)
    lenses = np.zeros((FINE, FINE), np.float32)
    if rng.random() < 0.3:
        front, lenses = painting.paint_glasses(canvas, front)

    depth = draw_depth(shape, rng)
    slope_y, slope_x = np.gradient(ndimage.gaussian_filter(depth, 1.2))
    normals = np.stack([-slope_x, -slope_y, np.ones_like(depth)], -1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    hidden = canvas.coarse(front[..., 3]) > 0.5
    visible = (canvas.coarse(canvas.face()) > 0.5) & ~hidden
    upper, lower = between(2.4, 3.8), between(1.4, 2.2)
    slant = between(-0.12, 0.04)
    eyes = tuple(
        Eye(
            centre=(shape.x0 + side * shape.eye_x, shape.eye_y),
            width=shape.eye_width,
            upper=upper,
            lower=lower,
            slant=side * slant,
        )
        for side in (-1, 1)
    )
    y, x = np.mgrid[:COARSE, :COARSE] + 0.5 - MARGIN
    for eye in eyes:  # eyeballs do not move with the skin
        visible &= ~eye.contains(x, y)
    return Face(
        skin=np.clip(picture, 2, 255).astype(np.float32),
        cover=cover.astype(np.float32),
        front=front.astype(np.float32),
        lenses=lenses.astype(np.float32),
        background=painting.paint_background(canvas),
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
        landmarks=draw_landmarks(shape, rng),
        radius=shape.a,
        centre=(shape.x0, shape.y0),
        sheen=float(between(0, 0.18)),
        glare=(
            float(between(-30, 30)),
            float(between(-0.6, 0.6)),
            float(between(0, 0.5)),
        ),
    )
