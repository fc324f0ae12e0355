"""Renders frames of a face: its images are warped, lit and laid over one another."""

import dataclasses

import cv2
import numpy as np

from datasets.synthetic.wild import camera, expressions
from datasets.synthetic.wild.expressions import Style
from datasets.synthetic.wild.records import Rendered
from datasets.synthetic.wild.script import Script
from datasets.synthetic.wild_a import units
from datasets.synthetic.wild_a.face import DETAIL, FRAME, MARGIN, Eye, Face, smooth

_SUPERSAMPLING = 2  # rendered pixels per pixel of the result, in each direction
_PIVOT = 12.0  # distance of the axis of the head's rotation behind the ears, in pixels
_FRONT = 5.0  # distance of glasses and hair from the face, in pixels
_GAZE = 1.9  # shift of the iris at a gaze of 1, in pixels
_JAW_DROP = expressions.UNITS.index(26)


def render(
    face: Face, style: Style, script: Script, numbers: np.ndarray, size: int
) -> Rendered:
    """Renders frames of a script; see ``records.Render``."""
    expression = units.unit_fields(face, style)
    at_apex = _mix(expression, script.units[script.course.apex - 1])
    if script.amplitude:
        largest = np.linalg.norm(at_apex, axis=-1)[face.visible].max()
        expression *= np.float32(script.amplitude / largest)
        at_apex *= np.float32(script.amplitude / largest)
    movements = units.other_fields(face)

    def view(number: int, shown: np.ndarray) -> _View:
        """Returns the view of a frame with a displacement by the expression."""
        moves = [*script.speech[number - 1], script.swallow[number - 1]]
        other = np.tensordot(np.array(moves, np.float32), movements, 1)
        return _View.of(face, script, number, shown + other, size)

    pictures, lengths = [], []
    for number in numbers.tolist():
        shown = _mix(expression, script.units[number - 1])
        seen = view(number, shown)
        pictures.append(_picture(face, script, number, seen, size))
        lengths.append(np.linalg.norm(seen.displacement(face, shown, size), axis=-1))
    onset = script.course.onset
    seen = view(onset, _mix(expression, script.units[onset - 1]))
    return Rendered(
        pictures=np.stack(pictures),
        lengths=np.stack(lengths),
        displacement=seen.displacement(face, at_apex, size),
    )


def _mix(fields: np.ndarray, intensities: np.ndarray) -> np.ndarray:
    """Returns the sum of fields [K, 2, D, D, 2] times intensities [K, 2]."""
    used = np.argwhere(intensities)
    total = np.zeros(fields.shape[2:], np.float32)
    for unit, side in used.tolist():
        total += np.float32(intensities[unit, side]) * fields[unit, side]
    return total


