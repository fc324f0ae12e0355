"""Channel and spatio-temporal attention (sections 3.1 and 3.2 of the paper).

Both use a maximum over their input. Under ``jit`` on XLA's CPU backend the gradient of
``x.max()`` can be wrong; ``_maximum`` has a correct gradient. See
``docs/gradients.md``.
"""

import functools
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from meranet_jax.models.conv import Conv3D
from meranet_jax.models.layers import ATTENTION_MAPS, CHANNEL_WEIGHTS
from meranet_jax.models.settings import SharedNetwork

ModuleDef = Callable[..., nn.Module]


class ChannelAttention(nn.Module):
    """Channel attention (Eq. 6-9).

    Attributes:
      reduction: r, the ratio by which the shared network reduces the channels; at least
        one channel is kept.
      shared: the shared network: ``"cnn"`` is two 1x1x1 convolutions without bias,
        ``"mlp"`` two dense layers with bias. Both apply to a single pooled voxel, so
        they are the same function except for the bias (compared in section 5.2).
      conv: constructor of a 3-D convolution.
      dense: constructor of a dense layer.
    """

    reduction: int = 16
    shared: SharedNetwork = "cnn"
    conv: ModuleDef = Conv3D
    dense: ModuleDef = functools.partial(
        nn.Dense, kernel_init=nn.initializers.xavier_uniform()
    )

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Scales each channel by a weight between 0 and 1.

        Args:
          x: [B, T, H, W, C].

        Returns:
          [B, T, H, W, C].

        Raises:
          ValueError: if ``shared`` is unknown.
        """
        channels = x.shape[-1]
        narrow = max(channels // self.reduction, 1)
        if self.shared == "cnn":
            squeeze = self.conv(narrow, (1, 1, 1), name="squeeze")  # W_s
            excite = self.conv(channels, (1, 1, 1), name="excite")  # W_e
        elif self.shared == "mlp":
            squeeze = self.dense(narrow, name="squeeze")
            excite = self.dense(channels, name="excite")
        else:
            raise ValueError(f"shared={self.shared!r}; choose 'cnn' or 'mlp'")

        average = x.mean((1, 2, 3), keepdims=True)  # [B, 1, 1, 1, C], Eq. 6
        flat = x.reshape(x.shape[0], -1, channels)  # [B, T * H * W, C]
        maximum = _maximum(flat, 1).reshape(average.shape)  # [B, 1, 1, 1, C], Eq. 7
        logits = excite(nn.relu(squeeze(average))) + excite(nn.relu(squeeze(maximum)))
        weights = nn.sigmoid(logits)  # [B, 1, 1, 1, C], Eq. 8
        if not self.is_initializing():
            self.sow(CHANNEL_WEIGHTS, "value", weights)
        return x * weights  # Eq. 9


class SpatioTemporalAttention(nn.Module):
    """Spatio-temporal attention (Eq. 1-5).

    Attributes:
      kernel_size: size of the convolution along T, H and W; 3, 5 or 7 in the paper.
      conv: constructor of a 3-D convolution.
    """

    kernel_size: int = 5
    conv: ModuleDef = Conv3D

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Scales each voxel by a weight between 0 and 1.

        Args:
          x: [B, T, H, W, C].

        Returns:
          [B, T, H, W, C].

        Raises:
          ValueError: if ``kernel_size`` is even, since its padding would shift the map.
        """
        if self.kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size={self.kernel_size} is even; choose an odd number"
            )
        average = x.mean(-1, keepdims=True)  # [B, T, H, W, 1], Eq. 1
        maximum = _maximum(x, x.ndim - 1)  # [B, T, H, W, 1], Eq. 2
        descriptor = jnp.concatenate([average, maximum], -1)  # [B, T, H, W, 2], Eq. 4
        logits = self.conv(1, (self.kernel_size,) * 3, name="map")(descriptor)
        attention = nn.sigmoid(logits)  # [B, T, H, W, 1], Eq. 3
        if not self.is_initializing():
            self.sow(ATTENTION_MAPS, "value", attention)
        return x * attention  # Eq. 5


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _maximum(x: jax.Array, axis: int) -> jax.Array:
    """Computes ``x.max(axis, keepdims=True)``; the first maximum has the gradient."""
    return x.max(axis, keepdims=True)


def _maximum_forward(x, axis):
    # Computing the value separately is cheap compared with the index, and exact.
    return _maximum(x, axis), (_argmax(x, axis), x.shape)


def _argmax(x: jax.Array, axis: int) -> jax.Array:
    """Computes ``x.argmax(axis, keepdims=True)`` in a form that is fast on the backend.

    On XLA's CPU backend an argmax takes up to 30 times as long as a maximum. There the
    maximum of each block is computed first, then the argmax over the blocks and inside
    one block.
    """
    return lax.platform_dependent(
        x,
        cpu=functools.partial(_argmax_by_blocks, axis=axis),
        default=lambda x: x.argmax(axis, keepdims=True),
    )


def _argmax_by_blocks(x: jax.Array, axis: int) -> jax.Array:
    size = _root_divisor(x.shape[axis])
    blocks = x.reshape(*x.shape[:axis], -1, size, *x.shape[axis + 1 :])
    block = blocks.max(axis + 1, keepdims=True).argmax(axis, keepdims=True)
    inside = jnp.take_along_axis(blocks, block, axis, mode="promise_in_bounds")
    index = block * size + inside.argmax(axis + 1, keepdims=True)
    return index.squeeze(axis)


def _root_divisor(length: int) -> int:
    """Returns the largest divisor of ``length`` that is at most its square root."""
    return next(n for n in range(math.isqrt(length), 0, -1) if length % n == 0)


def _maximum_backward(axis, residuals, gradient):
    index, shape = residuals
    is_maximum = lax.broadcasted_iota(index.dtype, shape, axis) == index
    return (jnp.where(is_maximum, gradient, 0),)


_maximum.defvjp(_maximum_forward, _maximum_backward)
