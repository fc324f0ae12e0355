"""Renders frames of a face: its images are warped, lit and laid over one another."""

import dataclasses

import cv2
import numpy as np

from datasets.synthetic.wild import expressions
from datasets.synthetic.wild.expressions import Style
from datasets.synthetic.wild.records import Rendered
from datasets.synthetic.wild.script import Script
from datasets.synthetic.wild_a import units
from datasets.synthetic.wild_a.face import Eye, Face
from datasets.synthetic.wild_a.painting import smooth
from datasets.synthetic.wild_a.shape import DETAIL, FRAME, MARGIN

_SUPERSAMPLING = 2  # rendered pixels per pixel of the result, in each direction
_PIVOT = 12.0  # distance of the axis of the head's rotation behind the ears, in pixels
_FRONT = 5.0  # distance of glasses and hair from the face, in pixels
_GAZE = 1.9  # shift of the iris at a gaze of 1, in pixels

# Hair may hide nearly all of an expression. Of the displacement of hidden points this
# share counts, since little that is left must not be enlarged to the amplitude.
_HIDDEN = 0.4
_JAW_DROP = expressions.UNITS.index(26)


def render(
    face: Face, style: Style, script: Script, numbers: np.ndarray, size: int
) -> Rendered:
    """Renders frames of a script; see ``records.Render``."""
    expression = units.unit_fields(face, style)
    at_apex = _mix(expression, script.units[script.course.apex - 1])
    if script.amplitude:
        lengths = np.linalg.norm(at_apex, axis=-1)
        largest = max(lengths[face.visible].max(), _HIDDEN * lengths.max())
        expression *= np.float32(script.amplitude / largest)
        at_apex *= np.float32(script.amplitude / largest)
    movements = units.other_fields(face)

    def view(number: int, shown: np.ndarray) -> _View:
        """Returns the view of a frame with a displacement by the expression."""
        moves = [*script.speech[number - 1], script.swallow[number - 1]]
        other = sum(np.float32(m) * f for m, f in zip(moves, movements, strict=True))
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
      pose: rotation in the plane of the image times the size of the head, which maps
        vectors of the face to the frame, float32 [2, 2].
      turn: shift in the frame by the rotation of the head, for each pixel of depth,
        float32 [2].
      open_eyes: where the eyes are open, 0 to 1, float32 [F, F].
    """

    frame: np.ndarray
    head: np.ndarray
    skin: np.ndarray
    front: np.ndarray
    pose: np.ndarray
    turn: np.ndarray
    open_eyes: np.ndarray

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
        cos, sin = (1 + zoom) * np.cos(roll), (1 + zoom) * np.sin(roll)
        pose = np.array([[cos, -sin], [sin, cos]], np.float32)
        centre = np.array(face.centre, np.float32)
        moved = np.array([right, down], np.float32)
        flat = _times(np.linalg.inv(pose), frame - centre - moved) + centre
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
        open_eyes = np.zeros((fine, fine), np.float32)
        for eye in face.eyes:
            part, lids = _lids(eye, script.blink[number - 1], skin)
            open_eyes[part] = np.maximum(open_eyes[part], lids.opening)
        return cls(frame, head, skin, front, pose, turn, open_eyes)

    def displacement(self, face: Face, field: np.ndarray, size: int) -> np.ndarray:
        """Returns the displacement of what each pixel shows, float32 [H, W, 2].

        Args:
          face: the face.
          field: displacement of the skin, float32 [D, D, 2].
          size: height and width of the frame.
        """
        seen = _look_up(face.visible.astype(np.float32), self.skin, 1)
        seen *= 1 - self.open_eyes  # eyeballs do not move with the skin
        moved = _look_up(field, self.skin, 1)
        # On a turned head, a point that moves to another depth also moves sideways.
        depth = _look_up(face.depth, self.head + moved, 1)
        deeper = depth - _look_up(face.depth, self.head, 1)
        moved = _times(self.pose, moved + deeper[..., None] * self.turn)
        moved *= seen[..., None]
        return cv2.resize(moved, (size, size), interpolation=cv2.INTER_AREA)


def _times(matrix: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Returns the products of a matrix [2, 2] and vectors [..., 2], float32.

    Without BLAS, whose last digits depend on the processor.
    """
    x, y = vectors[..., 0], vectors[..., 1]
    return np.stack([row[0] * x + row[1] * y for row in matrix.astype(np.float32)], -1)


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
    for eye in face.eyes:
        _lay_eye(skin, face, eye, script, number, view)
    skin = _open_mouth(skin, face, script, number, view)
    skin *= _light(face, script, number, view.skin)[..., None]
    skin += _highlights(face, script, number, view.skin)[..., None]
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
    lambert = np.clip(_cosines(face.normals, direction), 0, None)
    shade = script.ambient + (1 - script.ambient) * 1.35 * lambert
    shade = (shade * script.brightness[number - 1]).astype(np.float32)
    return _look_up(shade, at, 1)


