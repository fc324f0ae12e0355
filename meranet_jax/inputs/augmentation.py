"""Random changes of training clips (section 4.2 of the paper)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


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
