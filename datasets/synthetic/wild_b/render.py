"""Renders frames of a script by splatting the samples of a head."""

import dataclasses

import cv2
import numpy as np

from datasets.synthetic.wild.expressions import UNITS, Style
from datasets.synthetic.wild.records import Rendered
from datasets.synthetic.wild.script import Script
from datasets.synthetic.wild_b import pose, units
from datasets.synthetic.wild_b.head import Head
from datasets.synthetic.wild_b.parts import MARGIN
from datasets.synthetic.wild_b.pose import products
from datasets.synthetic.wild_b.shape import FRAME
from datasets.synthetic.wild_b.splatting import Cloud, draw_layer

# Standard deviation of the splats in pixels of the picture that is drawn
_SPLAT_BLUR = 0.5
# Visible parts of the surface: at least this share of a pixel, or this z of a normal
_VISIBLE = 0.5
_FACING = 0.2
# Hair may hide nearly all of an expression. Its largest displacement counts as visible
# with this factor, since little that is left must not be enlarged to the amplitude.
_LEAST = 0.4

_BODY = 0.5  # share of the head's shift that the body follows
_GLARE = 0.22  # opacity of the reflection of lenses


def render(
    head: Head, style: Style, script: Script, numbers: np.ndarray, size: int
) -> Rendered:
    """Renders frames; see ``records.Render``.

    The projection is orthographic. Directions are those of ``pose.head_rotation``.

    Args:
      head: the head.
      style: of the person.
      script: what happens in the clip.
      numbers: numbers of the frames in ascending order, int [M], from 1.
      size: height and width of the frames.
    """
    scene = _Scene(head, style, script, numbers, size)
    frames = [scene.frame(int(number)) for number in numbers]
    return Rendered(
        pictures=np.stack([picture for picture, _ in frames]),
        lengths=np.stack([lengths for _, lengths in frames]),
        displacement=scene.displacement(),
    )