def _highlights(face: Face, script: Script, number: int, at: np.ndarray) -> np.ndarray:
    """Returns the light that oily skin reflects like a mirror, float32 [F, F]."""
    half = script.light[number - 1] + [0, 0, 1]
    half = (half / np.linalg.norm(half)).astype(np.float32)
    shine = np.clip(_cosines(face.normals, half), 0, None) ** 24
    return _look_up((255 * face.sheen * shine).astype(np.float32), at, 1)


def _cosines(normals: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Returns the cosines between unit vectors [D, D, 3] and [3], [D, D]."""
    x, y, z = (normals[..., i] * direction[i] for i in range(3))
    return x + y + z


def _glare(face: Face, script: Script, number: int, view: _View) -> np.ndarray:
    """Returns the reflection on glasses, which moves faster than the head."""
    place, slope, strength = face.glare
    yaw, pitch = script.head[number - 1, :2]
    x, y = view.front[..., 0] - face.centre[0], view.front[..., 1] - face.centre[1]
    distance = x + np.float32(slope) * y - np.float32(place - 60 * (yaw + pitch))
    return np.float32(120 * strength) * np.exp(-((distance / 5) ** 2))


@dataclasses.dataclass(frozen=True)
class _Lids:
    """The lids of an eye in a part of a frame; arrays are float32 [P, Q].

    Attributes:
      x: position from the centre of the eye, along the line between its corners.
      y: position across that line, downwards.
      upper: y of the edge of the upper lid.
      lower: y of the edge of the lower lid.
      ends: 1 between the corners of the eye, 0 beyond them.
      opening: 1 where the eye is open.
    """

    x: np.ndarray
    y: np.ndarray
    upper: np.ndarray
    lower: np.ndarray
    ends: np.ndarray
    opening: np.ndarray


def _lids(
    eye: Eye, closure: float, skin: np.ndarray
) -> tuple[tuple[slice, slice], _Lids]:
    """Returns the part of a frame that has an eye, as slices, and its lids there.

    Args:
      eye: the eye.
      closure: 0 to 1.
      skin: ``_View.skin``.
    """
    dx, dy = skin[..., 0] - eye.centre[0], skin[..., 1] - eye.centre[1]
    near = (np.abs(dx) < 1.5 * eye.width) & (np.abs(dy) < 8)
    rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    part = slice(0, 0), slice(0, 0)
    if len(rows):
        part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    dx, dy = dx[part], dy[part] - eye.slant * dx[part]
    arch = np.clip(1 - (dx / eye.width) ** 2, 0, None)
    lower = eye.lower * arch
    upper = -eye.upper * arch**0.7
    upper = upper + closure * (0.92 * lower - upper)
    ends = smooth((1 - np.abs(dx) / eye.width) * eye.width + 0.3)
    opening = smooth((dy - upper) / 0.6 + 0.5) * smooth((lower - dy) / 0.6 + 0.5) * ends
    return part, _Lids(dx, dy, upper, lower, ends, opening)


def _lay_eye(
    skin: np.ndarray, face: Face, eye: Eye, script: Script, number: int, view: _View
) -> None:
    """Lays an eye over the colours of the skin, [F, F, 3], where its lids are open."""
    part, lids = _lids(eye, script.blink[number - 1], view.skin)
    if not lids.x.size:
        return
    dx, dy, upper, lower = lids.x, lids.y, lids.upper, lids.lower
    opening, ends = lids.opening, lids.ends

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
    skin[part] = result.astype(np.float32)


def _open_mouth(
    skin: np.ndarray, face: Face, script: Script, number: int, view: _View
) -> np.ndarray:
    """Shows the dark inside of the mouth where the lips part, [F, F, 3]."""
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
