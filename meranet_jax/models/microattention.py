"""MicroAttention: a residual network with attention, for the apex frame.

C. Wang, M. Peng, T. Bi and T. Chen, "Micro-Attention for Micro-Expression Recognition",
Neurocomputing 410, 2020.

[V] marks what was read in the authors' Caffe definition or computed, [C] what this
module chose:

- [V] The layers, and with them 5,944,773 parameters for three classes, without running
  statistics. 960 of these are frozen there: a convolution that computes the mean over
  channels. Here it is a mean, and the network has 5,943,813 parameters.
- [V] The input: the apex frame in grey, 224 x 224. [C] It is not scaled; the first
  layer normalises it.
- [C] The momentum of batch normalisation is 0.9. He's initialisation.
- [C] Training: Adam at 0.001, which decays to 0, 100 epochs, batches of 16, mirroring.

The published network is said to be pre-trained on ImageNet and on macro-expressions
(second hand, not verified). Such weights are not available. This network is trained
from scratch, or from the weights of ``--init``, such as those of a run on the
macro-expressions of CAS(ME)^2.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from meranet_jax.models.layers import ATTENTION_MAPS, Grid
from meranet_jax.models.settings import Optimizer, WithoutRemat
from meranet_jax.recognisers import Network

ModuleDef = Callable[..., nn.Module]


class MicroAttentionStage(nn.Module):
    """A residual unit with attention.

    Attributes:
      features: number of output channels, C'.
      conv: constructor of a 2-D convolution with symmetric padding.
      norm: constructor of a batch normalisation.
      halves: whether the stage begins with a normalisation, halves height and width,
        and has a convolution as its shortcut.
    """

    features: int
    conv: ModuleDef
    norm: ModuleDef
    halves: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the stage: [B, 1, H, W, C] -> [B, 1, H', W', C']."""
        shortcut, strides = x, 1
        if self.halves:
            strides = 2
            x = nn.relu(self.norm(name="norm")(x))
            shortcut = self.conv(self.features, 1, strides, name="projection")(x)
        y = self.conv(self.features, 3, strides, name="conv1")(x)
        y = nn.relu(self.norm(name="conv1_norm")(y))
        z = self.conv(self.features, 3, 1, name="conv2")(y)
        joined = jnp.concatenate([shortcut, y, z], -1)  # [B, 1, H', W', 3 C']
        maps = self.conv(self.features, 1, 1, name="attention")(joined)
        attention = nn.sigmoid(maps.mean(-1, keepdims=True))  # [B, 1, H', W', 1]
        if not self.is_initializing():
            self.sow(ATTENTION_MAPS, "value", attention)
        return (1 + attention) * (shortcut + z)


class MicroAttention(nn.Module):
    """MicroAttention, for one grey image of 224 x 224 pixels.

    Attributes:
      num_classes: number of outputs.
      width: channels of the first stage; each further stage doubles them.
      axis_name: name of the pmap axis over which batch statistics are averaged, if any.
      dtype: dtype of the computation; parameters, statistics and logits are float32.
    """

    num_classes: int
    width: int = 64
    axis_name: str | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Computes logits [B, num_classes] of images [B, 1, H, W, 1]."""

        def conv(features, size, strides, **options):
            options = {"use_bias": False} | options
            return nn.Conv(
                features,
                (size, size),
                strides,
                padding=size // 2,
                kernel_init=nn.initializers.he_normal(),
                dtype=self.dtype,
                **options,
            )

        norm = functools.partial(
            nn.BatchNorm,
            use_running_average=not train,
            momentum=0.9,
            epsilon=1e-5,
            axis_name=self.axis_name,
            dtype=self.dtype,
        )
        x = norm(name="input_norm")(x)
        x = conv(self.width, 7, 2, use_bias=True, name="stem")(x)
        x = nn.relu(norm(name="stem_norm")(x))  # [B, 1, 112, 112, 64]
        # Caffe rounds the size up: the last window may extend beyond the image.
        beyond = [(0, (size - 3) % 2) for size in x.shape[2:4]]
        x = nn.max_pool(x, (1, 3, 3), (1, 2, 2), ((0, 0), *beyond))
        for stage in range(4):
            # [B, 1, 56, 56, 64], [B, 1, 28, 28, 128], ... [B, 1, 7, 7, 512]
            x = MicroAttentionStage(
                self.width * 2**stage, conv, norm, stage > 0, name=f"stage{stage + 1}"
            )(x)
        x = nn.relu(norm(name="last_norm")(x)).mean((1, 2, 3))  # [B, 512]
        dtype = None if self.dtype is None else jnp.float32
        return nn.Dense(self.num_classes, dtype=dtype, name="head")(x)

    def grid(self, layer: str, clip_size: Sequence[int]) -> Grid:
        """Returns where the values of a layer are; see ``layers.find_grid``."""
        step = (0.0, 2.0)
        if layer != "stem":  # a stage, after the pooling
            step = (2.0, 4.0 * 2 ** (int(layer[-1]) - 1))
        return (0.0, 1.0), step, step


@dataclasses.dataclass(frozen=True)
class MicroAttentionSettings(WithoutRemat):
    """How MicroAttention is trained. The sources that we have are silent."""

    batch_size: int = 16
    optimizer: Optimizer = "adam"
    learning_rate: float = 1e-3


MICROATTENTION = Network(
    name="microattention",
    title=lambda settings: "MicroAttention, from scratch",
    title_with_init=lambda settings: "MicroAttention, transferred",
    citation="C. Wang, M. Peng, T. Bi, T. Chen: Micro-Attention for Micro-Expression "
    "Recognition, Neurocomputing 410, 2020",
    settings=MicroAttentionSettings,
    inputs=("apex_grey",),
    # Only the apex frame is used. The other recorded frames tell whether clips overlap.
    defaults={"size": 224},
    presets={"small": {"size": 112, "epochs": 18}},
    make=lambda settings, **arguments: MicroAttention(**arguments),
)
