"""Random changes of training clips.

The paper mirrors clips (section 4.2). The other changes are off in its recipe, and
``--augment`` names them. All of them change the frames of a clip alike, or smoothly
over time, so that they add no motion between neighbouring frames.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

# Changes of the frame's geometry, of its grey levels, and of the sequence of frames
GEOMETRIC = ("shift", "rotate", "scale")
PHOTOMETRIC = ("brightness", "contrast")
TEMPORAL = ("time_shift", "speed", "drop")
AUGMENTATIONS = GEOMETRIC + PHOTOMETRIC + TEMPORAL

# Maxima of the uniformly drawn changes: shift as a fraction of the width, rotation in
# radians, scaling as a fraction, brightness in grey levels, contrast as a fraction,
# shift in time as a fraction of the clip's length, and speed as a power of two.
_SHIFT, _ROTATION, _SCALING = 0.06, 0.14, 0.1
_BRIGHTNESS, _CONTRAST = 20.0, 0.2
_TIME_SHIFT, _SPEED = 0.125, 0.5
# Brightness and contrast also change linearly over the clip, by this fraction.
_DRIFT = 0.25
# Probability that a frame is dropped.
_DROPPED = 0.15


def mirror(x: jax.Array) -> jax.Array:
    """Mirrors clips [..., W, C] left to right."""
    return x[..., ::-1, :]


def flip(
    x: jax.Array, coins: jax.Array, mirror: Callable[[jax.Array], jax.Array] = mirror
) -> jax.Array:
    """Mirrors the clips whose coin is true, all frames alike.

    Args:
      x: [B, T, H, W, C].
      coins: bool [B].
      mirror: the input's own way of mirroring.
    """
    return jnp.where(coins[:, None, None, None, None], mirror(x), x)


def change_light(frames: jax.Array, key: jax.Array, names: Sequence[str]) -> jax.Array:
    """Changes the brightness and the contrast of a clip, as ``names`` says.

    The change is linear in time, and grey levels stay from 0 to 255.

    Args:
      frames: float32 [T, H, W, C], 0 to 255.
      key: random key.
      names: changes; others than ``PHOTOMETRIC`` are ignored.
    """
    keys = _keys(key)
    time = jnp.linspace(-1, 1, len(frames))[:, None, None, None]

    def over_time(name: str, most: float) -> jax.Array:
        level, slope = jax.random.uniform(keys[name], (2,), minval=-most, maxval=most)
        return level + _DRIFT * slope * time

    if "contrast" in names:
        gain = 1 + over_time("contrast", _CONTRAST)
        frames = 127.5 + gain * (frames - 127.5)
    if "brightness" in names:
        frames = frames + over_time("brightness", _BRIGHTNESS)
    return jnp.clip(frames, 0, 255)


def move(
    clip: jax.Array,
    key: jax.Array,
    names: Sequence[str],
    *,
    vectors: bool = False,
) -> jax.Array:
    """Shifts, rotates and scales all frames of a clip alike, as ``names`` says.

    Args:
      clip: float32 [T, H, W, C].
      key: random key.
      names: changes; others than ``GEOMETRIC`` are ignored.
      vectors: whether the first two channels are the components of vectors, in pixels
        to the right and downwards, which are rotated and scaled too.

    Returns:
      float32 [T, H, W, C], interpolated linearly; the edge is repeated.
    """
    keys = _keys(key)

    def draw(name: str, most: float, shape=()) -> jax.Array:
        if name not in names:
            return jnp.zeros(shape)
        return jax.random.uniform(keys[name], shape, minval=-most, maxval=most)

    height, width = clip.shape[1:3]
    shift_x, shift_y = draw("shift", _SHIFT, (2,)) * width
    angle = draw("rotate", _ROTATION)
    scale = 1 + draw("scale", _SCALING)
    cos, sin = jnp.cos(angle), jnp.sin(angle)

    # The source of each pixel: the inverse of the motion of the frame.
    y, x = jnp.mgrid[:height, :width].astype(jnp.float32)
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    x, y = (x - middle_x - shift_x) / scale, (y - middle_y - shift_y) / scale
    source_x, source_y = cos * x + sin * y + middle_x, cos * y - sin * x + middle_y
    moved = _sample(clip, source_x, source_y)
    if not vectors:
        return moved
    u, v = moved[..., 0], moved[..., 1]
    turned = scale * jnp.stack([cos * u - sin * v, sin * u + cos * v], -1)
    return jnp.concatenate([turned, moved[..., 2:]], -1)


def _sample(clip: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """Interpolates frames [T, H, W, C] linearly at positions [H, W]."""
    height, width = clip.shape[1:3]
    x, y = jnp.clip(x, 0, width - 1), jnp.clip(y, 0, height - 1)
    left = jnp.minimum(x.astype(jnp.int32), width - 2)
    top = jnp.minimum(y.astype(jnp.int32), height - 2)
    part_x, part_y = (x - left)[..., None], (y - top)[..., None]
    above = (1 - part_x) * clip[:, top, left] + part_x * clip[:, top, left + 1]
    below = (1 - part_x) * clip[:, top + 1, left] + part_x * clip[:, top + 1, left + 1]
    return (1 - part_y) * above + part_y * below


def change_time(clip: jax.Array, key: jax.Array, names: Sequence[str]) -> jax.Array:
    """Shifts a clip in time, changes its speed and drops frames, as ``names`` says.

    A dropped frame is replaced by the one before it. Beyond either end the edge frame
    is repeated.

    Args:
      clip: float32 [T, H, W, C].
      key: random key.
      names: changes; others than ``TEMPORAL`` are ignored.

    Returns:
      float32 [T, H, W, C], interpolated linearly in time.
    """
    keys, frames = _keys(key), len(clip)
    time = jnp.arange(frames, dtype=jnp.float32)
    if "speed" in names:
        power = jax.random.uniform(keys["speed"], minval=-_SPEED, maxval=_SPEED)
        middle = (frames - 1) / 2
        time = middle + (time - middle) * 2**power
    if "time_shift" in names:
        most = _TIME_SHIFT * frames
        time += jax.random.uniform(keys["time_shift"], minval=-most, maxval=most)
    if "speed" in names or "time_shift" in names:
        time = jnp.clip(time, 0, frames - 1)
        before = time.astype(jnp.int32)
        after = jnp.minimum(before + 1, frames - 1)
        part = (time - before)[:, None, None, None]
        clip = (1 - part) * clip[before] + part * clip[after]
    if "drop" in names:
        kept = jax.random.uniform(keys["drop"], (frames,)) >= _DROPPED
        clip = clip[jax.lax.cummax(jnp.where(kept, jnp.arange(frames), 0))]
    return clip


def _keys(key: jax.Array) -> dict[str, jax.Array]:
    """Returns a key for each change, which does not depend on the other changes."""
    keys = jax.random.split(key, len(AUGMENTATIONS))
    return dict(zip(AUGMENTATIONS, keys, strict=True))