@dataclasses.dataclass(frozen=True)
class _View:
    """Which point of the face each pixel of a frame shows.

    Positions are (x, y) in pixels of the neutral, upright face, float32 [F, F, 2], F is
    the height of the frame times ``_SUPERSAMPLING``.

    Attributes:
      frame: positions in the frame, which are those of the background.
      head: positions after the motion of the head was inverted.
      skin: positions after also the motion of the skin was inverted.
      front: positions on glasses and hair in front of the face.
      roll: rotation of the head in the plane of the image in radians.
      scale: size of the head.
    """

    frame: np.ndarray
    head: np.ndarray
    skin: np.ndarray
    front: np.ndarray
    roll: float
    scale: float

    @classmethod
    def of(
        cls, face: Face, script: Script, number: int, field: np.ndarray, size: int
    ) -> "_View":
        """Inverts the motion of a frame.

        Args:
          face: the face.
          script: what happens.
          number: of the frame.
          field: displacement of the skin, float32 [D, D, 2].
          size: height and width of the frame.
        """
        fine = size * _SUPERSAMPLING
        steps = (np.arange(fine, dtype=np.float32) + 0.5) * np.float32(FRAME / fine)
        frame = np.stack(np.meshgrid(steps, steps), -1)
        yaw, pitch, roll, right, down, zoom = script.head[number - 1]
        # A row is exposed some time after the middle row; the head has moved on.
        before, after = max(number - 2, 0), min(number, len(script.head) - 1)
        speed = (script.head[after] - script.head[before])[3:5] / (after - before)
        delays = np.repeat(camera.row_delays(script.camera, size), _SUPERSAMPLING)
        late = (delays[:, None] * speed).astype(np.float32)[:, None]  # [F, 1, 2]

        scale = 1 + zoom
        cos, sin = np.cos(roll) / scale, np.sin(roll) / scale
        inverse = np.array([[cos, sin], [-sin, cos]], np.float32)
        centre = np.array(face.centre, np.float32)
        moved = np.array([right, down], np.float32)
        flat = (frame - late - centre - moved) @ inverse.T + centre
        turn = np.array([np.sin(yaw), -np.sin(pitch)], np.float32)

        def unturned(distance: float) -> np.ndarray:
            """Inverts the rotation of a surface in front of the face."""
            head = flat
            for _ in range(2):
                depth = _look_up(face.depth, head, 1)
                head = flat - (depth + distance + _PIVOT)[..., None] * turn
            return head

        head = unturned(0.0)
        skin = head - _look_up(field, head - _look_up(field, head, 1), 1)
        front = unturned(_FRONT) if face.front[..., 3].any() else head
        return cls(frame, head, skin, front, float(roll), float(scale))

    def displacement(self, face: Face, field: np.ndarray, size: int) -> np.ndarray:
        """Returns the displacement of what each pixel shows, float32 [H, W, 2].

        Args:
          face: the face.
          field: displacement of the skin, float32 [D, D, 2].
          size: height and width of the frame.
        """
        moved = (
            _look_up(field, self.skin, 1)
            * _look_up(face.visible.astype(np.float32), self.skin, 1)[..., None]
        )
        cos, sin = self.scale * np.cos(self.roll), self.scale * np.sin(self.roll)
        moved = moved @ np.array([[cos, sin], [-sin, cos]], np.float32)
        return cv2.resize(moved, (size, size), interpolation=cv2.INTER_AREA)


