"""Faces and motion that vary beyond nature, for pre-training.

A network that is trained on the faces of ``datasets.synthetic.face`` can learn what is
peculiar to that drawing: its palette, its proportions, its sharpness, the shape of its
motion. Here all of these are random. What remains the same are the action units of each
emotion and where on the face they are.
"""

import dataclasses
import io
from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage

from datasets.synthetic import face, motion, rendering, time_course

# Half the range of a direction, in radians, and of a landmark, in half widths.
_DIRECTION_JITTER = np.radians(20)
_POSITION_JITTER = 0.12

# Maximum rotation in radians and change of scale for each pixel of drift.
_ROTATION, _ZOOM = 0.01, 0.005


@dataclasses.dataclass(frozen=True)
class VariedFace(face.Face):
    """The face of a subject.

    Attributes:
      units: rotation and shear of the face, float [2, 2]: maps directions of an upright
        face to those of the image.
    """

    units: np.ndarray


def draw_face(rng: np.random.Generator) -> VariedFace:
    """Draws a random face; all of its properties are sampled from ``rng``."""
    between, chance = rng.uniform, rng.random

    # The upright face, in pixels from its centre, with proportions beyond nature.
    a, b = between(26, 38), between(33, 50)
    eye_x, eye_y = a * between(0.3, 0.55), -b * between(0.08, 0.32)
    brow_y = eye_y - b * between(0.13, 0.28)
    nose_x, nose_y = a * between(0.1, 0.3), b * between(0.08, 0.28)
    mouth_x, mouth_y = a * between(0.25, 0.58), b * between(0.42, 0.6)
    chin_y = b * between(0.78, 0.92)
    landmarks = {
        "brow_middle": (0.0, brow_y + 0.1 * b),
        "nose_bridge": (0.0, (eye_y + nose_y) / 2),
        "lip_upper": (0.0, mouth_y - 0.08 * b),
        "lip_lower": (0.0, mouth_y + 0.09 * b),
        "chin": (0.0, chin_y),
    }
    for name, (px, py) in {
        "brow_inner": (0.5 * eye_x, brow_y),
        "brow_outer": (1.5 * eye_x, brow_y + 0.03 * b),
        "eye": (eye_x, eye_y),
        "lid_lower": (eye_x, eye_y + 0.1 * b),
        "cheek": (1.15 * eye_x, (eye_y + mouth_y) / 2),
        "nostril": (nose_x, nose_y),
        "mouth_corner": (mouth_x, mouth_y),
    }.items():
        landmarks[f"{name}_left"], landmarks[f"{name}_right"] = (-px, py), (px, py)

    # Its place in the image: size, rotation, shear, and shift.
    # Also a crop that begins at the hairline, in which the eyes are in the upper third.
    zoom = np.exp(between(np.log(22 / a), np.log(min(50 / a, 62 / b))))
    turn, shear = np.radians(between(-12, 12)), between(-0.08, 0.08)
    cos, sin = np.cos(turn), np.sin(turn)
    units = zoom * np.array([[cos, -sin], [sin, cos]]) @ [[1, shear], [0, 1]]
    highest = max(8 - zoom * brow_y, 38)  # brows and chin are in the frame
    lowest = max(min(110 - zoom * chin_y, 70), highest)
    centre = np.array([56 + between(-8, 8), between(highest, lowest)])
    steps = np.arange(
        (face.FRAME + 2 * face.MARGIN) * face.SUPERSAMPLING, dtype=np.float32
    )
    steps = (steps + 0.5) / face.SUPERSAMPLING - face.MARGIN
    picture = _draw(
        rng,
        # Positions of the image in the upright face, [S, S] each.
        *np.einsum(
            "ij,jyx->iyx",
            np.linalg.inv(units).astype(np.float32),
            np.stack(np.meshgrid(steps - centre[0], steps - centre[1])),
        ),
        shape={
            "a": a,
            "b": b,
            "eye": (eye_x, eye_y),
            "brow_y": brow_y,
            "nose": (nose_x, nose_y),
            "mouth": (mouth_x, mouth_y),
        },
        zoom=zoom,
    )
    picture = _recolour(picture, rng)
    # From sharper than the frame can show to out of focus.
    blur = face.SUPERSAMPLING * (0.3 if chance() < 0.3 else between(0.3, 1.5))
    picture = ndimage.gaussian_filter(picture, (blur, blur, 0))
    return VariedFace(
        np.clip(picture, 0, 255).astype(np.float32),
        {n: tuple((units @ point + centre).tolist()) for n, point in landmarks.items()},
        radius=float(a * zoom),
        centre=(float(centre[0]), float(centre[1])),
        units=units / zoom,
    )


