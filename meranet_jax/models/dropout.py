"""Dropout that does not depend on the number of devices."""

import flax.linen as nn
import jax
import jax.numpy as jnp

# Stream of random keys of a training step, the same on all devices.
CLIP_DROPOUT = "clip_dropout"


class Dropout(nn.Module):
    """Sets values to zero at random, and scales the others by 1 / (1 - rate).

    Each clip has a random key of its own, which depends on its position in the complete
    batch. ``flax.linen.Dropout`` draws one array for the clips of a device.

    Attributes:
      rate: probability that a value is set to zero.
      axis_name: name of the pmap axis over which the batch is divided, if any.
    """

    rate: float
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Applies dropout to [B, ...] in training; returns ``x`` in evaluation."""
        if not train or self.rate == 0:
            return x
        number = jnp.arange(len(x))
        if self.axis_name is not None:
            number += len(x) * jax.lax.axis_index(self.axis_name)
        key = self.make_rng(CLIP_DROPOUT)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, number)
        kept = jax.vmap(lambda k: jax.random.bernoulli(k, 1 - self.rate, x.shape[1:]))(
            keys
        )
        return jnp.where(kept, x / (1 - self.rate), 0)
