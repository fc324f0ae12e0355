"""Optical flow as an input: normalisation, mirroring, strain, in the compiled step.

``optical_flow`` estimates the flow itself on the host.
"""

import jax
import jax.numpy as jnp

from meranet_jax.inputs import frames, rgb, strain

# Smallest divisors, below the root mean squares of the weakest generated expressions,
# of 0.2 to 0.6 pixels at 112.
_SMALLEST = 0.01  # pixels
_SMALLEST_STRAIN = 0.001


def mirror(clips: jax.Array) -> jax.Array:
    """Mirrors flow [..., W, C] left to right; u, the first channel, changes its sign.

    v and the strain, the other channels, keep theirs.
    """
    signs = jnp.ones(clips.shape[-1]).at[0].set(-1)
    return clips[..., ::-1, :] * signs


def mirror_bytes(clips: jax.Array) -> jax.Array:
    """Mirrors what ``as_bytes`` returned, [..., W, 3], left to right.

    Where u changes its sign, its minimum and its maximum change places.
    """
    clips = clips[..., ::-1, :]
    return clips.at[..., 0].set(255 - clips[..., 0])


def normalise(clips: jax.Array) -> jax.Array:
    """Divides the flow of each clip by its root mean square.

    Expressions of different strength become alike; the ratio of u to v, of regions, and
    of frames is kept.

    Args:
      clips: (u, v) in pixels, float32 [B, T, H, W, 2].

    Returns:
      float32 of the same shape.
    """
    return frames.divide_by_rms(clips, _SMALLEST)


def with_strain(clips: jax.Array) -> jax.Array:
    """Adds the optical strain to the flow, each divided by its root mean square.

    Args:
      clips: (u, v) in pixels, float32 [B, T, H, W, 2].

    Returns:
      (u, v, strain), float32 [B, T, H, W, 3].
    """
    strains = strain.optical_strain(clips)[..., None]
    return jnp.concatenate(
        [normalise(clips), frames.divide_by_rms(strains, _SMALLEST_STRAIN)], -1
    )


def as_bytes(clips: jax.Array) -> jax.Array:
    """Scales u, v and the optical strain of each clip from 0 to 255, each by itself.

    Args:
      clips: (u, v) in pixels, float32 [B, T, H, W, 2].

    Returns:
      (u, v, strain), float32 [B, T, H, W, 3]. Where nothing moves, u and v are 127.5
      and the strain is 0.
    """
    strains = strain.optical_strain(clips)
    parts = [
        frames.scale_to_bytes(part[..., None], constant)
        for part, constant in (
            (clips[..., 0], 127.5),
            (clips[..., 1], 127.5),
            (strains, 0.0),
        )
    ]
    return jnp.concatenate(parts, -1)


def with_grey(clips: jax.Array) -> jax.Array:
    """Normalises the flow as ``normalise`` does, and grey levels as those of frames.

    Args:
      clips: (u, v) in pixels and the luminance from 0 to 255, float32 [B, T, H, W, 3].
    """
    return jnp.concatenate(
        [normalise(clips[..., :2]), rgb.normalise(clips[..., 2:])], -1
    )
