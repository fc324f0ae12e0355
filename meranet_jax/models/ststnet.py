"""STSTNet: three convolutions of the flow from onset to apex.

S.-T. Liong, Y. S. Gan, J. See, H.-Q. Khor and Y.-C. Huang, "Shallow Triple Stream
Three-dimensional CNN (STSTNet) for Micro-Expression Recognition", FG 2019.

[V] marks what was read in the authors' code in PyTorch or computed, [C] what this
module chose:

- [V] The layers, their names in state dicts, and 1,683 parameters for three classes.
  The paper has 1,670: 1,632 weights, and the 19 biases twice.
- [V] The input: u, v and the optical strain of the flow from onset to apex, 28 x 28,
  from 0 to 255. [C] Each is scaled by its minimum and maximum in the clip, and not
  rounded to integers. The order of the three in the authors' images is not known.
- [V] Adam at 0.00005, 800 epochs, no mirroring, the last checkpoint.
- [C] Batches of 16 clips, in random order. The authors' batches have 256 clips, of
  which the last one is smaller, and their order is fixed. Batches are complete here,
  and a training part of a licensed data set has 36 to 100 clips. An epoch then has more
  steps than theirs.
- [C] A part of the training clips is held out for validation, although the last
  checkpoint is tested, as in all runs.
- [V] PyTorch's initialisation, and its batch normalisation, [C] whose running variances
  are biased here.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from meranet_jax.models.dropout import Dropout
from meranet_jax.models.initializers import torch_bias, torch_kernel
from meranet_jax.models.layers import Features, Grid
from meranet_jax.models.settings import Optimizer, Schedule, Select, WithoutRemat
from meranet_jax.models.torch_names import ststnet_name
from meranet_jax.recognisers import Network

_STREAMS = (3, 5, 8)


class STSTNet(nn.Module):
    """STSTNet, for one image of 28 x 28 pixels.

    Attributes:
      num_classes: number of outputs.
      axis_name: name of the pmap axis over which batch statistics are averaged, if any.
      dtype: dtype of the computation; parameters, statistics and logits are float32.
    """

    num_classes: int
    axis_name: str | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Computes logits [B, num_classes] of u, v and strain, [B, 1, H, W, 3]."""
        conv = functools.partial(
            nn.Conv,
            kernel_size=(3, 3),
            padding=2,
            kernel_init=torch_kernel,
            bias_init=torch_bias(9 * x.shape[-1]),
            dtype=self.dtype,
        )
        norm = functools.partial(
            nn.BatchNorm,
            use_running_average=not train,
            momentum=0.9,
            epsilon=1e-5,
            axis_name=self.axis_name,
            dtype=self.dtype,
        )
        streams = []
        for number, features in enumerate(_STREAMS, 1):
            y = nn.relu(conv(features, name=f"conv{number}")(x))  # [B, 1, 30, 30, F]
            y = norm(name=f"conv{number}_norm")(y)
            pads = ((0, 0), (1, 1), (1, 1))
            streams.append(nn.max_pool(y, (1, 3, 3), (1, 3, 3), pads))
        # [B, 1, 10, 10, 16]
        x = Features(name="features")(jnp.concatenate(streams, -1))
        x = Dropout(0.5, self.axis_name)(x, train=train)
        x = nn.avg_pool(x, (1, 2, 2), (1, 2, 2))  # [B, 1, 5, 5, 16]
        x = jnp.moveaxis(x, -1, 1).reshape(len(x), -1)  # as PyTorch flattens it
        return nn.Dense(
            self.num_classes,
            kernel_init=torch_kernel,
            bias_init=torch_bias(x.shape[-1]),
            dtype=None if self.dtype is None else jnp.float32,
            name="head",
        )(x)

    def grid(self, layer: str, clip_size: Sequence[int]) -> Grid:
        """Returns where the values of a layer are; see ``layers.find_grid``."""
        # The convolutions begin one pixel before the image, and the pooling one before
        # them.
        step = (-1.0, 3.0) if layer == "features" else (-1.0, 1.0)
        return (0.0, 1.0), step, step


@dataclasses.dataclass(frozen=True)
class STSTNetSettings(WithoutRemat):
    """How STSTNet is trained; the module's docstring lists what is our choice."""

    select: Select = "last"
    flip: bool = False
    epochs: int = 800
    batch_size: int = 16
    optimizer: Optimizer = "adam"
    learning_rate: float = 5e-5
    schedule: Schedule = "constant"


STSTNET = Network(
    name="ststnet",
    title=lambda settings: "STSTNet",
    citation="S.-T. Liong, Y. S. Gan, J. See, H.-Q. Khor, Y.-C. Huang: Shallow Triple "
    "Stream Three-dimensional CNN (STSTNet) for Micro-Expression Recognition, FG 2019",
    settings=STSTNetSettings,
    inputs=("onset_apex_strain",),
    defaults={"size": 28},
    presets={"small": {"epochs": 200}},
    make=lambda settings, **arguments: STSTNet(**arguments),
    torch_name=ststnet_name,
)