def _look_up(image: np.ndarray, positions: np.ndarray, detail: int) -> np.ndarray:
    """Samples an image of the face at positions, float32 [F, F, 2].

    Args:
      image: float32 [S, S] or [S, S, C].
      positions: (x, y) in pixels of the frame.
      detail: pixels of the image for each of the frame.
    """
    at = (positions + np.float32(MARGIN)) * np.float32(detail) - np.float32(0.5)
    return cv2.remap(
        image,
        at[..., 0],
        at[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _picture(
    face: Face, script: Script, number: int, view: _View, size: int
) -> np.ndarray:
    """Renders a frame, float32 [H, W, 3]."""
    skin = _look_up(face.skin, view.skin, DETAIL)
    for side, eye in enumerate(face.eyes):
        skin = _lay_eye(skin, face, eye, script, number, view, side)
    skin = _open_mouth(skin, face, script, number, view)
    skin *= _light(face, script, number, view.head)[..., None]
    skin += _highlights(face, script, number, view.head)[..., None]
    cover = _look_up(face.cover, view.head, DETAIL)[..., None]
    lit = np.float32(script.brightness[number - 1])
    behind = _look_up(face.background, view.frame, DETAIL) * lit
    picture = behind + (skin - behind) * cover
    if face.front[..., 3].any():
        front = _look_up(face.front, view.front, DETAIL)
        shade = _light(face, script, number, view.front)[..., None]
        picture = picture * (1 - front[..., 3:]) + front[..., :3] * shade
    if face.lenses.any():
        lens = _look_up(face.lenses, view.front, DETAIL)[..., None]
        picture += lens * _glare(face, script, number, view)[..., None]
    blur = script.camera.focus * _SUPERSAMPLING * size / FRAME
    if blur > 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)


def _light(face: Face, script: Script, number: int, at: np.ndarray) -> np.ndarray:
    """Returns the light that the surface reflects, float32 [F, F]."""
    yaw, pitch = script.head[number - 1, :2]
    # The head's rotation turns its surface; here the light turns the other way.
    direction = script.light[number - 1] - [np.sin(yaw), -np.sin(pitch), 0]
    direction = (direction / np.linalg.norm(direction)).astype(np.float32)
    lambert = np.clip(face.normals @ direction, 0, None)
    shade = script.ambient + (1 - script.ambient) * 1.35 * lambert
    shade = (shade * script.brightness[number - 1]).astype(np.float32)
    return _look_up(shade, at, 1)


def _highlights(face: Face, script: Script, number: int, at: np.ndarray) -> np.ndarray:
    """Returns the light that oily skin reflects like a mirror, float32 [F, F]."""
    half = script.light[number - 1] + [0, 0, 1]
    half = (half / np.linalg.norm(half)).astype(np.float32)
    shine = np.clip(face.normals @ half, 0, None) ** 24
    return _look_up((255 * face.sheen * shine).astype(np.float32), at, 1)


def _glare(face: Face, script: Script, number: int, view: _View) -> np.ndarray:
    """Returns the reflection on glasses, which moves faster than the head."""
    place, slope, strength = face.glare
    yaw, pitch = script.head[number - 1, :2]
    x, y = view.front[..., 0] - face.centre[0], view.front[..., 1] - face.centre[1]
    distance = x + np.float32(slope) * y - np.float32(place - 60 * (yaw + pitch))
    return np.float32(120 * strength) * np.exp(-((distance / 5) ** 2))


def _lay_eye(skin, face, eye: Eye, script, number, view, side) -> np.ndarray:
    """Lays an eye over the skin where its lids are open."""
    closure = script.blink[number - 1]
    dx, dy = view.skin[..., 0] - eye.centre[0], view.skin[..., 1] - eye.centre[1]
    near = (np.abs(dx) < 1.5 * eye.width) & (np.abs(dy) < 8)
    rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    if not len(rows):
        return skin
    part = (
        slice(rows[0], rows[-1] + 1),
        slice(columns[0], columns[-1] + 1),
    )
    dx, dy = dx[part], dy[part] - eye.slant * dx[part]
    arch = np.clip(1 - (dx / eye.width) ** 2, 0, None)
    lower = eye.lower * arch
    upper = -eye.upper * arch**0.7
    upper = upper + closure * (0.92 * lower - upper)
    ends = smooth((1 - np.abs(dx) / eye.width) * eye.width + 0.3)
    opening = smooth((dy - upper) / 0.6 + 0.5) * smooth((lower - dy) / 0.6 + 0.5) * ends

    # The eyeball does not move with the skin.
    gaze = script.gaze[number - 1] * _GAZE
    x = view.head[part][..., 0] - eye.centre[0] - gaze[0]
    y = view.head[part][..., 1] - eye.centre[1] - gaze[1] + 0.4
    r = np.hypot(x, y)
    radius = face.iris_radius
    ball = np.broadcast_to(face.white, (*r.shape, 3)) * (
        1 - 0.25 * np.clip(np.abs(dx) / eye.width, 0, 1)[..., None] ** 2
    )
    for colour, extent in ((face.iris, radius), ((14, 11, 10), 0.42 * radius)):
        ball = (
            ball
            + (np.asarray(colour) - ball) * smooth((extent - r) / 0.7 + 0.5)[..., None]
        )
    light = script.light[number - 1]
    spark = np.hypot(x - 0.5 * light[0] * radius, y - 0.5 * light[1] * radius)
    ball = ball + 160 * smooth((0.75 - spark) / 0.6)[..., None]
    ball = ball * (1 - 0.35 * np.exp(-(((dy - upper) / 1.2) ** 2)))[..., None]

    result = skin[part] + (ball - skin[part]) * opening[..., None]
    lash = np.exp(-(((dy - upper) / 0.55) ** 2)) * ends
    result = result + (face.lash - result) * (0.8 * lash)[..., None]
    rim = np.exp(-(((dy - lower) / 0.4) ** 2)) * ends
    result = result + (0.55 * skin[part] - result) * (0.35 * rim)[..., None]
    skin = skin.copy() if side == 0 else skin
    skin[part] = result.astype(np.float32)
    return skin


def _open_mouth(skin, face, script, number, view) -> np.ndarray:
    """Shows the dark inside of the mouth where the lips part."""
    gap = 0.8 * max(script.speech[number - 1, 0], 0)
    gap += 0.5 * script.amplitude * script.units[number - 1, _JAW_DROP].mean()
    if gap < 0.02:
        return skin
    u = (view.skin[..., 0] - face.mouth[0]) / face.mouth_width
    height = gap * np.clip(1 - u**2, 0, None)
    # In less than a pixel, the inside covers a part of it.
    dark = np.clip(height, 0, 1) * np.exp(
        -((view.skin[..., 1] - face.mouth[1]) ** 2) / (0.5 + height**2)
    )
    return skin * (1 - 0.8 * dark[..., None])
