"""Counts operations and parameters of the network of a configuration."""

import flax.linen as nn

from meranet_jax.config import TrainConfig
from meranet_jax.inputs import registry as inputs
from meranet_jax.models import cost
from meranet_jax.training.step import make_model

# The gradients with respect to the input and the kernel of a layer each cost as much as
# its forward pass.
_STEP = 3


def forward(config: TrainConfig, num_classes: int = 3) -> int:
    """Counts the operations of a forward pass of one clip; see ``models.cost``."""
    return cost.forward(*_network(config, num_classes)).operations


def step(config: TrainConfig, num_classes: int = 3) -> int:
    """Counts the operations of a training step per clip: three forward passes.

    The gradient with respect to the network's input is included, although nothing uses
    it; it is 0.3 % of the total for MERANet.
    """
    return _STEP * forward(config, num_classes)


def parameters(config: TrainConfig, num_classes: int = 3) -> int:
    """Counts the trainable parameters."""
    return cost.parameters(*_network(config, num_classes))


def _network(config: TrainConfig, num_classes: int) -> tuple[nn.Module, tuple]:
    shape = inputs.find(config.input).shape(config.frames, config.size)
    return make_model(config, num_classes=num_classes), shape
