"""Draws the hair of a head: a shell over the skull, and hair behind the head."""

import cv2
import numpy as np

from datasets.synthetic.wild_b.parts import behind_face, flat_grid
from datasets.synthetic.wild_b.shape import DENSITY, FRAME, Shape, normals
from datasets.synthetic.wild_b.skin import noise, soft, strokes
from datasets.synthetic.wild_b.splatting import Cloud, make_cloud

STYLES = ("none", "short", "swept", "fringe", "long", "long_fringe", "curly")

_THIN = 0.012  # thickness of the hair at its end, by the size of the skull
_RISE = 28.0  # samples over which it becomes thick

_TONES = np.array(
    [
        [22, 18, 17],
        [38, 26, 20],
        [66, 44, 30],
        [104, 74, 46],
        [168, 132, 84],
        [118, 54, 28],
        [150, 148, 145],
    ],
    float,
)


def draw_tone(rng: np.random.Generator, shade: float) -> np.ndarray:
    """Draws the reflectance of hair; dark skin has dark hair mostly, float [3]."""
    light = np.array([0.2, 0.22, 0.2, 0.14, 0.12, 0.05, 0.07])
    dark = np.array([0.6, 0.25, 0.05, 0.02, 0.01, 0.01, 0.06])
    weights = light + (dark - light) * min(1.0, 1.6 * shade)
    tone = _TONES[rng.choice(len(_TONES), p=weights / weights.sum())]
    return tone * rng.uniform(0.85, 1.2)


def _hairline(
    rng: np.random.Generator, shape: Shape, style: str, across: np.ndarray
) -> np.ndarray:
    """Returns the y at which the hair ends; ``across`` is x by half the width."""
    brow = shape.brow[1]
    side = np.abs(across)
    high = brow - rng.uniform(14, 21)
    if style == "swept":
        part = rng.choice([-1, 1]) * rng.uniform(0.1, 0.4)
        line = high + 1 + rng.uniform(5, 11) * np.abs(across - part) ** 1.2
    elif style == "short":  # it recedes at the sides of the forehead
        recede = rng.uniform(0, 7) * np.exp(-(((side - 0.5) / 0.2) ** 2))
        line = high + 4 * side**2 - recede
    elif style.endswith("fringe"):
        line = brow + rng.uniform(-5, 2) + rng.uniform(-2, 2) * across
    else:
        line = high + 3 * side**2
    # At the temples the hair reaches down to the ears, long hair further.
    short = style in ("short", "curly")
    temple = rng.uniform(0.86, 0.93) if short else rng.uniform(0.82, 0.9)
    lowest = shape.chin - 6 if style.startswith("long") else shape.eye[1] + 8
    return line + (lowest - line) * soft(side - temple, 0.03)


