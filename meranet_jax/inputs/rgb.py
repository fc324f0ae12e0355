"""The frames themselves, normalised: the paper's input."""

import jax
import jax.numpy as jnp


def normalise(clips: jax.Array) -> jax.Array:
    """Subtract each clip's mean and divide by its deviation, by channel (section 4.2).

    Args:
      clips: uint8 [B, T, H, W, 3].

    Returns:
      float32 of the same shape. A channel without any variation becomes zero.
    """
    clips = clips.astype(jnp.float32)
    centred = clips - clips.mean((1, 2, 3), keepdims=True)
    deviation = jnp.sqrt((centred**2).mean((1, 2, 3), keepdims=True))
    return centred / jnp.maximum(deviation, 1e-3)
