"""Off-ApexNet: two streams of the flow from onset to apex.

Y. S. Gan, S.-T. Liong, W.-C. Yau, Y.-C. Huang and L.-K. Tan, "OFF-ApexNet on
Micro-Expression Recognition System", Signal Processing: Image Communication 74, 2019.

[V] marks what was read in public code or computed, [C] what this module chose:

- [V] The layers, and with them 2,664,475 parameters for three classes. [C] ReLU follows
  each convolution, too.
- [V] Adam at 0.0001, dropout of 0.5, [C] after both dense layers. [C] 100 epochs,
  batches of 32, no mirroring.
- [V] The input: u and v of the flow from onset to apex, 28 x 28. [C] They are divided
  by their root mean square in the clip.
- [C] Glorot's initialisation.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from meranet_jax.models.dropout import Dropout
from meranet_jax.models.layers import Features, Grid
from meranet_jax.models.settings import Optimizer, Schedule, WithoutRemat
from meranet_jax.recognisers import Network


class OffApexNet(nn.Module):
    """Off-ApexNet, for one image of 28 x 28 pixels.

    Attributes:
      num_classes: number of outputs.
      axis_name: name of the pmap axis over which a batch is divided, if any.
      dtype: dtype of the computation; parameters and logits are float32.
    """

    num_classes: int
    axis_name: str | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Computes logits [B, num_classes] of flow [B, 1, H, W, 2]."""
        init = nn.initializers.xavier_uniform()
        dense = functools.partial(nn.Dense, kernel_init=init)
        window = (1, 2, 2)
        streams = []
        for channel, name in enumerate(("u", "v")):
            y = x[..., channel, None]
            for number, features in enumerate((6, 16), 1):
                y = nn.Conv(
                    features,
                    (5, 5),
                    padding=2,
                    kernel_init=init,
                    dtype=self.dtype,
                    name=f"{name}_conv{number}",
                )(y)
                y = nn.max_pool(nn.relu(y), window, window)
            streams.append(y)
        # [B, 1, 7, 7, 32]
        x = Features(name="features")(jnp.concatenate(streams, -1))
        x = jnp.moveaxis(x, -1, 1).reshape(len(x), -1)  # [B, 1568], as in PyTorch
        for name in ("dense1", "dense2"):
            x = nn.relu(dense(1024, dtype=self.dtype, name=name)(x))
            x = Dropout(0.5, self.axis_name)(x, train=train)
        dtype = None if self.dtype is None else jnp.float32
        return dense(self.num_classes, dtype=dtype, name="head")(x)

    def grid(self, layer: str, clip_size: Sequence[int]) -> Grid:
        """Returns where the values of a layer are; see ``layers.find_grid``."""
        step = {"1": (0.0, 1.0), "2": (0.5, 2.0)}.get(layer[-1], (1.5, 4.0))
        return (0.0, 1.0), step, step


@dataclasses.dataclass(frozen=True)
class OffApexNetSettings(WithoutRemat):
    """How Off-ApexNet is trained."""

    flip: bool = False
    batch_size: int = 32
    optimizer: Optimizer = "adam"
    learning_rate: float = 1e-4
    schedule: Schedule = "constant"


OFF_APEXNET = Network(
    name="off_apexnet",
    title=lambda settings: "Off-ApexNet",
    citation="Y. S. Gan, S.-T. Liong, W.-C. Yau, Y.-C. Huang, L.-K. Tan: OFF-ApexNet "
    "on Micro-Expression Recognition System, Signal Processing: Image Communication "
    "74, 2019",
    settings=OffApexNetSettings,
    inputs=("onset_apex_flow",),
    defaults={"size": 28},
    presets={"small": {"epochs": 40}},
    make=lambda settings, **arguments: OffApexNet(**arguments),
)