def _draw(rng, x, y, *, shape, zoom) -> np.ndarray:
    """Draws the face in the coordinates x and y, float32 [S, S, 3], about 0 to 255."""
    between, chance = rng.uniform, rng.random
    a, b = shape["a"], shape["b"]
    (eye_x, eye_y), brow_y = shape["eye"], shape["brow_y"]
    (nose_x, nose_y), (mouth_x, mouth_y) = shape["nose"], shape["mouth"]
    side = np.abs(x)
    soft = np.exp(between(np.log(0.3), np.log(2.0)))  # width of all edges

    def texture(size: float) -> np.ndarray:
        noise = rng.standard_normal(x.shape, dtype=np.float32)
        noise = ndimage.gaussian_filter(
            noise, size * zoom * face.SUPERSAMPLING, mode="wrap"
        )
        return (noise / noise.std())[..., None]

    def step(distance, edge=1.0):
        """Returns 0 outside, 1 inside; ``distance`` is positive inside."""
        t = np.clip(distance / (edge * soft) + 0.5, 0, 1)
        return (t * t * (3 - 2 * t))[..., None]

    def blob(cx, cy, rx, ry, edge=1.0, power=2.0, across=side):
        r = np.abs((across - cx) / rx) ** power + np.abs((y - cy) / ry) ** power
        return step((1 - r ** (1 / power)) * min(rx, ry), edge)

    def ring(cx, cy, rx, ry, width, power=2.0):
        r = np.abs((side - cx) / rx) ** power + np.abs((y - cy) / ry) ** power
        return step(width - np.abs(1 - r ** (1 / power)) * min(rx, ry))

    def paint(picture, colour, cover):
        return picture + (np.asarray(colour, np.float32) - picture) * cover

    # Natural colours, or a random one for each part.
    tone = between()
    skin = np.array([238, 202, 178]) * (1 - tone) + np.array([100, 64, 44]) * tone
    hair = np.array([46, 32, 24]) * between(0.3, 3) + between(0, 30) * np.array(
        [1, 0.7, 0.2]
    )
    lips, iris = skin * [0.86, 0.62, 0.62], np.array([70, 60, 50]) + between(-30, 60, 3)
    white = np.array([232.0, 228, 222])
    if chance() < 0.35:
        skin, hair, lips, iris = between(20, 240, (4, 3))
        white = between(20, 250, 3)
    line = hair * between(0.2, 0.9) if chance() < 0.5 else between(0, 90, 3)
    outlined = chance() < 0.3  # like a cartoon
    power = between(1.7, 3.2)  # of the outline of the face

    # Background: plain, gradient, clouds, stripes or squares.
    picture = np.broadcast_to(between(10, 245, 3), (*x.shape, 3)).astype(np.float32)
    pattern, width = rng.integers(5), between(4, 30)
    across = np.cos(angle := between(0, np.pi)) * x + np.sin(angle) * y
    if pattern == 1:
        picture = picture + between(-0.6, 0.6) * across[..., None]
    elif pattern == 2:
        picture = picture + between(3, 25) * texture(between(1, 8))
    elif pattern >= 3:
        stripes = np.sin(2 * np.pi * across / width)
        if pattern == 4:
            stripes = stripes * np.sin(2 * np.pi * (x - y) / width)
        picture = paint(picture, between(10, 245, 3), step(stripes * width / 6))
    if chance() < 0.8:  # neck and shoulders
        cloth = between(10, 240, 3) + texture(1.5) * between(0, 15)
        picture = paint(picture, cloth, blob(0, 1.75 * b, 1.6 * a, 0.7 * b))
        picture = paint(picture, skin * 0.84, blob(0, b, 0.52 * a, 0.5 * b))
    hair = hair + texture(0.7) * between(0, 15)
    has_hair = chance() < 0.75
    head = blob(0, -0.2 * b, between(1.04, 1.3) * a, between(0.9, 1.05) * b)
    if has_hair:
        picture = paint(picture, hair, head)
    if chance() < 0.7:
        ear = blob(a, between(-0.1, 0.1) * b, 0.12 * a, 0.18 * b)
        picture = paint(picture, skin * 0.92, ear)
    grain = np.exp(between(np.log(0.5), np.log(12)))
    surface = skin + texture(between(0.4, 1)) * grain
    surface = surface + texture(between(2, 4)) * between(0, 8)
    outline = blob(0, 0, a, b, power=power)
    picture = paint(picture, surface, outline)
    if has_hair and chance() < 0.7:
        fringe = blob(0, -1.02 * b, between(0.7, 1.0) * a, between(0.2, 0.55) * b)
        picture = paint(picture, hair, fringe * head)
    if outlined:
        picture = paint(picture, line, ring(0, 0, a, b, between(0.4, 1.2), power))

    # Shading, from none to strong.
    depth = between(0, 2)
    for amount, place in (
        (-0.22, blob(eye_x, eye_y, 0.3 * a, 0.12 * b, 5)),
        (-0.18, blob(nose_x, nose_y, 0.13 * a, 0.3 * b, 5)),
        (0.10, blob(0, nose_y - 0.1 * b, 0.08 * a, 0.25 * b, 4)),
        (0.08, blob(1.1 * eye_x, nose_y, 0.24 * a, 0.2 * b, 6)),
        (-0.2, blob(0, mouth_y + 0.2 * b, 0.3 * a, 0.05 * b, 4)),
    ):
        picture = picture * (1 + np.clip(depth * amount, -0.6, 0.4) * place)
    if chance() < 0.6:  # folds from nose to mouth
        fold = np.abs(side - (nose_x + 0.07 * a + (y - nose_y) * between(0.2, 0.6)))
        fold = step(1.2 - fold) * step(y - nose_y) * step(mouth_y + 2 - y)
        picture = picture * (1 - between(0.05, 0.3) * fold)
    for _ in range(rng.integers(0, 4)):  # wrinkles of the forehead
        height = brow_y - b * between(0.08, 0.35)
        wrinkle = step(0.6 - np.abs(y - height)) * step(between(0.3, 0.8) * a - side)
        picture = picture * (1 - between(0.03, 0.2) * wrinkle)

    # Nose: nostrils, an outline, or both.
    style = rng.integers(3)
    if style != 1:
        nostril = blob(0.6 * nose_x, nose_y + 1.5, 0.45 * nose_x + 0.3, between(0.7, 2))
        picture = picture * (1 - between(0.2, 0.8) * nostril)
    if style != 0:
        bridge = np.abs(side - nose_x * (0.4 + 0.6 * (y - eye_y) / (nose_y - eye_y)))
        bridge = step(0.6 - bridge) * step(nose_y - y) * step(y - eye_y)
        picture = picture * (1 - between(0.1, 0.5) * bridge)

    if chance() < 0.85:  # brows
        thick = between(0.6, 3.2)
        arch = brow_y + between(-0.06, 0.1) * b * (side / eye_x - 1) ** 2
        brow = step(thick - np.abs(y - arch), 0.8)
        brow = brow * step(side - between(0.3, 0.5) * eye_x)
        brow = brow * step(between(1.4, 1.8) * eye_x - side)
        picture = paint(picture, hair * 0.9, between(0.4, 1) * brow)

    # Eyes: from narrow to round.
    rx, open_ = between(0.12, 0.24) * a, between(1.4, 4.5)
    eye = blob(eye_x, eye_y, rx, open_, power=between(1.3, 2.4))
    ball = between(1.2, 3.2)
    picture = paint(picture, white, eye)
    picture = paint(picture, iris, eye * blob(eye_x, eye_y, ball, ball))
    if chance() < 0.8:
        pupil = ball * between(0.3, 0.6)
        picture = paint(picture, (18, 14, 12), eye * blob(eye_x, eye_y, pupil, pupil))
    lid = np.abs(y - (eye_y - open_ * (1 - ((side - eye_x) / (1.15 * rx)) ** 2)))
    lid = step(between(0.4, 1.1) - lid) * step(1.15 * rx - np.abs(side - eye_x))
    picture = paint(picture, line, between(0.2, 1) * lid)

    # Mouth: lips, a line, teeth.
    full = between(1.2, 4.5)
    bend = between(-1.5, 1.5) * (side / mouth_x) ** 2
    if chance() < 0.8:
        lip = (side / mouth_x) ** 2 + ((y - mouth_y - bend) / full) ** 2
        picture = paint(picture, lips, step((1 - np.sqrt(lip)) * full))
        if chance() < 0.25:
            teeth = (side / (0.8 * mouth_x)) ** 2
            teeth = teeth + ((y - mouth_y - bend) / (0.5 * full)) ** 2
            picture = paint(picture, white, step((1 - np.sqrt(teeth)) * full))
    mouth = step(between(0.3, 0.9) - np.abs(y - mouth_y - bend)) * step(mouth_x - side)
    picture = paint(picture, line, between(0.4, 1) * mouth)

    if chance() < 0.25:  # a beard
        beard = blob(0, 0.62 * b, 0.72 * a, 0.36 * b, 6)
        picture = picture * (1 - beard * (between(0.1, 0.5) + 0.08 * texture(0.5)))
    for _ in range(rng.integers(0, 16)):  # moles and freckles
        place = between(-0.7, 0.7) * a, between(-0.7, 0.7) * b
        mole = blob(*place, *between(0.4, 1.4, 2), across=x)
        picture = paint(picture, skin * between(0.3, 0.9), 0.7 * mole)
    if chance() < 0.2:  # glasses
        glass = between(0.26, 0.36) * a, between(0.12, 0.2) * b, between(0.3, 1.0)
        frame = ring(eye_x, eye_y, *glass, between(2, 5))
        bridge = step(glass[2] - np.abs(y - eye_y)) * step(eye_x - glass[0] - side)
        picture = paint(picture, line, np.maximum(frame, bridge))

    # Light from a random direction, and the curvature of the face.
    angle, strength = between(0, 2 * np.pi), between(0, 0.6)
    slope = (np.cos(angle) * x + np.sin(angle) * y) / face.FRAME
    turned_away = between(0, 0.4) * np.clip((side / a) ** 2, 0, 1)[..., None]
    picture = picture * (1 - turned_away * blob(0, 0, 1.14 * a, 1.2 * b, 4))
    return picture * np.clip(1 + strength * slope, 0.3, 2)[..., None]


