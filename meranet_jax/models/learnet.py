"""LEARNet: a network for dynamic images.

M. Verma, S. K. Vipparthi, G. Singh and S. Murala, "LEARNet: Dynamic Imaging Network for
Micro Expression Recognition", IEEE Transactions on Image Processing 29, 2019.

[V] marks what was read in the authors' code or computed, [C] what this module chose
where the sources that we have are silent:

- [V] The layers, and with them 1,866,243 parameters for three classes, running
  statistics included. Padding is Keras's SAME, which at stride 2 pads one more on the
  far side; batch normalisation has an epsilon of 0.001.
- [V] The input: the dynamic image, from 0 to 255.
- [C] Keras's defaults for the initialisation (Glorot uniform) and for the momentum of
  batch normalisation (0.99).
- [C] The dynamic image is that of 16 frames from onset to offset.
- [C] Training: Adam at 0.0001, 100 epochs, batches of 16, no mirroring.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from meranet_jax.models.dropout import Dropout
from meranet_jax.models.layers import Grid
from meranet_jax.models.settings import Optimizer, Schedule, WithoutRemat
from meranet_jax.recognisers import Network


class LEARNet(nn.Module):
    """LEARNet, for one image of 112 x 112 pixels.

    Four branches of three convolutions follow a first one. The second branch adds the
    maps of the first one to its own, and the fourth those of the third.

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
        """Computes logits [B, num_classes] of dynamic images [B, 1, H, W, 3]."""
        init = nn.initializers.xavier_uniform()
        conv = functools.partial(
            nn.Conv, strides=2, padding="SAME", kernel_init=init, dtype=self.dtype
        )
        norm = functools.partial(
            nn.BatchNorm,
            use_running_average=not train,
            momentum=0.99,
            epsilon=1e-3,
            axis_name=self.axis_name,
            dtype=self.dtype,
        )
        x = nn.relu(conv(16, (3, 3), name="stem")(x))  # [B, 1, 56, 56, 16]
        outputs = []
        for first in (1, 3):
            plain, other = x, x
            one, two = f"branch{first}", f"branch{first + 1}"
            # [B, 1, 28, 28, 16], [B, 1, 14, 14, 32], [B, 1, 7, 7, 64]
            for layer, (features, size) in enumerate(((16, 1), (32, 3), (64, 5)), 1):
                kernel = (size, size)
                plain = nn.relu(
                    conv(features, kernel, name=f"{one}_conv{layer}")(plain)
                )
                other = nn.relu(
                    conv(features, kernel, name=f"{two}_conv{layer}")(other)
                )
                if layer < 3:
                    other = norm(name=f"{two}_conv{layer}_norm")(other + plain)
            outputs += [plain, other]
        x = norm(name="branches_norm")(jnp.concatenate(outputs, -1))
        x = nn.relu(conv(256, (3, 3), name="last")(x))  # [B, 1, 4, 4, 256]
        x = x.reshape(len(x), -1)  # [B, 4096]
        x = nn.relu(nn.Dense(256, kernel_init=init, dtype=self.dtype, name="dense")(x))
        x = Dropout(0.5, self.axis_name)(x, train=train)
        dtype = None if self.dtype is None else jnp.float32
        return nn.Dense(self.num_classes, kernel_init=init, dtype=dtype, name="head")(x)

    def grid(self, layer: str, clip_size: Sequence[int]) -> Grid:
        """Returns where the values of a layer are; see ``layers.find_grid``."""
        kernels = (3, 1, 3, 5, 3)  # along the way to the last convolution
        number = {"stem": 1, "last": 5}.get(layer) or 1 + int(layer[-1])

        def along(length: int) -> tuple[float, float]:
            start, stride = 0.0, 1
            for size in kernels[:number]:
                outputs = -(-length // 2)
                before = max(2 * (outputs - 1) + size - length, 0) // 2
                start += stride * ((size - 1) / 2 - before)
                length, stride = outputs, 2 * stride
            return start, float(stride)

        return (0.0, 1.0), along(clip_size[1]), along(clip_size[2])


@dataclasses.dataclass(frozen=True)
class LEARNetSettings(WithoutRemat):
    """How LEARNet is trained. The sources that we have are silent."""

    flip: bool = False
    batch_size: int = 16
    optimizer: Optimizer = "adam"
    learning_rate: float = 1e-4
    schedule: Schedule = "constant"


LEARNET = Network(
    name="learnet",
    title=lambda settings: "LEARNet",
    citation="M. Verma, S. K. Vipparthi, G. Singh, S. Murala: LEARNet: Dynamic Imaging "
    "Network for Micro Expression Recognition, IEEE TIP 29, 2019",
    settings=LEARNetSettings,
    inputs=("learnet_image",),
    defaults={"sampling": "uniform"},
    presets={"small": {"epochs": 60}},
    make=lambda settings, **arguments: LEARNet(**arguments),
)
