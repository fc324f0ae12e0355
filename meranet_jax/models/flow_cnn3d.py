"""A 3-D network with streams of grey levels and of optical flow.

It is our reading of the "3D Flow CNN" to which the paper's Table 1 compares: J. Li, Y.
Wang, J. See and W. Liu, "Micro-Expression Recognition based on 3D Flow Convolutional
Neural Network", Pattern Analysis and Applications 22, 2019.

[V] marks what is stated about it, [C] what this module chose, since its layers are not
public:

- [V, second hand] Three streams, of grey levels and of the two components of optical
  flow, each a 3-D convolutional network.
- [C] Each stream has 16 x 64 x 64 voxels and three 3x3x3 convolutions of 16, 32 and 64
  channels with ReLU. Maxima are pooled over (1, 2, 2), (2, 2, 2) and (2, 2, 2) voxels.
  A dense layer of 128 units with dropout of 0.5 joins the streams.
- [C] The flow is that from the onset to each frame.
- [C] Glorot's initialisation. Training: Adam at 0.001, which decays to 0, 60 epochs,
  batches of 8, mirroring.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from meranet_jax.models.conv import Conv3D, Lowering
from meranet_jax.models.dropout import Dropout
from meranet_jax.models.layers import Features, Grid
from meranet_jax.models.settings import Optimizer, WithoutRemat
from meranet_jax.recognisers import Network

_LAYERS = ((16, (1, 2, 2)), (32, (2, 2, 2)), (64, (2, 2, 2)))


class Stream(nn.Module):
    """The convolutions of a stream.

    Attributes:
      lowering: lowering of the convolutions, see ``Conv3D``.
      dtype: dtype of the computation.
    """

    lowering: Lowering | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Computes maps: [B, T, H, W, 1] -> [B, T / 4, H / 8, W / 8, 64]."""
        for number, (features, window) in enumerate(_LAYERS, 1):
            x = Conv3D(
                features,
                (3, 3, 3),
                use_bias=True,
                lowering=self.lowering,
                dtype=self.dtype,
                name=f"conv{number}",
            )(x)
            x = nn.max_pool(nn.relu(x), window, window)
        return x


class FlowCNN3D(nn.Module):
    """A stream for each channel of a clip: grey levels, u and v.

    Attributes:
      num_classes: number of outputs.
      axis_name: name of the pmap axis over which a batch is divided, if any.
      lowering: lowering of the convolutions, see ``Conv3D``.
      dtype: dtype of the computation; parameters and logits are float32.
    """

    num_classes: int
    axis_name: str | None = None
    lowering: Lowering | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Computes logits [B, num_classes] of clips of u, v and grey, [B, T, H, W, 3].

        Raises:
          ValueError: if the clips are too small.
        """
        if min(x.shape[1] // 4, x.shape[2] // 8, x.shape[3] // 8) < 1:
            raise ValueError(
                f"clips are {x.shape[1:4]}, but at least (4, 8, 8) is needed"
            )
        init = nn.initializers.xavier_uniform()
        streams = [
            Stream(self.lowering, self.dtype, name=name)(x[..., channel, None])
            for channel, name in enumerate(("u", "v", "grey"))
        ]
        # [B, 4, 8, 8, 192]
        x = Features(name="features")(jnp.concatenate(streams, -1))
        x = x.reshape(len(x), -1)
        x = nn.relu(nn.Dense(128, kernel_init=init, dtype=self.dtype, name="dense")(x))
        x = Dropout(0.5, self.axis_name)(x, train=train)
        dtype = None if self.dtype is None else jnp.float32
        return nn.Dense(self.num_classes, kernel_init=init, dtype=dtype, name="head")(x)

    def grid(self, layer: str, clip_size: Sequence[int]) -> Grid:
        """Returns where the values of the streams are; see ``layers.find_grid``."""
        return (1.5, 4.0), (3.5, 8.0), (3.5, 8.0)  # centres of what is pooled


@dataclasses.dataclass(frozen=True)
class FlowCNN3DSettings(WithoutRemat):
    """How the network is trained; our choice."""

    epochs: int = 60
    optimizer: Optimizer = "adam"
    learning_rate: float = 1e-3


FLOW_CNN3D = Network(
    name="flow_cnn3d",
    title=lambda settings: "3D Flow CNN, our reading",
    citation="J. Li, Y. Wang, J. See, W. Liu: Micro-Expression Recognition based on 3D "
    "Flow Convolutional Neural Network, Pattern Analysis and Applications 22, 2019",
    settings=FlowCNN3DSettings,
    inputs=("flow_grey",),
    # The flow is computed at 128 x 128 and reduced.
    defaults={"size": 64, "record_size": 128},
    presets={"small": {"epochs": 18}},
    make=lambda settings, **arguments: FlowCNN3D(**arguments),
)
