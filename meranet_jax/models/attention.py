"""Channel and spatio-temporal attention (sections 3.1 and 3.2 of the paper).

Both use a maximum over their input; ``maximum.maximum`` has a correct gradient.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from meranet_jax.models.conv import Conv3D
from meranet_jax.models.layers import ATTENTION_MAPS, CHANNEL_WEIGHTS
from meranet_jax.models.maximum import maximum
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
        largest = maximum(flat, 1).reshape(average.shape)  # [B, 1, 1, 1, C], Eq. 7
        logits = excite(nn.relu(squeeze(average))) + excite(nn.relu(squeeze(largest)))
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
        largest = maximum(x, x.ndim - 1)  # [B, T, H, W, 1], Eq. 2
        descriptor = jnp.concatenate([average, largest], -1)  # [B, T, H, W, 2], Eq. 4
        logits = self.conv(1, (self.kernel_size,) * 3, name="map")(descriptor)
        attention = nn.sigmoid(logits)  # [B, T, H, W, 1], Eq. 3
        if not self.is_initializing():
            self.sow(ATTENTION_MAPS, "value", attention)
        return x * attention  # Eq. 5
