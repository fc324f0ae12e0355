"""Eyes, lids, the inside of the mouth, ears, glasses, the body and the backdrop."""

import cv2
import numpy as np
from scipy import ndimage

from datasets.synthetic.wild_b.shape import DENSITY, FRAME, Shape
from datasets.synthetic.wild_b.skin import Look, noise, soft
from datasets.synthetic.wild_b.splatting import Cloud, make_cloud

MARGIN = 6  # pixels that are drawn beyond the frame on each side
BACKDROP_SCALE = 2  # pixels of the backdrop per pixel of the frame
_FINE = 4  # samples per pixel of small parts

_IRISES = np.array(
    [[70, 42, 25], [95, 62, 36], [88, 95, 62], [92, 118, 145], [50, 32, 22]], float
)
_CLOTHES = np.array(
    [[40, 44, 60], [150, 150, 155], [110, 40, 45], [50, 80, 70], [200, 195, 185]], float
)


def look_up(shape: Shape, grid: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns values of a grid of the face, [H, W, C], at places, float [..., C]."""
    at = shape.to_texture(np.atleast_1d(x), np.atleast_1d(y))
    columns, rows = at[..., 0], at[..., 1]
    return np.stack(
        [
            ndimage.map_coordinates(
                grid[..., c], [rows, columns], order=1, mode="nearest"
            )
            for c in range(grid.shape[-1])
        ],
        -1,
    )


def flat_grid(
    left: float, right: float, top: float, bottom: float, density: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the x and y of a grid of samples."""
    return np.meshgrid(
        np.arange(left, right, 1 / density), np.arange(top, bottom, 1 / density)
    )


def behind_face(shape: Shape, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns which places the face hides from all sides that are seen."""
    inner = np.abs(x) < shape.outline(np.maximum(y, 0)) - 15
    return inner & (y < shape.chin - 8) & (y > 4)


def ball(shape: Shape, surface: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """Returns the centre, float [3], and the radius of an eyeball."""
    radius = 1.12 * shape.lids[0]
    x, y = side * shape.eye[0], shape.eye[1]
    z = float(look_up(shape, surface, np.array(x), np.array(y))[0, 2])
    return np.array([x, y, z - radius + 0.3]), radius


def draw_iris(rng: np.random.Generator, shade: float) -> np.ndarray:
    """Draws the reflectance of the irises; dark skin has brown ones, float [3]."""
    brown = [0, 1, 4]
    chosen = rng.choice(brown if shade > 0.4 else len(_IRISES))
    return _IRISES[chosen] * rng.uniform(0.85, 1.2)


def make_eye(rng: np.random.Generator, radius: float, iris: np.ndarray) -> Cloud:
    """Draws an eyeball around the origin that looks at the camera."""
    step = 1 / (_FINE * radius)
    across, down = np.meshgrid(*2 * (np.arange(-1.5, 1.5, step),))
    # Points of the front of a sphere by two angles
    direction = np.stack(
        [np.sin(across) * np.cos(down), np.sin(down), np.cos(across) * np.cos(down)], -1
    )
    x, y = radius * direction[..., 0], radius * direction[..., 1]
    from_axis = np.where(direction[..., 2] > 0, np.hypot(x, y), radius)
    colour = np.full((*x.shape, 3), [226.0, 216.0, 210.0])
    colour -= 20 * np.clip(np.abs(x) / radius, 0, 1)[..., None] * [0.3, 1, 1]
    size = 0.37 * radius
    angle = np.arctan2(y, x)
    spokes = sum(
        np.sin(n * angle + rng.uniform(0, 6)) for n in rng.integers(5, 30, 6).tolist()
    )
    ring = soft(from_axis - 0.85 * size, 0.12)
    tint = iris * (1 + 0.07 * spokes[..., None]) * (1.15 - 0.65 * ring[..., None])
    colour += (tint - colour) * soft(size - from_axis, 0.12)[..., None]
    pupil = soft(rng.uniform(0.36, 0.46) * size - from_axis, 0.1)
    colour += (12 - colour) * pupil[..., None]
    return make_cloud(radius * direction, direction, colour, np.ones(x.shape))


def make_lid(
    shape: Shape, look: Look, surface: np.ndarray, skin: np.ndarray, side: int
) -> tuple[Cloud, np.ndarray, np.ndarray, np.ndarray]:
    """Draws an upper lid, from its crease to its edge.

    Args:
      shape: of the head.
      look: of the skin.
      surface: positions of the face, [H, W, 3].
      skin: reflectance of the face, [H, W, 3].
      side: -1 or 1, the left or the right eye of the image.

    Returns:
      The samples; where each is, 0 at the crease to 1 at the edge, float [N]; its
      displacement when the eye closes, float32 [N, 3]; the relative growth of its area
      then, float32 [N].
    """
    half, upper, lower, _ = shape.lids
    s, t = np.meshgrid(
        np.arange(-1.1, 1.1, 1 / (_FINE * half)),
        np.arange(0, 1, 1 / (_FINE * (upper + lower + 3))),
    )
    edge, closed = shape.eyelids(s, side)
    inside = np.clip(1 - s**2, 0, 1) ** 0.5
    crease = edge - 0.4 - 2.0 * inside
    x = side * shape.eye[0] + half * s
    y = crease + t * (edge - crease)
    centre, radius = ball(shape, surface, side)

    def on_ball(y: np.ndarray) -> np.ndarray:
        square = radius**2 - (x - centre[0]) ** 2 - (y - centre[1]) ** 2
        return centre[2] + np.sqrt(np.maximum(square, 4)) + 0.8

    z = (1 - t) * look_up(shape, surface, x, crease)[..., 2] + t * on_ball(y)
    end = crease + t * (closed + 0.25 - crease)
    z_end = (1 - t) * look_up(shape, surface, x, crease)[..., 2] + t * on_ball(end)
    position = np.stack([x, y, z], -1)
    closing = np.stack([0 * x, end - y, z_end - z], -1)

    colour = look_up(shape, skin, x, crease - 0.4)
    colour *= (1 - 0.22 * np.exp(-(((t - 0.12) / 0.12) ** 2)))[..., None]
    colour *= (1 - 0.12 * t)[..., None]
    if look.make_up:
        colour *= 1 - 0.25 * look.make_up * t[..., None]
    # The lashes and their shadow
    lash = soft(t - 0.8 + 0.15 * look.make_up, 0.05)
    colour += (
        (0.45 * look.hair + 8 - colour)
        * (0.75 + 0.2 * look.make_up)
        * (lash[..., None])
    )
    opacity = soft(t - 0.06, 0.03) * soft(1.03 - np.abs(s), 0.025)
    normal = np.stack([x, end, z_end], -1) - centre
    normal[..., 1] *= 0.6
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    shown = opacity.reshape(-1) > 0.004
    cloud = make_cloud(position, normal, colour, opacity)
    longer = np.maximum((closed + 0.25 - crease) / (edge - crease) - 1, 0)
    closing = closing.reshape(-1, 3)[shown].astype(np.float32)
    stretch = longer.reshape(-1)[shown].astype(np.float32)
    return cloud, t.reshape(-1)[shown], closing, stretch


def make_mouth(shape: Shape, surface: np.ndarray) -> Cloud:
    """Draws the inside of the mouth: dark, with the upper teeth."""
    half, mouth_y, _ = shape.mouth
    x, y = flat_grid(-half, half, mouth_y - 3, mouth_y + 9, DENSITY)
    z0 = float(look_up(shape, surface, np.array(0.0), np.array(mouth_y))[0, 2])
    z = z0 - 3 - 0.06 * x**2
    line = shape.lip_line(x)
    colour = np.full((*x.shape, 3), [62.0, 24.0, 22.0])
    gaps = 0.82 + 0.18 * np.abs(np.cos(np.pi * x / 2.6)) ** 0.3
    teeth = soft(line + 1.7 - y, 0.25) * soft(0.62 * half - np.abs(x), 0.8)
    tooth = np.array([205.0, 196.0, 180.0]) * gaps[..., None]
    colour += (tooth - colour) * 0.9 * teeth[..., None]
    opacity = soft(0.93 * half - np.abs(x), 0.3)
    facing = np.broadcast_to([0.0, 0.0, 1.0], colour.shape)
    position = np.stack([x, y, z], -1)
    return make_cloud(position, facing, colour, opacity)


def make_ears(rng: np.random.Generator, shape: Shape, look: Look) -> Cloud:
    """Draws the ears behind the outline of the face."""
    width, height, out = rng.uniform(3.5, 5), rng.uniform(8, 10.5), rng.uniform(0, 1.5)
    y0 = 0.5 * (shape.eye[1] + shape.nose[1]) + 1
    x, y = flat_grid(-48, 48, y0 - 14, y0 + 14, DENSITY)
    middle = shape.outline(np.array(y0)) + out + 0.12 * (y0 - y)
    r = np.hypot((np.abs(x) - middle) / width, (y - y0) / height)
    inner = np.exp(-(((r - 0.62) / 0.14) ** 2))
    colour = look.tone * np.array([1.0, 0.9, 0.88]) * (1 - 0.25 * inner)[..., None]
    colour *= np.clip(0.6 + 0.4 * r, 0, 1)[..., None]
    normal = np.stack([0.35 * np.sign(x), 0 * x, 0 * x + 0.93], -1)
    position = np.stack([x, y, 0 * x - 0.85 * shape.depth], -1)
    return make_cloud(position, normal, colour, soft(1 - r, 0.05))


def make_glasses(
    rng: np.random.Generator, shape: Shape, surface: np.ndarray
) -> tuple[Cloud, Cloud]:
    """Draws the frame of glasses, and their lenses, which are transparent."""
    eye_x, eye_y = shape.eye
    front = look_up(shape, surface, np.array([0.0]), np.array([eye_y]))[0, 2] + 2.5
    half_w, half_h = rng.uniform(0.66, 0.8) * eye_x, rng.uniform(5.5, 8.5)
    power = rng.choice([2.2, 3.0, 5.0])
    thick = rng.uniform(0.45, 1.1)
    x, y = flat_grid(-shape.width - 1, shape.width + 1, eye_y - 13, eye_y + 15, _FINE)
    side = np.abs(x)
    r = np.abs((side - eye_x - 0.5) / half_w) ** power
    r = (r + np.abs((y - eye_y - 1.5) / half_h) ** power) ** (1 / power)
    away = (r - 1) * min(half_w, half_h)
    line = soft(thick - np.abs(away), 0.12)
    between = soft(eye_x + 0.5 - half_w - side, 0.1)
    bridge = soft(thick - np.abs(y - eye_y + 1 - 0.05 * x**2), 0.12) * between
    beyond = soft(side - eye_x - 0.5 - half_w, 0.1)
    arms = soft(thick - np.abs(y - eye_y + 1), 0.12) * beyond
    opacity = np.max([line, bridge, arms], 0)
    tones = np.array([[18, 18, 20], [70, 42, 26], [150, 145, 140], [110, 30, 40]])
    tone = tones[rng.choice(4, p=[0.5, 0.2, 0.2, 0.1])]
    colour = np.broadcast_to(tone.astype(float), (*x.shape, 3))
    z = front - 0.012 * x**2 - 0.2 * np.maximum(side - eye_x - half_w, 0) ** 1.5
    position = np.stack([x, y, z], -1)
    normal = np.stack([0.02 * x, -0.3 + 0 * x, 0.9 + 0 * x], -1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    frame = make_cloud(position, normal, colour, opacity)
    white = np.full(colour.shape, 235.0)
    glass = make_cloud(position, normal, white, soft(-away, 0.1))
    return frame, glass


def make_body(rng: np.random.Generator, shape: Shape, look: Look) -> Cloud:
    """Draws neck and shoulders behind the chin."""
    x, y = flat_grid(-72, 72, 70, FRAME + MARGIN + 4, DENSITY)
    width = rng.uniform(0.62, 0.78) * shape.width
    side = np.abs(x)
    neck = width + 0.02 * np.maximum(y - shape.chin, 0) ** 2
    skin = look.tone * np.array([0.97, 0.93, 0.92])
    below = np.clip((y - shape.chin) / 16, 0, 1)
    grain = 1 + 0.02 * noise(rng, x.shape, 8) + 0.015 * noise(rng, x.shape, 1.2)
    colour = skin * ((0.55 + 0.3 * below) * grain)[..., None]
    tendons = np.exp(-(((side - 0.45 * width) / 2) ** 2)) * below
    colour *= (1 - 0.06 * tendons)[..., None]
    cloth = _CLOTHES[rng.integers(len(_CLOTHES))] * rng.uniform(0.7, 1.2)
    collar = shape.chin + rng.uniform(7, 16) - 0.0045 * side**2
    weave = 1 + 0.05 * noise(rng, x.shape, 3)
    clothes = soft(y - collar, 0.3)[..., None]
    colour += (cloth * weave[..., None] - colour) * clothes
    shoulders = shape.chin + rng.uniform(3, 7) + 0.25 * np.maximum(side - width, 0)
    opacity = np.maximum(soft(neck - side, 0.35), soft(y - shoulders, 0.4))
    opacity *= ~behind_face(shape, x, y)
    normal = np.stack([np.clip(x / (1.6 * width), -0.8, 0.8), 0 * x, 0 * x], -1)
    normal[..., 2] = np.sqrt(1 - normal[..., 0] ** 2)
    position = np.stack([x, y, 0 * x - 0.5 * shape.depth], -1)
    return make_cloud(position, normal, colour, opacity)


def make_backdrop(rng: np.random.Generator) -> np.ndarray:
    """Draws what is behind the person, out of focus, float32 [S, S, 3]."""
    side = (FRAME + 2 * MARGIN) * BACKDROP_SCALE
    down, across = np.mgrid[:side, :side] / side
    wall = rng.uniform(70, 215) * rng.normal(1, 0.06, 3)
    slope = rng.normal(0, 0.2, 2)
    image = wall * (1 + slope[0] * (across - 0.5) + slope[1] * (down - 0.5))[..., None]
    for _ in range(rng.integers(0, 5)):
        left, top = rng.uniform(-0.2, 1, 2) * side
        width, height = rng.uniform(0.1, 0.6, 2) * side
        corners = np.array([[left, top], [left + width, top + height]]).astype(int)
        tone = (image[0, 0] * rng.uniform(0.6, 1.3)).tolist()
        cv2.rectangle(image, corners[0].tolist(), corners[1].tolist(), tone, -1)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(2, 9))
    image += 1.5 * noise(rng, (side, side), 3)[..., None]
    return np.clip(image, 5, 245).astype(np.float32)
