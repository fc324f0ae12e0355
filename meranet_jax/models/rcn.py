"""RCN-A: a recurrent convolutional network with attention.

Z. Xia, W. Peng, H.-Q. Khor, X. Feng and G. Zhao, "Revealing the Invisible with Model
and Data Shrinking for Composite-Database Micro-Expression Recognition", IEEE
Transactions on Image Processing 29, 2020.

[V] marks what was read in the authors' code or computed, [C] what this module chose:

- [V] The layers, and 15,331 parameters for three classes with 32 channels and 5 x 5
  averages. These two are of an example in the description of the code, which trains for
  20 epochs; the defaults of the code are 64 channels and 7 x 7 averages. [C] An
  activation map that is constant becomes zero, and not NaN.
- [V] Initialisation: He's, by the number of outputs of a convolution; a standard
  deviation of 0.01 for the dense layer.
- [V] The defaults of the code: SGD at 0.0005, which is halved after each 10 of 100
  epochs, with a momentum of 0.9; no mirroring, the last checkpoint. [C] To combine them
  with the 32 channels and 5 x 5 averages of the example.
- [C] Batches of 16 instead of 64. Batches are complete here, and a training part of a
  licensed data set, which has 36 to 100 clips, fills one batch of 64 or none.
- [C] A part of the training clips is held out for validation, although the last
  checkpoint is tested, as in all runs.
- [V] Three channels of 60 x 60 pixels, divided by 255. [C] They are u, v and the
  optical strain of the flow from onset to apex, scaled as for STSTNet.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from meranet_jax.models.dropout import Dropout
from meranet_jax.models.layers import ATTENTION_MAPS, Grid
from meranet_jax.models.maximum import maximum
from meranet_jax.models.settings import Optimizer, Schedule, Select, WithoutRemat
from meranet_jax.recognisers import Network

ModuleDef = Callable[..., nn.Module]

# Height and width of the averages before the dense layer.
_POOLED = 5


class RecurrentBlock(nn.Module):
    """A convolution that is applied twice to its input and its last output.

    Attributes:
      features: number of channels, C.
      conv: constructor of a 2-D convolution.
      norm: constructor of a batch normalisation.
    """

    features: int
    conv: ModuleDef
    norm: ModuleDef

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Applies the block: [B, 1, H, W, C] -> [B, 1, H, W, C]."""
        first = self.conv(self.features, (1, 1), name="first")
        y = nn.relu(self.norm(name="first_norm")(first(x)))
        again = self.conv(self.features, (3, 3), padding=1, name="again")
        norm = self.norm(name="again_norm")  # its statistics are updated twice
        for _ in range(2):
            y = nn.relu(norm(again(x + y)))
        return y


class ActivationMapHead(nn.Module):
    """A dense layer whose weights also determine an attention map.

    The class activation maps of early features, each scaled to 0..1, are averaged over
    the classes. Late features are multiplied by the result.

    Attributes:
      num_classes: number of outputs.
    """

    num_classes: int

    @nn.compact
    def __call__(self, early: jax.Array, late: jax.Array) -> jax.Array:
        """Computes logits [B, num_classes] of two maps [B, 1, H, W, C]."""
        channels = early.shape[-1]
        inputs = late[0].size
        kernel = self.param(
            "kernel", nn.initializers.normal(0.01), (inputs, self.num_classes)
        )
        bias = self.param("bias", nn.initializers.zeros_init(), (self.num_classes,))
        # Rows of the kernel are in PyTorch's order: channels, height, width.
        by_place = kernel.reshape(channels, *early.shape[2:4], self.num_classes)
        maps = jnp.einsum("bthwc,chwk->bthwk", early, by_place) / channels
        flat = maps.reshape(len(maps), -1, self.num_classes)  # [B, H * W, classes]
        flat = flat + maximum(-flat, 1)
        largest = maximum(flat, 1)
        flat = flat / jnp.where(largest > 0, largest, 1)
        attention = flat.mean(-1).reshape(*maps.shape[:4], 1)  # [B, 1, H, W, 1]
        if not self.is_initializing():
            self.sow(ATTENTION_MAPS, "value", attention)
        x = jnp.moveaxis(late * attention, -1, 1).reshape(len(late), inputs)
        return x @ kernel + bias


