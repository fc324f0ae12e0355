"""MicroExpSTCNN: one 3-D convolution over the complete face.

S. P. T. Reddy, S. T. Karri, S. R. Dubey and S. Mukherjee, "Spontaneous Facial
Micro-Expression Recognition using 3D Spatiotemporal Convolutional Neural Networks",
IJCNN 2019.

[V] marks what was read in the authors' code or computed, [C] what this module chose:

- [V] The layers, and with them 44,241,667 parameters for 96 frames and three classes.
  The convolution covers 15 frames without padding, and the pooling three, so that a
  clip needs 17 frames.
- [V] Stochastic gradient descent at 0.01, 100 epochs, batches of 16 (8 in the paper),
  no mirroring.
- [C] Incomplete batches are left out. The checkpoint is the best on the validation
  part, which is held out of the training clips. In the authors' code it is the best on
  the clips that are tested.
- [V] The initialisation of the dense layers is normal, that of the convolution Keras's
  default, Glorot uniform. [C] The standard deviation of Keras's ``normal`` is 0.05.
- [C] 18 frames, interpolated from onset to offset. The authors' code takes 96 frames of
  videos that are longer than micro-expressions. Reports name the network
  "MicroExpSTCNN, short clips" unless ``--frames=96``.
- [C] The mean and the maximum of the input are those of a clip. In the authors' code
  they are those of all clips, also of those that are tested.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from meranet_jax.errors import UserError
from meranet_jax.models.conv import Conv3D, Lowering
from meranet_jax.models.dropout import Dropout
from meranet_jax.models.layers import Grid
from meranet_jax.models.settings import Optimizer, Schedule, WithoutRemat
from meranet_jax.recognisers import Network

_FRAMES, _POOL = 15, 3
# One maximum over three outputs of the convolution.
_MINIMUM_FRAMES = _FRAMES + _POOL - 1
_MINIMUM_SIZE = 3 + _POOL - 1
# Frames of a clip in the publication.
_PUBLISHED_FRAMES = 96


class MicroExpSTCNN(nn.Module):
    """MicroExpSTCNN, for clips of 64 x 64 pixels and at least 17 frames.

    Attributes:
      num_classes: number of outputs.
      axis_name: name of the pmap axis over which a batch is divided, if any.
      lowering: lowering of the convolution, see ``Conv3D``.
      dtype: dtype of the computation; parameters and logits are float32.
    """

    num_classes: int
    axis_name: str | None = None
    lowering: Lowering | None = None
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Computes logits [B, num_classes] of clips [B, T, H, W, 1].

        Raises:
          ValueError: if the clips are too short.
        """
        if x.shape[1] < _MINIMUM_FRAMES:
            raise ValueError(
                f"a clip has {x.shape[1]} frames, but at least {_MINIMUM_FRAMES} are "
                "needed"
            )
        dropout = functools.partial(Dropout, 0.5, self.axis_name)
        normal = nn.initializers.normal(0.05)
        x = Conv3D(
            32,
            (_FRAMES, 3, 3),
            padding="valid",
            use_bias=True,
            lowering=self.lowering,
            dtype=self.dtype,
            name="conv",
        )(x)  # [B, T - 14, 62, 62, 32]
        window = (_POOL,) * 3
        x = nn.max_pool(nn.relu(x), window, window)  # [B, (T - 14) // 3, 20, 20, 32]
        x = dropout()(x, train=train).reshape(len(x), -1)
        x = nn.Dense(128, kernel_init=normal, dtype=self.dtype, name="dense")(x)
        x = dropout()(nn.relu(x), train=train)
        dtype = None if self.dtype is None else jnp.float32
        return nn.Dense(self.num_classes, kernel_init=normal, dtype=dtype, name="head")(
            x
        )

    def grid(self, layer: str, clip_size: Sequence[int]) -> Grid:
        """Returns where the values of the convolution are; see ``layers.find_grid``."""
        return ((_FRAMES - 1) / 2, 1.0), (1.0, 1.0), (1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class MicroExpSTCNNSettings(WithoutRemat):
    """How MicroExpSTCNN is trained; the module's docstring lists what is our choice."""

    flip: bool = False
    batch_size: int = 16
    optimizer: Optimizer = "sgd"
    learning_rate: float = 0.01
    schedule: Schedule = "constant"


def check_clips(settings: MicroExpSTCNNSettings, shape: Sequence[int]) -> None:
    """Raises UserError if clips [T, H, W, C] are too short or too small."""
    if shape[0] < _MINIMUM_FRAMES:
        raise UserError(
            f"MicroExpSTCNN: a clip has {shape[0]} frames, but its convolution and its "
            f"pooling need {_MINIMUM_FRAMES}. Choose --sampling=tim --frames=18, or "
            f"{_PUBLISHED_FRAMES} frames as in the publication."
        )
    if min(shape[1:3]) < _MINIMUM_SIZE:
        raise UserError(
            f"MicroExpSTCNN: a clip has {shape[1]} x {shape[2]} pixels, but its "
            f"convolution and its pooling need {_MINIMUM_SIZE} x {_MINIMUM_SIZE}. "
            "Raise --size."
        )


MICROEXPSTCNN = Network(
    name="microexpstcnn",
    title=lambda settings: "MicroExpSTCNN",
    title_suffix=lambda frames: "" if frames == _PUBLISHED_FRAMES else ", short clips",
    citation="S. P. T. Reddy, S. T. Karri, S. R. Dubey, S. Mukherjee: Spontaneous "
    "Facial Micro-Expression Recognition using 3D Spatiotemporal Convolutional Neural "
    "Networks, IJCNN 2019",
    settings=MicroExpSTCNNSettings,
    check=check_clips,
    inputs=("grey_by_maximum",),
    defaults={"sampling": "tim", "frames": 18, "size": 64},
    presets={"small": {"epochs": 30}},
    make=lambda settings, **arguments: MicroExpSTCNN(**arguments),
)