class _Scene:
    """The clouds of a head and their motion in a clip."""

    def __init__(
        self,
        head: Head,
        style: Style,
        script: Script,
        numbers: np.ndarray,
        size: int,
    ):
        self.script, self.size = script, size
        course = script.course
        shown = {course.onset, course.apex, *numbers.tolist()}
        views = np.stack([self._rotation(number)[2] for number in sorted(shown)])
        self.head = head = _turned_to(head, views)
        # Frames are drawn at twice their size, large ones at their own size.
        self.factor = 2 if size <= FRAME else 1
        self.scale = self.factor * size / FRAME
        self.margin = int(np.ceil(MARGIN * self.scale / self.factor)) * self.factor
        self.side = size * self.factor + 2 * self.margin
        self.backdrop = cv2.resize(
            head.backdrop, (self.side, self.side), interpolation=cv2.INTER_AREA
        )
        shape = head.shape
        self.pivot = np.array([0, shape.chin - 4, -1.3 * shape.depth], np.float32)

        self.surfaces = {"skin": head.skin, "lids": head.lids}
        lid = {"skin": np.zeros(len(head.skin)), "lids": head.lid}
        active = [k for k in range(len(UNITS)) if script.units[:, k].any()]
        self.active = active if script.amplitude > 0 else []
        moving = [UNITS[k] for k in self.active]
        self.bases, self.speech, self.swallow = {}, {}, {}
        for name, cloud in self.surfaces.items():
            if moving:
                self.bases[name] = units.basis(shape, style, cloud, lid[name], moving)
            if script.speech.any():
                self.speech[name] = units.speech_basis(shape, cloud, lid[name])
            if script.swallow.any():
                self.swallow[name] = units.swallow_basis(shape, cloud, lid[name])
        if moving:
            largest = self._largest(script.course.apex)
            factor = np.float32(script.amplitude / largest) if largest > 0 else 0
            self.bases = {name: factor * basis for name, basis in self.bases.items()}

    def _largest(self, number: int) -> float:
        """Returns the largest displacement of a visible point by the expression."""
        # Points at the edge of what hides others are not seen well.
        cover = cv2.dilate(self._draw_front(number, None)[1], np.ones((3, 3)))
        rotation = self._rotation(number)
        largest = overall = 0.0
        for name, cloud in self.surfaces.items():
            shift = self._expression(name, number)
            places = self._places(self._moved(name, number, shift), number)
            at = np.rint(places).astype(int)
            seen = ((at >= self.margin) & (at < self.side - self.margin)).all(1)
            seen &= cloud.opacity > _VISIBLE
            seen &= products(cloud.normal, rotation[2:])[0] > _FACING
            at = at[seen]
            clear = cover[at[:, 1], at[:, 0]] < 1 - _VISIBLE
            lengths = np.linalg.norm(self._image_shift(shift, number)[seen], axis=1)
            largest = max(largest, float(lengths[clear].max(initial=0)))
            overall = max(overall, float(lengths.max(initial=0)))
        return max(largest, _LEAST * overall)

    def _expression(self, name: str, number: int) -> np.ndarray:
        """Returns the displacement of points by the expression, float32 [N, 3]."""
        if name not in self.bases:
            return np.zeros((len(self.surfaces[name]), 3), np.float32)
        weights = self.script.units[number - 1, self.active].astype(np.float32)
        return _mixture(weights.reshape(-1), self.bases[name])

    def _moved(self, name: str, number: int, expression: np.ndarray) -> np.ndarray:
        """Returns the positions of points of the face, float32 [N, 3].

        Args:
          name: of their cloud.
          number: of the frame.
          expression: their displacement by the expression, float32 [N, 3].
        """
        at = number - 1
        position = self.surfaces[name].position
        if name == "lids":
            position = position + np.float32(self.script.blink[at]) * self.head.closing
        if name in self.bases:
            position = position + expression
        if name in self.speech:
            parts = self.script.speech[at].astype(np.float32)
            position = position + _mixture(parts, self.speech[name])
        if name in self.swallow:
            extent = np.float32(self.script.swallow[at])
            position = position + extent * self.swallow[name]
        return position

    def _rotation(self, number: int) -> np.ndarray:
        """Returns the rotation of the head, float32 [3, 3]."""
        return pose.head_rotation(self.script.head[number - 1])

    def _image_shift(self, shift: np.ndarray, number: int) -> np.ndarray:
        """Returns how displacements look in the image, in pixels at 112, [N, 2]."""
        grown = np.float32(1 + self.script.head[number - 1, 5])
        return products(shift, grown * self._rotation(number)[:2]).T

    def _places(self, position: np.ndarray, number: int) -> np.ndarray:
        """Returns the places of points in the picture that is drawn, [N, 2]."""
        turned = self._image_shift(position - self.pivot, number)
        shift = self.script.head[number - 1, 3:5] + self.pivot[:2]
        return self._to_picture(turned + shift.astype(np.float32))

    def _to_picture(self, places: np.ndarray) -> np.ndarray:
        """Returns places in the picture of places in head coordinates."""
        x0 = np.array([self.head.shape.x0, 0], np.float32)
        return np.float32(self.scale) * (places + x0) + np.float32(self.margin - 0.5)

    def _shade(
        self, cloud: Cloud, rotation: np.ndarray, number: int, gloss: float
    ) -> np.ndarray:
        """Returns the colours of samples in the light, float32 [N, 3]."""
        script = self.script
        light = script.light[number - 1]
        half = light + [0, 0, 1]
        half /= np.linalg.norm(half)
        # In head coordinates, so that the normals need not be rotated
        ways = np.stack([light, half, [0, -0.35, 0.94]]).astype(np.float32) @ rotation
        # [3, N]
        lit, shine, sky = np.maximum(products(cloud.normal, ways), 0)
        ambient = script.ambient
        # Little of the lightest skin is overexposed.
        strength = 1.15 * (1 - ambient) * lit + ambient * (0.5 + 0.45 * sky)
        strength = strength * np.float32(script.brightness[number - 1])
        colour = cloud.colour * strength[:, None]
        if gloss:
            square = shine * shine
            fourth = square * square
            glint = np.float32(gloss * (1 - ambient)) * fourth * fourth * fourth
            colour += glint[:, None]
        return colour

    def _rigid(
        self, picture: np.ndarray, cloud: Cloud | None, number: int, gloss: float = 0
    ) -> np.ndarray:
        """Draws a part that moves with the head and does not deform."""
        if cloud is None:
            return picture
        rotation = self._rotation(number)
        colour = self._shade(cloud, rotation, number, gloss)
        places = self._places(cloud.position, number)
        colour = self._with_lengths(colour, picture)
        facing = products(cloud.normal, rotation[2:])[0]
        return draw_layer(picture, self.scale, cloud, places, colour, facing)

    def _with_lengths(self, colour: np.ndarray, picture: np.ndarray) -> np.ndarray:
        """Appends zeros for the channels of the picture that are no colours."""
        return np.pad(colour, [(0, 0), (0, picture.shape[-1] - 3)])

    def _draw_front(
        self, number: int, picture: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws glasses and hair; returns the picture and their opacity [S, S]."""
        # The last channel starts as 1 and becomes 0 where something is in front.
        if picture is None:
            picture = np.zeros((self.side, self.side, 3), np.float32)
        clear = np.ones((self.side, self.side, 1), np.float32)
        picture = np.concatenate([picture, clear], -1)
        if self.head.glasses is not None:
            frame, glass = self.head.glasses
            picture = self._draw_glare(picture, glass, number)
            picture = self._rigid(picture, frame, number, gloss=90)
        picture = self._rigid(picture, self.head.hair, number, gloss=10)
        return picture[..., :-1], 1 - picture[..., -1]

    def _draw_glare(self, picture: np.ndarray, glass: Cloud, number: int) -> np.ndarray:
        """Draws a bright band on the lenses, which moves when the head turns."""
        yaw, pitch, _ = self.script.head[number - 1, :3]
        light = self.script.light[number - 1]
        centre = 12 * light[0] - 90 * yaw
        x, y, _ = glass.position.T
        side = np.sign(x) * self.head.shape.eye[0]
        along = (x - side) + 0.7 * (y - self.head.shape.eye[1]) + 60 * pitch - centre
        band = np.exp(-((along / 2.5) ** 2)) + 0.5 * np.exp(-(((along - 6) / 1.2) ** 2))
        bands = (0.02 + _GLARE * band).astype(np.float32)
        bright = glass.colour * np.float32(self.script.brightness[number - 1])
        colour = self._with_lengths(bright, picture)
        places = self._places(glass.position, number)
        facing = products(glass.normal, self._rotation(number)[2:])[0]
        return draw_layer(picture, self.scale, glass, places, colour, facing * bands)

    def _draw_eyes(self, picture: np.ndarray, number: int) -> np.ndarray:
        """Draws the eyeballs, which rotate by the gaze."""
        gaze = pose.eye_rotation(self.script.gaze[number - 1])
        rotation = self._rotation(number)
        light = self.script.light[number - 1]
        half = light + [0, 0, 1]
        half = (half / np.linalg.norm(half)).astype(np.float32)
        for cloud, centre in zip(self.head.eyes, self.head.balls, strict=True):
            looking = rotation @ gaze
            colour = self._shade(cloud, looking, number, 0)
            # The upper lid casts a shadow on the eye.
            offset = products(cloud.position, gaze).T
            upper = self.head.shape.eye[1] - self.head.shape.lids[1]
            below = np.clip((offset[:, 1] + centre[1] - upper) / 2.2, 0, 1)
            colour *= (0.5 + 0.5 * below)[:, None]
            shine = products(cloud.normal, (half @ looking)[None])[0]
            glint = np.exp(-np.maximum(1 - shine, 0) / 0.004)
            colour += (245 - colour) * (0.85 * glint)[:, None]
            places = self._places(offset + centre.astype(np.float32), number)
            colour = self._with_lengths(colour, picture)
            facing = products(cloud.normal, looking[2:])[0]
            picture = draw_layer(picture, self.scale, cloud, places, colour, facing)
        return picture

    def _draw_body(self, picture: np.ndarray, number: int) -> np.ndarray:
        """Draws neck and shoulders, which follow the head a little."""
        body, shape = self.head.body, self.head.shape
        colour = self._shade(body, np.eye(3, dtype=np.float32), number, 0)
        places = body.position[:, :2].copy()
        throat = (places[:, 0] / 6) ** 2 + ((places[:, 1] - shape.chin - 6) / 5) ** 2
        raised = np.float32(self.script.swallow[number - 1]) * np.exp(-throat / 2)
        places[:, 1] -= raised
        shift = _BODY * self.script.head[number - 1, 3:5]
        places = self._to_picture(places + shift.astype(np.float32))
        colour = self._with_lengths(colour, picture)
        return draw_layer(picture, self.scale, body, places, colour, body.normal[:, 2])

    def _draw(
        self,
        number: int,
        expressions: dict[str, np.ndarray],
        shifts: dict[str, np.ndarray],
    ) -> np.ndarray:
        """Draws a frame and what its pixels show of the face.

        Args:
          number: of the frame.
          expressions: displacements of skin and lids by the expression.
          shifts: values of the samples of skin and lids, float32 [N, C].

        Returns:
          The picture and the values, float32 [S, S, 3 + C]; 0 outside the face.
        """
        head, script = self.head, self.script
        count = next(iter(shifts.values())).shape[1]
        wall = self.backdrop * np.float32(script.brightness[number - 1])
        picture = np.pad(wall, [(0, 0), (0, 0), (0, count)])  # a copy
        picture = self._rigid(picture, head.back_hair, number, gloss=4)
        picture = self._draw_body(picture, number)
        picture = self._rigid(picture, head.ears, number)
        picture = self._rigid(picture, head.mouth, number)
        picture = self._draw_eyes(picture, number)
        rotation = self._rotation(number)
        for name, cloud in self.surfaces.items():
            colour = self._shade(cloud, rotation, number, gloss=26)
            values = np.concatenate([colour, shifts[name]], 1)
            facing = products(cloud.normal, rotation[2:])[0]
            if name == "lids":
                closed = np.float32(script.blink[number - 1])
                facing = facing * (1 + closed * head.stretch)
            moved = self._moved(name, number, expressions[name])
            places = self._places(moved, number)
            picture = draw_layer(
                picture, self.scale, cloud, places, values, facing, elastic=True
            )
        return self._draw_front(number, picture)[0]

    def _reduce(self, values: np.ndarray) -> np.ndarray:
        """Returns the mean of the pixels of each pixel of the frame, [H, W, C]."""
        inner = values[self.margin : -self.margin, self.margin : -self.margin]
        n = self.factor
        return inner.reshape(self.size, n, self.size, n, -1).mean((1, 3))

    def frame(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns a picture [H, W, 3] and the length of displacements [H, W]."""
        expressions = {name: self._expression(name, number) for name in self.surfaces}
        lengths = {}
        for name, expression in expressions.items():
            right, down = self._image_shift(expression, number).T
            lengths[name] = np.sqrt(right**2 + down**2)[:, None]
        drawn = self._draw(number, expressions, lengths)
        focus = self.script.camera.focus * self.scale
        blur = np.sqrt(max(focus**2 - _SPLAT_BLUR**2, 0.01))
        picture = cv2.GaussianBlur(np.ascontiguousarray(drawn[..., :3]), (0, 0), blur)
        picture = np.clip(self._reduce(picture), 0, 255)
        return picture, self._reduce(drawn[..., 3:])[..., 0]

    def displacement(self) -> np.ndarray:
        """Returns the displacement from onset to apex, [H, W, 2]."""
        course = self.script.course
        before, after = (
            {name: self._expression(name, number) for name in self.surfaces}
            for number in (course.onset, course.apex)
        )
        shifts = {
            name: self._image_shift(after[name] - before[name], course.onset)
            for name in self.surfaces
        }
        return self._reduce(self._draw(course.onset, before, shifts)[..., 3:])


def _mixture(weights: np.ndarray, fields: np.ndarray) -> np.ndarray:
    """Returns the sum of displacements, [K, N, 3], with weights, [K]: [N, 3]."""
    total = np.zeros_like(fields[0])
    for weight, field in zip(weights, fields, strict=True):
        if weight:
            total += weight * field
    return total


def _turned_to(head: Head, views: np.ndarray) -> Head:
    """Returns a head without the samples that face away from the camera always.

    Args:
      head: the head.
      views: direction to the camera in each frame, float32 [M, 3].
    """
    lowest, highest = views.min(0), views.max(0)

    def seen(cloud: Cloud) -> np.ndarray:
        # No less than the largest product with any of the views
        n = cloud.normal
        return np.maximum(n * lowest, n * highest).sum(1) > 0

    chosen = seen(head.skin)
    shell = head.hair
    return dataclasses.replace(
        head,
        skin=head.skin.where(chosen),
        hair=None if shell is None else shell.where(seen(shell)),
    )