def _recolour(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Changes colours and contrast of the image, and makes some grey or a negative."""
    between, chance = rng.uniform, rng.random
    if chance() < 0.3:
        picture = np.repeat(picture.mean(-1, keepdims=True), 3, -1)
    elif chance() < 0.2:
        picture = picture[..., rng.permutation(3)]
    if chance() < 0.2:
        picture = 255 - picture
    picture = picture * between(0.85, 1.15, 3)  # the colour of the light
    middle = picture.mean()
    return middle * between(0.6, 1.3) + (picture - middle) * between(0.35, 1.2)


def displacement(
    subject: VariedFace, emotion: str, amplitude: float, rng: np.random.Generator
) -> np.ndarray:
    """Returns the displacement of each pixel of the face at the apex.

    In contrast to ``motion.displacement``, the regions that move have random widths,
    shapes, positions and directions, and the sides of the face differ up to motion of
    one side only.

    Returns:
      float32 [FRAME, FRAME, 2], (x, y) in pixels, ``amplitude`` at most.
    """
    between = rng.uniform
    y, x = np.mgrid[: face.FRAME, : face.FRAME].astype(np.float32) + 0.5
    field = np.zeros((face.FRAME, face.FRAME, 2), np.float32)
    profile = _PROFILES[rng.integers(len(_PROFILES))]
    wider = np.exp(between(np.log(0.5), np.log(2)))
    sides = between(0.6, 1.2, 2)
    if rng.random() < 0.15:
        sides[rng.integers(2)] = between(0, 0.3)
    for unit in motion.EMOTIONS[emotion]:
        strength = between(0.5, 1.5)
        for landmark, direction, reach in motion.ACTION_UNITS[unit]:
            middle = landmark in subject.landmarks  # on the midline, so not a pair
            for side, outwards, share in (
                [("", 1, 1)]
                if middle
                else [("_left", -1, sides[0]), ("_right", 1, sides[1])]
            ):
                centre = np.array(subject.landmarks[landmark + side])
                centre = centre + subject.radius * between(
                    -_POSITION_JITTER, _POSITION_JITTER, 2
                )
                # An ellipse in a random direction.
                scale = reach * subject.radius * wider * np.exp(between(-0.35, 0.35))
                aspect = np.exp(between(-0.4, 0.4))
                angle = between(0, np.pi)
                dx, dy = x - centre[0], y - centre[1]
                along = np.cos(angle) * dx + np.sin(angle) * dy
                across = np.cos(angle) * dy - np.sin(angle) * dx
                fades = profile(np.hypot(along * aspect, across / aspect) / scale)
                turn = between(-_DIRECTION_JITTER, _DIRECTION_JITTER)
                cos, sin = np.cos(turn), np.sin(turn)
                vector = [[cos, -sin], [sin, cos]] @ np.array(
                    [direction[0] * outwards, direction[1]]
                )
                vector = share * strength * between(0.8, 1.25) * subject.units @ vector
                field += fades[..., None] * vector.astype(np.float32)
    length = np.linalg.norm(field, axis=-1).max()
    return field * np.float32(amplitude / length)


# How motion fades with the distance from its centre, in standard deviations of the
# Gaussian: also flat in the middle, pointed, ending at a border, and with a long tail.
_PROFILES: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda r: np.exp(-(r**2) / 2),
    lambda r: np.exp(-(r**4) / 8),
    lambda r: np.exp(-1.2 * r),
    lambda r: np.cos(np.pi / 2 * np.clip(r / 2.2, 0, 1)) ** 2,
    lambda r: 1 / (1 + r**2) ** 1.5,
)


def draw_time_course(rng: np.random.Generator) -> time_course.TimeCourse:
    """Draws a random time course; some are faster, slower or steeper than natural."""
    onset = 1 + int(rng.integers(1, 21))
    apex = onset + int(np.exp(rng.uniform(np.log(5), np.log(36))))
    offset = apex + int(np.exp(rng.uniform(np.log(6), np.log(50))))
    last = offset + int(rng.integers(0, 21))
    rise, fall = np.exp(rng.uniform(np.log(0.5), np.log(2.2), 2))
    return time_course.TimeCourse(onset, apex, offset, last, float(rise), float(fall))


def render_clip(
    subject: VariedFace,
    emotion: str,
    config: rendering.SyntheticConfig,
    rng: np.random.Generator,
) -> dict:
    """Renders a clip of one expression of a subject.

    The amplitude is log-uniform in the range of ``config``; drift, flicker, noise and
    compression are drawn for each clip.

    Returns:
      The features of ``rendering.make_record``.
    """
    course = draw_time_course(rng)
    amplitude = float(np.exp(rng.uniform(*np.log(config.amplitude))))
    field = displacement(subject, emotion, amplitude, rng)
    drift = rng.uniform(0, config.drift)
    noise, flicker = rng.uniform(0, config.noise), rng.uniform(0, config.flicker)
    quality = int(rng.integers(50, 96)) if rng.random() < 0.3 else None
    numbers = time_course.frame_numbers(course, config)
    period = np.exp(rng.uniform(np.log(40), np.log(250), 4))
    sway = np.sin(
        2 * np.pi * numbers[:, None] / period + rng.uniform(0, 2 * np.pi, 4)
    ) * rng.uniform(0, drift, 4)  # [N, 4]: right, down, angle, scale
    frames = {}
    for number, (right, down, turn, zoom) in zip(numbers.tolist(), sway, strict=True):
        if number in frames:
            continue
        picture, mask = rendering.warp(
            subject,
            field * np.float32(course.intensity(number)),
            (right, down),
            _ROTATION * turn,
            config.size,
            zoom=1 + _ZOOM * zoom,
        )
        picture *= 1 + flicker * rng.standard_normal()
        picture += noise * rng.standard_normal(picture.shape)
        picture = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
        if quality is not None:
            picture = _compressed(picture, quality)
        frames[number] = picture, mask
    return rendering.make_record(emotion, course, amplitude, frames, config)


def _compressed(picture: np.ndarray, quality: int) -> np.ndarray:
    """Returns a picture, uint8 [H, W, 3], as JPEG of a quality shows it."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))
