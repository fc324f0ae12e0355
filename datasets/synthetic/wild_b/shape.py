"""The surface of a head and the places of its features.

Head coordinates are in pixels of a 112 x 112 frame: x to the right from the middle of
the face, y downwards from the top of the frame, z towards the camera from the front of
the skull at the height of the eyes.
"""

import dataclasses

import numpy as np

FRAME = 112  # height and width of the frame in which positions are given
DENSITY = 2.5  # samples per pixel in each direction

# Exponent of the horizontal sections of the skull; they are flatter than ellipses.
_SECTION = 2.3
# Exponents of the depth of the vertical section above and below the eyes
_DEPTH_TOP, _DEPTH_BOTTOM = 2.3, 4.5
# The skull continues behind its outline, since turns of the head show more of a side.
_SIDE = 2.0
_SLOPES = 1.5
# z of normals beyond which turns of the head show no point
BEHIND = -0.45


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes and places of a head, in head coordinates.

    Attributes:
      x0: x of the middle of the face in the frame.
      width: half the width of the face.
      depth: distance from the front of the skull to the plane of its outline.
      top: distance from the middle of the skull to the crown.
      jaw: exponent of the outline of the lower face, about 2; larger is squarer.
      eye: half the distance between the pupils, and the height of the eyes, (x, y).
      lids: half the width of an eye; how far its lids are from its middle, upper and
        lower; how far the outer corner is above the inner one.
      brow: height of the brows at the inner end, middle and outer end.
      nose: half the width at the nostrils, y of the base, height of the tip.
      mouth: half the width, y of the line between the lips, its curvature.
      lips: height of the upper and the lower lip.
      chin: y of the chin.
      relief: strength of brow ridge, eye sockets, cheeks, muzzle and chin.
    """

    x0: float
    width: float
    depth: float
    top: float
    jaw: float
    eye: tuple[float, float]
    lids: tuple[float, float, float, float]
    brow: tuple[float, float, float]
    nose: tuple[float, float, float]
    mouth: tuple[float, float, float]
    lips: tuple[float, float]
    chin: float
    relief: tuple[float, float, float, float, float]

    @property
    def middle(self) -> float:
        """The y at which the skull is widest."""
        return self.eye[1] + 4

    def lip_line(self, x: np.ndarray) -> np.ndarray:
        """Returns the y of the line between the lips."""
        half, y, curve = self.mouth
        t = np.clip(np.abs(x) / half, 0, 1.3)
        return y + curve * t**2 - 0.5 * np.exp(-((t / 0.18) ** 2))

    def landmarks(self) -> dict[str, tuple[float, float]]:
        """Returns places (x, y) by name; those of pairs are on the right, x > 0."""
        eye_x, eye_y = self.eye
        half, upper, lower, tilt = self.lids
        nose_w, nose_y, _ = self.nose
        mouth_w, mouth_y, curve = self.mouth
        return {
            "brow_inner": (0.42 * eye_x, self.brow[0]),
            "brow_middle": (eye_x, self.brow[1]),
            "brow_outer": (eye_x + 0.95 * half, self.brow[2]),
            "glabella": (0.0, self.brow[0] + 2),
            "forehead": (0.6 * eye_x, self.brow[1] - 8),
            "lid_upper": (eye_x, eye_y - upper),
            "lid_lower": (eye_x, eye_y + lower + 0.5),
            "eye_outer": (eye_x + half + 2.5, eye_y - tilt),
            "cheek": (1.15 * eye_x, 0.5 * (eye_y + nose_y) + 2),
            "nose_side": (0.8 * nose_w, 0.35 * eye_y + 0.65 * nose_y),
            "nostril": (nose_w, nose_y - 1.5),
            "fold": (0.5 * (nose_w + mouth_w) + 2.5, 0.5 * (nose_y + mouth_y)),
            "corner": (mouth_w, mouth_y + curve),
            "mouth_side": (mouth_w + 6.5, mouth_y + curve),
            "lip_upper": (0.35 * mouth_w, mouth_y - self.lips[0]),
            "lips": (0.0, mouth_y),
            "lip_lower": (0.3 * mouth_w, mouth_y + self.lips[1]),
            "chin_side": (0.9 * mouth_w, 0.5 * (mouth_y + self.chin)),
            "chin": (0.0, self.chin - 6),
        }

    def eyelids(self, s: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the y of the edges of the upper and lower lid of the open eye.

        Args:
          s: position along the eye, -1 at its left, 1 at its right.
          side: -1 for the eye on the left of the image, 1 for the one on the right.
        """
        _, upper, lower, tilt = self.lids
        inside = np.clip(1 - np.abs(s) ** 2.2, 0, 1)
        line = self.eye[1] - tilt * 0.5 * np.clip(s, -1.2, 1.2) * side
        return line - upper * inside**0.75, line + lower * inside**0.9

    def outline(self, y: np.ndarray) -> np.ndarray:
        """Returns half the width of the skull at a height."""
        s = (y - self.middle) / self._reach(y)
        power = np.where(s < 0, 2.6, self.jaw)
        s = np.clip(np.abs(s), 0, 1)
        return self.width * (1 - s**power) ** (1 / power)

    def _reach(self, y: np.ndarray) -> np.ndarray:
        return np.where(y < self.middle, self.top, self.chin - self.middle)

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the coordinates u of the columns and v of the rows of the samples."""
        height = max(self.top, self.chin - self.middle)
        start = -np.arcsin(min(1.0, (self.middle + 6) / self.top))
        # Backwards from the lowest point of the chin
        v = np.arange(np.pi / 2 - 0.002, start, -1 / (DENSITY * height))[::-1]
        u = np.arange(-_SIDE, _SIDE, 1 / (DENSITY * self.width))
        return u, v

    def to_texture(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Returns the column and row of points of the front, float [..., 2]."""
        u, v = self.grid()
        s = np.clip((y - self.middle) / self._reach(y), -1, 1)
        across = np.clip(x / np.maximum(self.outline(y), 1e-3), -1, 1)
        columns = (np.arcsin(across) - u[0]) / (u[1] - u[0])
        rows = (np.arcsin(s) - v[0]) / (v[1] - v[0])
        return np.stack([columns, rows], -1)

    def drawn(self, position: np.ndarray, normal: np.ndarray) -> np.ndarray:
        """Returns how many samples each sample of a surface stands for, float [H, W].

        Those behind the head and above the frame are not drawn, 0, nor is every second
        column where the columns are closer than half of their usual distance.
        """
        seen = (normal[..., 2] > BEHIND) & (position[..., 1] > -7)
        near = np.gradient(position[..., 0], axis=1) < 0.5 / DENSITY
        pairs = near.copy()
        pairs[:, ::2] = False
        return seen * (1.0 + near) * ~pairs

    def surface(self, *, features: bool = True) -> np.ndarray:
        """Returns the positions of the samples of the skull, float [H, W, 3]."""
        u, v = (a for a in np.meshgrid(*self.grid()))
        s = np.sin(v)
        y = self.middle + s * np.where(s < 0, self.top, self.chin - self.middle)
        power = np.where(s < 0, _DEPTH_TOP, _DEPTH_BOTTOM)
        forward = (1 - np.abs(s) ** power) ** (1 / power)
        x = self.outline(y) * np.sin(u)
        section = (1 - np.abs(np.sin(u)) ** _SECTION).clip(0) ** (1 / _SECTION)
        z = self.depth * (forward * section * np.sign(np.cos(u)) - 1)
        if features:
            z = z + self._relief(x, y) * np.where(np.cos(u) > 0, section, 0) ** 0.5
        return np.stack([x, y, z], -1)

    def _relief(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Returns the height of the features over the skull."""
        ridge, socket, cheek, muzzle, chin = self.relief
        eye_x, eye_y = self.eye
        nose_w, nose_y, tip = self.nose
        mouth_w, mouth_y, _ = self.mouth
        side = np.abs(x)

        def bump(cx: float, cy: float, sx: float, sy: float) -> np.ndarray:
            return np.exp(-(((side - cx) / sx) ** 2 + ((y - cy) / sy) ** 2) / 2)

        z = 1.5 * ridge * bump(0.8 * eye_x, self.brow[1] + 1.5, 9, 3)
        z -= 3.2 * socket * bump(eye_x, eye_y - 0.5, 6.5, 4.2)
        z -= 1.2 * bump(0, eye_y - 1, 4, 3)
        z += 2.2 * cheek * bump(1.2 * eye_x, eye_y + 14, 8, 7)
        z += 2.6 * muzzle * bump(0, mouth_y - 2, 11, 10)
        z += 2.4 * chin * bump(0, self.chin - 6, 7.5, 5)
        z -= 1.3 * bump(0, mouth_y + self.lips[1] + 3, 8, 2.2)
        z += 1.3 * bump(0, mouth_y - 0.5 * self.lips[0], 0.6 * mouth_w, 1.5)
        z += 1.6 * bump(0, mouth_y + 0.5 * self.lips[1], 0.55 * mouth_w, 1.7)
        z -= 0.6 * bump(0, mouth_y, 0.8 * mouth_w, 0.7)
        # The ridge of the nose rises to its tip and ends below it.
        t = np.clip((y - eye_y + 3) / (nose_y - 2.5 - eye_y + 3), 0, 1)
        rise = 2.2 + (tip - 2.2) * t**1.3
        begins = 1 / (1 + np.exp(-(y - eye_y + 2) / 1.5))
        ends = 1 / (1 + np.exp((y - nose_y + 0.3 + 0.12 * side**1.5) / 0.75))
        broad = 2.5 + 0.3 * nose_w * t**2
        z += rise * begins * ends * np.exp(-((side / broad) ** 2) / 2)
        # Its tip is round, and the wings are on both sides of it.
        z += 0.16 * tip * bump(0, nose_y - 3.2, 0.35 * nose_w, 2.2)
        z += 0.36 * tip * bump(0.7 * nose_w, nose_y - 2.2, 0.24 * nose_w, 1.7)
        return z


def normals(positions: np.ndarray) -> np.ndarray:
    """Returns the unit normals of a grid of positions, float [H, W, 3]."""
    down, across = np.gradient(positions, axis=(0, 1))
    normal = np.cross(across, down)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9
    return normal


def tangent_depth(normal: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Returns dz of displacements (dx, dy) [N, 2] that stay on the surface, [N]."""
    steep = np.maximum(normal[:, 2], 0.3)
    slope = np.clip(-normal[:, :2] / steep[:, None], -_SLOPES, _SLOPES)
    return (slope * shift).sum(1)


def draw_shape(rng: np.random.Generator) -> Shape:
    """Draws the sizes and places of a head."""
    between = rng.uniform
    width, eye_y, chin = between(30.5, 36.5), between(41.5, 47.5), between(98, 103)
    face = chin - eye_y
    eye_x = width * between(0.42, 0.47)
    inner = eye_y - between(6.5, 9)
    nose_y = eye_y + face * between(0.38, 0.43)
    return Shape(
        x0=56 + rng.normal(0, 0.8),
        width=width,
        depth=width * between(0.9, 1.1),
        top=between(52, 60),
        jaw=between(1.7, 2.2),
        eye=(eye_x, eye_y),
        lids=(
            width * between(0.18, 0.215),
            between(2.4, 3.7),
            between(1.6, 2.4),
            rng.normal(0.5, 0.6),
        ),
        brow=(inner, inner - between(0.3, 2.2), inner + between(-0.8, 1.5)),
        nose=(between(5.2, 7.8), nose_y, between(7.5, 10.5)),
        mouth=(
            width * between(0.32, 0.4),
            eye_y + face * between(0.63, 0.68),
            rng.normal(-0.3, 0.5),
        ),
        lips=(between(2.1, 4.0), between(3.0, 5.0)),
        chin=chin,
        relief=tuple(between(0.5, 1.4, 5).tolist()),
    )