class RCN(nn.Module):
    """RCN-A, for one image of 60 x 60 pixels.

    Attributes:
      num_classes: number of outputs.
      features: number of channels.
      axis_name: name of the pmap axis over which batch statistics are averaged, if any.
      dtype: dtype of the computation; parameters, statistics and logits are float32.
    """

    num_classes: int
    features: int = 32
    axis_name: str | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Computes logits [B, num_classes] of images [B, 1, H, W, 3], 0 to 255.

        Raises:
          ValueError: if the images are too small.
        """
        if min(x.shape[2:4]) < _smallest():
            raise ValueError(
                f"images are {x.shape[2]} x {x.shape[3]}, but at least {_smallest()} x "
                f"{_smallest()} pixels are needed"
            )
        conv = functools.partial(
            nn.Conv,
            padding="VALID",
            kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
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
        dropout = functools.partial(Dropout, 0.5, self.axis_name)
        window = (1, 2, 2)
        x = conv(self.features, (5, 5), name="stem")(x / 255)  # [B, 1, 56, 56, 32]
        x = nn.max_pool(nn.relu(norm(name="stem_norm")(x)), window, window)
        x = dropout()(x, train=train)  # [B, 1, 28, 28, 32]
        early = adaptive_average(x, _POOLED)  # [B, 1, 5, 5, 32]
        x = RecurrentBlock(self.features, conv, norm, name="recurrent")(x)
        x = dropout()(nn.max_pool(x, window, window), train=train)
        late = adaptive_average(x, _POOLED)  # [B, 1, 5, 5, 32]
        if self.dtype is not None:
            early, late = early.astype(jnp.float32), late.astype(jnp.float32)
        return ActivationMapHead(self.num_classes, name="head")(early, late)

    def grid(self, layer: str, clip_size: Sequence[int]) -> Grid:
        """Returns where the values of a layer are; see ``layers.find_grid``."""
        if layer == "head":  # the attention map, of averages of pooled maps
            h, w = (_attention_grid(length) for length in clip_size[1:])
            return (0.0, 1.0), h, w
        step = (2.0, 1.0) if layer == "stem" else (2.5, 2.0)
        return (0.0, 1.0), step, step


def _attention_grid(length: int) -> tuple[float, float]:
    """Returns the position of the first average, and the distance of neighbours.

    Args:
      length: height or width of the image.
    """
    pooled = (length - 4) // 2  # values of the pooled maps, at 2.5, 4.5, ...
    first = (-(-pooled // _POOLED) - 1) / 2  # the middle of the first part of them
    return 2.5 + 2 * first, 2 * (pooled - 1 - 2 * first) / (_POOLED - 1)


def _smallest() -> int:
    """Returns the smallest height and width of an image: each average has a value."""
    return 4 * _POOLED + 4


def adaptive_average(x: jax.Array, size: int) -> jax.Array:
    """Averages [B, T, H, W, C] to [B, T, size, size, C], as PyTorch does.

    Part i of N values in S parts begins at floor(i N / S) and ends before
    ceil((i + 1) N / S), so that neighbouring parts may share a value.
    """
    for axis in (2, 3):
        length = x.shape[axis]
        parts = (
            jax.lax.slice_in_dim(
                x, part * length // size, -(-(part + 1) * length // size), axis=axis
            )
            for part in range(size)
        )
        x = jnp.concatenate([part.mean(axis, keepdims=True) for part in parts], axis)
    return x


@dataclasses.dataclass(frozen=True)
class RCNSettings(WithoutRemat):
    """How RCN-A is trained; the module's docstring lists what is our choice."""

    select: Select = "last"
    flip: bool = False
    batch_size: int = 16
    optimizer: Optimizer = "sgd"
    momentum: float = 0.9
    learning_rate: float = 5e-4
    schedule: Schedule = "halving"


RCN_A = Network(
    name="rcn",
    title=lambda settings: "RCN-A",
    citation="Z. Xia, W. Peng, H.-Q. Khor, X. Feng, G. Zhao: Revealing the Invisible "
    "with Model and Data Shrinking for Composite-Database Micro-Expression "
    "Recognition, IEEE TIP 29, 2020",
    settings=RCNSettings,
    inputs=("onset_apex_strain",),
    # The flow is computed at 120 x 120 and reduced.
    defaults={"size": 60, "record_size": 120},
    presets={"small": {"epochs": 50}},
    make=lambda settings, **arguments: RCN(**arguments),
)