def make_shell(
    rng: np.random.Generator, shape: Shape, style: str, tone: np.ndarray
) -> tuple[Cloud | None, np.ndarray]:
    """Draws the hair over the skull; it does not move with the skin below it.

    Returns:
      The samples, or none; where they hide those of the skin, bool [H, W].
    """
    skull = shape.surface(features=False)
    rows, columns = skull.shape[:2]
    if style == "none":
        return None, np.zeros((rows, columns), bool)
    across = np.sin(shape.grid()[0])
    line = _hairline(rng, shape, style, across)  # by column
    ragged = np.repeat(rng.normal(0, 1, columns // 6 + 2), 6)[:columns]
    line = line + cv2.GaussianBlur(ragged[None], (0, 0), 3)[0] * rng.uniform(0.5, 2)
    # The hair is thin where it ends, so that no gap is seen between it and the skin.
    inside = (skull[..., 1] < line).astype(np.uint8)
    rise = np.minimum(cv2.distanceTransform(inside, cv2.DIST_L2, 5) / _RISE, 1)
    rise = cv2.GaussianBlur(rise, (0, 0), 5)[..., None]
    thick = rng.uniform(0.02, 0.05) if style == "short" else rng.uniform(0.04, 0.1)
    centre = np.array([0, shape.middle, -shape.depth])
    shell = centre + (1 + _THIN + thick * rise) * (skull - centre)
    y = shell[..., 1]

    # Strands run from the crown to the line.
    count = 1500
    ends = rng.uniform(0, columns - 1, count)
    part = rng.uniform(0.35, 0.65) * columns
    drop = line[ends.astype(int)] + rng.normal(0, 1.0, count)
    last = np.array([np.searchsorted(y[:, columns // 2], d) for d in drop], float)
    first = last * rng.uniform(0, 0.75, count)
    k = np.linspace(0, 1, 7)[:, None]
    bend = rng.normal(0, 3, count)
    start = part + rng.uniform(0.3, 0.6) * (ends - part)
    full = first / np.maximum(last, 1)  # strands that begin lower are displaced less
    begin = start + (ends - start) * full**1.5
    lines = np.stack(
        [
            begin + (ends - begin) * k**1.5 + bend * np.sin(np.pi * k),
            first + (last - first) * k,
        ],
        -1,
    ).swapaxes(0, 1)
    bright = rng.random(count) < 0.5
    levels = rng.uniform(60, 200, count)
    light, dark = (
        cv2.GaussianBlur(
            strokes((rows, columns), list(lines[chosen]), levels[chosen], 1),
            (0, 0),
            0.7,
        )
        for chosen in (bright, ~bright)
    )
    if style == "curly":
        curls = noise(rng, y.shape, 3.5)
        light, dark = np.clip(0.2 * curls, 0, 0.5), np.clip(-0.35 * curls, 0, 1)
    sheen = 1 + 0.35 * np.exp(-(((y - 0.45 * line) / 9) ** 2)) * rng.uniform(0.2, 1)
    depth = soft(y - line + 3, 2.5)  # darker at the ends
    colour = tone * (sheen * (1 + 0.9 * light - 0.45 * dark))[..., None]
    colour *= (1 - 0.2 * depth + 0.06 * noise(rng, y.shape, 10))[..., None]
    colour += 6 * light[..., None]
    cover = soft(line - 1.2 - y, 0.45)
    opacity = np.clip(cover + 1.3 * np.maximum(light, dark), 0, 1)
    opacity *= soft(line + 2.5 - y, 0.5)
    # Skin far from the end of the hair is never seen.
    hidden = cv2.erode(opacity, np.ones((15, 15))) > 0.98
    normal = normals(shell)
    share = shape.drawn(shell, normal)
    return make_cloud(shell, normal, colour, opacity * (share > 0), share), hidden


def make_back(
    rng: np.random.Generator, shape: Shape, style: str, tone: np.ndarray
) -> Cloud | None:
    """Draws the hair behind the head."""
    if style == "none":
        return None
    long = style.startswith("long")
    extra = rng.uniform(3, 8) if long else rng.uniform(1.5, 3)
    bottom = rng.uniform(shape.chin - 4, FRAME + 10) if long else shape.eye[1] + 6
    x, y = flat_grid(-56, 56, -6, min(bottom + 4, FRAME + 9), DENSITY)
    top = shape.middle - (shape.top + 1.5) * np.sqrt(
        np.clip(1 - (x / (shape.width + extra)) ** 2, 0, 1)
    )
    wave = 1.2 * np.sin(y / rng.uniform(4, 9) + rng.uniform(0, 6)) if long else 0
    inside = soft(shape.width + extra + wave - np.abs(x), 0.5) * soft(y - top, 0.5)
    ends = soft(bottom + 1.5 * noise(rng, x.shape, 6) - y, 0.6)
    # Strands that hang down: noise that is smooth along y
    strands = cv2.GaussianBlur(
        rng.standard_normal(x.shape), (0, 0), sigmaX=0.9, sigmaY=14
    )
    strands /= strands.std()
    inner = np.clip(np.abs(x) / shape.width, 0, 1)
    colour = tone * ((0.5 + 0.4 * inner) * (1 + 0.22 * strands))[..., None]
    normal = np.stack([0.6 * np.clip(x / shape.width, -1, 1), 0 * x, 0 * x], -1)
    normal[..., 2] = np.sqrt(1 - normal[..., 0] ** 2)
    position = np.stack([x, y, 0 * x - 1.1 * shape.depth], -1)
    return make_cloud(
        position,
        normal,
        np.clip(colour, 3, 250),
        inside * ends * ~behind_face(shape, x, y),
    )
